"""A monitor's test cases on its model and on another one, side by side, before one has to move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.models import User
from kb.core.errors import NotFound
from kb.drift import assertions, comparing, queries, rules, trials
from kb.drift.comparing import ComparedCase, Side
from kb.drift.models import Monitor
from kb.drift.trial_models import Trial
from kb.forms.check_words import rule_words
from kb.forms.trials import number_of
from kb.llm import catalogue, spending
from kb.llm import queries as llm
from kb.llm import rules as llm_rules
from kb.llm.models import Target
from kb.tasks.trials import ring
from kb.views import trial_words as words
from kb.views.drift_words import Check, Stretch, Trouble, values_of
from kb.views.fragments import wants_fragment
from kb.views.monitors import LONGEST_SHOWN
from kb.views.people import signed_in


@dataclass(frozen=True)
class ShownSide:
    """One model's place in a case: its answer as the page draws it, and the checks it does not pass."""

    side: Side
    stretches: Sequence[Stretch]
    failed: Sequence[Check]
    trouble: Trouble | None


@dataclass(frozen=True)
class ShownCase:
    """One case with both answers."""

    row: ComparedCase
    values: Sequence[tuple[str, str]]
    present: ShownSide
    other: ShownSide


@require_http_methods(["GET", "HEAD", "POST"])
def compare(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask both models the cases (POST), and read what came back; `with` names the other one.

    Without it the successor that is entered for the monitor's model is taken, where it can be asked.
    """
    person = signed_in(request)
    found = queries.by_id(person, pk)
    trials.must_try(person, found.prompt)
    ending = catalogue.ending_of(found.target, today=spending.today(timezone.now()))
    typed = request.POST.get("with") or request.GET.get("with", "")
    other = _other(found, typed, ending)
    if request.method == "POST" and other is not None:
        made = comparing.begin(monitor=found, other=other, by=person, now=timezone.now())
        for trial in made:
            ring(trial.pk)
        return redirect(f"{reverse('monitor-compare', args=[pk])}?with={other.pk}")
    context = _context(person, found, other, ending)
    if wants_fragment(request):
        return render(request, "drift/compare.html#body", context)
    return render(request, "drift/compare.html", context)


def _other(found: Monitor, typed: str, ending: catalogue.Ending | None) -> Target | None:
    """The model to compare with. Raises NotFound for one that is not in use."""
    if typed:
        number = number_of(typed)
        if number is None or number == found.target_id:
            raise NotFound(_("There is no other model %(pk)s in use.") % {"pk": typed[:9]})
        return llm.target_by_id(number)
    return catalogue.successors([ending]).get(found.target_id) if ending else None


def _context(
    person: User, found: Monitor, other: Target | None, ending: catalogue.Ending | None
) -> dict[str, Any]:
    rows = comparing.comparison(person, found, other) if other else []
    asked = [row for row in rows if row.trial is not None]
    count = queries.case_counts([found.pk]).get(found.pk, 0)
    compared = min(count, comparing.MOST_COMPARED)
    owed = compared - len(asked)
    return {
        "monitor": found,
        "other": other,
        "ending": ending,
        "targets": [one for one in llm.targets() if one.pk != found.target_id],
        "rows": [_shown(row, found) for row in rows],
        "is_under_way": any(row.trial.status in Trial.UNDER_WAY for row in asked if row.trial),
        "asked_count": len(asked),
        "owed": owed,
        "compared_count": compared,
        "case_count": count,
        "calls": 2 * (owed or compared),
        "present_passes": sum(row.present.has_passed is True for row in asked),
        "other_passes": sum(row.other.has_passed is True for row in asked),
        "can_manage": llm_rules.can_manage(person),
        "can_monitor": rules.can_monitor(person, found.prompt),
    }


def _shown(row: ComparedCase, found: Monitor) -> ShownCase:
    version = found.prompt.current or found.version
    return ShownCase(
        row=row,
        values=values_of(row.case, version),
        present=_side(row, row.present),
        other=_side(row, row.other),
    )


def _side(row: ComparedCase, side: Side) -> ShownSide:
    text = side.answer.text[:LONGEST_SHOWN] if side.answer else ""
    failed = [
        Check(rule_words(assertions.parse(item)), has_passed=False, seen="")
        for item, verdict in zip(row.case.assertions, side.verdicts, strict=False)
        if verdict is False
    ]
    trouble = words.trouble_of(row.trial, side.answer) if row.trial and side.answer else None
    return ShownSide(side, [Stretch("same", text)], failed, trouble)
