"""Forms of the sign-in pages, with the words of this product."""

from __future__ import annotations

from typing import Any

from allauth.account import forms as account_forms
from allauth.account.models import EmailAddress
from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import get_default_password_validators
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import User


def _plain(form: forms.Form) -> None:
    """Labels speak for themselves; placeholders vanish when one types. Addresses are no prose."""
    for field in form.fields.values():
        field.widget.attrs.pop("placeholder", None)
        if isinstance(field, forms.EmailField):
            field.label = gettext_lazy("E-mail address")
            field.widget.attrs |= {"autocapitalize": "none", "spellcheck": "false"}


def _new_password(form: forms.Form, label: Any, again: Any = None) -> None:
    """The rules for a password in one sentence, and what to call the two fields."""
    shortest = min(
        (v.min_length for v in get_default_password_validators() if hasattr(v, "min_length")),
        default=1,
    )
    form.fields["password1"].label = label
    form.fields["password1"].help_text = ngettext(
        "At least %(n)s character. Four unrelated words are easy to remember and hard to guess.",
        "At least %(n)s characters. Four unrelated words are easy to remember and hard to guess.",
        shortest,
    ) % {"n": shortest}
    if again is not None:
        form.fields["password2"].label = again


class LoginForm(account_forms.LoginForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self)
        self.fields["login"].widget.attrs["autocomplete"] = "username"
        self.fields["password"].label = gettext_lazy("Password")
        self.fields["password"].help_text = ""


class SignupForm(account_forms.SignupForm):  # type: ignore[misc]
    name = forms.CharField(
        label=gettext_lazy("Your name"),
        max_length=120,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    field_order = ("name", "email", "password1")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self)
        _new_password(self, gettext_lazy("Password"))

    def clean_email(self) -> str:
        email: str = super().clean_email()
        domains = settings.RETEX_SIGNUP_DOMAINS
        if email.rsplit("@", 1)[-1].lower() not in [domain.lower() for domain in domains]:
            raise forms.ValidationError(
                _("Accounts are for addresses at: %(domains)s.") % {"domains": ", ".join(domains)}
            )
        return email


class ResetPasswordForm(account_forms.ResetPasswordForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self)


class ResetPasswordKeyForm(account_forms.ResetPasswordKeyForm):  # type: ignore[misc]
    user: User

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self)
        _new_password(self, gettext_lazy("New password"), gettext_lazy("New password, once more"))

    def save(self) -> None:
        super().save()
        # Who followed the link of a mail has shown that the address is theirs.
        EmailAddress.objects.filter(user=self.user, email=self.user.email).update(verified=True)


class ChangePasswordForm(account_forms.ChangePasswordForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _plain(self)
        self.fields["oldpassword"].label = gettext_lazy("Current password")
        self.fields["oldpassword"].help_text = ""
        _new_password(self, gettext_lazy("New password"), gettext_lazy("New password, once more"))
