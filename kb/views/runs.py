"""Runs: how one ended, what was answered, and stopping one that has not ended."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from kb.drift import actions, queries, rules
from kb.drift.models import Completion, DriftReport, Run, TestCase
from kb.llm import queries as llm
from kb.llm import rules as llm_rules
from kb.prompts.models import PromptVersion
from kb.views import drift_words as words
from kb.views import judging_words
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in

LONGEST_SHOWN = 5_000
"""Characters of an answer shown before 'the whole answer': a run may hold a thousand of them."""


@dataclass(frozen=True)
class Answer:
    """One answer on the page of a run, with words for what it took."""

    completion: Completion
    label: str
    stretches: Sequence[words.Stretch]
    is_cut: bool
    checks: Sequence[words.Check]
    trouble: words.Trouble | None
    detail: str
    """What the provider said, for those who can do something about it."""
    seconds: str
    cost: str


@dataclass(frozen=True)
class Answered:
    """A case with its answers; `passed` of `judged` pass. `is_whole` shows them in full."""

    case: TestCase
    values: Sequence[tuple[str, str]]
    answers: Sequence[Answer]
    passed: int
    judged: int
    is_changed: bool
    is_whole: bool


@dataclass(frozen=True)
class Totals:
    """What the answers of a run took. None where the provider did not say."""

    answers: int
    missing: int
    input_tokens: int | None
    output_tokens: int | None
    median_ms: int | None
    models: Sequence[str]
    fingerprints: Sequence[str]


@require_safe
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """One run: how it ended and what was answered; it renews itself until it has ended."""
    person = signed_in(request)
    found = queries.run_by_id(person, pk)
    context = _run_context(person, found, whole_case=request.GET.get("case", ""))
    fragment = "drift/run.html#body" if wants_fragment(request) else "drift/run.html"
    return render(request, fragment, context)


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a run; what was answered stays."""
    person = signed_in(request)
    found = queries.run_by_id(person, pk)
    if actions.cancel_run(run=found, by=person, now=timezone.now()):
        messages.success(request, _("The run is stopped. What was answered stays."))
    return redirect("run", pk=pk)


def _run_context(person: User, found: Run, *, whole_case: str) -> dict[str, Any]:
    # A run that was answered has ended for people once it is compared.
    is_ended = found.status in Run.FINAL and found.assessed is not None
    report: DriftReport | None = getattr(found, "report", None)
    answers = queries.answers_of(found) if is_ended else []
    rows = [row for _case, case_rows in answers for row in case_rows]
    can_change = rules.can_monitor(person, found.monitor.prompt)
    price = llm.price_of(found.monitor.target)
    drawing = _Drawing(
        version=found.monitor.version,
        changed=frozenset(report.changed_cases if report else ()),
        whole_case=whole_case,
        currency=price.currency if price else "",
        shows_details=can_change,
        is_doubted=bool(queries.doubt_of(found)),
    )
    totals = _totals(rows)
    return {
        "run": found,
        "monitor": found.monitor,
        "is_ended": is_ended,
        "progress": queries.progress(found),
        "report": report,
        "verdict": _run_verdict(found, report),
        "trouble": _run_trouble(found, report),
        "detail": _detail(found, rows) if can_change else "",
        "totals": totals,
        "median": words.seconds(totals.median_ms),
        "cost": words.money(found.cost, drawing.currency),
        "judged": judging_words.judged(found) if is_ended else None,
        "cases": [drawing.case(case, case_rows) for case, case_rows in answers],
        "can_change": can_change,
        "can_manage": llm_rules.can_manage(person),
    }


def _detail(found: Run, rows: Sequence[Completion]) -> str:
    """What the provider said when nothing else came of the run."""
    if found.status == Run.Status.DONE:
        return ""
    return next((row.error for row in rows if row.error_kind == found.reason), "")


def _run_verdict(found: Run, report: DriftReport | None) -> words.VerdictWords | None:
    is_judged = report is not None and report.verdict != DriftReport.Verdict.NOT_JUDGED
    # An accepted run belongs to its own baseline now; its report speaks of the one before.
    if not is_judged or report is None or found.kind == Run.Kind.BASELINE:
        return None
    return words.verdict_of(report, queries.case_changes(found))


def _run_trouble(found: Run, report: DriftReport | None) -> words.Trouble | None:
    if found.status in (Run.Status.QUEUED, Run.Status.RUNNING):
        return None
    if found.status != Run.Status.DONE:
        return words.trouble(found.reason or found.status)
    if report is not None and report.verdict == DriftReport.Verdict.NOT_JUDGED:
        return words.not_judged(report.reason)
    was_refused = found.baseline is not None and found.baseline.accepted is None
    if found.kind == Run.Kind.BASELINE and found.assessed and was_refused:
        return words.trouble("baseline_refused")
    return None


def _totals(rows: Sequence[Completion]) -> Totals:
    waits = [row.latency_ms for row in rows if row.latency_ms is not None]
    missing = sum(row.outcome == Completion.Outcome.MISSING for row in rows)
    return Totals(
        answers=len(rows) - missing,
        missing=missing,
        input_tokens=_sum([row.input_tokens for row in rows]),
        output_tokens=_sum([row.output_tokens for row in rows]),
        median_ms=round(statistics.median(waits)) if waits else None,
        models=sorted({row.served_model for row in rows if row.served_model}),
        fingerprints=sorted({row.fingerprint for row in rows if row.fingerprint}),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


@dataclass(frozen=True)
class _Drawing:
    """How the answers of one run are drawn for one person."""

    version: PromptVersion
    changed: frozenset[int]
    whole_case: str
    currency: str
    shows_details: bool
    is_doubted: bool
    """The word of the judge was left aside when the run was compared."""

    def case(self, case: TestCase, rows: Sequence[Completion]) -> Answered:
        is_whole = str(case.pk) == self.whole_case
        return Answered(
            case=case,
            values=words.values_of(case, self.version),
            answers=[self.answer(case, row, len(rows), is_whole=is_whole) for row in rows],
            passed=sum(bool(row.is_passed) for row in rows),
            judged=0 if self.is_doubted else sum(row.is_passed is not None for row in rows),
            is_changed=case.pk in self.changed,
            is_whole=is_whole,
        )

    def answer(self, case: TestCase, row: Completion, count: int, *, is_whole: bool) -> Answer:
        longest = None if is_whole else LONGEST_SHOWN
        is_missing = row.outcome == Completion.Outcome.MISSING
        number = _("Answer %(n)s of %(count)s") % {"n": row.repeat + 1, "count": count}
        return Answer(
            completion=row,
            label=number if count > 1 else _("Answer"),
            stretches=[words.Stretch("same", row.text[:longest])],
            is_cut=longest is not None and len(row.text) > longest,
            checks=words.checks_of(case, row, is_doubted=self.is_doubted),
            trouble=words.trouble(row.error_kind) if is_missing else None,
            detail=row.error if self.shows_details else "",
            seconds=words.seconds(row.latency_ms),
            cost=words.money(row.cost, self.currency),
        )
