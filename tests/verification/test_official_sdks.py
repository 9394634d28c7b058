"""The vendors' own clients read from our fakes what our adapters read, so the fakes stay honest.

Two servers are compared: tests.fakes.FakeVendor, which the other tests lean on, and the replay
server, which serves answers that GPT-3.5 and GPT-4 really gave.
"""

import asyncio
import csv
import json
import re
import subprocess
import sys
import urllib.request

import anthropic
import openai
import pytest

from kb.core.http import EgressPolicy, HttpClient
from kb.llm.anthropic import Anthropic, Quirks
from kb.llm.base import (
    ApiKey,
    EmbeddingRequest,
    LLMError,
    Message,
    Request,
    RetryPolicy,
    host_of,
)
from kb.llm.openai_compatible import OpenAICompatible
from kb.llm.wire import Wire
from tests.fakes import FakeVendor, Fault
from tests.shared_data import shared_path

SNAPSHOT = "openaichat/gpt-4-0314"
KEY = "sk-test"
MESSAGES = [{"role": "user", "content": "Bonjour"}]
SECONDS = 30.0


def run(adapter, url, question, *, retry=None):
    """What ``question`` gets from our adapter at this address."""

    async def once():
        async with HttpClient(EgressPolicy.parse("127.0.0.1")) as http:
            wire = Wire(
                http, url, ApiKey(KEY, host_of(url)), retry=retry or RetryPolicy(attempts=1)
            )
            return await question(adapter(wire))

    return asyncio.run(once())


def ask(adapter, url, *, text="Bonjour", model="model-a", retry=None, **parameters):
    request = Request((Message("user", text),), model, parameters)

    async def complete(provider):
        deadline = provider.wire.clock() + SECONDS
        return await provider.complete(request, deadline=deadline)

    return run(adapter, url, complete, retry=retry)


def embed(adapter, url, texts, *, model="model-a"):
    request = EmbeddingRequest(tuple(texts), model)

    async def vectors(provider):
        return await provider.embed(request, deadline=provider.wire.clock() + SECONDS)

    return run(adapter, url, vectors)


def list_models(adapter, url):
    return run(adapter, url, lambda provider: provider.models())


def openai_client(url, retries=0):
    return openai.OpenAI(api_key=KEY, base_url=url, max_retries=retries, timeout=SECONDS)


def anthropic_client(url, retries=0):
    base_url = url.removesuffix("/v1")  # this client appends /v1 itself
    return anthropic.Anthropic(api_key=KEY, base_url=base_url, max_retries=retries, timeout=SECONDS)


def read_by_openai(answer):
    choice = answer.choices[0]
    return (
        choice.message.content,
        choice.finish_reason,
        answer.model,
        answer.system_fingerprint,
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


def read_by_us(reply):
    return (
        reply.text,
        reply.raw_finish,
        reply.model,
        reply.fingerprint,
        reply.input_tokens,
        reply.output_tokens,
    )


@pytest.fixture
def vendor():
    with FakeVendor() as server:
        server.require_key = KEY
        yield server


# --- the fake ----------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_openais_client_reads_from_the_fake_what_we_read(vendor, finish):
    vendor.finish = finish

    theirs = openai_client(vendor.url).chat.completions.create(
        model="model-a", messages=MESSAGES, temperature=0.2, max_tokens=50
    )
    ours = ask(OpenAICompatible, vendor.url, temperature=0.2, max_tokens=50)

    assert read_by_openai(theirs) == read_by_us(ours)
    assert theirs._request_id == ours.request_id


def test_openais_client_sends_what_we_send(vendor):
    openai_client(vendor.url).chat.completions.create(
        model="model-a", messages=MESSAGES, temperature=0.2, max_tokens=50
    )
    ask(OpenAICompatible, vendor.url, temperature=0.2, max_tokens=50)

    theirs, ours = vendor.requests
    assert (theirs.method, theirs.path, theirs.body) == (ours.method, ours.path, ours.body)
    for name in ("authorization", "content-type"):
        assert theirs.headers[name] == ours.headers[name]


def test_openais_client_reads_a_refusal_where_we_read_it(vendor):
    vendor.refusal = "Je ne peux pas."

    theirs = openai_client(vendor.url).chat.completions.create(model="m", messages=MESSAGES)
    ours = ask(OpenAICompatible, vendor.url)

    assert (theirs.choices[0].message.content, theirs.choices[0].message.refusal) == (
        None,
        ours.text,
    )


def test_openais_client_reads_the_vectors_we_read(vendor):
    texts = ["Bonjour", "Merci"]

    theirs = openai_client(vendor.url).embeddings.create(model="model-a", input=texts)
    ours = embed(OpenAICompatible, vendor.url, texts)

    assert [tuple(entry.embedding) for entry in theirs.data] == list(ours.vectors)
    assert (theirs.model, theirs.usage.prompt_tokens) == (ours.model, ours.input_tokens)
    first, second = vendor.requests
    assert (first.method, first.path) == (second.method, second.path)
    # The client asks for base64 by itself; without being asked the services send numbers.
    assert first.body == {**second.body, "encoding_format": "base64"}


def test_openais_client_lists_the_models_we_list(vendor):
    theirs = openai_client(vendor.url).models.list().data
    ours = list_models(OpenAICompatible, vendor.url)

    assert [(m.id, m.shutdown_date) for m in theirs] == [
        (m.id, m.retires.isoformat()) for m in ours
    ]


@pytest.mark.parametrize("stop_reason", ["end_turn", "max_tokens", "refusal"])
def test_anthropics_client_reads_from_the_fake_what_we_read(vendor, stop_reason):
    vendor.finish = stop_reason

    theirs = anthropic_client(vendor.url).messages.create(
        model="model-a", messages=MESSAGES, max_tokens=50
    )
    ours = ask(Anthropic, vendor.url, max_tokens=50)

    usage = theirs.usage
    read_by_anthropic = (
        "".join(block.text for block in theirs.content),
        theirs.stop_reason,
        theirs.model,
        None,
        usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens,
        usage.output_tokens,
    )
    assert read_by_anthropic == read_by_us(ours)
    assert theirs._request_id == ours.request_id


def test_anthropics_client_sends_what_we_send(vendor):
    """That client speaks the newest version; a connection is set to it in its quirks."""
    anthropic_client(vendor.url).messages.create(
        model="model-a", messages=MESSAGES, max_tokens=50, system="Sois bref."
    )
    request = Request(
        (Message("system", "Sois bref."), Message("user", "Bonjour")), "model-a", {"max_tokens": 50}
    )
    newest = Quirks(api_version="2026-10-21", auth_header="bearer")
    run(
        lambda wire: Anthropic(wire, newest),
        vendor.url,
        lambda provider: provider.complete(request, deadline=provider.wire.clock() + SECONDS),
    )

    theirs, ours = vendor.requests
    assert (theirs.method, theirs.path, theirs.body) == (ours.method, ours.path, ours.body)
    for name in ("authorization", "anthropic-version", "content-type"):
        assert theirs.headers[name] == ours.headers[name]


def test_anthropics_client_lists_the_models_we_list(vendor):
    theirs = list(anthropic_client(vendor.url).models.list(limit=1000))
    ours = list_models(Anthropic, vendor.url)

    assert [(m.id, m.display_name, m.retires_at.date()) for m in theirs] == [
        (m.id, m.name, m.retires) for m in ours
    ]


@pytest.mark.parametrize(
    ("status", "theirs", "kind"),
    [
        (400, "BadRequestError", "bad_request"),
        (401, "AuthenticationError", "auth"),
        (403, "PermissionDeniedError", "auth"),
        (404, "NotFoundError", "not_found"),
        (422, "UnprocessableEntityError", "bad_request"),
        (429, "RateLimitError", "rate_limit"),
        (500, "InternalServerError", "server"),
    ],
)
def test_both_clients_raise_where_we_raise(vendor, status, theirs, kind):
    vendor.fail(*[Fault("status", status=status)] * 4)

    with pytest.raises(getattr(openai, theirs)) as from_openai:
        openai_client(vendor.url).chat.completions.create(model="m", messages=MESSAGES)
    with pytest.raises(getattr(anthropic, theirs)) as from_anthropic:
        anthropic_client(vendor.url).messages.create(model="m", messages=MESSAGES, max_tokens=5)
    ours = []
    for adapter in (OpenAICompatible, Anthropic):
        with pytest.raises(LLMError) as failure:
            ask(adapter, vendor.url)
        ours.append((failure.value.kind, failure.value.status, failure.value.request_id))

    assert from_openai.value.request_id == from_anthropic.value.request_id == "req-fake"
    assert ours == [(kind, status, "req-fake")] * 2


@pytest.mark.parametrize("status", [429, 500, 503, 529, 408, 409])
def test_both_clients_repeat_what_we_repeat(vendor, status):
    now = {"retry-after-ms": "1"}
    vendor.fail(*[Fault("status", status=status, headers=now)] * 2)
    openai_client(vendor.url, retries=2).chat.completions.create(model="m", messages=MESSAGES)
    by_openai = len(vendor.requests)

    vendor.fail(*[Fault("status", status=status, headers=now)] * 2)
    anthropic_client(vendor.url, retries=2).messages.create(
        model="m", messages=MESSAGES, max_tokens=5
    )
    by_anthropic = len(vendor.requests) - by_openai

    vendor.fail(*[Fault("status", status=status, headers=now)] * 2)
    ours = ask(OpenAICompatible, vendor.url, retry=RetryPolicy(attempts=3))

    assert (by_openai, by_anthropic, ours.attempts) == (3, 3, 3)


# --- recorded answers of real models -----------------------------------------------------------


@pytest.fixture(scope="module")
def replay():
    """The replay server in a process of its own; yields its base URL and a way to control it."""
    recordings = shared_path("data", "llmdrift", "prime.csv")
    process = subprocess.Popen(
        [
            sys.executable,
            str(shared_path("tools", "replay_server.py")),
            "--csv",
            str(recordings),
            "--port",
            "0",
            "--snapshot",
            SNAPSHOT,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while "replaying on" not in said:
            said = process.stderr.readline()
            assert said, "the replay server ended before it was ready"
        url = re.search(r"http://\S+/v1", said)[0]
        yield url, lambda state: control(url, state)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def control(url, state):
    request = urllib.request.Request(
        url.removesuffix("/v1") + "/control",
        data=json.dumps(state).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def questions():
    with shared_path("data", "llmdrift", "prime.csv").open(newline="", encoding="utf-8") as file:
        return list(
            dict.fromkeys(row["query"] for row in csv.DictReader(file) if row["model"] == SNAPSHOT)
        )[:5]


@pytest.fixture
def replay_url(replay):
    url, set_state = replay
    set_state({"faults": [], "reveal": "silent", "require_key": KEY})
    return url


def test_openais_client_reads_real_answers_as_we_do(replay_url, questions):
    client = openai_client(replay_url)

    theirs = [
        read_by_openai(
            client.chat.completions.create(
                model="gpt-4", messages=[{"role": "user", "content": question}]
            )
        )
        for question in questions
    ]
    ours = [
        read_by_us(ask(OpenAICompatible, replay_url, text=question, model="gpt-4"))
        for question in questions
    ]

    assert len(theirs) == 5
    assert theirs == ours
    assert all("Yes" in text or "No" in text for text, *_ in ours)


def test_openais_client_lists_the_recorded_models_as_we_do(replay_url):
    theirs = sorted(model.id for model in openai_client(replay_url).models.list().data)

    assert [model.id for model in list_models(OpenAICompatible, replay_url)] == theirs
    assert SNAPSHOT in theirs


@pytest.mark.parametrize(
    ("fault", "theirs", "kind", "maybe_billed"),
    [
        ({"kind": "http401"}, openai.AuthenticationError, "auth", 0),
        ({"kind": "http429", "retry_after": 0}, openai.RateLimitError, "rate_limit", 0),
        ({"kind": "http500"}, openai.InternalServerError, "server", 0),
        ({"kind": "http503"}, openai.InternalServerError, "overloaded", 0),
        ({"kind": "disconnect"}, openai.APIConnectionError, "truncated", 1),
        ({"kind": "truncate"}, (openai.OpenAIError, ValueError), "truncated", 1),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else None,
)
def test_every_fault_of_the_replay_server_is_a_failure_for_both(
    replay, replay_url, questions, fault, theirs, kind, maybe_billed
):
    replay[1]({"faults": [fault]})

    with pytest.raises(theirs):
        openai_client(replay_url).chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": questions[0]}]
        )
    with pytest.raises(LLMError) as failure:
        ask(OpenAICompatible, replay_url, text=questions[0], model="gpt-4")

    assert (failure.value.kind, failure.value.maybe_billed) == (kind, maybe_billed)


@pytest.mark.parametrize(
    ("kind", "finish"), [("empty", "stop"), ("length", "length"), ("refusal", "stop")]
)
def test_odd_behaviour_is_an_answer_for_both(replay, replay_url, questions, kind, finish):
    replay[1]({"faults": [{"kind": kind}]})

    theirs = openai_client(replay_url).chat.completions.create(
        model="gpt-4", messages=[{"role": "user", "content": questions[0]}]
    )
    ours = ask(OpenAICompatible, replay_url, text=questions[0], model="gpt-4")

    assert read_by_openai(theirs) == read_by_us(ours)
    assert ours.finish == finish


def test_a_retired_model_is_not_found_by_both(replay, replay_url, questions):
    replay[1]({"deprecated": ["gpt-4-retired"]})

    with pytest.raises(openai.NotFoundError):
        openai_client(replay_url).chat.completions.create(model="gpt-4-retired", messages=MESSAGES)
    with pytest.raises(LLMError, match="has been deprecated or does not exist") as failure:
        ask(OpenAICompatible, replay_url, text=questions[0], model="gpt-4-retired")

    assert (failure.value.kind, failure.value.permanent) == ("not_found", True)
