"""Finding by meaning: vectors of entries, and the entries nearest to a question.

A vector is kept twice. How many of its bits differ from those of a question is counted by any
PostgreSQL in all readable entries, some sixty milliseconds for twenty thousand; the nearest by that
are put in order by their numbers. See docs/adr/0014.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection
from django.db.backends.utils import CursorWrapper
from numpy.typing import NDArray

from accounts.standing import EVERYONE, STEWARDS

HALF = np.dtype("<f2")
LONGEST_VECTOR = 8_192
"""Numbers; the largest of known models have half as many."""
MOST_COMPARED = 100
"""Nearest by bits that are compared by numbers, several times what is shown; and as many from near to
far, to know what is usual."""
MOST_NEAR = 20
"""Entries that a meaning alone may bring, or lift, before filters are applied."""
STANDS_OUT = 4.0
"""Standard deviations by which an entry must be nearer than entries usually are. Models differ in how
near they find any two texts, so that no fixed nearness would do; of thirty thousand entries that have
nothing to do with a question about one is this near by chance. From 3 to 6 the judged queries find the
same."""
USUAL_DEVIATION = 1.4826
"""Standard deviation of a normal distribution, by the median of how far its values are from their median:
a measure that the near ones themselves do not move (Hampel 1974)."""
LEAST_DEVIATION = 0.01
"""Where all are alike to the last digit, none stands out by a thousandth."""
FEWEST = 20
"""Entries below which nobody can say what is usual, so that none stands out."""


@dataclass(frozen=True)
class Question:
    """What is asked for, as a vector of the model `space`."""

    space: int
    vector: Sequence[float]


@dataclass(frozen=True)
class Unread:
    """An entry whose meaning is not known, or no longer: its text as a model may read it."""

    entry_id: int
    stamp: str
    text: str


def _readable(is_wide: bool) -> tuple[str, dict[str, Any]]:
    """Which entries may be sent to a model: what the whole company reads, widely also departments' own.

    Drafts, archives and what is private to its author never.
    """
    tokens = [EVERYONE, STEWARDS] if is_wide else [EVERYONE]
    return "e.is_listed AND e.audience && %(sent)s::varchar[]", {"sent": tokens}


def unread(*, space: int, is_wide: bool, most: int) -> list[Unread]:
    """Entries to read next, the liveliest first."""
    may_be_sent, values = _readable(is_wide)
    sql = f"""
      SELECT e.id, e.stamp, e.title, e.excerpt FROM kb_searchentry e
      LEFT JOIN kb_searchmeaning m ON m.entry_id = e.id AND m.space = %(space)s
      WHERE {may_be_sent} AND e.is_hot AND m.stamp IS DISTINCT FROM e.stamp
      ORDER BY e.heat DESC LIMIT %(most)s"""  # noqa: S608 - put together from our own words
    with connection.cursor() as cursor:
        cursor.execute(sql, values | {"space": space, "most": most})
        return [
            Unread(entry_id, stamp, f"{title}\n{excerpt}".strip())
            for entry_id, stamp, title, excerpt in cursor.fetchall()
        ]


def keep(space: int, read: Iterable[tuple[Unread, Sequence[float]]]) -> int:
    """Keep vectors, in the order given; returns how many were usable.

    An entry that is gone meanwhile is passed over; one that has changed is read again later.
    """
    rows = [
        (one.entry_id, space, one.stamp, _bits(numbers), numbers.astype(HALF).tobytes())
        for one, vector in read
        if (numbers := _unit(vector)) is not None
    ]
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(_KEEP, row)
    return len(rows)


_KEEP = """
INSERT INTO kb_searchmeaning (entry_id, space, stamp, bits, numbers)
SELECT e.id, v.space, v.stamp, v.bits, v.numbers FROM kb_searchentry e
JOIN (VALUES (%s::bigint, %s::bigint, %s::varchar, %s::varbit, %s::bytea))
  AS v (id, space, stamp, bits, numbers) USING (id)
ON CONFLICT (entry_id) DO UPDATE SET space = EXCLUDED.space, stamp = EXCLUDED.stamp,
  bits = EXCLUDED.bits, numbers = EXCLUDED.numbers
"""


def forget(*, space: int | None = None, is_wide: bool = False) -> int:
    """Remove what another model read, and what may no longer be sent; without a space, everything."""
    may_be_sent, values = _readable(is_wide)
    sql = f"""
      DELETE FROM kb_searchmeaning m WHERE m.space IS DISTINCT FROM %(space)s OR NOT EXISTS (
        SELECT FROM kb_searchentry e WHERE e.id = m.entry_id AND {may_be_sent})"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, values | {"space": space})
        return int(cursor.rowcount)


def progress(*, space: int, is_wide: bool) -> tuple[int, int]:
    """How many entries have been read as they are now, and how many there are to read."""
    may_be_sent, values = _readable(is_wide)
    sql = f"""
      SELECT count(m.entry_id), count(*) FROM kb_searchentry e
      LEFT JOIN kb_searchmeaning m ON m.entry_id = e.id AND m.space = %(space)s AND m.stamp = e.stamp
      WHERE {may_be_sent} AND e.is_hot"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, values | {"space": space})
        read, readable = cursor.fetchone()
    return read, readable


def nearest(cursor: CursorWrapper, question: Question, tokens: Sequence[str]) -> list[int]:
    """Ids of the entries whose meaning stands out as near, the nearest first, at most MOST_NEAR.

    Among all that the tokens may read, whatever filters were chosen: else an entry that a facet
    counts would not stand out any more when the facet is chosen.
    """
    vector = _unit(question.vector)
    if vector is None:
        return []
    values: dict[str, Any] = {
        "tokens": list(tokens),
        "space": question.space,
        "asked_bits": _bits(vector),
        "size": len(vector),
    }
    sql = f"""
      WITH near AS (
        SELECT e.id, bit_count(m.bits # %(asked_bits)s::varbit) AS differ
        FROM kb_searchmeaning m JOIN kb_searchentry e ON e.id = m.entry_id
        WHERE m.space = %(space)s AND length(m.bits) = %(size)s AND e.is_hot
          AND e.audience && %(tokens)s::varchar[]
      ), placed AS (
        SELECT id, row_number() OVER (ORDER BY differ, id) AS place,
          greatest(1, count(*) OVER () / {MOST_COMPARED}) AS step FROM near
      )
      SELECT placed.id, mod(placed.place, placed.step) = 0, m.numbers
      FROM placed JOIN kb_searchmeaning m ON m.entry_id = placed.id
      WHERE placed.place <= {MOST_COMPARED} OR mod(placed.place, placed.step) = 0"""  # noqa: S608
    cursor.execute(sql, values)
    rows = cursor.fetchall()
    if len(rows) < FEWEST:
        return []
    ids, is_usual, numbers = zip(*rows, strict=True)
    known = np.stack([np.frombuffer(one, HALF) for one in numbers]).astype(np.float32)
    nearness = known @ vector
    usual = nearness[np.array(is_usual)]
    middle = np.median(usual)
    deviation = max(LEAST_DEVIATION, USUAL_DEVIATION * float(np.median(np.abs(usual - middle))))
    order = np.argsort(-nearness, kind="stable")[:MOST_NEAR]
    return [ids[place] for place in order if nearness[place] >= middle + STANDS_OUT * deviation]


def _unit(vector: Sequence[float]) -> NDArray[np.float32] | None:
    """The vector with length 1; None for one without direction, or of a size no model has."""
    if not 0 < len(vector) <= LONGEST_VECTOR:
        return None
    numbers = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(numbers))
    if not (np.isfinite(length) and length > 0):
        return None
    return (numbers / length).astype(np.float32)


def _bits(numbers: NDArray[np.float32]) -> str:
    return "".join("1" if above else "0" for above in numbers > numbers.mean())
