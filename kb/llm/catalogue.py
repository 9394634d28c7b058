"""Which models exist, and which of those that are asked will end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.db import transaction
from django.db.models import Max, QuerySet

from accounts.models import User
from kb.llm.base import ModelInfo
from kb.llm.models import Connection, KnownModel, Retirement, Target

WARNING_DAYS = (90, 30, 7)
"""Before a model ends: time to plan a change, to compare its successor, and a last call."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A target whose model will end. ``source`` is '' when the provider's own listing says so."""

    target: Target
    retires: date
    days_left: int
    successor: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the owner of a monitor is told, once for each of WARNING_DAYS."""

    owner: User
    monitor_id: int
    title: str
    ending: Ending
    stage: int

    @property
    def key(self) -> str:
        """Names the event: a date that is moved is told again."""
        return f"retiring:{self.monitor_id}:{self.ending.retires.isoformat()}:{self.stage}"


@transaction.atomic
def note_listing(connection: Connection, listed: Sequence[ModelInfo], *, now: datetime) -> None:
    """Keep what a provider listed: new models, names and dates that changed, and when it was seen."""
    models = {model.id: model for model in listed}
    KnownModel.objects.bulk_create(
        [
            KnownModel(
                connection=connection,
                model=model.id,
                name=model.name,
                retires=model.retires,
                first_seen=now,
                last_seen=now,
            )
            for _id, model in sorted(models.items())
        ],
        update_conflicts=True,
        unique_fields=["connection", "model"],
        update_fields=["name", "retires", "last_seen"],
    )


def offered(connection: Connection) -> QuerySet[KnownModel]:
    """The models of the latest listing."""
    known = KnownModel.objects.filter(connection=connection)
    return known.filter(last_seen=known.aggregate(latest=Max("last_seen"))["latest"])


def withdrawn(connection: Connection) -> QuerySet[KnownModel]:
    """Models that were listed once, and no longer."""
    known = KnownModel.objects.filter(connection=connection)
    return known.exclude(last_seen=known.aggregate(latest=Max("last_seen"))["latest"])


def endings(*, today: date) -> list[Ending]:
    """Targets of connections in use whose model has an end, those that have come included.

    Soonest first. A date for this connection outweighs one for all, and both the provider's.
    """
    entered = {(row.connection_id, row.model): row for row in Retirement.objects.all()}
    announced = _announced()
    found = []
    for target in Target.objects.select_related("connection").filter(connection__is_enabled=True):
        own = entered.get((target.connection_id, target.model)) or entered.get((None, target.model))
        retires = own.retires if own else announced.get((target.connection_id, target.model))
        if retires is None:
            continue
        found.append(
            Ending(
                target=target,
                retires=retires,
                days_left=(retires - today).days,
                successor=own.successor if own else "",
                source=own.source if own else "",
            )
        )
    return sorted(found, key=lambda ending: (ending.retires, ending.target.pk))


def ending_of(target: Target, *, today: date) -> Ending | None:
    """When the model of one target ends; None when nobody knows, or its connection is off."""
    return next((one for one in endings(today=today) if one.target.pk == target.pk), None)


def retiring(within_days: int, *, today: date) -> list[Ending]:
    """The endings to come within so many days, today included."""
    return [one for one in endings(today=today) if 0 <= one.days_left <= within_days]


def successors(found: Sequence[Ending]) -> Mapping[int, Target]:
    """Target id to what can be asked in its place; absent where the successor is no target yet.

    A target of the same connection comes first, then one with the same parameters.
    """
    names = {ending.successor for ending in found if ending.successor}
    rows = Target.objects.select_related("connection").filter(
        connection__is_enabled=True, model__in=names
    )
    by_model: dict[str, list[Target]] = {}
    for row in rows.order_by("pk"):
        by_model.setdefault(row.model, []).append(row)
    return {
        ending.target.pk: min(candidates, key=lambda one: _distance(one, ending.target))
        for ending in found
        if (candidates := by_model.get(ending.successor))
    }


def _distance(candidate: Target, target: Target) -> tuple[bool, bool, int]:
    return (
        candidate.connection_id != target.connection_id,
        candidate.parameters != target.parameters,
        candidate.pk,
    )


def notices(*, today: date) -> list[Notice]:
    """Who has to be told today that the model of a monitor will end. Told again, it is the same."""
    found = []
    for ending in retiring(max(WARNING_DAYS), today=today):
        stage = min(days for days in WARNING_DAYS if ending.days_left <= days)
        for monitor in ending.target.monitors.select_related("owner", "prompt").order_by("pk"):
            if monitor.owner is not None:
                found.append(Notice(monitor.owner, monitor.pk, monitor.prompt.title, ending, stage))
    return found


def _announced() -> dict[tuple[int, str], date]:
    rows = KnownModel.objects.filter(retires__isnull=False)
    return {
        (connection_id, model): retires
        for connection_id, model, retires in rows.values_list("connection_id", "model", "retires")
        if retires is not None
    }
