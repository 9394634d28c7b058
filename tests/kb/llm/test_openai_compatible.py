import asyncio
import datetime
import time

import pytest

from kb.core.http import HttpClient
from kb.llm.base import EmbeddingRequest, Embeddings, LLMError, Message, ModelInfo, Reply, Request
from kb.llm.openai_compatible import SERVICES, OpenAICompatible, Quirks
from kb.llm.wire import InvalidConnection, Wire
from tests.fakes import Fault, vector_of
from tests.kb.llm.conftest import Desk


def test_an_answer_becomes_a_reply(openai):
    reply = openai.ask()

    assert reply == Reply(
        text="Bonjour, voici la réponse.",
        finish="stop",
        model="model-a-2026-01-01",
        fingerprint="fp_fake",
        input_tokens=11,
        output_tokens=7,
        request_id="req-fake",
        latency_ms=reply.latency_ms,
        raw_finish="stop",
        attempts=1,
        maybe_billed=0,
    )
    assert 0 <= reply.latency_ms < 5_000


def test_messages_and_parameters_travel_verbatim(openai):
    messages = (Message("system", "Sois bref."), Message("user", "A"), Message("assistant", "B"))
    parameters = {
        "temperature": 0,
        "response_format": {"type": "json_object"},
        "unheard_of": [1, None],
        "seed": 7,
        "max_tokens": 20,
    }

    openai.send(Request(messages, "m", parameters))

    assert openai.vendor.requests[0].path == "/v1/chat/completions"
    assert openai.vendor.requests[0].body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Sois bref."},
            {"role": "user", "content": "A"},
            {"role": "assistant", "content": "B"},
        ],
        "temperature": 0,
        "response_format": {"type": "json_object"},
        "unheard_of": [1, None],
        "seed": 7,
        "max_tokens": 20,
    }


@pytest.mark.parametrize(
    ("quirks", "sent"),
    [
        (Quirks(), {"max_tokens": 20, "seed": 7}),
        (
            Quirks(max_tokens_field="max_completion_tokens", seed_field="random_seed"),
            {"max_completion_tokens": 20, "random_seed": 7},
        ),
        (Quirks(seed_field="none"), {"max_tokens": 20}),
    ],
)
def test_each_service_gets_the_names_it_knows(vendor, quirks, sent):
    Desk(vendor, OpenAICompatible, quirks=quirks).ask(max_tokens=20, seed=7)

    body = vendor.requests[0].body
    assert {name: body[name] for name in body if name not in ("model", "messages")} == sent


def test_a_name_given_explicitly_wins_over_the_translated_one(vendor):
    quirks = Quirks(max_tokens_field="max_completion_tokens")

    Desk(vendor, OpenAICompatible, quirks=quirks).ask(max_tokens=20, max_completion_tokens=30)

    assert vendor.requests[0].body["max_completion_tokens"] == 30
    assert "max_tokens" not in vendor.requests[0].body


@pytest.mark.parametrize("name", ["model", "messages", "stream", "stream_options", "n"])
def test_what_the_product_decides_cannot_be_a_parameter(openai, name):
    with pytest.raises(LLMError, match=f"'{name}' is set by the product") as failure:
        openai.send(Request((Message("user", "x"),), "m", {name: 1}))

    assert (failure.value.kind, failure.value.permanent) == ("bad_request", True)
    assert openai.vendor.requests == []


@pytest.mark.parametrize(
    ("style", "header", "value"),
    [
        ("bearer", "authorization", "Bearer secret"),
        ("api-key", "api-key", "secret"),
        ("x-api-key", "x-api-key", "secret"),
    ],
)
def test_the_key_travels_in_the_header_the_service_reads(vendor, style, header, value):
    vendor.require_key = "secret"
    desk = Desk(vendor, OpenAICompatible, secret="secret", quirks=Quirks(auth_header=style))

    desk.ask()
    desk.models()

    assert [request.headers[header] for request in vendor.requests] == [value, value]


def test_without_a_key_no_header_is_sent(openai):
    openai.ask()

    assert not {"authorization", "api-key", "x-api-key"} & openai.vendor.requests[0].headers.keys()


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool"),
        ("function_call", "tool"),
        ("model_length", "length"),
        ("something new", "other"),
    ],
)
def test_the_reason_to_finish_is_translated_and_kept(openai, raw, finish):
    openai.vendor.finish = raw

    reply = openai.ask()

    assert (reply.finish, reply.raw_finish) == (finish, raw)


def test_an_empty_answer_is_a_reply(openai):
    openai.vendor.text = ""

    reply = openai.ask()

    assert (reply.text, reply.finish, reply.attempts) == ("", "stop", 1)


def test_a_refusal_is_a_reply_with_its_words(openai):
    openai.vendor.refusal = "Je ne peux pas vous aider."

    reply = openai.ask()

    assert (reply.text, reply.finish) == ("Je ne peux pas vous aider.", "refusal")


def test_a_prompt_stopped_by_the_vendors_filter_is_a_reply(openai):
    body = {"error": {"message": "filtered", "code": "content_filter", "status": 400}}
    openai.vendor.fail(Fault("status", status=400, body=body))

    reply = openai.ask()

    assert (reply.text, reply.finish, reply.raw_finish) == ("", "content_filter", "content_filter")
    assert (reply.attempts, reply.input_tokens, reply.request_id) == (1, None, "req-fake")


def test_missing_usage_is_unknown_not_zero(openai):
    openai.vendor.usage = False

    reply = openai.ask()

    assert (reply.input_tokens, reply.output_tokens) == (None, None)


def test_an_answer_in_parts_is_joined_without_the_thoughts(openai):
    openai.vendor.text = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hidden"}]},
        {"type": "text", "text": "Bon"},
        {"type": "text", "text": "jour"},
    ]

    assert openai.ask().text == "Bonjour"


def test_a_bare_answer_of_a_small_server_is_enough(openai):
    openai.vendor.payload = {"choices": [{"message": {"content": "oui"}}], "usage": None}

    reply = openai.ask()

    assert (reply.text, reply.finish, reply.model, reply.fingerprint) == (
        "oui",
        "other",
        "model-a",
        None,
    )


def test_a_character_no_database_can_keep_is_replaced(openai):
    openai.vendor.payload = {"choices": [{"message": {"content": "a\0b\ud800"}}]}

    assert openai.ask().text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


def test_models_are_listed_with_their_announced_end(openai):
    openai.vendor.models = ["b", "a"]

    day = datetime.date
    assert openai.models() == [
        ModelInfo("a", "a", created=day(2026, 1, 1), retires=day(2027, 3, 31)),
        ModelInfo("b", "b", created=day(2026, 1, 1), retires=day(2027, 3, 31)),
    ]


@pytest.mark.parametrize(
    ("entry", "retires"),
    [
        ({"id": "m", "deprecation": "2027-01-02T00:00:00Z"}, "2027-01-02"),
        ({"id": "m", "deprecation": {"inference": 1_767_225_600}}, "2026-01-01"),
        ({"id": "m"}, None),
    ],
)
def test_other_services_announce_the_end_elsewhere(openai, entry, retires):
    openai.vendor.payload = {"data": [entry, {"no": "id"}, "nonsense"]}

    [model] = openai.models()

    assert (model.retires.isoformat() if model.retires else None) == retires


def test_a_service_without_a_list_has_no_models(openai):
    openai.vendor.payload = {}

    assert openai.models() == []


def test_a_failing_list_costs_nothing(openai):
    openai.vendor.fail(*[Fault("disconnect")] * 3)

    with pytest.raises(LLMError) as failure:
        openai.models()

    assert (failure.value.attempts, failure.value.maybe_billed) == (3, 0)


def test_a_base_url_with_the_path_of_the_call_is_refused():
    with pytest.raises(InvalidConnection, match="must not contain 'chat/completions'"):
        OpenAICompatible(Wire(None, "https://h/v1/chat/completions"))


def test_quirks_are_read_from_what_is_stored():
    stored = {"auth_header": "api-key", "seed_field": "none"}

    assert Quirks.from_dict(stored) == Quirks(auth_header="api-key", seed_field="none")
    assert Quirks.from_dict({}) == Quirks()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"auth": "bearer"}, "'auth' is not a setting; known: auth_header, max_tokens_field, "),
        ({"auth_header": "digest"}, "auth_header cannot be 'digest'; known: bearer, api-key, "),
        ({"seed_field": []}, "seed_field cannot be "),
    ],
)
def test_an_unknown_quirk_is_named_with_the_known_ones(values, complaint):
    with pytest.raises(InvalidConnection, match=complaint):
        Quirks.from_dict(values)


def test_every_proposed_service_has_a_usable_base_url():
    for base_url, quirks in SERVICES.values():
        assert OpenAICompatible(Wire(None, base_url), quirks).quirks == quirks


# --- Vectors ----------------------------------------------------------------------------------


def test_texts_become_vectors(openai):
    found = openai.embed("Bonjour", "Merci", dimensions=4)

    assert found == Embeddings(
        vectors=(tuple(vector_of("Bonjour")), tuple(vector_of("Merci"))),
        model="model-a-2026-01-01",
        input_tokens=9,
        request_id="req-fake",
        latency_ms=found.latency_ms,
    )
    [sent] = openai.vendor.requests
    assert (sent.method, sent.path) == ("POST", "/v1/embeddings")
    assert sent.body == {"model": "model-a", "input": ["Bonjour", "Merci"], "dimensions": 4}


def test_vectors_are_taken_by_their_index(openai):
    openai.vendor.payload = {
        "data": [{"index": 1, "embedding": [2, 2.5]}, {"index": 0, "embedding": [1, 1.5]}]
    }

    found = openai.embed("a", "b")

    assert found.vectors == ((1.0, 1.5), (2.0, 2.5))
    assert (found.model, found.input_tokens) == ("model-a", None)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [{"embedding": [1.0]}],
        [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}],
        [{"embedding": [1.0]}, {"embedding": ["1.0"]}],
        [{"embedding": [1.0]}, {"embedding": [True]}],
        [{"embedding": [1.0]}, {"embedding": []}],
        [{"embedding": [1.0]}, {"embedding": "AACAPw=="}],
        [{"embedding": [0.0] * 16_385}, {"embedding": [0.0] * 16_385}],
    ],
)
def test_what_is_no_vector_for_each_text_is_refused_and_counted_as_paid(openai, data):
    openai.vendor.payload = {"data": data}

    with pytest.raises(LLMError) as refused:
        openai.embed("a", "b")

    assert (refused.value.kind, refused.value.permanent) == ("bad_reply", True)
    assert (refused.value.attempts, refused.value.maybe_billed) == (1, 1)


@pytest.mark.parametrize("name", ["model", "input", "encoding_format"])
def test_what_the_product_decides_about_vectors_cannot_be_overruled(vendor, name):
    desk = Desk(vendor, OpenAICompatible)
    asked = EmbeddingRequest(("a",), "m", {name: "x"})

    async def once():
        async with HttpClient(desk.policy) as http:
            await desk.provider(http).embed(asked, deadline=time.monotonic() + 30)

    with pytest.raises(LLMError, match=f"{name!r} is set by the product"):
        asyncio.run(once())
    assert vendor.requests == []


def test_vectors_are_asked_for_again_as_answers_are(openai):
    openai.vendor.fail(Fault("status", 503), Fault("truncate"))

    found = openai.embed("a")

    assert (found.attempts, found.maybe_billed, len(openai.waits)) == (3, 1, 2)


def test_anthropic_has_no_vectors_and_is_not_asked(anthropic):
    with pytest.raises(LLMError, match="no embeddings") as refused:
        anthropic.embed("a")

    assert (refused.value.kind, anthropic.vendor.requests) == ("bad_request", [])
