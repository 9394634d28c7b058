"""Who asks: a bearer token, or the session of a signed-in browser."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from accounts.actions import digest
from accounts.backends import may_sign_in
from accounts.models import ApiToken, User

USE_NOTED_EVERY = timedelta(minutes=1)
"""`last_used` is for people who tidy up; a write for each request would cost more than it tells."""


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer rtx_…`. Revocation, expiry and a closed account act at once."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _space, text = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = timezone.now()
        token = (
            ApiToken.objects.select_related("person")
            .filter(Q(expires=None) | Q(expires__gt=now), digest=digest(text.strip()), revoked=None)
            .first()
        )
        if token is None or not may_sign_in(token.person):
            raise exceptions.AuthenticationFailed(
                _(
                    "This token is unknown, has expired or was revoked. Make a new one under Settings."
                )
            )
        if token.last_used is None or now - token.last_used >= USE_NOTED_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(last_used=now)
        return token.person, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="retex"'


class SessionAuthentication(authentication.SessionAuthentication):
    """The session of a signed-in browser, for the browsable documentation; writes need its CSRF token."""


def held_scopes(request: Request) -> list[str]:
    """What the caller may do, implied scopes included: a session holds what its person may do."""
    ranks = list(ApiToken.Scope.values)
    token: object = request.auth
    if not isinstance(token, ApiToken):
        return ranks
    highest = max((ranks.index(scope) for scope in token.scopes), default=-1)
    return ranks[: highest + 1]
