import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, combine_pvalues, false_discovery_control, norm

from kb.drift.fleet import discoveries, simes

BY_LUCK = 1e-6
"""Chance that a bound on simulated draws fails although nothing is wrong; the seeds are fixed."""
CHANCES = st.lists(st.floats(1e-12, 1), min_size=1, max_size=12)


def numbered(chances):
    return dict(enumerate(chances))


def test_simes_is_the_least_of_the_ranked_chances():
    chances = {"a": 0.04, "b": 0.01, "c": 0.5}

    assert simes(chances) == pytest.approx(min(3 * 0.01, 3 * 0.04 / 2, 0.5))
    assert simes({}) == 1.0
    assert simes({"a": 1.0}) == 1.0


def test_simes_sees_many_small_moves_that_no_prompt_shows_alone():
    chances = {number: 0.004 + number / 10_000 for number in range(30)}

    assert simes(chances) < 0.01 < 30 * min(chances.values())
    assert combine_pvalues(list(chances.values())).pvalue < simes(chances)  # stronger, not safer


def test_discoveries_are_those_of_benjamini_and_hochberg():
    chances = {"a": 0.9, "b": 0.001, "c": 0.02, "d": 0.021, "e": 0.5}
    adjusted = dict(zip(chances, false_discovery_control(list(chances.values())), strict=True))

    for share in (0.004, 0.01, 0.04, 0.7, 1.0):
        expected = {key for key, p in adjusted.items() if p <= share}
        assert set(discoveries(chances, share=share)) == expected
    assert discoveries(chances, share=0.05) == ["b", "c", "d"]
    assert discoveries({}, share=0.05) == []


@given(CHANCES, st.randoms(use_true_random=False))
def test_simes_lies_between_the_least_chance_and_bonferroni_in_any_order(chances, lot):
    found = simes(numbered(chances))

    most = min(1.0, len(chances) * min(chances), max(chances))
    assert min(chances) * (1 - 1e-9) <= found <= most * (1 + 1e-9)
    lot.shuffle(chances)
    assert simes(numbered(chances)) == found


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9])
def test_simes_is_no_oftener_small_than_it_says_whatever_the_prompts_share(shared):
    """Looks at one model share the mood of its provider: chances that rise and fall together."""
    rng = np.random.default_rng(3)
    mood, own = rng.standard_normal((4_000, 1)), rng.standard_normal((4_000, 20))
    chances = norm.sf(np.sqrt(shared) * mood + np.sqrt(1 - shared) * own)

    found = np.array([simes(numbered(row)) for row in chances.tolist()])

    for level in (0.001, 0.01, 0.05, 0.3):
        assert binom.sf((found <= level).sum() - 1, len(found), level) > BY_LUCK
    if shared == 0.0:  # and then it is exact
        assert binom.cdf((found <= 0.05).sum(), len(found), 0.05) > BY_LUCK
    fishers = np.array([combine_pvalues(row).pvalue for row in chances[:500]])
    assert ((fishers <= 0.001).mean() > 0.05) == (shared > 0.0)  # which is why it is not used


@given(CHANCES, st.floats(0, 1))
def test_discoveries_agree_with_scipy_and_come_rarest_first(chances, share):
    adjusted = false_discovery_control(chances)

    found = discoveries(numbered(chances), share=share)

    clearly = {key for key, p in enumerate(adjusted) if p < share * (1 - 1e-9)}
    at_most = {key for key, p in enumerate(adjusted) if p <= share * (1 + 1e-9)}
    assert clearly <= set(found) <= at_most
    assert [chances[key] for key in found] == sorted(chances[key] for key in found)
    assert len(set(found)) == len(found)


@given(CHANCES, st.floats(0, 1), st.floats(0, 1))
def test_whoever_puts_up_with_more_errors_discovers_no_less(chances, one, other):
    less, more = (discoveries(numbered(chances), share=share) for share in sorted((one, other)))

    assert more[: len(less)] == less


def test_a_night_without_any_change_discovers_something_as_rarely_as_asked():
    rng = np.random.default_rng(4)
    nights = rng.random((4_000, 30)).tolist()

    wrong = sum(bool(discoveries(numbered(night), share=0.02)) for night in nights)

    assert binom.sf(wrong - 1, len(nights), 0.02) > BY_LUCK


def test_equal_chances_are_discovered_together():
    assert discoveries({"a": 0.02, "b": 0.02, "c": 0.02}, share=0.02) == ["a", "b", "c"]
    assert discoveries({"a": 0.02, "b": 0.02, "c": 0.02}, share=0.019) == []
