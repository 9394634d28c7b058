"""The short memory that all workers share, in Valkey or Redis. Losing it loses no fact, only pace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings

ANSWER_SECONDS = 1.0
"""A healthy server answers in a millisecond; a call must not wait long for a sick one."""
AWAY_SECONDS = 5.0
"""How long a server that did not answer is not asked again."""
KEPT_SECONDS = 2 * 3600
"""No state here matters longer; a row that nobody touches disappears."""
MOST_TRIES = 50
"""Of a change that others keep overtaking; with a hundred at once, each wins long before."""


class Away(Exception):
    """The shared memory does not answer; decide alone, and carefully."""


class Memory:
    """One server's memory. Every method raises Away when it does not answer."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        )
        self._clock = clock
        self._away_until = float("-inf")

    def script(self, text: str, key: str, arguments: Sequence[str | float]) -> Any:
        """Run a Lua script on one key, in one atomic step; its answer."""
        return self._ask(lambda: _prepared(self._redis, text)([key], list(arguments)))

    def read(self, key: str) -> dict[str, Any] | None:
        """The object kept under a key, None when there is none."""
        return _opened(self._ask(lambda: self._redis.get(key)))

    def change(
        self, key: str, step: Callable[[dict[str, Any] | None], dict[str, Any] | None]
    ) -> None:
        """Replace the object under a key by what ``step`` makes of it, as if nobody else were there.

        ``step`` may be called several times; when it returns what it was given, nothing is written.
        """

        def once(pipe: redis.client.Pipeline) -> None:
            before = _opened(pipe.get(key))
            after = step(before)
            pipe.multi()
            if after is None and before is not None:
                pipe.delete(key)
            elif after is not None and after != before:
                pipe.set(key, json.dumps(after), ex=KEPT_SECONDS)

        def overtaking() -> None:
            for _attempt in range(MOST_TRIES):
                with self._redis.pipeline() as pipe:
                    pipe.watch(key)  # type: ignore[no-untyped-call]
                    once(pipe)
                    try:
                        pipe.execute()
                    except redis.WatchError:
                        continue
                    return
            raise redis.ConnectionError("Others changed the same key all the time.")

        self._ask(overtaking)

    def forget(self, *keys: str) -> None:
        """Drop what is kept under these keys."""
        self._ask(lambda: self._redis.delete(*keys))

    def _ask[T](self, operation: Callable[[], T]) -> T:
        if self._clock() < self._away_until:
            raise Away
        try:
            return operation()
        except redis.RedisError as error:
            self._away_until = self._clock() + AWAY_SECONDS
            raise Away from error


def memory() -> Memory:
    """The memory at REDIS_URL."""
    return _memory(settings.REDIS_URL)


def key_of(connection_id: int, what: str) -> str:
    """Where something about a connection is kept: apart for each database that shares the server."""
    return f"retex:{settings.DATABASES['default']['NAME']}:connection:{connection_id}:{what}"


@lru_cache(maxsize=4)
def _memory(url: str) -> Memory:
    return Memory(url)


@lru_cache(maxsize=32)
def _prepared(client: redis.Redis, text: str) -> Callable[..., Any]:
    return client.register_script(text)


def _opened(kept: Any) -> dict[str, Any] | None:
    found = json.loads(kept) if kept else None
    return found if isinstance(found, dict) else None
