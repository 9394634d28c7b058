"""The messages dialect of Anthropic, and of the gateways that speak it.

The base URL follows the rule of `kb.llm.wire.Wire`: used as given, ``messages`` appended; it
therefore ends in ``/v1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

DEFAULT_BASE_URL = "https://api.anthropic.com/v1"
PATH = "messages"
DEFAULT_MAX_TOKENS = 4096
"""The API refuses a request without a limit; this one holds some six pages of text."""
MODELS_PAGE = 1000
"""The most the API gives at once, far more than exist."""
RESERVED_PARAMETERS = frozenset({"model", "messages", "system", "stream"})

_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "tool_use": "tool",
}
_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a connection may choose.

    ``api_version``: 2023-06-01 still takes temperature, top_p and top_k (from the models that know
    them) and is what gateways speak; 2026-10-21 refuses these parameters. ``auth_header``: how the
    key travels; gateways may read "bearer" only.
    """

    api_version: Literal["2023-06-01", "2026-10-21"] = "2023-06-01"
    auth_header: Literal["x-api-key", "bearer"] = "x-api-key"

    @classmethod
    def from_dict(cls, values: Mapping[str, JSON]) -> Self:
        """Read stored settings. Raises InvalidConnection naming the quirk and the known values."""
        return read_quirks(cls, values)


@dataclass(frozen=True, slots=True)
class Anthropic:
    """A `Provider` for one connection."""

    wire: Wire
    quirks: Quirks = Quirks()

    def __post_init__(self) -> None:
        if self.wire.url("").rstrip("/").endswith(f"/{PATH}"):
            raise InvalidConnection(
                f"The base URL must not contain {PATH!r}; it is appended to it."
            )

    async def complete(
        self, request: Request, *, deadline: float, gate: Gate | None = None
    ) -> Reply:
        """See `Provider.complete`."""
        exchange = await self.wire.post(
            PATH, headers=self._headers(), body=_body(request), deadline=deadline, gate=gate
        )
        return _reply(exchange, request, self.wire.base_url)

    async def embed(
        self, request: EmbeddingRequest, *, deadline: float, gate: Gate | None = None
    ) -> Embeddings:
        """Always refused: this dialect has no embeddings."""
        raise LLMError(
            "bad_request",
            "This dialect has no embeddings; choose a model of an OpenAI-compatible connection.",
            permanent=True,
        )

    async def models(self) -> list[ModelInfo]:
        """See `Provider.models`."""
        exchange = await self.wire.get(
            "models", headers=self._headers(), query={"limit": str(MODELS_PAGE)}
        )
        found = {
            model_id: ModelInfo(
                id=model_id,
                name=name_or_none(entry.get("display_name")) or model_id,
                created=day_or_none(entry.get("created_at")),
                retires=day_or_none(entry.get("retires_at")),
            )
            for entry in items(exchange.payload.get("data"))[:MAX_MODELS]
            if (model_id := name_or_none(entry.get("id")))
        }
        return [found[model_id] for model_id in sorted(found)]

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {"anthropic-version": self.quirks.api_version}
        if self.wire.secret and self.quirks.auth_header == "bearer":
            headers["authorization"] = f"Bearer {self.wire.secret}"
        elif self.wire.secret:
            headers["x-api-key"] = self.wire.secret
        return headers


def _body(request: Request) -> dict[str, object]:
    reserved = sorted(RESERVED_PARAMETERS & request.parameters.keys())
    if reserved:
        raise LLMError(
            "bad_request",
            f"The parameter {reserved[0]!r} is set by the product; remove it from the parameters.",
            permanent=True,
        )
    system = "\n\n".join(
        message.content for message in request.messages if message.role == "system"
    )
    body: dict[str, object] = {
        "model": request.model,
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [
            {"role": message.role, "content": message.content}
            for message in request.messages
            if message.role != "system"
        ],
        **request.parameters,
    }
    return body | ({"system": system} if system else {})


def _reply(exchange: Exchange, request: Request, place: str) -> Reply:
    payload = exchange.payload
    content = payload.get("content")
    if not isinstance(content, list):
        raise bad_reply(
            place,
            "the list content is missing",
            exchange.request_id,
            attempts=exchange.attempts,
            maybe_billed=exchange.maybe_billed + 1,
        )
    usage = payload.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    raw_finish = name_or_none(payload.get("stop_reason"))
    return Reply(
        text=_text(content),
        finish=_FINISH.get(raw_finish or "", "other"),
        model=name_or_none(payload.get("model")) or request.model,
        fingerprint=None,
        input_tokens=_input_tokens(counts),
        output_tokens=count_or_none(counts.get("output_tokens")),
        request_id=exchange.request_id,
        latency_ms=exchange.latency_ms,
        raw_finish=raw_finish,
        attempts=exchange.attempts,
        maybe_billed=exchange.maybe_billed,
    )


def _text(content: JSON) -> str:
    parts = [block.get("text") for block in items(content) if block.get("type") == "text"]
    return storable("".join(part for part in parts if isinstance(part, str)))


def _input_tokens(counts: Mapping[str, JSON]) -> int | None:
    """All input, cached or not: the API counts the cached part apart, others do not."""
    if count_or_none(counts.get("input_tokens")) is None:
        return None
    return sum(count_or_none(counts.get(name)) or 0 for name in _INPUT_COUNTS)
