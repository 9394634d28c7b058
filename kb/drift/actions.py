"""What people and programs ask of monitors: setting up, changing, recording, accepting."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.queries import time_zones
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.core.words import clean_line
from kb.drift import (
    assertions,
    assessing,
    grader_queries,
    incidents,
    judging,
    power,
    rules,
    runs,
    state,
    watch,
)
from kb.drift.assertions import InvalidAssertion
from kb.drift.grading import RUBRIC
from kb.drift.models import Baseline, DriftReport, Monitor, Run, TestCase
from kb.drift.schedule import InvalidSchedule, Schedule, parse
from kb.llm.models import Target
from kb.prompts.models import Prompt, PromptVersion

MOST_CASES = 50
MOST_ASSERTIONS = 20
MOST_BASELINE_REPEATS = 20
LONGEST_CASE = 200_000
"""Characters of the values of one case."""
HALTS = ("cases_do_not_fit",)


@dataclass(frozen=True)
class CaseFields:
    """One test case as a person enters it."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    assertions: Sequence[Mapping[str, Any]] = ()


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
    runs.plan_next(monitor, now)
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
    monitor = state.locked(monitor)
    state.must_monitor(by, monitor)
    measured_with = (monitor.schedule, monitor.baseline_repeats)
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
    if (monitor.schedule, monitor.baseline_repeats) != measured_with:
        power.forget(monitor)
    runs.plan_next(monitor, now)
    return monitor


@transaction.atomic
def delete_monitor(*, monitor: Monitor, by: User, now: datetime) -> None:
    """End the promise; its runs go with it."""
    state.must_monitor(by, monitor)
    prompt = monitor.prompt
    Monitor.objects.filter(pk=monitor.pk).update(status=Monitor.Status.NEW, baseline=None)
    monitor.delete()
    state.show_state(prompt)


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
            queued.append(runs.queue_baseline(monitor, by=monitor.owner, now=now).pk)
    return queued


@transaction.atomic
def record_baseline(
    *, monitor: Monitor, by: User, now: datetime, slot: datetime | None = None
) -> Run:
    """Queue a run whose answers become the baseline as soon as it is done ('record now').

    Raises NotAllowed, Conflict when another run of this monitor is waiting or under way.
    """
    monitor = state.locked(monitor)
    state.must_monitor(by, monitor)
    runs.must_be_idle(monitor)
    return runs.queue_baseline(monitor, by=by, now=now, slot=slot)


@transaction.atomic
def learn_over_nights(*, monitor: Monitor, by: User, now: datetime) -> Baseline:
    """Let the next nights be the baseline: one answer to each case a night, until there are enough.

    Better than recording all at once, because a hosted model has good and bad days. Raises
    NotAllowed, Conflict while a run is waiting or under way.
    """
    monitor = state.locked(monitor)
    state.must_monitor(by, monitor)
    runs.must_be_idle(monitor)
    baseline = Baseline.objects.create(monitor=monitor, accepted=now, accepted_by=by, created=now)
    state.begin(monitor, Monitor.Status.LEARNING, baseline=baseline, now=now)
    return baseline


@transaction.atomic
def accept_as_normal(*, monitor: Monitor, by: User, now: datetime, note: str = "") -> Baseline:
    """What the model answers now is how it should be: the answers since the change begin a new epoch.

    Until there are as many as a baseline has, the next nights are learned from, not judged. Raises
    NotAllowed, Conflict when no run has been judged.
    """
    monitor = state.locked(monitor)
    state.must_monitor(by, monitor)
    judged = monitor.runs.filter(
        status=Run.Status.DONE, report__isnull=False, baseline=monitor.baseline_id
    ).exclude(report__verdict=DriftReport.Verdict.NOT_JUDGED)
    if not judged.exists():
        raise Conflict(_("No run has been judged yet; record a baseline instead."))
    cases = list(monitor.cases.filter(is_retired=False).values_list("pk", flat=True))
    memory = watch.accept(
        memory=watch.Memory.from_dict(monitor.memory),
        cases=cases,
        pool=assessing.pool_of(monitor),
        policy=assessing.policy_of(monitor),
    )
    baseline = Baseline.objects.create(
        monitor=monitor, accepted=now, accepted_by=by, note=clean_line(note)[:300], created=now
    )
    since = assessing.slot_near(memory.epoch_from - runs.SESSIONS)
    judged.filter(slot__gt=since).update(baseline=baseline, kind=Run.Kind.BASELINE, is_usual=True)
    learning, stable = Monitor.Status.LEARNING, Monitor.Status.STABLE
    status = stable if memory.phase == "stable" else learning
    state.begin(monitor, status, baseline=baseline, now=now, memory=memory.to_dict())
    incidents.close_settled(now=now)
    return baseline


@transaction.atomic
def request_run(*, monitor: Monitor, by: User, now: datetime, slot: datetime | None = None) -> Run:
    """Queue one run by hand. Raises NotAllowed, Conflict without a baseline or while one is under way."""
    monitor = state.locked(monitor)
    state.must_monitor(by, monitor)
    if monitor.baseline_id is None:
        raise Conflict(
            _(
                "This monitor has no baseline yet; record one first, so that there is something to compare with."
            )
        )
    runs.must_be_idle(monitor)
    return runs.insert_run(monitor, kind=Run.Kind.MANUAL, slot=slot or now, by=by, now=now)


def cancel_run(*, run: Run, by: User, now: datetime) -> bool:
    """Stop a waiting or running run; what was answered stays. False when it has ended already."""
    state.must_monitor(by, run.monitor)
    changed = Run.objects.filter(
        pk=run.pk, status__in=[Run.Status.QUEUED, Run.Status.RUNNING]
    ).update(
        status=Run.Status.CANCELLED, reason="cancelled", finished=now, lease_ends=None, assessed=now
    )
    if changed:
        state.leave_learning(run.monitor, now)
    return bool(changed)


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
    if name not in time_zones():
        message = _("“%(name)s” is not a time zone; write one like Europe/Paris.") % {"name": name}
        raise Invalid(message, fields={"time_zone": message})
    return name


def _write_cases(monitor: Monitor, version: PromptVersion, cases: Sequence[CaseFields]) -> bool:
    """Replace the cases when they differ; returns whether they did. Raises Invalid.

    A rule that needs a model nobody has chosen is refused, except where the monitor has such rules
    already: they stay as they are, not judged, until somebody chooses one.
    """
    judged = grader_queries.types_judged() | types_used(monitor)
    clean = [
        _clean_case(number, case, version, judged) for number, case in enumerate(cases, start=1)
    ]
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


def types_used(monitor: Monitor) -> frozenset[str]:
    """The types of rules among its cases that a model has to judge by."""
    return frozenset(
        rule.type
        for case in monitor.cases.filter(is_retired=False)
        for rule in judging.rules_of(case)
        if rule.type in assertions.MODEL_TYPES
    )


def _clean_case(
    number: int, case: CaseFields, version: PromptVersion, judged: Collection[str]
) -> TestCase:
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
    if problem := runs.problem_with(version, values):
        raise Invalid(f"{name}: {problem}", fields={where: problem})
    if len(case.assertions) > MOST_ASSERTIONS:
        message = _("“%(name)s” has more than %(most)s assertions.") % {
            "name": name,
            "most": MOST_ASSERTIONS,
        }
        raise Invalid(message, fields={where: message})
    try:
        parsed = [assertions.parse(item) for item in case.assertions]
    except InvalidAssertion as error:
        raise Invalid(f"{name}: {error}", fields={where: str(error)}) from error
    for rule in parsed:
        if rule.type in assertions.MODEL_TYPES and rule.type not in judged:
            message = (
                _(
                    "“%(type)s” needs a model that judges, and none is chosen. An administrator of the company chooses one under Connections; until then, use rules on the text."
                )
                if rule.type == RUBRIC
                else _(
                    "“%(type)s” needs an embeddings model, and none is chosen. An administrator of the company chooses one under Connections; until then, use rules on the text."
                )
            ) % {"type": rule.type}
            raise Invalid(f"{name}: {message}", fields={where: message})
    rules_of_case = [rule.to_dict() for rule in parsed]
    return TestCase(name=name, variables=values, assertions=rules_of_case)


def _cases_fit(monitor: Monitor) -> bool:
    known = {v["name"] for v in monitor.version.variables}
    return all(
        set(case.variables) <= known and not runs.problem_with(monitor.version, case.variables)
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
    state.begin(monitor, Monitor.Status.NEW, baseline=None, now=now)
