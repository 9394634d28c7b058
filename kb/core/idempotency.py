"""Promise IDEMPOTENT: the same key of the same person has one result, for a day.

The key is a row, inserted first and committed together with what it stands for. A second request
with the key waits at the unique constraint until the first has ended: then it finds the answer, or,
when the first was refused and rolled back, acts itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import Invalid
from kb.core.models import IdempotentAnswer

KEPT = timedelta(hours=24)
MOST_FORGOTTEN = 100
"""Outlived answers removed with each new one: more than come in, so that the table stays small."""


def earlier_answer(
    *, person: User, key: str, fingerprint: str, now: datetime
) -> IdempotentAnswer | None:
    """The answer already given under this key, or None: then act and `keep`, in this transaction.

    Must be called in the transaction that acts. Raises Invalid when the key stood for another request.
    """
    _forget_old(now)
    mine = IdempotentAnswer.objects.filter(person=person, key=key)
    mine.filter(created__lte=now - KEPT).delete()
    IdempotentAnswer.objects.bulk_create(
        [IdempotentAnswer(person=person, key=key, fingerprint=fingerprint, created=now)],
        ignore_conflicts=True,
    )
    found = mine.get()
    if found.fingerprint != fingerprint:
        message = _("The key “%(key)s” was used for another request. Choose a new key.") % {
            "key": key
        }
        raise Invalid(message, fields={"Idempotency-Key": message})
    return found if found.status is not None else None


def keep(*, person: User, key: str, status: int, body: Any, headers: Mapping[str, str]) -> None:
    """Write down what the key's request was answered. `body` is plain JSON."""
    IdempotentAnswer.objects.filter(person=person, key=key).update(
        status=status, body=body, headers=dict(headers)
    )


def _forget_old(now: datetime) -> None:
    with transaction.atomic():
        old = (
            IdempotentAnswer.objects.select_for_update(skip_locked=True)
            .filter(created__lte=now - KEPT)
            .order_by("created")
            .values_list("pk", flat=True)[:MOST_FORGOTTEN]
        )
        IdempotentAnswer.objects.filter(pk__in=list(old)).delete()
