import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.llm.base import ApiKey, LLMError, RetryPolicy, host_of


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.openai.com/v1", "api.openai.com:443"),
        ("https://API.openai.com:443", "api.openai.com:443"),
        ("http://localhost:11434/v1/", "localhost:11434"),
        ("http://[::1]:8000/v1?x=1", "::1:8000"),
    ],
)
def test_a_key_is_bound_to_host_and_port(url, host):
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com",
        "ftp://h/",
        "https://",
        "https://user:pw@h/",
        "https://good.example\\@evil.example/",
        "https://good.example%2f@evil.example/",
        "https://h:99999/",
        "https://[::1/",
        "https://bad host/",
    ],
)
def test_an_address_two_parsers_could_read_differently_has_no_host(url):
    with pytest.raises(ValueError, match="is not the address of a service"):
        host_of(url)


def test_a_key_does_not_show_itself():
    assert repr(ApiKey("planted-secret", "h:443")) == "ApiKey(host='h:443')"


def test_an_error_carries_what_a_budget_and_a_page_need():
    error = LLMError("rate_limit", "slow down", permanent=False, status=429, retry_after=2.0)

    assert (str(error), error.kind, error.permanent, error.status, error.retry_after) == (
        "slow down",
        "rate_limit",
        False,
        429,
        2.0,
    )
    assert (error.attempts, error.maybe_billed, error.request_id, error.code) == (0, 0, None, "")


def test_the_wait_doubles_up_to_the_longest():
    policy = RetryPolicy(first_wait=1.0, max_wait=5.0)

    class Longest(random.Random):
        def uniform(self, low, high):
            return high

    waits = [policy.wait_before(attempt, None, Longest()) for attempt in (2, 3, 4, 5, 6)]

    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (2.5, 2.5), (-3.0, 0.0), (3600.0, 30.0)])
def test_the_vendors_wish_is_followed_up_to_the_longest_wait(asked, waited):
    assert RetryPolicy().wait_before(2, asked, random.Random(1)) == waited


@settings(deadline=None)
@given(st.integers(2, 50), st.none() | st.floats(-10, 1e9), st.integers())
def test_no_wait_is_negative_or_too_long(attempt, retry_after, seed):
    policy = RetryPolicy(first_wait=0.5, max_wait=20.0)

    assert 0.0 <= policy.wait_before(attempt, retry_after, random.Random(seed)) <= 20.0
