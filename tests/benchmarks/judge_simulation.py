"""How often a judge that has not changed is suspended, and how soon one that has changed is.

Plays the looks at a judge's anchors through the real state machine, night by night and hour by hour
where it asks again. A simulated judge says yes to each anchor with a chance of its own, in each of
two votes; anchors are those on which both votes agreed once. `shaky` sets how many of them it is
unsure about: 0.02 hardly any, 0.3 a third.

    python tests/benchmarks/judge_simulation.py --years 10 --draws 40
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kb.drift.answers import Sample
from kb.drift.watch import LEAST_LIBRARY, Memory, Night, Policy, confirm, judge

NIGHTS, LOOKS_A_YEAR, BASELINE = 365, 500, 5
LEARNED_FOR, WATCHED_FOR = 20, 40
"""Nights before a judge changes, and those in which the change may be found."""
POLICY = Policy(
    looks_a_year=float(LEAST_LIBRARY + LOOKS_A_YEAR),
    looks_a_year_here=float(LOOKS_A_YEAR),
    baseline_samples=BASELINE,
    heeds_single_cases=False,
)

type Chances = list[float]


@dataclass(frozen=True)
class Played:
    """The night of the alarm, None without one; looks that raised a doubt; calls of the judge."""

    alarm: int | None
    doubts: int
    calls: int


def play(
    seed: str,
    anchors: int,
    shaky: float,
    nights: int,
    change: Callable[[random.Random, Chances], Chances] | None = None,
) -> Played:
    """Look at one judge for so many nights; it changes after LEARNED_FOR of them, if at all."""
    rng = random.Random(seed)
    chances = _chosen(rng, anchors, shaky)
    memory, wanted, soon = Memory(), dict[int, int](), False
    pool: dict[int, list[Sample]] = {place: [] for place in range(anchors)}
    night = session = doubts = calls = 0
    while night < nights:
        session += 1
        night += not soon
        if change is not None and night > LEARNED_FOR:
            chances, change = change(rng, chances), None
        tonight = {
            place: [_sample(_votes(rng, chance), session) for _ in range(wanted.get(place, 1))]
            for place, chance in enumerate(chances)
        }
        calls += 2 * sum(map(len, tonight.values()))
        found = (confirm if soon else judge)(
            memory=memory,
            cases=list(pool),
            pool={place: samples[-70:] for place, samples in pool.items()},
            night=Night(session, tonight),
            policy=POLICY,
            seed=zlib.crc32(f"{seed} {session}".encode()),
        )
        memory, wanted = found.memory, dict(found.wanted.samples)
        soon = found.wanted.when == "soon"
        for place, samples in tonight.items():
            pool[place] += samples
        doubts += found.verdict == "suspect"
        if found.verdict == "drifted":
            return Played(night, doubts, calls)
    return Played(None, doubts, calls)


def _chosen(rng: random.Random, anchors: int, shaky: float) -> Chances:
    """Chances of yes of anchors on which both votes agreed when they were chosen."""
    found: Chances = []
    while len(found) < anchors:
        chance = rng.random() ** shaky
        chance = chance if rng.random() < 0.5 else 1 - chance
        if _votes(rng, chance) != "split":
            found.append(chance)
    return found


def _votes(rng: random.Random, chance: float) -> str:
    one, other = rng.random() < chance, rng.random() < chance
    return "split" if one != other else "yes" if one else "no"


def _sample(word: str, session: int) -> Sample:
    return Sample(word, session, ({"yes": 1, "no": 0}.get(word),))


def flipped(share: float) -> Callable[[random.Random, Chances], Chances]:
    """A judge that sees so many of the anchors the other way round."""

    def change(rng: random.Random, chances: Chances) -> Chances:
        chosen = set(rng.sample(range(len(chances)), round(share * len(chances))))
        return [1 - one if place in chosen else one for place, one in enumerate(chances)]

    return change


def stricter(share: float) -> Callable[[random.Random, Chances], Chances]:
    """A judge that says no to so many of those it said yes to."""

    def change(rng: random.Random, chances: Chances) -> Chances:
        yes = [place for place, one in enumerate(chances) if one > 0.5]
        chosen = set(rng.sample(yes, round(share * len(yes))))
        return [0.03 if place in chosen else one for place, one in enumerate(chances)]

    return change


CHANGES = {
    "a fifth flipped": flipped(0.2),
    "half flipped": flipped(0.5),
    "a third stricter": stricter(0.3),
    "all no": stricter(1.0),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print what unchanged judges cost, then how soon changed ones are found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--years", type=int, default=10)
    options.add_argument("--draws", type=int, default=40)
    chosen = options.parse_args(argv)
    for anchors in (10, 20):
        for shaky in (0.02, 0.1, 0.3):
            runs = [
                play(f"{anchors} {shaky} {n}", anchors, shaky, NIGHTS) for n in range(chosen.years)
            ]
            print(
                f"unchanged, {anchors} anchors, shaky {shaky}: {chosen.years} judge-years, "
                f"{sum(one.alarm is not None for one in runs)} suspended, "
                f"{sum(one.doubts for one in runs) / len(runs):.1f} doubts a year, "
                f"{sum(one.calls for one in runs) / len(runs) / NIGHTS:.1f} calls a night",
                flush=True,
            )
    nights = LEARNED_FOR + WATCHED_FOR
    for anchors in (10, 20):
        for shaky in (0.02, 0.1):
            for name, change in CHANGES.items():
                found = [
                    play(f"{name} {anchors} {shaky} {n}", anchors, shaky, nights, change).alarm
                    for n in range(chosen.draws)
                ]
                shares = [
                    sum(one is not None and one - LEARNED_FOR <= within for one in found)
                    / len(found)
                    for within in (1, 3, 7, 14)
                ]
                print(
                    f"{name}, {anchors} anchors, shaky {shaky}: found within 1/3/7/14 nights "
                    + " / ".join(f"{share:.2f}" for share in shares),
                    flush=True,
                )


if __name__ == "__main__":
    main()
