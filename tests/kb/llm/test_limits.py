import asyncio
import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from kb.llm import limits
from kb.llm.held import HeldBack
from kb.llm.limits import Limits, Look, Pace, Queue, Rates
from kb.llm.shared import AWAY_SECONDS, Away, Memory, memory

FAR = 1e9
"""A patience that never ends."""
NOBODY = "unix:///nowhere/valkey.sock"


class Clock:
    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def rates(number=None, **limits):
    number = number or random.randrange(10**9, 10**12)  # nobody else's
    return Rates(number, **{"calls_at_once": 8, **limits})


def leaving(rates, arrivals, tokens=0):
    """When calls that arrive at these instants leave."""
    pace, left = Pace(), []
    for now in arrivals:
        pace, wait, _granted = pace.admit(now, rates, tokens, FAR)
        left.append(now + wait)
    return left


class TestRequestsAMinute:
    @given(
        limit=st.integers(1, 300),
        steps=st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200),
    )
    def test_no_minute_sees_more_than_the_limit(self, limit, steps):
        left = leaving(rates(requests_per_minute=limit), list(itertools.accumulate(steps)))

        busiest = max(sum(start <= at < start + 60 - 1e-6 for at in left) for start in left)
        assert busiest <= limit

    def test_a_greedy_caller_gets_nearly_the_whole_limit(self):
        left = leaving(rates(requests_per_minute=60), [0.0] * 600)

        assert left[-1] == pytest.approx(600, rel=0.1)

    def test_the_first_of_a_burst_leave_at_once_and_the_others_in_turn(self):
        left = leaving(rates(requests_per_minute=40), [0.0] * 4)

        assert left == pytest.approx([0, 0, 60 / 39, 120 / 39])

    def test_without_limits_everything_leaves_at_once(self):
        assert leaving(rates(), [5.0] * 100, tokens=10_000) == [5.0] * 100

    def test_who_cannot_wait_takes_no_instant_from_the_others(self):
        one = rates(requests_per_minute=1)
        pace, *_first = Pace().admit(0, one, 0, FAR)

        after, wait, is_granted = pace.admit(10, one, 0, 49)

        assert (after, wait, is_granted) == (pace, 50, False)


class TestTokensAMinute:
    def test_tokens_are_spread_over_the_minute(self):
        left = leaving(rates(tokens_per_minute=6_000), [0.0] * 4, tokens=1_000)

        assert left == [0, 7, 17, 27]

    def test_a_request_larger_than_the_limit_passes_and_costs_a_minute(self):
        left = leaving(rates(tokens_per_minute=100), [0.0] * 2, tokens=5_000)

        assert left == [0, 57]

    def test_what_an_answer_did_not_use_is_given_back(self):
        clock, mine = Clock(), rates(tokens_per_minute=6_000)
        shared = Limits(memory(), clock)
        shared.admit(mine, 6_000, FAR)

        shared.correct(mine, -5_000)

        assert shared.admit(mine, 1_000, FAR) == (7.0, True)


class TestSlowingDown:
    def test_nothing_leaves_before_the_time_the_vendor_named(self):
        pace = Pace().slower(100, 30)

        assert pace.admit(110, rates(), 0, FAR)[1] == 20

    def test_calls_that_failed_together_count_once_and_then_leave_one_by_one(self):
        pace = Pace()
        for _call in range(5):
            pace = pace.slower(100, 2)

        left = []
        for _call in range(3):
            pace, wait, _granted = pace.admit(102, rates(), 0, FAR)
            left.append(wait)
        assert left == pytest.approx([0, 0.1, 0.2])

    def test_each_further_complaint_doubles_the_distance_up_to_a_limit(self):
        gaps, pace, now = [], Pace(), 0.0
        for _complaint in range(9):
            pace = pace.slower(now, 1)
            now = pace.paused
            gaps.append(round(pace.gap_at(now), 3))

        assert gaps == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0]

    def test_the_distance_halves_as_time_goes_by_and_disappears(self):
        pace = Pace().slower(0, 0)

        gaps = [pace.gap_at(seconds) for seconds in (0, 30, 60, 120)]

        assert gaps == [0.1, 0.05, 0.025, 0.0]

    def test_a_mad_header_does_not_silence_a_connection_for_days(self):
        clock, mine = Clock(), rates()
        shared = Limits(memory(), clock)

        shared.slow_down(mine, 1e9)

        assert shared.look(mine) == Look(limits.LONGEST_PAUSE, 0.1, 0)

    def test_all_workers_hear_of_it(self):
        clock, mine = Clock(), rates()
        one, other = Limits(memory(), clock), Limits(Memory(settings.REDIS_URL), clock)

        one.slow_down(mine, 7)

        assert other.admit(mine, 0, FAR) == (7.0, True)


class TestTogether:
    def test_the_script_does_what_the_pure_pace_does(self):
        rng, clock = random.Random(7), Clock()
        mine = rates(requests_per_minute=90, tokens_per_minute=50_000)
        shared, pace = Limits(memory(), clock), Pace()

        expected, seen = [], []
        for _step in range(200):
            clock.now += rng.expovariate(2)
            if rng.random() < 0.05:
                pause = rng.uniform(0, 5)
                pace = pace.slower(clock.now, pause)
                shared.slow_down(mine, pause)
            tokens, patience = rng.randrange(4_000), rng.choice([1, 5, FAR])
            pace, wait, is_granted = pace.admit(clock.now, mine, tokens, patience)
            expected.append((round(wait, 3), is_granted))
            wait, is_granted = shared.admit(mine, tokens, patience)
            seen.append((round(wait, 3), is_granted))

        assert [granted for _wait, granted in seen] == [granted for _wait, granted in expected]
        assert [w for w, _ in seen] == pytest.approx([w for w, _ in expected], abs=0.002)

    def test_eight_workers_at_once_never_get_the_same_instant(self):
        clock, mine = Clock(), rates(requests_per_minute=10)

        def worker(_number):
            own = Limits(Memory(settings.REDIS_URL), clock)
            return [own.admit(mine, 0, FAR)[0] for _call in range(10)]

        with ThreadPoolExecutor(8) as pool:
            waits = sorted(itertools.chain(*pool.map(worker, range(8))))

        assert waits == pytest.approx([6.0 * n for n in range(80)], abs=0.001)

    def test_places_are_shared_and_those_of_a_dead_worker_come_back(self):
        clock, mine = Clock(), rates(calls_at_once=2)
        one, other = Limits(memory(), clock), Limits(Memory(settings.REDIS_URL), clock)

        first = [one.take(mine, "a"), other.take(mine, "b"), one.take(mine, "c")]
        one.leave(mine, "a")
        second = [other.take(mine, "c"), one.take(mine, "d"), one.look(mine).under_way]
        clock.now += limits.PLACE_SECONDS
        third = [one.take(mine, "d"), one.look(mine).under_way]

        assert (first, second, third) == ([True, True, False], [True, False, 2], [True, 1])

    def test_who_holds_a_place_may_keep_it(self):
        clock, mine = Clock(), rates(calls_at_once=1)
        shared = Limits(memory(), clock)
        shared.take(mine, "a")
        clock.now += limits.PLACE_SECONDS - 1

        kept = shared.take(mine, "a")
        clock.now += 2

        assert (kept, shared.take(mine, "b")) == (True, False)


class TestAlone:
    def test_without_the_shared_memory_a_process_takes_a_quarter(self):
        mine = rates(calls_at_once=8, requests_per_minute=120, tokens_per_minute=8_000)

        assert mine.alone() == Rates(mine.connection_id, 2, 30, 2_000)

    def test_small_limits_still_let_something_pass(self):
        mine = rates(calls_at_once=1, requests_per_minute=1, tokens_per_minute=1)

        assert mine.alone() == mine

    def test_limits_places_and_pauses_hold_without_the_shared_memory(self):
        clock, mine = Clock(), rates(calls_at_once=8, requests_per_minute=4)
        alone = Limits(Memory(NOBODY), clock)

        waits = [alone.admit(mine, 0, FAR) for _call in range(2)]
        places = [alone.take(mine, name) for name in "abc"]
        alone.leave(mine, "a")
        places.append(alone.take(mine, "c"))
        alone.slow_down(mine, 90)

        assert waits == [(0, True), (60, True)]
        assert places == [True, True, False, True]
        assert alone.look(mine) == Look(90, 0.1, 2)

    def test_a_memory_that_is_away_is_not_asked_again_at_once(self):
        ticks, asked = Clock(), []
        gone = Memory(NOBODY, clock=ticks)
        gone._redis.get = lambda key: asked.append(key)
        shared = Limits(gone, Clock())
        shared.admit(rates(requests_per_minute=1), 0, FAR)

        with pytest.raises(Away):
            gone.read("x")
        ticks.now += AWAY_SECONDS + 0.1

        assert (gone.read("x"), asked) == (None, ["x"])


class Sleeper:
    """A clock whose sleep moves it on, and wakes whoever waits at once."""

    def __init__(self):
        self.clock, self.slept = Clock(), []

    async def sleep(self, seconds):
        self.slept.append(round(seconds, 3))
        self.clock.now += seconds
        await asyncio.sleep(0)

    def queue(self, rates, shared=None):
        return Queue(shared or Limits(memory(), self.clock), rates, self.clock, self.sleep)


class TestQueue:
    def test_a_call_sleeps_once_until_its_turn(self):
        sleeper, mine = Sleeper(), rates(requests_per_minute=1)
        queue = sleeper.queue(mine)

        async def go():
            async with queue.slot(0, deadline=FAR):
                pass
            async with queue.slot(0, deadline=FAR):
                pass

        asyncio.run(go())

        assert sleeper.slept == [60.0]

    def test_a_call_that_cannot_leave_before_its_deadline_is_told_at_once(self):
        sleeper, mine = Sleeper(), rates(requests_per_minute=1)
        queue = sleeper.queue(mine)

        async def go():
            async with queue.slot(0, deadline=FAR):
                pass
            async with queue.slot(0, deadline=sleeper.clock() + 59):
                pass

        with pytest.raises(HeldBack) as held:
            asyncio.run(go())

        assert (held.value.kind, held.value.permanent, held.value.attempts) == (
            "rate_limited",
            True,
            0,
        )
        assert held.value.message == (
            "The next request of this connection may leave in 60 s, at 1 requests a minute; "
            "that is after the time for this call is over."
        )
        assert sleeper.slept == []

    def test_a_pause_that_begins_while_a_call_sleeps_holds_it_back_too(self):
        sleeper, mine = Sleeper(), rates(requests_per_minute=1)
        shared = Limits(memory(), sleeper.clock)
        queue = sleeper.queue(mine, shared)
        complain = iter([True])

        async def sleep(seconds):
            await sleeper.sleep(seconds)
            if next(complain, False):
                shared.slow_down(mine, 100)

        queue.sleep = sleep

        async def go():
            for _call in range(2):
                async with queue.slot(0, deadline=FAR):
                    pass

        asyncio.run(go())

        assert sleeper.slept == [60.0, 100.0]

    def test_never_more_calls_at_once_than_allowed_over_two_workers(self):
        mine = rates(calls_at_once=3)
        now, most = [0], [0]

        async def call(queue):
            async with queue.place(deadline=FAR):
                now[0] += 1
                most[0] = max(most[0], now[0])
                await asyncio.sleep(0.005)
                now[0] -= 1

        async def go():
            workers = [Queue(Limits(memory()), mine, lambda: 0.0) for _worker in range(2)]
            await asyncio.gather(*(call(queue) for queue in workers for _call in range(10)))

        asyncio.run(go())

        assert (most[0], now[0], Limits(memory()).look(mine).under_way) == (3, 0, 0)

    def test_a_call_gives_up_when_no_place_gets_free(self):
        mine, clock = rates(calls_at_once=1), Clock()
        shared = Limits(memory())
        shared.take(mine, "somebody else")

        async def go():
            async with Queue(shared, mine, clock).place(deadline=clock.now):
                pass

        with pytest.raises(HeldBack, match="All 1 calls at once"):
            asyncio.run(go())

    def test_a_cancelled_call_gives_its_place_back(self):
        mine = rates(calls_at_once=1)

        async def hold(queue):
            async with queue.place(deadline=FAR):
                await asyncio.sleep(60)

        async def go():
            task = asyncio.create_task(hold(Queue(Limits(memory()), mine, lambda: 0.0)))
            while Limits(memory()).look(mine).under_way == 0:
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(go())

        assert Limits(memory()).look(mine).under_way == 0
