"""Writing the index anew from the rows it tells of: everything, or what fell behind.

Readers are never blocked: a few prompts at a time are locked against their own writers, so that
nothing older overwrites what somebody saves meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from kb.community import actions as community
from kb.community.models import Retrospective
from kb.drift import state as drift
from kb.prompts import actions as prompts
from kb.prompts.models import Prompt
from kb.search import index, tiers

AT_ONCE = 50
"""Prompts in one transaction: locked for well under a second."""
COMPARED_AT_ONCE = 10_000
MOST_MENDED = 20_000
"""Prompts a night whose rows are compared; a library of any size comes round."""

Told = Callable[[int], None]


@dataclass(frozen=True)
class Mended:
    """How many rows were missing, told of nothing, or said something else."""

    missing: int = 0
    orphans: int = 0
    stale: int = 0


def reindex_all(*, now: datetime, after: int = 0, told: Told | None = None) -> int:
    """Write every row that is not as it should be; returns how many prompts were looked at.

    Prompts in the order of their ids beyond `after`, then reports without a prompt. How far it came
    is kept after each step (`reached`), so that a run that was killed goes on from there.
    """
    looked_at = 0
    for chunk in _chunks(Prompt.objects.filter(pk__gt=after), AT_ONCE):
        _write_prompts(chunk, now=now)
        _remember(chunk[-1])
        looked_at += len(chunk)
        if told:
            told(len(chunk))
    for chunk in _chunks(Retrospective.objects.filter(version=None), AT_ONCE):
        _write_reports(Retrospective.objects.filter(pk__in=chunk))
    _remove_orphans()
    _remember(0)
    return looked_at


def reached() -> int:
    """The id up to which the last run came that did not end; 0 when it ended."""
    return tiers.current_state().mended


def mend(*, now: datetime, most: int = MOST_MENDED) -> Mended:
    """Put right what is missing or left over, everywhere, and what is stale among the next `most`."""
    orphans = _remove_orphans()
    missing = 0

    def write_prompts(ids: Sequence[int]) -> None:
        _write_prompts(ids, now=now)

    def write_reports(ids: Sequence[int]) -> None:
        _write_reports(Retrospective.objects.filter(pk__in=ids))

    for kind, rows, write in (
        ("prompt", Prompt.objects.all(), write_prompts),
        ("retrospective", Retrospective.objects.all(), write_reports),
    ):
        for chunk in _chunks(rows, COMPARED_AT_ONCE):
            unknown = sorted(set(chunk) - set(index.stamps(kind, chunk)))
            for start in range(0, len(unknown), AT_ONCE):
                write(unknown[start : start + AT_ONCE])
            missing += len(unknown)
    return Mended(missing=missing, orphans=orphans, stale=_mend_stale(now=now, most=most))


def _mend_stale(*, now: datetime, most: int) -> int:
    stale, looked_at = 0, 0
    for chunk in _chunks(Prompt.objects.filter(pk__gt=reached()), AT_ONCE):
        before = index.stamps("prompt", chunk)
        _write_prompts(chunk, now=now)
        after = index.stamps("prompt", chunk)
        stale += sum(before.get(pk) != after.get(pk) for pk in chunk)
        _remember(chunk[-1])
        looked_at += len(chunk)
        if looked_at >= most:
            return stale
    _remember(0)
    return stale


@transaction.atomic
def _write_prompts(ids: Iterable[int], *, now: datetime) -> None:
    """The rows of these prompts, of the reports on them, and how they stand."""
    rows = Prompt.objects.select_for_update(of=("self",), no_key=True)
    rows = rows.select_related("current", "write_up").filter(pk__in=list(ids)).order_by("pk")
    for prompt in rows:
        prompts.reindex(prompt)
        community.refresh_standing(prompt, now=now)
        drift.show_state(prompt)
    _write_reports(Retrospective.objects.filter(version__prompt__in=list(ids)))


@transaction.atomic
def _write_reports(rows: QuerySet[Retrospective]) -> None:
    locked = rows.select_for_update(of=("self",), no_key=True).order_by("pk")
    for report in locked.select_related("version__prompt", "department", "use_case", "tool"):
        community.reindex(report)


def _remove_orphans() -> int:
    """Forget what the index has and the library has not."""
    removed = 0
    for kind, rows in (("prompt", Prompt.objects), ("retrospective", Retrospective.objects)):
        after = 0
        while ids := index.known(kind, after=after, most=COMPARED_AT_ONCE):
            after = ids[-1]
            existing = set(rows.filter(pk__in=ids).values_list("pk", flat=True))
            for orphan in (pk for pk in ids if pk not in existing):
                index.forget(kind=kind, object_id=orphan)
                removed += 1
    return removed


def _chunks(rows: QuerySet[Any], size: int) -> Iterator[list[int]]:
    """The ids of the rows in ascending order, some at a time; what comes meanwhile comes along."""
    after = 0
    while ids := list(rows.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:size]):
        yield ids
        after = ids[-1]


def _remember(pk: int) -> None:
    state = tiers.current_state()
    state.mended = pk
    state.save(update_fields=["mended"])
