import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings

from kb.llm import breaker
from kb.llm.breaker import (
    FAILURES,
    FIRST_SECONDS,
    LONGEST_SECONDS,
    PROBE_SECONDS,
    Breaker,
    Breakers,
)
from kb.llm.shared import Memory, memory

NOBODY = "unix:///nowhere/valkey.sock"


class Clock:
    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def broken(at=0.0):
    found = Breaker()
    for _failure in range(FAILURES):
        found = found.failed(at, "no route")
    return found


class TestOneBreaker:
    def test_it_stays_closed_below_the_limit(self):
        found = Breaker()
        for _failure in range(FAILURES - 1):
            found = found.failed(0, "no route")

        assert (found.state(0), found.ask(0)) == ("closed", (found, 0.0))

    def test_an_answer_in_between_forgets_the_failures(self):
        assert broken().answered() == Breaker()

    def test_many_failures_in_a_row_open_it(self):
        found = broken(at=100)

        assert found == Breaker(
            failures=FAILURES, openings=1, opened=100, until=100 + FIRST_SECONDS, cause="no route"
        )
        assert found.ask(101) == (found, FIRST_SECONDS - 1)

    def test_calls_that_left_before_it_opened_change_nothing(self):
        found = broken(at=100)

        assert found.failed(101, "another") == found

    def test_then_one_call_tries_and_the_others_wait_for_it(self):
        found = broken(at=0)

        trying, wait = found.ask(FIRST_SECONDS)
        _others, longer = trying.ask(FIRST_SECONDS + 1)

        assert (found.state(FIRST_SECONDS), wait, longer) == ("half_open", 0.0, 1.0)

    def test_a_probe_that_is_never_heard_of_is_replaced(self):
        trying, _wait = broken(at=0).ask(10)

        assert trying.ask(10 + PROBE_SECONDS)[1] == 0.0

    def test_each_failed_probe_doubles_the_wait_up_to_a_limit(self):
        found, now, waits = broken(at=0), 0.0, []
        for _probe in range(9):
            waits.append(found.until - now)
            now = found.until
            found, _go = found.ask(now)
            found = found.failed(now, "still no route")

        assert waits == [2, 4, 8, 16, 32, 64, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]
        assert (found.opened, found.cause) == (0, "still no route")

    def test_somebody_who_asks_now_does_not_wait_for_its_time(self):
        found = broken(at=100).hurried(100.5)
        trying, wait = found.ask(100.5)

        assert (wait, trying.ask(100.5)[1]) == (0.0, 1.0)
        assert trying.failed(101, "no route").until == 101 + 2 * FIRST_SECONDS
        assert Breaker().hurried(100) == Breaker()

    def test_a_long_cause_is_cut(self):
        assert len(Breaker().failed(0, "x" * 9_999).cause) == breaker.LONGEST_CAUSE


@pytest.mark.parametrize("address", ["shared", NOBODY])
class TestBreakers:
    def test_a_connection_opens_is_tried_by_one_and_closes_again(self, address):
        clock, number = Clock(), random.randrange(10**9, 10**12)
        known = Breakers(memory() if address == "shared" else Memory(NOBODY), clock)

        before = known.ask(number)
        for _failure in range(FAILURES):
            known.failed(number, "no route")
        opened = known.ask(number)
        clock.now += FIRST_SECONDS
        probe, other = known.ask(number), known.ask(number)
        known.answered(number)

        assert (before, opened, probe, other) == (0.0, FIRST_SECONDS, 0.0, 1.0)
        assert (known.read(number), known.ask(number)) == (Breaker(), 0.0)

    def test_one_connection_does_not_stop_another(self, address):
        number = random.randrange(10**9, 10**12)
        known = Breakers(memory() if address == "shared" else Memory(NOBODY), Clock())
        for _failure in range(FAILURES):
            known.failed(number, "no route")

        assert known.ask(number + 1) == 0.0


class TestTogether:
    def test_failures_of_eight_workers_add_up_and_none_is_lost(self):
        number = random.randrange(10**9, 10**12)

        def worker(_number):
            Breakers(Memory(settings.REDIS_URL), Clock()).failed(number, "no route")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(worker, range(FAILURES - 1)))

        assert Breakers(memory()).read(number) == Breaker(failures=FAILURES - 1, cause="no route")

    def test_of_eight_workers_one_tries(self):
        number, clock = random.randrange(10**9, 10**12), Clock()
        known = Breakers(memory(), clock)
        for _failure in range(FAILURES):
            known.failed(number, "no route")
        clock.now += FIRST_SECONDS

        def worker(_number):
            return Breakers(Memory(settings.REDIS_URL), clock).ask(number)

        with ThreadPoolExecutor(8) as pool:
            waits = sorted(pool.map(worker, range(8)))

        assert waits == [0.0] + [1.0] * 7

    def test_what_another_release_wrote_counts_as_closed(self):
        number = random.randrange(10**9, 10**12)
        memory().change(breaker.key_of(number, "breaker"), lambda _kept: {"colour": "red"})

        assert Breakers(memory()).read(number) == Breaker()
