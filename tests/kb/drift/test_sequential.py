import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from kb.drift.sequential import Allowance, accumulated, calibrated, second_level


def test_evidence_is_one_on_average_when_nothing_changed():
    # The mass below p is 1/|ln p|: what lies under the cut is added in closed form.
    cut = 1e-12
    average, _error = quad(calibrated, cut, 1, points=[1e-9, 1e-6, 1e-3, 0.1], limit=500)

    below = (-1 / math.log(cut)) * (1 - cut)
    assert average + below == pytest.approx(1.0, abs=1e-4)


def test_evidence_has_known_values_and_falls_with_p():
    values = [calibrated(p) for p in (0.0, 1e-6, 0.01, 0.1, 0.5, 0.999999, 1.0)]

    assert values == sorted(values, reverse=True)
    p = 0.01
    assert calibrated(p) == pytest.approx((1 - p + p * math.log(p)) / (p * math.log(p) ** 2))
    assert calibrated(1.0) == 0.5
    assert math.isfinite(values[0])


def test_the_meter_adds_a_stake_and_multiplies_by_the_evidence():
    assert accumulated(3.0, 0.01) == pytest.approx(4.0 * calibrated(0.01))
    assert accumulated(3.0, 0.01, stake=7.0) == pytest.approx(10.0 * calibrated(0.01))


def test_the_meter_at_its_emptyings_adds_up_to_at_most_the_number_of_looks():
    rng = np.random.default_rng(5)
    looks, threshold, at_emptying = 400_000, 60.0, 0.0
    meter = 0.0
    emptied = 0
    for p in rng.random(looks).tolist():
        meter = accumulated(meter, p)
        if meter >= threshold:
            at_emptying += min(meter, 20 * threshold)  # rare huge values would drown the rest
            emptied += 1
            meter = 0.0

    assert 0 < emptied <= looks / threshold
    assert at_emptying <= looks


@given(st.floats(1e-6, 1), st.floats(1, 2_000))
def test_a_year_of_looks_spends_at_most_the_year(year, looks):
    allowance = Allowance(year, looks)

    spent = math.fsum(allowance.at(look) for look in range(1, int(looks) + 1))
    again = math.fsum(allowance.at(look) for look in range(int(looks) + 1, 2 * int(looks) + 1))

    assert spent <= year * (1 + 1e-9)
    assert again <= spent * (1 + 1e-9)


def test_early_looks_get_more_and_look_zero_does_not_exist():
    allowance = Allowance(1e-3, 365)

    assert allowance.at(1) > 20 * allowance.at(100) > 0
    with pytest.raises(ValueError, match="count from 1"):
        allowance.at(0)


@given(
    allowed=st.floats(1e-9, 1e-2),
    first=st.floats(1e-3, 1),
    most=st.floats(0.01, 1),
)
def test_a_second_chance_averages_to_what_is_allowed(allowed, first, most):
    def level(logarithm):
        p = math.exp(logarithm)
        return p * second_level(p, allowed=allowed, first=first, most=most)

    expected = min(allowed, first * most)
    kink = math.log(first * second_level(first, allowed=allowed, first=first, most=most) / most)
    capped, _error = quad(level, kink - 20, kink, epsrel=1e-9)
    above, _error = quad(level, kink, math.log(first), epsrel=1e-9)

    assert capped + above == pytest.approx(expected, rel=1e-6)


def test_the_rarer_the_first_the_less_is_asked_of_the_second():
    levels = [
        second_level(p, allowed=1e-6, first=0.01, most=0.05) for p in (1e-9, 1e-4, 1e-3, 0.01, 0.02)
    ]

    assert levels[0] == 0.05
    assert levels == sorted(levels, reverse=True)
    assert levels[1] / levels[2] == pytest.approx(10.0)
    assert levels[-1] == 0.0
    assert second_level(0.001, allowed=0.0, first=0.01, most=0.05) == 0.0


def test_meters_with_larger_stakes_on_early_looks_add_up_to_at_most_their_stakes():
    """What the accumulated evidence of a whole year may spend, many years over."""
    allowance = Allowance(1.0, 100)
    stakes = [allowance.weight(look) for look in range(1, 101)]
    rng = np.random.default_rng(6)
    years, at_emptying = 2_000, []
    for chances in rng.random((years, 100)).tolist():
        meter, staked = 0.0, 0.0
        for p, stake in zip(chances, stakes, strict=True):
            meter, staked = accumulated(meter, p), accumulated(staked, p, stake)
            if meter >= 20.0:
                at_emptying.append(min(staked, 2_000.0))  # rare huge values would drown the rest
                meter, staked = 0.0, 0.0

    assert sum(stakes) <= 100 * (1 + 1e-9)
    assert 0 < sum(at_emptying) <= years * sum(stakes)


def test_evidence_of_looks_without_change_hovers_around_the_stakes():
    rng = np.random.default_rng(7)
    gains = []
    for chances in rng.uniform(0.01, 1, (20_000, 5)).tolist():
        meter = 0.0
        for p in chances:
            meter = accumulated(meter, p)
        gains.append(meter)

    # The hundredth of the chances that is left out, for its evidence varies too much, holds
    # 0.99/ln 100 of the average of 1.
    kept = (1 - 0.99 / math.log(100)) / 0.99
    expected = sum(kept**power for power in range(1, 6))
    assert np.mean(gains) == pytest.approx(expected, rel=0.02)


def test_a_monitor_that_looks_once_a_year_or_less_may_spend_it_all_at_once():
    for looks in (1.0, 0.5, 0.0):
        assert Allowance(0.01, looks).at(1) == pytest.approx(0.01)


@given(st.floats(1e-12, 1), st.floats(1e-12, 1), st.floats(0, 1e6))
def test_a_rarer_look_and_a_fuller_meter_never_give_less(one, other, meter):
    rarer, commoner = sorted((one, other))

    assert accumulated(meter, rarer) >= accumulated(meter, commoner) * (1 - 1e-12)
    assert accumulated(meter + 1, one) > accumulated(meter, one) > 0.0
