"""How the end of a model is entered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from kb.llm.models import Connection, Retirement

LONGEST_MODEL, LONGEST_SOURCE = 120, 300
EVERYWHERE = "all"


class RetirementForm(forms.Form):
    """A model, the day of its end, what comes after it, and who says so."""

    model = forms.CharField(
        label=gettext_lazy("Model"),
        max_length=LONGEST_MODEL,
        help_text=gettext_lazy("As the provider spells it."),
        widget=forms.TextInput(
            attrs={"list": "known-models", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    connection = forms.ChoiceField(label=gettext_lazy("Where"), initial=EVERYWHERE)
    retires = forms.DateField(
        label=gettext_lazy("Last day"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=gettext_lazy("From the provider’s announcement."),
        error_messages={"required": gettext_lazy("Choose the day it ends.")},
    )
    successor = forms.CharField(
        label=gettext_lazy("Successor"),
        required=False,
        max_length=LONGEST_MODEL,
        help_text=gettext_lazy(
            "The model to move to, as the provider spells it: prompts can then be compared on it in one click."
        ),
        widget=forms.TextInput(
            attrs={"list": "known-models", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    source = forms.CharField(
        label=gettext_lazy("Source"),
        required=False,
        max_length=LONGEST_SOURCE,
        help_text=gettext_lazy("A mail, or the address of a page, so that others can look it up."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        connections: Sequence[Connection],
        found: Retirement | None = None,
        begun: Mapping[str, Any] | None = None,
    ) -> None:
        initial = dict(begun or {})
        if found is not None:
            initial = {
                "model": found.model,
                "connection": str(found.connection_id or EVERYWHERE),
                "retires": found.retires,
                "successor": found.successor,
                "source": found.source,
            }
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.connections = {str(row.pk): row for row in connections}
        where = self.fields["connection"]
        assert isinstance(where, forms.ChoiceField)  # noqa: S101 - it is declared above
        where.choices = [
            (EVERYWHERE, gettext_lazy("at every connection")),
            *((pk, row.name) for pk, row in self.connections.items()),
        ]

    def to_fields(self) -> dict[str, Any]:
        """Keywords of kb.llm.actions.save_retirement; only after is_valid."""
        data = self.cleaned_data
        return {
            "model": data["model"],
            "connection": self.connections.get(data["connection"]),
            "retires": data["retires"],
            "successor": data["successor"],
            "source": data["source"],
        }
