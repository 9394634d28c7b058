"""What a monitor's state means for others: locking it, changing it, telling whom it concerns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotAllowed
from kb.drift import rules
from kb.drift.models import Baseline, Monitor, Run
from kb.notifications import actions as notifications
from kb.prompts.actions import readers_watching, subject
from kb.prompts.models import Prompt
from kb.search import index


def locked(monitor: Monitor) -> Monitor:
    return (
        Monitor.objects.select_for_update(of=("self",))
        .select_related("prompt", "version", "target__connection", "owner", "baseline")
        .get(pk=monitor.pk)
    )


def must_monitor(by: User, monitor: Monitor) -> None:
    if not rules.can_monitor(by, monitor.prompt):
        raise NotAllowed(
            _("Only the author of “%(title)s” or a curator can change what watches it.")
            % {"title": monitor.prompt.title}
        )


def set_status(monitor: Monitor, status: str, *, now: datetime, baseline: Baseline | None) -> None:
    monitor.status, monitor.baseline, monitor.status_since = status, baseline, now
    monitor.save(update_fields=["status", "baseline", "status_since"])
    show_state(monitor.prompt)


def begin(
    monitor: Monitor,
    status: str,
    *,
    baseline: Baseline | None,
    now: datetime,
    memory: Mapping[str, Any] | None = None,
) -> None:
    """Begin a new epoch: what was suspected under the old one is forgotten."""
    monitor.memory, monitor.wanted, monitor.confirm_at = dict(memory or {}), {}, None
    monitor.save(update_fields=["memory", "wanted", "confirm_at"])
    set_status(monitor, status, now=now, baseline=baseline)


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


RUNS_BEFORE_UNCHECKED = 3
"""Runs in a row that could not be judged before the owner is told."""


def count_missed(monitor: Monitor, run: Run, now: datetime) -> None:
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
            about=subject(monitor.prompt),
        )


def tell(monitor: Monitor, kind: str, *, key: str, now: datetime, **context: Any) -> None:
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
        about=subject(monitor.prompt),
    )


def leave_learning(monitor: Monitor, now: datetime) -> None:
    """A baseline that was not recorded leaves the monitor as it was before."""
    if monitor.status == Monitor.Status.LEARNING and monitor.baseline_id is None:
        set_status(monitor, Monitor.Status.NEW, now=now, baseline=None)
