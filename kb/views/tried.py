"""From an answer in the playground to the first test case of a monitor."""

from __future__ import annotations

from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotFound
from kb.drift import trial_queries
from kb.drift.trial_models import TrialAnswer
from kb.forms.drift import CaseDraft, Draft
from kb.forms.trials import number_of
from kb.prompts.models import Prompt


def tried_answer(person: User, prompt: Prompt, typed: str) -> TrialAnswer | None:
    """The answer the person came from; None without one. Raises NotFound for one to another prompt."""
    number = number_of(typed)
    if number is None:
        return None
    found = trial_queries.answer_by_id(person, number)
    if found.trial.version.prompt_id != prompt.pk:
        raise NotFound(
            _("Answer %(pk)s is not one to “%(title)s”.") % {"pk": number, "title": prompt.title}
        )
    return found


def begin_with(draft: Draft, answer: TrialAnswer) -> None:
    """Make what was tried the first and only case: its version, model, values, and its good answer."""
    case = CaseDraft(name=_("From a trial with %(model)s") % {"model": answer.model}, is_open=True)
    case.values = {str(name): str(value) for name, value in answer.trial.values.items()}
    if answer.outcome == TrialAnswer.Outcome.ANSWERED:
        case.answer = answer.text
        case.propose()
    draft.cases = [case]
    if answer.target_id is not None:
        draft.target = str(answer.target_id)
    version = answer.trial.version
    if version.pk != version.prompt.current_id:
        draft.version, draft.follows = str(version.number), "no"
