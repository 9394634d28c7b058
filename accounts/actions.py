"""Writes about people: accounts, roles, tokens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounts.models import ApiToken, AuditEntry, Department, Membership, User
from accounts.queries import time_zones

TOKEN_PREFIX = "rtx_"  # noqa: S105 - lets scanners recognise a leaked token
TOKEN_BYTES = 32
"""256 bits: guessing is hopeless, so a plain SHA-256 of the token is a safe thing to keep."""
MOST_TOKENS = 50


class AccountError(ValueError):
    """An account, role, department or token cannot be so; the message says why and what to do.

    ``field`` names the input at fault, by the keyword of the action; empty when it is none alone.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


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
        raise AccountError(
            _("“%(email)s” is not an e-mail address.") % {"email": email}, field="email"
        ) from error
    taken = AccountError(_("%(email)s has an account already.") % {"email": email}, field="email")
    if User.objects.filter(email=email).exists():
        raise taken
    _check_language(language)
    person = User(
        email=email, name=" ".join(name.split()) or email.split("@")[0], language=language
    )
    if password is not None and checks_password:
        _check_password(password, person)
    person.set_password(password)
    person.is_staff = any(role == Membership.Role.ADMIN and place is None for place, role in roles)
    try:
        with transaction.atomic():
            person.save()
    except IntegrityError as error:  # somebody else was quicker
        raise taken from error
    for place, role in roles:
        _give(person, place, role)
    _record(
        by,
        "person.created",
        person.email,
        roles=[[_where(place), role] for place, role in roles],
    )
    return person


@transaction.atomic
def save_profile(
    *, person: User, name: str, language: str, time_zone: str, has_key_shortcuts: bool
) -> None:
    """What people set about themselves. Raises AccountError for a value that cannot be."""
    name = " ".join(name.split())
    if not name:
        raise AccountError(_("Enter the name your colleagues know you by."), field="name")
    _check_language(language)
    if time_zone not in time_zones():
        raise AccountError(
            _("“%(zone)s” is not a time zone; choose one of the list.") % {"zone": time_zone},
            field="time_zone",
        )
    person.name, person.language, person.time_zone = name, language, time_zone
    person.has_key_shortcuts = has_key_shortcuts
    person.save(update_fields=["name", "language", "time_zone", "has_key_shortcuts"])


@transaction.atomic
def set_password(
    *, person: User, password: str, by: User | None, checks_password: bool = True
) -> None:
    """A new password; it ends every other session. Raises AccountError for a weak one."""
    if checks_password:
        _check_password(password, person)
    person.set_password(password)
    person.save(update_fields=["password"])
    _record(by, "person.password", person.email)


@transaction.atomic
def set_role(
    *, person: User, department: Department | None, role: str | None, by: User | None
) -> None:
    """Give a role, or take it with None. Raises AccountError when nobody would administrate any more."""
    set_roles(person=person, roles={department: role}, by=by)


@transaction.atomic
def set_roles(
    *, person: User, roles: Mapping[Department | None, str | None], by: User | None
) -> int:
    """Give and take roles, all of them or none; returns how many changed.

    The key None is the whole company, the value None takes the role; what is not named stays.
    Raises AccountError for an unknown role, and when nobody would administrate any more.
    """
    _one_change_of_admins_at_a_time()
    held: dict[int | None, str] = dict(
        Membership.objects.filter(person=person).values_list("department_id", "role")
    )
    changes = [
        (place, role)
        for place, role in roles.items()
        if held.get(place.pk if place else None) != role
    ]
    for place, role in changes:
        if role is None:
            Membership.objects.filter(person=person, department=place).delete()
        else:
            _give(person, place, role)
        if place is None:
            person.is_staff = role == Membership.Role.ADMIN
            person.save(update_fields=["is_staff"])
    _keep_an_admin()
    for place, role in changes:
        _record(by, "person.role", person.email, department=_where(place), role=role)
    return len(changes)


@transaction.atomic
def set_active(*, person: User, is_active: bool, by: User | None) -> None:
    """Open or close an account; it acts at once, tokens and sessions included."""
    _one_change_of_admins_at_a_time()
    person.is_active = is_active
    person.save(update_fields=["is_active"])
    _keep_an_admin()
    _record(by, "person.activated" if is_active else "person.deactivated", person.email)


@transaction.atomic
def save_department(
    *, name_en: str, name_fr: str, by: User | None, department: Department | None = None
) -> Department:
    """Name a department in both languages; without `department` a new one, at the end of the list.

    The slug, which addresses and filters carry, is made of the English name once and stays.
    Raises AccountError for a name that is missing or that another department bears.
    """
    names = {"name_en": " ".join(name_en.split()), "name_fr": " ".join(name_fr.split())}
    others = Department.objects.exclude(pk=department.pk) if department else Department.objects
    for field, name in names.items():
        if not name:
            raise AccountError(_("Enter the name in both languages."), field=field)
        if others.filter(**{f"{field}__iexact": name}).exists():
            raise _department_exists(name, field)
    is_new = department is None
    if department is None:
        last = Department.objects.aggregate(last=Max("position"))["last"]
        department = Department(
            slug=_free_slug(names["name_en"]), position=0 if last is None else last + 1
        )
    department.name_en, department.name_fr = names["name_en"], names["name_fr"]
    try:
        with transaction.atomic():
            department.save()
    except IntegrityError as error:  # somebody else was quicker
        field = "name_fr" if "name_fr" in str(error) else "name_en"
        raise _department_exists(names[field], field) from error
    _record(by, "department.created" if is_new else "department.renamed", department.slug, **names)
    return department


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


def _where(department: Department | None) -> str:
    """A place in the record: the same word whatever the language of whoever acts."""
    return department.slug if department else "company"


def _check_language(language: str) -> None:
    if language not in User.Language.values:
        raise AccountError(
            _("“%(language)s” is not a language of the interface; use fr or en.")
            % {"language": language},
            field="language",
        )


def _check_password(password: str, person: User) -> None:
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise AccountError(" ".join(error.messages), field="password") from error


def _department_exists(name: str, field: str) -> AccountError:
    return AccountError(
        _("There is a department “%(name)s” already.") % {"name": name}, field=field
    )


def _free_slug(name: str) -> str:
    """An unused slug near to the name."""
    base = slugify(name)[:70] or "department"
    taken = set(Department.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    number = 2
    slug = base
    while slug in taken:
        slug, number = f"{base}-{number}", number + 1
    return slug


def _one_change_of_admins_at_a_time() -> None:
    """Two administrators who take each other's role at once wait for each other here."""
    admins = Membership.objects.filter(department=None, role=Membership.Role.ADMIN)
    list(admins.select_for_update().order_by("pk"))


def _keep_an_admin() -> None:
    """Promise LAST-ADMIN: somebody active can always administrate."""
    is_admin = Q(memberships__department=None, memberships__role=Membership.Role.ADMIN)
    if not User.objects.filter(is_admin | Q(is_superuser=True), is_active=True).exists():
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
