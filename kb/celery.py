"""The Celery application: queues, times and the beat's table."""

from __future__ import annotations

import os
import warnings

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.schedules import crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")

RUN_SOFT_LIMIT = 15 * 60
"""Seconds after which a task that drives a run is told to end; request < this < hard limit < lease."""
RUN_HARD_LIMIT = 16 * 60

# Said at each loss of the broker: that a later Celery will end the tasks of that moment. Ours go on:
# a run pays for its calls, and its row knows who holds it.
warnings.simplefilter("ignore", CPendingDeprecationWarning)

app = Celery("retex")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,  # a task may run twice; the rows decide who does the work
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
    task_default_queue="default",
    task_routes={  # slow calls must not starve mails and indexing
        "kb.drift.run": {"queue": "models"},
        "kb.drift.run_trial": {"queue": "models"},
        "kb.drift.look_at_judge": {"queue": "models"},
    },
    task_time_limit=300,
    task_soft_time_limit=240,
    worker_hijack_root_logger=False,
    timezone="UTC",
    beat_schedule={
        "queue-due-runs": {
            "task": "kb.drift.queue_due_runs",
            "schedule": 10.0,
            "options": {"expires": 30},
        },
        "wake-waiting-runs": {
            "task": "kb.drift.wake_waiting_runs",
            "schedule": 5.0,
            "options": {"expires": 15},
        },
        "wake-waiting-trials": {
            "task": "kb.drift.wake_waiting_trials",
            "schedule": 5.0,
            "options": {"expires": 15},
        },
        "measure-power": {
            "task": "kb.drift.measure_power",
            "schedule": 15.0,
            "options": {"expires": 30},
        },
        "watch-judge": {
            "task": "kb.drift.watch_judge",
            "schedule": 5.0,
            "options": {"expires": 15},
        },
        "forget-votes": {
            "task": "kb.drift.forget_votes",
            "schedule": crontab(hour="3", minute="20"),
            "options": {"expires": 3600},
        },
        "judge-models": {
            "task": "kb.drift.judge_models",
            "schedule": crontab(hour="6", minute="30"),  # after the nights of Europe and America
            "options": {"expires": 3600},
        },
        "deliver-mails": {
            "task": "kb.notifications.deliver_mails",
            "schedule": 15.0,
            "options": {"expires": 60},
        },
        "fold-search-counts": {
            "task": "kb.search.fold_counts",
            "schedule": 60.0,
            "options": {"expires": 120},
        },
        "refresh-search": {
            "task": "kb.search.refresh",
            "schedule": 300.0,
            "options": {"expires": 600},
        },
        "read-meanings": {
            "task": "kb.search.read_meanings",
            "schedule": 60.0,
            "options": {"expires": 55},
        },
        "send-saved-searches": {
            "task": "kb.search.send_saved_searches",
            "schedule": 600.0,
            "options": {"expires": 1200},
        },
        "mend-search": {
            "task": "kb.search.mend",
            "schedule": crontab(hour=2, minute=40),  # UTC: nobody in Europe searches then
            "options": {"expires": 3600},
        },
        "settle-lost-reservations": {
            "task": "kb.llm.settle_lost_reservations",
            "schedule": 30.0,
            "options": {"expires": 60},
        },
        "refresh-models": {
            "task": "kb.llm.refresh_models",
            "schedule": crontab(hour=4, minute=40),
            "options": {"expires": 3600, "queue": "models"},
        },
        "warn-of-retirements": {
            "task": "kb.llm.warn_of_retirements",
            "schedule": crontab(hour=6, minute=10),
            "options": {"expires": 3600},
        },
    },
)
app.autodiscover_tasks(["kb"], related_name="tasks")
