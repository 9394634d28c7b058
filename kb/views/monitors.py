"""Drift: the list of monitors, the page of one, and what can be done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from kombu.exceptions import OperationalError as BrokerAway

from accounts.models import Department, User
from kb.community import rules as community_rules
from kb.drift import actions, judging, queries, rules
from kb.drift.models import Completion, DriftReport, Incident, Monitor, Run, TestCase
from kb.llm import catalogue, spending
from kb.llm import queries as llm
from kb.llm import rules as llm_rules
from kb.prompts import diff
from kb.prompts import rules as prompt_rules
from kb.prompts.models import PromptVersion
from kb.tasks import drift as tasks
from kb.views import drift_words as words
from kb.views import judging_words
from kb.views.charts import Chart, likeness_chart, pass_rate_chart
from kb.views.fragments import wants_fragment
from kb.views.incidents import open_incidents
from kb.views.monitor_setup import must_monitor, request_length
from kb.views.people import signed_in

PAGE_SIZE = 20
SMALL_NIGHTS = 30
LARGE_NIGHTS = 60
"""Runs in the large chart: two months of nights."""
OWN_SHOWN = 5
LONGEST_SHOWN = 20_000
"""Characters of an answer that are drawn and compared; the longest useful ones have some 10,000."""
LEAST_IN_COMMON = 0.2
"""Share of the longer answer both must have for words to be marked; below, all would be colour."""
MOST_COMPARED = 12
"""Changed cases whose answers are laid side by side; the rest is on the page of the run."""
UNREMARKABLE = ("cancelled", "epoch_ended", "missed", "no_baseline", "still_running")
"""Reasons a run told nothing which the person knows or which the next run makes up for."""


# --- The list ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched:
    """One line of the list."""

    monitor: Monitor
    state: str
    chart: Chart
    last: queries.Night | None
    judged: queries.Night | None
    """The latest run with something to show for it."""
    is_unchecked: bool
    is_over_budget: bool
    learnt: int
    """Nights a baseline that is being learnt has so far."""
    trouble: words.Trouble | None
    """Why the latest run told nothing, when somebody should know."""


@require_safe
def monitors(request: HttpRequest) -> HttpResponse:
    """How the library is doing, trouble first."""
    person = signed_in(request)
    state = _known(request.GET.get("state", ""), (*queries.STATES, *queries.MARKS))
    departments = list(Department.objects.all())
    department = _known(request.GET.get("department", ""), [d.slug for d in departments])
    models = queries.models_watched(person)
    model = _known(request.GET.get("model", ""), models)
    counts = queries.counts(person, department=department, model=model)
    rows = queries.shelf(person, state=state, department=department, model=model)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "rows": _watched(list(page)),
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
        "counts": counts,
        "total": sum(counts[name] for name in queries.STATES),
        "marks": queries.MARKS,
        "state": state,
        "department": department,
        "departments": departments,
        "model": model,
        "models": models,
        "incidents": open_incidents(person),
        "budget": words.budget_words(settings.RETEX_FALSE_ALARMS_A_YEAR),
        "has_models": llm.targets().exists(),
        "own": queries.unwatched_prompts(person, OWN_SHOWN),
        "can_publish": prompt_rules.can_publish(person),
        "can_manage": llm_rules.can_manage(person),
    }
    fragment = "drift/monitors.html#list" if wants_fragment(request) else "drift/monitors.html"
    return render(request, fragment, context)


def _known(value: str, known: Sequence[str]) -> str:
    return value if value in known else ""


def _watched(rows: Sequence[Monitor]) -> list[Watched]:
    nights = queries.histories([row.pk for row in rows], SMALL_NIGHTS)
    learnt = queries.nights_learnt(rows)
    return [_line(row, nights.get(row.pk, []), learnt.get(row.pk, 0)) for row in rows]


def _line(monitor: Monitor, nights: Sequence[queries.Night], learnt: int) -> Watched:
    return Watched(
        monitor=monitor,
        state=queries.state_of(monitor),
        chart=pass_rate_chart(nights, is_small=True),
        last=nights[-1] if nights else None,
        judged=next((night for night in reversed(nights) if night.verdict), None),
        is_unchecked=queries.is_unchecked(monitor),
        is_over_budget=bool(nights) and nights[-1].status == Run.Status.OVER_BUDGET,
        learnt=learnt,
        trouble=_trouble_of(nights[-1]) if nights else None,
    )


# --- One monitor ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One case of the comparison, with an answer of then beside one of now where it changed."""

    change: queries.CaseChange
    values: Sequence[tuple[str, str]]
    failed: Sequence[words.Check]
    """Checks the answer of now does not pass, with what was seen in it."""
    then: Sequence[words.Stretch]
    now: Sequence[words.Stretch]


@require_safe
def monitor(request: HttpRequest, pk: int) -> HttpResponse:
    """Everything about one monitor."""
    person = signed_in(request)
    found = queries.by_id(person, pk)
    if wants_fragment(request) and request.GET.get("part") == "power":
        return render(request, "drift/monitor.html#power", {"monitor": found, **_effort(found)})
    run = queries.run_under_way(found)
    if wants_fragment(request):
        return _now(request, found, run)
    context = _monitor_context(person, found) | _now_context(found, run)
    return render(request, "drift/monitor.html", context)


def _now(request: HttpRequest, found: Monitor, run: Run | None) -> HttpResponse:
    """The line about the run under way; when it has ended the whole page is asked for again."""
    if run is None:
        return HttpResponse(status=200, headers={"HX-Refresh": "true"})
    return render(request, "drift/monitor.html#now", _now_context(found, run))


def _now_context(found: Monitor, run: Run | None) -> dict[str, Any]:
    return {
        "monitor": found,
        "run": run,
        "progress": queries.progress(run) if run else None,
    }


def _monitor_context(person: User, found: Monitor) -> dict[str, Any]:
    nights = queries.history(found, LARGE_NIGHTS)
    report = queries.latest_report(found)
    changes = queries.case_changes(report.run) if report else []
    changed = [change for change in changes if change.is_changed]
    version = found.version
    is_doubted = report is not None and bool(queries.doubt_of(report.run))
    return {
        "state": queries.state_of(found),
        "is_unchecked": queries.is_unchecked(found),
        "is_over_budget": bool(nights) and nights[-1].status == Run.Status.OVER_BUDGET,
        "learnt": queries.learnt(found) if found.status == Monitor.Status.LEARNING else 0,
        "can_change": rules.can_monitor(person, found.prompt),
        "can_report": community_rules.can_take_part(person),
        "can_manage": llm_rules.can_manage(person),
        "schedule": words.schedule_words(found.schedule),
        "halt": words.trouble(found.halt) if found.halt else None,
        "report": report,
        "verdict": words.verdict_of(report, changes, found),
        "evidence": _evidence(found, report),
        "incident": _open_incident(person, report),
        "last": nights[-1] if nights else None,
        "last_trouble": _trouble_of(nights[-1]) if nights else None,
        "judging": judging_words.notes_on(found),
        "changed": [
            _compared(change, version, is_doubted=is_doubted) for change in changed[:MOST_COMPARED]
        ],
        "changed_count": len(changed),
        "unchanged": [change for change in changes if not change.is_changed],
        "ending": _ending(found),
        "can_try": rules.can_try(person, found.prompt),
        **_charts(found, nights),
        **_effort(found),
    }


def _ending(found: Monitor) -> catalogue.Ending | None:
    """When its model ends, once that is near enough to be told."""
    ending = catalogue.ending_of(found.target, today=spending.today(timezone.now()))
    return ending if ending and ending.days_left <= max(catalogue.WARNING_DAYS) else None


@dataclass(frozen=True)
class Evidence:
    """How much has gathered over the nights: `share` from 0 to 1 as text, and in words."""

    share: str
    words: str


def _evidence(found: Monitor, report: DriftReport | None) -> Evidence | None:
    """Shown while nothing has drifted; an alarm needs no meter."""
    is_watched = found.status in (Monitor.Status.STABLE, Monitor.Status.SUSPECT)
    if not is_watched or report is None or report.evidence is None:
        return None
    return Evidence(f"{report.evidence:.2f}", words.evidence_words(report.evidence))


def _open_incident(person: User, report: DriftReport | None) -> Incident | None:
    if report is None or report.incident_id is None:
        return None
    return queries.incidents(person, is_open=True).filter(pk=report.incident_id).first()


def _charts(found: Monitor, nights: Sequence[queries.Night]) -> dict[str, Any]:
    """The two charts, each also in the narrow form of phones, and the nights of their table."""
    alike = queries.likeness(found, nights)
    nights = [replace(night, likeness=alike.by_run.get(night.run_id)) for night in nights]
    low, high = alike.low, alike.high
    band = None if low is None or high is None else (low, high)
    return {
        "chart": pass_rate_chart(nights, is_small=False),
        "narrow_chart": pass_rate_chart(nights, is_small=False, is_narrow=True),
        "likeness": likeness_chart(nights, band) if alike.by_run else None,
        "narrow_likeness": likeness_chart(nights, band, is_narrow=True) if alike.by_run else None,
        "nights": nights[::-1],
        "reasons": {night.run_id: why.what for night in nights if (why := _reason(night))},
    }


def _reason(night: queries.Night) -> words.Trouble | None:
    """Why a night could not be judged."""
    if night.verdict == DriftReport.Verdict.NOT_JUDGED:
        return words.not_judged(night.reason)
    if night.status != Run.Status.DONE:
        return words.trouble(night.reason or night.status)
    return None


def _effort(found: Monitor) -> dict[str, Any]:
    """What the monitor can see, and what it takes."""
    cases = queries.cases_in_use(found)
    facts = queries.baseline_facts(found)
    power = queries.power_of(found)
    effort = queries.effort(
        found.prompt,
        found.target,
        lengths=[request_length(found.version, case.variables) for case in cases],
        schedule=found.schedule,
        repeats=found.baseline_repeats,
    )
    rules = [rule for case in cases for rule in judging.rules_of(case)]
    judged = judging.effort(
        [(rule.type, len(str(rule.value))) for rule in rules], answer_tokens=effort.output_tokens
    )
    return {
        "case_count": len(cases),
        "judging_calls": judged.votes + judged.vectors,
        "facts": facts,
        "power": words.power_words(power, found.schedule) if power else None,
        "effort": effort,
        "cost_a_month": words.about_money(effort.cost_a_month, effort.currency),
        "cost_of_baseline": words.about_money(effort.cost_of_baseline, effort.currency),
    }


def _trouble_of(night: queries.Night) -> words.Trouble | None:
    """What to say about a last run that told nothing, when somebody should know."""
    if night.reason in UNREMARKABLE:
        return None
    if night.status != Run.Status.DONE:
        return words.trouble(night.reason or night.status)
    if night.verdict == DriftReport.Verdict.NOT_JUDGED:
        return words.not_judged(night.reason)
    return None


def _compared(change: queries.CaseChange, version: PromptVersion, *, is_doubted: bool) -> Compared:
    old = change.baseline_answer.text[:LONGEST_SHOWN] if change.baseline_answer else ""
    new = change.answer.text[:LONGEST_SHOWN] if change.answer else ""
    then, now = _side_by_side(old, new)
    return Compared(
        change=change,
        values=words.values_of(change.case, version),
        failed=_failed_checks(change.case, change.answer, is_doubted=is_doubted),
        then=then,
        now=now,
    )


def _side_by_side(old: str, new: str) -> tuple[list[words.Stretch], list[words.Stretch]]:
    """Both texts, each with what only it has marked; unmarked when they have next to nothing in common.

    Spaces alone are not marked: nobody reads them, and indentation would hide what counts.
    """
    pieces = diff.word_diff(old, new).pieces
    common = sum(len(piece.text) for piece in pieces if piece.op == "same")
    if common < LEAST_IN_COMMON * max(len(old), len(new)):
        return [words.Stretch("same", old)], [words.Stretch("same", new)]
    marked = [
        words.Stretch("same" if piece.text.isspace() else piece.op, piece.text) for piece in pieces
    ]
    kept = list(zip(pieces, marked, strict=True))
    return (
        [stretch for piece, stretch in kept if piece.op != "insert"],
        [stretch for piece, stretch in kept if piece.op != "delete"],
    )


def _failed_checks(
    case: TestCase, answer: Completion | None, *, is_doubted: bool
) -> list[words.Check]:
    if answer is None:
        return []
    checks = words.checks_of(case, answer, is_doubted=is_doubted)
    return [check for check in checks if check.has_passed is False]


# --- Acts on a monitor ------------------------------------------------------------------------


@require_POST
def baseline(request: HttpRequest, pk: int) -> HttpResponse:
    """Record a baseline now."""
    person, found = _monitor(request, pk)
    run = actions.record_baseline(monitor=found, by=person, now=timezone.now())
    ring(run.pk)
    return redirect("run", pk=run.pk)


@require_POST
def learn(request: HttpRequest, pk: int) -> HttpResponse:
    """Let the next nights be the baseline."""
    person, found = _monitor(request, pk)
    actions.learn_over_nights(monitor=found, by=person, now=timezone.now())
    said = _(
        "Noted: the next %(nights)s nights are the baseline; after them every night is judged."
    )
    messages.success(request, said % {"nights": found.baseline_repeats})
    return redirect("monitor", pk=pk)


@require_POST
def run_now(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the model once, now."""
    person, found = _monitor(request, pk)
    run = actions.request_run(monitor=found, by=person, now=timezone.now())
    ring(run.pk)
    return redirect("run", pk=run.pk)


@require_POST
def accept(request: HttpRequest, pk: int) -> HttpResponse:
    """What the model answers now is how it should be."""
    person, found = _monitor(request, pk)
    actions.accept_as_normal(
        monitor=found,
        by=person,
        now=timezone.now(),
        note=request.POST.get("note", "").replace("\x00", ""),
    )
    found.refresh_from_db()
    messages.success(
        request,
        _("Noted: the answers since the change are the baseline from now on.")
        if found.status == Monitor.Status.STABLE
        else _("Noted: the answers since the change are usual now; the next nights add to them."),
    )
    return redirect("monitor", pk=pk)


@require_POST
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop the runs for a while, or go on with them."""
    person, found = _monitor(request, pk)
    goes_on = request.POST.get("on") == "1"
    actions.change_monitor(monitor=found, by=person, now=timezone.now(), is_enabled=goes_on)
    said = (
        _("It runs again.")
        if goes_on
        else _("Paused. Everything is kept; resume it when you like.")
    )
    messages.success(request, said)
    return redirect("monitor", pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what would go, and what pausing keeps; then delete."""
    person, found = _monitor(request, pk)
    must_monitor(person, found.prompt)
    if request.method == "POST":
        actions.delete_monitor(monitor=found, by=person, now=timezone.now())
        said = _("“%(title)s” is no longer watched on %(model)s.")
        messages.success(request, said % {"title": found.prompt.title, "model": found.target.model})
        return redirect("prompt", slug=found.prompt.slug)
    context = {"monitor": found, "run_count": found.runs.count()}
    return render(request, "drift/delete.html", context)


def _monitor(request: HttpRequest, pk: int) -> tuple[User, Monitor]:
    person = signed_in(request)
    return person, queries.by_id(person, pk)


def ring(run_id: int) -> None:
    """Wake a worker once the run is written; without a broker the clock finds the row by itself."""

    def tell() -> None:
        try:
            tasks.run.apply_async([run_id], retry=False)
        except BrokerAway:
            pass

    transaction.on_commit(tell)
