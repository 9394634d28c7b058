"""What a token may do. What its person may do is decided by the features."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.models import ApiToken, User
from api.authentication import held_scopes
from kb.core.errors import NotAllowed


class SignedInWithScope(BasePermission):
    """Somebody is signed in, and their token has the scope: read to read, write to write.

    A view names another scope for a method in its `scopes`, or for all methods with the key `*`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.user, User):
            return False
        needed = needed_scope(request.method or "", getattr(view, "scopes", {}))
        held = held_scopes(request)
        if needed not in held:
            raise NotAllowed(
                _("This needs a token with the scope “%(needed)s”; yours has: %(held)s.")
                % {"needed": needed, "held": ", ".join(held) or "–"}
            )
        return True


def needed_scope(method: str, scopes: dict[str, str]) -> str:
    """The scope a method needs in a view with these exceptions."""
    usual = ApiToken.Scope.READ if method in SAFE_METHODS else ApiToken.Scope.WRITE
    return scopes.get(method) or scopes.get("*") or str(usual)
