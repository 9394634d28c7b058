"""How a person proves who they are."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.conf import settings
from django.http import HttpRequest

from accounts.models import User

DEMO_DOMAIN = "retex.example"
"""Reserved for documentation (RFC 2606); the demo's accounts live there."""


class EmailBackend(AuthenticationBackend):  # type: ignore[misc]
    """E-mail address and password; demo accounts only in the embedded demo."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> User | None:
        person: User | None = super().authenticate(request, **credentials)
        return person if person is not None and may_sign_in(person) else None

    def get_user(self, user_id: int) -> User | None:
        person: User | None = super().get_user(user_id)
        return person if person is not None and may_sign_in(person) else None


def may_sign_in(person: User) -> bool:
    """Active, and not a demo account where real people work."""
    if not person.is_active:
        return False
    is_demo = person.email.endswith(f"@{DEMO_DOMAIN}")
    return not is_demo or settings.EMBEDDED or settings.DEBUG or settings.TESTING
