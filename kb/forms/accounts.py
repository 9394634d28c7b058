"""What people enter about themselves and about others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django import forms
from django.forms import BoundField
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.actions import AccountError
from accounts.models import ApiToken, Department, Membership, User
from accounts.queries import time_zones
from kb.notifications.kinds import KINDS

COMMON_ZONES = (
    "Europe/Paris",
    "Europe/Brussels",
    "Europe/Zurich",
    "Europe/Luxembourg",
    "Europe/London",
    "America/Toronto",
    "America/Guadeloupe",
    "Indian/Reunion",
    "UTC",
)
"""Offered first: where French is spoken at work, and its neighbours across the Channel."""
_REGIONS = ("Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")

SCOPE_WORDS: Mapping[str, str | Promise] = {
    ApiToken.Scope.READ: gettext_lazy("Find and read what you may read."),
    ApiToken.Scope.WRITE: gettext_lazy("Publish, report, comment and vote in your name."),
    ApiToken.Scope.ADMIN: gettext_lazy(
        "Change connections to models and what is watched for drift."
    ),
}
"""What a token with this scope may do."""

ROLE_WORDS: Mapping[str, str | Promise] = {
    Membership.Role.READER: gettext_lazy("Reads, comments, recommends, reports."),
    Membership.Role.AUTHOR: gettext_lazy("Publishes prompts as well."),
    Membership.Role.CURATOR: gettext_lazy(
        "Edits, verifies and archives what others wrote as well."
    ),
    Membership.Role.ADMIN: gettext_lazy(
        "Looks after people, departments and connections to models as well."
    ),
}
"""What a role adds to the one before it."""

NO_EXPIRY = "0"
_COMPANY_FIELD = "role_company"


class AccountForm(forms.Form):
    """A form whose action may still say no."""

    def refuse(self, error: AccountError) -> None:
        """Show the refusal at the field it speaks of."""
        self.add_error(error.field if error.field in self.fields else None, str(error))


class ProfileForm(AccountForm):
    """What people set about themselves."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=120,
        help_text=gettext_lazy("As your colleagues see it beside what you write."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language"),
        choices=User.Language.choices,
        help_text=gettext_lazy("Of the pages and of our mails. Prompts stay as they were written."),
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        help_text=gettext_lazy("Dates and times are shown in it."),
    )
    has_key_shortcuts = forms.BooleanField(
        label=gettext_lazy("Single-key shortcuts"), required=False
    )

    def __init__(self, *args: Any, time_zone: str, **kwargs: Any) -> None:
        """`time_zone` is the person's own, which is offered whatever it is."""
        super().__init__(*args, **kwargs)
        _choose_from(self, "time_zone", _zone_choices(time_zone))


class TokenForm(AccountForm):
    """A new API token."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("What it is for, such as “Monthly report in Excel”."),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("It may"),
        choices=ApiToken.Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Tick at least one.")},
    )
    expires = forms.ChoiceField(
        label=gettext_lazy("It ends"),
        help_text=gettext_lazy("A token that ends by itself cannot be forgotten."),
    )

    def __init__(self, *args: Any, is_admin: bool, **kwargs: Any) -> None:
        """`is_admin` offers the scope that only administrators can make use of."""
        super().__init__(*args, **kwargs)
        scopes = [
            (scope, SCOPE_WORDS[scope])
            for scope in ApiToken.Scope.values
            if is_admin or scope != ApiToken.Scope.ADMIN
        ]
        _choose_from(self, "scopes", scopes)
        ends = [
            ("30", _("in 30 days")),
            ("90", _("in 90 days")),
            ("365", _("in a year")),
            (NO_EXPIRY, _("never, until I revoke it")),
        ]
        _choose_from(self, "expires", ends)

    def expiry(self, now: datetime) -> datetime | None:
        """When the token ends; None for never."""
        days = int(self.cleaned_data["expires"])
        return now + timedelta(days=days) if days else None


@dataclass(frozen=True)
class RoleRow:
    """One line of the table of roles."""

    name: str
    field: BoundField
    is_company: bool


class RolesForm(AccountForm):
    """A role in the company and in each department; the empty choice is none."""

    def __init__(
        self,
        *args: Any,
        departments: Sequence[Department],
        held: Mapping[int | None, str],
        **kwargs: Any,
    ) -> None:
        """`held` maps department ids, and None for the company, to the present roles."""
        super().__init__(*args, **kwargs)
        self._departments = departments
        self.fields[_COMPANY_FIELD] = forms.ChoiceField(
            label=gettext_lazy("Whole company"),
            required=False,
            choices=[("", _("none")), *Membership.Role.choices],
            initial=held.get(None, ""),
        )
        for department in departments:
            role = held.get(department.pk, "")
            self.fields[_field(department)] = forms.ChoiceField(
                label=str(department),
                required=False,
                choices=[("", _("none")), *_department_roles(role)],
                initial=role,
            )

    @property
    def rows(self) -> list[RoleRow]:
        """The lines of the table: the company first."""
        names = [_COMPANY_FIELD, *map(_field, self._departments)]
        return [
            RoleRow(str(self.fields[name].label), self[name], name == _COMPANY_FIELD)
            for name in names
        ]

    def roles(self) -> dict[Department | None, str | None]:
        """The roles as accounts.actions take them; the key None is the company."""
        chosen: dict[Department | None, str | None] = {
            None: self.cleaned_data[_COMPANY_FIELD] or None
        }
        return chosen | {
            place: self.cleaned_data[_field(place)] or None for place in self._departments
        }


class PersonForm(RolesForm):
    """A new account with its roles."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language"),
        choices=User.Language.choices,
        help_text=gettext_lazy("Of the pages and mails; everybody can change their own."),
    )


class DepartmentForm(AccountForm):
    """The names of a department."""

    name_en = forms.CharField(label=gettext_lazy("Name in English"), max_length=120)
    name_fr = forms.CharField(label=gettext_lazy("Name in French"), max_length=120)


class MailChoicesForm(forms.Form):
    """Which kinds of news come by mail as well."""

    mail = forms.MultipleChoiceField(
        required=False, choices=[(kind.name, kind.label) for kind in KINDS.values()]
    )

    def choices(self) -> dict[str, bool]:
        """Every kind, and whether it is wanted by mail."""
        return {name: name in self.cleaned_data["mail"] for name in KINDS}


def _choose_from(form: forms.Form, name: str, choices: Sequence[tuple[Any, Any]]) -> None:
    field: Any = form.fields[name]
    field.choices = choices


def _field(department: Department) -> str:
    return f"role_{department.pk}"


def _department_roles(held: str) -> list[tuple[str, str | Promise]]:
    """Administrators are of the company; whoever is one of a department by old rules keeps the word."""
    return [
        (value, label)
        for value, label in Membership.Role.choices
        if value != Membership.Role.ADMIN or held == value
    ]


def _zone_choices(own: str) -> list[tuple[str | Promise, Any]]:
    others: dict[str, list[str]] = {}
    for name in _zones():
        others.setdefault(name.split("/")[0], []).append(name)
    common = [*COMMON_ZONES, own] if own not in COMMON_ZONES else COMMON_ZONES
    return [
        (gettext_lazy("Often chosen"), [(name, _city(name)) for name in common]),
        *((region, _pairs(names, common)) for region, names in others.items()),
    ]


def _pairs(names: Iterable[str], besides: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, _city(name)) for name in names if name not in besides]


def _city(zone: str) -> str:
    return zone.partition("/")[2].replace("_", " ") or zone


@cache
def _zones() -> tuple[str, ...]:
    """Names of places, by region; without the many aliases for machines."""
    names = time_zones()
    return tuple(sorted(name for name in names if name.split("/")[0] in _REGIONS and "/" in name))
