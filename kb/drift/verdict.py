"""Has the share of answers that satisfy their assertions changed? Exactly, for any number of them.

Pure: numpy alone. The test assumes nothing but exchangeability: had nothing changed, each case's
answers of the baseline and of now could have come in any other order. Only passes are looked at
here; what the texts themselves show is another module's matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

type Outcome = Literal["stable", "drifted", "not_judged"]
type Direction = Literal["worse", "better"]
type Cause = Literal[
    "fewer_passes",
    "more_passes",
    "usual_variation",
    "too_few_answers_to_tell",
    "too_few_cases_judged",
    "no_cases",
]

LEAST_JUDGED_SHARE = 0.6
"""Of the cases: with fewer, what is missing could outweigh what was seen."""
CHANGED_CASE_GAP = 0.5
"""A case whose pass rate moved by this much counts as changed: half of its answers at least."""


@dataclass(frozen=True, slots=True)
class PassTest:
    """Chances of so few (``p_worse``) or so many (``p_better``) passes had nothing changed.

    ``p_two`` is twice the smaller one, at most 1. Each is exact: the chance that it is at most u
    is at most u when nothing has changed.
    """

    p_worse: float
    p_better: float
    p_two: float


@dataclass(frozen=True, slots=True)
class CaseCounts:
    """Answers of one case: ``judged`` of them have a verdict, ``passed`` of these are passes.

    Answers that are missing (an error, a time-out) or could not be judged are in neither.
    """

    case: int
    passed: int
    judged: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What can honestly be said, and the figures behind it.

    ``direction`` is set when the verdict is drifted, and only then. The rates are shares from 0
    to 1 over the cases that have answers on both sides; ``pass_rate_baseline`` weighs the cases as
    ``pass_rate`` does, so that a case asked more often now does not move it. ``changed_cases`` are
    those whose own rate moved by half or more, the worst fall first: a description, not a test.
    ``smallest_p`` is the two-sided chance of the clearest possible outcome, every answer passing
    before and none now; above alpha no outcome could have been called drift.
    P-values and rates are None when the verdict is not_judged.
    """

    verdict: Outcome
    direction: Direction | None
    reason: Cause
    p_worse: float | None
    p_better: float | None
    pass_rate_baseline: float | None
    pass_rate: float | None
    changed_cases: tuple[int, ...]
    smallest_p: float | None


def stratified_pass_test(
    base_pass: Sequence[int],
    base_n: Sequence[int],
    check_pass: Sequence[int],
    check_n: Sequence[int],
) -> PassTest:
    """Compare passes now with passes in the baseline, case by case. One entry for each case.

    Given how many of a case's answers pass in all, how many of those fall on its ``check_n``
    answers of now is hypergeometric; the sum over independent cases follows the convolution of
    these laws. That is the exact conditional test of a common odds ratio of 1 in stratified 2×2
    tables (Zelen 1971, "The analysis of several 2 × 2 contingency tables"); with one answer on
    each side it is McNemar's exact test. Raises ValueError on counts that cannot be.
    """
    law = np.ones(1)
    least = 0
    for passes_before, before, passes_now, now in zip(
        base_pass, base_n, check_pass, check_n, strict=True
    ):
        if not (0 <= passes_before <= before and 0 <= passes_now <= now):
            raise ValueError(
                f"{passes_before} of {before} and {passes_now} of {now} are not counts of passes."
            )
        case_least, case_law = _hypergeometric(before, now, passes_before + passes_now)
        law = np.convolve(law, case_law)
        least += case_least
    seen = sum(check_pass) - least
    p_worse = min(1.0, float(law[: seen + 1].sum()))
    p_better = min(1.0, float(law[seen:].sum()))
    return PassTest(p_worse, p_better, min(1.0, 2 * min(p_worse, p_better)))


def judge(base: Sequence[CaseCounts], now: Sequence[CaseCounts], *, alpha: float) -> Judgement:
    """Compare a run with its baseline. Both name the same cases in the same order.

    Drifted when ``p_two`` is at most ``alpha``, the accepted chance of a false verdict in either
    direction. Not judged when there is no case, or fewer than LEAST_JUDGED_SHARE of them have
    judged answers on both sides. Raises ValueError when the cases differ.
    """
    if [counts.case for counts in base] != [counts.case for counts in now]:
        raise ValueError("The baseline and the run are not about the same cases.")
    if not base:
        return _not_judged("no_cases")
    pairs = [
        (before, after)
        for before, after in zip(base, now, strict=True)
        if before.judged and after.judged
    ]
    if len(pairs) < LEAST_JUDGED_SHARE * len(base):
        return _not_judged("too_few_cases_judged")
    test = stratified_pass_test(
        [before.passed for before, _ in pairs],
        [before.judged for before, _ in pairs],
        [after.passed for _, after in pairs],
        [after.judged for _, after in pairs],
    )
    smallest_p = _smallest_p(pairs)
    has_drifted = test.p_two <= alpha
    direction: Direction | None = None
    reason: Cause = "usual_variation" if smallest_p <= alpha else "too_few_answers_to_tell"
    if has_drifted and test.p_worse < test.p_better:
        direction, reason = "worse", "fewer_passes"
    elif has_drifted:
        direction, reason = "better", "more_passes"
    weights = [after.judged for _, after in pairs]
    return Judgement(
        verdict="drifted" if has_drifted else "stable",
        direction=direction,
        reason=reason,
        p_worse=test.p_worse,
        p_better=test.p_better,
        pass_rate_baseline=_weighted([_rate(before) for before, _ in pairs], weights),
        pass_rate=_weighted([_rate(after) for _, after in pairs], weights),
        changed_cases=_changed(pairs),
        smallest_p=smallest_p,
    )


def _hypergeometric(before: int, now: int, passes: int) -> tuple[int, NDArray[np.float64]]:
    """Law of the passes among ``now`` answers when ``passes`` of ``before + now`` pass.

    Returns the least possible number and the chances of it and of each number above it. Integers
    are divided last, so that each chance is as exact as a float can be.
    """
    least, most = max(0, passes - before), min(now, passes)
    ways = math.comb(before + now, passes)
    chances = [
        math.comb(now, count) * math.comb(before, passes - count) / ways
        for count in range(least, most + 1)
    ]
    return least, np.array(chances)


def _smallest_p(pairs: Sequence[tuple[CaseCounts, CaseCounts]]) -> float:
    labellings = math.prod(
        math.comb(before.judged + after.judged, after.judged) for before, after in pairs
    )
    return min(1.0, 2 / labellings)


def _rate(counts: CaseCounts) -> float:
    return counts.passed / counts.judged


def _weighted(rates: Sequence[float], weights: Sequence[int]) -> float:
    return math.fsum(rate * weight for rate, weight in zip(rates, weights, strict=True)) / sum(
        weights
    )


def _changed(pairs: Sequence[tuple[CaseCounts, CaseCounts]]) -> tuple[int, ...]:
    # Rounded, for 0.2 − 0.7 as floats is less than half.
    moves = [(round(_rate(after) - _rate(before), 9), after.case) for before, after in pairs]
    return tuple(case for move, case in sorted(moves) if abs(move) >= CHANGED_CASE_GAP)


def _not_judged(reason: Cause) -> Judgement:
    return Judgement(
        verdict="not_judged",
        direction=None,
        reason=reason,
        p_worse=None,
        p_better=None,
        pass_rate_baseline=None,
        pass_rate=None,
        changed_cases=(),
        smallest_p=None,
    )
