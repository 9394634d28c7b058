"""Reads about people."""

from __future__ import annotations

import unicodedata
import zoneinfo
from functools import cache

from django.db.models import CharField, F, Func, Prefetch, Q, QuerySet

from accounts.models import ApiToken, Department, Membership, User


class _Folded(Func):
    """Small letters without accents, so that `helene` finds `Hélène`; not every server has unaccent."""

    template = "regexp_replace(normalize(lower(%(expressions)s), NFD), '[\u0300-\u036f]', '', 'g')"
    output_field = CharField()


def people(words: str = "", *, department: Department | None = None) -> QuerySet[User]:
    """Accounts with their roles, active ones first, by name; each word occurs in name or address."""
    found = User.objects.prefetch_related(_with_roles()).order_by("-is_active", "name", "pk")
    if department is not None:
        found = found.filter(memberships__department=department)
    for word in _fold(words).split():
        found = found.annotate(folded=_Folded("name")).filter(
            Q(folded__contains=word) | Q(email__contains=word)
        )
    return found


def person_by_id(pk: int) -> User | None:
    """One account with its roles."""
    return User.objects.prefetch_related(_with_roles()).filter(pk=pk).first()


def administrators() -> QuerySet[User]:
    """Who can be asked for accounts and roles: the active administrators of the company, by name."""
    return User.objects.filter(
        is_active=True, memberships__department=None, memberships__role=Membership.Role.ADMIN
    ).order_by("name", "pk")


def tokens_of(person: User) -> QuerySet[ApiToken]:
    """The person's tokens: those in use first, then by age."""
    return person.api_tokens.order_by(F("revoked").asc(nulls_first=True), "-created", "-pk")


def _with_roles() -> Prefetch[str, QuerySet[Membership], str]:
    rows = Membership.objects.select_related("department").order_by(
        F("department__position").asc(nulls_first=True), "department__slug"
    )
    return Prefetch("memberships", rows)


def _fold(words: str) -> str:
    apart = unicodedata.normalize("NFD", words.lower().replace("\x00", " "))
    return "".join(sign for sign in apart if not unicodedata.combining(sign))


@cache
def time_zones() -> frozenset[str]:
    """Every name of a time zone; read once, for it means walking a folder."""
    return frozenset(zoneinfo.available_timezones())
