import pytest
from scipy.stats import combine_pvalues, false_discovery_control

from kb.drift.fleet import discoveries, simes


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
