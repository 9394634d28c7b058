"""Runs from their slot to their end: queueing, claiming, asking the model, ending.

Rows are the truth. A run waits as a row, is claimed by one conditional update, keeps a short lease
alive while it works, and ends in one final state; whatever dies, `reclaim_lost_runs` finds the row
again when the lease has run out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.db import IntegrityError, transaction
from django.db.models import Avg, F, Q, Sum
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import Conflict
from kb.drift import assertions, grader_queries, judging, state
from kb.drift.assertions import Facts
from kb.drift.grading import grade_again
from kb.drift.leases import LEASE, kept_alive
from kb.drift.models import Baseline, Completion, Monitor, Run, TestCase
from kb.drift.schedule import next_slot, parse, slots_between
from kb.llm import clients, spending
from kb.llm.base import STOPPING_KINDS, LLMError, Message, Provider, Reply, Request
from kb.llm.models import Price
from kb.llm.queries import price_of
from kb.prompts import template
from kb.prompts.actions import department_ids
from kb.prompts.models import PromptVersion

RUN_SECONDS = 12 * 60.0
"""How long the calls of one run may take together; below the soft limit of its task (15 min)."""


MOST_ATTEMPTS = 3
"""How often a run is begun again after its worker died."""


SESSIONS = 2
"""Sessions a run may have: its own, and one more that confirms a suspicion at once."""
MOST_REPEATS = 100
"""More answers to one case than any session asks for: keeps the places of two sessions apart."""
MOST_CATCH_UP = 30
"""Missed slots written down as skipped after a standstill; the newest one is run."""


UNDER_WAY = Q(status__in=[Run.Status.QUEUED, Run.Status.RUNNING]) | Q(awaits_judge=True)
"""Runs that have to be done with before the next of their monitor: nights are compared in order."""


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
    plan_next(monitor, now)
    if monitor.baseline_id is None or monitor.halt:
        _insert_final(monitor, newest, Run.Status.SKIPPED, monitor.halt or "no_baseline", now)
        return None
    if not monitor.target.connection.is_enabled:
        _insert_final(monitor, newest, Run.Status.SKIPPED, "connection_off", now)
        return None
    if monitor.runs.filter(UNDER_WAY).exists():
        _insert_final(monitor, newest, Run.Status.SKIPPED, "still_running", now)
        return None
    try:
        with transaction.atomic():
            return insert_run(monitor, kind=Run.Kind.SCHEDULED, slot=newest, by=None, now=now).pk
    except IntegrityError:
        return None  # another beat was first


def queue_confirmations(*, now: datetime, most: int = 500) -> list[int]:
    """Write down a run for every suspicion whose second session is due; returns their ids."""
    due = Monitor.objects.filter(confirm_at__lte=now).values_list("pk", flat=True)[:most]
    return [run_id for pk in list(due) if (run_id := _queue_confirmation(pk, now)) is not None]


@transaction.atomic
def _queue_confirmation(monitor_id: int, now: datetime) -> int | None:
    monitor = (
        Monitor.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("target__connection", "baseline")
        .filter(pk=monitor_id, confirm_at__lte=now)
        .first()
    )
    if monitor is None or monitor.confirm_at is None:
        return None
    slot, monitor.confirm_at = monitor.confirm_at, None
    can_run = monitor.is_enabled and not monitor.halt and monitor.target.connection.is_enabled
    busy = monitor.runs.filter(UNDER_WAY).exists()
    queued = None
    if monitor.baseline_id is not None and can_run and not busy:
        with suppress(IntegrityError, Conflict), transaction.atomic():
            kind = Run.Kind.CONFIRMATION
            queued = insert_run(monitor, kind=kind, slot=slot, by=None, now=now).pk
    monitor.wanted = {}  # without a confirmation the next night, as planned, decides
    monitor.save(update_fields=["confirm_at", "wanted"])
    return queued


def waiting_runs(*, now: datetime, most: int = 200) -> list[int]:
    """Ids of runs nobody works on, oldest first."""
    return list(
        Run.objects.filter(status=Run.Status.QUEUED)
        .order_by("created", "pk")
        .values_list("pk", flat=True)[:most]
    )


def unassessed_runs(*, now: datetime, most: int = 200) -> list[int]:
    """Ids of finished runs whose comparison is still owed and need not wait for the judge."""
    rows = Run.objects.filter(status=Run.Status.DONE, assessed=None)
    return list(
        rows.filter(grader_queries.need_not_wait(now))
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


def calls_of(run: Run) -> int:
    """Answers the run will ask for, confirmations not counted."""
    asked = (run.plan or [{}])[0]
    cases = run.monitor.cases.filter(is_retired=False).count()
    return sum(asked.values()) if asked else cases * run.repeats


@dataclass(frozen=True)
class _Job:
    """One answer to get: its case, session and repeat, and what to send."""

    case: TestCase
    session: int
    repeat: int
    request: Request | None
    problem: str = ""


async def execute(
    run: Run,
    *,
    provider: Provider,
    clock: Callable[[], datetime],
    confirm: Callable[[Run], Mapping[int, int]] = lambda _run: {},
    access: judging.Access | None = None,
    budget_seconds: float = RUN_SECONDS,
) -> None:
    """Fill the run's empty places with answers, have them judged, end it. Safe again after a crash.

    `confirm` says which answers a second session shall add, by case id, once the first is whole.
    `access` leads to the models that judge where a rule needs one. Calls go out together, as many
    at once as the connection allows, and every answer is written down as it comes; a place once
    filled is never asked for again, and neither is a verdict. Models are asked outside any
    transaction. Ends as done when anything was answered, else as failed or timeout.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + budget_seconds
    jobs = await sync_to_async(_missing_jobs)(run)
    price = await sync_to_async(price_of)(run.monitor.target)
    purse = await sync_to_async(_purse)(run, price)
    metered = spending.Metered(provider, purse, clock)
    places = asyncio.Semaphore(run.monitor.target.connection.calls_at_once)
    stop: list[LLMError] = []

    async def renew() -> bool:
        return await sync_to_async(_renew)(run, clock())

    async def gate(_attempt: int) -> None:
        """Before anything leaves: is the run still ours, is everything still switched on?"""
        if lost.is_set() or not await sync_to_async(_may_call)(run):
            raise LLMError("cancelled", "Switched off or taken over.", permanent=True)

    async def ask(job: _Job) -> Completion | None:
        """Fill one place; the answer when it is still to be judged."""
        async with places:
            if job.request is None:
                error = LLMError("bad_request", job.problem, permanent=True)
            elif stop:
                error = LLMError(stop[0].kind, stop[0].message, permanent=True)
            else:
                try:
                    # The provider's clock is time.monotonic, and so is the loop's.
                    reply = await metered.complete(job.request, deadline=deadline, gate=gate)
                except LLMError as refused:
                    error = refused
                    if refused.kind in STOPPING_KINDS:
                        stop.append(refused)
                else:
                    return await sync_to_async(_keep_reply)(run, job, reply, price, clock())
            if not lost.is_set():
                await sync_to_async(_keep_error)(run, job, error, clock())
            return None

    async def judge(row: Completion) -> None:
        await judging.judge(row, bench, clock=clock, is_ours=lambda: not lost.is_set())

    async def answer(job: _Job) -> None:
        # Judged outside the places: a slow judge keeps no answer waiting.
        if (row := await ask(job)) is not None:
            await judge(row)

    async with kept_alive(renew) as lost:
        payer = judging.Payer(purse.department_id, judging.reference_of(run))
        is_judged = await sync_to_async(judging.is_needed)(run)
        way = access if is_judged else None
        bench = await judging.bench_for(payer, way, clock=clock, deadline=deadline, gate=gate)
        rows = await sync_to_async(judging.owed)(run, bench) if is_judged else []
        while (jobs or rows) and not lost.is_set():
            await asyncio.gather(*map(answer, jobs), *map(judge, rows))
            rows, jobs = [], [] if stop else await sync_to_async(_further_jobs)(run, confirm)
    if not lost.is_set():
        await sync_to_async(_finish)(run, clock())


def fail(run: Run, *, error: LLMError, now: datetime) -> None:
    """End a claimed run that could not even begin, such as one whose key cannot be opened."""
    status = Run.Status.CANCELLED if error.kind == "cancelled" else Run.Status.FAILED
    _end(run, status, error.kind, now)


def insert_run(
    monitor: Monitor,
    *,
    kind: str,
    slot: datetime,
    by: User | None,
    now: datetime,
    baseline: Baseline | None = None,
    repeats: int = 1,
) -> Run:
    plan = {} if kind == Run.Kind.BASELINE or monitor.confirm_at else monitor.wanted
    if monitor.runs.filter(slot=slot).exists():
        raise Conflict(_("There is a run for %(slot)s already.") % {"slot": slot.isoformat()})
    if by is not None:
        transaction.on_commit(partial(clients.hurry, monitor.target.connection_id))
    return Run.objects.create(
        monitor=monitor,
        kind=kind,
        slot=slot,
        baseline=baseline or monitor.baseline,
        repeats=repeats,
        plan=[plan] if plan else [],
        grader=assertions.VERSION,
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


def plan_next(monitor: Monitor, now: datetime) -> None:
    upcoming = next_slot(
        parse(monitor.schedule), now, ZoneInfo(monitor.time_zone), jitter_key=str(monitor.pk)
    )
    monitor.next_slot = upcoming if monitor.is_enabled else None
    monitor.save(update_fields=["next_slot"])


def _purse(run: Run, price: Price | None) -> spending.Purse:
    """What pays for the run: the connection, and the prompt's first department."""
    return spending.purse_for(
        run.monitor.target,
        department_id=min(department_ids(run.monitor.prompt), default=None),
        reference=f"run:{run.pk}",
        price=price,
        usual_output=_usual_output(run.monitor),
    )


def _usual_output(monitor: Monitor) -> int | None:
    """Tokens of the answers so far, on average; None before the first."""
    answers = Completion.objects.filter(run__monitor=monitor, output_tokens__isnull=False)
    mean = answers.order_by("-pk")[:MOST_REPEATS].aggregate(mean=Avg("output_tokens"))["mean"]
    return None if mean is None else math.ceil(mean)


def _missing_jobs(run: Run) -> list[_Job]:
    """The places of the run without an answer yet, in an order that spreads the repeats of a case."""
    filled = set(run.completions.values_list("case_id", "session", "repeat"))
    target, version = run.monitor.target, run.monitor.version
    cases = list(run.monitor.cases.filter(is_retired=False))
    made = []
    for session, asked in enumerate(run.plan or [{}]):
        counts = {case.pk: asked.get(str(case.pk), 0) if asked else run.repeats for case in cases}
        for repeat in range(max(counts.values(), default=0)):
            for case in cases:
                if repeat >= counts[case.pk] or (case.pk, session, repeat) in filled:
                    continue
                if problem := problem_with(version, case.variables):
                    made.append(_Job(case, session, repeat, None, problem))
                    continue
                parameters = clients.parameters_for(
                    target,
                    version.parameters,
                    slot=run.slot,
                    repeat=session * MOST_REPEATS + repeat,
                )
                messages = messages_of(version, case.variables)
                made.append(
                    _Job(case, session, repeat, Request(messages, target.model, parameters))
                )
    return made


def _further_jobs(run: Run, confirm: Callable[[Run], Mapping[int, int]]) -> list[_Job]:
    """What a second session of the same run has to ask; nothing when there is nothing to confirm."""
    if len(run.plan) >= SESSIONS or not (wanted := confirm(run)):
        return []
    run.plan = [*(run.plan or [{}]), {str(case): count for case, count in wanted.items()}]
    run.save(update_fields=["plan"])
    return _missing_jobs(run)


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


def _keep_reply(
    run: Run, job: _Job, reply: Reply, price: Price | None, now: datetime
) -> Completion | None:
    """Write an answer down; the row of its place when a model has to judge what stands there."""
    outcome = outcome_of(reply)
    cost = clients.cost(price, reply.input_tokens, reply.output_tokens)
    rules = judging.rules_of(job.case)
    facts = Facts(finish=reply.finish, latency_ms=reply.latency_ms, cost=cost)
    has_answer = outcome == Completion.Outcome.ANSWERED
    verdicts = grade_again(rules, [None] * len(rules), reply.text, facts, has_answer=has_answer)
    _insert_completion(
        Completion(
            run=run,
            case=job.case,
            session=job.session,
            repeat=job.repeat,
            outcome=outcome,
            text=reply.text,
            verdicts=verdicts,
            is_passed=assertions.together(rules, verdicts),
            served_model=reply.model[:120],
            fingerprint=(reply.fingerprint or "")[:120],
            finish=reply.finish,
            request_digest=_digest(job.request),
            request_id=(reply.request_id or "")[:120],
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            latency_ms=reply.latency_ms,
            cost=cost,
            calls=reply.attempts,
            created=now,
        )
    )
    if not has_answer or not judging.needs_a_model(job.case):
        return None
    place = {"run": run, "case": job.case, "session": job.session, "repeat": job.repeat}
    return Completion.objects.select_related("case").filter(**place, judged=None).first()


def _keep_error(run: Run, job: _Job, error: LLMError, now: datetime) -> None:
    _insert_completion(
        Completion(
            run=run,
            case=job.case,
            session=job.session,
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


def outcome_of(reply: Reply) -> str:
    """What became of an answer, as a Completion.Outcome other than missing."""
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


_STATUS_OF_KIND: Mapping[str, Run.Status] = {
    "timeout": Run.Status.TIMEOUT,
    "cancelled": Run.Status.CANCELLED,
    "over_budget": Run.Status.OVER_BUDGET,
}


def _finish(run: Run, now: datetime) -> None:
    """End a run by what its places hold; the state commits alone, the comparison follows."""
    rows = list(run.completions.values_list("outcome", "error_kind"))
    answered = sum(outcome != Completion.Outcome.MISSING for outcome, _kind in rows)
    if answered:
        _end(run, Run.Status.DONE, "", now)
        return
    kinds = Counter(kind for _outcome, kind in rows)
    kind = kinds.most_common(1)[0][0] if kinds else "bad_request"
    status = _STATUS_OF_KIND.get(kind, Run.Status.FAILED)
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
        monitor = state.locked(run.monitor)
        state.leave_learning(monitor, now)
        if status != Run.Status.CANCELLED:
            state.count_missed(monitor, run, now)
    return ended


def problem_with(version: PromptVersion, values: Mapping[str, str]) -> str:
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
        messages_of(version, values)
    except template.MissingVariables as error:
        return _("no value for %(names)s") % {"names": ", ".join(error.names)}
    return ""


def messages_of(version: PromptVersion, values: Mapping[str, str]) -> tuple[Message, ...]:
    """What is sent: the system text, then the prompt. Raises template.MissingVariables."""
    variables = template.variables_from(version.variables)
    text = Message("user", template.fill(version.text, values, variables))
    if not version.system:
        return (text,)
    return (Message("system", template.fill(version.system, values, variables)), text)


def queue_baseline(
    monitor: Monitor, *, by: User | None, now: datetime, slot: datetime | None = None
) -> Run:
    baseline = Baseline.objects.create(monitor=monitor, created=now)
    run = insert_run(
        monitor,
        kind=Run.Kind.BASELINE,
        slot=slot or now,
        by=by,
        now=now,
        baseline=baseline,
        repeats=monitor.baseline_repeats,
    )
    if monitor.baseline_id is None:
        state.set_status(monitor, Monitor.Status.LEARNING, now=now, baseline=None)
    return run


def must_be_idle(monitor: Monitor) -> None:
    busy = monitor.runs.filter(UNDER_WAY).first()
    if busy is not None:
        raise Conflict(
            _("Run %(pk)s of this monitor has not ended yet; wait for it or cancel it.")
            % {"pk": busy.pk}
        )
