"""The embedded servers, together."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kb.supervisor import postgres, valkey
from kb.supervisor.crew import Crew, Kept
from kb.supervisor.processes import stop_all
from kb.supervisor.terminal import CannotStart, Terminal


@dataclass
class EmbeddedServers:
    """PostgreSQL and Valkey of one data directory, which the caller holds.

    `is_durable` off makes a quick database that no crash may meet, for tests.
    """

    data: Path
    environment: Mapping[str, str]
    crew: Crew
    terminal: Terminal
    is_durable: bool = True
    kept: list[Kept] = field(default_factory=list)

    def start(self) -> None:
        """Start both and wait until both answer. Raises CannotStart."""
        database = postgres.Postgres(self.data, self.environment, self.is_durable)
        with self.terminal.step("PostgreSQL") as step:
            is_new = database.prepare()
            keeper = self._keep(Kept(postgres.NAME, database.program, self.crew))
            version = database.wait_until_ready(keeper.start(), self.crew.requests)
            step.detail = f"{version}, a new cluster" if is_new else version
        broker = valkey.Valkey(self.data, self.environment)
        with self.terminal.step("Valkey") as step:
            keeper = self._keep(Kept(valkey.NAME, broker.program, self.crew))
            child = keeper.start()
            try:
                step.detail = broker.wait_until_ready(child, self.crew.requests)
            except CannotStart:
                # Mostly a file torn by a crash. The broker is a bell: the rows ring again.
                stop_all([child], self.crew.requests.hurry)
                aside = broker.put_aside()
                version = broker.wait_until_ready(keeper.start(), self.crew.requests)
                step.detail = f"{version}; unreadable files moved to {aside.name}"

    def stop(self, hurry: threading.Event) -> None:
        """Stop both, the database last. What uses them must have ended."""
        for keeper in reversed(self.kept):
            if keeper.child is not None:
                stop_all([keeper.child], hurry)

    def _keep(self, keeper: Kept) -> Kept:
        self.kept.append(keeper)
        return keeper
