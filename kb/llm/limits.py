"""How fast a connection may be asked: requests and tokens a minute, and calls at once.

The limits belong to the vendor's account, so all workers keep them together, in the memory of
`kb.llm.shared`. A call gets an instant to leave at, in one atomic step, and sleeps until then. When
that memory is away each process keeps a quarter of the limits on its own.

Requests follow the generic cell rate algorithm (ITU-T I.371), tuned so that no minute, wherever it
begins, sees more than the limit. Tokens do too, but an answer's are only known afterwards, and one
request always passes: a minute sees at most the limit, TOKEN_BURST_SECONDS of it and one request.

A vendor that asks to slow down (429) stops all workers for as long as it says, and then lets calls
out one by one, at a distance that halves every HALF_LIFE seconds without another complaint.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from kb.llm.held import HeldBack
from kb.llm.shared import KEPT_SECONDS, Away, Memory, key_of

BURST_SHARE = 20
"""A twentieth of a minute's requests may leave together."""
TOKEN_BURST_SECONDS = 3.0
HALF_LIFE = 30.0
FIRST_GAP = 0.1
"""Seconds between two calls after a first complaint; doubled by each further one."""
SMALLEST_GAP = 0.01
LONGEST_GAP = 2.0
"""Beside the pauses that the vendor asks for. A service that is overloaded refuses by chance, whatever the
pace; with more, ten cases would take ten minutes."""
DEFAULT_PAUSE = 1.0
"""After a complaint that names no time."""
LONGEST_PAUSE = 15 * 60.0
"""Whatever a header says: a wrong one must not silence a connection for days."""
ALONE_SHARE = 4
"""Processes that may be asking at the same time while none hears of the others."""
PLACE_SECONDS = 180.0
"""How long a place of a dead worker stays taken: an attempt (120 s), a wait (30 s) and some slack."""
FIRST_LOOK, LONGEST_LOOK = 0.05, 0.5
"""Seconds between two looks for a free place; the places of this process are heard of at once."""

_NOW = """
local now = tonumber(ARGV[1])
if not now then local t = redis.call('TIME'); now = t[1] + t[2] / 1000000 end
"""
_READ = """
local kept = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'last', 'paused', 'gap', 'slowed')
local requests, tokens, last = tonumber(kept[1]) or 0, tonumber(kept[2]) or 0, tonumber(kept[3]) or 0
local paused, gap, slowed = tonumber(kept[4]) or 0, tonumber(kept[5]) or 0, tonumber(kept[6]) or 0
if now > slowed then gap = gap * 0.5 ^ ((now - slowed) / tonumber(ARGV[2])) end
if gap < tonumber(ARGV[3]) then gap = 0 end
local function text(number) return string.format('%.6f', number) end
"""
_ADMIT = (
    _NOW
    + _READ
    + """
local interval, burst = tonumber(ARGV[4]), tonumber(ARGV[5])
local cost, token_burst = tonumber(ARGV[6]), tonumber(ARGV[7])
local at = math.max(now, paused)
if interval > 0 then at = math.max(at, requests - burst) end
if cost > 0 then at = math.max(at, tokens - token_burst) end
if gap > 0 then at = math.max(at, last + gap) end
local wait = at - now
if wait > tonumber(ARGV[8]) then return {0, text(wait)} end
redis.call('HSET', KEYS[1], 'requests', text(math.max(requests, at) + interval),
  'tokens', text(math.max(tokens, at) + cost), 'last', text(math.max(last, at)))
redis.call('EXPIRE', KEYS[1], ARGV[9])
return {1, text(wait)}
"""
)
_SLOW = (
    _NOW
    + _READ
    + """
local pause = tonumber(ARGV[4])
if now >= paused then gap = math.min(math.max(gap * 2, tonumber(ARGV[5])), tonumber(ARGV[6])) end
paused = math.max(paused, now + pause)
redis.call('HSET', KEYS[1], 'paused', text(paused), 'gap', text(gap), 'slowed', text(paused))
redis.call('EXPIRE', KEYS[1], ARGV[7])
return 1
"""
)
_LOOK = _NOW + _READ + "return {text(math.max(paused - now, 0)), text(gap)}"
_CORRECT = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HINCRBYFLOAT', KEYS[1], 'tokens', ARGV[1]) end
return 1
"""
_TAKE = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local is_held = redis.call('ZSCORE', KEYS[1], ARGV[2])
if not is_held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[4]), ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""
)
_LEAVE = "return redis.call('ZREM', KEYS[1], ARGV[1])"
_COUNT = _NOW + "return redis.call('ZCOUNT', KEYS[1], now, '+inf')"


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of one connection; None is no limit."""

    connection_id: int
    calls_at_once: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def interval(self) -> float:
        """Seconds from one request to the next when they keep coming; 0 without a limit."""
        if not self.requests_per_minute:
            return 0.0
        # Of a burst of b and one request every T, a minute sees at most b + ⌈60/T⌉ - 1.
        return 60.0 / (self.requests_per_minute - self._burst + 1)

    @property
    def burst_seconds(self) -> float:
        """How far ahead of its time a request may leave."""
        return (self._burst - 1) * self.interval

    @property
    def _burst(self) -> int:
        return max(1, (self.requests_per_minute or 0) // BURST_SHARE)

    def cost(self, tokens: int) -> float:
        """Seconds of the limit that so many tokens use up; a minute at most, 0 without a limit."""
        if not self.tokens_per_minute:
            return 0.0
        return min(tokens, self.tokens_per_minute) * 60.0 / self.tokens_per_minute

    def alone(self) -> Rates:
        """What one process may take while it cannot hear of the others."""
        return replace(
            self,
            calls_at_once=math.ceil(self.calls_at_once / ALONE_SHARE),
            requests_per_minute=_share(self.requests_per_minute),
            tokens_per_minute=_share(self.tokens_per_minute),
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """The state of one connection's limits, in seconds since 1970. Pure; the scripts do the same.

    ``requests`` and ``tokens`` are when the limit would be free again, ``last`` when the latest
    call leaves; nothing leaves before ``paused``; ``gap`` is the distance it had at ``slowed``.
    """

    requests: float = 0.0
    tokens: float = 0.0
    last: float = 0.0
    paused: float = 0.0
    gap: float = 0.0
    slowed: float = 0.0

    def gap_at(self, now: float) -> float:
        """The distance between calls at an instant."""
        gap = self.gap * 0.5 ** (max(now - self.slowed, 0.0) / HALF_LIFE)
        return gap if gap >= SMALLEST_GAP else 0.0

    def admit(
        self, now: float, rates: Rates, tokens: int, patience: float
    ) -> tuple[Pace, float, bool]:
        """The pace afterwards, the seconds to wait, and whether that is within ``patience``."""
        interval, cost, gap = rates.interval, rates.cost(tokens), self.gap_at(now)
        at = max(now, self.paused)
        if interval:
            at = max(at, self.requests - rates.burst_seconds)
        if cost:
            at = max(at, self.tokens - TOKEN_BURST_SECONDS)
        if gap:
            at = max(at, self.last + gap)
        if at - now > patience:
            return self, at - now, False
        after = replace(
            self,
            requests=max(self.requests, at) + interval,
            tokens=max(self.tokens, at) + cost,
            last=max(self.last, at),
        )
        return after, at - now, True

    def slower(self, now: float, pause: float) -> Pace:
        """The pace after a complaint. Those of calls that were under way together count once."""
        gap = self.gap_at(now)
        if now >= self.paused:
            gap = min(max(gap * 2, FIRST_GAP), LONGEST_GAP)
        paused = max(self.paused, now + pause)
        return replace(self, paused=paused, gap=gap, slowed=paused)


@dataclass(frozen=True, slots=True)
class Look:
    """What a page shows: seconds left of a pause, seconds between calls, calls under way."""

    pause: float
    gap: float
    under_way: int


@dataclass
class _Alone:
    """What one process knows of one connection while the shared memory is away."""

    pace: Pace = field(default_factory=Pace)
    places: dict[str, float] = field(default_factory=dict)


class Limits:
    """The limits of all connections. Methods are quick and may be called from any thread."""

    def __init__(self, memory: Memory, clock: Callable[[], float] | None = None) -> None:
        """With a ``clock``, it counts; else the server's own, the same for all workers."""
        self._memory = memory
        self._clock = clock
        self._alone: dict[int, _Alone] = {}
        self._lock = threading.Lock()

    def admit(self, rates: Rates, tokens: int, patience: float) -> tuple[float, bool]:
        """Seconds until this request may leave, and whether its instant was kept for it."""
        arguments = (
            *self._now(),
            rates.interval,
            rates.burst_seconds,
            rates.cost(tokens),
            TOKEN_BURST_SECONDS,
            patience,
            KEPT_SECONDS,
        )
        try:
            granted, wait = self._memory.script(_ADMIT, _pace_key(rates), arguments)
        except Away:
            with self._lock:
                alone = self._own(rates)
                alone.pace, seconds, is_granted = alone.pace.admit(
                    self._own_now(), rates.alone(), tokens, patience
                )
            return seconds, is_granted
        return float(wait), bool(granted)

    def slow_down(self, rates: Rates, retry_after: float | None) -> None:
        """The vendor complained: every worker pauses, then goes more slowly."""
        pause = min(DEFAULT_PAUSE if retry_after is None else retry_after, LONGEST_PAUSE)
        arguments = (*self._now(), pause, FIRST_GAP, LONGEST_GAP, KEPT_SECONDS)
        try:
            self._memory.script(_SLOW, _pace_key(rates), arguments)
        except Away:
            with self._lock:
                alone = self._own(rates)
                alone.pace = alone.pace.slower(self._own_now(), pause)

    def correct(self, rates: Rates, tokens: int) -> None:
        """A request took so many more tokens than announced, or fewer when negative."""
        if not rates.tokens_per_minute or not tokens:
            return
        seconds = tokens * 60.0 / rates.tokens_per_minute
        try:
            self._memory.script(_CORRECT, _pace_key(rates), (f"{seconds:.6f}",))
        except Away:
            with self._lock:
                alone = self._own(rates)
                alone.pace = replace(alone.pace, tokens=alone.pace.tokens + seconds * ALONE_SHARE)

    def look(self, rates: Rates) -> Look:
        """How things are, for a page and for a call that has waited."""
        try:
            pause, gap = self._memory.script(_LOOK, _pace_key(rates), self._now())
            count = self._memory.script(_COUNT, _place_key(rates), self._now())
        except Away:
            with self._lock:
                alone, now = self._own(rates), self._own_now()
                return Look(
                    max(alone.pace.paused - now, 0.0), alone.pace.gap_at(now), len(alone.places)
                )
        return Look(float(pause), float(gap), int(count))

    def take(self, rates: Rates, name: str) -> bool:
        """Take one of the connection's places under this name, or keep it for PLACE_SECONDS more."""
        arguments = (self._now()[0], name, rates.calls_at_once, PLACE_SECONDS, KEPT_SECONDS)
        try:
            return bool(self._memory.script(_TAKE, _place_key(rates), arguments))
        except Away:
            with self._lock:
                places, now = self._own(rates).places, self._own_now()
                for other in [key for key, until in places.items() if until <= now]:
                    del places[other]
                if name not in places and len(places) >= rates.alone().calls_at_once:
                    return False
                places[name] = now + PLACE_SECONDS
                return True

    def leave(self, rates: Rates, name: str) -> None:
        """Give a place back."""
        with self._lock:
            self._own(rates).places.pop(name, None)
        try:
            self._memory.script(_LEAVE, _place_key(rates), (name,))
        except Away:
            return  # it is given back by itself after PLACE_SECONDS

    def _now(self) -> tuple[str | float, float, float]:
        return ("" if self._clock is None else self._clock(), HALF_LIFE, SMALLEST_GAP)

    def _own_now(self) -> float:
        return time.time() if self._clock is None else self._clock()

    def _own(self, rates: Rates) -> _Alone:
        return self._alone.setdefault(rates.connection_id, _Alone())


@dataclass(frozen=True, slots=True)
class Place:
    """One of the connection's places, held while a call is under way."""

    queue: Queue
    name: str
    deadline: float

    async def admit(self, tokens: int) -> None:
        """Wait until a request of so many tokens may leave. Raises HeldBack('rate_limited')."""
        await self.queue.admit(self, tokens)


@dataclass(slots=True)
class Queue:
    """Where the calls of one event loop wait for one connection. Nobody is overtaken in it.

    ``clock`` is that of the deadlines: time.monotonic(), as the providers use.
    """

    limits: Limits
    rates: Rates
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def place(self, *, deadline: float) -> AsyncIterator[Place]:
        """A place among the calls at once. Raises HeldBack('rate_limited') when none gets free."""
        place = Place(self, uuid.uuid4().hex, deadline)
        try:
            await self._sit_down(place)
            yield place
        finally:
            # Also when the waiting was interrupted: the place may have been taken all the same.
            await asyncio.shield(asyncio.to_thread(self.limits.leave, self.rates, place.name))
            self._freed.set()

    @asynccontextmanager
    async def slot(self, tokens: int, *, deadline: float) -> AsyncIterator[Place]:
        """A place, and leave for one request of so many tokens. Raises HeldBack('rate_limited')."""
        async with self.place(deadline=deadline) as place:
            await place.admit(tokens)
            yield place

    async def admit(self, place: Place, tokens: int) -> None:
        """See `Place.admit`."""
        while True:
            patience = place.deadline - self.clock()
            wait, is_granted = await asyncio.to_thread(
                self.limits.admit, self.rates, tokens, max(patience, 0.0)
            )
            if not is_granted or patience <= 0:
                raise HeldBack("rate_limited", self._too_late(wait))
            if wait <= 0:
                return
            await self.sleep(wait)
            await asyncio.to_thread(self.limits.take, self.rates, place.name)
            if (await asyncio.to_thread(self.limits.look, self.rates)).pause <= 0:
                return

    async def _sit_down(self, place: Place) -> None:
        look = FIRST_LOOK
        async with self._turn:
            while True:
                self._freed.clear()
                if await asyncio.to_thread(self.limits.take, self.rates, place.name):
                    return
                left = place.deadline - self.clock()
                if left <= 0:
                    raise HeldBack(
                        "rate_limited",
                        f"All {self.rates.calls_at_once} calls at once that the connection allows "
                        f"were under way until the time for this one was over.",
                    )
                try:
                    await asyncio.wait_for(
                        self._freed.wait(),
                        min(look * random.uniform(0.5, 1.0), left),  # noqa: S311 - only spreads looks
                    )
                except TimeoutError:
                    look = min(look * 2, LONGEST_LOOK)

    def _too_late(self, wait: float) -> str:
        limits = [
            f"{count} {what} a minute"
            for count, what in (
                (self.rates.requests_per_minute, "requests"),
                (self.rates.tokens_per_minute, "tokens"),
            )
            if count
        ]
        reason = f"at {' and '.join(limits)}" if limits else "since the provider asked to slow down"
        return (
            f"The next request of this connection may leave in {wait:.0f} s, {reason}; "
            f"that is after the time for this call is over."
        )


def _share(limit: int | None) -> int | None:
    return max(1, limit // ALONE_SHARE) if limit else None


def _pace_key(rates: Rates) -> str:
    return key_of(rates.connection_id, "pace")


def _place_key(rates: Rates) -> str:
    return key_of(rates.connection_id, "places")
