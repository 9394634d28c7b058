"""Which model does something for the whole company: one of the targets in use, or nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from kb.forms.llm import parameters_text
from kb.llm.models import Target


class ChosenTargetForm(forms.Form):
    """The choice of a target; clean data holds it, or None for nobody."""

    target = forms.ChoiceField(required=False)

    def __init__(
        self,
        targets: Iterable[Target],
        chosen: Target | None,
        data: Any,
        *,
        nobody: str,
        **options: Any,
    ) -> None:
        """`nobody` is what the choice of none says; `options` are those of any form."""
        super().__init__(data, use_required_attribute=False, **options)
        self.initial["target"] = str(chosen.pk) if chosen else ""
        self.targets = {str(target.pk): target for target in targets}
        if chosen is not None:  # its connection may be switched off meanwhile
            self.targets.setdefault(str(chosen.pk), chosen)
        field = self.fields["target"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - it is declared above
        field.choices = [("", nobody), *((pk, _named(t)) for pk, t in self.targets.items())]

    def clean_target(self) -> Target | None:
        return self.targets.get(self.cleaned_data["target"])


def _named(target: Target) -> str:
    parameters = parameters_text(target)
    return f"{target}  {parameters}" if parameters else str(target)
