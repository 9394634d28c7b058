"""Writes about monitors and their runs: setting up, queueing, claiming, executing, assessing.

Rows are the truth. A run waits as a row, is claimed by one conditional update, keeps a short lease
alive while it works, and ends in one final state; whatever dies, `reclaim_lost_runs` finds the row
again when the lease has run out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from asgiref.sync import sync_to_async
from django.db import IntegrityError, transaction
from django.db.models import F, Q, Sum
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.core.words import clean_line
from kb.drift import assertions, rules, verdict
from kb.drift.assertions import InvalidAssertion
from kb.drift.models import Baseline, Completion, DriftReport, Monitor, Run, TestCase
from kb.drift.schedule import InvalidSchedule, Schedule, next_slot, parse, slots_between
from kb.llm import clients
from kb.llm.base import LLMError, Message, Provider, Reply, Request
from kb.llm.models import Price, Target
from kb.llm.queries import price_of
from kb.notifications import actions as notifications
from kb.prompts import template
from kb.prompts.actions import readers_watching
from kb.prompts.models import Prompt, PromptVersion
from kb.search import index

MOST_CASES = 50
MOST_ASSERTIONS = 20
MOST_BASELINE_REPEATS = 20
LONGEST_CASE = 200_000
"""Characters of the values of one case."""
LEASE = timedelta(seconds=45)
"""How long a silent worker keeps a run; renewed every HEARTBEAT while it lives."""
HEARTBEAT_SECONDS = 10.0
RUN_SECONDS = 12 * 60.0
"""How long the calls of one run may take together; below the soft limit of its task (15 min)."""
MOST_ATTEMPTS = 3
"""How often a run is begun again after its worker died."""
MOST_CATCH_UP = 30
"""Missed slots written down as skipped after a standstill; the newest one is run."""
ALPHA = 0.01
"""A verdict of drift needs an exact two-sided chance below this."""
RUNS_BEFORE_UNCHECKED = 3
"""Runs in a row that could not be judged before the owner is told."""
STOPPING_KINDS = frozenset({"auth", "not_found", "egress", "cancelled"})
"""Errors that will meet every further call of the run as well, so none is made."""
HALTS = ("cases_do_not_fit",)


@dataclass(frozen=True)
class CaseFields:
    """One test case as a person enters it."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    assertions: Sequence[Mapping[str, Any]] = ()


# --- setting up -------------------------------------------------------------------------------


@transaction.atomic
def create_monitor(
    *,
    prompt: Prompt,
    target: Target,
    cases: Sequence[CaseFields],
    by: User,
    now: datetime,
    version: PromptVersion | None = None,
    schedule: str = "nightly",
    time_zone: str = "",
    baseline_repeats: int = 5,
) -> Monitor:
    """Promise to re-run a version on a target. Without `version` the monitor follows the prompt.

    Raises NotAllowed, Invalid naming the wrong input. Nothing runs before a baseline is recorded.
    """
    if not rules.can_monitor(by, prompt):
        raise NotAllowed(
            _("Only the author of “%(title)s” or a curator can watch it for drift.")
            % {"title": prompt.title}
        )
    used = version or prompt.current
    if used is None or used.prompt_id != prompt.pk:
        raise Invalid(_("This version does not belong to “%(title)s”.") % {"title": prompt.title})
    if not target.connection.is_enabled:
        raise Invalid(
            _("The connection “%(name)s” is switched off.") % {"name": target.connection.name}
        )
    _check_schedule(schedule)
    time_zone = _check_time_zone(time_zone or by.time_zone)
    monitor = Monitor.objects.create(
        prompt=prompt,
        version=used,
        target=target,
        owner=by,
        schedule=schedule.strip(),
        time_zone=time_zone,
        baseline_repeats=_check_repeats(baseline_repeats),
        follows_current=version is None,
        status_since=now,
        created=now,
    )
    _write_cases(monitor, used, cases)
    _plan_next(monitor, now)
    return monitor


@transaction.atomic
def change_monitor(
    *,
    monitor: Monitor,
    by: User,
    now: datetime,
    schedule: str | None = None,
    time_zone: str | None = None,
    is_enabled: bool | None = None,
    target: Target | None = None,
    version: PromptVersion | None = None,
    follows_current: bool | None = None,
    baseline_repeats: int | None = None,
    cases: Sequence[CaseFields] | None = None,
) -> Monitor:
    """Change a monitor. Another version, target or other cases begin a new epoch: the baseline goes.

    Naming a version ends following the prompt; `follows_current=True` begins it again.
    """
    monitor = _locked(monitor)
    _must_monitor(by, monitor)
    if baseline_repeats is not None:
        monitor.baseline_repeats = _check_repeats(baseline_repeats)
    if schedule is not None:
        _check_schedule(schedule)
        monitor.schedule = schedule.strip()
    if time_zone is not None:
        monitor.time_zone = _check_time_zone(time_zone)
    if is_enabled is not None:
        monitor.is_enabled = is_enabled
    begins_epoch = False
    if target is not None and target.pk != monitor.target_id:
        monitor.target, begins_epoch = target, True
    if version is not None:
        monitor.follows_current = False
    elif follows_current is not None:
        monitor.follows_current = follows_current
        version = monitor.prompt.current if follows_current else None
    if version is not None and version.pk != monitor.version_id:
        if version.prompt_id != monitor.prompt_id:
            raise Invalid(
                _("This version does not belong to “%(title)s”.") % {"title": monitor.prompt.title}
            )
        monitor.version, begins_epoch = version, True
    if cases is not None and _write_cases(monitor, monitor.version, cases):
        begins_epoch = True
    monitor.halt = "" if _cases_fit(monitor) else "cases_do_not_fit"
    monitor.save()
    if begins_epoch:
        _begin_epoch(monitor, now=now)
    _plan_next(monitor, now)
    return monitor


@transaction.atomic
def delete_monitor(*, monitor: Monitor, by: User, now: datetime) -> None:
    """End the promise; its runs go with it."""
    _must_monitor(by, monitor)
    prompt = monitor.prompt
    Monitor.objects.filter(pk=monitor.pk).update(status=Monitor.Status.NEW, baseline=None)
    monitor.delete()
    show_state(prompt)


@transaction.atomic
def follow_new_versions(*, now: datetime) -> list[int]:
    """Move monitors that follow their prompt to its current version and record a new baseline.

    An edit is a new epoch, never an alarm. Where the cases no longer fit the variables, the monitor
    halts and says so. Returns the ids of the runs queued.
    """
    behind = (
        Monitor.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("prompt__current", "baseline")
        .filter(
            follows_current=True,
            is_enabled=True,
            prompt__current__isnull=False,
            prompt__status=Prompt.Status.PUBLISHED,
        )
        .exclude(version=F("prompt__current"))
    )
    queued = []
    for monitor in behind[:100]:
        had_baseline = monitor.baseline_id is not None or monitor.status == Monitor.Status.LEARNING
        assert monitor.prompt.current is not None  # noqa: S101 - the filter says so
        monitor.version = monitor.prompt.current
        monitor.halt = "" if _cases_fit(monitor) else "cases_do_not_fit"
        monitor.save()
        _begin_epoch(monitor, now=now)
        if had_baseline and not monitor.halt:
            queued.append(_queue_baseline(monitor, by=monitor.owner, now=now).pk)
    return queued


# --- queueing ---------------------------------------------------------------------------------


@transaction.atomic
def record_baseline(
    *, monitor: Monitor, by: User, now: datetime, slot: datetime | None = None
) -> Run:
    """Queue a run whose answers become the baseline as soon as it is done ('record now').

    Raises NotAllowed, Conflict when another run of this monitor is waiting or under way.
    """
    monitor = _locked(monitor)
    _must_monitor(by, monitor)
    _must_be_idle(monitor)
    return _queue_baseline(monitor, by=by, now=now, slot=slot)


@transaction.atomic
def accept_as_normal(*, monitor: Monitor, by: User, now: datetime, note: str = "") -> Baseline:
    """What the model answers now is how it should be: the last judged run becomes the baseline.

    Raises NotAllowed, Conflict when there is no such run.
    """
    monitor = _locked(monitor)
    _must_monitor(by, monitor)
    run = (
        monitor.runs.filter(status=Run.Status.DONE, report__isnull=False)
        .exclude(report__verdict=DriftReport.Verdict.NOT_JUDGED)
        .order_by("-slot")
        .first()
    )
    if run is None:
        raise Conflict(_("No run has been judged yet; record a baseline instead."))
    baseline = Baseline.objects.create(
        monitor=monitor, accepted=now, accepted_by=by, note=clean_line(note)[:300], created=now
    )
    run.baseline = baseline
    run.kind = Run.Kind.BASELINE
    run.save(update_fields=["baseline", "kind"])
    _set_status(monitor, Monitor.Status.STABLE, now=now, baseline=baseline)
    return baseline


@transaction.atomic
def request_run(*, monitor: Monitor, by: User, now: datetime, slot: datetime | None = None) -> Run:
    """Queue one run by hand. Raises NotAllowed, Conflict without a baseline or while one is under way."""
    monitor = _locked(monitor)
    _must_monitor(by, monitor)
    if monitor.baseline_id is None:
        raise Conflict(
            _(
                "This monitor has no baseline yet; record one first, so that there is something to compare with."
            )
        )
    _must_be_idle(monitor)
    return _insert_run(monitor, kind=Run.Kind.MANUAL, slot=slot or now, by=by, now=now)


def queue_due_runs(*, now: datetime, most: int = 500) -> list[int]:
    """Write down a run for every slot that has come; returns their ids.

    Two beats may do this at once: the slot is unique. After a standstill the newest missed slot is
    run and the older ones are written down as skipped, so that no slot is left without an end.
    """
    due = list(
        Monitor.objects.filter(is_enabled=True, next_slot__lte=now)
        .order_by("next_slot")
        .values_list("pk", flat=True)[:most]
    )
    return [run_id for pk in due if (run_id := _queue_due_run(pk, now)) is not None]


@transaction.atomic
def _queue_due_run(monitor_id: int, now: datetime) -> int | None:
    monitor = (
        Monitor.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("target__connection", "baseline")
        .filter(pk=monitor_id, is_enabled=True, next_slot__lte=now)
        .first()
    )
    if monitor is None or monitor.next_slot is None:
        return None
    first, newest = monitor.next_slot, monitor.next_slot
    for missed in _slots(monitor, first, now):
        _insert_final(monitor, newest, Run.Status.SKIPPED, "missed", now)
        newest = missed
    _plan_next(monitor, now)
    if monitor.baseline_id is None or monitor.halt:
        _insert_final(monitor, newest, Run.Status.SKIPPED, monitor.halt or "no_baseline", now)
        return None
    if not monitor.target.connection.is_enabled:
        _insert_final(monitor, newest, Run.Status.SKIPPED, "connection_off", now)
        return None
    if monitor.runs.filter(status__in=[Run.Status.QUEUED, Run.Status.RUNNING]).exists():
        _insert_final(monitor, newest, Run.Status.SKIPPED, "still_running", now)
        return None
    try:
        with transaction.atomic():
            return _insert_run(monitor, kind=Run.Kind.SCHEDULED, slot=newest, by=None, now=now).pk
    except IntegrityError:
        return None  # another beat was first


def waiting_runs(*, now: datetime, most: int = 200) -> list[int]:
    """Ids of runs nobody works on, oldest first."""
    return list(
        Run.objects.filter(status=Run.Status.QUEUED)
        .order_by("created", "pk")
        .values_list("pk", flat=True)[:most]
    )


def unassessed_runs(most: int = 200) -> list[int]:
    """Ids of finished runs whose comparison is still owed."""
    return list(
        Run.objects.filter(status=Run.Status.DONE, assessed=None)
        .order_by("finished")
        .values_list("pk", flat=True)[:most]
    )


def reclaim_lost_runs(*, now: datetime) -> tuple[int, int]:
    """Give runs of dead workers back to the queue, or end them; returns (given back, ended)."""
    lost = Run.objects.filter(status=Run.Status.RUNNING, lease_ends__lt=now)
    ended = 0
    for run in lost.filter(attempt__gte=MOST_ATTEMPTS):
        ended += _end(run, Run.Status.TIMEOUT, "worker_lost", now)
    returned = lost.filter(attempt__lt=MOST_ATTEMPTS).update(
        status=Run.Status.QUEUED, lease_ends=None
    )
    return returned, ended


def cancel_run(*, run: Run, by: User, now: datetime) -> bool:
    """Stop a waiting or running run; what was answered stays. False when it has ended already."""
    _must_monitor(by, run.monitor)
    changed = Run.objects.filter(
        pk=run.pk, status__in=[Run.Status.QUEUED, Run.Status.RUNNING]
    ).update(
        status=Run.Status.CANCELLED, reason="cancelled", finished=now, lease_ends=None, assessed=now
    )
    if changed:
        _leave_learning(run.monitor, now)
    return bool(changed)


# --- working ----------------------------------------------------------------------------------


def claim(run_id: int, *, now: datetime) -> Run | None:
    """Take a waiting run; None when another worker was first or it has ended."""
    taken = Run.objects.filter(pk=run_id, status=Run.Status.QUEUED).update(
        status=Run.Status.RUNNING,
        started=now,
        lease_ends=now + LEASE,
        attempt=F("attempt") + 1,
    )
    if not taken:
        return None
    return Run.objects.select_related(
        "monitor__target__connection", "monitor__version", "monitor__prompt", "baseline"
    ).get(pk=run_id)


@dataclass(frozen=True)
class _Job:
    """One answer to get: its case and repeat, and what to send."""

    case: TestCase
    repeat: int
    request: Request | None
    problem: str = ""


async def execute(
    run: Run,
    *,
    provider: Provider,
    clock: Callable[[], datetime],
    budget_seconds: float = RUN_SECONDS,
) -> None:
    """Fill the run's empty places with answers and end it. Safe to call again after a crash.

    Calls go out together, as many at once as the connection allows, and every answer is written
    down as it comes; a place once filled is never asked for again. The model is asked outside any
    transaction. Ends as done when anything was answered, else as failed or timeout.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + budget_seconds
    jobs = await sync_to_async(_missing_jobs)(run)
    price = await sync_to_async(price_of)(run.monitor.target)
    places = asyncio.Semaphore(run.monitor.target.connection.calls_at_once)
    lost = asyncio.Event()
    stop: list[LLMError] = []

    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if not await sync_to_async(_renew)(run, clock()):
                lost.set()
                return

    async def gate(_attempt: int) -> None:
        """Before anything leaves: is the run still ours, is everything still switched on?"""
        if lost.is_set() or not await sync_to_async(_may_call)(run):
            raise LLMError("cancelled", "Switched off or taken over.", permanent=True)

    async def answer(job: _Job) -> None:
        async with places:
            if job.request is None:
                error = LLMError("bad_request", job.problem, permanent=True)
            elif stop:
                error = LLMError(stop[0].kind, stop[0].message, permanent=True)
            else:
                try:
                    # The provider's clock is time.monotonic, and so is the loop's.
                    reply = await provider.complete(job.request, deadline=deadline, gate=gate)
                except LLMError as refused:
                    error = refused
                    if refused.kind in STOPPING_KINDS:
                        stop.append(refused)
                else:
                    await sync_to_async(_keep_reply)(run, job, reply, price, clock())
                    return
            if not lost.is_set():
                await sync_to_async(_keep_error)(run, job, error, clock())

    beating = asyncio.create_task(heartbeat())
    try:
        await asyncio.gather(*(answer(job) for job in jobs))
    finally:
        beating.cancel()
    if not lost.is_set():
        await sync_to_async(_finish)(run, clock())


def fail(run: Run, *, error: LLMError, now: datetime) -> None:
    """End a claimed run that could not even begin, such as one whose key cannot be opened."""
    status = Run.Status.CANCELLED if error.kind == "cancelled" else Run.Status.FAILED
    _end(run, status, error.kind, now)


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
    monitor = _locked(run.monitor)
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


# --- inside: setting up -----------------------------------------------------------------------


def _locked(monitor: Monitor) -> Monitor:
    return (
        Monitor.objects.select_for_update(of=("self",))
        .select_related("prompt", "version", "target__connection", "owner", "baseline")
        .get(pk=monitor.pk)
    )


def _must_monitor(by: User, monitor: Monitor) -> None:
    if not rules.can_monitor(by, monitor.prompt):
        raise NotAllowed(
            _("Only the author of “%(title)s” or a curator can change what watches it.")
            % {"title": monitor.prompt.title}
        )


def _must_be_idle(monitor: Monitor) -> None:
    busy = monitor.runs.filter(status__in=[Run.Status.QUEUED, Run.Status.RUNNING]).first()
    if busy is not None:
        raise Conflict(
            _("Run %(pk)s of this monitor has not ended yet; wait for it or cancel it.")
            % {"pk": busy.pk}
        )


def _check_schedule(text: str) -> Schedule:
    try:
        return parse(text)
    except InvalidSchedule as error:
        raise Invalid(str(error), fields={"schedule": str(error)}) from error


def _check_repeats(count: int) -> int:
    if not 1 <= count <= MOST_BASELINE_REPEATS:
        message = _("%(value)s is outside 1 to %(most)s.") % {
            "value": count,
            "most": MOST_BASELINE_REPEATS,
        }
        raise Invalid(message, fields={"baseline_repeats": message})
    return count


def _check_time_zone(name: str) -> str:
    if name not in available_timezones():
        message = _("“%(name)s” is not a time zone; write one like Europe/Paris.") % {"name": name}
        raise Invalid(message, fields={"time_zone": message})
    return name


def _write_cases(monitor: Monitor, version: PromptVersion, cases: Sequence[CaseFields]) -> bool:
    """Replace the cases when they differ; returns whether they did. Raises Invalid."""
    clean = [_clean_case(number, case, version) for number, case in enumerate(cases, start=1)]
    if not clean:
        message = _("A monitor needs at least one test case.")
        raise Invalid(message, fields={"cases": message})
    if len(clean) > MOST_CASES:
        message = _("At most %(most)s cases; these are %(count)s.") % {
            "most": MOST_CASES,
            "count": len(clean),
        }
        raise Invalid(message, fields={"cases": message})
    old = monitor.cases.filter(is_retired=False)
    if [(c.name, c.variables, c.assertions) for c in old] == [
        (c.name, c.variables, c.assertions) for c in clean
    ]:
        return False
    old.update(is_retired=True)
    for position, case in enumerate(clean):
        case.monitor, case.position = monitor, position
    TestCase.objects.bulk_create(clean)
    return True


def _clean_case(number: int, case: CaseFields, version: PromptVersion) -> TestCase:
    where = f"cases.{number - 1}"
    name = clean_line(case.name)[:120] or _("Case %(number)s") % {"number": number}
    values = {str(key): str(value) for key, value in case.variables.items()}
    if sum(map(len, values.values())) > LONGEST_CASE:
        message = _("The values of “%(name)s” are longer than %(limit)s characters.") % {
            "name": name,
            "limit": LONGEST_CASE,
        }
        raise Invalid(message, fields={where: message})
    known = {v["name"] for v in version.variables}
    if unknown := sorted(set(values) - known):
        message = _(
            "“%(name)s” fills %(unknown)s, which the prompt does not have; it has: %(known)s."
        ) % {
            "name": name,
            "unknown": ", ".join(unknown),
            "known": ", ".join(sorted(known)) or "–",
        }
        raise Invalid(message, fields={where: message})
    if problem := _problem_with(version, values):
        raise Invalid(f"{name}: {problem}", fields={where: problem})
    if len(case.assertions) > MOST_ASSERTIONS:
        message = _("“%(name)s” has more than %(most)s assertions.") % {
            "name": name,
            "most": MOST_ASSERTIONS,
        }
        raise Invalid(message, fields={where: message})
    try:
        rules_of_case = [assertions.parse(item).to_dict() for item in case.assertions]
    except InvalidAssertion as error:
        raise Invalid(f"{name}: {error}", fields={where: str(error)}) from error
    return TestCase(name=name, variables=values, assertions=rules_of_case)


def _problem_with(version: PromptVersion, values: Mapping[str, str]) -> str:
    variables = template.variables_from(version.variables)
    length = sum(
        template.filled_length(text, values, variables) for text in (version.text, version.system)
    )
    if length > template.LONGEST_FILLED:
        return _("filled in, the prompt has %(count)s characters; at most %(limit)s fit") % {
            "count": length,
            "limit": template.LONGEST_FILLED,
        }
    try:
        _messages(version, values)
    except template.MissingVariables as error:
        return _("no value for %(names)s") % {"names": ", ".join(error.names)}
    return ""


def _messages(version: PromptVersion, values: Mapping[str, str]) -> tuple[Message, ...]:
    """What is sent: the system text, then the prompt. Raises template.MissingVariables."""
    variables = template.variables_from(version.variables)
    text = Message("user", template.fill(version.text, values, variables))
    if not version.system:
        return (text,)
    return (Message("system", template.fill(version.system, values, variables)), text)


def _cases_fit(monitor: Monitor) -> bool:
    known = {v["name"] for v in monitor.version.variables}
    return all(
        set(case.variables) <= known and not _problem_with(monitor.version, case.variables)
        for case in monitor.cases.filter(is_retired=False)
    )


def _begin_epoch(monitor: Monitor, *, now: datetime) -> None:
    """Forget the baseline: what is asked has changed, so old answers say nothing about new ones."""
    Run.objects.filter(monitor=monitor, status__in=[Run.Status.QUEUED, Run.Status.RUNNING]).update(
        status=Run.Status.CANCELLED,
        reason="epoch_ended",
        finished=now,
        lease_ends=None,
        assessed=now,
    )
    _set_status(monitor, Monitor.Status.NEW, now=now, baseline=None)


# --- inside: queueing -------------------------------------------------------------------------


def _queue_baseline(
    monitor: Monitor, *, by: User | None, now: datetime, slot: datetime | None = None
) -> Run:
    baseline = Baseline.objects.create(monitor=monitor, created=now)
    run = _insert_run(
        monitor,
        kind=Run.Kind.BASELINE,
        slot=slot or now,
        by=by,
        now=now,
        baseline=baseline,
        repeats=monitor.baseline_repeats,
    )
    if monitor.baseline_id is None:
        _set_status(monitor, Monitor.Status.LEARNING, now=now, baseline=None)
    return run


def _insert_run(
    monitor: Monitor,
    *,
    kind: str,
    slot: datetime,
    by: User | None,
    now: datetime,
    baseline: Baseline | None = None,
    repeats: int = 1,
) -> Run:
    if monitor.runs.filter(slot=slot).exists():
        raise Conflict(_("There is a run for %(slot)s already.") % {"slot": slot.isoformat()})
    return Run.objects.create(
        monitor=monitor,
        kind=kind,
        slot=slot,
        baseline=baseline or monitor.baseline,
        repeats=repeats,
        requested_by=by,
        created=now,
    )


def _insert_final(
    monitor: Monitor, slot: datetime, status: str, reason: str, now: datetime
) -> None:
    Run.objects.bulk_create(
        [
            Run(
                monitor=monitor,
                kind=Run.Kind.SCHEDULED,
                slot=slot,
                baseline=monitor.baseline,
                status=status,
                reason=reason,
                created=now,
                finished=now,
                assessed=now,
            )
        ],
        ignore_conflicts=True,
    )


def _slots(monitor: Monitor, after: datetime, until: datetime) -> list[datetime]:
    """The slots after `after` up to `until`, at most the newest MOST_CATCH_UP."""
    found = slots_between(
        parse(monitor.schedule),
        after,
        until,
        ZoneInfo(monitor.time_zone),
        jitter_key=str(monitor.pk),
    )
    return list(found)[-MOST_CATCH_UP:]


def _plan_next(monitor: Monitor, now: datetime) -> None:
    upcoming = next_slot(
        parse(monitor.schedule), now, ZoneInfo(monitor.time_zone), jitter_key=str(monitor.pk)
    )
    monitor.next_slot = upcoming if monitor.is_enabled else None
    monitor.save(update_fields=["next_slot"])


# --- inside: working --------------------------------------------------------------------------


def _missing_jobs(run: Run) -> list[_Job]:
    """The places of the run without an answer yet, in an order that spreads the repeats of a case."""
    filled = set(run.completions.values_list("case_id", "repeat"))
    target, version = run.monitor.target, run.monitor.version
    made = []
    for repeat in range(run.repeats):
        for case in run.monitor.cases.filter(is_retired=False):
            if (case.pk, repeat) in filled:
                continue
            if problem := _problem_with(version, case.variables):
                made.append(_Job(case, repeat, None, problem))
                continue
            messages = _messages(version, case.variables)
            parameters = clients.parameters_for(
                target, version.parameters, slot=run.slot, repeat=repeat
            )
            made.append(_Job(case, repeat, Request(messages, target.model, parameters)))
    return made


def _renew(run: Run, now: datetime) -> bool:
    mine = Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING, attempt=run.attempt)
    return mine.update(lease_ends=now + LEASE) == 1


def _may_call(run: Run) -> bool:
    """Whether the run is still this worker's, and its monitor and connection are switched on."""
    return Run.objects.filter(
        Q(monitor__is_enabled=True) | Q(kind__in=[Run.Kind.BASELINE, Run.Kind.MANUAL]),
        pk=run.pk,
        status=Run.Status.RUNNING,
        attempt=run.attempt,
        monitor__target__connection__is_enabled=True,
    ).exists()


def _keep_reply(run: Run, job: _Job, reply: Reply, price: Price | None, now: datetime) -> None:
    outcome = _outcome(reply)
    verdicts: list[bool | None] = []
    if outcome == Completion.Outcome.ANSWERED:
        verdicts = [
            assertions.check(assertions.parse(a), reply.text).passed for a in job.case.assertions
        ]
    else:
        verdicts = [None] * len(job.case.assertions)
    is_judged = bool(verdicts) and None not in verdicts
    _insert_completion(
        Completion(
            run=run,
            case=job.case,
            repeat=job.repeat,
            outcome=outcome,
            text=reply.text,
            verdicts=verdicts,
            is_passed=all(verdicts) if is_judged else None,
            served_model=reply.model[:120],
            fingerprint=(reply.fingerprint or "")[:120],
            finish=reply.finish,
            request_digest=_digest(job.request),
            request_id=(reply.request_id or "")[:120],
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            latency_ms=reply.latency_ms,
            cost=clients.cost(price, reply.input_tokens, reply.output_tokens),
            calls=reply.attempts,
            created=now,
        )
    )


def _keep_error(run: Run, job: _Job, error: LLMError, now: datetime) -> None:
    _insert_completion(
        Completion(
            run=run,
            case=job.case,
            repeat=job.repeat,
            outcome=Completion.Outcome.MISSING,
            verdicts=[None] * len(job.case.assertions),
            error_kind=error.kind,
            error=error.message[:500],
            request_digest=_digest(job.request),
            calls=error.attempts,
            created=now,
        )
    )


def _insert_completion(completion: Completion) -> None:
    """Write it down unless the place is filled: a worker that was thought dead may come back."""
    Completion.objects.bulk_create([completion], ignore_conflicts=True)


def _outcome(reply: Reply) -> str:
    if reply.finish in ("refusal", "content_filter"):
        return Completion.Outcome.REFUSED
    if reply.finish == "length":
        return Completion.Outcome.CUT
    if not reply.text.strip():
        return Completion.Outcome.EMPTY
    return Completion.Outcome.ANSWERED


def _digest(request: Request | None) -> str:
    if request is None:
        return ""
    sent = [
        [(m.role, m.content) for m in request.messages],
        request.model,
        dict(request.parameters),
    ]
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode("utf-8", "replace")).hexdigest()


def _finish(run: Run, now: datetime) -> None:
    """End a run by what its places hold; the state commits alone, the comparison follows."""
    rows = list(run.completions.values_list("outcome", "error_kind"))
    answered = sum(outcome != Completion.Outcome.MISSING for outcome, _kind in rows)
    if answered:
        _end(run, Run.Status.DONE, "", now)
        return
    kinds = Counter(kind for _outcome, kind in rows)
    kind = kinds.most_common(1)[0][0] if kinds else "bad_request"
    status = {"timeout": Run.Status.TIMEOUT, "cancelled": Run.Status.CANCELLED}.get(
        kind, Run.Status.FAILED
    )
    _end(run, status, kind, now)


@transaction.atomic
def _end(run: Run, status: str, reason: str, now: datetime) -> int:
    """Put a running run into a final state, once; returns 1, or 0 when it had ended."""
    sums = run.completions.aggregate(calls=Sum("calls"), cost=Sum("cost"))
    ended = Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING, attempt=run.attempt).update(
        status=status,
        reason=reason,
        finished=now,
        lease_ends=None,
        calls=sums["calls"] or 0,
        cost=sums["cost"],
        assessed=None if status == Run.Status.DONE else now,
    )
    if ended and status != Run.Status.DONE:
        monitor = _locked(run.monitor)
        _leave_learning(monitor, now)
        if status != Run.Status.CANCELLED:
            _count_missed(monitor, run, now)
    return ended


def _leave_learning(monitor: Monitor, now: datetime) -> None:
    """A baseline that was not recorded leaves the monitor as it was before."""
    if monitor.status == Monitor.Status.LEARNING and monitor.baseline_id is None:
        _set_status(monitor, Monitor.Status.NEW, now=now, baseline=None)


# --- inside: assessing ------------------------------------------------------------------------


def _accept_recorded(run: Run, monitor: Monitor, now: datetime) -> None:
    """Make a recorded baseline the one to compare with, when enough of it was answered."""
    cases = set(monitor.cases.filter(is_retired=False).values_list("pk", flat=True))
    answered = set(
        run.completions.filter(outcome=Completion.Outcome.ANSWERED).values_list(
            "case_id", flat=True
        )
    )
    if run.baseline is None or len(answered & cases) < verdict.LEAST_JUDGED_SHARE * len(cases):
        _leave_learning(monitor, now)
        _count_missed(monitor, run, now)
        return
    Baseline.objects.filter(pk=run.baseline.pk).update(accepted=now, accepted_by=run.requested_by)
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=0)
    _set_status(monitor, Monitor.Status.STABLE, now=now, baseline=run.baseline)


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
        _count_missed(monitor, run, now)
        return
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=0)
    before, after = monitor.status, _STATUS_OF[report.verdict]
    if before == after:
        return
    _set_status(monitor, after, now=now, baseline=monitor.baseline)
    kind = {Monitor.Status.DRIFTED: "drifted", Monitor.Status.STABLE: "recovered"}.get(after)
    if kind is None or (kind == "recovered" and before != Monitor.Status.DRIFTED):
        return
    _tell(
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


def _count_missed(monitor: Monitor, run: Run, now: datetime) -> None:
    missed = monitor.missed_runs + 1
    Monitor.objects.filter(pk=monitor.pk).update(missed_runs=missed)
    if missed == RUNS_BEFORE_UNCHECKED and monitor.owner is not None:
        notifications.notify(
            recipients=[monitor.owner],
            kind="unchecked",
            context={"title": monitor.prompt.title, "model": monitor.target.model, "count": missed},
            path=f"/drift/{monitor.pk}/",
            key=f"unchecked:{monitor.pk}:{run.pk}",
            now=now,
        )


def _tell(monitor: Monitor, kind: str, *, key: str, now: datetime, **context: Any) -> None:
    people = readers_watching(monitor.prompt)
    if monitor.owner is not None:
        people.append(monitor.owner)
    notifications.notify(
        recipients=people,
        kind=kind,
        context={"title": monitor.prompt.title, "model": monitor.target.model, **context},
        path=f"/drift/{monitor.pk}/",
        key=key,
        now=now,
    )


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.0%}"


def _set_status(monitor: Monitor, status: str, *, now: datetime, baseline: Baseline | None) -> None:
    monitor.status, monitor.baseline, monitor.status_since = status, baseline, now
    monitor.save(update_fields=["status", "baseline", "status_since"])
    show_state(monitor.prompt)


_WORST_FIRST = (
    Monitor.Status.DRIFTED,
    Monitor.Status.SUSPECT,
    Monitor.Status.STABLE,
    Monitor.Status.LEARNING,
)


def show_state(prompt: Prompt) -> None:
    """Tell the search the worst state among the monitors of the prompt."""
    states = set(prompt.monitors.values_list("status", flat=True))
    worst = next((status for status in _WORST_FIRST if status in states), "")
    index.set_drift(kind="prompt", object_id=prompt.pk, state=str(worst))
