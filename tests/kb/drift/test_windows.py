import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.drift.answers import Sample
from kb.drift.detector import look
from kb.drift.windows import FIRST_KEPT, LAST_KEPT, between, compared, comparison, shortened


def nights(*sessions, **fields):
    return [Sample(f"of {session}", session, **fields) for session in sessions]


def sessions(samples):
    return [one.session for one in samples]


def test_both_ends_of_a_time_belong_to_it():
    pool = {7: nights(1, 2, 3, 4), 8: nights(3), 9: []}

    found = between(pool, 2, 3)

    assert {case: sessions(samples) for case, samples in found.items()} == {
        7: [2, 3],
        8: [3],
        9: [],
    }


def test_sessions_that_were_odd_are_left_out_for_every_case():
    pool = {7: nights(1, 2, 2, 3), 8: nights(2, 3)}

    found = between(pool, 1, 3, without=(2,))

    assert {case: sessions(samples) for case, samples in found.items()} == {7: [1, 3], 8: [3]}


def test_a_missing_answer_is_no_evidence_and_an_empty_refused_or_cut_one_is():
    outcomes = ("answered", "missing", "empty", "refused", "cut")
    pool = {7: [Sample("", 1, outcome=outcome) for outcome in outcomes]}

    found = between(pool, 1, 1)

    assert [one.outcome for one in found[7]] == ["answered", "empty", "refused", "cut"]


def test_time_that_has_not_come_or_runs_backwards_is_empty():
    pool = {7: nights(1, 2)}

    assert between(pool, 3, 9) == {7: []}
    assert between(pool, 2, 1) == {7: []}
    assert between({}, 1, 2) == {}


@given(
    st.lists(st.integers(0, 9)), st.integers(0, 9), st.integers(0, 9), st.sets(st.integers(0, 9))
)
def test_answers_are_chosen_by_their_time_alone_and_keep_their_order(taken, begin, end, without):
    pool = {7: nights(*sorted(taken))}

    found = between(pool, begin, end, tuple(without))

    expected = [one for one in sorted(taken) if begin <= one <= end and one not in without]
    assert sessions(found[7]) == expected


@given(st.integers(0, 200))
def test_of_a_long_history_the_first_and_the_last_answers_are_compared(count):
    samples = nights(*range(count))

    kept = shortened(samples)

    expected = samples
    if count > FIRST_KEPT + LAST_KEPT:
        expected = samples[:FIRST_KEPT] + samples[count - LAST_KEPT :]
    assert kept == expected
    assert len(kept) == compared(count)


def test_a_comparison_has_one_case_for_each_in_the_order_asked_for():
    earlier, new = {7: nights(1, 2), 8: nights(1)}, {8: nights(3), 7: nights(3, 4)}

    seven, nine, eight = comparison([7, 9, 8], earlier, new)

    assert (seven.texts, seven.fresh) == (["of 1", "of 2", "of 3", "of 4"], 2)
    assert (nine.texts, nine.fresh) == ([], 0)
    assert (eight.texts, eight.fresh) == (["of 1", "of 3"], 1)


def test_both_sides_of_a_comparison_are_shortened():
    (case,) = comparison([7], {7: nights(*range(100))}, {7: nights(*range(100, 200))})

    assert len(case.texts) == 2 * (FIRST_KEPT + LAST_KEPT)
    assert case.fresh == FIRST_KEPT + LAST_KEPT
    assert case.texts[FIRST_KEPT] == f"of {100 - LAST_KEPT}"


def test_verdicts_become_numbers_and_what_was_not_judged_a_gap():
    earlier = {7: [Sample("a", 1, (1, 0)), Sample("b", 2, (None, 1)), Sample("c", 3)]}

    (case,) = comparison([7], earlier, {7: [Sample("d", 4, (1,))]})

    np.testing.assert_array_equal(
        case.verdicts,
        [[1.0, 0.0], [np.nan, 1.0], [np.nan, np.nan], [1.0, np.nan]],
    )


def test_a_case_without_assertions_has_no_verdicts():
    (case,) = comparison([7], {7: nights(1)}, {7: nights(2)})

    assert case.verdicts is None


def test_answers_that_ended_otherwise_are_marked():
    earlier = {7: [Sample("a", 1), Sample("", 2, outcome="empty")]}

    (case,) = comparison([7], earlier, {7: [Sample("a", 3, outcome="cut")]})

    assert case.marks == ["", "empty", "cut"]


@given(st.permutations([3, 14, 159, 2653]))
def test_what_is_found_does_not_depend_on_the_ids_of_the_cases(ids):
    """Nor, up to the rounding of floats, on their order."""
    answers = [nights_of(text) for text in ("aaaab", "abcda", "bbbbb", "abaac")]
    earlier = {case: samples[:4] for case, samples in zip(ids, answers, strict=True)}
    new = {case: samples[4:] for case, samples in zip(ids, answers, strict=True)}

    found = look(comparison(ids, earlier, new), seed=1)
    in_other_order = look(comparison(sorted(ids), earlier, new), seed=1)

    others = range(4)
    expected = look(
        comparison(
            others,
            {case: answers[case][:4] for case in others},
            {case: answers[case][4:] for case in others},
        ),
        seed=1,
    )
    assert found == expected
    assert in_other_order.p == pytest.approx(expected.p, rel=1e-9)
    chances = dict(zip(ids, expected.cases, strict=True))
    assert in_other_order.cases == pytest.approx(tuple(chances[case] for case in sorted(ids)))


def nights_of(texts):
    return [Sample(text, night) for night, text in enumerate(texts)]
