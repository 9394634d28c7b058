from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from kb.search.keys import HALF_LIFE_DAYS, evidence, facet_of, heat, keys_of, with_key
from tests.factories import NOW

activities = st.floats(min_value=0, max_value=10_000)


@given(activities, activities, st.floats(min_value=0, max_value=2_000))
def test_the_order_of_two_things_stays_while_nothing_happens(first, second, days):
    then = NOW + timedelta(days=days)
    fading = 2.0 ** -(days / HALF_LIFE_DAYS)

    today = [heat(activity=a, dated=NOW, now=NOW) for a in (first, second)]
    later = [heat(activity=a * fading, dated=NOW, now=then) for a in (first, second)]

    assert [round(a - b, 6) for a, b in zip(today, later, strict=True)] == [0, 0] or all(
        abs(a - b) <= 0.125 for a, b in zip(today, later, strict=True)
    )


def test_one_more_vote_on_a_lively_thing_leaves_its_heat_alone():
    assert heat(activity=101, dated=NOW, now=NOW) == heat(activity=102, dated=NOW, now=NOW)


def test_something_new_is_livelier_than_something_long_forgotten():
    old = NOW - timedelta(days=720)

    assert heat(activity=0, dated=NOW, now=NOW) > heat(activity=20, dated=old, now=old)


def test_keys_are_read_back():
    assert [facet_of(key) for key in keys_of("tags", ["nda", "d:x"])] == [
        ("tags", "nda"),
        ("tags", "d:x"),
    ]


def test_a_key_of_a_facet_is_exchanged():
    assert with_key(["d:legal", "x:stable"], "drifts", "drifted") == ["d:legal", "x:drifted"]
    assert with_key(["d:legal", "x:stable"], "drifts", "") == ["d:legal"]


def test_evidence_is_proven_from_one_half():
    assert [
        evidence(proven=proven, reports=reports)
        for proven, reports in ((0.5, 0), (0.49, 0), (0, 1), (0, 0))
    ] == ["proven", "some", "some", "none"]
