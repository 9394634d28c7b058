"""Who may handle provider accounts."""

from __future__ import annotations

from accounts.models import Membership, User
from accounts.standing import standing


def can_manage(person: User) -> bool:
    """Whether the person may enter keys, addresses and prices: company-wide administrators."""
    return standing(person).has(Membership.Role.ADMIN, ())
