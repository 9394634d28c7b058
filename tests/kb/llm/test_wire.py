"""What every adapter does alike: repeating, counting, giving up, keeping the key to itself."""

import asyncio
import json

import pytest

from kb.core.http import EgressPolicy, HttpError
from kb.llm.base import ApiKey, LLMError, RetryPolicy
from kb.llm.openai_compatible import OpenAICompatible
from kb.llm.wire import InvalidConnection, Wire, count_or_none, day_or_none, storable
from tests.fakes import Fault
from tests.kb.llm.conftest import Desk


def facts(error):
    return (error.kind, error.permanent, error.status, error.attempts, error.maybe_billed)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529, 408, 409, 425])
def test_a_passing_failure_is_repeated(desk, status):
    desk.vendor.fail(Fault("status", status=status), Fault("status", status=status))

    reply = desk.ask()

    assert (reply.text, reply.attempts, reply.maybe_billed) == (desk.vendor.text, 3, 0)
    assert len(desk.vendor.requests) == 3


@pytest.mark.parametrize("kind", ["truncate", "cut_json", "page", "disconnect"])
def test_an_answer_that_broke_off_is_repeated_and_counted_as_maybe_billed(desk, kind):
    desk.vendor.fail(Fault(kind))

    reply = desk.ask()

    assert (reply.text, reply.attempts, reply.maybe_billed) == (desk.vendor.text, 2, 1)


@pytest.mark.parametrize(
    ("fault", "kind", "status", "maybe_billed"),
    [
        (Fault("status", status=429), "rate_limit", 429, 0),
        (Fault("status", status=500), "server", 500, 0),
        (Fault("status", status=503), "overloaded", 503, 0),
        (Fault("status", status=529), "overloaded", 529, 0),
        (Fault("status", status=504), "timeout", 504, 0),
        (Fault("truncate"), "truncated", None, 3),
        (Fault("cut_json"), "truncated", 200, 3),
        (Fault("page"), "bad_reply", 200, 3),
        (Fault("disconnect"), "truncated", None, 3),
    ],
)
def test_repeating_ends_and_tells_what_it_cost(desk, fault, kind, status, maybe_billed):
    desk.vendor.fail(*[fault] * 9)

    with pytest.raises(LLMError) as failure:
        desk.ask()

    assert facts(failure.value) == (kind, False, status, 3, maybe_billed)
    assert (len(desk.vendor.requests), len(desk.waits)) == (3, 2)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "bad_request"),
        (401, "auth"),
        (402, "auth"),
        (403, "auth"),
        (404, "not_found"),
        (405, "not_found"),
        (413, "too_long"),
        (418, "bad_request"),
        (421, "not_found"),
        (422, "bad_request"),
    ],
)
def test_what_cannot_go_better_is_asked_once(desk, status, kind):
    desk.vendor.fail(*[Fault("status", status=status)] * 9)

    with pytest.raises(LLMError) as failure:
        desk.ask()

    assert facts(failure.value) == (kind, True, status, 1, 0)
    assert (len(desk.vendor.requests), desk.waits) == (1, [])


def test_an_empty_account_is_not_asked_again(desk):
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    desk.vendor.fail(Fault("status", status=429, body=body))

    with pytest.raises(LLMError, match="You exceeded your quota") as failure:
        desk.ask()

    assert facts(failure.value) == ("rate_limit", True, 429, 1, 0)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "sorry", "code": "context_length_exceeded"}},
        {"error": {"message": "This model's maximum context length is 8192 tokens."}},
        {"type": "error", "error": {"type": "x", "message": "prompt is too long: 9 tokens > 8"}},
    ],
)
def test_a_prompt_over_the_context_window_is_called_too_long(desk, body):
    desk.vendor.fail(Fault("status", status=400, body=body))

    with pytest.raises(LLMError) as failure:
        desk.ask()

    assert facts(failure.value) == ("too_long", True, 400, 1, 0)


# --- waiting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:09 GMT"}, 9.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "600"}, 30.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    ],
)
def test_the_vendor_says_how_long_to_wait(desk, headers, wait):
    desk.vendor.fail(Fault("status", status=429, headers=headers))

    desk.ask(seconds=60.0)

    assert desk.waits == [wait]


@pytest.mark.parametrize("nonsense", ["soon", "inf", "nan", "32 Foo 2026"])
def test_a_wish_nobody_can_read_is_as_none(desk, nonsense):
    desk.vendor.fail(Fault("status", status=429, headers={"retry-after": nonsense}))

    desk.ask()

    assert len(desk.waits) == 1
    assert 0.5 <= desk.waits[0] <= 1.0


def test_an_error_repeats_the_vendors_wish(desk):
    desk.vendor.fail(*[Fault("status", status=429, headers={"retry-after": "3"})] * 3)

    with pytest.raises(LLMError) as failure:
        desk.ask()

    assert failure.value.retry_after == 3.0


def test_no_wait_goes_past_the_deadline(desk):
    desk.vendor.fail(*[Fault("status", status=429, headers={"retry-after": "20"})] * 3)

    with pytest.raises(LLMError) as failure:
        desk.ask(seconds=10.0)

    assert facts(failure.value) == ("rate_limit", False, 429, 1, 0)
    assert (desk.waits, len(desk.vendor.requests)) == ([], 1)


def test_nothing_is_sent_after_the_deadline(desk):
    with pytest.raises(LLMError, match="time for this call is over") as failure:
        desk.ask(seconds=0.0)

    assert facts(failure.value) == ("timeout", False, None, 0, 0)
    assert desk.vendor.requests == []


def test_a_hung_answer_ends_with_the_deadline(desk):
    desk.vendor.fail(Fault("hang"))

    with pytest.raises(LLMError) as failure:
        desk.ask(seconds=0.2)

    assert facts(failure.value) == ("timeout", False, None, 1, 1)


def test_one_hung_attempt_leaves_time_for_another(vendor):
    desk = Desk(vendor, OpenAICompatible, retry=RetryPolicy(attempt_timeout=0.2))
    vendor.fail(Fault("hang"))

    reply = desk.ask(seconds=30.0)

    assert (reply.attempts, reply.maybe_billed) == (2, 1)


def test_the_time_waited_is_not_latency(vendor):
    """A clock that jumps an hour with each wait; the answer itself takes a moment."""
    hours = []
    desk = Desk(vendor, OpenAICompatible, clock=lambda: 3600.0 * len(hours))
    desk._note = lambda seconds: _append(hours, seconds)
    vendor.fail(Fault("status", status=500))

    reply = desk.ask(seconds=10_000.0)

    assert (reply.latency_ms, reply.attempts) == (0, 2)


async def _append(items, item):
    items.append(item)


# --- the gate ----------------------------------------------------------------------------------


def test_the_gate_is_asked_before_each_attempt(desk):
    passed = []

    async def gate(attempt):
        passed.append((attempt, len(desk.vendor.requests)))

    desk.vendor.fail(Fault("status", status=500))
    desk.ask(gate=gate)

    assert passed == [(1, 0), (2, 1)]


def test_a_closed_gate_stops_before_the_next_request(desk):
    async def gate(attempt):
        if attempt == 2:
            raise LLMError("cancelled", "The monitor was switched off.", permanent=True)

    desk.vendor.fail(Fault("disconnect"))

    with pytest.raises(LLMError, match="switched off") as failure:
        desk.ask(gate=gate)

    assert facts(failure.value) == ("cancelled", True, None, 1, 1)
    assert len(desk.vendor.requests) == 1


def test_whatever_else_the_gate_raises_passes_through(desk):
    class OverBudget(Exception):
        pass

    async def gate(attempt):
        raise OverBudget

    with pytest.raises(OverBudget):
        desk.ask(gate=gate)

    assert desk.vendor.requests == []


# --- addresses and keys ------------------------------------------------------------------------


def test_an_address_the_operator_did_not_list_is_an_egress_error(desk):
    desk.policy = EgressPolicy()

    with pytest.raises(LLMError, match="RETEX_EGRESS_ALLOW") as failure:
        desk.ask()

    assert facts(failure.value) == ("egress", True, None, 0, 0)


def test_a_dead_port_is_a_connect_error_that_cost_nothing(desk):
    desk.base_url = "http://127.0.0.1:1/v1"

    with pytest.raises(LLMError, match="refuses the connection") as failure:
        desk.ask()

    assert facts(failure.value) == ("connect", False, None, 3, 0)


@pytest.mark.parametrize(
    ("transport", "sent", "kind", "permanent", "attempts", "maybe_billed"),
    [
        ("bad_url", False, "not_found", True, 0, 0),
        ("bad_header", False, "auth", True, 0, 0),
        ("refused", False, "egress", True, 0, 0),
        ("dns", False, "connect", False, 2, 0),
        ("connect", False, "connect", False, 2, 0),
        ("tls", False, "connect", True, 1, 0),
        ("timeout", False, "timeout", False, 2, 0),
        ("timeout", True, "timeout", False, 2, 2),
        ("truncated", True, "truncated", False, 2, 2),
        ("too_large", True, "bad_reply", True, 1, 1),
        ("redirect", True, "not_found", True, 1, 1),
    ],
)
def test_each_failure_of_the_transport_has_its_place(
    transport, sent, kind, permanent, attempts, maybe_billed
):
    class Broken:
        async def send(self, *parameters, **options):
            raise HttpError(transport, "what happened", sent=sent)

    async def at_once(seconds):
        pass

    wire = Wire(Broken(), "https://h/v1", retry=RetryPolicy(attempts=2), sleep=at_once)

    with pytest.raises(LLMError, match="what happened") as failure:
        asyncio.run(wire.post("x", headers={}, body={}, deadline=wire.clock() + 60))

    assert facts(failure.value) == (kind, permanent, None, attempts, maybe_billed)


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_base_url_is_used_as_given_with_or_without_a_slash(desk, slash):
    desk.base_url = f"{desk.vendor.url}{slash}?api-version=2026-01-01"

    desk.ask()
    desk.models()

    paths = [request.path.split("limit")[0].rstrip("&") for request in desk.vendor.requests]
    assert paths[0] in (
        "/v1/chat/completions?api-version=2026-01-01",
        "/v1/messages?api-version=2026-01-01",
    )
    assert paths[1] == "/v1/models?api-version=2026-01-01"


def test_a_wrong_path_is_explained(desk):
    desk.base_url = desk.vendor.url + "/wrong"
    desk.vendor.fail(Fault("status", status=404, body={"detail": "Not Found"}))

    with pytest.raises(LLMError, match=r"/v1/wrong/.* answered 404: Not Found") as failure:
        desk.ask()

    assert failure.value.kind == "not_found"
    assert "Check the base URL" in str(failure.value)


def test_an_unknown_model_is_not_blamed_on_the_address(desk):
    body = {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}
    desk.vendor.fail(Fault("status", status=404, body=body))

    with pytest.raises(LLMError, match="The model `m` does not exist") as failure:
        desk.ask()

    assert failure.value.kind == "not_found"
    assert "base URL" not in str(failure.value)


def test_a_web_page_hints_at_the_base_url(desk):
    desk.vendor.fail(*[Fault("page")] * 3)

    with pytest.raises(LLMError, match=r"It is a web page: check the base URL"):
        desk.ask()


def test_a_redirect_is_not_followed_with_the_key(vendor):
    desk = Desk(vendor, OpenAICompatible, secret="planted-secret")
    vendor.fail(Fault("redirect", location="https://evil.example/v1?token=planted-token"))

    with pytest.raises(LLMError, match=r"redirects to https://evil\.example/v1\.?") as failure:
        desk.ask()

    assert facts(failure.value) == ("not_found", True, 307, 1, 0)
    assert "planted" not in str(failure.value)
    assert len(vendor.requests) == 1


def test_a_key_stays_with_the_host_it_was_entered_for(vendor):
    with pytest.raises(InvalidConnection, match=r"entered for api\.example:443") as refusal:
        Wire(None, vendor.url, ApiKey("planted-secret", "api.example:443"))

    assert "planted" not in str(refusal.value)


def test_a_base_url_that_is_none_is_refused():
    with pytest.raises(InvalidConnection, match="'ollama' is not the address of a service"):
        Wire(None, "ollama")


def test_no_error_shows_the_key(vendor):
    """Planted: a gateway that repeats the whole key when it refuses it."""
    desk = Desk(vendor, OpenAICompatible, secret="planted-secret")
    body = {"error": {"message": "Incorrect key planted-secret given", "code": "x"}}
    vendor.fail(Fault("status", status=401, body=body))

    with pytest.raises(LLMError) as failure:
        desk.ask()

    assert str(failure.value) == failure.value.message
    assert failure.value.message.endswith("answered 401: Incorrect key … given")
    assert "planted" not in repr(failure.value)


def test_a_key_that_cannot_travel_is_a_configuration_error(vendor):
    desk = Desk(vendor, OpenAICompatible, secret="planted-secret\n")

    with pytest.raises(LLMError, match="authorization") as failure:
        desk.ask()

    assert facts(failure.value) == ("auth", True, None, 0, 0)
    assert "planted" not in str(failure.value)


def test_a_wire_does_not_show_its_key(vendor):
    assert "planted" not in repr(Wire(None, "https://h", ApiKey("planted-secret", "h:443")))


# --- odd answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [[], "text", 7, None])
def test_a_document_that_is_no_object_is_a_bad_reply(desk, payload):
    desk.vendor.payload = json.dumps(payload).encode()

    with pytest.raises(LLMError, match="a JSON object was expected") as failure:
        desk.ask()

    assert facts(failure.value) == ("bad_reply", True, 200, 1, 1)


@pytest.mark.parametrize("payload", [{}, {"choices": []}, {"choices": ["x"]}, {"content": "x"}])
def test_an_answer_without_its_parts_is_a_bad_reply_that_was_paid_for(desk, payload):
    desk.vendor.payload = payload
    desk.vendor.fail(Fault("disconnect"))

    with pytest.raises(LLMError, match="not understood") as failure:
        desk.ask()

    assert facts(failure.value) == ("bad_reply", True, 200, 2, 2)


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [(429, "rate_limit", 429), ("x", "server", 500), (None, "server", 500)],
)
def test_an_error_inside_a_200_counts_as_the_error_it_names(desk, code, kind, status):
    desk.vendor.payload = {"error": {"message": "upstream trouble", "code": code}}

    with pytest.raises(LLMError, match="upstream trouble") as failure:
        desk.ask()

    assert facts(failure.value) == (kind, False, status, 3, 0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"error": "just text"}, "just text"),
        ({"detail": [{"loc": ["body"]}]}, '[{"loc": ["body"]}]'),
        ({"message": "  spread\nout  "}, "spread out"),
        ({"message": "x" * 900}, "x" * 500),
    ],
)
def test_the_vendors_words_are_found_wherever_it_puts_them(desk, body, said):
    desk.vendor.fail(Fault("status", status=400, body=body))

    with pytest.raises(LLMError) as failure:
        desk.ask()

    assert str(failure.value).endswith(f"answered 400: {said}")


@pytest.mark.parametrize("body", [b"plain text", b"\xff\xfe", b"[" * 100_000, b"[]", b"3"])
def test_an_error_body_nobody_can_read_is_left_out(desk, body):
    desk.vendor.fail(Fault("status", status=400, body=body))

    with pytest.raises(LLMError, match=r"answered 400\.$"):
        desk.ask()


def test_an_answer_without_a_request_id_has_none(desk):
    nameless = {"x-request-id": "", "request-id": ""}
    desk.vendor.fail(Fault("status", status=400, headers=nameless))

    with pytest.raises(LLMError) as failure:
        desk.ask()

    assert failure.value.request_id is None


def test_parameters_that_are_no_json_never_leave(desk):
    with pytest.raises(LLMError, match="cannot be sent") as failure:
        desk.ask(temperature=float("nan"))

    assert facts(failure.value) == ("bad_request", True, None, 0, 0)
    assert desk.vendor.requests == []


def test_a_prompt_with_a_broken_character_is_still_sent(desk):
    assert desk.ask("avant \ud800 après").text == desk.vendor.text


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("é 😀", "é 😀"),
        ("\ud83d\ude00", "😀"),
        ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("é\0", "é\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_text_becomes_storable(text, stored):
    assert storable(text) == stored


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (12, 12), (-1, None), (True, None), (1.5, None), ("3", None), (None, None)],
)
def test_only_a_count_is_a_count(value, count):
    assert count_or_none(value) == count


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2027-03-31", "2027-03-31"),
        ("2027-03-31T00:00:00Z", "2027-03-31"),
        (1_767_225_600, "2026-01-01"),
        ("next spring", None),
        (0, None),
        (1e300, None),
        (True, None),
        (None, None),
    ],
)
def test_a_day_is_read_from_either_spelling(value, day):
    found = day_or_none(value)

    assert (found.isoformat() if found else None) == day
