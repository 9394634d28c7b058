"""How large a change is and what it consists of, in figures a page can put into words. Pure.

A test says whether something changed; only its size says whether anybody should be told.
Similarities are points from 0 to 100 (100 × cosine), rates are shares from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kb.drift import features, verdict
from kb.drift.answers import Sample, is_refused, passed
from kb.drift.reading import Reader

type Severity = Literal["critical", "major", "minor", "notice"]
type Direction = Literal["worse", "better", "changed"]

# Measured on repeated runs of unchanged models with ten cases, the similarity of a night falls by
# 2.5 points in one night of twenty and by 8 in one of a hundred; real changes of model, provider
# or quantisation cost 17 to 35.
MINOR_DROP, MAJOR_DROP = 5.0, 15.0
CRITICAL_PASSES, MAJOR_PASSES = 0.20, 0.10
CRITICAL_REFUSALS = 0.30
CRITICAL_FORMAT = 0.20
"""Share of answers that were JSON and are not any more."""
MAJOR_LENGTH, LEAST_LENGTH_CHANGE = 1.5, 30.0
"""Half as long again or a third shorter, and by so many characters: between "Yes." and "No" the
ratio says nothing."""
CASE_DROP = 15.0
CASE_PASSES = 0.50
"""A single case that changes this much matters, however well the others do."""
NAMED_PART = 0.25
DIRECTION_P = 0.05
RATE_DIGITS = 9
"""Differences of rates are told apart to so many digits: 0.8 − 1.0 as floats is less than 0.2."""
MOST_FEATURES = 4
LARGEST_SHIFT = 99.0
LEAST_FEATURE_SHIFT = 0.5
"""A feature is named when it moved by half its usual spread at least."""
SAME = 1e-9
"""Means of equal numbers differ by less than this, for floats are rounded."""


@dataclass(frozen=True, slots=True)
class CaseEffect:
    """How one case moved. Rates are None where nothing was judged on one of the sides."""

    case: int
    similarity_usual: float
    similarity_now: float
    pass_rate_usual: float | None
    pass_rate_now: float | None

    @property
    def drop(self) -> float:
        """Points of similarity lost; below 0 by chance."""
        return self.similarity_usual - self.similarity_now

    @property
    def pass_change(self) -> float:
        """Change of the pass rate; 0 where it is not known."""
        if self.pass_rate_usual is None or self.pass_rate_now is None:
            return 0.0
        return round(self.pass_rate_now - self.pass_rate_usual, RATE_DIGITS)

    @property
    def has_changed(self) -> bool:
        """Whether it is worth naming."""
        return self.drop >= MINOR_DROP or abs(self.pass_change) >= verdict.CHANGED_CASE_GAP


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """A visible feature before and after: medians of counts, means of shares; see features.NAMES.

    ``shift`` is in units of its usual spread.
    """

    name: str
    before: float
    after: float
    shift: float


@dataclass(frozen=True, slots=True)
class Effect:
    """How the new answers differ from the earlier ones over all cases, each case counting once."""

    severity: Severity
    direction: Direction
    similarity_usual: float
    similarity_now: float
    pass_rate_usual: float | None
    pass_rate_now: float | None
    p_worse: float
    p_better: float
    refusal_rate_usual: float
    refusal_rate_now: float
    length_usual: float
    length_now: float
    cases: tuple[CaseEffect, ...]
    features: tuple[FeatureChange, ...]

    @property
    def drop(self) -> float:
        """Points of similarity lost."""
        return self.similarity_usual - self.similarity_now

    @property
    def changed_cases(self) -> tuple[int, ...]:
        """Cases worth naming, worst first; ``cases`` is in the same order.

        Next to a case that changed altogether, one that moved a little is not worth naming.
        """
        least = NAMED_PART * max((one.drop for one in self.cases), default=0.0)
        return tuple(
            one.case
            for one in self.cases
            if abs(one.pass_change) >= verdict.CHANGED_CASE_GAP
            or one.drop >= max(MINOR_DROP, least)
        )


def effect(
    earlier: Mapping[int, Sequence[Sample]],
    new: Mapping[int, Sequence[Sample]],
    reader: Reader | None = None,
) -> Effect | None:
    """Size and content of a change; None when no case has answers on both sides.

    The direction is "worse" or "better" only where the exact test of passes says so with a
    two-sided chance of at most DIRECTION_P.
    """
    reader = reader or Reader()
    both = [case for case in earlier if earlier[case] and new.get(case)]
    if not both:
        return None
    cases = sorted(
        (_case_effect(case, earlier[case], new[case], reader) for case in both),
        key=lambda one: (one.pass_change, -one.drop, one.case),
    )
    cases.sort(key=lambda one: not one.has_changed)
    test = _pass_test([earlier[case] for case in both], [new[case] for case in both])
    judged = [
        one for one in cases if one.pass_rate_usual is not None and one.pass_rate_now is not None
    ]
    json_before, json_now = (
        fmean(_mean(_json_values(side[case], reader)) for case in both) for side in (earlier, new)
    )
    refused_before, refused_now = (
        fmean(_mean([float(is_refused(sample)) for sample in side[case]]) for case in both)
        for side in (earlier, new)
    )
    length_before, length_now = (
        median(len(sample.text) for case in both for sample in side[case])
        for side in (earlier, new)
    )
    usual = fmean(one.similarity_usual for one in cases)
    now = fmean(one.similarity_now for one in cases)
    passes = fmean(one.pass_change for one in judged) if judged else 0.0
    return Effect(
        severity=_severity(
            cases=cases,
            drop=usual - now,
            passes=round(passes, RATE_DIGITS),
            refusals=round(refused_now - refused_before, RATE_DIGITS),
            format_lost=round(json_before - json_now, RATE_DIGITS),
            lengths=(length_before, length_now),
        ),
        direction=_direction(test),
        similarity_usual=usual,
        similarity_now=now,
        pass_rate_usual=fmean(one.pass_rate_usual or 0.0 for one in judged) if judged else None,
        pass_rate_now=fmean(one.pass_rate_now or 0.0 for one in judged) if judged else None,
        p_worse=test.p_worse,
        p_better=test.p_better,
        refusal_rate_usual=refused_before,
        refusal_rate_now=refused_now,
        length_usual=float(length_before),
        length_now=float(length_now),
        cases=tuple(cases),
        features=_features([earlier[case] for case in both], [new[case] for case in both], reader),
    )


def nearest(text: str, among: Sequence[str], reader: Reader | None = None) -> int:
    """Which of the earlier answers is most like this one: the fairest to show beside it.

    Raises ValueError when there are none.
    """
    if not among:
        raise ValueError("There is no earlier answer to show.")
    reader = reader or Reader()
    return int(np.argmax(reader.vectors(among) @ reader.vectors([text])[0]))


def _case_effect(
    case: int, earlier: Sequence[Sample], new: Sequence[Sample], reader: Reader
) -> CaseEffect:
    old = reader.vectors([sample.text for sample in earlier]).astype(np.float64)
    fresh = reader.vectors([sample.text for sample in new]).astype(np.float64)
    # Two empty answers are alike, though their vectors are zero.
    old_empty = ~old.any(axis=1)
    fresh_empty = ~fresh.any(axis=1)
    inside = old @ old.T + np.outer(old_empty, old_empty)
    across = fresh @ old.T + np.outer(fresh_empty, old_empty)
    count = len(old)
    usual = (inside.sum() - np.trace(inside)) / (count * (count - 1)) if count > 1 else 1.0
    return CaseEffect(
        case=case,
        similarity_usual=100.0 * float(usual),
        similarity_now=100.0 * float(across.mean()),
        pass_rate_usual=_pass_rate(earlier),
        pass_rate_now=_pass_rate(new),
    )


def _severity(
    *,
    cases: Sequence[CaseEffect],
    drop: float,
    passes: float,
    refusals: float,
    format_lost: float,
    lengths: tuple[float, float],
) -> Severity:
    if (
        passes <= -CRITICAL_PASSES
        or refusals >= CRITICAL_REFUSALS
        or format_lost >= CRITICAL_FORMAT
    ):
        return "critical"
    if passes <= -MAJOR_PASSES or drop >= MAJOR_DROP or _differ_in_length(*lengths):
        return "major"
    worst_case = any(one.drop >= CASE_DROP or abs(one.pass_change) >= CASE_PASSES for one in cases)
    if drop >= MINOR_DROP or passes >= MAJOR_PASSES or worst_case:
        return "minor"
    return "notice"


def _differ_in_length(before: float, after: float) -> bool:
    shorter, longer = sorted((before, after))
    return longer - shorter >= LEAST_LENGTH_CHANGE and longer + 1 >= MAJOR_LENGTH * (shorter + 1)


def _direction(test: verdict.PassTest) -> Direction:
    if test.p_two > DIRECTION_P:
        return "changed"
    return "worse" if test.p_worse < test.p_better else "better"


def _pass_test(
    earlier: Sequence[Sequence[Sample]], new: Sequence[Sequence[Sample]]
) -> verdict.PassTest:
    def counts(sides: Sequence[Sequence[Sample]]) -> tuple[list[int], list[int]]:
        judged = [[one for one in map(passed, samples) if one is not None] for samples in sides]
        return [sum(one) for one in judged], [len(one) for one in judged]

    return verdict.stratified_pass_test(*counts(earlier), *counts(new))


def _pass_rate(samples: Sequence[Sample]) -> float | None:
    judged = [one for one in map(passed, samples) if one is not None]
    return sum(judged) / len(judged) if judged else None


def _json_values(samples: Sequence[Sample], reader: Reader) -> list[float]:
    place = features.NAMES.index("json")
    return [float(row[place]) for row in reader.features([one.text for one in samples])]


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _features(
    earlier: Sequence[Sequence[Sample]], new: Sequence[Sequence[Sample]], reader: Reader
) -> tuple[FeatureChange, ...]:
    """The features that moved most, each case compared with itself."""
    before = [reader.features([sample.text for sample in samples]) for samples in earlier]
    after = [reader.features([sample.text for sample in samples]) for samples in new]
    moves = np.mean(
        [b.mean(axis=0) - a.mean(axis=0) for a, b in zip(before, after, strict=True)], axis=0
    )
    spread = np.sqrt(np.mean([one.var(axis=0) for one in (*before, *after)], axis=0))
    is_moved, is_spread = np.abs(moves) > SAME, spread > SAME
    shifts = np.divide(moves, spread, out=np.zeros_like(moves), where=is_moved & is_spread)
    # Without any spread on either side the move itself is all there is to go by.
    shifts = np.where(is_moved & ~is_spread, np.sign(moves) * LARGEST_SHIFT, shifts)
    order = np.argsort(-np.abs(shifts), kind="stable")
    return tuple(
        FeatureChange(
            name=features.NAMES[place],
            before=_typical(before, place),
            after=_typical(after, place),
            shift=float(np.clip(shifts[place], -LARGEST_SHIFT, LARGEST_SHIFT)),
        )
        for place in order[:MOST_FEATURES].tolist()
        if abs(shifts[place]) >= LEAST_FEATURE_SHIFT
    )


def _typical(sides: Sequence[NDArray[np.float64]], place: int) -> float:
    values = np.concatenate([one[:, place] for one in sides])
    if features.NAMES[place] in features.COUNTED:
        return float(np.round(np.expm1(np.median(values))))
    return float(values.mean())
