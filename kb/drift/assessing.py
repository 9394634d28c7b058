"""A finished run against the usual answers of its monitor: what it says, what follows, whom to tell.

The science is in kb.drift.watch and below, pure; here the rows are read for it and its judgement is
written down. Everything a judgement depends on is in the rows, so it can be made again, bit for bit.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet

from kb.drift import (
    assertions,
    grader_queries,
    graders,
    incidents,
    judging,
    state,
    verdict,
    watch,
)
from kb.drift.answers import Outcome, Sample
from kb.drift.assertions import Assertion
from kb.drift.grader_queries import Trust
from kb.drift.grading import RUBRIC, grade_again
from kb.drift.models import Baseline, Completion, DriftReport, Monitor, Run, TestCase
from kb.drift.reading import Reader
from kb.drift.schedule import looks_per_year, parse

CONFIRM_AFTER = timedelta(hours=1)
"""Between a suspicion and the session that confirms it: another mood of a hosted model, not minutes."""
MOST_NIGHTS_COMPARED = 60
"""The newest nights a run is compared with, beside the baseline: more add time, hardly power."""
MANUAL_LOOKS_A_YEAR = 365
"""Counted for a monitor that runs by hand only; it may be run as often as any other."""


# --- the verdict ------------------------------------------------------------------------------


@transaction.atomic
def assess(run_id: int, *, now: datetime) -> DriftReport | None:
    """Compare a finished run with its baseline, settle the monitor's state, tell whom it concerns.

    A baseline run is accepted instead, and a night of learning is added to the baseline; both
    return None. Twice is once: `assessed` is set in the same transaction. A drift that only the
    judge sees is not told before the judge itself has been looked at: then None as well, and the
    run waits for that.
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
    if run.kind == Run.Kind.BASELINE:
        _settled(run, now)
        _accept_recorded(run, monitor, now)
        return None
    if run.baseline_id is None or run.baseline_id != monitor.baseline_id:
        _settled(run, now)
        return None  # the epoch has ended while the run was under way
    judged = _judged_by_a_sound_judge(run, monitor, now)
    if judged is None:
        return None
    _settled(run, now)
    _remember(monitor, run, judged.last, now)
    if judged.last.verdict == "learning":
        _learn(monitor, run, judged.last, now)
        return None
    report = _report(run, judged, now)
    _settle(monitor, run, report, now)
    return report


def confirmation_wanted(run: Run) -> Mapping[int, int]:
    """Answers a second session of this run shall add at once, by case id; nothing in most runs.

    A person or a program that asked for the run waits for its end, and a schedule with less than
    an hour between its slots leaves no time for another session; other runs are confirmed by a
    run of their own, `CONFIRM_AFTER` later.
    """
    if run.kind == Run.Kind.BASELINE or run.baseline_id is None or not _confirms_at_once(run):
        return {}
    monitor = Monitor.objects.select_related("baseline").get(pk=run.monitor_id)
    if monitor.baseline_id != run.baseline_id:
        return {}
    wanted = judge(run, monitor, grader_queries.trust()).last.wanted
    return wanted.samples if wanted.when == "soon" else {}


@dataclass(frozen=True)
class Judged:
    """What the sessions of a run say: the first, and the last, which counts."""

    first: watch.Judgement
    last: watch.Judgement
    passes: verdict.Judgement
    without_judge: str = ""
    """Why what the judge said is left aside: 'suspect' or 'changed', as the judge is, or 'unchecked'
    when it could not be looked at in time; '' when it counts."""


def judge(run: Run, monitor: Monitor, trust: Trust) -> Judged:
    """The run against every usual answer of its epoch. Reads; writes nothing.

    Verdicts of models count as far as `trust` goes.
    """
    cases = list(monitor.cases.filter(is_retired=False))
    earlier = _read(_earlier(monitor, run), cases, trust)
    pool = _samples(earlier, cases)
    tonight = _read(
        run.completions.select_related("run").order_by("session", "repeat"), cases, trust
    )
    policy = policy_of(monitor)
    memory = watch.Memory.from_dict(monitor.memory)
    reader = Reader()
    judgements: list[watch.Judgement] = []
    for session in sorted({one.row.session for one in tonight}) or [0]:
        rows = [one for one in tonight if one.row.session == session]
        night = watch.Night(_session_number(run, session), _samples(rows, cases))
        is_confirmation = run.kind == Run.Kind.CONFIRMATION or session > 0
        act = watch.confirm if is_confirmation else watch.judge
        judgements.append(
            act(
                memory=memory,
                cases=[case.pk for case in cases],
                pool=pool,
                night=night,
                policy=policy,
                seed=zlib.crc32(f"{monitor.pk} {night.session}".encode()),
                reader=reader,
            )
        )
        memory = judgements[-1].memory
        for pk, samples in night.samples.items():
            pool[pk] = [*pool[pk], *samples]
    base = _passes([one for one in earlier if one.row.run.is_usual])
    now = _passes(tonight)
    return Judged(
        first=judgements[0],
        last=judgements[-1],
        passes=verdict.judge(
            [verdict.CaseCounts(case.pk, *base[case.pk]) for case in cases],
            [verdict.CaseCounts(case.pk, *now[case.pk]) for case in cases],
            alpha=ALPHA,
        ),
    )


def _judged_by_a_sound_judge(run: Run, monitor: Monitor, now: datetime) -> Judged | None:
    """The comparison, without the judge's word where that may be what changed.

    None while a look at the judge is waited for, which is then asked for.
    """
    trust = grader_queries.trust()
    judged = judge(run, monitor, trust)
    if trust.judge_until is not None:
        return replace(judged, without_judge=trust.doubt) if _asks_a_judge(monitor) else judged
    is_new = judged.last.verdict == "drifted" and monitor.status != Monitor.Status.DRIFTED
    if not is_new or not trust.is_watched or not _was_judged(run) or run.finished is None:
        return judged
    if trust.judge_looked is not None and trust.judge_looked >= run.finished:
        return judged
    since = min(row.judged for row in run.completions.exclude(judged=None) if row.judged)
    alone = judge(run, monitor, trust.without_judge(since - timedelta(microseconds=1)))
    if alone.last.verdict == "drifted":
        return judged  # the texts and the other checks say so by themselves
    if run.finished + grader_queries.HELD_AT_MOST <= now:
        return replace(alone, without_judge="unchecked")
    Run.objects.filter(pk=run.pk).update(awaits_judge=True)
    graders.ask_for_look(now=now)
    return None


def _asks_a_judge(monitor: Monitor) -> bool:
    cases = monitor.cases.filter(is_retired=False)
    return any(rule.type == RUBRIC for case in cases for rule in judging.rules_of(case))


def _was_judged(run: Run) -> bool:
    return run.completions.filter(judged__isnull=False, graders__has_key=RUBRIC).exists()


def _settled(run: Run, now: datetime) -> None:
    Run.objects.filter(pk=run.pk).update(assessed=now, awaits_judge=False)


ALPHA = 0.05
"""'Worse' and 'better' are said when the exact test gives less than this; it raises no alarm."""


def policy_of(monitor: Monitor) -> watch.Policy:
    """How much of the library's yearly budget of false alarms one look of this monitor may spend."""
    return policy_for(monitor.schedule, monitor.baseline_repeats)


def policy_for(schedule: str, baseline_samples: int) -> watch.Policy:
    """The policy of a monitor with this schedule and so many answers to each case in its baseline."""
    return watch.Policy(
        budget=settings.RETEX_FALSE_ALARMS_A_YEAR,
        looks_a_year=looks_a_year(),
        looks_a_year_here=_looks_of(schedule),
        baseline_samples=baseline_samples,
    )


def looks_a_year() -> float:
    """Nights a year of all monitors that run: when one comes or goes, the budget is shared anew.

    The looks at the judge count with them.
    """
    running = Monitor.objects.filter(is_enabled=True).values_list("schedule").annotate(Count("pk"))
    of_judge = grader_queries.LOOKS_A_YEAR if grader_queries.judge_in_use() else 0
    of_monitors = sum(_looks_of(schedule) * count for schedule, count in running.order_by())
    return float(of_monitors + of_judge)


def answers_of_each_case(monitor: Monitor, baseline: Baseline) -> int:
    """How many usable answers all but the worst cases of a baseline have."""
    usable = Completion.objects.filter(
        run__baseline=baseline, run__kind=Run.Kind.BASELINE, case__is_retired=False
    ).exclude(outcome=Completion.Outcome.MISSING)
    counts = Counter(usable.values_list("case_id", flat=True))
    cases = list(monitor.cases.filter(is_retired=False).values_list("pk", flat=True))
    ranked = sorted((counts[pk] for pk in cases), reverse=True)
    needed = max(1, round(verdict.LEAST_JUDGED_SHARE * len(cases)))
    return ranked[needed - 1] if len(ranked) >= needed else 0


# --- inside: reading the rows -----------------------------------------------------------------


def pool_of(monitor: Monitor, run: Run | None = None) -> dict[int, list[Sample]]:
    """Every answer of the epoch that a night is compared with, by case, oldest first."""
    cases = list(monitor.cases.filter(is_retired=False))
    return _samples(_read(_earlier(monitor, run), cases, grader_queries.trust()), cases)


def _earlier(monitor: Monitor, run: Run | None) -> QuerySet[Completion]:
    """The answers of the epoch so far: its baseline and its newest nights."""
    epoch = Run.objects.filter(baseline=monitor.baseline_id, status=Run.Status.DONE)
    if run is not None:
        epoch = epoch.exclude(pk=run.pk).filter(slot__lt=run.slot)
    nights = epoch.exclude(kind=Run.Kind.BASELINE).order_by("-slot").values("pk")
    return (
        Completion.objects.select_related("run")
        .filter(
            Q(run__in=epoch.filter(kind=Run.Kind.BASELINE))
            | Q(run__in=nights[:MOST_NIGHTS_COMPARED])
        )
        .order_by("run__slot", "session", "repeat")
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """A stored answer with the verdicts on it that count today, and what they come to."""

    row: Completion
    verdicts: Sequence[bool | None]
    is_passed: bool | None


def _read(rows: Iterable[Completion], cases: Sequence[TestCase], trust: Trust) -> list[_Read]:
    """The answers to these cases, in their order; those of an older version of a rule judged anew."""
    rules = {case.pk: judging.rules_of(case) for case in cases}
    return [_answer(row, rules[row.case_id], trust) for row in rows if row.case_id in rules]


def _answer(row: Completion, rules: Sequence[Assertion], trust: Trust) -> _Read:
    is_current = row.run.grader == assertions.VERSION
    known = row.verdicts if is_current else _graded(rules, row)
    counted = [
        passed if trust.counts(rule, row) else None
        for rule, passed in zip(rules, known, strict=False)
    ]
    is_as_stored = is_current and counted == known
    return _Read(
        row, counted, row.is_passed if is_as_stored else assertions.together(rules, counted)
    )


def _samples(answers: Iterable[_Read], cases: Sequence[TestCase]) -> dict[int, list[Sample]]:
    """Case id to its answers, in the order they were taken."""
    found: dict[int, list[Sample]] = {case.pk: [] for case in cases}
    for one in answers:
        found[one.row.case_id].append(
            Sample(
                text=one.row.text,
                session=_session_number(one.row.run, one.row.session),
                verdicts=tuple(None if v is None else int(v) for v in one.verdicts),
                outcome=cast(Outcome, one.row.outcome),
            )
        )
    return found


def _graded(rules: Sequence[Assertion], row: Completion) -> list[bool | None]:
    return grade_again(
        rules,
        row.verdicts,
        row.text,
        judging.facts_of(row),
        has_answer=row.outcome == Completion.Outcome.ANSWERED,
    )


def _session_number(run: Run, session: int) -> int:
    """Milliseconds of the slot; grows with time, and answers that were taken together share it."""
    return int(run.slot.timestamp() * 1000) + session


def slot_near(session: int) -> datetime:
    """The slot that a session belongs to, up to the few milliseconds that tell its sessions apart."""
    return datetime.fromtimestamp(session / 1000, UTC)


def _passes(answers: Iterable[_Read]) -> Mapping[int, tuple[int, int]]:
    """Case id to (passed, judged)."""
    counts: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in answers:
        if one.is_passed is not None:
            passed, judged = counts[one.row.case_id]
            counts[one.row.case_id] = (passed + int(one.is_passed), judged + 1)
    return counts


def _looks_of(schedule: str) -> float:
    return looks_per_year(parse(schedule)) or MANUAL_LOOKS_A_YEAR


def _confirms_at_once(run: Run) -> bool:
    if run.kind == Run.Kind.MANUAL:
        return True
    a_year = looks_per_year(parse(run.monitor.schedule))
    return a_year > timedelta(days=365) / CONFIRM_AFTER


# --- inside: writing down ---------------------------------------------------------------------


def _accept_recorded(run: Run, monitor: Monitor, now: datetime) -> None:
    """Make a recorded baseline the one to compare with, when enough of it was answered."""
    if run.baseline is None or not answers_of_each_case(monitor, run.baseline):
        state.leave_learning(monitor, now)
        state.count_missed(monitor, run, now)
        return
    Baseline.objects.filter(pk=run.baseline.pk).update(accepted=now, accepted_by=run.requested_by)
    Run.objects.filter(pk=run.pk).update(is_usual=True)
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=0)
    state.begin(monitor, Monitor.Status.STABLE, baseline=run.baseline, now=now)
    incidents.close_settled(now=now)


def _remember(monitor: Monitor, run: Run, judgement: watch.Judgement, now: datetime) -> None:
    wanted = judgement.wanted
    is_soon = wanted.when == "soon"
    asks_more = set(wanted.samples.values()) - {1}
    monitor.memory = judgement.memory.to_dict()
    monitor.wanted = (
        {str(pk): n for pk, n in wanted.samples.items()} if asks_more or is_soon else {}
    )
    monitor.confirm_at = run.slot + CONFIRM_AFTER if is_soon else None
    if is_soon and monitor.confirm_at is not None and monitor.confirm_at < now:
        monitor.confirm_at = now + CONFIRM_AFTER
    monitor.save(update_fields=["memory", "wanted", "confirm_at"])


def _learn(monitor: Monitor, run: Run, judgement: watch.Judgement, now: datetime) -> None:
    """A night of learning joins the baseline."""
    Run.objects.filter(pk=run.pk).update(kind=Run.Kind.BASELINE, is_usual=True)
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=0)
    if judgement.memory.phase == "stable" and monitor.status == Monitor.Status.LEARNING:
        state.set_status(monitor, Monitor.Status.STABLE, now=now, baseline=monitor.baseline)


def _report(run: Run, judged: Judged, now: datetime) -> DriftReport:
    last, passes = judged.last, judged.passes
    is_judged = last.verdict != "incomplete"
    assert run.baseline is not None  # noqa: S101 - `assess` has seen to it
    return DriftReport.objects.create(
        run=run,
        baseline=run.baseline,
        verdict=_VERDICTS[last.verdict],
        direction=last.direction or "",
        reason="" if is_judged else "too_few_cases_judged",
        p_worse=passes.p_worse,
        p_better=passes.p_better,
        pass_rate_baseline=passes.pass_rate_baseline,
        pass_rate=passes.pass_rate,
        changed_cases=list(last.changed_cases or passes.changed_cases),
        severity=last.effect.severity
        if last.effect
        else "notice"
        if last.verdict == "notice"
        else "",
        routes=list(last.routes),
        p=judged.first.p if last.p is None else last.p,
        evidence=last.evidence,
        facts=_facts(judged) | _metadata(run),
        created=now,
    )


def _facts(judged: Judged) -> dict[str, Any]:
    """What explains the verdict, numbers and names only; pages put it into words.

    `channels`: the chance of the night by channel. `p_fresh`: of the answers taken after the
    suspicion. `effect`: kb.drift.severity.Effect. `suspicious_cases`: asked more often for now.
    `has_returned`: the answers are again as before the drift. `without_judge`: see `Judged`.
    """
    last = judged.last
    facts: dict[str, Any] = {
        "channels": dict(last.channels or judged.first.channels),
        "p_fresh": last.p_fresh,
        "suspicious_cases": list(last.suspicious_cases),
        "has_returned": last.has_returned,
    }
    if last.effect is not None:
        facts["effect"] = dataclasses.asdict(last.effect)
    if judged.without_judge:
        facts["without_judge"] = judged.without_judge
    return facts


_VERDICTS: Mapping[str, DriftReport.Verdict] = {
    "stable": DriftReport.Verdict.STABLE,
    "notice": DriftReport.Verdict.STABLE,
    "suspect": DriftReport.Verdict.SUSPECT,
    "drifted": DriftReport.Verdict.DRIFTED,
    "incomplete": DriftReport.Verdict.NOT_JUDGED,
}


def _metadata(run: Run) -> dict[str, Any]:
    """What the provider says about itself, where it differs from the usual nights: a hint, no verdict.

    The tokens of an unchanged request are counted by the model's own tokenizer: another count means
    another tokenizer, system prompt or template.
    """
    changes = {}
    usual = Completion.objects.filter(run__baseline=run.baseline, run__is_usual=True)
    for name in ("served_model", "fingerprint"):
        before = set(usual.exclude(**{name: ""}).values_list(name, flat=True).distinct()[:20])
        now = set(run.completions.exclude(**{name: ""}).values_list(name, flat=True))
        if before and now - before:
            changes[name] = {"before": sorted(before)[:3], "now": sorted(now - before)[:3]}
    asked = ("case", "request_digest", "input_tokens")
    known: dict[tuple[int, str], set[int]] = defaultdict(set)
    for case, digest, tokens in usual.exclude(input_tokens=None).values_list(*asked).distinct():
        known[case, digest].add(tokens)
    moved = [
        case
        for case, digest, tokens in run.completions.exclude(input_tokens=None).values_list(*asked)
        if known[case, digest] and tokens not in known[case, digest]
    ]
    if moved:
        changes["input_tokens"] = {"cases": sorted(set(moved))}
    return {"provider_says": changes} if changes else {}


def _settle(monitor: Monitor, run: Run, report: DriftReport, now: datetime) -> None:
    if report.verdict == DriftReport.Verdict.NOT_JUDGED:
        state.count_missed(monitor, run, now)
        return
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=0)
    before, after = monitor.status, _STATUS_OF[report.verdict]
    if after == Monitor.Status.STABLE:
        # A suspicion that was not confirmed was chance: its answers are usual ones after all.
        doubted = Run.objects.filter(
            baseline=monitor.baseline_id, report__verdict=DriftReport.Verdict.SUSPECT
        )
        Run.objects.filter(pk=run.pk).update(is_usual=True)
        if before == Monitor.Status.SUSPECT:
            doubted.filter(slot__gte=monitor.status_since).update(is_usual=True)
    if before == after:
        return
    state.set_status(monitor, after, now=now, baseline=monitor.baseline)
    if after == Monitor.Status.DRIFTED:
        incident = incidents.join(report, monitor, now=now)
        if not incident.is_of_model:
            _tell(monitor, "drifted", run, report, now)
    elif after == Monitor.Status.STABLE and before == Monitor.Status.DRIFTED:
        incidents.close_settled(now=now)
        _tell(monitor, "recovered", run, report, now)


def _tell(monitor: Monitor, kind: str, run: Run, report: DriftReport, now: datetime) -> None:
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
