"""A finished run against its baseline: what it says, what state follows, whom to tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from kb.drift import state, verdict
from kb.drift.models import Baseline, Completion, DriftReport, Monitor, Run

ALPHA = 0.01
"""A verdict of drift needs an exact two-sided chance below this."""


@transaction.atomic
def assess(run_id: int, *, now: datetime) -> DriftReport | None:
    """Compare a finished run with its baseline, settle the monitor's state, tell whom it concerns.

    A baseline run is accepted instead. Twice is once: `assessed` is set in the same transaction.
    """
    run = (
        Run.objects.select_for_update(of=("self",))
        .select_related(
            "monitor__prompt", "monitor__target__connection", "monitor__owner", "baseline"
        )
        .filter(pk=run_id, status=Run.Status.DONE, assessed=None)
        .first()
    )
    if run is None:
        return None
    monitor = state.locked(run.monitor)
    Run.objects.filter(pk=run.pk).update(assessed=now)
    if run.kind == Run.Kind.BASELINE:
        _accept_recorded(run, monitor, now)
        return None
    if run.baseline_id is None or run.baseline_id != monitor.baseline_id:
        return None  # the epoch has ended while the run was under way
    judgement = _judge(run)
    report = DriftReport.objects.create(
        run=run,
        baseline_id=run.baseline_id,
        verdict=judgement.verdict,
        direction=judgement.direction or "",
        reason=judgement.reason,
        p_worse=judgement.p_worse,
        p_better=judgement.p_better,
        pass_rate_baseline=judgement.pass_rate_baseline,
        pass_rate=judgement.pass_rate,
        changed_cases=list(judgement.changed_cases),
        created=now,
    )
    _settle(monitor, run, report, now)
    return report


def _accept_recorded(run: Run, monitor: Monitor, now: datetime) -> None:
    """Make a recorded baseline the one to compare with, when enough of it was answered."""
    cases = set(monitor.cases.filter(is_retired=False).values_list("pk", flat=True))
    answered = set(
        run.completions.filter(outcome=Completion.Outcome.ANSWERED).values_list(
            "case_id", flat=True
        )
    )
    if run.baseline is None or len(answered & cases) < verdict.LEAST_JUDGED_SHARE * len(cases):
        state.leave_learning(monitor, now)
        state.count_missed(monitor, run, now)
        return
    Baseline.objects.filter(pk=run.baseline.pk).update(accepted=now, accepted_by=run.requested_by)
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=0)
    state.set_status(monitor, Monitor.Status.STABLE, now=now, baseline=run.baseline)


def _judge(run: Run) -> verdict.Judgement:
    """The run against every answer of its baseline, case by case."""
    cases = list(run.monitor.cases.filter(is_retired=False).values_list("pk", flat=True))
    base = _passes(
        Completion.objects.filter(run__baseline=run.baseline, run__kind=Run.Kind.BASELINE)
    )
    now = _passes(run.completions.all())
    return verdict.judge(
        [verdict.CaseCounts(pk, *base[pk]) for pk in cases],
        [verdict.CaseCounts(pk, *now[pk]) for pk in cases],
        alpha=ALPHA,
    )


def _passes(completions: Any) -> Mapping[int, tuple[int, int]]:
    """Case id to (passed, judged)."""
    counts: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for case_id, is_passed in completions.filter(is_passed__isnull=False).values_list(
        "case_id", "is_passed"
    ):
        passed, judged = counts[case_id]
        counts[case_id] = (passed + int(is_passed), judged + 1)
    return counts


def _settle(monitor: Monitor, run: Run, report: DriftReport, now: datetime) -> None:
    if report.verdict == DriftReport.Verdict.NOT_JUDGED:
        state.count_missed(monitor, run, now)
        return
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=0)
    before, after = monitor.status, _STATUS_OF[report.verdict]
    if before == after:
        return
    state.set_status(monitor, after, now=now, baseline=monitor.baseline)
    kind = {Monitor.Status.DRIFTED: "drifted", Monitor.Status.STABLE: "recovered"}.get(after)
    if kind is None or (kind == "recovered" and before != Monitor.Status.DRIFTED):
        return
    state.tell(
        monitor,
        kind,
        key=f"{kind}:{monitor.pk}:{run.pk}",
        now=now,
        direction=report.direction,
        before=_percent(report.pass_rate_baseline),
        now_passes=_percent(report.pass_rate),
        cases=len(report.changed_cases),
    )


_STATUS_OF: Mapping[str, Monitor.Status] = {
    DriftReport.Verdict.STABLE: Monitor.Status.STABLE,
    DriftReport.Verdict.SUSPECT: Monitor.Status.SUSPECT,
    DriftReport.Verdict.DRIFTED: Monitor.Status.DRIFTED,
}


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.0%}"
