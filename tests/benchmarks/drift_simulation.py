"""How soon drift is found, how often it is cried without cause, and what watching costs.

Plays recorded answers of two versions of a model through the real state machine, night by night,
with the noise of hosted models added: none; replicate (another recorded answer to the same
question); diverge (the answer goes its own way from some word on); neighbour (the answer of the
same version to the most similar question). Recordings are CSV files with the columns model, query
and answer.

    python -m tests.benchmarks.drift_simulation prime.csv happy_numbers.csv --only flip --draws 40
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as kb.settings does

from kb.drift.answers import Sample
from kb.drift.detector import Case, look
from kb.drift.reading import Reader
from kb.drift.watch import Judgement, Memory, Night, Policy, confirm, judge
from tests.benchmarks import report

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
            others = [other for other in itertools.islice(self.answers, 300) if other != question]
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
        return f"{self.mode} {self.share:g}" if self.share else "none"


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

    def nights(self, count: int) -> Iterator[tuple[int, Judgement]]:
        """Judgements of nights 0, 1, … after the baseline; confirmations belong to their night."""
        self.calls = 0
        cases = range(len(self.questions))
        pool: dict[int, list[Sample]] = {case: [] for case in cases}
        memory = Memory()
        session = 0
        wanted = dict.fromkeys(cases, 1)
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
            wanted = dict(judgement.wanted.samples)
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
        for older, newer in itertools.pairwise(names):
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
ALL = (*NOISES, Noise("diverge", 1.0))
BASELINES = ((5, True, 0), (5, False, 5), (8, True, 3))
"""Answers of each case, recorded at once or night by night, and nights before the change."""
type Pairs = Sequence[tuple[Recording, Recording]]
type Row = tuple[object, ...]


def within(found: Sequence[Found], nights: int) -> str:
    """Share found in time; an alarm before the change counts as missed."""
    share = sum(one.night is not None and 1 <= one.night <= nights for one in found) / len(found)
    return f"{100 * share:.0f} %"


def table(title: str, heads: Sequence[str], rows: Iterator[Row]) -> str:
    """Print each row as soon as it is known, for simulations take long; all of them as Markdown."""
    print(f"\n{title}")
    known: list[Row] = []
    widths = [max(9, len(head)) for head in heads]
    widths[1] = 14
    for row in itertools.chain([heads], rows):
        cells = (str(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells), flush=True)
        known.append(row)
    return report.table(heads, known[1:])


def draw(
    pairs: Pairs, draws: int, is_new: Callable[[int, int, random.Random], bool], **options: Any
) -> list[Found]:
    """Plays of each pair, with other questions and other noise in each."""
    return [
        play(pair, is_new=is_new, seed=1_000 * place + number, **options)
        for place, pair in enumerate(pairs)
        for number in range(draws)
    ]


def switches(pairs: Pairs, draws: int) -> Iterator[Row]:
    for cases, noise, (baseline, at_once, stable) in itertools.product(
        (5, 10, 20), NOISES, BASELINES
    ):
        found = draw(
            pairs,
            draws,
            lambda _case, _night, _lot: True,
            cases=cases,
            noise=noise,
            baseline=baseline,
            at_once=at_once,
            stable=stable,
            nights=7,
        )
        recorded = f"{baseline} {'at once' if at_once else 'nights'}"
        yield cases, noise, recorded, stable, *(within(found, night) for night in (1, 2, 3, 7))


def rollouts(pairs: Pairs, draws: int) -> Iterator[Row]:
    for cases, noise, stable in itertools.product((5, 10, 20), NOISES, (0, 5, 10, 20)):
        found = draw(
            pairs,
            draws,
            lambda _case, _night, lot: lot.random() < 0.2,
            cases=cases,
            noise=noise,
            baseline=5,
            at_once=True,
            stable=stable,
            nights=21,
        )
        notices = sum(one.notices for one in found)
        yield (
            cases,
            noise,
            stable,
            *(within(found, night) for night in (3, 7, 14, 21)),
            notices,
            _routes(found),
        )


def flips(pairs: Pairs, draws: int) -> Iterator[Row]:
    for noise, stable in itertools.product(NOISES, (0, 3, 10, 20)):
        found = draw(
            pairs,
            draws,
            lambda case, _night, _lot: case == 3,
            cases=10,
            noise=noise,
            baseline=5,
            at_once=True,
            stable=stable,
            nights=20,
        )
        hits = [one for one in found if one.night is not None and one.night >= 1]
        right = sum(one.cases[:1] == (3,) for one in hits)
        delay = statistics.median([one.night or 0 for one in hits]) if hits else "–"
        yield (
            stable,
            noise,
            *(within(found, night) for night in (5, 7, 10, 14, 20)),
            delay,
            f"{right} of {len(hits)}",
            sum(one.notices for one in found),
        )


def unchanged(
    pairs: Pairs, nights: int, length: int, sizes: Sequence[int], first: int
) -> Iterator[Row]:
    for cases, noise in itertools.product(sizes, ALL):
        played = alarms = notices = calls = 0
        seed = first
        began = time.process_time()
        while played < nights:
            version = pairs[seed % len(pairs)][seed // len(pairs) % 2]
            seed += 1
            found = play(
                (version, version),
                cases=cases,
                noise=noise,
                baseline=5,
                at_once=seed % 3 > 0,
                stable=0,
                nights=length,
                is_new=lambda _case, _night, _lot: False,
                seed=seed,
            )
            played += found.night or length
            alarms += found.night is not None
            notices += found.notices
            calls += found.calls - 5 * cases
        milliseconds = 1000 * (time.process_time() - began) / played
        ratio = calls / (cases * played)
        yield cases, noise, played, alarms, notices, f"{ratio:.3f}", f"{milliseconds:.0f}"


def speed(pairs: Pairs) -> Iterator[Row]:
    for (cases, answers), changed in itertools.product(((10, 6), (20, 8), (20, 40)), (False, True)):
        taken = []
        for seed in range(15):
            lot = random.Random(seed)
            old, new = pairs[seed % len(pairs)]
            compared = []
            for question in lot.sample(sorted(old.answers), cases):
                texts = [answer(old, question, Noise("diverge", 0.3), lot) for _ in range(answers)]
                if changed:
                    texts[-1] = lot.choice(new.answers[question])
                compared.append(Case(texts, 1))
            began = time.process_time()
            look(compared, seed=seed)
            taken.append(1000 * (time.process_time() - began))
        model = "changed" if changed else "same"
        yield cases, model, answers, f"{statistics.median(taken):.0f}", f"{max(taken):.0f}"


def _routes(found: Sequence[Found]) -> str:
    counts = Counter(one.route for one in found if one.route)
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=25)
    parser.add_argument("--nights", type=int, default=2_000, help="unchanged nights of each kind")
    parser.add_argument("--length", type=int, default=60, help="nights of one unchanged monitor")
    parser.add_argument(
        "--cases", type=int, nargs="+", default=(5, 10, 20), help="of unchanged monitors"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first unchanged monitor")
    parser.add_argument(
        "--only", choices=("switch", "rollout", "flip", "unchanged", "speed"), action="append"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="bring docs/benchmarks.md up to date"
    )
    options = parser.parse_args()
    about = report.machine_line(report.machine())
    pairs = load(options.recordings)
    draws = f"{options.draws} draws of each of {len(pairs)} pairs"
    chosen = options.only or ("switch", "rollout", "flip", "unchanged", "speed")
    if "speed" in chosen:
        heads = ("cases", "model", "answers", "median ms", "worst ms")
        found = table("CPU of one look", heads, speed(pairs))
        if options.write_docs:
            report.write_section("drift-look", f"{about}\n\n{found}")
    if "flip" in chosen:
        heads = ("stable", "noise", *NIGHTS_OF_FLIP, "median", "named", "notices")
        table(f"One case of ten flips, {draws}", heads, flips(pairs, options.draws))
    if "rollout" in chosen:
        heads = ("cases", "noise", "stable", "≤ 3", "≤ 7", "≤ 14", "≤ 21", "notices", "routes")
        table(f"A fifth of the calls, {draws}", heads, rollouts(pairs, options.draws))
    if "unchanged" in chosen:
        heads = ("cases", "noise", "nights", "alarms", "notices", "calls", "ms a night")
        title = f"Nothing changes, {options.length} nights each"
        rows = unchanged(pairs, options.nights, options.length, options.cases, options.seed)
        found = table(title, heads, rows)
        if options.write_docs:
            report.write_section("drift-unchanged", f"{about}\n\n{title}.\n\n{found}")
    if "switch" in chosen:
        heads = ("cases", "noise", "baseline", "stable", "night 1", "≤ 2", "≤ 3", "≤ 7")
        table(f"Full switch, {draws}", heads, switches(pairs, options.draws))


NIGHTS_OF_FLIP = ("≤ 5", "≤ 7", "≤ 10", "≤ 14", "≤ 20")

if __name__ == "__main__":
    main()
