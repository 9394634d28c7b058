"""The bench of drift reports what it measured and breaks when a promise is broken."""

from tests.benchmarks import drift_product
from tests.benchmarks.drift_product import Draw, Scenario

SWITCH = Scenario("switch", "prime gpt-4", "prime", "gpt-4", 10, 4, 2, 3)
FLIP = Scenario("flip", "prime gpt-4", "prime", "gpt-4", 10, 2, 5, 10, change="flip")
QUIET = Scenario("quiet", "prime gpt-4", "prime", "gpt-4", 10, 2, 0, 30, change="none")


def draw(**more):
    return Draw(1, "draw-1", [str(n) for n in range(10)], **more)


def met(rows):
    return {one["name"]: one["is_met"] for one in drift_product.promises(rows)}


def test_a_row_counts_draws_by_the_night_that_found_them():
    draws = [draw(first_alarm=night, nights=3, calls=33) for night in (1, 1, 3, None)]

    row = drift_product.row_of(SWITCH, draws, seconds=0.6)

    assert (row["night_1"], row["night_3"]) == (0.5, 0.75)
    assert (row["calls_ratio"], row["processor_ms"]) == (1.1, 50.0)
    assert row["named"] is None


def test_only_a_case_that_is_named_first_is_the_right_one():
    draws = [
        draw(first_alarm=2, flipped="7", named=["7", "9"], nights=2),
        draw(first_alarm=2, flipped="7", named=["9", "7"], nights=2),
    ]

    row = drift_product.row_of(FLIP, draws, seconds=0.0)

    assert (row["named"], row["right_by_10"]) == (0.5, 0.5)
    assert met([row]) == {
        "one case of ten: found within 10 nights, named first": False,
        "alarms before the change": True,
    }


def test_an_alarm_on_a_quiet_night_breaks_the_promise():
    quiet = [draw(nights=30, calls=300), draw(nights=30, calls=300)]
    alarmed = [draw(first_alarm=9, nights=9, calls=90), draw(nights=30, calls=300)]

    assert all(met([drift_product.row_of(QUIET, quiet, 0.0)]).values())
    assert not met([drift_product.row_of(QUIET, alarmed, 0.0)])["alarms on quiet nights"]
