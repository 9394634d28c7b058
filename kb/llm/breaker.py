"""A circuit breaker for each connection: a service that keeps failing is left alone for a while.

After FAILURES failures in a row, with no answer between them, calls are held back for FIRST_SECONDS.
Then one call goes out to try; if it fails too, the wait doubles, up to LONGEST_SECONDS. Any answer
closes the breaker. All workers share one breaker; without the shared memory each has its own.

A failure is one of the way or of the service: no connection, a time-out, a broken answer, a 5xx. A
refusal, a wrong key or a 429 is an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from kb.llm.shared import Away, Memory, key_of

type State = Literal["closed", "open", "half_open"]

FAILURES = 10
"""In a row. At three failures in ten calls, which a bad night brings, ten in a row are 1 in 170,000."""
FIRST_SECONDS = 2.0
LONGEST_SECONDS = 120.0
"""A service that is back is found within two minutes."""
PROBE_SECONDS = 150.0
"""How long the one call that tries may take; longer than the time of one attempt (120 s)."""
LONGEST_CAUSE = 200
"""Characters of the last failure's description."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker of one connection. Instants are seconds since 1970. Pure: each step is a new one.

    ``failures`` and ``openings`` count those in a row; ``until`` is when the next call may try,
    ``probe_until`` how long the one that tries is waited for; ``cause`` is the last failure.
    """

    failures: int = 0
    openings: int = 0
    opened: float | None = None
    until: float | None = None
    probe_until: float | None = None
    cause: str = ""

    def state(self, now: float) -> State:
        """Closed: calls go. Open: none goes. Half open: one goes to try, the others wait for it."""
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half_open"

    def ask(self, now: float) -> tuple[Breaker, float]:
        """May a call leave? The breaker afterwards, and seconds until asking again; 0 means go."""
        if self.until is None:
            return self, 0.0
        if now < self.until:
            return self, self.until - now
        if self.probe_until is not None and now < self.probe_until:
            return self, min(1.0, self.probe_until - now)
        return replace(self, probe_until=now + PROBE_SECONDS), 0.0

    def hurried(self, now: float) -> Breaker:
        """Somebody asks for an answer now: the next call goes to try instead of waiting for its time."""
        if self.until is None or now >= self.until:
            return self
        return replace(self, until=now)

    def answered(self) -> Breaker:
        """Something answered: closed, and everything before is forgotten."""
        return Breaker()

    def failed(self, now: float, cause: str) -> Breaker:
        """One more failure. While open it is one of a call that left before, and changes nothing."""
        cause = cause[:LONGEST_CAUSE]
        if self.until is not None and now < self.until:
            return self
        failures = self.failures + 1
        if self.until is None and failures < FAILURES:
            return replace(self, failures=failures, cause=cause)
        seconds = min(FIRST_SECONDS * 2.0**self.openings, LONGEST_SECONDS)
        return Breaker(
            failures=failures,
            openings=self.openings + 1,
            opened=self.opened if self.opened is not None else now,
            until=now + seconds,
            cause=cause,
        )


class Breakers:
    """The breakers of all connections, shared through ``memory`` and, when it is away, kept here."""

    def __init__(self, memory: Memory, clock: Callable[[], float] = time.time) -> None:
        self._memory = memory
        self._clock = clock
        self._own: dict[int, Breaker] = {}
        self._lock = threading.Lock()

    def ask(self, connection_id: int) -> float:
        """Seconds until this call may ask again; 0 means that it goes."""
        if self.read(connection_id).until is None:
            return 0.0
        waits = [0.0]

        def step(breaker: Breaker) -> Breaker:
            after, waits[0] = breaker.ask(self._clock())
            return after

        self._change(connection_id, step)
        return waits[0]

    def answered(self, connection_id: int) -> None:
        """A call brought an answer, of whatever kind."""
        if self.read(connection_id) != Breaker():
            self._change(connection_id, Breaker.answered)

    def hurry(self, connection_id: int) -> None:
        """Let the next call try at once, however long the connection was to be left alone."""
        if self.read(connection_id).until is not None:
            self._change(connection_id, lambda breaker: breaker.hurried(self._clock()))

    def failed(self, connection_id: int, cause: str) -> None:
        """A call brought no answer; ``cause`` says in English what happened, without secrets."""
        self._change(connection_id, lambda breaker: breaker.failed(self._clock(), cause))

    def read(self, connection_id: int) -> Breaker:
        """The breaker as it is now."""
        try:
            return _restored(self._memory.read(key_of(connection_id, "breaker")))
        except Away:
            return self._own.get(connection_id, Breaker())

    def _change(self, connection_id: int, step: Callable[[Breaker], Breaker]) -> None:
        def stored(kept: dict[str, Any] | None) -> dict[str, Any] | None:
            after = step(_restored(kept))
            return None if after == Breaker() else asdict(after)

        try:
            self._memory.change(key_of(connection_id, "breaker"), stored)
        except Away:
            with self._lock:
                self._own[connection_id] = step(self._own.get(connection_id, Breaker()))


def _restored(kept: dict[str, Any] | None) -> Breaker:
    try:
        return Breaker(**(kept or {}))
    except TypeError:  # written by another release
        return Breaker()
