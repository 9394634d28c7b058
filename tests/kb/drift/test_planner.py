import math

import pytest

from kb.drift import planner
from kb.drift.answers import Sample
from kb.drift.planner import (
    LONGEST_LOOK_AHEAD,
    SPARE_CALLS,
    Fall,
    falls,
    nights_to_notice,
    plan,
    usual_rate,
)
from kb.drift.verdict import CaseCounts
from kb.drift.watch import Memory, Night, Policy, confirm, judge


def passing(cases, passed=9, judged=10):
    return [CaseCounts(case, passed, judged) for case in range(cases)]


def first(night):
    """For comparing: never is later than any night."""
    return math.inf if night is None else night


# --- from the numbers alone --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cases", "answers", "smallest"),
    [(1, 5, 1 / 6), (2, 5, 1 / 36), (10, 5, 6.0**-10), (3, 1, 1 / 8), (4, 9, 1e-4)],
)
def test_the_clearest_first_night_is_one_way_of_all(cases, answers, smallest):
    """Tonight's answer of each case is any one of the answers it gave, those before included."""
    found = plan(cases=cases, policy=Policy(baseline_samples=answers))

    assert found.smallest_p == pytest.approx(smallest)
    assert found.calls_for_baseline == cases * answers


def test_a_month_costs_its_nights_and_some_second_looks():
    nightly = plan(cases=10, policy=Policy(looks_a_year_here=365.25))
    weekly = plan(cases=10, policy=Policy(looks_a_year_here=365.25 / 7))

    assert nightly.calls_a_month == pytest.approx(10 * 30.4375 * SPARE_CALLS)
    assert weekly.calls_a_month == pytest.approx(nightly.calls_a_month / 7)
    assert 1.0 < SPARE_CALLS <= 1.10


@pytest.mark.parametrize("answers", [5, 8, 20])
def test_more_cases_never_see_a_full_change_later(answers):
    policy = Policy(baseline_samples=answers)

    nights = [first(plan(cases=cases, policy=policy).nights_to_full_change) for cases in range(11)]

    assert nights == sorted(nights, reverse=True)
    assert nights[0] == math.inf  # without cases nothing is seen
    assert nights[10] == 1


@pytest.mark.parametrize("cases", [1, 2, 3, 5])
def test_a_longer_baseline_never_sees_a_full_change_later(cases):
    nights = [
        first(plan(cases=cases, policy=Policy(baseline_samples=answers)).nights_to_full_change)
        for answers in (2, 5, 8, 20)
    ]

    assert nights == sorted(nights, reverse=True)


def test_a_busier_library_never_finds_it_sooner():
    nights = [
        first(plan(cases=1, policy=Policy(looks_a_year=looks)).nights_to_full_change)
        for looks in (1e5, 1e6, 1e8, 1e12)
    ]

    assert nights == sorted(nights)


@pytest.mark.parametrize("cases", [1, 3, 10])
def test_what_is_promised_is_what_will_happen(cases):
    policy = Policy()
    pool = {case: [Sample("It is so.", number) for number in range(5)] for case in range(cases)}
    memory, asked = Memory(), dict.fromkeys(pool, 1)
    session, night, when, verdict = 5, 0, "next_night", "stable"

    while verdict != "drifted":
        step = confirm if when == "soon" else judge
        night += step is judge
        session += 1
        new = {case: [Sample("No!", session)] * count for case, count in asked.items()}
        judgement = step(
            memory=memory,
            cases=list(pool),
            pool=pool,
            night=Night(session, new),
            policy=policy,
            seed=session,
        )
        pool = {case: [*pool[case], *new[case]] for case in pool}
        memory, asked = judgement.memory, dict(judgement.wanted.samples)
        verdict, when = judgement.verdict, judgement.wanted.when

    assert night == plan(cases=cases, policy=policy).nights_to_full_change


def test_a_notice_is_no_alarm():
    """With two earlier answers of four cases, what is certain on the twelfth night is set against
    a usual that has changed already: it is a notice, and nobody would be told."""
    assert plan(cases=4, policy=Policy(baseline_samples=2)).nights_to_full_change is None


def test_more_cases_than_a_night_needs_to_be_clear_are_promised_the_same():
    assert plan(cases=50, policy=Policy()).nights_to_full_change == 1


def test_a_library_that_grows_below_the_least_changes_no_plan():
    small, larger = (Policy(looks_a_year=count * 365.0) for count in (1, 200))

    assert plan(cases=2, policy=small) == plan(cases=2, policy=larger)


# --- by playing it -----------------------------------------------------------------------------


def test_a_fall_to_nothing_is_noticed_at_once_and_none_at_all_is_not():
    policy = Policy()

    assert nights_to_notice(passing(5, 10), rate=0.0, policy=policy, seed=1, draws=4) == 1
    assert nights_to_notice(passing(2), rate=0.9, policy=policy, seed=1, draws=3) is None


def test_more_cases_never_notice_a_fall_later():
    nights = [
        first(nights_to_notice(passing(cases), rate=0.3, policy=Policy(), seed=2, draws=5))
        for cases in (1, 3, 5, 8)
    ]

    assert nights == sorted(nights, reverse=True)
    assert nights[0] > nights[-1]


def test_a_deeper_fall_is_never_noticed_later():
    nights = [
        first(nights_to_notice(passing(5), rate=rate, policy=Policy(), seed=3, draws=5))
        for rate in (0.0, 0.3, 0.85)
    ]

    assert nights == sorted(nights)
    assert nights[-1] == math.inf


def test_the_same_seed_gives_the_same_answer():
    asked = [
        nights_to_notice(passing(4), rate=0.2, policy=Policy(), seed=7, draws=4) for _ in range(2)
    ]

    assert asked[0] == asked[1]
    assert 1 <= asked[0] <= LONGEST_LOOK_AHEAD


def test_cases_that_were_never_judged_are_left_out():
    judged = passing(4, 10)
    unjudged = [CaseCounts(case, 0, 0) for case in range(4, 9)]

    assert nights_to_notice(
        [*judged, *unjudged], rate=0.2, policy=Policy(), seed=1, draws=4
    ) == nights_to_notice(judged, rate=0.2, policy=Policy(), seed=1, draws=4)


@pytest.mark.parametrize("baseline", [[], [CaseCounts(1, 0, 0)]])
def test_without_a_judged_answer_there_is_nothing_to_fall(baseline):
    with pytest.raises(ValueError, match=r"No answer .* has been judged"):
        nights_to_notice(baseline, rate=0.5, policy=Policy(), seed=1)


def test_a_fall_to_a_higher_rate_is_refused_with_the_rate_there_is():
    with pytest.raises(ValueError, match=r"is 0\.75; it cannot fall to 0\.80"):
        nights_to_notice(
            [CaseCounts(1, 1, 2), CaseCounts(2, 9, 9)], rate=0.8, policy=Policy(), seed=1
        )


# --- ever larger falls -------------------------------------------------------------------------


def played(monkeypatch, nights):
    """The nights that each rate takes, decided here."""
    monkeypatch.setattr(
        planner, "nights_to_notice", lambda _baseline, *, rate, **_more: nights.get(rate)
    )


def test_falls_grow_up_to_the_first_that_is_noticed(monkeypatch):
    played(monkeypatch, {0.7: 6, 0.6: 3, 0.4: 1, 0.0: 1})

    found = list(falls(passing(2), policy=Policy(), seed=1))

    assert found == [Fall(0.85, None), Fall(0.8, None), Fall(0.7, 6)]


def test_a_rate_never_falls_below_nothing(monkeypatch):
    played(monkeypatch, {})

    found = list(falls(passing(2, 2), policy=Policy(), seed=1))

    assert [fall.rate for fall in found] == [0.15, 0.1, 0.0]


@pytest.mark.parametrize("baseline", [[], [CaseCounts(0, 0, 0)], passing(2, 0)])
def test_where_nothing_passes_nothing_can_fall(baseline):
    assert list(falls(baseline, policy=Policy(), seed=1)) == []


def test_each_case_counts_once_in_the_usual_rate():
    assert usual_rate([CaseCounts(1, 1, 2), CaseCounts(2, 9, 9), CaseCounts(3, 0, 0)]) == 0.75
    assert usual_rate([CaseCounts(1, 0, 0)]) is None
