"""The calendar of models: which are in use, when they end, and which prompts depend on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from kb.core.errors import Invalid
from kb.drift import comparing, queries, rules
from kb.drift.models import Monitor
from kb.forms.retirements import EVERYWHERE, RetirementForm
from kb.forms.trials import number_of
from kb.llm import actions, catalogue, spending
from kb.llm import queries as llm
from kb.llm import rules as llm_rules
from kb.llm.models import Retirement, Target
from kb.views.people import signed_in

type Key = tuple[int | None, str]
"""Whom an entered end is about: a connection, None for all, and a model."""


@dataclass(frozen=True)
class Dependent:
    """A monitored prompt that depends on a model, and the calls a comparison would take."""

    monitor: Monitor
    calls: int


@dataclass(frozen=True)
class InUse:
    """A model that prompts depend on; `urgency` is the smallest warning it has come under, or 0.

    `successor` is what can be asked in its place, `entered` what somebody wrote about its end.
    """

    target: Target
    ending: catalogue.Ending | None
    urgency: int
    dependents: Sequence[Dependent]
    successor: Target | None
    entered: Retirement | None


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Models with prompts this person may see: those that end first, then the others by name."""
    person = signed_in(request)
    can_manage = llm_rules.can_manage(person)
    found = catalogue.endings(today=spending.today(timezone.now()))
    endings = {one.target.pk: one for one in found}
    successors = catalogue.successors(found)
    entered = _entered(person) if can_manage else {}
    by_target: dict[int, list[Monitor]] = {}
    for monitor in queries.visible_to(person).order_by("prompt__title", "pk"):
        by_target.setdefault(monitor.target_id, []).append(monitor)
    cases = queries.case_counts([row.pk for rows in by_target.values() for row in rows])
    rows = [
        InUse(
            target=monitors[0].target,
            ending=endings.get(target_id),
            urgency=urgency(endings.get(target_id)),
            dependents=[_dependent(one, cases.get(one.pk, 0)) for one in monitors],
            successor=successors.get(target_id),
            entered=_about(entered, monitors[0].target),
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
    shown = {row.entered.pk for row in rows if row.entered}
    context = {
        "rows": rows,
        "can_manage": can_manage,
        "can_ask": rules.can_ask(person),
        "others": [one for one in entered.values() if one.pk not in shown],
    }
    return render(request, "drift/calendar.html", context)


def _entered(person: User) -> Mapping[Key, Retirement]:
    return {(row.connection_id, row.model): row for row in llm.retirements(person)}


def _about(entered: Mapping[Key, Retirement], target: Target) -> Retirement | None:
    return entered.get((target.connection_id, target.model)) or entered.get((None, target.model))


def _dependent(monitor: Monitor, cases: int) -> Dependent:
    return Dependent(monitor=monitor, calls=2 * min(cases, comparing.MOST_COMPARED))


def urgency(ending: catalogue.Ending | None) -> int:
    """The smallest of the distances at which people are warned that an ending has come under; 0 for none."""
    if ending is None:
        return 0
    return min((days for days in catalogue.WARNING_DAYS if ending.days_left <= days), default=0)


# --- Entering ends ----------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def retirement_new(request: HttpRequest) -> HttpResponse:
    """Enter the end of a model; `?model=` and `?connection=` begin it."""
    return _form_page(request, signed_in(request), None)


@require_http_methods(["GET", "HEAD", "POST"])
def retirement_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what somebody entered."""
    person = signed_in(request)
    return _form_page(request, person, llm.retirement_by_id(person, pk))


@require_POST
def retirement_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Take an entry back; what the provider lists counts again."""
    person = signed_in(request)
    found = llm.retirement_by_id(person, pk)
    actions.delete_retirement(retirement=found, by=person)
    messages.success(
        request, _("No end of %(model)s is entered any more.") % {"model": found.model}
    )
    return redirect("model-calendar")


def _form_page(request: HttpRequest, person: User, found: Retirement | None) -> HttpResponse:
    form = RetirementForm(
        request.POST if request.method == "POST" else None,
        connections=list(llm.connections(person)),
        found=found,
        begun=_begun(request),
    )
    if form.is_bound and form.is_valid() and _saved(request, person, form, found):
        return redirect("model-calendar")
    context = {"form": form, "retirement": found, "models": llm.model_names()}
    status = 422 if form.is_bound else 200
    return render(request, "drift/retirement.html", context, status=status)


def _begun(request: HttpRequest) -> dict[str, Any]:
    connection = number_of(request.GET.get("connection", ""))
    return {
        "model": request.GET.get("model", "")[:120].replace("\x00", ""),
        "connection": str(connection or EVERYWHERE),
    }


def _saved(
    request: HttpRequest, person: User, form: RetirementForm, found: Retirement | None
) -> bool:
    try:
        saved = actions.save_retirement(by=person, instead_of=found, **form.to_fields())
    except Invalid as error:
        _place_refusals(form, error)
        return False
    messages.success(request, _("Noted: %(model)s ends.") % {"model": saved.model})
    return True


def _place_refusals(form: forms.Form, error: Invalid) -> None:
    for name, message in error.fields.items():
        form.add_error(name if name in form.fields else None, str(message))
    if not error.fields:
        form.add_error(None, str(error))
