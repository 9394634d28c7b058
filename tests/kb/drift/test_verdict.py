import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, hypergeom

from kb.drift.verdict import CaseCounts, Judgement, PassTest, judge, stratified_pass_test

ROUNDING = 1e-12


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-15)


def counts(*pairs):
    """Case counts from (passed, judged), numbered from 1."""
    return [CaseCounts(case, *pair) for case, pair in enumerate(pairs, start=1)]


@st.composite
def tables(draw, cases=4, answers=6):
    """(base_pass, base_n, check_pass, check_n) of some cases, empty sides included."""
    columns = []
    for _ in range(draw(st.integers(0, cases))):
        before, now = draw(st.integers(0, answers)), draw(st.integers(0, answers))
        columns.append(
            (draw(st.integers(0, before)), before, draw(st.integers(0, now)), now),
        )
    return [[column[row] for column in columns] for row in range(4)]


# --- the exact test ----------------------------------------------------------------------------


def test_one_case_that_always_passed_and_fails_now():
    """Of 6 answers 5 pass; that the single answer of now is the failing one: 1 in 6."""
    assert stratified_pass_test([5], [5], [0], [1]) == PassTest(close(1 / 6), 1.0, close(1 / 3))


def test_two_cases_by_hand():
    """Case 1: 3 of 3 before, 0 of 1 now. Case 2: 1 of 2 before, 1 of 2 now.

    Case 1 has 3 passes among 4: now has 0 with chance 1/4, 1 with 3/4. Case 2 has 2 passes among
    4, 2 answers now: 0, 1, 2 with 1/6, 4/6, 1/6. The sum is 1: P(0) = 1/24, P(1) = 4/24 + 3/24.
    """
    test = stratified_pass_test([3, 1], [3, 2], [0, 1], [1, 2])

    assert test == PassTest(close(8 / 24), close(23 / 24), close(16 / 24))


def test_three_cases_falling_together():
    """Each case 1 in 6 by itself: together 1 in 216."""
    test = stratified_pass_test([5] * 3, [5] * 3, [0] * 3, [1] * 3)

    assert test == PassTest(close(1 / 216), 1.0, close(2 / 216))


def test_getting_better_is_the_mirror_of_getting_worse():
    worse = stratified_pass_test([5, 4], [5, 5], [0, 1], [1, 3])
    better = stratified_pass_test([0, 1], [5, 5], [1, 2], [1, 3])

    assert (worse.p_worse, worse.p_better) == (close(better.p_better), close(better.p_worse))


@pytest.mark.parametrize(
    "table", [([], [], [], []), ([5], [5], [1], [1]), ([0], [5], [0], [2]), ([3], [5], [0], [0])]
)
def test_what_carries_no_information_changes_nothing(table):
    assert stratified_pass_test(*table) == PassTest(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "table",
    [([6], [5], [0], [1]), ([5], [5], [2], [1]), ([-1], [5], [0], [1]), ([1], [1], [0], [-1])],
)
def test_counts_that_cannot_be_are_refused(table):
    with pytest.raises(ValueError, match="are not counts of passes"):
        stratified_pass_test(*table)


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        stratified_pass_test([1, 1], [1, 1], [1], [1])


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.data())
def test_one_case_agrees_with_scipys_hypergeometric_law(before, now, data):
    base = data.draw(st.integers(0, before))
    passes = data.draw(st.integers(0, now))
    law = hypergeom(before + now, base + passes, now)

    test = stratified_pass_test([base], [before], [passes], [now])

    assert test.p_worse == pytest.approx(law.cdf(passes), rel=1e-8, abs=1e-12)
    assert test.p_better == pytest.approx(law.sf(passes - 1), rel=1e-8, abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_one_answer_on_each_side_is_mcnemars_exact_test(fell, rose, same):
    before = [1] * fell + [0] * rose + [1] * same
    after = [0] * fell + [1] * rose + [1] * same
    ones = [1] * len(before)

    test = stratified_pass_test(before, ones, after, ones)

    discordant = fell + rose
    if discordant:
        mcnemar = binomtest(rose, discordant, 0.5)
        less = binomtest(rose, discordant, 0.5, alternative="less")
        greater = binomtest(rose, discordant, 0.5, alternative="greater")
        assert (test.p_worse, test.p_better) == (close(less.pvalue), close(greater.pvalue))
        assert test.p_two == close(mcnemar.pvalue)
    else:
        assert test == PassTest(1.0, 1.0, 1.0)


def relabellings(base_pass, base_n, check_pass, check_n):
    """Every way the same answers could have fallen on before and now, and how often each."""
    ways = Counter({(): 1})
    for passes_before, before, passes_now, now in zip(
        base_pass, base_n, check_pass, check_n, strict=True
    ):
        answers = [1] * (passes_before + passes_now)
        answers += [0] * (before + now - len(answers))
        of_case = Counter(
            sum(answers[i] for i in chosen)
            for chosen in itertools.combinations(range(len(answers)), now)
        )
        ways = Counter(
            {
                (*done, count): times * more
                for done, times in ways.items()
                for count, more in of_case.items()
            }
        )
    return ways


@settings(max_examples=60, deadline=None)
@given(tables(cases=3, answers=4))
def test_when_nothing_changed_no_p_value_is_small_too_often(table):
    """By enumeration: over all relabellings, P(p <= u) <= u at every u the p-values can take."""
    base_pass, base_n, check_pass, check_n = table
    totals = [before + now for before, now in zip(base_pass, check_pass, strict=True)]
    ways = relabellings(*table)
    everything = sum(ways.values())

    tests = [
        (
            stratified_pass_test(
                [total - now for total, now in zip(totals, chosen, strict=True)],
                base_n,
                list(chosen),
                check_n,
            ),
            times / everything,
        )
        for chosen, times in ways.items()
    ]

    for name in ("p_worse", "p_better", "p_two"):
        for level in {getattr(test, name) for test, _ in tests}:
            chance = sum(share for test, share in tests if getattr(test, name) <= level + ROUNDING)
            assert chance <= level + 1e-9


@settings(deadline=None)
@given(tables())
def test_p_values_are_chances_and_overlap_in_what_was_seen(table):
    test = stratified_pass_test(*table)

    assert 0 < test.p_worse <= 1
    assert 0 < test.p_better <= 1
    assert test.p_worse + test.p_better >= 1 - ROUNDING
    assert test.p_two == min(1.0, 2 * min(test.p_worse, test.p_better))


@settings(deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_matter(table, random):
    columns = list(zip(*table, strict=True))
    random.shuffle(columns)
    shuffled = [[column[row] for column in columns] for row in range(4)]

    one, other = stratified_pass_test(*table), stratified_pass_test(*shuffled)

    assert (one.p_worse, one.p_better) == (close(other.p_worse), close(other.p_better))


def test_many_answers_do_not_overflow():
    test = stratified_pass_test([1_000], [2_000], [430], [1_000])

    assert 0 < test.p_worse < 1e-3


# --- the verdict -------------------------------------------------------------------------------


def test_a_clear_fall_is_drift_for_the_worse():
    base = counts((5, 5), (5, 5), (5, 5), (4, 5))
    now = counts((0, 1), (0, 1), (0, 1), (1, 1))

    judgement = judge(base, now, alpha=0.05)

    assert judgement == Judgement(
        verdict="drifted",
        direction="worse",
        reason="fewer_passes",
        # Cases 1 to 3 must all fall: (1/6)³ in all, whatever case 4 does, plus the ways to be as
        # bad with case 4 failing and one of the three passing: 1/6 · 3 · (1/6)² · 5/6.
        p_worse=close(1 / 216 + 15 / 1296),
        p_better=judgement.p_better,
        pass_rate_baseline=close(0.95),
        pass_rate=close(0.25),
        changed_cases=(1, 2, 3),
        smallest_p=close(2 / 1296),
    )


def test_a_clear_rise_is_drift_for_the_better():
    base = counts((0, 5), (0, 5), (0, 5))
    now = counts((1, 1), (1, 1), (1, 1))

    judgement = judge(base, now, alpha=0.01)

    assert (judgement.verdict, judgement.direction, judgement.reason) == (
        "drifted",
        "better",
        "more_passes",
    )
    assert (judgement.pass_rate_baseline, judgement.pass_rate) == (0.0, 1.0)


def test_one_failing_case_among_many_is_no_drift():
    base = counts(*[(5, 5)] * 10)
    now = counts((0, 1), *[(1, 1)] * 9)

    judgement = judge(base, now, alpha=0.05)

    assert (judgement.verdict, judgement.direction, judgement.reason) == (
        "stable",
        None,
        "usual_variation",
    )
    assert judgement.changed_cases == (1,)


def test_a_verdict_that_could_never_have_been_drift_says_so():
    judgement = judge(counts((5, 5), (5, 5)), counts((0, 1), (0, 1)), alpha=0.01)

    assert (judgement.verdict, judgement.reason) == ("stable", "too_few_answers_to_tell")
    assert judgement.smallest_p == close(2 / 36)


def test_alpha_is_the_chance_of_a_false_verdict_in_both_directions_together():
    base, now = counts(*[(5, 5)] * 3), counts(*[(0, 1)] * 3)

    assert judge(base, now, alpha=2 / 216 + ROUNDING).verdict == "drifted"
    assert judge(base, now, alpha=2 / 216 - ROUNDING).verdict == "stable"


@pytest.mark.parametrize(
    ("now", "verdict", "reason"),
    [
        ([(0, 1), (0, 1)], "drifted", "fewer_passes"),
        ([(0, 1), (1, 1)], "stable", "usual_variation"),
    ],
)
def test_alpha_itself_is_enough(now, verdict, reason):
    """Two cases, one answer on each side: both falling has the two-sided chance of 1/2."""
    judgement = judge(counts((1, 1), (1, 1)), counts(*now), alpha=0.5)

    assert (judgement.verdict, judgement.reason, judgement.smallest_p) == (verdict, reason, 0.5)


def test_missing_answers_are_not_failures():
    """Planted: two cases without an answer now; as failures they would be a clear fall."""
    base = counts(*[(5, 5)] * 5)
    now = counts((0, 0), (0, 0), (1, 1), (1, 1), (1, 1))

    judgement = judge(base, now, alpha=0.9)

    assert (judgement.verdict, judgement.pass_rate, judgement.changed_cases) == ("stable", 1.0, ())
    assert (judgement.p_worse, judgement.p_better) == (1.0, 1.0)


@pytest.mark.parametrize(("answered", "verdict"), [(2, "not_judged"), (3, "drifted")])
def test_fewer_than_six_in_ten_cases_are_not_judged(answered, verdict):
    base = counts(*[(5, 5)] * 5)
    now = counts(*[(0, 1)] * answered, *[(0, 0)] * (5 - answered))

    assert judge(base, now, alpha=0.2).verdict == verdict


def test_a_case_without_a_baseline_is_as_missing_as_one_without_an_answer():
    base = counts((0, 0), (0, 0), (5, 5), (5, 5), (5, 5))
    now = counts((0, 1), (0, 1), (0, 0), (1, 1), (1, 1))

    assert judge(base, now, alpha=0.05) == Judgement(
        verdict="not_judged",
        direction=None,
        reason="too_few_cases_judged",
        p_worse=None,
        p_better=None,
        pass_rate_baseline=None,
        pass_rate=None,
        changed_cases=(),
        smallest_p=None,
    )


def test_nothing_to_compare_is_not_judged():
    judgement = judge([], [], alpha=0.05)

    assert (judgement.verdict, judgement.reason) == ("not_judged", "no_cases")


def test_a_case_asked_more_often_now_does_not_move_the_baseline_rate():
    """Nothing changed in either case; a plain pooled baseline would say 0.5 before, 0.75 now."""
    base = counts((4, 4), (0, 4))
    now = counts((3, 3), (0, 1))

    judgement = judge(base, now, alpha=0.05)

    assert (judgement.pass_rate_baseline, judgement.pass_rate) == (0.75, 0.75)


def test_changed_cases_come_worst_first():
    base = [CaseCounts(7, 5, 5), CaseCounts(9, 5, 5), CaseCounts(4, 0, 5), CaseCounts(2, 3, 5)]
    now = [CaseCounts(7, 1, 2), CaseCounts(9, 0, 2), CaseCounts(4, 2, 2), CaseCounts(2, 1, 2)]

    assert judge(base, now, alpha=0.05).changed_cases == (9, 7, 4)


@pytest.mark.parametrize("passed", range(5, 11))
def test_a_fall_of_exactly_half_is_named_whatever_it_fell_from(passed):
    """The difference of 0.2 and 0.7 is a little less than half as floats go."""
    half, less = counts((passed - 5, 10)), counts((passed - 4, 10))

    assert judge(counts((passed, 10)), half, alpha=0.05).changed_cases == (1,)
    assert judge(counts((passed, 10)), less, alpha=0.05).changed_cases == ()


@pytest.mark.parametrize("now", [[CaseCounts(2, 1, 1)], [], [CaseCounts(1, 1, 1)] * 2])
def test_a_run_about_other_cases_is_refused(now):
    with pytest.raises(ValueError, match="not about the same cases"):
        judge([CaseCounts(1, 5, 5)], now, alpha=0.05)


@settings(deadline=None)
@given(tables(cases=6), st.sampled_from([0.5, 0.05, 0.001]))
def test_a_direction_is_given_exactly_when_the_exact_test_says_so(table, alpha):
    base = counts(*zip(table[0], table[1], strict=True))
    now = counts(*zip(table[2], table[3], strict=True))

    judgement = judge(base, now, alpha=alpha)

    if judgement.verdict == "not_judged":
        assert judgement.direction is None
    else:
        smaller = min(judgement.p_worse, judgement.p_better)
        assert (judgement.verdict == "drifted") == (2 * smaller <= alpha)
        assert (judgement.direction is not None) == (judgement.verdict == "drifted")
        assert judgement.smallest_p <= min(1.0, 2 * smaller) + ROUNDING
        assert math.isfinite(judgement.pass_rate)
