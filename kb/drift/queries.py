"""Reads about monitors, runs and drift."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
    Window,
)
from django.db.models.functions import RowNumber
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotFound
from kb.drift import assessing, likenesses, planner, power, severity
from kb.drift.assessing import answers_of_each_case
from kb.drift.models import Completion, DriftReport, Incident, Monitor, Run, TestCase
from kb.drift.reading import Reader
from kb.drift.runs import UNDER_WAY
from kb.drift.schedule import MANUAL, InvalidSchedule, looks_per_year, parse
from kb.drift.state import RUNS_BEFORE_UNCHECKED
from kb.llm import clients
from kb.llm.models import Target
from kb.llm.queries import price_of
from kb.llm.simulated import CHARACTERS_PER_TOKEN
from kb.prompts.models import Prompt
from kb.prompts.queries import visible_to as prompts_visible_to

WORST_FIRST = (
    Monitor.Status.DRIFTED,
    Monitor.Status.SUSPECT,
    Monitor.Status.STABLE,
    Monitor.Status.LEARNING,
    Monitor.Status.NEW,
)
HALTED = "halted"
"""Shown instead of a status while a monitor is kept from running by its own cases."""
INCOMPLETE = "incomplete"
"""A mark beside the state: the latest run could not be judged, for want of answers."""
OVER_BUDGET = "over_budget"
"""A mark beside the state: the latest run was held back by a budget."""
MARKS = (INCOMPLETE, OVER_BUDGET)
STATES = (
    Monitor.Status.DRIFTED,
    Monitor.Status.SUSPECT,
    HALTED,
    Monitor.Status.NEW,
    Monitor.Status.LEARNING,
    Monitor.Status.STABLE,
)
"""What the list of monitors is counted by and sorted by: what needs a person comes first."""
USUAL_OUTPUT_TOKENS = 400
"""Of an answer, some 300 words, while the prompt has not been answered yet."""
MONTHS = 12
MOST_COMPARED_WITH = 30
"""Usual answers of a case among which the one most like the answer of now is looked for."""


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


def state_of(monitor: Monitor) -> str:
    """One of STATES."""
    return HALTED if monitor.halt else monitor.status


def is_unchecked(monitor: Monitor) -> bool:
    """Whether so many runs in a row could not be judged that its state may be out of date."""
    return monitor.missed_runs >= RUNS_BEFORE_UNCHECKED


def shelf(
    person: User, *, state: str = "", department: str = "", model: str = ""
) -> QuerySet[Monitor]:
    """The monitors a person may see, trouble first, the latest change first; '' filters nothing.

    `state` is one of STATES or of MARKS.
    """
    rows = _narrowed(visible_to(person), department, model)
    if state:
        rows = rows.filter(_is_in(state))
    rank = Case(*(When(_is_in(name), then=Value(place)) for place, name in enumerate(STATES)))
    return rows.order_by(rank, "-missed_runs", "-status_since", "-pk")


def counts(person: User, *, department: str = "", model: str = "") -> Mapping[str, int]:
    """How many monitors are in each of STATES, in that order, then in each of MARKS; one query.

    Each monitor is in one state; marks come on top.
    """
    rows = _narrowed(visible_to(person), department, model)
    asked = {str(state): Count("pk", filter=_is_in(state)) for state in (*STATES, *MARKS)}
    return dict(rows.order_by().aggregate(**asked))


def models_watched(person: User) -> list[str]:
    """Names of the models that monitors this person may see ask, in order."""
    names = visible_to(person).order_by("target__model").values_list("target__model", flat=True)
    return list(names.distinct())


def _narrowed(rows: QuerySet[Monitor], department: str, model: str) -> QuerySet[Monitor]:
    """The rows of a department and a model, each with `last_status`, how its latest run ended."""
    latest = Run.objects.filter(monitor=OuterRef("pk"), status__in=Run.FINAL)
    rows = rows.annotate(last_status=Subquery(latest.order_by("-slot").values("status")[:1]))
    if department:
        rows = rows.filter(
            prompt__in=Prompt.objects.filter(departments__slug=department).values("pk")
        )
    return rows.filter(target__model=model) if model else rows


def _is_in(state: str) -> Q:
    """The monitors `state_of` puts into this state, or that have this mark."""
    match state:
        case "halted":
            return Q(halt__gt="")
        case "incomplete":
            # A run held back by a budget is missed as well; that has a mark of its own.
            is_held_back = Q(last_status=Run.Status.OVER_BUDGET, last_status__isnull=False)
            return Q(missed_runs__gt=0) & ~is_held_back
        case "over_budget":
            return Q(last_status=Run.Status.OVER_BUDGET)
        case _:
            return Q(halt="", status=state)


def unwatched_prompts(person: User, most: int) -> list[Prompt]:
    """Published prompts of this person that nothing re-runs yet, the newest first."""
    own = Prompt.objects.filter(
        author=person, status=Prompt.Status.PUBLISHED, current__isnull=False, monitors=None
    )
    return list(own.order_by("-published", "-pk")[:most])


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
    usual: float | None = None
    """What the baseline of that time passed; None when the run was not compared with one."""
    passed: int = 0
    judged: int = 0
    """Answers that passed, of those with a verdict."""
    likeness: float | None = None
    """How alike its answers are to the usual ones, from 0 to 1; None where that was not measured."""
    is_notice: bool = False
    """A change that is certain and too small, or too short, to tell anybody."""


def history(monitor: Monitor, most: int) -> list[Night]:
    """The latest runs of a monitor, oldest first (two queries)."""
    return _nights(list(_ended(monitor.runs.all())[:most]))


def histories(monitor_ids: Collection[int], most: int) -> Mapping[int, list[Night]]:
    """`history` of several monitors at once (two queries); a monitor without runs is absent."""
    newest = (
        Run.objects.filter(monitor__in=monitor_ids)
        .exclude(status__in=[Run.Status.QUEUED, Run.Status.RUNNING])
        .annotate(
            place=Window(
                RowNumber(), partition_by=F("monitor"), order_by=[F("slot").desc(), F("pk").desc()]
            )
        )
        .filter(place__lte=most)
        .values("pk")
    )
    runs = list(Run.objects.filter(pk__in=newest).select_related("report"))
    nights = {night.run_id: night for night in _nights(runs)}
    found: dict[int, list[Night]] = {}
    for run in reversed(runs):
        found.setdefault(run.monitor_id, []).append(nights[run.pk])
    return found


def _ended(runs: QuerySet[Run]) -> QuerySet[Run]:
    under_way = [Run.Status.QUEUED, Run.Status.RUNNING]
    return runs.exclude(status__in=under_way).select_related("report")


def _nights(runs: Sequence[Run]) -> list[Night]:
    """The runs, given newest first, as nights with the oldest first."""
    judged = _judged([run.pk for run in runs])
    return [_night(run, *judged.get(run.pk, (0, 0))) for run in reversed(runs)]


def _night(run: Run, passed: int, judged: int) -> Night:
    report = _report(run)
    if doubt_of(run):
        passed = judged = 0
    rate = passed / judged if judged else None
    is_baseline = run.kind == Run.Kind.BASELINE
    # A run that was accepted as the new normal keeps its report on the baseline before it.
    return Night(
        run_id=run.pk,
        slot=run.slot,
        kind=run.kind,
        status=run.status,
        verdict=report.verdict if report and not is_baseline else "",
        pass_rate=rate,
        reason=run.reason or (report.reason if report else ""),
        usual=rate if is_baseline else (report.pass_rate_baseline if report else None),
        passed=passed,
        judged=judged,
        is_notice=report is not None and report.severity == DriftReport.Severity.NOTICE,
    )


def _report(run: Run) -> DriftReport | None:
    return getattr(run, "report", None)


def doubt_of(run: Run) -> str:
    """Why the word of the judge was left aside when the run was compared; '' when it was not.

    See kb.drift.assessing.Judged. Whether the answers of such a run pass all their checks is then
    not known.
    """
    report = _report(run)
    return str(report.facts.get("without_judge", "")) if report is not None else ""


def _judged(run_ids: Collection[int]) -> Mapping[int, tuple[int, int]]:
    """Run id to (answers that passed, answers with a verdict)."""
    found: dict[int, tuple[int, int]] = {}
    rows = (
        Completion.objects.filter(run__in=run_ids, is_passed__isnull=False)
        .values_list("run", "is_passed")
        .annotate(Count("pk"))
    )
    for run_id, is_passed, count in rows:
        passed, judged = found.get(run_id, (0, 0))
        found[run_id] = (passed + (count if is_passed else 0), judged + count)
    return found


def pass_rate(run: Run) -> float | None:
    """Share of the judged answers of a run that passed."""
    if doubt_of(run):
        return None
    passed, judged = _judged([run.pk]).get(run.pk, (0, 0))
    return passed / judged if judged else None


def latest_report(monitor: Monitor) -> DriftReport | None:
    """The newest comparison with the baseline of today that could be judged."""
    if monitor.baseline_id is None:
        return None
    return (
        DriftReport.objects.filter(run__monitor=monitor, baseline=monitor.baseline_id)
        .exclude(verdict=DriftReport.Verdict.NOT_JUDGED)
        .select_related("run__baseline")
        .order_by("-run__slot", "-pk")
        .first()
    )


def last_done(monitor: Monitor) -> Run | None:
    """The newest run with answers that has been compared, or accepted."""
    done = monitor.runs.filter(status=Run.Status.DONE, assessed__isnull=False)
    return done.select_related("report").order_by("-slot", "-pk").first()


def run_under_way(monitor: Monitor) -> Run | None:
    """The run of this monitor that waits or works, if any; there is one at most."""
    return monitor.runs.filter(UNDER_WAY).first()


@dataclass(frozen=True)
class Progress:
    """How far a run has come: `answered` of the `wanted` answers are in."""

    answered: int
    wanted: int


def progress(run: Run) -> Progress:
    """How many answers of a run have come, failed ones included (two queries)."""
    cases = run.monitor.cases.filter(is_retired=False).count()
    wanted = sum(
        sum(session.values()) if session else cases * run.repeats for session in run.plan or [{}]
    )
    return Progress(run.completions.count(), wanted)


@dataclass(frozen=True)
class BaselineFacts:
    """What stands behind a comparison: answers of the baseline, and the sessions they come from."""

    answers: int
    sessions: int
    least_per_case: int
    """Of the case with the fewest answers; 0 without any."""


def baseline_facts(monitor: Monitor) -> BaselineFacts:
    """How much the baseline of a monitor rests on (two queries)."""
    answers = Completion.objects.filter(
        run__baseline=monitor.baseline_id,
        run__baseline__isnull=False,
        run__kind=Run.Kind.BASELINE,
    ).exclude(outcome=Completion.Outcome.MISSING)
    per_case = list(answers.values_list("case").annotate(Count("pk")).order_by())
    sessions = answers.aggregate(Count("run", distinct=True))["run__count"]
    return BaselineFacts(
        answers=sum(count for _case, count in per_case),
        sessions=sessions,
        least_per_case=min((count for _case, count in per_case), default=0),
    )


@dataclass(frozen=True)
class Power:
    """What a monitor would notice, in its own runs ("nights").

    `is_known` False: a worker is still measuring; then, and where no answer was judged, `usual` is
    None. `noticed` is the smallest fall of the pass rate that would be, `missed` the largest that
    probably would not; both None where nothing passes anyway.
    """

    is_known: bool
    usual: float | None
    noticed: planner.Fall | None
    missed: planner.Fall | None
    smallest_p: float
    nights_to_full_change: int | None


def planned(*, cases: int, schedule: str, repeats: int) -> planner.Plan:
    """What can be told of a monitor before it is saved.

    A schedule that cannot be read is taken for one that runs when somebody asks.
    """
    try:
        policy = assessing.policy_for(schedule, repeats)
    except InvalidSchedule:
        policy = assessing.policy_for(MANUAL, repeats)
    return planner.plan(cases=cases, policy=policy)


def power_of(monitor: Monitor) -> Power | None:
    """What this monitor would notice with the baseline it has; None without a whole one."""
    if monitor.baseline is None or monitor.status not in power.WATCHING:
        return None
    cases = monitor.cases.filter(is_retired=False).count()
    plan = planned(cases=cases, schedule=monitor.schedule, repeats=monitor.baseline_repeats)
    kept = monitor.baseline.power
    falls = [planner.Fall(**fall) for fall in (kept or {}).get("falls", ())]
    return Power(
        is_known=kept is not None,
        usual=None if kept is None else kept["usual"],
        noticed=next((fall for fall in falls if fall.nights is not None), None),
        missed=next((fall for fall in reversed(falls) if fall.nights is None), None),
        smallest_p=plan.smallest_p,
        nights_to_full_change=plan.nights_to_full_change,
    )


@dataclass(frozen=True)
class Effort:
    """What a monitor asks of a model: calls, and their price where one is known.

    What a month takes includes some second looks, and leaves the baseline out. `output_tokens` is what an answer is taken to have;
    `is_measured` tells whether earlier answers to the prompt say so.
    """

    calls_a_run: int
    calls_a_month: float
    calls_of_baseline: int
    cost_a_month: Decimal | None
    cost_of_baseline: Decimal | None
    currency: str
    output_tokens: int
    is_measured: bool


def effort(
    prompt: Prompt, target: Target | None, *, lengths: Sequence[int], schedule: str, repeats: int
) -> Effort:
    """What re-running cases whose requests have these `lengths`, in characters, takes.

    A schedule that cannot be read counts as one that is never due.
    """
    try:
        runs_a_month = looks_per_year(parse(schedule)) / MONTHS * planner.SPARE_CALLS
    except InvalidSchedule:
        runs_a_month = 0.0
    measured = _usual_output(prompt)
    output = round(measured or USUAL_OUTPUT_TOKENS)
    price = price_of(target) if target else None
    tokens = sum(math.ceil(length / CHARACTERS_PER_TOKEN) for length in lengths)
    a_run = clients.cost(price, tokens, output * len(lengths))
    return Effort(
        calls_a_run=len(lengths),
        calls_a_month=len(lengths) * runs_a_month,
        calls_of_baseline=len(lengths) * repeats,
        cost_a_month=None if a_run is None else a_run * Decimal(str(runs_a_month)),
        cost_of_baseline=None if a_run is None else a_run * repeats,
        currency=price.currency if price else "",
        output_tokens=output,
        is_measured=measured is not None,
    )


def _usual_output(prompt: Prompt) -> float | None:
    """Tokens of an answer to this prompt, over all that was asked of any model."""
    answers = Completion.objects.filter(run__monitor__prompt=prompt, output_tokens__isnull=False)
    average: float | None = answers.aggregate(Avg("output_tokens"))["output_tokens__avg"]
    return average


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
    """Every case of a compared run with its answer of now, changed ones first.

    A changed case comes with the usual answer that is most like the one of now: what differs from
    that one differs from all.
    """
    report = _report(run)
    changed = list(report.changed_cases) if report else []
    now = _by_case(run.completions.all())
    usual = Completion.objects.none()
    if report is not None:
        usual = (
            Completion.objects.filter(run__baseline=report.baseline_id)
            .filter(Q(run__is_usual=True) | Q(run__kind=Run.Kind.BASELINE))
            .exclude(run=run)
        )
    counted = {
        case: (passed, judged)
        for case, passed, judged in usual.order_by()
        .values("case")
        .annotate(
            passed=Count("pk", filter=Q(is_passed=True)),
            judged=Count("pk", filter=Q(is_passed__isnull=False)),
        )
        .values_list("case", "passed", "judged")
    }
    then = _by_case(usual.filter(case__in=changed)) if changed else {}
    cases = TestCase.objects.filter(pk__in=set(now) | set(counted)).order_by("position", "pk")
    reader = Reader()
    found = [
        _case_change(
            case,
            is_changed=case.pk in changed,
            counted=counted.get(case.pk, (0, 0)),
            then=then.get(case.pk, [])[-MOST_COMPARED_WITH:],
            now=now.get(case.pk, []),
            reader=reader,
            is_doubted=bool(doubt_of(run)),
        )
        for case in cases
    ]
    rank = {pk: position for position, pk in enumerate(changed)}
    return sorted(found, key=lambda change: rank.get(change.case.pk, len(rank)))


def _by_case(completions: QuerySet[Completion]) -> dict[int, list[Completion]]:
    found: dict[int, list[Completion]] = {}
    for completion in completions.order_by("case", "run__slot", "session", "repeat"):
        found.setdefault(completion.case_id, []).append(completion)
    return found


def _case_change(
    case: TestCase,
    *,
    is_changed: bool,
    counted: tuple[int, int],
    then: Sequence[Completion],
    now: Sequence[Completion],
    reader: Reader,
    is_doubted: bool,
) -> CaseChange:
    answer = now[0] if now else None
    passes = [row.is_passed for row in now if row.is_passed is not None and not is_doubted]
    return CaseChange(
        case=case,
        is_changed=is_changed,
        baseline_passed=counted[0],
        baseline_judged=counted[1],
        passed=sum(passes),
        judged=len(passes),
        answer=answer,
        baseline_answer=_nearest(answer, then, reader),
    )


def _nearest(
    answer: Completion | None, rows: Sequence[Completion], reader: Reader
) -> Completion | None:
    """The usual answer most like this one, of those that are answers where there are any."""
    answered = [row for row in rows if row.outcome == Completion.Outcome.ANSWERED] or list(rows)
    if answer is None or not answered:
        return answered[0] if answered else None
    return answered[severity.nearest(answer.text, [row.text for row in answered], reader)]


def answers_of(run: Run) -> list[tuple[TestCase, list[Completion]]]:
    """The cases of a run with its answers, in their order (two queries)."""
    found = _by_case(run.completions.all())
    cases = TestCase.objects.filter(pk__in=found).order_by("position", "pk")
    return [(case, found[case.pk]) for case in cases]


def cases_in_use(monitor: Monitor) -> list[TestCase]:
    """The test cases the next run will ask."""
    return list(monitor.cases.filter(is_retired=False))


def case_counts(monitor_ids: Collection[int]) -> Mapping[int, int]:
    """Monitor id to how many test cases the next run will ask; without any it is absent (one query)."""
    cases = TestCase.objects.filter(monitor__in=monitor_ids, is_retired=False)
    return dict(cases.order_by().values_list("monitor").annotate(Count("pk")))


def last_runs(monitor_ids: Collection[int]) -> Mapping[int, Run]:
    """Monitor id to its newest run, whatever its state; a monitor without runs is absent (one query)."""
    newest = (
        Run.objects.filter(monitor__in=monitor_ids)
        .select_related("report")
        .order_by("monitor_id", "-slot", "-pk")
        .distinct("monitor_id")
    )
    return {run.monitor_id: run for run in newest}


def monitors_of(prompt: Prompt) -> QuerySet[Monitor]:
    """The monitors of a prompt; its visibility is the prompt's."""
    return prompt.monitors.select_related("target__connection", "version", "baseline")


# --- Likeness ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Likeness:
    """How alike the answers of each night are to the usual ones, from 0 to 1.

    `low` and `high` are the 5 and 95 % points of the usual nights; None with fewer than
    LEAST_USUAL_NIGHTS of them, which say nothing about what is usual.
    """

    by_run: Mapping[int, float]
    low: float | None
    high: float | None


LEAST_USUAL_NIGHTS = 5
MOST_MEASURED = 300_000
"""Characters read for one chart, newest nights first; a second of work would keep a page waiting."""
_BAND = (0.05, 0.95)


def likeness(monitor: Monitor, nights: Sequence[Night]) -> Likeness:
    """Measure the nights against the usual answers of today's baseline (one query).

    Each case counts once; an answer is never compared with those of its own night.
    """
    wanted = [night.run_id for night in nights if night.status == Run.Status.DONE]
    rows = (
        Completion.objects.filter(run__in=wanted, run__baseline=monitor.baseline_id, session=0)
        .filter(case__is_retired=False)
        .exclude(outcome=Completion.Outcome.MISSING)
        .order_by("-run__slot", "case", "repeat")
        .values_list("run_id", "case_id", "run__is_usual", "text")
    )
    if monitor.baseline_id is None:
        return Likeness({}, None, None)
    found: list[likenesses.Answer] = []
    read = 0
    for run_id, case_id, is_usual, text in rows.iterator(chunk_size=500):
        read += len(text)
        if read > MOST_MEASURED:
            break
        found.append(likenesses.Answer(run_id, case_id, is_usual, text))
    by_run = likenesses.of_nights(found)
    usual = {answer.night for answer in found if answer.is_usual}
    levels = [share for run_id, share in by_run.items() if run_id in usual]
    if len(levels) < LEAST_USUAL_NIGHTS:
        return Likeness(by_run, None, None)
    low, high = likenesses.quantiles(levels, _BAND)
    return Likeness(by_run, low, high)


def nights_learnt(monitors: Collection[Monitor]) -> Mapping[int, int]:
    """Monitor id to the nights its baseline has so far, of those that learn (one query)."""
    learning = [
        monitor.baseline_id for monitor in monitors if monitor.status == Monitor.Status.LEARNING
    ]
    runs = Run.objects.filter(
        baseline__in=[pk for pk in learning if pk], kind=Run.Kind.BASELINE, status=Run.Status.DONE
    )
    return dict(runs.order_by().values_list("monitor").annotate(Count("pk")))


def learnt(monitor: Monitor) -> int:
    """Answers of each case that a monitor which learns over nights has so far; 0 before the first."""
    return answers_of_each_case(monitor, monitor.baseline) if monitor.baseline else 0


# --- Incidents --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Involved:
    """A prompt of an incident, as far as the reader may see it, with its latest report in it."""

    monitor: Monitor
    report: DriftReport


def incidents(person: User, *, is_open: bool | None = None) -> QuerySet[Incident]:
    """Incidents with a prompt this person may read, open ones first, the latest first.

    One that no report belongs to (only all prompts of a model together told it) is for whoever may
    see a monitor on that model. `is_open` None gives all.
    """
    seen = visible_to(person).order_by()
    told = DriftReport.objects.filter(incident=OuterRef("pk"), run__monitor__in=seen.values("pk"))
    anybody = DriftReport.objects.filter(incident=OuterRef("pk"))
    rows = Incident.objects.select_related("target__connection").filter(
        Exists(told) | (~Exists(anybody) & Q(is_of_model=True, target__in=seen.values("target")))
    )
    if is_open is not None:
        rows = rows.filter(closed__isnull=is_open)
    return rows.order_by(F("closed").desc(nulls_first=True), "-opened", "-pk")


def incident_by_id(person: User, pk: int) -> Incident:
    """One incident. Raises NotFound, also when it exists for others only."""
    found = incidents(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no incident %(pk)s here.") % {"pk": pk})
    return found


def involved(person: User, incident_ids: Collection[int]) -> Mapping[int, list[Involved]]:
    """Incident id to its monitors this person may see, the gravest first (two queries)."""
    seen = {
        monitor.pk: monitor
        for monitor in visible_to(person).filter(runs__report__incident__in=incident_ids).distinct()
    }
    reports = (
        DriftReport.objects.filter(incident__in=incident_ids, run__monitor__in=seen)
        .select_related("run")
        .order_by("incident_id", "run__monitor_id", "-run__slot")
        .distinct("incident_id", "run__monitor_id")
    )
    found: dict[int, list[Involved]] = {pk: [] for pk in incident_ids}
    for report in reports:
        if report.incident_id is not None:
            found[report.incident_id].append(Involved(seen[report.run.monitor_id], report))
    rank = {name: place for place, name in enumerate(DriftReport.Severity.values)}
    for rows in found.values():
        rows.sort(key=lambda one: (rank.get(one.report.severity, len(rank)), one.monitor.pk))
    return found
