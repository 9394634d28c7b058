"""What the operator sees: one calm line per step, with its seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

QUIET_SECONDS = 15.0
"""Without a terminal, a long step says after every so many seconds that it goes on."""
_REDRAW_SECONDS = 1.0
_WIPE_LINE = "\r\x1b[K"


class CannotStart(Exception):
    """Something only the operator can put right; the message names it and the next step."""


@dataclass
class Step:
    """One line of progress. `detail` is added to its title when it ends."""

    title: str
    detail: str = ""


class Terminal:
    """Prints lines and steps from any thread; goes silent when nobody reads any more."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._is_terminal = self._stream.isatty()
        self._lock = threading.RLock()
        self._running = ""

    def line(self, text: str = "") -> None:
        """Print a line, above the step that is under way."""
        with self._lock:
            self._write(f"{_WIPE_LINE if self._running else ''}{text}\n{self._running}")

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show that something is under way, then how long it took."""
        step, began, ended = Step(title), time.monotonic(), threading.Event()
        watcher = threading.Thread(
            target=self._show_it_goes_on, args=(title, began, ended), daemon=True
        )
        watcher.start()
        word = " failed"
        try:
            yield step
            word = f", {step.detail}" if step.detail else ""
        finally:
            ended.set()
            watcher.join()
            with self._lock:
                self._running = ""
                wipe = _WIPE_LINE if self._is_terminal else ""
                self._write(f"{wipe}{_timed(title + word, time.monotonic() - began)}\n")

    def _show_it_goes_on(self, title: str, began: float, ended: threading.Event) -> None:
        while not ended.wait(_REDRAW_SECONDS if self._is_terminal else QUIET_SECONDS):
            seconds = time.monotonic() - began
            if not self._is_terminal:
                self.line(_timed(f"{title} goes on", seconds))
                continue
            with self._lock:
                self._running = _timed(f"{title} ...", seconds)
                self._write(_WIPE_LINE + self._running)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except UnicodeEncodeError:
            self._stream.write(text.encode("ascii", "replace").decode("ascii"))
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the window was closed; the product goes on


def _timed(title: str, seconds: float) -> str:
    return f"  {title:<60} {seconds:6.1f} s"
