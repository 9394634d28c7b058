"""The clock's door to re-runs. The rows decide; losing every message of the broker loses nothing."""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync, sync_to_async
from celery import shared_task
from django.utils import timezone

from kb.core.http import HttpClient, policy_from_settings
from kb.drift import actions, assessing, incidents, runs
from kb.drift.models import Run
from kb.llm.base import LLMError
from kb.llm.clients import open_provider

logger = logging.getLogger(__name__)


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
    for run_id in runs.unassessed_runs():
        assessing.assess(run_id, now=timezone.now())


@shared_task(name="kb.drift.judge_models")
def judge_models() -> None:
    """Once a night, over all prompts of a model together: has the model changed?"""
    now = timezone.now()
    incidents.close_settled(now=now)
    if changed := incidents.judge_models(now=now):
        logger.warning("models changed targets=%s", changed)


@shared_task(name="kb.drift.run", time_limit=16 * 60, soft_time_limit=15 * 60)
def run(run_id: int) -> None:
    """Claim one run, ask the model, compare. A second message about the same run does nothing."""
    claimed = runs.claim(run_id, now=timezone.now())
    if claimed is None:
        return
    async_to_sync(_drive)(claimed)
    assessing.assess(run_id, now=timezone.now())
    ended = Run.objects.get(pk=run_id)
    logger.info("run=%d status=%s calls=%d", run_id, ended.status, ended.calls)


async def _drive(claimed: Run) -> None:
    async with HttpClient(policy_from_settings()) as http:
        try:
            provider = open_provider(claimed.monitor.target.connection, http)
        except LLMError as error:
            await _fail(claimed, error)
            return
        await runs.execute(
            claimed,
            provider=provider,
            clock=timezone.now,
            confirm=assessing.confirmation_wanted,
        )


async def _fail(claimed: Run, error: LLMError) -> None:
    await sync_to_async(runs.fail)(claimed, error=error, now=timezone.now())
