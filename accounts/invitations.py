"""The link by which a person chooses a password, sent by an administrator."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings

from accounts.models import User

SECONDS_A_DAY = 24 * 3600


def days_valid() -> int:
    """How many days such a link works."""
    return max(1, settings.PASSWORD_RESET_TIMEOUT // SECONDS_A_DAY)


def send_link(*, person: User, by: User, is_new: bool) -> None:
    """Mail a link that works once, within a request. Raises one of accounts.adapter.MAIL_FAULTS.

    `is_new` welcomes somebody who just got an account; else the mail speaks of a new password.
    """
    adapter = get_adapter()
    key = f"{user_pk_to_url_str(person)}-{default_token_generator.make_token(person)}"
    context = {
        "user": person,
        "by": by,
        "is_new": is_new,
        "days": days_valid(),
        "password_reset_url": adapter.get_reset_password_from_key_url(key),
    }
    adapter.deliver("account/email/invitation", person.email, context)
