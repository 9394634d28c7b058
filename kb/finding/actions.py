"""Writes about kept searches, and the messages they cause."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import Conflict, Invalid, NotFound
from kb.finding.models import ADDRESS_LENGTH, NAME_LENGTH, SavedSearch
from kb.notifications import actions as notifications
from kb.search import engine
from kb.search.query import parse_address

MOST_KEPT = 50
"""Searches of one person."""
LOOKED_AT = 50
"""New matches that are counted; more are told as that many."""
PERIODS: Mapping[str, timedelta] = {
    SavedSearch.Cadence.DAILY: timedelta(days=1),
    SavedSearch.Cadence.WEEKLY: timedelta(days=7),
}


@transaction.atomic
def save_search(*, name: str, address: str, cadence: str, by: User, now: datetime) -> SavedSearch:
    """Keep a search under a name. Raises Invalid, Conflict when the name is taken."""
    address = address.removeprefix("?")
    if len(address) > ADDRESS_LENGTH:
        raise Invalid(
            _("This search is too long to be kept: at most %(most)s characters.")
            % {"most": ADDRESS_LENGTH}
        )
    if parse_address(address).is_empty:
        raise Invalid(_("There is nothing to keep yet: type a word or tick a filter first."))
    if SavedSearch.objects.filter(person=by).count() >= MOST_KEPT:
        raise Invalid(_("You keep %(most)s searches; delete one first.") % {"most": MOST_KEPT})
    saved = SavedSearch(
        person=by,
        name=_clean_name(name),
        address=address,
        cadence=_known(cadence),
        created=now,
        looked=now,
        due=_next_due(cadence, now),
    )
    return _stored(saved)


@transaction.atomic
def change_search(
    *, pk: int, by: User, now: datetime, name: str | None = None, cadence: str | None = None
) -> SavedSearch:
    """Rename a search, or hear of it more or less often. Raises NotFound, Invalid, Conflict."""
    saved = _own(pk, by)
    if name is not None:
        saved.name = _clean_name(name)
    if cadence is not None and cadence != saved.cadence:
        if saved.cadence == SavedSearch.Cadence.NEVER:
            saved.looked = now
        saved.cadence, saved.due = _known(cadence), _next_due(cadence, now)
    return _stored(saved)


@transaction.atomic
def delete_search(*, pk: int, by: User) -> None:
    """Forget a search. Raises NotFound, also for the search of somebody else."""
    _own(pk, by).delete()


def due_saved_searches(*, now: datetime, most: int = 500) -> list[int]:
    """Ids of the searches to look at now, the longest waiting first."""
    rows = SavedSearch.objects.filter(due__lte=now, person__is_active=True)
    return list(rows.order_by("due", "pk").values_list("pk", flat=True)[:most])


@transaction.atomic
def look_again(pk: int, *, now: datetime) -> int:
    """Tell the person what is new since last time, if anything is; returns how many are new.

    What the person may read is asked now, not when the search was kept. A second call does nothing.
    """
    rows = SavedSearch.objects.select_for_update(of=("self",), skip_locked=True)
    saved = rows.select_related("person").filter(pk=pk, due__lte=now).first()
    if saved is None:
        return 0
    found = engine.search(
        parse_address(saved.address),
        saved.person,
        sort="newest",
        page_size=LOOKED_AT,
        has_facets=False,
        is_exact=True,
    )
    new = [hit for hit in found.hits if saved.looked < hit.dated <= now]
    if new:
        notifications.notify(
            recipients=[saved.person],
            kind="saved_search",
            context={
                "name": saved.name,
                "count": len(new),
                "title": "".join(part.text for part in new[0].title),
            },
            path=f"/prompts/?{saved.address}"[:300],
            key=f"saved_search:{saved.pk}:{now.isoformat()}",
            now=now,
        )
        saved.sent = now
    saved.looked, saved.due = now, _next_due(saved.cadence, now)
    saved.save(update_fields=["looked", "due", "sent"])
    return len(new)


def _own(pk: int, by: User) -> SavedSearch:
    saved = SavedSearch.objects.select_for_update().filter(pk=pk, person=by).first()
    if saved is None:
        raise NotFound(_("You keep no such search."))
    return saved


def _stored(saved: SavedSearch) -> SavedSearch:
    try:
        with transaction.atomic():
            saved.save()
    except IntegrityError as error:
        raise Conflict(
            _("You keep a search called “%(name)s” already.") % {"name": saved.name}
        ) from error
    return saved


def _clean_name(name: str) -> str:
    cleaned = " ".join(name.replace("\x00", "").split())
    if not 0 < len(cleaned) <= NAME_LENGTH:
        raise Invalid(_("Give it a name of 1 to %(most)s characters.") % {"most": NAME_LENGTH})
    return cleaned


def _known(cadence: str) -> str:
    if cadence not in SavedSearch.Cadence.values:
        raise Invalid(
            _("“%(cadence)s” is not one of daily, weekly, never.") % {"cadence": cadence[:20]}
        )
    return cadence


def _next_due(cadence: str, now: datetime) -> datetime | None:
    period = PERIODS.get(cadence)
    return now + period if period else None
