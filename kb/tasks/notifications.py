"""The clock's door to mails."""

from __future__ import annotations

import logging

from celery import shared_task
from django.utils import timezone

from kb.notifications import actions

logger = logging.getLogger(__name__)


@shared_task(name="kb.notifications.deliver_mails")
def deliver_mails() -> None:
    """Send the mails that are owed."""
    sent, failed = actions.deliver_due_mails(now=timezone.now())
    if sent or failed:
        logger.info("mails sent=%d failed=%d", sent, failed)
