"""The chat completions dialect: OpenAI and the many services that speak it as well.

Azure (v1), Mistral, Gemini's compatible endpoint, Ollama, vLLM, LM Studio, llama.cpp and most
gateways differ in a few habits, named in `Quirks`. The base URL follows the rule of
`kb.llm.wire.Wire`: used as given, ``chat/completions`` or ``embeddings`` appended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, Self

from kb.llm.base import (
    JSON,
    EmbeddingRequest,
    Embeddings,
    Finish,
    Gate,
    LLMError,
    ModelInfo,
    Reply,
    Request,
)
from kb.llm.wire import (
    MAX_MODELS,
    Exchange,
    InvalidConnection,
    Wire,
    bad_reply,
    count_or_none,
    day_or_none,
    items,
    name_or_none,
    read_quirks,
    storable,
)

DEFAULT_BASE_URL = "https://api.openai.com/v1"
PATH = "chat/completions"
RESERVED_PARAMETERS = frozenset({"model", "messages", "stream", "stream_options", "n"})
"""What the product decides itself: one whole answer to the messages of the prompt."""
EMBEDDINGS_PATH = "embeddings"
RESERVED_FOR_EMBEDDINGS = frozenset({"model", "input", "encoding_format"})
"""Likewise: the texts, and vectors as lists of numbers, which every service sends unasked."""
MOST_DIMENSIONS = 16_384
"""Of a vector; the longest of today have 4,096."""

_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
    "tool_calls": "tool",
    "function_call": "tool",
}


@dataclass(frozen=True, slots=True)
class Quirks:
    """The habits of one service.

    ``auth_header``: how the key travels. ``max_tokens_field``: the name under which the parameter
    ``max_tokens`` is sent. ``seed_field``: likewise for ``seed``; "none" leaves it out.
    """

    auth_header: Literal["bearer", "api-key", "x-api-key"] = "bearer"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed_field: Literal["seed", "random_seed", "none"] = "seed"

    @classmethod
    def from_dict(cls, values: Mapping[str, JSON]) -> Self:
        """Read stored settings. Raises InvalidConnection naming the quirk and the known values."""
        return read_quirks(cls, values)


SERVICES: Mapping[str, tuple[str, Quirks]] = {
    "openai": (DEFAULT_BASE_URL, Quirks(max_tokens_field="max_completion_tokens")),
    "azure": (
        "https://NAME.openai.azure.com/openai/v1",
        Quirks(auth_header="api-key", max_tokens_field="max_completion_tokens"),
    ),
    "mistral": ("https://api.mistral.ai/v1", Quirks(seed_field="random_seed")),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", Quirks()),
    "ollama": ("http://localhost:11434/v1", Quirks()),
    "vllm": ("http://localhost:8000/v1", Quirks()),
    "lmstudio": ("http://localhost:1234/v1", Quirks()),
}
"""Base URL and habits to propose when a person names the service."""


@dataclass(frozen=True, slots=True)
class OpenAICompatible:
    """A `Provider` for one connection."""

    wire: Wire
    quirks: Quirks = Quirks()

    def __post_init__(self) -> None:
        if self.wire.url("").rstrip("/").endswith(PATH):
            raise InvalidConnection(
                f"The base URL must not contain {PATH!r}; it is appended to it."
            )

    async def complete(
        self, request: Request, *, deadline: float, gate: Gate | None = None
    ) -> Reply:
        """See `Provider.complete`."""
        body = self._body(request)
        try:
            exchange = await self.wire.post(
                PATH, headers=self._headers(), body=body, deadline=deadline, gate=gate
            )
        except LLMError as error:
            if error.kind == "bad_request" and error.code == "content_filter":
                return _filtered(request, error)
            raise
        return _reply(exchange, request, self.wire.base_url)

    async def embed(
        self, request: EmbeddingRequest, *, deadline: float, gate: Gate | None = None
    ) -> Embeddings:
        """See `Provider.embed`."""
        _refuse_reserved(request.parameters, RESERVED_FOR_EMBEDDINGS)
        body = {"model": request.model, "input": list(request.texts), **request.parameters}
        exchange = await self.wire.post(
            EMBEDDINGS_PATH, headers=self._headers(), body=body, deadline=deadline, gate=gate
        )
        return _embeddings(exchange, request, self.wire.base_url)

    async def models(self) -> list[ModelInfo]:
        """See `Provider.models`."""
        exchange = await self.wire.get("models", headers=self._headers())
        found = {
            model_id: ModelInfo(
                id=model_id,
                name=name_or_none(entry.get("name")) or model_id,
                created=day_or_none(entry.get("created")),
                retires=_retires(entry),
            )
            for entry in items(exchange.payload.get("data"))[:MAX_MODELS]
            if (model_id := name_or_none(entry.get("id")))
        }
        return [found[model_id] for model_id in sorted(found)]

    def _headers(self) -> dict[str, str]:
        secret = self.wire.secret
        if not secret:
            return {}
        if self.quirks.auth_header == "bearer":
            return {"authorization": f"Bearer {secret}"}
        return {self.quirks.auth_header: secret}

    def _body(self, request: Request) -> dict[str, object]:
        parameters = dict(request.parameters)
        _refuse_reserved(parameters, RESERVED_PARAMETERS)
        for name, wanted in (
            ("max_tokens", self.quirks.max_tokens_field),
            ("seed", self.quirks.seed_field),
        ):
            if name in parameters and wanted != name:
                value = parameters.pop(name)
                if wanted != "none":
                    parameters.setdefault(wanted, value)
        return {
            "model": request.model,
            "messages": [
                {"role": message.role, "content": message.content} for message in request.messages
            ],
            **parameters,
        }


def _retires(entry: Mapping[str, JSON]) -> date | None:
    """The announced end of a model: OpenAI, Mistral and Azure each write it in another place."""
    deprecation = entry.get("deprecation")
    if isinstance(deprecation, dict):
        deprecation = deprecation.get("inference")
    return day_or_none(entry.get("shutdown_date")) or day_or_none(deprecation)


def _refuse_reserved(parameters: Mapping[str, JSON], names: frozenset[str]) -> None:
    reserved = sorted(names & parameters.keys())
    if reserved:
        raise LLMError(
            "bad_request",
            f"The parameter {reserved[0]!r} is set by the product; remove it from the parameters.",
            permanent=True,
        )


def _reply(exchange: Exchange, request: Request, place: str) -> Reply:
    payload = exchange.payload
    choices = items(payload.get("choices"))
    message = choices[0].get("message") if choices else None
    if not isinstance(message, dict):
        raise bad_reply(
            place,
            "choices[0].message is missing",
            exchange.request_id,
            attempts=exchange.attempts,
            maybe_billed=exchange.maybe_billed + 1,
        )
    usage = payload.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    raw_finish = name_or_none(choices[0].get("finish_reason"))
    text = _text(message.get("content"))
    finish = _FINISH.get(raw_finish or "", "other")
    refusal = _text(message.get("refusal"))
    if refusal and not text:
        text, finish = refusal, "refusal"
    return Reply(
        text=text,
        finish=finish,
        model=name_or_none(payload.get("model")) or request.model,
        fingerprint=name_or_none(payload.get("system_fingerprint")),
        input_tokens=count_or_none(counts.get("prompt_tokens")),
        output_tokens=count_or_none(counts.get("completion_tokens")),
        request_id=exchange.request_id,
        latency_ms=exchange.latency_ms,
        raw_finish=raw_finish,
        attempts=exchange.attempts,
        maybe_billed=exchange.maybe_billed,
    )


def _embeddings(exchange: Exchange, request: EmbeddingRequest, place: str) -> Embeddings:
    payload = exchange.payload
    vectors = [_vector(entry.get("embedding")) for entry in _in_order(items(payload.get("data")))]
    lengths = {len(vector) for vector in vectors if vector is not None}
    if len(vectors) != len(request.texts) or None in vectors or len(lengths) != 1:
        raise bad_reply(
            place,
            "data does not hold one list of numbers for each text",
            exchange.request_id,
            attempts=exchange.attempts,
            maybe_billed=exchange.maybe_billed + 1,
        )
    usage = payload.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Embeddings(
        vectors=tuple(vector for vector in vectors if vector is not None),
        model=name_or_none(payload.get("model")) or request.model,
        input_tokens=count_or_none(counts.get("prompt_tokens")),
        request_id=exchange.request_id,
        latency_ms=exchange.latency_ms,
        attempts=exchange.attempts,
        maybe_billed=exchange.maybe_billed,
    )


def _in_order(entries: list[dict[str, JSON]]) -> list[dict[str, JSON]]:
    """Sorted by the index each entry carries; as they came where one carries none."""
    places = [count_or_none(entry.get("index")) for entry in entries]
    if None in places or len(set(places)) != len(places):
        return entries
    return [entry for _place, entry in sorted(zip(places, entries, strict=True), key=_first)]


def _first(pair: tuple[int | None, dict[str, JSON]]) -> int:
    return pair[0] or 0


def _vector(value: JSON) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_DIMENSIONS:
        return None
    numbers = [
        float(number)
        for number in value
        if isinstance(number, int | float) and not isinstance(number, bool)
    ]
    is_whole = len(numbers) == len(value) and all(map(math.isfinite, numbers))
    return tuple(numbers) if is_whole else None


def _text(content: JSON) -> str:
    """The answer; reasoning models of some services send it as a list of parts."""
    if isinstance(content, str):
        return storable(content)
    parts = [part.get("text") for part in items(content) if part.get("type") == "text"]
    return storable("".join(part for part in parts if isinstance(part, str)))


def _filtered(request: Request, error: LLMError) -> Reply:
    """Azure reports a prompt its filter stopped as a 400; for us that is how the model behaves."""
    return Reply(
        text="",
        finish="content_filter",
        model=request.model,
        fingerprint=None,
        input_tokens=None,
        output_tokens=None,
        request_id=error.request_id,
        latency_ms=0,
        raw_finish=error.code,
        attempts=error.attempts,
        maybe_billed=error.maybe_billed,
    )
