"""Writes about people: accounts, roles, tokens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import ApiToken, AuditEntry, Department, Membership, User

TOKEN_PREFIX = "rtx_"  # noqa: S105 - lets scanners recognise a leaked token
TOKEN_BYTES = 32
"""256 bits: guessing is hopeless, so a plain SHA-256 of the token is a safe thing to keep."""
MOST_TOKENS = 50


class AccountError(ValueError):
    """An account or token cannot be made; the message says why and what to do."""


@transaction.atomic
def create_user(
    *,
    email: str,
    name: str,
    password: str | None,
    roles: Sequence[tuple[Department | None, str]],
    language: str = "fr",
    by: User | None = None,
    checks_password: bool = True,
) -> User:
    """A new account with its roles; `None` as department means the whole company.

    Raises AccountError for an address that is wrong or taken, a weak password, an unknown role.
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise AccountError(_("“%(email)s” is not an e-mail address.") % {"email": email}) from error
    if User.objects.filter(email=email).exists():
        raise AccountError(_("%(email)s has an account already.") % {"email": email})
    if language not in User.Language.values:
        raise AccountError(
            _("“%(language)s” is not a language of the interface; use fr or en.")
            % {"language": language}
        )
    person = User(
        email=email, name=" ".join(name.split()) or email.split("@")[0], language=language
    )
    if password is not None and checks_password:
        try:
            validate_password(password, person)
        except ValidationError as error:
            raise AccountError(" ".join(error.messages)) from error
    person.set_password(password)
    person.is_staff = any(role == Membership.Role.ADMIN and place is None for place, role in roles)
    person.save()
    for place, role in roles:
        _give(person, place, role)
    _record(
        by,
        "person.created",
        person.email,
        roles=[[str(place or "company"), role] for place, role in roles],
    )
    return person


@transaction.atomic
def set_role(
    *, person: User, department: Department | None, role: str | None, by: User | None
) -> None:
    """Give a role, or take it with None. Raises AccountError when nobody would administrate any more."""
    if role is None:
        Membership.objects.filter(person=person, department=department).delete()
    else:
        _give(person, department, role)
    _keep_an_admin()
    _record(by, "person.role", person.email, department=str(department or "company"), role=role)


@transaction.atomic
def set_active(*, person: User, is_active: bool, by: User | None) -> None:
    """Open or close an account; it acts at once, tokens and sessions included."""
    person.is_active = is_active
    person.save(update_fields=["is_active"])
    _keep_an_admin()
    _record(by, "person.activated" if is_active else "person.deactivated", person.email)


@transaction.atomic
def create_token(
    *,
    person: User,
    name: str,
    scopes: Sequence[str],
    by: User | None,
    expires: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A new token and its text, which is shown this once. Raises AccountError for an unknown scope."""
    unknown = [scope for scope in scopes if scope not in ApiToken.Scope.values]
    if unknown or not scopes:
        raise AccountError(
            _("“%(scope)s” is not a scope; use: %(known)s.")
            % {"scope": ", ".join(unknown), "known": ", ".join(ApiToken.Scope.values)}
        )
    if person.api_tokens.filter(revoked=None).count() >= MOST_TOKENS:
        raise AccountError(
            _("There are %(most)s tokens already; revoke one first.") % {"most": MOST_TOKENS}
        )
    text = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    token = ApiToken.objects.create(
        person=person,
        name=" ".join(name.split())[:80] or _("unnamed"),
        hint=text[: len(TOKEN_PREFIX) + 4],
        digest=digest(text),
        scopes=list(dict.fromkeys(scopes)),
        expires=expires,
    )
    _record(by, "token.created", person.email, name=token.name, scopes=token.scopes)
    return token, text


@transaction.atomic
def revoke_token(*, token: ApiToken, by: User | None, now: datetime) -> None:
    """End a token at once. Twice is once."""
    if token.revoked is None:
        token.revoked = now
        token.save(update_fields=["revoked"])
        _record(by, "token.revoked", token.person.email, name=token.name)


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _give(person: User, department: Department | None, role: str) -> None:
    if role not in Membership.Role.values:
        raise AccountError(
            _("“%(role)s” is not a role; use: %(known)s.")
            % {"role": role, "known": ", ".join(Membership.Role.values)}
        )
    Membership.objects.update_or_create(
        person=person, department=department, defaults={"role": role}
    )


def _keep_an_admin() -> None:
    """Promise LAST-ADMIN: somebody active can always administrate."""
    admins = User.objects.filter(
        is_active=True, memberships__department=None, memberships__role=Membership.Role.ADMIN
    )
    if not admins.exists():
        raise AccountError(
            _("This would leave the company without an administrator; name another one first.")
        )


def _record(by: User | None, action: str, target: str, **details: object) -> None:
    AuditEntry.objects.create(
        actor=by,
        actor_label=by.email if by else "system",
        action=action,
        target=target[:200],
        details=details,
    )
