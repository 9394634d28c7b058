"""The clock's door to trials. The rows decide; losing every message of the broker loses nothing."""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync
from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import RedisError

from kb.core.http import HttpClient, policy_from_settings
from kb.drift import trials
from kb.drift.trial_models import Trial
from kb.llm.clients import open_provider

logger = logging.getLogger(__name__)


def ring(trial_id: int) -> None:
    """Wake a worker once the trial is written; without a broker the clock finds the row by itself."""

    def tell() -> None:
        try:
            run_trial.apply_async([trial_id], retry=False)
        except (BrokerAway, RedisError, OSError):
            logger.warning("broker away: trial=%d waits for the clock", trial_id)

    transaction.on_commit(tell)


@shared_task(name="kb.drift.wake_waiting_trials")
def wake_waiting_trials() -> None:
    """Give trials of dead workers back, end those nobody took, ring for everything that waits."""
    returned, ended = trials.reclaim(now=timezone.now())
    if returned or ended:
        logger.warning("trials returned=%d ended=%d", returned, ended)
    for trial_id in trials.waiting_trials():
        run_trial.delay(trial_id)


@shared_task(name="kb.drift.run_trial", time_limit=5 * 60, soft_time_limit=4 * 60)
def run_trial(trial_id: int) -> None:
    """Claim one trial and ask its models. A second message about the same trial does nothing."""
    claimed = trials.claim(trial_id, now=timezone.now())
    if claimed is None:
        return
    async_to_sync(_drive)(claimed)
    status = Trial.objects.filter(pk=trial_id).values_list("status", flat=True).first()
    logger.info("trial=%d status=%s", trial_id, status)


async def _drive(claimed: Trial) -> None:
    async with HttpClient(policy_from_settings()) as http:
        await trials.execute(
            claimed,
            open_provider=lambda connection: open_provider(connection, http),
            clock=timezone.now,
        )
