"""Examples of an answer on the page of a prompt, and taking one off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.models import User
from kb.drift import rules, trial_queries, trials
from kb.drift.trial_models import TrialAnswer
from kb.prompts.models import Prompt
from kb.views.people import signed_in
from kb.views.trial_words import filled_in


@dataclass(frozen=True)
class Example:
    """A kept answer with what was filled in to get it."""

    answer: TrialAnswer
    values: Sequence[tuple[str, str]]
    can_remove: bool


def examples(person: User, prompt: Prompt) -> list[Example]:
    """What colleagues kept as examples of an answer to the prompt, the latest first (one query)."""
    departments = [department.pk for department in prompt.departments.all()]
    return [
        Example(
            answer,
            filled_in(answer.trial.version, answer.trial.values),
            rules.can_remove_example(person, answer, departments),
        )
        for answer in trial_queries.examples(prompt)
    ]


@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Take an example off the page of its prompt."""
    person = signed_in(request)
    found = trial_queries.example_by_id(person, pk)
    trials.remove_example(answer=found, by=person)
    messages.success(request, _("The example is off the page of the prompt."))
    return redirect("prompt", slug=found.trial.version.prompt.slug)
