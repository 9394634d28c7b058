"""What a template may name before this reader."""

from __future__ import annotations

from django import template

from accounts.models import User
from kb.prompts.models import Prompt
from kb.prompts.queries import is_readable

register = template.Library()


@register.filter
def readable_by(prompt: Prompt, person: User) -> bool:
    """Whether the person may read the prompt; without a query once their standing is known."""
    return is_readable(prompt, person)
