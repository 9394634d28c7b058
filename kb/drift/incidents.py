"""One thing that happened to a model, told once: prompts that move together make one incident."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from kb.drift import fleet
from kb.drift.models import DriftReport, Incident, Monitor, Run
from kb.llm.models import Target
from kb.notifications import actions as notifications
from kb.prompts.actions import readers_watching

LEAST_PROMPTS = 2
"""Prompts that drift in one incident before it is said that the model has changed."""
FLEET_WINDOW = timedelta(hours=24)
"""Whose looks at a model are one night's."""
NIGHTS_A_YEAR = 365


def join(report: DriftReport, monitor: Monitor, *, now: datetime) -> Incident:
    """Put a report of drift into the open incident of its model, opening one if there is none."""
    incident, _is_new = Incident.objects.get_or_create(
        target=monitor.target, closed=None, defaults={"opened": now, "last_seen": now}
    )
    report.incident = incident
    report.save(update_fields=["incident"])
    prompts = monitors_in(incident).values("prompt").distinct().count()
    incident.last_seen = now
    incident.is_of_model = incident.is_of_model or prompts >= LEAST_PROMPTS
    incident.save(update_fields=["last_seen", "is_of_model"])
    if incident.is_of_model:
        _tell(incident, now)
    return incident


def close_settled(*, now: datetime) -> int:
    """Close the incidents none of whose monitors is drifted any more; returns how many."""
    open_ones = Incident.objects.filter(closed=None)
    troubled = Monitor.objects.filter(status=Monitor.Status.DRIFTED).values("target")
    return open_ones.exclude(target__in=troubled).filter(reports__isnull=False).update(closed=now)


def monitors_in(incident: Incident) -> QuerySet[Monitor]:
    """The monitors whose reports the incident gathers."""
    return Monitor.objects.filter(runs__report__incident=incident).distinct()


@transaction.atomic
def judge_models(*, now: datetime) -> list[int]:
    """One test for each model over the looks of its night: has the model changed for its prompts?

    Simes' test, at a share of the yearly budget of its own; it holds under the dependence that a
    shared model brings. Returns the ids of targets whose incident it opened or widened.
    """
    looks: dict[int, dict[int, float]] = {}
    rows = DriftReport.objects.filter(
        run__slot__gt=now - FLEET_WINDOW, run__slot__lte=now, p__isnull=False
    ).exclude(run__kind=Run.Kind.CONFIRMATION)
    for target, monitor, p in rows.values_list("run__monitor__target", "run__monitor", "p"):
        if p is not None:
            looks.setdefault(target, {})[monitor] = p
    level = settings.RETEX_FALSE_ALARMS_A_YEAR / (NIGHTS_A_YEAR * max(1, len(looks)))
    changed = []
    for target, found in looks.items():
        if len(found) >= LEAST_PROMPTS and fleet.simes(found) <= level:
            changed.append(target)
            incident, _is_new = Incident.objects.get_or_create(
                target=Target.objects.get(pk=target),
                closed=None,
                defaults={"opened": now, "last_seen": now},
            )
            Incident.objects.filter(pk=incident.pk).update(is_of_model=True, last_seen=now)
            _tell(incident, now)
    return changed


def _tell(incident: Incident, now: datetime) -> None:
    """Tell the people of its prompts that the model has changed; each once."""
    monitors = list(
        monitors_in(incident).select_related("prompt", "owner", "target").order_by("pk")
    )
    people = {
        person.pk: person for monitor in monitors for person in readers_watching(monitor.prompt)
    }
    people |= {m.owner.pk: m.owner for m in monitors if m.owner is not None}
    notifications.notify(
        recipients=people.values(),
        kind="model_changed",
        context={"model": incident.target.model, "count": len({m.prompt_id for m in monitors})},
        path=f"/drift/incidents/{incident.pk}/",
        key=f"model:{incident.pk}",
        now=now,
    )
