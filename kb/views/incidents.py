"""Incidents: what happened to a model, told once, with the prompts it touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.models import User
from kb.drift import queries
from kb.drift.models import Incident
from kb.views import drift_words as words
from kb.views.people import signed_in

PAGE_SIZE = 20
OPEN_SHOWN = 5
"""Open incidents above the list of monitors; more would hide it."""


@dataclass(frozen=True)
class Touched:
    """A prompt in an incident with the verdict on it."""

    one: queries.Involved
    state: str
    verdict: words.VerdictWords | None


@dataclass(frozen=True)
class Told:
    """An incident with its prompts, as far as the reader may see them."""

    incident: Incident
    touched: Sequence[Touched]


@require_safe
def incidents(request: HttpRequest) -> HttpResponse:
    """All incidents, open ones first."""
    person = signed_in(request)
    page = Paginator(queries.incidents(person), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "rows": told(person, list(page)),
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
    }
    return render(request, "drift/incidents.html", context)


@require_safe
def incident(request: HttpRequest, pk: int) -> HttpResponse:
    """One incident: since when, and what became of each prompt."""
    person = signed_in(request)
    (found,) = told(person, [queries.incident_by_id(person, pk)])
    return render(request, "drift/incident.html", {"row": found, "incident": found.incident})


def open_incidents(person: User) -> list[Told]:
    """The latest incidents that are not over."""
    return told(person, list(queries.incidents(person, is_open=True)[:OPEN_SHOWN]))


def told(person: User, rows: Sequence[Incident]) -> list[Told]:
    """Incidents with their prompts (two queries, whatever their number)."""
    involved = queries.involved(person, [row.pk for row in rows])
    return [Told(row, [_touched(one) for one in involved.get(row.pk, [])]) for row in rows]


def _touched(one: queries.Involved) -> Touched:
    return Touched(one, queries.state_of(one.monitor), words.verdict_of(one.report, []))
