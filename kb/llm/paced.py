"""A provider that keeps to the limits of its connection and heeds its circuit breaker."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from kb.core.http import MAX_RESPONSE_BYTES, HttpClient, HttpError, HttpResponse
from kb.llm.base import (
    EmbeddingRequest,
    Embeddings,
    Gate,
    ModelInfo,
    Provider,
    Reply,
    Request,
)
from kb.llm.breaker import Breakers
from kb.llm.forecast import tokens_embedded, tokens_of
from kb.llm.held import HeldBack
from kb.llm.limits import Limits, Queue
from kb.llm.shared import Memory, memory
from kb.llm.wire import MODELS_SECONDS, retry_after_of

WORTH_WAITING = 20.0
"""Seconds a call waits for a breaker: a short disturbance then costs no answer, a long one no time."""
FAILURES_OF_THE_WAY = frozenset({"dns", "connect", "tls", "timeout", "truncated"})
COMPLAINTS = frozenset({429})
"""Statuses that ask to slow down, beside any other answer that names a time to come back."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all workers know about the traffic of connections."""

    limits: Limits
    breakers: Breakers


def traffic() -> Traffic:
    """The traffic of this installation."""
    return _traffic(memory())


@lru_cache(maxsize=4)
def _traffic(known: Memory) -> Traffic:
    return Traffic(Limits(known), Breakers(known))


@dataclass(frozen=True, slots=True)
class Paced:
    """A `Provider` whose every attempt waits for its turn. ``name`` is that of the connection.

    A call holds one place among the calls at once. Before each attempt come, in this order: the
    limits, the breaker, the caller's gate; so what a gate checks or reserves is not kept waiting.
    With ``heeds_breaker`` False, for a person who tries a connection, an open breaker stops nothing.
    """

    provider: Provider
    queue: Queue
    breakers: Breakers
    name: str
    heeds_breaker: bool = True
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def complete(
        self, request: Request, *, deadline: float, gate: Gate | None = None
    ) -> Reply:
        """See `Provider.complete`. Raises HeldBack as well, for a call that never left."""

        async def ask(may_leave: Gate) -> Reply:
            return await self.provider.complete(request, deadline=deadline, gate=may_leave)

        return await self._in_turn(ask, tokens_of(request), deadline, gate)

    async def embed(
        self, request: EmbeddingRequest, *, deadline: float, gate: Gate | None = None
    ) -> Embeddings:
        """See `Provider.embed`. Raises HeldBack as well, for a call that never left."""

        async def ask(may_leave: Gate) -> Embeddings:
            return await self.provider.embed(request, deadline=deadline, gate=may_leave)

        return await self._in_turn(ask, sum(tokens_embedded(request)), deadline, gate)

    async def _in_turn[Answer: (Reply, Embeddings)](
        self,
        ask: Callable[[Gate], Awaitable[Answer]],
        announced: int,
        deadline: float,
        gate: Gate | None,
    ) -> Answer:
        async with self.queue.place(deadline=deadline) as place:

            async def may_leave(attempt: int) -> None:
                await place.admit(announced)
                await self._pass_breaker(deadline)
                if gate:
                    await gate(attempt)

            answer = await ask(may_leave)
        if answer.input_tokens is not None and answer.output_tokens is not None:
            used = answer.input_tokens + answer.output_tokens
            await asyncio.to_thread(self.queue.limits.correct, self.queue.rates, used - announced)
        return answer

    async def models(self) -> list[ModelInfo]:
        """See `Provider.models`. Raises HeldBack as well."""
        deadline = self.clock() + MODELS_SECONDS
        async with self.queue.slot(0, deadline=deadline):
            await self._pass_breaker(deadline)
            return await self.provider.models()

    async def _pass_breaker(self, deadline: float) -> None:
        if not self.heeds_breaker:
            return
        last = min(self.clock() + WORTH_WAITING, deadline)
        while wait := await asyncio.to_thread(self.breakers.ask, self.queue.rates.connection_id):
            if self.clock() + wait > last:
                raise HeldBack("unavailable", await self._why(wait))
            await self.sleep(wait)

    async def _why(self, wait: float) -> str:
        breaker = await asyncio.to_thread(self.breakers.read, self.queue.rates.connection_id)
        return (
            f"{self.name} failed {breaker.failures} times in a row and is left alone for "
            f"{math.ceil(wait)} s. Last: {breaker.cause or 'no detail'}"
        )


class WatchedClient(HttpClient):
    """An HTTP client that speaks through another one and tells the traffic how each request went."""

    def __init__(self, http: HttpClient, queue: Queue, breakers: Breakers) -> None:
        self._http = http
        self._queue = queue
        self._breakers = breakers

    async def aclose(self) -> None:
        """Nothing: the client that is spoken through belongs to somebody else."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int = MAX_RESPONSE_BYTES,
        redirects: int = 0,
    ) -> HttpResponse:
        """See `HttpClient.send`."""
        try:
            response = await self._http.send(
                method,
                url,
                timeout=timeout,
                headers=headers,
                content=content,
                max_bytes=max_bytes,
                redirects=redirects,
            )
        except HttpError as error:
            if error.kind in FAILURES_OF_THE_WAY:
                await self._failed(str(error))
            raise
        if response.status >= 500:
            await self._failed(f"it answered {response.status}")
        else:
            await asyncio.to_thread(self._breakers.answered, self._queue.rates.connection_id)
        wait = retry_after_of(response, datetime.now(UTC))
        if response.status in COMPLAINTS or (response.status >= 500 and wait):
            await asyncio.to_thread(self._queue.limits.slow_down, self._queue.rates, wait)
        return response

    async def _failed(self, cause: str) -> None:
        await asyncio.to_thread(self._breakers.failed, self._queue.rates.connection_id, cause)
