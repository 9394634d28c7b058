"""Which model reads, so that things are found by meaning: one for the whole company, or nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.finding.models import MeaningModel
from kb.forms.targets import ChosenTargetForm
from kb.llm.models import Target


class MeaningForm(ChosenTargetForm):
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
        super().__init__(
            targets,
            model.target if model else None,
            data,
            nobody=_("nobody: things are found by their words"),
            initial={"is_wide": model.is_wide} if model else {},
        )
