"""Who may set up and judge monitors."""

from __future__ import annotations

from accounts.models import User
from kb.prompts import rules as prompt_rules
from kb.prompts.actions import department_ids
from kb.prompts.models import Prompt


def can_monitor(person: User, prompt: Prompt) -> bool:
    """Whether the person may watch this prompt for drift: whoever may edit it."""
    return prompt_rules.can_edit(person, prompt, department_ids(prompt))
