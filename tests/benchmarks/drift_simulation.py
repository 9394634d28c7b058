"""How soon drift is found, how often it is cried without cause, and what watching costs.

Plays recorded answers of two versions of a model through the real state machine, night by night,
with the noise of hosted models added: none; replicate (another recorded answer to the same
question); diverge (the answer goes its own way from some word on); neighbour (the answer of the
same version to the most similar question). Recordings are CSV files with the columns model, query
and answer.

    python tests/benchmarks/drift_simulation.py prime.csv happy_numbers.csv --only flip --draws 40
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kb.drift.answers import Sample
from kb.drift.detector import Case, look
from kb.drift.reading import Reader
from kb.drift.watch import Judgement, Memory, Night, Policy, confirm, judge

csv.field_size_limit(10**9)
SHORT_ANSWER = 80
"""Shorter answers have no words to diverge from and take the neighbour's."""
type Answers = dict[str, list[str]]


@dataclass
class Recording:
    """All answers of one version of a model, by question."""

    name: str
    answers: Answers
    neighbours: dict[str, str] = field(default_factory=dict)

    def neighbour(self, question: str) -> str:
        if question not in self.neighbours:
            grams = _grams(question)
            others = [other for other in islice(self.answers, 300) if other != question]
            self.neighbours[question] = max(
                others, key=lambda other: len(grams & _grams(other)) / len(grams | _grams(other))
            )
        return self.neighbours[question]


def _grams(text: str) -> frozenset[str]:
    return frozenset(text[place : place + 4] for place in range(max(1, len(text) - 3)))


@dataclass(frozen=True)
class Noise:
    """With chance `share` a call is answered in the given way instead of as recorded."""

    mode: str = "none"
    share: float = 0.0

    def __str__(self) -> str:
        return f"{self.mode} {self.share:.1f}" if self.share else "none"


def answer(recording: Recording, question: str, noise: Noise, rng: random.Random) -> str:
    text = rng.choice(recording.answers[question])
    if rng.random() >= noise.share:
        return text
    if noise.mode == "neighbour" or (noise.mode == "diverge" and len(text) < SHORT_ANSWER):
        return rng.choice(recording.answers[recording.neighbour(question)])
    if noise.mode == "diverge":
        other = rng.choice(recording.answers[rng.choice(list(recording.answers))])
        cut = rng.uniform(0.3, 1.0)
        here, there = int(len(text) * cut), int(len(other) * cut)
        return text[: text.rfind(" ", 0, here) + 1] + other[other.find(" ", there) + 1 :]
    return text


@dataclass
class Play:
    """One monitor, played night by night. `serve` answers (case, night) with a text."""

    questions: Sequence[str]
    serve: Callable[[int, int], str]
    policy: Policy
    baseline: int
    at_once: bool
    seed: int
    reader: Reader = field(default_factory=Reader)
    check: Callable[[int, str], tuple[int | None, ...]] = lambda _case, _text: ()
    outcome: Callable[[int], str] = lambda _night: "answered"

    def nights(self, count: int) -> Iterator[tuple[int, Judgement]]:
        """Judgements of nights 0, 1, … after the baseline; confirmations belong to their night."""
        self.calls = 0
        cases = range(len(self.questions))
        pool: dict[int, list[Sample]] = {case: [] for case in cases}
        memory = Memory()
        session = 0
        sizes = [self.baseline] if self.at_once else [1] * self.baseline
        for number, size in [
            *((-1, size) for size in sizes),
            *((number, 1) for number in range(count)),
        ]:
            asked = dict.fromkeys(cases, size) if number < 0 else wanted
            session += 1
            judgement = self._session(judge, memory, pool, session, number, asked)
            if judgement.wanted.when == "soon":
                session += 1
                judgement = self._session(
                    confirm,
                    judgement.memory,
                    pool,
                    session,
                    number,
                    judgement.wanted.samples,
                )
            memory = Memory.from_dict(judgement.memory.to_dict())
            wanted = judgement.wanted.samples
            if number >= 0:
                yield number, judgement

    def _session(
        self,
        judging: Callable[..., Judgement],
        memory: Memory,
        pool: dict[int, list[Sample]],
        session: int,
        night: int,
        asked: dict[int, int],
    ) -> Judgement:
        new = {
            case: [self._sample(case, night, session) for _ in range(number)]
            for case, number in asked.items()
        }
        self.calls += sum(asked.values())
        judgement = judging(
            memory=memory,
            cases=list(pool),
            pool=pool,
            night=Night(session, new),
            policy=self.policy,
            seed=self.seed * 10_000 + session,
            reader=self.reader,
        )
        for case, samples in new.items():
            pool[case].extend(samples)
        return judgement

    def _sample(self, case: int, night: int, session: int) -> Sample:
        text = self.serve(case, night)
        return Sample(text, session, self.check(case, text))


def load(paths: Sequence[Path]) -> list[tuple[Recording, Recording]]:
    """Pairs of versions of the same model and questions, older first."""
    pairs = []
    for path in paths:
        found: dict[str, Answers] = defaultdict(lambda: defaultdict(list))
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                texts = found[row["model"]][row["query"]]
                if row["answer"] not in texts:
                    texts.append(row["answer"])
        names = sorted(found)
        for older, newer in zip(names, names[1:], strict=False):
            if older.rsplit("-", 1)[0] == newer.rsplit("-", 1)[0]:
                label = f"{path.stem} {older.rsplit('/', 1)[-1].rsplit('-', 1)[0]}"
                pairs.append((Recording(label, found[older]), Recording(label, found[newer])))
    return pairs


@dataclass(frozen=True)
class Found:
    """When an alarm was raised (nights from the change, 1 = the first), for which cases, how."""

    night: int | None
    cases: tuple[int, ...] = ()
    route: str = ""
    notices: int = 0
    calls: int = 0


def play(
    pair: tuple[Recording, Recording],
    *,
    cases: int,
    noise: Noise,
    baseline: int,
    at_once: bool,
    stable: int,
    nights: int,
    is_new: Callable[[int, int, random.Random], bool],
    seed: int,
) -> Found:
    """Play one monitor: `stable` nights of the old version, then `is_new` decides for each call."""
    old, new = pair
    rng = random.Random(seed)
    questions = rng.sample(sorted(set(old.answers) & set(new.answers)), cases)

    def serve(case: int, night: int) -> str:
        changed = night >= stable and is_new(case, night - stable, rng)
        return answer(new if changed else old, questions[case], noise, rng)

    game = Play(questions, serve, Policy(baseline_samples=baseline), baseline, at_once, seed)
    notices = 0
    for night, judgement in game.nights(stable + nights):
        notices += judgement.verdict == "notice"
        if judgement.verdict == "drifted":
            return Found(
                night - stable + 1,
                judgement.changed_cases,
                judgement.routes[0],
                notices,
                game.calls,
            )
    return Found(None, notices=notices, calls=game.calls)


NOISES = (Noise(), Noise("diverge", 0.15), Noise("diverge", 0.3), Noise("neighbour", 0.3))


def within(found: Sequence[Found], nights: int) -> str:
    """Share found in time; an alarm before the change counts as missed."""
    share = sum(one.night is not None and 1 <= one.night <= nights for one in found) / len(found)
    return f"{100 * share:4.0f} %"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}")
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    sys.stdout.flush()


def switches(pairs: Sequence[tuple[Recording, Recording]], draws: int) -> None:
    rows = []
    for cases in (5, 10, 20):
        for noise in NOISES:
            for baseline, at_once, stable in ((5, True, 0), (5, False, 5), (8, True, 3)):
                found = [
                    play(
                        pair,
                        cases=cases,
                        noise=noise,
                        baseline=baseline,
                        at_once=at_once,
                        stable=stable,
                        nights=14,
                        is_new=lambda _case, _night, _rng: True,
                        seed=draw,
                    )
                    for pair in pairs
                    for draw in range(draws)
                ]
                rows.append(
                    (
                        str(cases),
                        str(noise),
                        f"{baseline} {'at once' if at_once else 'nights'}",
                        str(stable),
                        *(within(found, nights) for nights in (1, 2, 3, 7, 14)),
                    )
                )
    table(
        f"Full switch, {draws} draws of each of {len(pairs)} pairs",
        ("cases", "noise", "baseline", "stable", "night 1", "≤ 2", "≤ 3", "≤ 7", "≤ 14"),
        rows,
    )


def rollouts(pairs: Sequence[tuple[Recording, Recording]], draws: int) -> None:
    rows = []
    for cases in (5, 10, 20):
        for noise in NOISES:
            for stable in (0, 5, 15):
                found = [
                    play(
                        pair,
                        cases=cases,
                        noise=noise,
                        baseline=5,
                        at_once=True,
                        stable=stable,
                        nights=21,
                        is_new=lambda _case, _night, rng: rng.random() < 0.2,
                        seed=draw,
                    )
                    for pair in pairs
                    for draw in range(draws)
                ]
                rows.append(
                    (
                        str(cases),
                        str(noise),
                        str(stable),
                        *(within(found, nights) for nights in (3, 7, 14, 21)),
                        str(sum(one.notices for one in found)),
                        _routes(found),
                    )
                )
    table(
        f"20 % of calls go to the new version, {draws} draws of each of {len(pairs)} pairs",
        ("cases", "noise", "stable", "≤ 3", "≤ 7", "≤ 14", "≤ 21", "notices", "routes"),
        rows,
    )


def flips(pairs: Sequence[tuple[Recording, Recording]], draws: int) -> None:
    rows = []
    for noise in NOISES:
        for stable in (0, 3, 10, 20):
            found = [
                play(
                    pair,
                    cases=10,
                    noise=noise,
                    baseline=5,
                    at_once=True,
                    stable=stable,
                    nights=20,
                    is_new=lambda case, _night, _rng: case == 3,
                    seed=draw,
                )
                for pair in pairs
                for draw in range(draws)
            ]
            hits = [one for one in found if one.night is not None]
            right = sum(one.cases == (3,) for one in hits)
            delays = [one.night for one in hits if one.night is not None]
            rows.append(
                (
                    str(noise),
                    str(stable),
                    *(within(found, nights) for nights in (5, 7, 10, 14, 20)),
                    f"{statistics.median(delays):.0f}" if delays else "–",
                    f"{right} of {len(hits)}",
                    str(sum(one.notices for one in found)),
                )
            )
    table(
        f"One case of ten flips, {draws} draws of each of {len(pairs)} pairs",
        ("noise", "stable", "≤ 5", "≤ 7", "≤ 10", "≤ 14", "≤ 20", "median", "named", "notices"),
        rows,
    )


def _routes(found: Sequence[Found]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for one in found:
        if one.route:
            counts[one.route] += 1
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


def unchanged(pairs: Sequence[tuple[Recording, Recording]], nights: int, length: int) -> None:
    rows = []
    for cases in (5, 10, 20):
        for noise in (*NOISES, Noise("diverge", 1.0)):
            played = alarms = notices = calls = 0
            began = time.process_time()
            seed = 0
            while played < nights:
                pair = pairs[seed % len(pairs)]
                seed += 1
                found = play(
                    (pair[0], pair[0]) if seed % 2 else (pair[1], pair[1]),
                    cases=cases,
                    noise=noise,
                    baseline=5,
                    at_once=bool(seed % 3),
                    stable=0,
                    nights=length,
                    is_new=lambda _case, _night, _rng: False,
                    seed=seed,
                )
                played += found.night or length
                alarms += found.night is not None
                notices += found.notices
                calls += found.calls - 5 * cases
            rows.append(
                (
                    str(cases),
                    str(noise),
                    str(played),
                    str(alarms),
                    str(notices),
                    f"{calls / (cases * played):.3f}",
                    f"{1000 * (time.process_time() - began) / played:.0f}",
                )
            )
    table(
        f"Nothing changes ({length} nights each)",
        ("cases", "noise", "nights", "alarms", "notices", "calls", "ms a night"),
        rows,
    )


def speed(pairs: Sequence[tuple[Recording, Recording]]) -> None:
    rows = []
    for cases, answers in ((10, 6), (20, 8), (20, 40)):
        for name, share, changed in (("same", 0.3, False), ("changed", 0.3, True)):
            taken = []
            for seed in range(15):
                rng = random.Random(seed)
                old, new = pairs[seed % len(pairs)]
                questions = rng.sample(sorted(old.answers), cases)
                compared = []
                for question in questions:
                    texts = [
                        answer(old, question, Noise("diverge", share), rng) for _ in range(answers)
                    ]
                    if changed:
                        texts[-1] = rng.choice(new.answers[question])
                    compared.append(Case(texts, 1))
                began = time.process_time()
                look(compared, seed=seed)
                taken.append(1000 * (time.process_time() - began))
            rows.append(
                (
                    str(cases),
                    str(answers),
                    name,
                    f"{statistics.median(taken):.0f}",
                    f"{max(taken):.0f}",
                )
            )
    table("CPU of one look", ("cases", "answers", "model", "median ms", "worst ms"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=25)
    parser.add_argument("--nights", type=int, default=2_000, help="unchanged nights of each kind")
    parser.add_argument("--length", type=int, default=60, help="nights of one unchanged monitor")
    parser.add_argument(
        "--only", choices=("switch", "rollout", "flip", "unchanged", "speed"), action="append"
    )
    options = parser.parse_args()
    pairs = load(options.recordings)
    chosen = options.only or ("switch", "rollout", "flip", "unchanged", "speed")
    if "switch" in chosen:
        switches(pairs, options.draws)
    if "rollout" in chosen:
        rollouts(pairs, options.draws)
    if "flip" in chosen:
        flips(pairs, options.draws)
    if "unchanged" in chosen:
        unchanged(pairs, options.nights, options.length)
    if "speed" in chosen:
        speed(pairs)


if __name__ == "__main__":
    main()
