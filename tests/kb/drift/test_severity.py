import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.drift import severity
from kb.drift.answers import Sample
from kb.drift.features import NAMES
from kb.drift.reading import Reader
from kb.drift.severity import CaseEffect, FeatureChange, effect, nearest
from kb.drift.vectors import PLACES


class Angles(Reader):
    """Answers as alike as they say: "0.85" has similarity 0.85 to any text that is no number."""

    def vectors(self, texts):
        found = np.zeros((len(texts), PLACES), np.float32)
        for row, text in zip(found, texts, strict=True):
            cosine = float(text) if text[:1].isdigit() else 1.0
            row[:2] = cosine, math.sqrt(1 - cosine**2)
        return found


def side(*cases, **fields):
    """Answers by case, numbered from 1, from lists of texts."""
    return {
        case: [Sample(text, 1, **fields) for text in texts]
        for case, texts in enumerate(cases, start=1)
    }


def judged(*cases):
    """The same text throughout, by case as many passes of so many answers."""
    return {
        case: [Sample("same", 1, (int(number < passes),)) for number in range(answers)]
        for case, (passes, answers) in enumerate(cases, start=1)
    }


# --- how large ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (100, 80, "critical"),
        (100, 81, "major"),
        (100, 90, "major"),
        (100, 91, "notice"),
        (100, 100, "notice"),
        (80, 89, "notice"),
        (80, 90, "minor"),
        (50, 99, "minor"),
    ],
)
def test_passes_of_a_hundred_decide_from_both_sides(before, after, expected):
    found = effect(judged((before, 100)), judged((after, 100)))

    assert found.severity == expected
    assert (found.pass_rate_usual, found.pass_rate_now) == (before / 100, after / 100)


@given(st.integers(4, 20), st.integers(1, 5))
def test_a_fall_of_exactly_so_much_counts_whatever_it_fell_from(passes, cases):
    """The difference of 0.8 and 1.0 is a little less than 0.2 as floats go."""

    def after(fewer):
        return effect(judged(*[(passes, 20)] * cases), judged(*[(passes - fewer, 20)] * cases))

    assert [after(fewer).severity for fewer in (4, 3, 2, 1)] == [
        "critical",
        "major",
        "major",
        "notice",
    ]


@given(st.integers(10, 20))
def test_half_of_the_answers_of_a_case_name_it_whatever_they_fell_from(passes):
    found = effect(judged((passes, 20)), judged((passes - 10, 20)))

    assert found.changed_cases == (1,)
    assert effect(judged((passes, 20)), judged((passes - 9, 20))).changed_cases == ()


@pytest.mark.parametrize(
    ("usual", "refusals", "expected"),
    [(0, 30, "critical"), (0, 29, "notice"), (40, 70, "critical"), (40, 69, "notice")],
)
def test_refusals_decide_from_both_sides(usual, refusals, expected):
    def refused(count):
        outcomes = ["refused"] * count + ["answered"] * (100 - count)
        return {1: [Sample("same", 1, outcome=outcome) for outcome in outcomes]}

    found = effect(refused(usual), refused(refusals))

    assert found.severity == expected
    assert (found.refusal_rate_usual, found.refusal_rate_now) == (usual / 100, refusals / 100)


@pytest.mark.parametrize(("broken", "expected"), [(20, "critical"), (19, "notice")])
def test_answers_that_no_longer_parse_decide_from_both_sides(broken, expected):
    usual = side(['{"a": 1}'] * 100)
    now = side(['{"a": 1'] * broken + ['{"a": 1}'] * (100 - broken))

    assert effect(usual, now, Angles()).severity == expected


def test_answers_that_begin_to_parse_are_no_catastrophe():
    assert effect(side(['{"a": 1'] * 9), side(['{"a": 1}'] * 9), Angles()).severity == "notice"


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [("0.849", "major"), ("0.851", "minor"), ("0.949", "minor"), ("0.951", "notice")],
)
def test_similarity_decides_from_both_sides(cosine, expected):
    cases = 10
    found = effect(side(*[["same"] * 5] * cases), side(*[[cosine]] * cases), Angles())

    assert found.severity == expected
    assert found.drop == pytest.approx(100 - 100 * float(cosine), abs=1e-4)


@pytest.mark.parametrize(("cosine", "expected"), [("0.849", "minor"), ("0.851", "notice")])
def test_one_case_of_ten_that_moved_far_is_minor(cosine, expected):
    usual = side(*[["same"] * 5] * 10)

    found = effect(usual, side(*[["same"]] * 9, [cosine]), Angles())

    assert found.severity == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(20, 10, "minor"), (20, 11, "notice"), (0, 10, "minor"), (0, 9, "notice")],
)
def test_one_case_of_ten_whose_passes_moved_by_half_is_minor(before, after, expected):
    usual, now = [(20, 20)] * 9, [(20, 20)] * 9

    found = effect(judged(*usual, (before, 20)), judged(*now, (after, 20)))

    assert found.severity == expected


def test_one_case_of_ten_that_fails_altogether_is_no_catastrophe():
    usual = judged(*[(5, 5)] * 10)

    found = effect(usual, judged(*[(1, 1)] * 9, (0, 1)))

    assert found.severity == "major"  # ten points of a hundred
    assert found.changed_cases == (10,)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (60, 91, "major"),
        (60, 90, "notice"),
        (91, 60, "major"),
        (90, 60, "notice"),
        (10, 40, "major"),
        (10, 39, "notice"),
        (0, 30, "major"),
        (4, 2, "notice"),
    ],
)
def test_lengths_decide_by_their_ratio_and_their_difference(before, after, expected):
    found = effect(side(["x" * before] * 5), side(["x" * after] * 5), Angles())

    assert found.severity == expected
    assert (found.length_usual, found.length_now) == (before, after)


def test_the_worst_of_all_decides():
    usual = {1: [Sample("x" * 100, 1, (1,))] * 5}
    now = {1: [Sample("no", 1, (0,))] * 5}

    assert effect(usual, now).severity == "critical"


def test_answers_as_varied_as_ever_are_a_notice():
    varied = side(["one two three", "two three four", "three four five"])

    found = effect(varied, varied)

    assert found.severity == "notice"
    assert found.similarity_now > found.similarity_usual  # each answer is also its own neighbour


# --- in which direction ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "cases", "expected"),
    [
        ((5, 5), (0, 1), 3, "worse"),  # 2 in 216
        ((5, 5), (0, 1), 2, "changed"),  # 2 in 36
        ((0, 5), (1, 1), 3, "better"),
        ((0, 5), (1, 1), 2, "changed"),
        ((5, 5), (1, 1), 9, "changed"),
        ((39, 39), (0, 1), 1, "worse"),  # 2 in 40: exactly one in twenty
        ((38, 38), (0, 1), 1, "changed"),
    ],
)
def test_better_and_worse_are_said_where_the_exact_test_says_so(before, now, cases, expected):
    found = effect(judged(*[before] * cases), judged(*[now] * cases))

    assert found.direction == expected
    assert (found.direction == "changed") == (2 * min(found.p_worse, found.p_better) > 0.05 + 1e-12)


def test_without_assertions_nothing_is_better_or_worse():
    found = effect(side(["yes"] * 30), side(["no"] * 30))

    assert (found.direction, found.p_worse, found.p_better) == ("changed", 1.0, 1.0)
    assert (found.pass_rate_usual, found.pass_rate_now) == (None, None)


def test_rates_are_of_the_cases_that_were_judged_on_both_sides():
    usual = judged((5, 5), (5, 5), (1, 5))
    usual[1] = [Sample("same", 1, (None,))] * 5
    now = judged((0, 1), (0, 1), (1, 1))
    now[2] = [Sample("same", 2, (None,))]

    found = effect(usual, now)

    assert (found.pass_rate_usual, found.pass_rate_now) == (0.2, 1.0)
    rates = {one.case: (one.pass_rate_usual, one.pass_rate_now) for one in found.cases}
    assert rates == {1: (None, 0.0), 2: (1.0, None), 3: (0.2, 1.0)}
    assert [one.pass_change for one in found.cases if one.case != 3] == [0.0, 0.0]


# --- which cases, which features ---------------------------------------------------------------


def test_each_case_counts_once_however_many_answers_it_has():
    found = effect(side(["same"] * 5, ["same"] * 50), side(["0.8"], ["same"] * 99), Angles())

    assert found.drop == pytest.approx(10.0, abs=1e-4)


def test_cases_are_named_worst_first_and_the_others_follow():
    usual = side(*[["same"] * 5] * 5)
    now = side(["0.99"], ["0.5"], ["0.94"], ["0.4"], ["0.6"])

    found = effect(usual, now, Angles())

    assert [one.case for one in found.cases] == [4, 2, 5, 3, 1]
    # A quarter of the farthest move is 15 points; the third moved by 6.
    assert found.changed_cases == (4, 2, 5)


def test_a_case_that_fails_now_comes_before_one_that_only_reads_otherwise():
    usual = {1: [Sample("same", 1, (1,))] * 5, 2: [Sample("same", 1, (1,))] * 5}
    now = {1: [Sample("0.2", 2, (1,))], 2: [Sample("same", 2, (0,))]}

    assert effect(usual, now, Angles()).changed_cases == (2, 1)


def test_a_small_move_on_its_own_is_named_and_beeffect_a_large_one_it_is_not():
    alone = effect(side(["same"] * 5, ["same"] * 5), side(["0.9"], ["same"]), Angles())
    beside = effect(side(["same"] * 5, ["same"] * 5), side(["0.9"], ["0.1"]), Angles())

    assert alone.changed_cases == (1,)
    assert beside.changed_cases == (2,)


def test_the_usual_similarity_is_that_of_the_earlier_answers_among_themselves():
    found = effect(side(["same", "same", "0.5"]), side(["same"]), Angles())

    # Of three pairs one is alike and two are half alike; the new answer meets 1, 1 and 0.5.
    assert found.cases == (
        CaseEffect(1, pytest.approx(200 / 3), pytest.approx(250 / 3), None, None),
    )


def test_one_earlier_answer_is_taken_to_repeat_itself():
    found = effect(side(["same"]), side(["0.7"]), Angles())

    assert found.similarity_usual == 100.0
    assert found.drop == pytest.approx(30.0, abs=1e-4)


def test_empty_answers_are_alike_and_unlike_any_other():
    both = effect(side(["", " "]), side([""]))
    now = effect(side(["yes", "yes"]), side([""]))

    assert (both.similarity_usual, both.similarity_now) == (100.0, 100.0)
    assert now.similarity_now == 0.0


def test_a_feature_is_told_as_people_count():
    usual, now = side(["word " * 127 + "end"] * 5), side(["four"] * 5)

    found = effect(usual, now)

    by_name = {one.name: one for one in found.features}
    assert by_name["characters"] == FeatureChange("characters", 638.0, 4.0, -99.0)
    assert by_name["words"] == FeatureChange("words", 128.0, 1.0, -99.0)


def test_shares_are_told_as_means_and_the_clearest_move_comes_first():
    usual = side(["yes 12", "yes !!", "yes ab", "yes cd"])
    now = side(["yes 12", "yes 34", "yes 56", "yes 78"])

    found = effect(usual, now)

    first = found.features[0]
    assert (first.name, first.before, first.after) == (
        "digits",
        pytest.approx(1 / 12),
        pytest.approx(1 / 3),
    )
    shifts = [abs(one.shift) for one in found.features]
    assert shifts == sorted(shifts, reverse=True)
    assert all(shift >= severity.LEAST_FEATURE_SHIFT for shift in shifts)
    assert len(shifts) <= severity.MOST_FEATURES


@given(
    st.text(st.sampled_from("ab 12 AB .,?"), min_size=1, max_size=30),
    st.integers(1, 30),
    st.integers(1, 9),
)
def test_what_did_not_move_is_not_said_to_have_moved(text, before, after):
    """The mean of thirty numbers that are equal may be another float than they are."""
    unchanged = effect(side([text] * before), side([text] * after))
    turned = effect(side([text] * before), side([text[::-1]] * after))

    assert unchanged.features == ()
    assert "characters" not in {one.name for one in turned.features}


def test_a_feature_of_different_cases_is_compared_within_each():
    """The cases differ in length more than any answer of one of them does."""
    usual = side(["x" * 10, "x" * 12] * 3, ["x" * 500, "x" * 600] * 3)

    assert effect(usual, usual).features == ()


# --- what cannot be compared -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "new"),
    [
        ({}, {}),
        (side(["a"]), {}),
        ({}, side(["a"])),
        (side([]), side(["a"])),
        (side(["a"]), {2: []}),
    ],
)
def test_without_answers_on_both_sides_there_is_nothing_to_say(earlier, new):
    assert effect(earlier, new) is None


def test_a_case_without_answers_on_one_effect_is_passed_over():
    found = effect(side(["same"] * 5, ["same"] * 5, []), side(["same"], [], ["x"]), Angles())

    assert [one.case for one in found.cases] == [1]


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.integers(1, 4),
        st.lists(
            st.tuples(
                st.text(max_size=12),
                st.lists(st.sampled_from((0, 1, None)), max_size=2).map(tuple),
                st.sampled_from(("answered", "empty", "refused", "cut")),
            ),
            min_size=2,
            max_size=6,
        ),
        min_size=1,
    ),
    st.randoms(use_true_random=False),
)
def test_order_does_not_matter_and_no_answers_make_it_fail(drawn, lot):
    def sides(order):
        samples = {
            case: [Sample(text, 1, verdicts, outcome) for text, verdicts, outcome in drawn[case]]
            for case in order
        }
        halves = [{}, {}]
        for case, answers in samples.items():
            cut = len(answers) // 2
            for half, part in zip(halves, (answers[:cut], answers[cut:]), strict=True):
                lot.shuffle(part)
                half[case] = part
        return halves

    found, again = (effect(*sides(order)) for order in (list(drawn), list(drawn)[::-1]))

    assert (again.severity, again.direction) == (found.severity, found.direction)
    assert again.similarity_now == pytest.approx(found.similarity_now, abs=1e-4)
    clear = [
        [abs(one.shift) for one in effect_.features if abs(one.shift) > 0.501]
        for effect_ in (found, again)
    ]
    assert clear[1] == pytest.approx(clear[0])
    assert {one.name for one in found.features} <= set(NAMES)
    assert set(found.changed_cases) <= set(drawn)
    assert all(math.isfinite(one.shift) for one in found.features)


# --- the answer to show beside -----------------------------------------------------------------


def test_the_earlier_answer_most_like_a_new_one_is_shown():
    earlier = ["The contract ends in May.", "Bonjour à tous", "It ends in June, the contract."]

    assert nearest("The contract ends in March.", earlier) == 0
    assert nearest("bonjour tous", earlier) == 1
    assert nearest("It ends in July, the contract.", earlier, Reader()) == 2


def test_among_equals_the_first_is_shown_and_an_empty_answer_has_a_neighbour_too():
    assert nearest("a b c", ["x y z", "a b c", "a b c"]) == 1
    assert nearest("", ["x", "y"]) == 0
    with pytest.raises(ValueError, match="no earlier answer"):
        nearest("a", [])
