"""What a monitor would notice of a fall, measured once on its own baseline and kept with it.

Measuring plays some thousand made-up nights (kb.drift.planner) and takes from a second to a few
minutes, so a worker does it and pages read what was kept. It waits until no run has been under way
for a while, and gives up when one comes: it would keep a processor busy that runs wait for. The row
is the truth: a baseline in use without a measurement is owed one, and a worker that takes it says so
with a lease.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet

from kb.drift import assessing, planner, runs
from kb.drift.models import Baseline, Completion, Monitor, Run
from kb.drift.verdict import CaseCounts

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=16)
"""Longer than the task may take: whoever still holds it then is dead."""
QUIET = timedelta(minutes=1)
"""So long no run has been under way before one is begun."""
PATIENCE_SECONDS = 8 * 60.0
"""After so long no further fall is played; what is known so far is kept."""
WATCHING = (Monitor.Status.STABLE, Monitor.Status.SUSPECT, Monitor.Status.DRIFTED)
"""States of a monitor whose baseline is whole."""


def owed() -> QuerySet[Baseline]:
    """The baselines in use that are still to be measured, the newest first."""
    in_use = Monitor.objects.filter(status__in=WATCHING).values("baseline")
    return Baseline.objects.filter(pk__in=in_use, power__isnull=True).order_by("-pk")


def claim(*, now: datetime) -> Baseline | None:
    """Take one baseline that is owed a measurement; None when there is none, or no time for it.

    One at a time in the whole installation, and none while it has runs to drive.
    """
    if owed().filter(power_lease_ends__gte=now).exists():
        return None
    found = owed().select_related("monitor").first()
    if found is None or is_busy(now=now):
        return None
    free = Q(power_lease_ends=None) | Q(power_lease_ends__lt=now)
    taken = Baseline.objects.filter(free, pk=found.pk, power__isnull=True)
    return found if taken.update(power_lease_ends=now + LEASE) else None


def is_busy(*, now: datetime) -> bool:
    """Whether runs wait, are under way, or have just ended, as they do one after the other."""
    return Run.objects.filter(runs.UNDER_WAY | Q(finished__gte=now - QUIET)).exists()


def measure(
    baseline: Baseline,
    *,
    clock: Callable[[], float] = time.monotonic,
    patience: float = PATIENCE_SECONDS,
    is_unwelcome: Callable[[], bool] = lambda: False,
) -> None:
    """Play ever larger falls of the baseline's pass rate until one is noticed, and keep the outcome.

    Twice is once: the same baseline gives the same figures. What was measured under a schedule that
    has changed meanwhile is not kept. `is_unwelcome` is asked between two falls; then the baseline
    is given back for a quieter time.
    """
    monitor = Monitor.objects.filter(pk=baseline.monitor_id).first()
    if monitor is None:
        return  # deleted meanwhile, and the baseline with it
    counts = _counts(baseline)
    started = clock()
    found = []
    played = planner.falls(counts, policy=assessing.policy_of(monitor), seed=baseline.pk)
    for fall in played:
        found.append(dataclasses.asdict(fall))
        if is_unwelcome():
            Baseline.objects.filter(pk=baseline.pk).update(power_lease_ends=None)
            return
        if clock() - started > patience:
            logger.warning("baseline=%d power: stopped after %d falls", baseline.pk, len(found))
            break
    same = Monitor.objects.filter(
        pk=monitor.pk, schedule=monitor.schedule, baseline_repeats=monitor.baseline_repeats
    )
    Baseline.objects.filter(pk=baseline.pk, monitor__in=same.values("pk")).update(
        power={"usual": planner.usual_rate(counts), "falls": found}, power_lease_ends=None
    )


def forget(monitor: Monitor) -> None:
    """It is asked at other times now, or wants more answers: what was measured is void."""
    if monitor.baseline is not None:
        Baseline.objects.filter(pk=monitor.baseline.pk).update(power=None, power_lease_ends=None)


def _counts(baseline: Baseline) -> list[CaseCounts]:
    """Passes of the baseline's own answers, by case."""
    rows = (
        Completion.objects.filter(
            run__baseline=baseline,
            run__kind=Run.Kind.BASELINE,
            case__is_retired=False,
            is_passed__isnull=False,
        )
        .values("case")
        .annotate(judged=Count("pk"), passed=Count("pk", filter=Q(is_passed=True)))
        .order_by("case")
    )
    return [CaseCounts(row["case"], row["passed"], row["judged"]) for row in rows]
