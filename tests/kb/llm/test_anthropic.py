import datetime

import pytest

from kb.llm.anthropic import Anthropic, Quirks
from kb.llm.base import LLMError, Message, ModelInfo, Reply, Request
from kb.llm.wire import InvalidConnection, Wire
from tests.fakes import Fault
from tests.kb.llm.conftest import Desk


def test_an_answer_becomes_a_reply(anthropic):
    reply = anthropic.ask()

    assert reply == Reply(
        text="Bonjour, voici la réponse.",
        finish="stop",
        model="model-a-20260101",
        fingerprint=None,
        input_tokens=11,
        output_tokens=7,
        request_id="req-fake",
        latency_ms=reply.latency_ms,
        raw_finish="end_turn",
        attempts=1,
        maybe_billed=0,
    )


def test_the_system_text_travels_apart(anthropic):
    messages = (
        Message("system", "Sois bref."),
        Message("user", "A"),
        Message("system", "Réponds en français."),
    )

    anthropic.send(Request(messages, "m", {"top_k": 3}))

    assert anthropic.vendor.requests[0].path == "/v1/messages"
    assert anthropic.vendor.requests[0].body == {
        "model": "m",
        "max_tokens": 4096,
        "system": "Sois bref.\n\nRéponds en français.",
        "messages": [{"role": "user", "content": "A"}],
        "top_k": 3,
    }


def test_without_system_text_none_is_sent_and_max_tokens_can_be_chosen(anthropic):
    anthropic.ask(max_tokens=9)

    assert anthropic.vendor.requests[0].body == {
        "model": "model-a",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Bonjour"}],
    }


def test_the_key_and_the_version_travel_in_their_headers(vendor):
    vendor.require_key = "secret"
    desk = Desk(vendor, Anthropic, secret="secret")

    desk.ask()
    desk.models()

    sent = [(r.headers["x-api-key"], r.headers["anthropic-version"]) for r in vendor.requests]
    assert sent == [("secret", "2023-06-01")] * 2


def test_a_connection_may_choose_the_newer_version_and_header(vendor):
    quirks = Quirks(api_version="2026-10-21", auth_header="bearer")

    Desk(vendor, Anthropic, secret="secret", quirks=quirks).ask()

    headers = vendor.requests[0].headers
    assert (headers["anthropic-version"], headers["authorization"]) == (
        "2026-10-21",
        "Bearer secret",
    )
    assert "x-api-key" not in headers


def test_a_spend_limit_is_not_asked_against_again(anthropic):
    """The newer error body names the cause in details, and answers 400."""
    error = {
        "type": "invalid_request_error",
        "message": "You reached your limit",
        "details": {"error_code": "enforced_spend_limit_reached"},
    }
    anthropic.vendor.fail(Fault("status", status=400, body={"type": "error", "error": error}))

    with pytest.raises(LLMError, match="You reached your limit") as failure:
        anthropic.ask()

    assert (failure.value.kind, failure.value.permanent, failure.value.code) == (
        "rate_limit",
        True,
        "enforced_spend_limit_reached",
    )


def test_without_a_key_only_the_version_is_sent(anthropic):
    anthropic.ask()

    assert "x-api-key" not in anthropic.vendor.requests[0].headers


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("tool_use", "tool"),
        ("pause_turn", "other"),
    ],
)
def test_the_reason_to_stop_is_translated_and_kept(anthropic, raw, finish):
    anthropic.vendor.finish = raw

    reply = anthropic.ask()

    assert (reply.finish, reply.raw_finish) == (finish, raw)


def test_an_empty_answer_is_a_reply(anthropic):
    anthropic.vendor.text = ""

    assert anthropic.ask().text == ""


def test_missing_usage_is_unknown_not_zero(anthropic):
    anthropic.vendor.usage = False

    reply = anthropic.ask()

    assert (reply.input_tokens, reply.output_tokens) == (None, None)


def test_thoughts_and_tools_are_not_part_of_the_text(anthropic):
    anthropic.vendor.payload = {
        "content": [
            {"type": "thinking", "thinking": "hidden"},
            {"type": "text", "text": "Bon"},
            {"type": "tool_use", "name": "x"},
            {"type": "text", "text": "jour"},
        ]
    }

    assert anthropic.ask().text == "Bonjour"


@pytest.mark.parametrize("name", ["model", "messages", "system", "stream"])
def test_what_the_product_decides_cannot_be_a_parameter(anthropic, name):
    with pytest.raises(LLMError, match=f"'{name}' is set by the product"):
        anthropic.send(Request((Message("user", "x"),), "m", {name: 1}))

    assert anthropic.vendor.requests == []


def test_models_are_listed_with_their_announced_end(anthropic):
    day = datetime.date

    assert anthropic.models() == [
        ModelInfo("model-a", "Model-A", created=day(2026, 1, 1), retires=day(2027, 3, 31)),
        ModelInfo("model-b", "Model-B", created=day(2026, 1, 1), retires=day(2027, 3, 31)),
    ]
    assert anthropic.vendor.requests[0].path == "/v1/models?limit=1000"


def test_an_overloaded_vendor_is_named_as_such(anthropic):
    anthropic.vendor.fail(*[Fault("status", status=529)] * 3)

    with pytest.raises(LLMError, match="fake error 529") as failure:
        anthropic.ask()

    assert (failure.value.kind, failure.value.code) == ("overloaded", "overloaded_error")


def test_a_base_url_with_the_path_of_the_call_is_refused():
    with pytest.raises(InvalidConnection, match="must not contain 'messages'"):
        Anthropic(Wire(None, "https://h/v1/messages/"))
