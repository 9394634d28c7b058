"""Which model judges: one choice for the whole company, nobody among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.drift.grader_models import Grader
from kb.forms.targets import ChosenTargetForm
from kb.llm.models import Target

_LABELS: Mapping[str, str | Promise] = {
    Grader.Role.JUDGE: gettext_lazy("The model that judges"),
    Grader.Role.EMBEDDINGS: gettext_lazy("The model that makes the vectors"),
}


class GraderForm(ChosenTargetForm):
    """The target for one role; clean data holds it, or None for nobody."""

    def __init__(
        self, role: str, targets: Iterable[Target], chosen: Target | None, data: Any = None
    ) -> None:
        nobody = _("nobody: such checks are not judged")
        super().__init__(targets, chosen, data, nobody=nobody, prefix=role)
        self.fields["target"].label = str(_LABELS[role])
