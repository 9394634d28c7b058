"""Which model judges: one choice for the whole company, nobody among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.drift.grader_models import Grader
from kb.forms.llm import parameters_text
from kb.llm.models import Target

_LABELS: Mapping[str, str | Promise] = {
    Grader.Role.JUDGE: gettext_lazy("The model that judges"),
    Grader.Role.EMBEDDINGS: gettext_lazy("The model that makes the vectors"),
}


class GraderForm(forms.Form):
    """The target for one role; clean data holds it, or None for nobody."""

    target = forms.ChoiceField(required=False)

    def __init__(
        self, role: str, targets: Iterable[Target], chosen: Target | None, data: Any = None
    ) -> None:
        initial = {"target": str(chosen.pk) if chosen else ""}
        super().__init__(data, initial=initial, prefix=role, use_required_attribute=False)
        self.targets = {str(target.pk): target for target in targets}
        if chosen is not None:  # its connection may be switched off meanwhile
            self.targets.setdefault(str(chosen.pk), chosen)
        field = self.fields["target"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - it is declared above
        field.label = str(_LABELS[role])
        named = [(pk, _named(target)) for pk, target in self.targets.items()]
        field.choices = [("", _("nobody: such checks are not judged")), *named]

    def clean_target(self) -> Target | None:
        return self.targets.get(self.cleaned_data["target"])


def _named(target: Target) -> str:
    parameters = parameters_text(target)
    return f"{target}  {parameters}" if parameters else str(target)
