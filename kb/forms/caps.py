"""How a cap on spending is entered: for whom, how much, of what, and how long it lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from accounts.models import Department
from kb.llm.models import CALLS, Connection, Period

COMPANY = "company"
CURRENCIES = ("EUR", "USD", "GBP", "CHF")
"""Offered besides those that prices and caps are in already."""
USUAL_PERIOD = Period.MONTH


class CapForm(forms.Form):
    """A cap to be set. `to_fields` is what the action takes."""

    scope = forms.ChoiceField(label=gettext_lazy("For whom"))
    most = forms.DecimalField(
        label=gettext_lazy("At most"),
        localize=True,
        min_value=Decimal(0),
        max_digits=14,
        decimal_places=2,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Write an amount, like 40.")},
    )
    unit = forms.ChoiceField(label=gettext_lazy("Of what"))
    period = forms.ChoiceField(
        label=gettext_lazy("How long it lasts"), choices=Period.choices, initial=USUAL_PERIOD
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        connections: Sequence[Connection],
        departments: Sequence[Department] = (),
        has_company: bool = True,
        currencies: Iterable[str] = (),
    ) -> None:
        super().__init__(data, prefix="cap", use_required_attribute=False)
        self.owners: dict[str, Connection | Department | None] = {
            **({COMPANY: None} if has_company else {}),
            **{f"department-{row.pk}": row for row in departments},
            **{f"connection-{row.pk}": row for row in connections},
        }
        scopes, units = self.fields["scope"], self.fields["unit"]
        assert isinstance(scopes, forms.ChoiceField)  # noqa: S101 - they are declared above
        assert isinstance(units, forms.ChoiceField)  # noqa: S101
        scopes.choices = _scopes(departments, connections, has_company=has_company)
        known = sorted(set(currencies) - {CALLS, "", *CURRENCIES})
        units.choices = [
            *((name, name) for name in (*CURRENCIES, *known)),
            (CALLS, gettext_lazy("calls")),
        ]

    @property
    def first_scope(self) -> str:
        """The only one on the page of a connection."""
        return next(iter(self.owners))

    def to_fields(self) -> dict[str, Any]:
        """Keywords of kb.llm.actions.save_cap; only after is_valid."""
        data = self.cleaned_data
        owner = self.owners[data["scope"]]
        return {
            "period": data["period"],
            "unit": data["unit"],
            "most": data["most"],
            "connection": owner if isinstance(owner, Connection) else None,
            "department": owner if isinstance(owner, Department) else None,
        }


def _scopes(
    departments: Sequence[Department], connections: Sequence[Connection], *, has_company: bool
) -> list[Any]:
    company: list[tuple[str, str | Promise]] = [(COMPANY, gettext_lazy("The whole company"))]
    groups: list[Any] = company if has_company else []
    if departments:
        rows = [(f"department-{row.pk}", str(row)) for row in departments]
        groups.append((gettext_lazy("A department"), rows))
    if connections:
        rows = [(f"connection-{row.pk}", row.name) for row in connections]
        groups.append((gettext_lazy("A connection"), rows))
    return groups
