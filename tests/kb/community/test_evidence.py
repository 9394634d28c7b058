from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.community.evidence import (
    Interval,
    MinutesSummary,
    TimeReport,
    Worked,
    decayed_activity,
    net_minutes,
    summarise_minutes,
    wilson,
)


def report(without=60.0, preparing=5.0, waiting=1.0, checking=14.0, **changes):
    return TimeReport(
        without=without,
        preparing=preparing,
        waiting=waiting,
        checking=checking,
        **({"counterfactual": "by_hand", "is_parallel_work": False} | changes),
    )


def percents(interval):
    return round(interval.low * 100), round(interval.high * 100)


@pytest.mark.parametrize(
    ("successes", "total", "expected"),
    [(14, 18, (55, 91)), (3, 3, (44, 100)), (40, 50, (67, 89)), (0, 3, (0, 56)), (0, 0, (0, 100))],
)
def test_the_interval_is_the_one_of_wilson(successes, total, expected):
    assert percents(wilson(successes, total)) == expected


def test_a_published_interval_is_found_again():
    # Newcombe, R. G. (1998), Statistics in Medicine 17, 857–872, table I: 81 of 263.
    interval = wilson(81, 263)

    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_the_ends_of_the_interval_are_exact():
    assert wilson(0, 7).low == 0.0
    assert wilson(7, 7).high == 1.0
    assert wilson(0, 0) == Interval(0.0, 1.0)


def test_a_greater_z_makes_a_wider_interval():
    assert percents(wilson(14, 18, z=1.0)) == (67, 86)


@pytest.mark.parametrize(
    ("successes", "total", "z"), [(-1, 3, 1.96), (4, 3, 1.96), (1, 3, 0), (1, 3, math.nan)]
)
def test_impossible_counts_are_refused(successes, total, z):
    with pytest.raises(ValueError, match="expected"):
        wilson(successes, total, z)


@settings(deadline=None)  # a busy machine is no bug
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_interval_holds_the_share_and_stays_between_0_and_1(worked, failed):
    interval = wilson(worked, worked + failed)

    share = worked / (worked + failed) if worked + failed else 0.5
    assert 0.0 <= interval.low <= share <= interval.high <= 1.0


def test_uses_that_worked_after_edits_count_as_worked():
    worked = Worked(worked=10, with_edits=4, failed=4)

    assert (worked.k, worked.n, percents(worked.interval)) == (14, 18, (55, 91))
    assert worked.lower_bound == wilson(14, 18).low


def test_most_proven_is_not_three_lucky_uses():
    proven = sorted([Worked(3, 0, 0), Worked(30, 10, 10), Worked()], key=lambda w: w.lower_bound)

    assert proven == [Worked(), Worked(3, 0, 0), Worked(30, 10, 10)]


def test_counts_add_up():
    assert Worked(1, 2, 3) + Worked(10, 20, 30) == Worked(11, 22, 33)


def test_a_negative_count_is_refused_by_name():
    with pytest.raises(ValueError, match="with_edits is -1"):
        Worked(with_edits=-1)


def test_net_minutes_are_what_was_saved_after_checking():
    assert net_minutes(report()) == 40.0
    assert net_minutes(report(without=10.0, counterfactual="other_tool")) == -10.0
    assert net_minutes(report(without=0.0, preparing=0.0, waiting=0.0, checking=0.0)) == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"counterfactual": "not_done"},
        {"counterfactual": "unknown"},
        {"counterfactual": ""},
        {"is_parallel_work": True},
        {"is_parallel_work": None},
        {"without": None},
        {"preparing": None},
        {"waiting": None},
        {"checking": None},
    ],
)
def test_a_report_that_cannot_be_compared_has_no_net_minutes(changes):
    assert net_minutes(report(**changes)) is None


@pytest.mark.parametrize("minutes", [-1.0, math.nan, math.inf])
def test_impossible_minutes_are_refused_by_name(minutes):
    with pytest.raises(ValueError, match="checking is"):
        report(checking=minutes)


def test_minutes_are_summed_up_by_median_and_quartiles():
    reports = [
        (person, report(without=20.0 + gain)) for person, gain in enumerate((-10, 0, 10, 20, 80))
    ]
    reports += [(1, report(without=60.0)), (9, report(counterfactual="unknown"))]

    # Net minutes in order: -10, 0, 10, 20, 40, 80.
    assert summarise_minutes(reports) == MinutesSummary(
        median=15.0, lower_quartile=2.5, upper_quartile=35.0, n=6, people=5
    )


def test_four_people_give_no_figure_however_much_they_report():
    four = [(person % 4, report()) for person in range(40)]

    assert summarise_minutes(four) is None
    assert summarise_minutes([*four, ("fifth", report(waiting=None))]) is None
    assert summarise_minutes([*four, ("fifth", report())]) == MinutesSummary(
        40.0, 40.0, 40.0, n=41, people=5
    )


def test_activity_halves_every_half_life():
    assert decayed_activity([(0.0, 2.0), (30.0, 2.0), (60.0, 4.0)], half_life_days=30.0) == 4.0
    assert decayed_activity([], half_life_days=30.0) == 0.0


def test_an_event_from_the_future_counts_in_full():
    assert decayed_activity([(-3.0, 1.0)], half_life_days=30.0) == 1.0


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.nan])
def test_a_half_life_is_positive(half_life):
    with pytest.raises(ValueError, match="half-life"):
        decayed_activity([], half_life_days=half_life)
