"""The processes of one supervisor: written down when started, started again when they end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from kb.supervisor.processes import Child, ProcessRecord, Program, end_leftovers
from kb.supervisor.stopping import StopRequests
from kb.supervisor.terminal import CannotStart, Terminal

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds before a process that ended is started again: doubled each time, up to this."""
_LOOK_SECONDS = 0.2
STEADY_SECONDS = 60.0
"""A process that ran this long had started well; its next end counts as the first."""


class Crew:
    """Starts processes and writes each one down, so that a killed supervisor leaves a trace of them."""

    def __init__(self, record: Path, terminal: Terminal, requests: StopRequests) -> None:
        end_leftovers(record, terminal)
        self.requests = requests
        self.terminal = terminal
        self.instance = secrets.token_hex(8)
        self._record = ProcessRecord(record, self.instance)

    def start(self, program: Program) -> Child:
        """Start a process in a group of its own."""
        child = Child(program, self.terminal)
        self._record.add(child)
        return child

    def dismiss(self) -> None:
        """All have ended."""
        self._record.forget()


class Kept:
    """A process that is started again whenever it ends.

    `program` is asked before each start; it may raise CannotStart, which counts as an end.
    """

    def __init__(self, name: str, program: Callable[[], Program], crew: Crew) -> None:
        self.name = name
        self.child: Child | None = None
        self._program = program
        self._crew = crew
        self._ends = 0
        self._next_start = 0.0

    def start(self) -> Child:
        """Start it now."""
        self.child = self._crew.start(self._program())
        return self.child

    def look_after(self, now: float) -> None:
        """Start it again when it has ended and its delay is over. `now` is on the monotonic clock."""
        if self.child is None:
            if now >= self._next_start:
                self._start_again(now)
        elif self.child.has_ended():
            if now - self.child.started > STEADY_SECONDS:
                self._ends = 0
            self._plan(now, f"{self.name} {self.child.ending()}")

    def _start_again(self, now: float) -> None:
        try:
            self.start()
        except (CannotStart, OSError) as error:
            self._plan(now, f"{self.name} did not start: {error}")

    def _plan(self, now: float, what_happened: str) -> None:
        self.child = None
        delay = min(FIRST_DELAY * 2**self._ends, LONGEST_DELAY)
        self._ends += 1
        self._next_start = now + delay
        self._crew.terminal.line(f"  {what_happened}; it is started again in {delay:g} s")


def keep_running(kept: list[Kept], requests: StopRequests) -> NoReturn:
    """Look after all until somebody asks to stop; raises StopAsked then."""
    while True:
        for one in kept:
            one.look_after(time.monotonic())
        requests.pause(_LOOK_SECONDS)
