"""One call over HTTP, with its repetitions: what the adapters of all vendors have in common.

Only this module repeats a model call. It repeats what may go better: a vendor that asks to slow
down (429), a server at fault (5xx, 529), a connection that failed, a time-out, an answer that broke
off or is not JSON. It never repeats a refusal, a wrong key or a wrong request.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import get_args, get_type_hints
from urllib.parse import urlencode, urlsplit, urlunsplit

from kb.core.http import HttpClient, HttpError, HttpResponse
from kb.llm.base import JSON, ApiKey, ErrorKind, Gate, LLMError, RetryPolicy, host_of

MODELS_SECONDS = 30.0
"""A list of models is asked for while a person waits."""
MAX_MODELS = 2_000
MAX_MESSAGE_LENGTH = 500
"""Of a vendor's error text; the longest useful ones name one parameter and its allowed values."""
MAX_NAME_LENGTH = 120
"""Of a model, a fingerprint, a request id; the longest real ones have some 80 characters."""

_KINDS: Mapping[int, tuple[ErrorKind, bool]] = {
    400: ("bad_request", True),
    401: ("auth", True),
    402: ("auth", True),
    403: ("auth", True),
    404: ("not_found", True),
    405: ("not_found", True),
    408: ("timeout", False),
    409: ("overloaded", False),
    413: ("too_long", True),
    421: ("not_found", True),
    422: ("bad_request", True),
    425: ("overloaded", False),
    429: ("rate_limit", False),
    503: ("overloaded", False),
    504: ("timeout", False),
    529: ("overloaded", False),
}
_TRANSPORT_KINDS: Mapping[str, tuple[ErrorKind, bool]] = {
    "bad_url": ("not_found", True),
    "bad_header": ("auth", True),
    "refused": ("egress", True),
    "dns": ("connect", False),
    "connect": ("connect", False),
    "tls": ("connect", True),
    "timeout": ("timeout", False),
    "truncated": ("truncated", False),
    "too_large": ("bad_reply", True),
    "redirect": ("not_found", True),
}
_NEVER_STARTED = frozenset({"bad_url", "bad_header", "refused"})
_OUT_OF_CREDIT = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)
"""Codes of a used-up allowance, which some vendors report as a 429 and others as a 400."""
_TOO_LONG = re.compile(
    r"context.?(length|window)|maximum context|too long|too many (input )?tokens", re.IGNORECASE
)
_ABOUT_THE_MODEL = re.compile(r"\bmodel\b|model_not_found|deployment", re.IGNORECASE)
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id")


class InvalidConnection(ValueError):
    """The settings of a connection cannot work; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A 200 answer that is a JSON object, and what it took to get it."""

    payload: dict[str, JSON]
    request_id: str | None
    latency_ms: int
    attempts: int = 1
    maybe_billed: int = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """One request as it is sent, perhaps several times."""

    method: str
    url: str
    headers: Mapping[str, str]
    deadline: float
    content: bytes = b""
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """How one connection talks: its address, key, patience, and everything a test replaces.

    Rule of the base URL: it is used as given, a slash at the end or not, its query kept, and the
    path of the call is appended. Most vendors' base URL therefore ends in ``/v1``.
    """

    http: HttpClient
    base_url: str
    key: ApiKey | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        try:
            host = host_of(self.base_url)
        except ValueError as error:
            raise InvalidConnection(str(error)) from error
        if self.key and self.key.host != host:
            raise InvalidConnection(
                f"The stored key was entered for {self.key.host}, but the address now leads to "
                f"{host}. Enter the key again to use it there."
            )

    @property
    def secret(self) -> str:
        """The key in clear, empty when there is none; for the header of a request only."""
        return self.key.secret if self.key else ""

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The address of one call, by the rule of the base URL."""
        parts = urlsplit(self.base_url)
        return urlunsplit(
            parts._replace(
                path=f"{parts.path.rstrip('/')}/{path}",
                query="&".join(filter(None, (parts.query, urlencode(query or {})))),
                fragment="",
            )
        )

    async def post(
        self,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Mapping[str, object],
        deadline: float,
        gate: Gate | None = None,
    ) -> Exchange:
        """Send a JSON object, get one back; repeated as the retry policy says. Raises LLMError."""
        try:
            content = json.dumps(body, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise LLMError(
                "bad_request", f"The parameters cannot be sent: {error}", permanent=True
            ) from error
        call = _Call(
            method="POST",
            url=self.url(path),
            headers={"content-type": "application/json", **headers},
            content=content.encode("utf-8", "replace"),
            deadline=deadline,
            gate=gate,
        )
        return await self._repeat(call)

    async def get(
        self, path: str, *, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> Exchange:
        """Fetch a JSON object; repeated as the retry policy says. Raises LLMError."""
        call = _Call(
            method="GET",
            url=self.url(path, query),
            headers=headers,
            deadline=self.clock() + MODELS_SECONDS,
        )
        return await self._repeat(call)

    async def _repeat(self, call: _Call) -> Exchange:
        attempt = maybe_billed = 0
        while True:
            attempt += 1
            try:
                exchange = await self._attempt(call, attempt)
            except LLMError as error:
                maybe_billed += error.maybe_billed if call.method == "POST" else 0
                error.attempts += attempt - 1
                error.maybe_billed = maybe_billed
                wait = self.retry.wait_before(attempt + 1, error.retry_after, self.rng)
                is_last = attempt >= self.retry.attempts
                if error.permanent or is_last or self.clock() + wait >= call.deadline:
                    raise
                await self.sleep(wait)
            else:
                return replace(exchange, attempts=attempt, maybe_billed=maybe_billed)

    async def _attempt(self, call: _Call, attempt: int) -> Exchange:
        """One request. Its result and its LLMError count this request alone."""
        if call.gate:
            await call.gate(attempt)
        started = self.clock()
        timeout = min(call.deadline - started, self.retry.attempt_timeout)
        if timeout <= 0:
            raise LLMError("timeout", "The time for this call is over.", permanent=False)
        try:
            response = await self.http.send(
                call.method, call.url, timeout=timeout, headers=call.headers, content=call.content
            )
            payload = self._payload(response, call.url)
        except HttpError as error:
            raise _from_transport(error) from error
        except LLMError as error:
            error.message = _without_key(error.message, self.secret)
            error.args = (error.message,)
            raise
        return Exchange(
            payload=payload,
            request_id=_request_id(response),
            latency_ms=round((self.clock() - started) * 1000),
        )

    def _payload(self, response: HttpResponse, url: str) -> dict[str, JSON]:
        if not 200 <= response.status < 300:
            raise self._from_status(response, url)
        try:
            payload = json.loads(response.body)
        except (ValueError, RecursionError) as error:
            begins_as_json = response.body.lstrip().startswith((b"{", b"["))
            raise LLMError(
                "truncated" if begins_as_json else "bad_reply",
                f"{_place(url)} answered with something that is not JSON.{_hint(response)}",
                permanent=False,
                status=response.status,
                request_id=_request_id(response),
                attempts=1,
                maybe_billed=1,
            ) from error
        if not isinstance(payload, dict):
            raise bad_reply(url, "a JSON object was expected", _request_id(response))
        if isinstance(payload.get("error"), dict) and "choices" not in payload:
            raise self._from_status(response, url)
        return payload

    def _from_status(self, response: HttpResponse, url: str) -> LLMError:
        """The error a vendor reports, by its status or, inside a 200, by the code it names."""
        status, code, said = response.status, *_complaint(response.body)
        if status < 300:
            status = int(code) if re.fullmatch(r"[45][0-9]{2}", code) else 500
        default: tuple[ErrorKind, bool] = (
            ("server", False) if status >= 500 else ("bad_request", True)
        )
        kind, permanent = _KINDS.get(status, default)
        if 300 <= status < 400:
            kind, permanent = "not_found", True
            said = f"it redirects to {_place(response.headers.get('location', 'nowhere'))}"
        elif code in _OUT_OF_CREDIT:
            kind, permanent = "rate_limit", True
        elif kind == "bad_request" and (
            code == "context_length_exceeded" or _TOO_LONG.search(said)
        ):
            kind = "too_long"
        message = f"{_place(url)} answered {status}"
        message += f": {said}" if said else "."
        if kind == "not_found" and not _ABOUT_THE_MODEL.search(f"{code} {said}"):
            message += (
                " Check the base URL: it is used as given and the path is appended; for most "
                "services it ends in /v1."
            )
        return LLMError(
            kind,
            message,
            permanent=permanent,
            status=status,
            retry_after=retry_after_of(response, self.now()),
            request_id=_request_id(response),
            code=code,
            attempts=1,
        )


def read_quirks[Quirks](kind: type[Quirks], values: Mapping[str, JSON]) -> Quirks:
    """Make a dataclass whose fields are choices from the settings stored with a connection.

    Raises InvalidConnection naming the setting and what is known.
    """
    known = get_type_hints(kind)
    for name, value in values.items():
        if name not in known:
            raise InvalidConnection(f"{name!r} is not a setting; known: {', '.join(known)}.")
        if value not in get_args(known[name]):
            raise InvalidConnection(
                f"{name} cannot be {value!r}; known: {', '.join(get_args(known[name]))}."
            )
    return kind(**values)


def bad_reply(
    place: str, what: str, request_id: str | None, *, attempts: int = 1, maybe_billed: int = 1
) -> LLMError:
    """The error for a 200 answer whose JSON is not what the dialect promises: paid for, useless."""
    return LLMError(
        "bad_reply",
        f"{_place(place)} answered in a form that is not understood: {what}.",
        permanent=True,
        status=200,
        request_id=request_id,
        attempts=attempts,
        maybe_billed=maybe_billed,
    )


def storable(text: str) -> str:
    """Text as a database can keep it: lone surrogates and NUL, both legal in JSON, are replaced."""
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def name_or_none(value: JSON) -> str | None:
    """A short string of a payload, such as a model's name, storable; anything else is None."""
    return storable(value[:MAX_NAME_LENGTH]) if isinstance(value, str) and value else None


def count_or_none(value: JSON) -> int | None:
    """A token count of a payload; anything that cannot be one is None, never 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None


def items(value: JSON) -> list[dict[str, JSON]]:
    """The objects of a payload's list; anything else in it is passed over."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def day_or_none(value: JSON) -> date | None:
    """A day, from an ISO 8601 text or from Unix seconds; None when it is neither."""
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value).date()
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return datetime.fromtimestamp(value, UTC).date()
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _from_transport(error: HttpError) -> LLMError:
    kind, permanent = _TRANSPORT_KINDS[error.kind]
    return LLMError(
        kind,
        str(error),
        permanent=permanent,
        attempts=0 if error.kind in _NEVER_STARTED else 1,
        maybe_billed=int(error.sent),
    )


def _complaint(body: bytes) -> tuple[str, str]:
    """Code and text of a vendor's error, both empty when the body is not one we can read."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if isinstance(payload, list) and payload:  # Gemini wraps its error in a list
        payload = payload[0]
    if not isinstance(payload, dict):
        return "", ""
    inner = payload.get("error", payload)
    if not isinstance(inner, dict):
        return "", _shortened(str(inner))
    details = inner.get("details")
    exact = details.get("error_code") if isinstance(details, dict) else ""
    code = exact or inner.get("code") or inner.get("type") or ""
    said = inner.get("message") or inner.get("detail") or ""
    return str(code), _shortened(said if isinstance(said, str) else json.dumps(said))


def _shortened(text: str) -> str:
    return storable(" ".join(text.split())[:MAX_MESSAGE_LENGTH])


def retry_after_of(response: HttpResponse, now: datetime) -> float | None:
    """Seconds the vendor asks to wait (RFC 9110 §10.2.3: a number or a date), or None."""
    milliseconds = _seconds(response.headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    written = response.headers.get("retry-after", "")
    seconds = _seconds(written)
    if seconds is not None or not written:
        return seconds
    try:
        when = email.utils.parsedate_to_datetime(written)
    except ValueError:
        return None
    return max((when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds(), 0.0)


def _seconds(written: str) -> float | None:
    try:
        seconds = float(written)
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _request_id(response: HttpResponse) -> str | None:
    for name in _REQUEST_ID_HEADERS:
        if response.headers.get(name):
            return storable(response.headers[name][:MAX_NAME_LENGTH])
    return None


def _hint(response: HttpResponse) -> str:
    if "html" not in response.headers.get("content-type", "").lower():
        return ""
    return " It is a web page: check the base URL, which for most services ends in /v1."


def _place(url: str) -> str:
    """An address fit for a message: without query, where gateways like to put secrets."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]))


def _without_key(message: str, secret: str) -> str:
    # Some gateways repeat the whole key when they refuse it.
    return message.replace(secret, "…") if secret else message
