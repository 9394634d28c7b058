"""Who asks."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts.models import User


def signed_in(request: HttpRequest) -> User:
    """The person behind a request; every page but the sign-in ones has one."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user
