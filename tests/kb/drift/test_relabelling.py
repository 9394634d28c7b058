import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.drift.relabelling import ways


def rng():
    return np.random.default_rng(1)


@st.composite
def samples(draw):
    """(counts, seen) of up to four kinds of answers."""
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    return counts, [draw(st.integers(0, count)) for count in counts]


@given(samples())
def test_listed_ways_are_all_choices_of_answers_with_their_chances(sample):
    counts, seen = sample

    found = ways(counts, seen, most=10_000, rng=rng())

    answers = [kind for kind, count in enumerate(counts) for _ in range(count)]
    chosen = Counter(
        tuple(Counter(choice)[kind] for kind in range(len(counts)))
        for choice in itertools.combinations(answers, sum(seen))
    )
    expected = {way: number / chosen.total() for way, number in chosen.items()}
    listed = {
        tuple(way): chance
        for way, chance in zip(found.fresh.tolist(), found.chances.tolist(), strict=True)
    }
    assert listed == pytest.approx(expected)
    assert len(listed) == len(found.fresh)
    assert found.fresh[0].tolist() == seen
    assert found.is_exact


def test_an_answer_that_never_varied_leaves_two_ways_instead_of_six():
    found = ways([5, 1], [0, 1], most=100, rng=rng())

    assert found.fresh.tolist() == [[0, 1], [1, 0]]
    assert found.chances.tolist() == pytest.approx([1 / 6, 5 / 6])


def test_too_many_ways_are_drawn_with_the_seen_one_first():
    found = ways([1] * 30, [1] * 10 + [0] * 20, most=500, rng=rng())

    assert found.fresh.shape == (500, 30)
    assert found.fresh[0].tolist() == [1] * 10 + [0] * 20
    assert set(found.fresh.sum(axis=1).tolist()) == {10}
    assert found.chances.tolist() == [1 / 500] * 500
    assert not found.is_exact


def test_drawn_ways_follow_the_hypergeometric_law():
    found = ways([10, 50], [10, 20], most=20_000, rng=rng())
    drawn = ways([10, 50, 1, 1, 1, 1], [10, 16, 1, 1, 1, 1], most=50, rng=rng())

    assert found.is_exact
    assert sorted(found.fresh[:, 0].tolist()) == [*range(11)]
    assert not drawn.is_exact
    assert drawn.fresh[1:, 0].mean() == pytest.approx(10 * 30 / 64, abs=1.0)


def test_chances_stay_exact_for_hundreds_of_answers():
    found = ways([300, 200], [0, 200], most=1_000, rng=rng())

    assert found.chances[0] == pytest.approx(1 / math.comb(500, 200), rel=1e-12)
    assert found.chances.sum() == pytest.approx(1.0)


def test_more_answers_tonight_than_there_are_is_refused():
    with pytest.raises(ValueError, match="cannot be taken from"):
        ways([1, 2], [2, 0], most=10, rng=rng())
