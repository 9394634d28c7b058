"""The clock's door to provider accounts: budgets of dead workers, lists of models, their ends."""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync
from celery import shared_task
from django.utils import timezone

from kb.core.http import HttpClient, policy_from_settings
from kb.llm import catalogue, queries, spending
from kb.llm.models import Connection
from kb.llm.queries import Trial
from kb.notifications import actions as notifications

logger = logging.getLogger(__name__)


@shared_task(name="kb.llm.settle_lost_reservations")
def settle_lost_reservations() -> None:
    """Count what dead workers had reserved as spent."""
    count = spending.settle_lost(now=timezone.now())
    if count:
        logger.warning("reservations settled as spent=%d", count)


@shared_task(name="kb.llm.refresh_models", time_limit=16 * 60, soft_time_limit=15 * 60)
def refresh_models() -> None:
    """Ask every provider in use which models it offers."""
    for connection_id in queries.listed_connections():
        connection = Connection.objects.filter(pk=connection_id, is_enabled=True).first()
        if connection is None:
            continue
        trial = async_to_sync(_listed)(connection)
        if trial.error is None:
            logger.info("connection=%d models=%d", connection_id, len(trial.models))
        else:
            logger.warning("connection=%d models not listed: %s", connection_id, trial.error.kind)


@shared_task(name="kb.llm.warn_of_retirements")
def warn_of_retirements() -> None:
    """Tell the owners of monitors whose model will end; each of them once at each distance."""
    now = timezone.now()
    for notice in catalogue.notices(today=spending.today(now)):
        notifications.notify(
            recipients=[notice.owner],
            kind="retiring",
            context={
                "title": notice.title,
                "model": notice.ending.target.model,
                "day": notice.ending.retires.isoformat(),
                "days": notice.ending.days_left,
                "successor": notice.ending.successor,
            },
            path=f"/drift/{notice.monitor_id}/",
            key=notice.key,
            now=now,
        )


async def _listed(connection: Connection) -> Trial:
    async with HttpClient(policy_from_settings()) as http:
        return await queries.try_connection(connection, http)
