"""What the rest of the product may know about a language model. Pure: no Django, no HTTP.

A `Provider` turns a `Request` into a `Reply` or raises `LLMError`. An empty answer, a refusal and
an answer cut at the length limit are replies: the model did behave in that way. An error means
that no behaviour was seen.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, Protocol
from urllib.parse import urlsplit

type JSON = bool | int | float | str | list[JSON] | dict[str, JSON] | None
type Role = Literal["system", "user", "assistant"]
type Finish = Literal["stop", "length", "refusal", "content_filter", "tool", "other"]
type ErrorKind = Literal[
    "auth",
    "not_found",
    "bad_request",
    "too_long",
    "rate_limit",
    "overloaded",
    "server",
    "timeout",
    "connect",
    "truncated",
    "bad_reply",
    "egress",
    "cancelled",
    "rate_limited",
    "unavailable",
    "over_budget",
]
type Gate = Callable[[int], Awaitable[None]]
"""Awaited before each attempt with its number, 1 for the first. Raising LLMError("cancelled")
stops the call before anything leaves: the place for a kill switch and for reserving money."""

STOPPING_KINDS: frozenset[ErrorKind] = frozenset(
    {"auth", "not_found", "egress", "cancelled", "over_budget"}
)
"""Errors that will meet every further call to the same model as well, so none is made."""
DEFAULT_PORTS = {"http": 80, "https": 443}
_PLAIN_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that is sent."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. ``parameters`` (temperature, max_tokens, …) travel verbatim to the vendor."""

    messages: tuple[Message, ...]
    model: str
    parameters: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model.

    ``model`` and ``fingerprint`` are what the vendor says it used; token counts are None when the
    vendor did not give them; ``latency_ms`` is the successful attempt alone; ``attempts`` counts
    every request sent for this answer and ``maybe_billed`` those of them, before the last, whose
    outcome is unknown and that may have been charged as well.
    """

    text: str
    finish: Finish
    model: str
    fingerprint: str | None
    input_tokens: int | None
    output_tokens: int | None
    request_id: str | None
    latency_ms: int
    raw_finish: str | None
    attempts: int = 1
    maybe_billed: int = 0


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to be turned into vectors by one model. ``parameters`` travel verbatim to the vendor."""

    texts: tuple[str, ...]
    model: str
    parameters: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text, in their order, all of one length; the rest is as in `Reply`.

    Vendors charge for what is read alone, so ``output_tokens`` is 0.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: str
    input_tokens: int | None
    request_id: str | None = None
    latency_ms: int = 0
    attempts: int = 1
    maybe_billed: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model a connection offers. ``retires`` is the day the vendor announced for its end."""

    id: str
    name: str
    created: date | None = None
    retires: date | None = None


class LLMError(Exception):
    """The model was not heard.

    ``kind`` is for programs and for wording; ``message`` is technical detail in English that
    never contains a key. ``permanent`` says that the same request will fail again until somebody
    changes something. ``attempts`` counts the requests that were started, ``maybe_billed`` those
    of them whose outcome is unknown (a time-out after sending, an answer that broke off), which a
    budget has to count as spent. ``retry_after`` is the vendor's wish, in seconds; ``code`` its own
    name for what went wrong.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        permanent: bool,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        code: str = "",
        attempts: int = 0,
        maybe_billed: int = 0,
    ) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message
        self.permanent = permanent
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.code = code
        self.attempts = attempts
        self.maybe_billed = maybe_billed


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A secret and the host (`host_of`) it was entered for; it is never sent to another one."""

    secret: str = field(repr=False)
    host: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently one call is repeated. Times in seconds.

    ``attempts`` counts the first one. The wait doubles from ``first_wait``; no wait, the vendor's
    wish included, is longer than ``max_wait``. ``attempt_timeout`` bounds each attempt, so that
    one hung request leaves time for another.
    """

    attempts: int = 3
    first_wait: float = 1.0
    max_wait: float = 30.0
    attempt_timeout: float = 120.0

    def wait_before(self, attempt: int, retry_after: float | None, rng: random.Random) -> float:
        """Seconds to wait before ``attempt`` (2 is the first repetition).

        The vendor's wish is followed to the second. Without one, a random wait between half and
        the whole of the doubling step, so that calls that failed together do not return together.
        """
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.max_wait)
        step = min(self.first_wait * 2.0 ** (attempt - 2), self.max_wait)
        return step * rng.uniform(0.5, 1.0)


class Provider(Protocol):
    """Code that talks to one vendor's API."""

    async def complete(
        self, request: Request, *, deadline: float, gate: Gate | None = None
    ) -> Reply:
        """Ask once, repeating what may succeed when repeated, until ``deadline``.

        ``deadline`` is an instant of the provider's clock (``time.monotonic()`` unless another
        one was passed in); nothing goes on after it, waits included. Raises LLMError.
        """
        ...

    async def embed(
        self, request: EmbeddingRequest, *, deadline: float, gate: Gate | None = None
    ) -> Embeddings:
        """The vectors of some texts, in one call; the rest is as in `complete`."""
        ...

    async def models(self) -> list[ModelInfo]:
        """The models this connection may use, sorted by id. Raises LLMError."""
        ...


def host_of(url: str) -> str:
    """``host:port`` of an address, in the spelling `ApiKey` binds a key to.

    Raises ValueError when the address is not http(s) or names no host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    # A spelling that two parsers could read differently would send the key elsewhere.
    if parts.scheme not in DEFAULT_PORTS or not _PLAIN_HOST.fullmatch(parts.netloc):
        raise ValueError(
            f"{url!r} is not the address of a service. Write it like https://api.example.com/v1, "
            f"without a user name and without special characters in the host."
        )
    return f"{parts.hostname}:{port or DEFAULT_PORTS[parts.scheme]}"
