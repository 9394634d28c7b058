"""The other ways in which tonight's answers could have been chosen among all answers of a case.

Pure. Had nothing changed, any of them was as likely as the one seen. Answers that are equal in
every respect are exchanged without effect, so that what is listed is how many of each kind fall on
tonight, with its exact chance: an answer that never varies leaves a handful of ways instead of
thousands, and small chances are found exactly instead of by drawing lots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ways:
    """How tonight's answers could have fallen on the kinds of answers of one case.

    ``fresh`` is int[ways, kinds], each row adding up to the number of tonight's answers; row 0 is
    what was seen. ``chances`` is float[ways] and adds up to 1. ``is_exact``: every way is listed
    with its chance; else the seen one and ways drawn by lot, all equally likely.
    """

    fresh: NDArray[np.int64]
    chances: NDArray[np.float64]
    is_exact: bool


def ways(
    counts: Sequence[int], seen: Sequence[int], *, most: int, rng: np.random.Generator
) -> Ways:
    """List the ways, or draw ``most`` when there are more.

    ``counts``: answers of each kind in all; ``seen``: how many of them are tonight's. Raises
    ValueError when more of a kind were seen than there are. The seen way together with ways drawn
    by lot keeps the comparison exact (Hemerik & Goeman 2018, "Exact testing with random
    permutations").
    """
    if len(counts) != len(seen) or any(
        not 0 <= one <= all_ for one, all_ in zip(seen, counts, strict=True)
    ):
        raise ValueError(f"{list(seen)} cannot be taken from {list(counts)} answers.")
    fresh = sum(seen)
    observed = np.array([seen], np.int64)
    if _number_of_ways(counts, fresh, most) <= most:
        listed = _listed(counts, fresh)
        first = int(np.flatnonzero((listed == observed).all(axis=1))[0])
        listed[[0, first]] = listed[[first, 0]]
        return Ways(listed, _chances(listed, counts, fresh), is_exact=True)
    drawn = rng.multivariate_hypergeometric(counts, fresh, size=most - 1, method="marginals")
    return Ways(np.vstack([observed, drawn]), np.full(most, 1.0 / most), is_exact=False)


def _number_of_ways(counts: Sequence[int], fresh: int, most: int) -> int:
    """How many ways there are, counted up to ``most + 1``."""
    if math.comb(len(counts), fresh) > most:  # those alone that take no kind twice
        return most + 1
    reaching = [1] + [0] * fresh
    for count in counts:
        reaching = [
            min(sum(reaching[max(0, total - count) : total + 1]), most + 1)
            for total in range(fresh + 1)
        ]
    return reaching[fresh]


def _listed(counts: Sequence[int], fresh: int) -> NDArray[np.int64]:
    """All ways, int[ways, kinds], in lexical order."""
    listed = np.empty((1, 0), np.int64)
    missing = np.array([fresh])
    rest = sum(counts)
    for count in counts:
        rest -= count
        least = np.maximum(0, missing - rest)
        choices = np.minimum(count, missing) - least + 1
        rows = np.repeat(np.arange(len(listed)), choices)
        begins = np.cumsum(choices) - choices
        here = np.arange(len(rows)) - begins[rows] + least[rows]
        listed = np.column_stack([listed[rows], here])
        missing = missing[rows] - here
    return listed


def _chances(listed: NDArray[np.int64], counts: Sequence[int], fresh: int) -> NDArray[np.float64]:
    """Multivariate hypergeometric chances; integers are divided last, so each is exact."""
    favourable = np.full(len(listed), 1, dtype=object)
    for count, here in zip(counts, listed.T, strict=True):
        combinations = [math.comb(count, one) for one in range(min(count, fresh) + 1)]
        favourable *= np.array(combinations, dtype=object)[here]
    return (favourable / math.comb(sum(counts), fresh)).astype(np.float64)
