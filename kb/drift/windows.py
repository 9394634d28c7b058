"""Which answers are set against which: by when they were taken, never by what they say. Pure.

Answers may be left out of a comparison for their place in time alone; choosing by content would
make the remaining ones look more alike than the model is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kb.drift.answers import Sample
from kb.drift.detector import Case

type Pool = Mapping[int, Sequence[Sample]]
"""Answers by case, oldest first."""

FIRST_KEPT, LAST_KEPT = 30, 30
"""Of a longer history the first answers hold on to what was accepted, the last to what is usual
now; sixty are enough to tell any change that one look can show."""


def between(
    pool: Pool, begin: int, end: int, without: Sequence[int] = ()
) -> dict[int, list[Sample]]:
    """Answers of the sessions from ``begin`` to ``end``, both included, but of those ``without``.

    Missing answers are left out: they are no evidence.
    """
    return {
        case: [
            sample
            for sample in samples
            if begin <= sample.session <= end
            and sample.session not in without
            and sample.outcome != "missing"
        ]
        for case, samples in pool.items()
    }


def shortened(samples: Sequence[Sample]) -> list[Sample]:
    """The first and the last answers of a long history."""
    if len(samples) <= FIRST_KEPT + LAST_KEPT:
        return list(samples)
    return [*samples[:FIRST_KEPT], *samples[-LAST_KEPT:]]


def compared(answers: int) -> int:
    """How many of so many answers of one side a comparison looks at."""
    return min(answers, FIRST_KEPT + LAST_KEPT)


def comparison(cases: Sequence[int], earlier: Pool, new: Pool) -> list[Case]:
    """What `detector.look` compares, one for each of the cases in this order."""
    return [_case(shortened(earlier.get(case, ())), shortened(new.get(case, ()))) for case in cases]


def _case(earlier: Sequence[Sample], new: Sequence[Sample]) -> Case:
    samples = [*earlier, *new]
    width = max((len(sample.verdicts) for sample in samples), default=0)
    verdicts = np.full((len(samples), width), np.nan)
    for row, sample in enumerate(samples):
        for column, value in enumerate(sample.verdicts):
            if value is not None:
                verdicts[row, column] = float(value)
    return Case(
        texts=[sample.text for sample in samples],
        fresh=len(new),
        verdicts=verdicts if width else None,
        marks=["" if one.outcome == "answered" else one.outcome for one in samples],
    )
