"""One look: could tonight's answers have come from the same model as the earlier ones?

Pure: numpy alone. Within every case tonight's answers and the earlier ones are relabelled in all
ways, or in many drawn by lot; five statistics ask how unusual the labels seen are, and the least
of their five chances is itself compared with what relabelling makes of it. The result is a chance
that is right for any number of answers, any temperature and any kind of text (a stratified
permutation test with min-p combination: Pesarin & Salmaso 2010, "Permutation tests for complex
data", ch. 4), as long as the answers of a case could have come in any other order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from kb.drift.reading import Reader
from kb.drift.relabelling import Ways, ways
from kb.drift.vectors import normalised

type Channel = Literal["assertions", "features", "direction", "texts", "novelty"]
type Floats = NDArray[np.float64]

CHANNELS: Final[tuple[Channel, ...]] = (
    "assertions",
    "features",
    "direction",
    "texts",
    "novelty",
)
"""assertions: one rule holds more or less often over all cases. features: one visible feature
moves the same way over all cases. direction: the texts of all cases move the same way. texts:
the texts of each case move, each in its own way. novelty: answers not given before."""

type Statistic = tuple[Channel, int]
"""A channel and which of its statistics: texts and novelty have two (see `_values`), whose sums over
the cases have tails of different weight, so that each must be ranked by itself."""

DIRECTIONS = 32
"""The strongest directions in which the texts of these cases vary; the rest is noise."""
MOST_ROWS_AT_ONCE = 160
"""Texts up to which their directions are found in one step instead of by iteration."""
FEWEST_WAYS = 200
"""Ways of one case drawn by lot when they cannot be listed; more when there are few cases."""
MOST_WAYS = 200_000
"""For a case on its own: resolves chances down to 5 in a million."""
MOST_CELLS = 250_000_000
"""Numbers worked through for one look with a change; keeps it below about two seconds."""
MOST_LISTED = 70_000
"""Joint relabellings are listed instead of drawn up to this many: sixteen cases that never varied
before and have all changed."""
FIRST_DRAW = 249
GROWTH = 8
"""Draw this many times more while a channel is still too rare to be measured."""
ENOUGH_EXCEEDANCES = 20
"""Relabellings at least as extreme, beyond which a chance is known to about a fifth of itself
(Besag & Clifford 1991, "Sequential Monte Carlo p-values")."""
SAME = 1e-9
"""Statistics closer than this, relative to the largest, are tied: sums of floats depend on order."""
FAINT = 1e-5
"""A direction of variation shorter than this (vectors have length 1) is rounding: brought to length
1 it would count as much as what the texts say. One other character makes a thousand times more."""
MOST_AT_ONCE = 2_000_000
"""Numbers held for the distances of one case: 16 MB."""
FEW_WAYS = 64
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Case:
    """All answers of one test case, tonight's last.

    ``fresh`` is how many are tonight's. ``verdicts`` is float[answers, assertions] of 1 (holds),
    0 and NaN (not judged), or None. ``marks`` sets answers apart that look alike but ended
    otherwise ("cut"), one for each answer, or None.
    """

    texts: Sequence[str]
    fresh: int
    verdicts: Floats | None = None
    marks: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found.

    ``p``: chance of labels at least as unusual had nothing changed; never 0; at most u with chance
    at most u. ``p_smooth``: the same with ties broken by lot, uniform from 0 to 1 had nothing
    changed. ``channels``: chance of each channel on its own. ``cases``: chance of each case on
    its own, in the order given, 1 for a case that could not be compared. ``smallest_p``: the
    least ``p`` these answers could have given. ``relabellings``: how many were compared, with
    ``is_exact`` when they were all there are.
    """

    p: float
    p_smooth: float
    channels: Mapping[Channel, float]
    cases: tuple[float, ...]
    smallest_p: float
    relabellings: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """Statistics of one case for each of its ways: float[ways, columns], and their chances."""

    values: Floats
    chances: Floats
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Stack:
    """Tables to be added up, with the channel of each column and how its sum spreads.

    ``spread`` is taken over all relabellings, so there are no labels in it.
    """

    tables: Sequence[_Table]
    channels: NDArray[np.int64]
    spread: Floats

    @property
    def width(self) -> int:
        return len(self.channels)

    def statistics(self, sums: Floats) -> dict[Statistic, Floats]:
        """The statistics of each channel for each row of summed columns."""
        found: dict[Statistic, Floats] = {}
        for number, channel in enumerate(CHANNELS):
            places = np.flatnonzero(self.channels == number)
            if len(places) == 0:
                continue
            values = sums[:, places]
            if channel in ("assertions", "features"):
                found[channel, 0] = np.abs(values / self.spread[places]).max(axis=1)
            elif channel == "direction":
                found[channel, 0] = (values * values).sum(axis=1)
            else:
                for part, column in enumerate(values.T):
                    found[channel, part] = column
        return found


def look(
    cases: Sequence[Case],
    *,
    seed: int,
    alpha: float = 1e-5,
    most_cells: int = MOST_CELLS,
    reader: Reader | None = None,
    with_cases: bool = True,
) -> Look:
    """Compare tonight's answers with the earlier ones of each case.

    ``alpha`` is the smallest chance worth telling apart: it decides how many relabellings are
    drawn when they cannot all be listed, as far as ``most_cells`` allows. The same arguments give
    the same result. Never raises on answers: a case without earlier or without new answers is
    passed over, and where nothing can be compared, or nothing varies, p is 1. Without
    ``with_cases`` the chances of single cases are not worked out and all 1.
    """
    rng = np.random.default_rng(seed)
    used = _comparable(cases)
    smallest = math.prod(1 / math.comb(len(case.texts), case.fresh) for _place, case in used)
    places, stack = _read(used, alpha, reader or Reader(), rng)
    if stack is None:
        chance = float(rng.random())
        return Look(1.0, chance, {}, (1.0,) * len(cases), smallest, 1, True)
    joint, chances, is_exact = _joint(stack, alpha, most_cells, rng)
    ranked = _ranked(joint, chances)
    p, tied = _least(list(ranked.values()), chances)
    return Look(
        p=p,
        p_smooth=(p - tied) + float(rng.random()) * tied,
        channels=_of_channels(ranked, chances),
        cases=_chances_of_cases(len(cases), places, stack) if with_cases else (1.0,) * len(cases),
        smallest_p=smallest if is_exact else float(chances.min()),
        relabellings=len(chances),
        is_exact=is_exact,
    )


def look_at_cases(
    cases: Sequence[Case], *, seed: int, alpha: float = 1e-5, reader: Reader | None = None
) -> tuple[float, ...]:
    """The chances of single cases alone, as in ``Look.cases``. Arguments as in `look`."""
    rng = np.random.default_rng(seed)
    places, stack = _read(_comparable(cases), alpha, reader or Reader(), rng)
    return (1.0,) * len(cases) if stack is None else _chances_of_cases(len(cases), places, stack)


def _comparable(cases: Sequence[Case]) -> list[tuple[int, Case]]:
    """Those with answers on both sides, with their places."""
    return [(place, case) for place, case in enumerate(cases) if 0 < case.fresh < len(case.texts)]


def _read(
    used: Sequence[tuple[int, Case]], alpha: float, reader: Reader, rng: np.random.Generator
) -> tuple[Sequence[int], _Stack | None]:
    """The places of the cases that vary, and their tables; no tables when nothing moves."""
    varying = [(place, case, kinds) for place, case in used if (kinds := _kinds(case)).varies]
    if not varying:
        return (), None
    stack = _stacked(*_tables(varying, _ways_of_a_case(len(varying), alpha), reader, rng))
    if stack.width == 0:  # they differ in what moves nothing: an answer that was not judged
        return (), None
    return [place for place, _case, _kinds_of_case in varying], stack


def _chances_of_cases(number: int, places: Sequence[int], stack: _Stack) -> tuple[float, ...]:
    """For each case the chance of its own answers; 1 where it was not compared."""
    found = [1.0] * number
    for place, table in zip(places, stack.tables, strict=True):
        alone = _stacked([table], stack.channels)
        ranked = _ranked(alone.statistics(alone.tables[0].values), table.chances)
        found[place] = _least(list(ranked.values()), table.chances)[0]
    return tuple(found)


def _of_channels(ranked: Mapping[Statistic, Floats], chances: Floats) -> Mapping[Channel, float]:
    """The chance of each channel on its own; of two statistics, that of the lesser chance."""
    by_channel: dict[Channel, list[Floats]] = {}
    for (channel, _part), ranks in ranked.items():
        by_channel.setdefault(channel, []).append(ranks)
    return {channel: _least(parts, chances)[0] for channel, parts in by_channel.items()}


# --- one case ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The answers of a case that differ in something: how many of each, in all and tonight."""

    first: tuple[int, ...]
    counts: tuple[int, ...]
    fresh: tuple[int, ...]

    @property
    def varies(self) -> bool:
        return len(self.first) > 1


def _kinds(case: Case) -> _Kinds:
    places: dict[tuple[str, str, bytes], list[int]] = {}
    for number, text in enumerate(case.texts):
        judged = b"" if case.verdicts is None else case.verdicts[number].tobytes()
        mark = "" if case.marks is None else case.marks[number]
        places.setdefault((text, mark, judged), []).append(number)
    # In the order of their content: the order of the answers must not decide between floats.
    ordered = [places[key] for key in sorted(places)]
    earlier = len(case.texts) - case.fresh
    return _Kinds(
        first=tuple(members[0] for members in ordered),
        counts=tuple(len(members) for members in ordered),
        fresh=tuple(sum(number >= earlier for number in members) for members in ordered),
    )


def _ways_of_a_case(cases: int, alpha: float) -> int:
    """Few cases need many ways each, or their product could not reach alpha."""
    return int(min(MOST_WAYS, max(FEWEST_WAYS, (40 / alpha) ** (1 / cases))))


def _tables(
    varying: Sequence[tuple[int, Case, _Kinds]],
    most: int,
    reader: Reader,
    rng: np.random.Generator,
) -> tuple[list[_Table], NDArray[np.int64]]:
    """The table of each case, and the channel of each column."""
    reader.read(case.texts[number] for _, case, kinds in varying for number in kinds.first)
    assertions = max(
        0 if case.verdicts is None else case.verdicts.shape[1] for _, case, _ in varying
    )
    measured = [_measured(case, kinds, reader) for _, case, kinds in varying]
    moves = _directions(measured)
    width = assertions + (assertions > 1)
    tables = []
    for (_, case, kinds), seen, places in zip(varying, measured, moves, strict=True):
        listed = ways(kinds.counts, kinds.fresh, most=most, rng=rng)
        judged = _judged(case, kinds, width)
        values = _values(listed, kinds, seen, judged, places)
        tables.append(_Table(values, listed.chances, listed.is_exact))
    widths = (width, measured[0].features.shape[1], moves[0].shape[1], 2, 2)
    return tables, np.repeat(np.arange(len(CHANNELS)), widths)


@dataclass(frozen=True, slots=True)
class _Measured:
    """One row for each kind of answer; vectors are differences from the mean of the case."""

    features: Floats
    vectors: Floats
    similarity: Floats
    differs: Floats
    counts: NDArray[np.int64]


def _measured(case: Case, kinds: _Kinds, reader: Reader) -> _Measured:
    texts = [case.texts[number] for number in kinds.first]
    marks = ["" if case.marks is None else case.marks[number] for number in kinds.first]
    counts = np.array(kinds.counts)
    found = reader.vectors(texts)
    similarity = np.clip((found @ found.T).astype(np.float64), -1.0, 1.0)
    spelled = [(normalised(text), mark) for text, mark in zip(texts, marks, strict=True)]
    codes = np.array([spelled.index(one) for one in spelled])
    differs = (codes[:, None] != codes[None, :]).astype(np.float64)
    similarity = np.where(differs > 0, similarity, 1.0)
    centre = (counts[:, None] * found).sum(axis=0) / counts.sum()
    outcome = np.array([[float(mark != "")] for mark in marks])
    return _Measured(
        features=np.hstack([reader.features(texts), outcome]),
        vectors=found - centre,
        similarity=similarity,
        differs=differs,
        counts=counts,
    )


def _directions(measured: Sequence[_Measured]) -> list[Floats]:
    """Where each kind of answer lies along the strongest common directions of variation.

    Found by subspace iteration (Halko, Martinsson & Tropp 2011) from a fixed start. All answers
    count alike, tonight's or not: the choice of directions knows no labels, so the test stays
    exact.
    """
    rows = np.vstack([one.vectors for one in measured])
    weighted = rows * np.sqrt(np.concatenate([one.counts for one in measured]))[:, None]
    kept = min(DIRECTIONS, len(rows))
    if len(rows) <= MOST_ROWS_AT_ONCE:
        _sizes, basis = np.linalg.eigh(weighted @ weighted.T)
        basis = weighted.T @ basis[:, ::-1][:, :kept]
        lengths = np.sqrt((basis * basis).sum(axis=0))
        basis = np.divide(basis, lengths, out=np.zeros_like(basis), where=lengths > FAINT)
    else:
        start = np.random.default_rng(0).standard_normal((rows.shape[1], kept + 8))
        basis, weighted = start.astype(np.float32), weighted.astype(np.float32)
        for _ in range(3):
            basis, _triangle = np.linalg.qr(weighted.T @ (weighted @ basis))
        places = weighted @ basis
        _sizes, turn = np.linalg.eigh((places.T @ places).astype(np.float64))
        basis = basis.astype(np.float64) @ turn[:, ::-1][:, :kept]
    ends = np.cumsum([0, *(len(one.vectors) for one in measured)]).tolist()
    along = rows @ basis
    return [along[begin:end] for begin, end in itertools.pairwise(ends)]


def _judged(case: Case, kinds: _Kinds, width: int) -> Floats:
    """Verdicts by kind, float[kinds, width]; the first column says whether all of them hold.

    A verdict that is missing takes the mean of its case, which moves nothing either way.
    """
    found = np.zeros((len(kinds.first), width))
    if case.verdicts is None or case.verdicts.shape[1] == 0 or width == 0:
        return found
    verdicts = case.verdicts[list(kinds.first)]
    together = np.where(np.isnan(verdicts).any(axis=1), np.nan, (verdicts > 0.5).all(axis=1))
    if width > 1:
        verdicts = np.column_stack([together, verdicts])
    weights = np.array(kinds.counts)[:, None] * ~np.isnan(verdicts)
    known = weights.sum(axis=0)
    means = np.divide(
        (weights * np.nan_to_num(verdicts)).sum(axis=0),
        known,
        out=np.zeros(verdicts.shape[1]),
        where=known > 0,
    )
    found[:, : verdicts.shape[1]] = np.where(np.isnan(verdicts), means, verdicts)
    return found


def _values(listed: Ways, kinds: _Kinds, seen: _Measured, judged: Floats, places: Floats) -> Floats:
    """For each way: differences of means (tonight less earlier), then two pairs of distances.

    One pair is of 1 − cosine, for texts, the other of "differs at all", for novelty. The first of
    each is the energy distance 2·E|X−Y| − E|X−X′| − E|Y−Y′| with unbiased inner terms (Székely &
    Rizzo 2013), which needs two earlier answers; the second is how far tonight's answers are on
    average from the nearest earlier one, which shows when only some of them are new.
    """
    counts = np.array(kinds.counts)
    fresh = sum(kinds.fresh)
    earlier = int(counts.sum()) - fresh
    new = listed.fresh / fresh
    old = (counts - listed.fresh) / earlier
    move = (new - old) @ np.hstack([judged, seen.features, places])
    distances = (1.0 - seen.similarity, seen.differs)
    pairs = [
        column
        for distance in distances
        for column in (
            _energy(new, old, fresh, earlier, distance),
            (new * _to_nearest(old, distance)).sum(axis=1),
        )
    ]
    return np.column_stack([move, *pairs])


def _to_nearest(old: Floats, distance: Floats) -> Floats:
    """For each way and kind the distance to the nearest kind that was given earlier."""
    was_given = old > 0
    found = np.zeros_like(old)  # a kind that was given is its own nearest
    ways_, kinds = np.nonzero(~was_given)
    rows = max(1, MOST_AT_ONCE // old.shape[1])
    for begin in range(0, len(ways_), rows):
        way, kind = ways_[begin : begin + rows], kinds[begin : begin + rows]
        reach = np.where(was_given[way], distance[kind], np.inf)
        found[way, kind] = reach.min(axis=1)
    return found


def _energy(new: Floats, old: Floats, fresh: int, earlier: int, distance: Floats) -> Floats:
    if earlier < 2:
        return np.zeros(len(new))
    to_old = old @ distance
    between = (new * to_old).sum(axis=1)
    inside_old = (old * to_old).sum(axis=1) * earlier / (earlier - 1)
    if fresh < 2:
        return 2 * between - inside_old
    inside_new = ((new @ distance) * new).sum(axis=1) * fresh / (fresh - 1)
    return 2 * between - inside_old - inside_new


# --- all cases together -----------------------------------------------------------------------


def _stacked(tables: Sequence[_Table], channels: NDArray[np.int64]) -> _Stack:
    """The columns that move at all."""
    variance = np.zeros(len(channels))
    for table in tables:
        means = table.chances @ table.values
        variance += table.chances @ (table.values - means) ** 2
    spread = np.sqrt(variance)
    moving = spread > SAME
    return _Stack(
        tables=[replace(table, values=table.values[:, moving]) for table in tables],
        channels=channels[moving],
        spread=spread[moving],
    )


def _joint(
    stack: _Stack, alpha: float, most_cells: int, rng: np.random.Generator
) -> tuple[dict[Statistic, Floats], Floats, bool]:
    """The statistics of every joint relabelling, the one seen first, and their chances."""
    number = math.prod(len(table.chances) for table in stack.tables)
    if number > MOST_LISTED:
        return _drawn(stack, alpha, most_cells, rng)
    sums, chances = stack.tables[0].values, stack.tables[0].chances
    for table in stack.tables[1:]:
        sums = (sums[:, None, :] + table.values[None, :, :]).reshape(-1, stack.width)
        chances = (chances[:, None] * table.chances[None, :]).ravel()
    return stack.statistics(sums), chances, all(table.is_exact for table in stack.tables)


def _drawn(
    stack: _Stack, alpha: float, most_cells: int, rng: np.random.Generator
) -> tuple[dict[Statistic, Floats], Floats, bool]:
    # The last step must be 1, whatever the floats add up to.
    steps = [np.append(np.cumsum(table.chances)[:-1], 1.0) for table in stack.tables]
    seen = np.sum([table.values[0] for table in stack.tables], axis=0)[None]
    parts = {channel: [values] for channel, values in stack.statistics(seen).items()}
    most = int(min(8 / alpha, most_cells / (stack.width * len(stack.tables))))
    most = max(most, FIRST_DRAW)
    drawn, target = 0, FIRST_DRAW
    while True:
        while drawn < target:
            rows = min(target - drawn, ROWS_AT_ONCE)
            sums = np.zeros((rows, stack.width))
            for table, step in zip(stack.tables, steps, strict=True):
                sums += table.values[np.searchsorted(step, rng.random(rows), side="right")]
            for channel, values in stack.statistics(sums).items():
                parts[channel].append(values)
            drawn += rows
        found = {channel: np.concatenate(values) for channel, values in parts.items()}
        fewest = min(int((values[1:] >= _tie(values)).sum()) for values in found.values())
        if fewest >= ENOUGH_EXCEEDANCES or drawn >= most:
            return found, np.full(drawn + 1, 1 / (drawn + 1)), False
        target = min(most, drawn * GROWTH)


def _tie(values: Floats) -> float:
    """The least value that counts as equal to the one seen, which stands first."""
    return float(values[0]) - SAME * max(1.0, float(np.abs(values).max()))


def _ranked(statistics: Mapping[Statistic, Floats], chances: Floats) -> dict[Statistic, Floats]:
    """For each statistic and relabelling the chance of a value as large or larger."""
    if statistics and len(chances) <= FEW_WAYS:
        few = _ranks_of_few(np.array(list(statistics.values())), chances)
        return dict(zip(statistics, few, strict=True))
    return {name: _ranks(values, chances) for name, values in statistics.items()}


def _least(ranked: Sequence[Floats], chances: Floats) -> tuple[float, float]:
    """The chance that the least of several chances is as small as that seen, and of exactly so small.

    Both are given because a lot is drawn between ties.
    """
    if not ranked:
        return 1.0, 1.0
    least: Floats = np.min(ranked, axis=0)
    below = least < least[0] * (1 - SAME)
    tied = np.abs(least - least[0]) <= least[0] * SAME
    return min(1.0, float(chances[below | tied].sum())), float(chances[tied].sum())


def _ranks_of_few(stacked: Floats, chances: Floats) -> Floats:
    """`_ranks` of every row, by comparing all with all."""
    margins = SAME * np.maximum(1.0, np.abs(stacked).max(axis=1))
    reaches = stacked[:, None, :] >= (stacked - margins[:, None])[:, :, None]
    return np.asarray(reaches @ chances)


def _ranks(values: Floats, chances: Floats) -> Floats:
    """For each relabelling the chance of a value as large or larger, ties together."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    above = np.cumsum(chances[order])
    margin = SAME * max(1.0, float(np.abs(values).max()))
    # The last of each run of ties carries the chance of the whole run.
    last = np.append(np.flatnonzero(ordered[:-1] - ordered[1:] > margin), len(ordered) - 1)
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(above[last], np.diff(last, prepend=-1))
    return ranks
