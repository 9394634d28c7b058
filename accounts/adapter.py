"""How signing up and mails of allauth fit this product."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django import forms
from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from accounts.models import Membership, User


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Accounts are made by administrators, or by whoever owns an address of a listed domain."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.RETEX_SIGNUP_DOMAINS)

    def clean_email(self, email: str) -> str:
        cleaned: str = super().clean_email(email)
        domain = cleaned.rsplit("@", 1)[-1].lower()
        if domain not in [d.lower() for d in settings.RETEX_SIGNUP_DOMAINS]:
            raise forms.ValidationError(
                _("Accounts are for addresses at: %(domains)s.")
                % {"domains": ", ".join(settings.RETEX_SIGNUP_DOMAINS)}
            )
        return cleaned

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        user.email = form.cleaned_data["email"].lower()
        user.name = form.cleaned_data.get("name") or user.email.split("@")[0]
        user.language = (
            request.LANGUAGE_CODE if request.LANGUAGE_CODE in User.Language.values else "fr"
        )
        user.set_password(form.cleaned_data["password1"])
        user.save()
        Membership.objects.get_or_create(
            person=user, department=None, defaults={"role": Membership.Role.READER}
        )
        return user
