"""Facet values as one list of signs and values, and the arithmetic of liveliness. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

SIGNS = {
    "departments": "d:",
    "tools": "t:",
    "use_cases": "u:",
    "tags": "g:",
    "languages": "l:",
    "statuses": "s:",
    "drifts": "x:",
    "evidence": "e:",
}
"""Facet to the sign in front of its values. One array of all values needs one index, and counting
all facets at once needs one pass over it."""
_FACETS = {sign: facet for facet, sign in SIGNS.items()}
EVIDENCE = ("proven", "some", "none")
PROVEN_FROM = 0.5
"""Lower bound of 'worked' from which a prompt is called proven: it works more often than not, surely."""
HALF_LIFE_DAYS = 90.0
"""As long as a vote takes to count half (kb.community.actions)."""
BIRTH_ACTIVITY = 0.5
"""A new thing is as lively as half a vote, so that it is seen at all."""
HEAT_STEPS = 8
"""Heat is kept in eighths of a doubling: most votes then leave it, and every index, alone."""
_START = datetime(2020, 1, 1, tzinfo=UTC)


def keys_of(facet: str, values: Iterable[str]) -> list[str]:
    """The values of one facet with its sign."""
    return [SIGNS[facet] + value for value in values]


def facet_of(key: str) -> tuple[str, str]:
    """The facet and the value of a key."""
    return _FACETS[key[:2]], key[2:]


def evidence(*, proven: float, reports: int) -> str:
    """How well a thing is proven, as a value of the facet `evidence`."""
    if proven >= PROVEN_FROM:
        return "proven"
    return "some" if proven > 0 or reports else "none"


def with_key(keys: Collection[str], facet: str, value: str) -> list[str]:
    """The keys with `value`, or nothing when it is empty, as the only one of its facet."""
    kept = [key for key in keys if not key.startswith(SIGNS[facet])]
    return sorted([*kept, *keys_of(facet, [value] if value else [])])


def heat(*, activity: float, dated: datetime, now: datetime) -> float:
    """A number that orders things by liveliness, whenever it was worked out.

    Liveliness a(t) halves every HALF_LIFE_DAYS, so log2 a(t) + t / half-life does not change while
    nothing happens: two things keep their order and no row needs to be touched as time goes by.
    """
    age = max(0.0, (now - dated).total_seconds() / 86_400)
    lively = activity + BIRTH_ACTIVITY * 2.0 ** -(age / HALF_LIFE_DAYS)
    days = (now - _START).total_seconds() / 86_400
    # A thing of a distant past has decayed below what a float can hold.
    doublings = math.log2(max(lively, 1e-300)) + days / HALF_LIFE_DAYS
    return round(doublings * HEAT_STEPS) / HEAT_STEPS
