"""The clock's door to re-runs. The rows decide; losing every message of the broker loses nothing."""

from __future__ import annotations

import asyncio
import logging
import time

from asgiref.sync import async_to_sync, sync_to_async
from celery import shared_task
from django.utils import timezone

from kb.core.http import HttpClient, policy_from_settings
from kb.drift import actions, anchors, assessing, incidents, judging, power, runs
from kb.drift.grader_models import AnchorLook
from kb.drift.models import Run
from kb.llm.base import LLMError
from kb.llm.clients import open_provider

logger = logging.getLogger(__name__)

MOST_CALLS_AT_ONCE = 600
"""Answers one process waits for together; the connections' own limits hold within it."""
MOST_CLAIMED_AT_ONCE = 50
CLAIM_SECONDS = 90.0
"""How long a task takes further runs; with the 12 minutes of a run it ends before its own limit."""
MEASURING_SECONDS = 60.0
"""How long a task goes on to the next baseline; the others wait for the next ring."""
LOOK_SECONDS = 1.0
"""Between two looks for runs that have come to wait meanwhile."""


@shared_task(name="kb.drift.queue_due_runs")
def queue_due_runs() -> None:
    """Write down the runs whose time has come, and ring for them."""
    now = timezone.now()
    queued = [
        *actions.follow_new_versions(now=now),
        *runs.queue_due_runs(now=now),
        *runs.queue_confirmations(now=now),
    ]
    for run_id in queued:
        run.delay(run_id)
    if queued:
        logger.info("runs queued=%d", len(queued))


@shared_task(name="kb.drift.wake_waiting_runs")
def wake_waiting_runs() -> None:
    """Give runs of dead workers back, ring for everything that waits, settle what is owed."""
    now = timezone.now()
    returned, ended = runs.reclaim_lost_runs(now=now)
    if returned or ended:
        logger.warning("runs returned=%d ended=%d", returned, ended)
    for run_id in runs.waiting_runs(now=now):
        run.delay(run_id)
    for run_id in runs.unassessed_runs(now=now):
        assessing.assess(run_id, now=timezone.now())


@shared_task(name="kb.drift.measure_power", time_limit=16 * 60, soft_time_limit=15 * 60)
def measure_power() -> None:
    """Measure what monitors with a new baseline would notice, one after the other.

    The lease of a measurement is as long as the task may take; one that breaks off is begun again.
    """
    begun = time.monotonic()
    while time.monotonic() - begun < MEASURING_SECONDS:
        claimed = power.claim(now=timezone.now())
        if claimed is None:
            return
        power.measure(claimed, is_unwelcome=lambda: power.is_busy(now=timezone.now()))


@shared_task(name="kb.drift.judge_models")
def judge_models() -> None:
    """Once a night, over all prompts of a model together: has the model changed?"""
    now = timezone.now()
    incidents.close_settled(now=now)
    if changed := incidents.judge_models(now=now):
        logger.warning("models changed targets=%s", changed)


@shared_task(name="kb.drift.watch_judge")
def watch_judge() -> None:
    """Write down the look at the judge whose time has come; ring for every look that waits."""
    now = timezone.now()
    queued = anchors.queue_due_look(now=now)
    for look_id in anchors.waiting_looks(now=now):
        look_at_judge.delay(look_id)
    if queued:
        logger.info("look at the judge queued=%d", queued)


@shared_task(name="kb.drift.forget_votes", time_limit=16 * 60, soft_time_limit=15 * 60)
def forget_votes() -> None:
    """Forget what graders said that are no longer in use."""
    if forgotten := judging.forget_votes():
        logger.info("votes forgotten=%d", forgotten)


@shared_task(name="kb.drift.look_at_judge", time_limit=16 * 60, soft_time_limit=15 * 60)
def look_at_judge(look_id: int) -> None:
    """Claim one look and take its votes. A second message about the same look does nothing."""
    claimed = anchors.claim(look_id, now=timezone.now())
    if claimed is None:
        return
    async_to_sync(_look)(claimed)
    verdict = AnchorLook.objects.filter(pk=look_id).values_list("verdict", flat=True).first()
    logger.info("look=%d verdict=%s", look_id, verdict)


async def _look(claimed: AnchorLook) -> None:
    async with HttpClient(policy_from_settings()) as http:
        await anchors.execute(claimed, access=_access(http), clock=timezone.now)


def _access(http: HttpClient) -> judging.Access:
    return judging.Access(lambda connection: open_provider(connection, http))


@shared_task(name="kb.drift.run", time_limit=16 * 60, soft_time_limit=15 * 60)
def run(run_id: int) -> None:
    """Claim a run and drive it to its end, and with it whatever else waits, as far as calls fit.

    A second message about the same run does nothing. One event loop drives all calls: a slow model
    costs a place among them, not a process.
    """
    claimed = runs.claim(run_id, now=timezone.now())
    if claimed is not None:
        async_to_sync(_drive)(claimed)


async def _drive(first: Run) -> None:
    """Drive this run and others that wait; takes no new ones after `CLAIM_SECONDS`."""
    loop = asyncio.get_running_loop()
    last_claim = loop.time() + CLAIM_SECONDS
    driven: dict[asyncio.Task[None], int] = {}

    async with HttpClient(policy_from_settings()) as http:
        access = _access(http)

        def drive(claimed: Run, calls: int) -> None:
            driven[asyncio.create_task(_drive_one(claimed, http, access))] = calls

        drive(first, await sync_to_async(runs.calls_of)(first))
        while driven:
            if loop.time() < last_claim:
                room = MOST_CALLS_AT_ONCE - sum(driven.values())
                for claimed, calls in await sync_to_async(_claim_more)(room):
                    drive(claimed, calls)
            ended, _waiting = await asyncio.wait(
                driven, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended:
                del driven[task]
                if error := task.exception():
                    # Its lease runs out and somebody takes it over; the others go on.
                    logger.error("a run broke off: %s", type(error).__name__, exc_info=error)


def _claim_more(room: int) -> list[tuple[Run, int]]:
    """Waiting runs whose calls fit into the room that is left, the oldest first."""
    taken = []
    for run_id in runs.waiting_runs(now=timezone.now(), most=MOST_CLAIMED_AT_ONCE):
        if room <= 0:
            break
        claimed = runs.claim(run_id, now=timezone.now())
        if claimed is not None:
            calls = runs.calls_of(claimed)
            room -= calls
            taken.append((claimed, calls))
    return taken


async def _drive_one(claimed: Run, http: HttpClient, access: judging.Access) -> None:
    """Ask the models everything one run asks, end the run, compare it."""
    try:
        provider = await sync_to_async(open_provider)(claimed.monitor.target.connection, http)
    except LLMError as error:
        await sync_to_async(runs.fail)(claimed, error=error, now=timezone.now())
    else:
        await runs.execute(
            claimed,
            provider=provider,
            clock=timezone.now,
            confirm=assessing.confirmation_wanted,
            access=access,
        )
    await sync_to_async(assessing.assess)(claimed.pk, now=timezone.now())
    ended = await Run.objects.aget(pk=claimed.pk)
    logger.info("run=%d status=%s calls=%d", ended.pk, ended.status, ended.calls)
