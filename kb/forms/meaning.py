"""Which model reads, so that things are found by meaning: one for the whole company, or nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.finding.models import MeaningModel
from kb.forms.llm import parameters_text
from kb.llm.models import Target


class MeaningForm(forms.Form):
    """The target that reads, and how much; clean data holds the target, or None for nobody."""

    target = forms.ChoiceField(label=gettext_lazy("The model that reads"), required=False)
    is_wide = forms.BooleanField(
        label=gettext_lazy("Also send what only single departments may read"),
        help_text=gettext_lazy("Each person still finds only what they may read."),
        required=False,
    )

    def __init__(
        self, targets: Iterable[Target], model: MeaningModel | None, data: Any = None
    ) -> None:
        initial = {"target": str(model.target_id), "is_wide": model.is_wide} if model else {}
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.targets = {str(target.pk): target for target in targets}
        if model is not None:  # its connection may be switched off meanwhile
            self.targets.setdefault(str(model.target_id), model.target)
        field = self.fields["target"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - it is declared above
        named = [(pk, _named(target)) for pk, target in self.targets.items()]
        field.choices = [("", _("nobody: things are found by their words")), *named]

    def clean_target(self) -> Target | None:
        return self.targets.get(self.cleaned_data["target"])


def _named(target: Target) -> str:
    parameters = parameters_text(target)
    return f"{target}  {parameters}" if parameters else str(target)
