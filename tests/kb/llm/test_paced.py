import asyncio
import random
import time

import pytest

from kb.core.http import EgressPolicy, HttpClient
from kb.llm.base import EmbeddingRequest, LLMError, Message, Request, RetryPolicy
from kb.llm.breaker import FAILURES, FIRST_SECONDS, Breaker, Breakers
from kb.llm.held import HeldBack
from kb.llm.limits import TOKEN_BURST_SECONDS, Limits, Queue, Rates
from kb.llm.openai_compatible import OpenAICompatible
from kb.llm.paced import Paced, WatchedClient
from kb.llm.shared import memory
from kb.llm.wire import Wire
from tests.fakes import Fault

REQUEST = Request((Message("user", "Bonjour"),), "model-a", {"max_tokens": 20})


class Office:
    """One worker's way to a fake vendor; sleeping moves its clock instead of waiting."""

    def __init__(self, vendor, *, attempts=1, heeds_breaker=True, **limits):
        self.vendor, self.attempts, self.heeds_breaker = vendor, attempts, heeds_breaker
        self.rates = Rates(random.randrange(10**9, 10**12), **{"calls_at_once": 8, **limits})
        self.skew, self.slept = 0.0, []
        self.limits = Limits(memory(), lambda: time.time() + self.skew)
        self.breakers = Breakers(memory(), lambda: time.time() + self.skew)

    def now(self):
        return time.monotonic() + self.skew

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.skew += seconds

    def run(self, what):
        async def once():
            async with HttpClient(EgressPolicy.parse("127.0.0.1")) as http:
                queue = Queue(self.limits, self.rates, self.now, self.sleep)
                wire = Wire(
                    WatchedClient(http, queue, self.breakers),
                    self.vendor.url,
                    retry=RetryPolicy(attempts=self.attempts),
                    clock=self.now,
                    sleep=self.sleep,
                )
                paced = Paced(
                    OpenAICompatible(wire),
                    queue,
                    self.breakers,
                    "Fake",
                    self.heeds_breaker,
                    self.now,
                    self.sleep,
                )
                return await what(paced)

        return asyncio.run(once())

    def ask(self, *, seconds=600.0, gate=None):
        return self.run(
            lambda paced: paced.complete(REQUEST, deadline=self.now() + seconds, gate=gate)
        )

    def kind_of_failure(self):
        with pytest.raises(LLMError) as failed:
            self.ask()
        return failed.value.kind


def test_every_attempt_waits_for_its_turn_not_only_every_call(vendor):
    office = Office(vendor, attempts=3, requests_per_minute=1)
    vendor.fail(Fault("status", 500), Fault("status", 500))

    reply = office.ask()

    turns = [seconds for seconds in office.slept if seconds > 30]
    assert (reply.attempts, len(vendor.requests), len(turns)) == (3, 3, 2)


def test_the_gate_is_asked_after_the_wait_so_that_a_switch_acts_at_once(vendor):
    office = Office(vendor, requests_per_minute=1)
    asked = []

    async def gate(attempt):
        asked.append((attempt, len(office.slept)))

    office.ask(gate=gate)
    office.ask(gate=gate)

    assert asked == [(1, 0), (1, 1)]


def test_a_refusing_gate_frees_the_place_and_nothing_leaves(vendor):
    office = Office(vendor, calls_at_once=1)

    async def gate(_attempt):
        raise LLMError("cancelled", "Switched off.", permanent=True)

    with pytest.raises(LLMError, match="Switched off"):
        office.ask(gate=gate)

    assert (vendor.requests, office.limits.look(office.rates).under_way) == ([], 0)


def test_the_wait_for_a_turn_is_not_counted_as_slowness_of_the_model(vendor):
    office = Office(vendor, requests_per_minute=1)
    office.ask()

    assert office.ask().latency_ms < 10_000
    assert sum(office.slept) > 50


def test_a_429_slows_every_worker_of_the_connection_down(vendor):
    office, other = Office(vendor), Office(vendor)
    other.rates = office.rates
    vendor.fail(Fault("status", 429, headers={"retry-after": "40"}))

    kind = office.kind_of_failure()
    other.ask()

    assert (kind, [round(seconds) for seconds in other.slept]) == ("rate_limit", [40])


def test_a_busy_service_that_names_a_time_is_given_it(vendor):
    office = Office(vendor)
    vendor.fail(Fault("status", 503, headers={"retry-after": "15"}))
    office.kind_of_failure()

    office.ask()

    assert [round(seconds) for seconds in office.slept] == [15]


@pytest.mark.parametrize(
    ("fault", "failures"),
    [
        (Fault("status", 500), 1),
        (Fault("status", 529), 1),
        (Fault("disconnect"), 1),
        (Fault("truncate"), 1),
        (Fault("status", 401), 0),
        (Fault("status", 429), 0),
        (Fault("status", 400), 0),
    ],
)
def test_only_failures_of_the_way_and_of_the_service_count(vendor, fault, failures):
    office = Office(vendor)
    vendor.fail(fault)

    office.kind_of_failure()

    assert office.breakers.read(office.rates.connection_id).failures == failures


def open_breaker(office, times=1):
    for _failure in range(FAILURES):
        office.breakers.failed(office.rates.connection_id, "no route")
    for _opening in range(times - 1):
        office.skew += office.breakers.ask(office.rates.connection_id)
        office.breakers.ask(office.rates.connection_id)
        office.breakers.failed(office.rates.connection_id, "no route")


def test_a_short_opening_is_waited_for_and_costs_no_answer(vendor):
    office = Office(vendor)
    open_breaker(office)

    office.ask()

    assert [round(seconds) for seconds in office.slept] == [FIRST_SECONDS]
    assert office.breakers.read(office.rates.connection_id) == Breaker()


def test_a_long_opening_makes_calls_missing_without_sending_them(vendor):
    office = Office(vendor, attempts=3)
    open_breaker(office, times=5)

    with pytest.raises(HeldBack) as held:
        office.ask()

    assert (held.value.kind, held.value.attempts, held.value.maybe_billed) == ("unavailable", 0, 0)
    assert held.value.message == (
        "Fake failed 14 times in a row and is left alone for 32 s. Last: no route"
    )
    assert (vendor.requests, office.slept) == ([], [])


def test_a_person_who_tries_the_connection_is_not_stopped_and_an_answer_closes_it(vendor):
    office = Office(vendor, heeds_breaker=False)
    open_breaker(office, times=7)

    office.ask()

    assert office.breakers.read(office.rates.connection_id) == Breaker()


def test_a_list_of_models_keeps_to_the_limits_too(vendor):
    office = Office(vendor, requests_per_minute=2)

    for _time in range(2):
        office.run(lambda paced: paced.models())

    assert [round(seconds) for seconds in office.slept] == [30]


def test_tokens_that_were_announced_but_not_used_are_given_back(vendor):
    office = Office(vendor, tokens_per_minute=60)  # one a second; 22 announced, 18 used

    office.ask()
    office.ask()

    assert office.slept == pytest.approx([18 - TOKEN_BURST_SECONDS], abs=1.0)


def embed(office):
    texts = EmbeddingRequest(("Bonjour",), "model-a")
    return office.run(lambda paced: paced.embed(texts, deadline=office.now() + 600))


def test_vectors_wait_for_their_turn_as_answers_do(vendor):
    office = Office(vendor, requests_per_minute=1)

    first, second = embed(office), embed(office)

    assert (first.vectors, len(vendor.requests)) == (second.vectors, 2)
    assert max(office.slept) > 30


def test_no_vectors_are_asked_for_while_the_service_is_left_alone(vendor):
    office = Office(vendor)
    open_breaker(office, times=5)

    with pytest.raises(HeldBack) as held:
        embed(office)

    assert (held.value.kind, vendor.requests) == ("unavailable", [])
