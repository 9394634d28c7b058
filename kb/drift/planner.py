"""What a monitor will be able to see, and what it costs, told before it is saved. Pure.

Nothing is estimated by a formula: the state machine itself is played on made-up answers, so that
what is promised is what will happen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kb.drift.answers import Sample
from kb.drift.reading import Reader
from kb.drift.verdict import CaseCounts
from kb.drift.watch import Memory, Night, Policy, confirm, judge

DAYS_A_MONTH = 365.25 / 12
SPARE_CALLS = 1.06
"""Confirmations and second looks at single cases: measured at 0 to 9 % of the planned calls."""
LONGEST_LOOK_AHEAD = 21
"""Nights; what would take longer is called not noticed."""
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
    """What can be told from the number of cases and of baseline answers alone."""
    nights_a_month = policy.looks_a_year_here / 365.25 * DAYS_A_MONTH
    return Plan(
        smallest_p=(policy.baseline_samples + 1.0) ** -cases,
        nights_to_full_change=_nights(
            cases, policy, lambda _case, night: Sample("new" if night else "old", 0), 0, watched=0
        ),
        calls_for_baseline=cases * policy.baseline_samples,
        calls_a_month=cases * nights_a_month * SPARE_CALLS,
    )


def nights_to_notice(
    baseline: Sequence[CaseCounts], *, rate: float, policy: Policy, seed: int, draws: int = DRAWS
) -> int | None:
    """The night by which a fall of the pass rate to ``rate`` would be noticed, None if it might not.

    The fall comes after two weeks of watching. Takes some seconds: ask once and keep the answer.

    ``baseline``: passes of this monitor's own answers, from which the made-up ones are drawn: each
    answer that would have passed fails with the same chance. Texts do not change, so that a real
    change is usually noticed sooner. Noticed means in NOTICED_SHARE of the draws. Raises
    ValueError when nothing was judged or ``rate`` is above the rate of the baseline.
    """
    judged = [case for case in baseline if case.judged]
    if not judged:
        raise ValueError("No answer of the baseline has been judged.")
    usual = math.fsum(case.passed / case.judged for case in judged) / len(judged)
    if rate > usual:
        raise ValueError(f"The pass rate is {usual:.2f}; it cannot fall to {rate:.2f}.")
    found = sorted(
        night if night is not None else math.inf
        for draw in range(draws)
        for night in [_fall(judged, rate / usual if usual else 1.0, policy, seed * draws + draw)]
    )
    last = found[math.ceil(NOTICED_SHARE * draws) - 1]
    return None if math.isinf(last) else int(last)


def _fall(baseline: Sequence[CaseCounts], kept: float, policy: Policy, seed: int) -> int | None:
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
