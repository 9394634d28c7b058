"""Who may set up and judge monitors, and who may try prompts."""

from __future__ import annotations

from collections.abc import Collection

from accounts.models import Membership, User
from accounts.standing import standing
from kb.drift.trial_models import TrialAnswer
from kb.prompts import rules as prompt_rules
from kb.prompts.actions import department_ids
from kb.prompts.models import Prompt
from kb.prompts.queries import is_readable


def can_monitor(person: User, prompt: Prompt) -> bool:
    """Whether the person may watch this prompt for drift: whoever may edit it."""
    return prompt_rules.can_edit(person, prompt, department_ids(prompt))


def can_ask(person: User) -> bool:
    """Whether the person may have models asked, which costs money: authors."""
    return standing(person).has(Membership.Role.AUTHOR)


def can_try(person: User, prompt: Prompt) -> bool:
    """Whether the person may have models asked this prompt: authors who can read it."""
    return can_ask(person) and is_readable(prompt, person)


def can_remove_example(person: User, answer: TrialAnswer, department_ids: Collection[int]) -> bool:
    """Whether the person may take an example off the prompt: who kept it, or who may edit the prompt."""
    is_keeper = answer.trial.asked_by_id == person.pk
    prompt = answer.trial.version.prompt
    return is_keeper or prompt_rules.can_edit(person, prompt, department_ids)
