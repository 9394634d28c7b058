"""What every page shows around its content."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from kb.llm import rules as llm_rules
from kb.notifications.queries import unread_count
from kb.prompts import rules

_PLACES = {
    "prompt": "prompts",
    "retrospective": "retrospectives",
    "wish": "wishes",
    "monitor": "monitors",
    "run": "monitors",
    "incident": "monitors",
    "model": "monitors",
    "retirement": "monitors",
    "spending": "monitors",
}
"""The first word of a route's name to the entry of the main menu it belongs to."""


def chrome(request: HttpRequest) -> dict[str, Any]:
    """Context of the frame; asked only when a template prints the frame."""
    return {"chrome": SimpleLazyObject(lambda: _frame(request))}


def _frame(request: HttpRequest) -> dict[str, Any]:
    person = getattr(request, "user", None)
    match = request.resolver_match
    first_word = (match.url_name or "").split("-")[0].rstrip("s") if match else ""
    frame: dict[str, Any] = {
        "place": _PLACES.get(first_word, ""),
        "is_demo": settings.EMBEDDED,
        "unread": 0,
        "can_publish": False,
        "can_administrate": False,
    }
    if isinstance(person, User):
        frame |= {
            "unread": unread_count(person),
            "can_publish": rules.can_publish(person),
            "can_administrate": llm_rules.can_manage(person),
        }
    return frame
