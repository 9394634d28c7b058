"""The clock's door to the search index and to the searches people keep."""

from __future__ import annotations

import logging

from celery import shared_task
from django.utils import timezone

from kb.finding import actions as finding
from kb.finding import meaning
from kb.search import counts, misses, tiers, vocabulary
from kb.tasks import mending

logger = logging.getLogger(__name__)


@shared_task(name="kb.search.fold_counts")
def fold_counts() -> None:
    """Add up what came and went since the last time."""
    counts.fold()


@shared_task(name="kb.search.refresh")
def refresh() -> None:
    """Choose the hot entries, learn the new words."""
    changed = tiers.refresh()
    learned = vocabulary.learn(now=timezone.now())
    logger.info("search tiers_changed=%d learned=%d", changed, learned)


@shared_task(name="kb.search.mend", time_limit=3600, soft_time_limit=3500)
def mend() -> None:
    """Put right what fell behind, count and learn anew, forget old misses."""
    now = timezone.now()
    mended = mending.mend(now=now)
    counts.recount()
    words = vocabulary.rebuild()
    pruned = misses.prune(now=now)
    logger.info(
        "search missing=%d orphans=%d stale=%d words_of=%d misses_pruned=%d",
        mended.missing,
        mended.orphans,
        mended.stale,
        words,
        pruned,
    )


@shared_task(name="kb.search.read_meanings", time_limit=180, soft_time_limit=150)
def read_meanings() -> None:
    """Have the chosen embeddings model read what is new."""
    if read := meaning.read_on(clock=timezone.now):
        logger.info("search meanings_read=%d", read)


@shared_task(name="kb.search.send_saved_searches")
def send_saved_searches() -> None:
    """Tell people what is new for the searches they keep."""
    now = timezone.now()
    found = [finding.look_again(pk, now=now) for pk in finding.due_saved_searches(now=now)]
    if found:
        logger.info("saved searches=%d with news=%d", len(found), sum(map(bool, found)))
