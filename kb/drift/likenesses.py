"""How alike the answers of each night are to the usual ones: what a chart of nights shows. Pure.

It only draws; what counts as a change is decided in kb.drift.watch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from kb.drift import vectors


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a case in a night; `is_usual` when it belongs to what nights are compared with."""

    night: int
    case: int
    is_usual: bool
    text: str


def of_nights(answers: Sequence[Answer]) -> dict[int, float]:
    """Night to its mean cosine, from 0 to 1, with the usual answers of the other nights.

    Each case counts once. A night is left out where no case has usual answers of another night. A
    baseline recorded in one session is one night; within it, answers are compared with each other.
    """
    by_case: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_case[answer.case].append(answer)
    of_night: dict[int, list[float]] = defaultdict(list)
    for rows in by_case.values():
        for night, level in _of_case(rows).items():
            of_night[night].append(level)
    return {night: fmean(levels) for night, levels in of_night.items()}


def quantiles(levels: Sequence[float], shares: Sequence[float]) -> list[float]:
    """The points below which these shares of the levels lie, interpolated between neighbours."""
    return [float(value) for value in np.quantile(np.asarray(levels, np.float64), shares)]


def _of_case(rows: Sequence[Answer]) -> dict[int, float]:
    texts = list(dict.fromkeys(row.text for row in rows))
    place = {text: index for index, text in enumerate(texts)}
    read = vectors.vectors(texts)
    likeness = read @ read.T
    empty = [place[text] for text in texts if not text.strip()]
    # Two empty answers are alike, though their vectors are zero.
    likeness[np.ix_(empty, empty)] = 1.0
    at = np.array([place[row.text] for row in rows])
    night = np.array([row.night for row in rows])
    usual = np.array([row.is_usual for row in rows])
    found = {}
    for one in dict.fromkeys(row.night for row in rows):
        own = np.flatnonzero(night == one)
        others = np.flatnonzero(usual & (night != one))
        if len(others):
            found[one] = float(likeness[np.ix_(at[own], at[others])].mean())
        elif usual[own].all() and len(own) > 1:
            block = likeness[np.ix_(at[own], at[own])]
            found[one] = float((block.sum() - np.trace(block)) / (len(own) * (len(own) - 1)))
    return {one: min(1.0, max(0.0, level)) for one, level in found.items()}
