"""Short leases kept alive: a silent worker is taken for dead within a minute (ADR 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

LEASE = timedelta(seconds=45)
"""How long a silent worker keeps what it claimed; renewed every HEARTBEAT_SECONDS while it lives."""
HEARTBEAT_SECONDS = 10.0


@asynccontextmanager
async def kept_alive(renew: Callable[[], Awaitable[bool]]) -> AsyncIterator[asyncio.Event]:
    """Renew a lease as long as the block runs; the event is set once `renew` says that it is lost."""
    lost = asyncio.Event()

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if not await renew():
                lost.set()
                return

    beating = asyncio.create_task(beat())
    try:
        yield lost
    finally:
        beating.cancel()
