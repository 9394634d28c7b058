"""How signing up, signing in and mails of allauth fit this product."""

from __future__ import annotations

import logging
import math
import smtplib
import time
from typing import Any
from urllib.parse import quote

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import context as allauth_context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from django import forms
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts import actions
from accounts.models import Membership, User

logger = logging.getLogger(__name__)

MAIL_FAULTS = (smtplib.SMTPException, OSError)
"""What a mail server or the way to it may do to us; everything else is a bug."""
_APP, _FAILED = "allauth.account", "login_failed"
"""The rate limit that locks sign-in after wrong passwords, as allauth calls it."""


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Accounts are made by administrators, or by whoever owns an address of a listed domain."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": gettext_lazy(
            "This address and this password do not go together. Check both, or choose a new password."
        ),
        "enter_current_password": gettext_lazy("This is not your current password."),
        "incorrect_password": gettext_lazy("This is not your password."),
    }

    # --- Accounts -------------------------------------------------------------------------------

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.RETEX_SIGNUP_DOMAINS)

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        language = request.LANGUAGE_CODE
        try:
            return actions.create_user(
                email=form.cleaned_data["email"],
                name=form.cleaned_data.get("name", ""),
                password=form.cleaned_data["password1"],
                roles=[(None, Membership.Role.READER)],
                language=language if language in User.Language.values else User.Language.FRENCH,
            )
        except actions.AccountError as error:  # the same form, sent twice at once
            raise _refusal(request, 409, str(error)) from error

    def set_password(self, user: User, password: str) -> None:
        # The form has checked the password; whoever holds the link of a mail acts as its owner.
        actions.set_password(person=user, password=password, by=user, checks_password=False)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("profile")

    # --- Signing in -----------------------------------------------------------------------------

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            super().pre_authenticate(request, **credentials)
        except forms.ValidationError as error:
            key = self._get_login_attempts_cache_key(request, **credentials)
            minutes = math.ceil(max(_seconds_locked(request, key), 1) / 60)
            message = ngettext(
                "Too many attempts. Sign-in opens again in %(minutes)s minute.",
                "Too many attempts. Sign-in opens again in %(minutes)s minutes.",
                minutes,
            )
            raise forms.ValidationError(message % {"minutes": minutes}, code=error.code) from error

    def pre_login(self, request: HttpRequest, user: User, **rest: Any) -> HttpResponse | None:
        # Who signed up has an address to confirm. Who was given an account by an administrator has
        # no such row, and nothing to prove.
        if not EmailAddress.objects.filter(user=user).exists():
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        answer: HttpResponse | None = super().pre_login(request, user, **rest)
        return answer

    # --- Mails ----------------------------------------------------------------------------------

    def deliver(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail in the language of its reader. Raises one of MAIL_FAULTS."""
        person = context.get("user")
        request = allauth_context.request
        with translation.override(
            person.language if isinstance(person, User) else translation.get_language()
        ):
            words = {
                "request": request,
                "email": email,
                "reset_page": settings.BASE_URL + reverse("account_reset_password"),
                **context,
            }
            self.render_mail(
                template_prefix, email, words, headers={"Auto-Submitted": "auto-generated"}
            ).send()

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        try:
            self.deliver(template_prefix, email, context)
        except MAIL_FAULTS as error:
            logger.error("mail not sent: %s", type(error).__name__)
            raise _refusal(
                allauth_context.request,
                503,
                _("The mail could not be sent. Try again in a few minutes."),
            ) from error

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        """Tell the owner of an account that something about it changed; the change has happened."""
        try:
            self.deliver(template_prefix, email or user.email, {"user": user, **(context or {})})
        except MAIL_FAULTS as error:
            logger.error("mail not sent: %s", type(error).__name__)

    def get_reset_password_from_key_url(self, key: str) -> str:
        # Links in mails lead to the address of the product, not to whatever host was asked.
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return f"{settings.BASE_URL}{path.replace('UID-KEY', quote(key))}"

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        path = reverse("account_confirm_email", args=[emailconfirmation.key])
        return f"{settings.BASE_URL}{path}"


def _seconds_locked(request: HttpRequest, key: str) -> float:
    """How long until the oldest attempt that counts is forgotten."""
    waits = [0.0]
    for rate in ratelimit.get_rates(app=_APP, action=_FAILED):
        place = ratelimit.get_cache_key(request, app=_APP, action=_FAILED, rate=rate, key=key)
        attempts = cache.get(place, [])  # newest first
        if len(attempts) >= rate.amount:
            waits.append(attempts[rate.amount - 1] + rate.duration - time.time())
    return max(waits)


def _refusal(request: HttpRequest, status: int, message: str) -> ImmediateHttpResponse:
    context = {"status": status, "message": message}
    return ImmediateHttpResponse(render(request, "errors/refused.html", context, status=status))
