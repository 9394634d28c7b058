"""What a monitor will be able to see, and what it costs, told before it is saved. Pure.

Nothing is estimated by a formula: the state machine itself is played on made-up answers, so that
what is promised is what will happen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from kb.drift.answers import Sample
from kb.drift.reading import Reader
from kb.drift.verdict import CaseCounts
from kb.drift.watch import LEAST_LIBRARY, Memory, Night, Policy, confirm, judge

DAYS_A_MONTH = 365.25 / 12
SPARE_CALLS = 1.06
"""Confirmations and second looks at single cases: measured at 0 to 9 % of the planned calls."""
LONGEST_LOOK_AHEAD = 21
"""Nights; what would take longer is called not noticed."""
FALLS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Of the pass rate: five points is what a person would call a bad week, everything the worst."""
CLEAREST = 1e-9
"""A night rarer than this is as clear as any: more cases than that takes are not played."""
KEPT_PLANS = 512
WATCHED = 14
"""Unchanged nights before the fall: an alarm owed in the first days is a matter of the plan."""
DRAWS = 15
NOTICED_SHARE = 0.8
"""Within this many of the made-up histories a change must be noticed for its night to be told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``smallest_p``: the chance of the clearest possible first night after the baseline.
    ``nights_to_full_change``: when answers that are all different would be called drift, 1 for the
    first night with its confirmation; None when not within LONGEST_LOOK_AHEAD.
    ``calls_for_baseline`` and ``calls_a_month``: of the model.
    """

    smallest_p: float
    nights_to_full_change: int | None
    calls_for_baseline: int
    calls_a_month: float


def plan(*, cases: int, policy: Policy) -> Plan:
    """What can be told from the number of cases and of baseline answers alone; in milliseconds."""
    nights_a_month = policy.looks_a_year_here / 365.25 * DAYS_A_MONTH
    chances = policy.baseline_samples + 1.0
    needed = math.ceil(-math.log(CLEAREST) / math.log(chances))
    # A library smaller than the least is reckoned like the least one: one plan to keep for both.
    shared = replace(policy, looks_a_year=max(policy.looks_a_year, float(LEAST_LIBRARY)))
    return Plan(
        smallest_p=chances**-cases,
        nights_to_full_change=_full_change(min(cases, needed), shared),
        calls_for_baseline=cases * policy.baseline_samples,
        calls_a_month=cases * nights_a_month * SPARE_CALLS,
    )


@lru_cache(maxsize=KEPT_PLANS)
def _full_change(cases: int, policy: Policy) -> int | None:
    """When answers that are all different would be called drift; None without a case."""

    def answer(_case: int, night: int) -> Sample:
        return Sample("new" if night else "old", 0)

    return _nights(cases, policy, answer, 0, watched=0) if cases else None


def nights_to_notice(
    baseline: Sequence[CaseCounts], *, rate: float, policy: Policy, seed: int, draws: int = DRAWS
) -> int | None:
    """The night by which a fall of the pass rate to ``rate`` would be noticed, None if it might not.

    The fall comes after two weeks of watching. Takes seconds, with fifty cases a minute: ask once,
    in a worker, and keep the answer.

    ``baseline``: passes of this monitor's own answers, from which the made-up ones are drawn: each
    answer that would have passed fails with the same chance. Texts do not change, so that a real
    change is usually noticed sooner. Noticed means in NOTICED_SHARE of the draws. Raises
    ValueError when nothing was judged or ``rate`` is above the rate of the baseline.
    """
    usual = usual_rate(baseline)
    if usual is None:
        raise ValueError("No answer of the baseline has been judged.")
    if rate > usual:
        raise ValueError(f"The pass rate is {usual:.2f}; it cannot fall to {rate:.2f}.")
    judged = [case for case in baseline if case.judged]
    kept = rate / usual if usual else 1.0
    played = (_history(judged, kept, policy, seed * draws + draw) for draw in range(draws))
    return _noticed_by(played, draws)


def usual_rate(baseline: Sequence[CaseCounts]) -> float | None:
    """The pass rate of a baseline, each case counting once; None when nothing was judged."""
    rates = [case.passed / case.judged for case in baseline if case.judged]
    return math.fsum(rates) / len(rates) if rates else None


@dataclass(frozen=True, slots=True)
class Fall:
    """A fall of the pass rate to ``rate``, and the night it is noticed by; None if it might not be."""

    rate: float
    nights: int | None


def falls(baseline: Sequence[CaseCounts], *, policy: Policy, seed: int) -> Iterator[Fall]:
    """Ever larger falls of a baseline's pass rate, up to the first that would be noticed.

    Each takes as long as `nights_to_notice`. None at all where nothing was judged or nothing passes.
    """
    usual = usual_rate(baseline)
    rates = [] if not usual else [round(max(0.0, usual - points), 4) for points in FALLS]
    for rate in dict.fromkeys(rates):
        fall = Fall(rate, nights_to_notice(baseline, rate=rate, policy=policy, seed=seed))
        yield fall
        if fall.nights is not None:
            return


def _noticed_by(nights: Iterable[int | None], draws: int) -> int | None:
    """The night by which a change was noticed in NOTICED_SHARE of the histories.

    Histories are played one after the other, and no more of them once too many missed it.
    """
    needed = math.ceil(NOTICED_SHARE * draws)
    found: list[int] = []
    for played, night in enumerate(nights, start=1):
        if night is not None:
            found.append(night)
        if played - len(found) > draws - needed:
            return None
    return sorted(found)[needed - 1]


def _history(baseline: Sequence[CaseCounts], kept: float, policy: Policy, seed: int) -> int | None:
    """Night of the alarm in one made-up history."""
    lot = random.Random(seed)  # noqa: S311 - a simulation
    passes = [[1] * case.passed + [0] * (case.judged - case.passed) for case in baseline]

    def answer(case: int, night: int) -> Sample:
        passed = lot.choice(passes[case])
        if night and lot.random() >= kept:
            passed = 0
        return Sample("answer", 0, (passed,))

    return _nights(len(baseline), policy, answer, seed, watched=WATCHED)


def _nights(
    cases: int, policy: Policy, answer: Callable[[int, int], Sample], seed: int, *, watched: int
) -> int | None:
    """Play a monitor to its first alarm, from night 1 of ``answer``; what was before is night 0."""
    everything = range(cases)
    known = policy.baseline_samples + watched
    pool = {
        case: [replace(answer(case, 0), session=number) for number in range(known)]
        for case in everything
    }
    memory = Memory(phase="stable", looks=watched)
    asked = dict.fromkeys(everything, 1)
    reader = Reader()
    session = known
    for night in range(1, LONGEST_LOOK_AHEAD + 1):
        for step in (judge, confirm):
            session += 1
            new = {
                case: [replace(answer(case, night), session=session) for _ in range(count)]
                for case, count in asked.items()
            }
            judgement = step(
                memory=memory,
                cases=everything,
                pool=pool,
                night=Night(session, new),
                policy=policy,
                seed=seed + session,
                reader=reader,
            )
            for case, samples in new.items():
                pool[case].extend(samples)
            memory, asked = judgement.memory, dict(judgement.wanted.samples)
            # A notice tells nobody: too small to matter, or not seen again.
            if judgement.verdict == "drifted":
                return night
            if judgement.wanted.when != "soon":
                break
    return None
