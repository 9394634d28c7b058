"""Reads about monitors, runs and drift."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotFound
from kb.drift.models import Completion, DriftReport, Monitor, Run, TestCase
from kb.prompts.models import Prompt
from kb.prompts.queries import visible_to as prompts_visible_to

WORST_FIRST = (
    Monitor.Status.DRIFTED,
    Monitor.Status.SUSPECT,
    Monitor.Status.STABLE,
    Monitor.Status.LEARNING,
    Monitor.Status.NEW,
)


def visible_to(person: User) -> QuerySet[Monitor]:
    """The monitors of the prompts this person may read."""
    return Monitor.objects.filter(prompt__in=prompts_visible_to(person)).select_related(
        "prompt", "version", "target__connection", "owner", "baseline"
    )


def by_id(person: User, pk: int) -> Monitor:
    """One monitor. Raises NotFound, also when it exists for others only."""
    found = visible_to(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no monitor %(pk)s here.") % {"pk": pk})
    return found


def run_by_id(person: User, pk: int) -> Run:
    """One run. Raises NotFound, also when it exists for others only."""
    found = (
        Run.objects.select_related(
            "monitor__prompt",
            "monitor__version",
            "monitor__target__connection",
            "report",
            "baseline",
        )
        .filter(pk=pk, monitor__in=visible_to(person).values("pk"))
        .first()
    )
    if found is None:
        raise NotFound(_("There is no run %(pk)s here.") % {"pk": pk})
    return found


@dataclass(frozen=True)
class State:
    """What cards and pages say about drift of one prompt: its worst monitor."""

    status: str
    since: datetime
    model: str
    is_simulated: bool
    monitor_id: int
    last_run: datetime | None


def states(prompt_ids: Collection[int]) -> Mapping[int, State]:
    """Prompt id to its worst state; prompts nothing watches are absent (two queries)."""
    rows = list(
        Monitor.objects.filter(prompt__in=prompt_ids)
        .select_related("target__connection")
        .exclude(status=Monitor.Status.NEW)
    )
    last = dict(
        Run.objects.filter(monitor__in=[row.pk for row in rows], status=Run.Status.DONE)
        .order_by("monitor", "-slot")
        .distinct("monitor")
        .values_list("monitor", "slot")
    )
    found: dict[int, State] = {}
    for row in sorted(
        rows, key=lambda monitor: WORST_FIRST.index(Monitor.Status(monitor.status)), reverse=True
    ):
        found[row.prompt_id] = State(
            status=row.status,
            since=row.status_since,
            model=row.target.model,
            is_simulated=row.target.connection.provider == "simulated",
            monitor_id=row.pk,
            last_run=last.get(row.pk),
        )
    return found


def drifting(person: User, most: int) -> list[Monitor]:
    """Monitors in trouble on prompts this person may read, latest first."""
    troubled = visible_to(person).filter(
        status__in=[Monitor.Status.DRIFTED, Monitor.Status.SUSPECT]
    )
    return list(troubled.order_by("-status_since")[:most])


def health(person: User) -> Mapping[str, int]:
    """Monitor status to how many of those the person may see."""
    rows = dict(visible_to(person).order_by().values_list("status").annotate(Count("pk")))
    return {status: rows.get(status, 0) for status in WORST_FIRST}


@dataclass(frozen=True)
class Night:
    """One run in the history of a monitor, as a chart and its table show it."""

    run_id: int
    slot: datetime
    kind: str
    status: str
    verdict: str
    pass_rate: float | None
    """Share of judged answers that passed; None when nothing was judged."""
    reason: str


def history(monitor: Monitor, most: int) -> list[Night]:
    """The latest runs of a monitor, oldest first (two queries)."""
    runs = list(
        monitor.runs.exclude(status__in=[Run.Status.QUEUED, Run.Status.RUNNING]).select_related(
            "report"
        )[:most]
    )
    judged = _pass_rates([run.pk for run in runs])
    return [
        Night(
            run_id=run.pk,
            slot=run.slot,
            kind=run.kind,
            status=run.status,
            verdict=_verdict(run),
            pass_rate=judged.get(run.pk),
            reason=run.reason,
        )
        for run in reversed(runs)
    ]


def _verdict(run: Run) -> str:
    report = _report(run)
    return report.verdict if report else ""


def _report(run: Run) -> DriftReport | None:
    return getattr(run, "report", None)


def _pass_rates(run_ids: Collection[int]) -> Mapping[int, float]:
    counts: dict[int, list[int]] = {}
    rows = (
        Completion.objects.filter(run__in=run_ids, is_passed__isnull=False)
        .values_list("run", "is_passed")
        .annotate(Count("pk"))
    )
    for run_id, is_passed, count in rows:
        passed_judged = counts.setdefault(run_id, [0, 0])
        passed_judged[0] += count if is_passed else 0
        passed_judged[1] += count
    return {run_id: passed / judged for run_id, (passed, judged) in counts.items()}


def pass_rate(run: Run) -> float | None:
    """Share of the judged answers of a run that passed."""
    return _pass_rates([run.pk]).get(run.pk)


@dataclass(frozen=True)
class CaseChange:
    """One case in the comparison of a run with its baseline."""

    case: TestCase
    is_changed: bool
    baseline_passed: int
    baseline_judged: int
    passed: int
    judged: int
    answer: Completion | None
    baseline_answer: Completion | None


def case_changes(run: Run) -> list[CaseChange]:
    """Every case of a compared run with an answer of then and of now, changed ones first."""
    report = _report(run)
    changed = list(report.changed_cases) if report else []
    now = _by_case(run.completions.all())
    then = (
        _by_case(Completion.objects.filter(run__baseline=run.baseline, run__kind=Run.Kind.BASELINE))
        if run.baseline_id
        else {}
    )
    cases = TestCase.objects.filter(pk__in=set(now) | set(then)).order_by("position", "pk")
    found = [
        _case_change(case, case.pk in changed, then.get(case.pk, []), now.get(case.pk, []))
        for case in cases
    ]
    rank = {pk: position for position, pk in enumerate(changed)}
    return sorted(found, key=lambda change: rank.get(change.case.pk, len(rank)))


def _by_case(completions: QuerySet[Completion]) -> dict[int, list[Completion]]:
    found: dict[int, list[Completion]] = {}
    for completion in completions.order_by("case", "run__slot", "repeat"):
        found.setdefault(completion.case_id, []).append(completion)
    return found


def _case_change(
    case: TestCase, is_changed: bool, then: Sequence[Completion], now: Sequence[Completion]
) -> CaseChange:
    def judged(rows: Sequence[Completion]) -> list[Completion]:
        return [row for row in rows if row.is_passed is not None]

    return CaseChange(
        case=case,
        is_changed=is_changed,
        baseline_passed=sum(bool(row.is_passed) for row in then),
        baseline_judged=len(judged(then)),
        passed=sum(bool(row.is_passed) for row in now),
        judged=len(judged(now)),
        answer=now[0] if now else None,
        baseline_answer=_usual(then),
    )


def _usual(rows: Sequence[Completion]) -> Completion | None:
    """An answer of the baseline that stands for it: a passing one when there is one."""
    answered = [row for row in rows if row.outcome == Completion.Outcome.ANSWERED] or list(rows)
    return next((row for row in answered if row.is_passed), answered[0] if answered else None)


def monitors_of(prompt: Prompt) -> QuerySet[Monitor]:
    """The monitors of a prompt; its visibility is the prompt's."""
    return prompt.monitors.select_related("target__connection", "version", "baseline")
