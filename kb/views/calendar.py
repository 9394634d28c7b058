"""The calendar of models: which are in use, when they end, and which prompts depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from kb.drift import queries, rules
from kb.drift.models import Monitor
from kb.llm import catalogue, spending
from kb.llm import rules as llm_rules
from kb.llm.models import Target
from kb.views.people import signed_in

HORIZON_DAYS = 5 * 365
"""Ends further away concern nobody's plans."""


@dataclass(frozen=True)
class Dependent:
    """A monitored prompt that depends on a model."""

    monitor: Monitor
    can_compare: bool


@dataclass(frozen=True)
class InUse:
    """A model that prompts depend on; `urgency` is the smallest warning it has come under, or 0."""

    target: Target
    ending: catalogue.Ending | None
    urgency: int
    dependents: Sequence[Dependent]


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Models with prompts this person may see: those that end first, then the others by name."""
    person = signed_in(request)
    today = spending.today(timezone.now())
    endings = {one.target.pk: one for one in catalogue.retiring(HORIZON_DAYS, today=today)}
    by_target: dict[int, list[Monitor]] = {}
    for monitor in queries.visible_to(person).order_by("prompt__title", "pk"):
        by_target.setdefault(monitor.target_id, []).append(monitor)
    rows = [
        InUse(
            target=monitors[0].target,
            ending=endings.get(target_id),
            urgency=_urgency(endings.get(target_id)),
            dependents=[Dependent(one, rules.can_monitor(person, one.prompt)) for one in monitors],
        )
        for target_id, monitors in by_target.items()
    ]
    rows.sort(
        key=lambda row: (
            row.ending is None,
            row.ending.retires if row.ending else date.max,
            row.target.model,
        )
    )
    context = {"rows": rows, "can_manage": llm_rules.can_manage(person)}
    return render(request, "drift/calendar.html", context)


def _urgency(ending: catalogue.Ending | None) -> int:
    if ending is None:
        return 0
    return min((days for days in catalogue.WARNING_DAYS if ending.days_left <= days), default=0)
