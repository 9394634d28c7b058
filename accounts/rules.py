"""Who may look after people."""

from __future__ import annotations

from accounts.models import Membership, User
from accounts.standing import standing


def can_manage_people(person: User) -> bool:
    """Whether the person may open accounts, give roles and name departments: company administrators."""
    return standing(person).has(Membership.Role.ADMIN, ())
