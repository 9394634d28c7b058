"""What must be right before the product serves anybody; each refusal names its setting."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connection

from accounts.backends import DEMO_DOMAIN

SHORTEST_SECRET = 32
FEWEST_SIGNS = 8
"""Different characters of a secret: 32 random hexadecimal digits practically always have ten."""
DOTS_OF_A_DOMAIN = 2
"""`*.company.example` is one company; `*.example` is everybody below it."""


@register(Tags.security)
def unsafe_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Settings that would let strangers in. Silent with DEBUG on."""
    if settings.DEBUG or settings.TESTING:
        return []
    found: list[CheckMessage] = []

    def refuse(name: str, why: str, hint: str) -> None:
        found.append(Error(f"{name}: {why}", hint=hint, id=f"retex.{name.lower()}"))

    secret_key = _secret_key()
    if not secret_key:
        refuse(
            "SECRET_KEY",
            "is missing.",
            "Set SECRET_KEY (or SECRET_KEY_FILE) to a long random text.",
        )
    elif weakness := _weakness(secret_key):
        refuse("SECRET_KEY", weakness, "Set it to a longer random text.")
    if settings.EMBEDDED:
        return found
    for key in settings.RETEX_ENCRYPTION_KEYS:
        if key != secret_key and (weakness := _weakness(key)):
            refuse("RETEX_ENCRYPTION_KEYS", f"one of them {weakness}", "Use longer random texts.")
    for host in settings.ALLOWED_HOSTS:
        if "*" in host or not host.strip("."):
            refuse(
                "ALLOWED_HOSTS", f"{host!r} answers to any host name.", "List the names people use."
            )
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        if "*" in origin and origin.split("*", 1)[1].count(".") < DOTS_OF_A_DOMAIN:
            refuse(
                "CSRF_TRUSTED_ORIGINS",
                f"{origin!r} trusts the forms of strangers.",
                "List the addresses people use.",
            )
    for domain in settings.RETEX_SIGNUP_DOMAINS:
        if "*" in domain or "." not in domain.strip("."):
            refuse(
                "RETEX_SIGNUP_DOMAINS",
                f"{domain!r} would let anybody open an account.",
                "List whole mail domains, such as company.example.",
            )
    if urlsplit(settings.BASE_URL).scheme not in ("http", "https"):
        refuse(
            "BASE_URL",
            f"{settings.BASE_URL!r} is not the address of a site.",
            "Write it like https://retex.company.example.",
        )
    if settings.RETEX_ALLOW_CLOCK:
        refuse(
            "RETEX_ALLOW_CLOCK", "lets callers choose the date of a run.", "Unset it in production."
        )
    if settings.BASE_URL.startswith("http://") and not _is_loopback(settings.BASE_URL):
        found.append(
            Warning(
                f"BASE_URL: {settings.BASE_URL} is not https; passwords would travel in clear.",
                hint="Put a TLS proxy in front and set BASE_URL to the https address.",
                id="retex.base_url",
            )
        )
    return found


def _weakness(secret: str) -> str:
    """What makes a secret easy to guess, as the end of a sentence; nothing for a good one."""
    if len(secret) < SHORTEST_SECRET:
        return f"has {len(secret)} characters; at least {SHORTEST_SECRET} are needed."
    if len(set(secret)) < FEWEST_SIGNS:
        return (
            f"repeats {len(set(secret))} different characters; at least {FEWEST_SIGNS} are needed."
        )
    return ""


def demo_accounts() -> list[str]:
    """Addresses of active demo accounts in the database; empty before the first migration."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('accounts_user') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(
            "SELECT email FROM accounts_user WHERE is_active AND email LIKE %s ORDER BY email",
            [f"%@{DEMO_DOMAIN}"],
        )
        return [row[0] for row in cursor.fetchall()]


def refuse_unsafe_start() -> None:
    """Raise ImproperlyConfigured with every reason not to serve; a database that is away is none."""
    reasons = [f"{m.msg} {m.hint or ''}".strip() for m in unsafe_settings(None) if m.is_serious()]
    if not (settings.DEBUG or settings.EMBEDDED or settings.TESTING):
        try:
            accounts = demo_accounts()
        except DatabaseError:
            accounts = []  # /readyz tells that story
        finally:
            connection.close()
        if accounts:
            reasons.append(
                f"demo accounts: {', '.join(accounts)} exist in this database. "
                "Remove them with: manage.py remove_demo_accounts"
            )
    if reasons:
        raise ImproperlyConfigured("Retex will not start.\n- " + "\n- ".join(reasons))


def _secret_key() -> str:
    """The key, or nothing: Django raises for an empty one, without saying what to do."""
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:
        return ""


def _is_loopback(url: str) -> bool:
    return url.split("://", 1)[1].split("/")[0].rsplit(":", 1)[0] in (
        "localhost",
        "127.0.0.1",
        "[::1]",
    )
