"""What a person is in the company, in one value: the only source of permissions and visibility."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounts.models import Membership, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

_RANK = {role: rank for rank, role in enumerate(Membership.Role.values)}
EVERYONE = "company"
"""Audience token of what the whole company may read."""
STEWARDS = "stewards"
"""Audience token of company-wide curators and administrators, who look after restricted content."""


def department_token(department_id: int) -> str:
    """Audience token of the members of one department."""
    return f"department:{department_id}"


def person_token(person_id: int) -> str:
    """Audience token of one person."""
    return f"person:{person_id}"


@dataclass(frozen=True)
class Standing:
    """The roles of one person at one moment.

    ``company`` is the company-wide role or None; ``departments`` maps department ids to roles.
    A person without any role is nobody: sees nothing, may do nothing.
    """

    person_id: int | None
    company: str | None
    departments: Mapping[int, str]

    @property
    def is_member(self) -> bool:
        return self.person_id is not None and (self.company is not None or bool(self.departments))

    def has(self, role: str, department_ids: Collection[int] | None = None) -> bool:
        """Whether the person holds at least ``role``, company-wide or in one of the departments.

        ``department_ids=None`` asks about any department at all; an empty collection asks about
        the company only.
        """
        held = [self.company] if self.company else []
        if department_ids is None:
            held += self.departments.values()
        else:
            held += [self.departments[pk] for pk in department_ids if pk in self.departments]
        return any(_RANK[mine] >= _RANK[role] for mine in held)

    @property
    def audience_tokens(self) -> list[str]:
        """What the person may read: rows whose ``audience`` overlaps these tokens."""
        if not self.is_member or self.person_id is None:
            return []
        tokens = [EVERYONE, person_token(self.person_id)]
        tokens += [department_token(pk) for pk in sorted(self.departments)]
        if self.has(Membership.Role.CURATOR, ()):
            tokens.append(STEWARDS)
        return tokens


NOBODY = Standing(None, None, {})


def standing(person: User | AnonymousUser) -> Standing:
    """The standing of ``person``, read once per loaded person (one query), so once per request.

    A superuser counts as company-wide administrator; an inactive person as nobody.
    """
    if not isinstance(person, User) or not person.is_active:
        return NOBODY
    known: Standing | None = person.__dict__.get("_standing")
    if known is not None:
        return known
    rows = list(Membership.objects.filter(person=person).values_list("department_id", "role"))
    company = next((role for department, role in rows if department is None), None)
    if person.is_superuser:
        company = Membership.Role.ADMIN
    found = Standing(person.pk, company, {pk: role for pk, role in rows if pk is not None})
    person.__dict__["_standing"] = found
    return found
