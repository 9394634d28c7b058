import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, permutation_test

from kb.drift.detector import CHANNELS, FAINT, Case, look
from kb.drift.reading import Reader
from kb.drift.vectors import PLACES, normalised, vectors
from kb.drift.verdict import stratified_pass_test

BY_LUCK = 1e-6
"""Chance that a bound on simulated draws fails although nothing is wrong; the seeds are fixed."""
READER = Reader()
"""Shared by the tests: it gives the same for the same text whatever it read before."""
WORDS = ("red", "green", "blue", "I", "12", "{}", "日本")
EDGE = 1 + 1e-9
"""Chances that are equal up to the rounding of floats."""


def close(value):
    return pytest.approx(value, rel=1e-9)


def always(text, then, answers=5):
    """A case that never varied and answers otherwise tonight."""
    return Case([text] * answers + [then], 1)


def ticks(before, now):
    """A case whose texts never vary: 1 where its only assertion holds."""
    verdicts = np.array([[float(one)] for one in (*before, *now)])
    return Case(["same"] * len(verdicts), len(now), verdicts)


def drawn_case(lot, *, answers, fresh=1, variants=3):
    """A case whose answers are independent draws from one law: nothing has changed."""
    weights = [lot.random() ** 2 for _ in range(variants)]
    texts = [" ".join(lot.choices(WORDS, k=lot.randrange(5))) for _ in range(variants)]
    kinds = lot.choices(range(variants), weights, k=answers)
    verdicts = np.array([[lot.choice((kind % 2, 1, np.nan)), 1.0] for kind in kinds])
    marks = ["cut" if kind == 1 and lot.random() < 0.3 else "" for kind in kinds]
    return Case([texts[kind] for kind in kinds], fresh, verdicts, marks)


def relabelled(case, chosen):
    """The same answers, but those ``chosen`` are tonight's."""
    order = [place for place in range(len(case.texts)) if place not in chosen]
    order += chosen
    return Case(
        [case.texts[place] for place in order],
        len(chosen),
        None if case.verdicts is None else case.verdicts[order],
        None if case.marks is None else [case.marks[place] for place in order],
    )


@st.composite
def small_cases(draw, least=2, most=5):
    """A case of few answers with everything a case can have."""
    answers = draw(st.integers(least, most))
    texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
    verdicts = st.lists(st.sampled_from((0.0, 1.0, 1.0, math.nan)), min_size=2, max_size=2)
    rows = st.lists(verdicts, min_size=answers, max_size=answers).map(np.array)
    marks = st.lists(st.sampled_from(("", "", "cut")), min_size=answers, max_size=answers)
    return Case(
        draw(st.lists(texts, min_size=answers, max_size=answers)),
        draw(st.integers(1, min(2, answers - 1))),
        draw(st.none() | rows),
        draw(st.none() | marks),
    )


# --- validity ----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(small_cases(most=4), min_size=1, max_size=2))
def test_of_all_ways_to_label_the_same_answers_a_share_u_has_p_at_most_u(cases):
    """Had nothing changed, these ways are equally likely, so that validity can be counted."""
    choices = [
        [list(chosen) for chosen in itertools.combinations(range(len(case.texts)), case.fresh)]
        for case in cases
    ]

    found = [
        look(
            [relabelled(case, chosen) for case, chosen in zip(cases, way, strict=True)],
            seed=number,
            reader=READER,
        )
        for number, way in enumerate(itertools.product(*choices))
    ]

    chances = np.array([one.p for one in found])
    for p in set(chances.tolist()):
        share = (chances <= p * EDGE).mean()
        # Every labelling is listed, so the chance is not only safe but exact.
        assert share == close(p)
    below = [chances[chances < one.p / EDGE].max(initial=0.0) for one in found]
    assert all(
        low / EDGE <= one.p_smooth <= one.p * EDGE for low, one in zip(below, found, strict=True)
    )


def exchangeable_looks(count, seed, alpha, **size):
    lot = random.Random(seed)
    for number in range(count):
        cases = [drawn_case(lot, **size) for _ in range(lot.randrange(1, 4))]
        yield look(cases, seed=number, alpha=alpha, reader=READER)


def least_tail(chances, level):
    """Chance of at least as many chances up to ``level`` among independent uniform ones."""
    return binom.sf(np.sum(np.array(chances) <= level) - 1, len(chances), level)


def distance_by_luck(count):
    """How far an empirical law may lie from the true one (Dvoretzky, Kiefer & Wolfowitz)."""
    return math.sqrt(math.log(2 / BY_LUCK) / (2 * count))


@pytest.mark.parametrize("fresh", [1, 3])
def test_p_is_never_too_small_and_p_smooth_is_uniform_when_nothing_changed(fresh):
    found = list(exchangeable_looks(500, fresh, 1e-5, answers=7, fresh=fresh))

    p, smooth = [one.p for one in found], np.sort([one.p_smooth for one in found])
    for level in (0.005, 0.02, 0.1, 0.3, 0.6):
        assert least_tail(p, level) > BY_LUCK
    uniform = np.arange(1, len(smooth) + 1) / len(smooth)
    assert np.abs(smooth - uniform).max() < distance_by_luck(len(smooth))


def test_relabellings_drawn_by_lot_are_as_safe_as_all_of_them():
    """Eight cases of mostly distinct answers have more relabellings than can be listed."""
    lot = random.Random(4)
    found = [
        look(
            [Case([f"{lot.randrange(99)} {case}" for _ in range(6)], 1) for case in range(8)],
            seed=number,
            alpha=0.02,
            reader=READER,
        )
        for number in range(120)
    ]

    assert not any(one.is_exact for one in found)
    smooth = np.sort([one.p_smooth for one in found])
    for level in (0.02, 0.1, 0.3):
        assert least_tail([one.p for one in found], level) > BY_LUCK
    uniform = np.arange(1, len(smooth) + 1) / len(smooth)
    assert np.abs(smooth - uniform).max() < distance_by_luck(len(smooth))


def test_each_case_has_a_valid_chance_of_its_own():
    lot = random.Random(8)
    alone = [
        p
        for number in range(150)
        for p in look(
            [drawn_case(lot, answers=8) for _ in range(3)], seed=number, reader=READER
        ).cases
    ]

    for level in (0.15, 0.3, 0.6):
        assert least_tail(alone, level) > BY_LUCK


# --- exactness ---------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [1, 2, 3, 5, 10])
def test_cases_that_never_varied_and_all_change_are_one_in_six_to_their_number(changed):
    found = look([always(f"case {one}", "else") for one in range(changed)], seed=1)

    assert found.is_exact
    assert found.p == close(6.0**-changed)
    assert found.smallest_p == close(6.0**-changed)
    assert found.cases == (close(1 / 6),) * changed
    assert found.relabellings == 2**changed


def test_cases_that_never_vary_change_nothing_for_the_one_that_does():
    found = look([always("a", "a"), always("b", "c"), always("d", "d")], seed=1)

    assert found.p == close(1 / 6)
    assert found.cases == (1.0, close(1 / 6), 1.0)
    assert found.smallest_p == close(6.0**-3)


def test_one_of_two_rare_answers_by_hand():
    """Both cases gave "new" once in six. That it is tonight's in both has chance 1/36, in one of
    them 5/36 twice: at least one, 11/36."""
    both = [always("old", "new"), always("old", "new")]
    one = [always("old", "new"), Case(["new"] + ["old"] * 5, 1)]

    assert look(both, seed=1).p == close(1 / 36)
    found = look(one, seed=1)
    assert found.p == close(11 / 36)
    assert 1 / 36 < found.p_smooth <= found.p
    assert found.cases == (close(1 / 6), 1.0)


@settings(max_examples=40)
@given(
    before=st.lists(st.booleans(), min_size=2, max_size=7),
    now=st.lists(st.booleans(), min_size=2, max_size=3),
)
def test_the_assertions_of_one_case_agree_with_scipys_permutation_test(before, now):
    def gap(one, other, axis=-1):
        return np.abs(np.mean(one, axis=axis) - np.mean(other, axis=axis)).round(9)

    expected = permutation_test(
        (np.array(now, float), np.array(before, float)),
        gap,
        n_resamples=np.inf,
        alternative="greater",
    )

    found = look([ticks(before, now)], seed=1)

    assert found.p == close(expected.pvalue)
    assert set(found.channels) <= {"assertions"}


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=9))
def test_pairs_agree_with_scipys_permutation_of_pairs_and_with_mcnemar(pairs):
    before, now = (np.array(side, float) for side in zip(*pairs, strict=True))
    expected = permutation_test(
        (now, before),
        lambda one, other, axis=-1: np.abs(np.sum(one - other, axis=axis)),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
    )

    found = look([ticks([one], [other]) for one, other in pairs], seed=1)

    assert found.p == close(expected.pvalue)
    fell = int(((before == 1) & (now == 0)).sum())
    changed = int((before != now).sum())
    if changed:
        assert found.p == close(binomtest(fell, changed, 0.5).pvalue)


def test_equal_cases_of_several_answers_agree_with_the_exact_test_of_passes():
    """Each passed 4 times of 5 and fails now: as few passes as this is the one-sided exact test;
    as far on the other side, no labelling of these answers can come."""
    cases = [ticks([1, 1, 1, 1, 0], [0]) for _ in range(4)]

    exact = stratified_pass_test([4] * 4, [5] * 4, [0] * 4, [1] * 4)

    assert look(cases, seed=1).channels["assertions"] == close(exact.p_worse)


def test_one_answer_on_each_side_says_how_many_moved_alike_and_not_more():
    """A swap of all labels turns every move around: nothing is rarer than 2 in 2ⁿ."""
    found = look([Case(["old manner", "new way"], 1) for _ in range(5)], seed=1)

    assert found.p == close(2 / 2**5)
    assert set(found.channels) == {"features", "direction"}


class Coarse(Reader):
    """Vectors of sixteen quarters: their products are exact, so that ties are ties everywhere."""

    def vectors(self, texts):
        found = np.zeros((len(texts), PLACES), np.float32)
        for row, text in zip(found, texts, strict=True):
            lot = random.Random(text)
            places = lot.sample(range(40), 16) if text.strip() else []
            row[places] = [lot.choice((-0.25, 0.25)) for _ in places]
        return found


def reference(cases, reader):
    """(p, chance of each channel) by listing every labelling of every single answer.

    Written from the definitions and without kinds of answers, chances or strongest directions.
    """
    assertions = max([0, *(case.verdicts.shape[1] for case in cases if case.verdicts is not None)])
    tables = [_labelled(case, assertions, reader) for case in cases]
    statistics = {}
    for channel in CHANNELS:
        sums = tables[0][channel]
        for table in tables[1:]:
            sums = (sums[:, None] + table[channel][None]).reshape(-1, sums.shape[1])
        spread = sums.std(axis=0)
        moving = spread > 1e-7
        if not moving.any():
            continue
        scaled = (sums - sums.mean(axis=0))[:, moving] / spread[moving]
        if channel == "direction":
            statistics[channel, 0] = (sums**2).sum(axis=1)
        elif channel in ("texts", "novelty"):
            statistics |= {(channel, part): column for part, column in enumerate(scaled.T)}
        else:
            statistics[channel, 0] = np.abs(scaled).max(axis=1)
    if not statistics:
        return 1.0, {}
    ranks = {
        name: (values[None, :] >= values[:, None] - 1e-9).mean(axis=1)
        for name, values in statistics.items()
    }
    of_channels = {
        channel: _least([rank for (name, _part), rank in ranks.items() if name == channel])
        for channel, _part in ranks
    }
    return _least(list(ranks.values())), of_channels


def _least(ranks):
    """How often the least of several ranks is as small as that seen."""
    least = np.min(ranks, axis=0)
    return (least <= least[0] * EDGE).mean()


def _labelled(case, assertions, reader):
    """The statistics of one case for each labelling, the one seen first."""
    count, fresh = len(case.texts), case.fresh
    marks = case.marks or [""] * count
    directions = reader.vectors(case.texts).astype(float)
    spelled = [(normalised(text), mark) for text, mark in zip(case.texts, marks, strict=True)]
    differs = np.array([[float(one != other) for other in spelled] for one in spelled])
    distances = (differs * (1 - directions @ directions.T), differs)
    outcome = np.array([[float(mark != "")] for mark in marks])
    moved = {
        "assertions": _judged(case, assertions),
        "features": np.hstack([reader.features(case.texts), outcome]),
        "direction": directions,
    }
    seen = tuple(range(count - fresh, count))
    others = [one for one in itertools.combinations(range(count), fresh) if one != seen]
    rows = {channel: [] for channel in CHANNELS}
    for new in (seen, *others):
        old = [place for place in range(count) if place not in new]
        for channel, values in moved.items():
            rows[channel].append(values[list(new)].mean(axis=0) - values[old].mean(axis=0))
        for channel, distance in zip(("texts", "novelty"), distances, strict=True):
            nearest = np.mean([distance[place, old].min() for place in new])
            rows[channel].append([_energy(distance, list(new), old), nearest])
    return {channel: np.array(values) for channel, values in rows.items()}


def _energy(distance, new, old):
    def inside(side):
        pairs = len(side) * (len(side) - 1)
        return distance[np.ix_(side, side)].sum() / pairs if pairs else 0.0

    if len(old) < 2:
        return 0.0
    return 2 * distance[np.ix_(new, old)].mean() - inside(old) - inside(new)


def _judged(case, assertions):
    found = np.zeros((len(case.texts), assertions + 1))
    if case.verdicts is None:
        return found
    is_known = ~np.isnan(case.verdicts)
    together = np.where(is_known.all(axis=1), (case.verdicts == 1).all(axis=1), np.nan)
    columns = [together, *case.verdicts.T]
    for place, column in enumerate(columns):
        known = column[~np.isnan(column)]
        found[:, place] = np.where(np.isnan(column), known.mean() if len(known) else 0.0, column)
    return found


COARSE = Coarse()


@settings(max_examples=80)
@given(st.lists(small_cases(), min_size=1, max_size=2))
def test_every_channel_and_their_least_agree_with_listing_every_labelling(cases):
    found = look(cases, seed=1, reader=COARSE)

    p, chances = reference(cases, COARSE)
    assert found.p == close(p)
    assert dict(found.channels) == close(chances)


# --- invariance --------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(small_cases(), min_size=2, max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_matter(cases, lot):
    order = list(range(len(cases)))
    lot.shuffle(order)

    straight = look(cases, seed=1, reader=READER)
    shuffled = look([cases[place] for place in order], seed=1, reader=READER)

    assert shuffled.p == close(straight.p)
    assert shuffled.p_smooth == close(straight.p_smooth)
    assert dict(shuffled.channels) == close(dict(straight.channels))
    assert shuffled.cases == close(tuple(straight.cases[place] for place in order))


@settings(max_examples=40)
@given(st.lists(small_cases(), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_earlier_and_of_tonights_answers_does_not_matter_at_all(cases, lot):
    def shuffled(case):
        earlier = list(range(len(case.texts) - case.fresh))
        tonight = list(range(len(earlier), len(case.texts)))
        lot.shuffle(earlier)
        lot.shuffle(tonight)
        order = [*earlier, *tonight]
        return Case(
            [case.texts[place] for place in order],
            case.fresh,
            None if case.verdicts is None else case.verdicts[order],
            None if case.marks is None else [case.marks[place] for place in order],
        )

    assert look([shuffled(case) for case in cases], seed=1) == look(cases, seed=1)


def test_the_order_of_answers_does_not_matter_where_relabellings_are_drawn_either():
    lot = random.Random(2)
    texts = [[f"{lot.random()} {case}" for _ in range(8)] for case in range(8)]

    straight = look([Case(one, 2) for one in texts], seed=1, alpha=0.01)
    turned = look([Case([*one[5::-1], *one[:5:-1]], 2) for one in texts], seed=1, alpha=0.01)

    assert not straight.is_exact
    assert turned == straight


def test_the_same_arguments_give_the_same_look_and_a_reader_changes_nothing():
    lot = random.Random(3)
    cases = [Case([f"{lot.random()} {case}" for _ in range(9)], 1) for case in range(9)]

    first = look(cases, seed=7, alpha=0.01)

    assert look(cases, seed=7, alpha=0.01) == first
    assert look(cases, seed=7, alpha=0.01, reader=READER) == first
    assert look(cases, seed=8, alpha=0.01).p_smooth != first.p_smooth


def test_the_seed_decides_between_ties_alone_where_all_relabellings_are_listed():
    found = [look([always("a", "b"), always("c", "d")], seed=seed) for seed in range(20)]

    assert {one.p for one in found} == {found[0].p}
    assert len({one.p_smooth for one in found}) == 20
    assert all(0 < one.p_smooth <= one.p for one in found)


def test_what_is_rounding_is_no_direction():
    """The differences of a case from its mean add up to nothing, so that one direction less than
    there are kinds of answers is real. All of them are told from the faintest that can be."""
    text = "so it was agreed by all who were there " * 250
    found = vectors([text, text[:5_000] + "!" + text[5_000:]]).astype(float)

    assert np.linalg.norm(found[0] - found[1]) > 100 * FAINT
    three = [Case(["red green", "blue", "grey violet red"], 1)] * 2
    _p, chances = reference(three, READER)
    assert look(three, seed=1).channels["direction"] == close(chances["direction"])


# --- what is drawn -----------------------------------------------------------------------------


def test_p_is_at_least_the_smallest_p_even_where_one_case_is_drawn_and_another_listed():
    """Thirty distinct answers are drawn by lot, six of two kinds are listed with uneven chances."""
    distinct = [f"usual answer {one}" for one in range(27)] + ["ZEBRA 1!!", "ZEBRA 2!", "ZEBRA 3?"]

    found = look([Case(distinct, 3), always("old", "ZEBRA")], seed=1)

    assert not found.is_exact
    assert 0 < found.smallest_p <= found.p < 0.001


def test_more_relabellings_are_drawn_where_smaller_chances_are_asked_for():
    lot = random.Random(5)
    cases = [
        Case([f"usual words {lot.random():.1f} {case}" for _ in range(9)] + ["– no –"], 1)
        for case in range(10)
    ]

    coarse, fine = (look(cases, seed=1, alpha=alpha, reader=READER) for alpha in (0.05, 0.002))

    assert coarse.relabellings < fine.relabellings <= 8 / 0.002 + 1
    assert coarse.p == coarse.smallest_p == 1 / coarse.relabellings
    assert fine.p < 0.002


def test_a_common_night_is_told_with_few_relabellings():
    lot = random.Random(6)
    cases = [Case([f"{lot.random():.1f} {case}" for _ in range(9)], 1) for case in range(10)]

    found = look(cases, seed=1, alpha=1e-6)

    assert found.p > 0.05
    assert found.relabellings < 10_000


# --- each channel sees what it is for ----------------------------------------------------------


def test_an_assertion_is_seen_in_texts_that_stay_the_same():
    found = look([ticks([1] * 5, [0]) for _ in range(4)], seed=1)

    assert found.channels == {"assertions": close(6.0**-4)}


def test_one_rule_of_several_that_breaks_everywhere_is_seen():
    usual = [[1.0, 1.0, 0.0]] * 5

    found = look([Case(["x"] * 6, 1, np.array([*usual, [1.0, 0.0, 0.0]]))] * 3, seed=1)

    assert found.p == close(6.0**-3)


def test_an_answer_that_was_not_judged_moves_nothing():
    verdicts = np.array([[1.0], [0.0], [1.0], [math.nan], [1.0], [math.nan]])
    known = np.array([[1.0], [0.0], [1.0], [0.75], [1.0], [0.75]])

    missing = look([Case(["x"] * 6, 1, verdicts)], seed=1)

    assert missing.channels["assertions"] == close(1.0)
    filled = look([Case(["x"] * 6, 1, known)], seed=1)
    assert missing.channels["assertions"] == close(filled.channels["assertions"])


def test_an_answer_that_was_cut_is_another_answer_though_the_text_is_the_same():
    found = look([Case(["x"] * 6, 1, None, [""] * 5 + ["cut"])], seed=1)

    assert found.p == close(1 / 6)


def test_white_space_alone_is_no_new_answer():
    found = look([Case(["a b"] * 5 + ["a  b"], 1)] * 3, seed=1)

    assert "novelty" not in found.channels
    assert "texts" not in found.channels


def test_answers_that_move_each_in_their_own_way_are_seen_by_texts_and_novelty():
    lot = random.Random(1)
    cases = [
        Case(
            [" ".join(lot.choices(("ab", "ba"), k=4)) + f" {case}" for _ in range(7)]
            + [chr(0x61 + 3 * case) * 11],
            1,
        )
        for case in range(5)
    ]

    found = look(cases, seed=1)

    assert found.channels["texts"] <= 8.0**-4
    assert found.p < 0.001


# --- degenerate data ---------------------------------------------------------------------------

NAN = math.nan
DEGENERATE = {
    "no case": [],
    "no answers": [Case([], 0)],
    "nothing before": [Case(["a"], 1)],
    "nothing now": [Case(["a", "b"], 0)],
    "more now than there are": [Case(["a"], 3)],
    "all equal": [Case(["a"] * 6, 1)] * 3,
    "empty texts": [Case([""] * 6, 1), Case(["", " ", "\n"], 1)],
    "empty or not": [Case(["a", "b", ""], 1), Case(["", "", "a"], 1)],
    "one each": [Case(["a", "b"], 1)],
    "more now than before": [Case(["a", "b", "c", "d"], 3)],
    "nothing judged": [Case(["a", "b"], 1, np.full((2, 2), NAN))],
    "no assertions": [Case(["a", "b", "c"], 1, np.empty((3, 0)))],
    "assertions in some cases": [
        Case(["a", "b", "c"], 1),
        Case(["a", "b", "c"], 1, np.array([[1.0], [NAN], [0.0]])),
        Case(["a", "b", "c"], 1, np.array([[1, 1, 1.0], [1, 0, 0.0], [NAN, 1, 0]])),
    ],
    "differing in what was not judged alone": [
        Case(["a"] * 6, 1, np.array([[1.0]] * 5 + [[NAN]])),
        Case(["b"] * 6, 1, np.array([[0.0]] * 4 + [[NAN], [0.0]])),
    ],
    "so many that they would be drawn": [Case(["a"] * 6, 1, np.array([[1.0]] * 4 + [[NAN], [1.0]]))]
    * 20,
    "missing cells": [Case(["a"] * 3, 1, np.array([[NAN, 1], [1, NAN], [0.0, 0.0]]))],
    "mixed scripts": [Case(["Ünïcödé", "日本語テキスト", "نص عربي", "🙂🙃", "a\u0301"], 1)],
    "no characters at all": [Case(["\ud800", "\x00", "\udfff\ud800", "\u200b"], 1)],
    "100 kB": [
        Case(["word " * 20_000, "ward " * 20_000, "[" * 100_000, "é" * 100_000], 1),
        Case(["x" * 100_000 + "y", "x" * 100_000 + "z", "x" * 100_000], 1),
    ],
    "equal where they are read": [
        Case([f"{'a ' * 5_000}{one}{'b ' * 5_000}" for one in range(5)], 1)
    ],
    "a long history": [Case([str(one % 7) for one in range(2_000)], 1)] * 2,
    "many now": [Case([str(one % 3) for one in range(400)], 200)],
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_no_data_make_a_look_fail(name):
    cases = DEGENERATE[name]

    found = look(cases, seed=1, alpha=0.001)

    assert 0.0 < found.p <= 1.0
    assert 0.0 <= found.p_smooth <= found.p
    assert found.smallest_p <= found.p * EDGE
    assert len(found.cases) == len(cases)
    assert all(0.0 < p <= 1.0 for p in found.cases)
    assert all(0.0 < p <= 1.0 for p in found.channels.values())


@pytest.mark.parametrize(
    "name",
    [
        "no case",
        "no answers",
        "nothing before",
        "nothing now",
        "all equal",
        "differing in what was not judged alone",
        "so many that they would be drawn",
    ],
)
def test_what_cannot_be_compared_or_never_varies_is_no_evidence(name):
    cases = DEGENERATE[name]

    found = look(cases, seed=1)

    assert (found.p, found.cases, found.channels) == (1.0, (1.0,) * len(cases), {})
    smooth = [look(cases, seed=seed).p_smooth for seed in range(9)]
    assert len(set(smooth)) == 9  # drawn by lot from 0 to 1, which adds nothing to what is known
    assert min(smooth) < 0.5 < max(smooth)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.lists(st.text(max_size=20), max_size=6), st.integers(0, 3)), max_size=3),
    st.integers(0, 2**32),
)
def test_no_texts_make_a_look_fail(drawn, seed):
    cases = [Case(texts, fresh) for texts, fresh in drawn]

    found = look(cases, seed=seed, alpha=0.01)

    assert 0.0 <= found.p_smooth <= found.p <= 1.0
    assert 0.0 < found.smallest_p <= found.p * EDGE
