"""Ctrl-C and its kin."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class StopAsked(Exception):
    """Somebody asked to stop while we were waiting for something."""


class StopRequests:
    """What Ctrl-C and its kin ask for: the first time to stop, the second time to hurry."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.hurry = threading.Event()

    def listen(self) -> None:
        """Take the signals of this process over."""
        signal.signal(signal.SIGINT, self._asked)
        signal.signal(signal.SIGTERM, self._asked)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants us to live on
            signal.signal(signal.SIGHUP, self._asked)

    def pause(self, seconds: float) -> None:
        """Wait so long. Raises StopAsked as soon as somebody asks to stop."""
        if self.stop.wait(seconds):
            raise StopAsked

    def _asked(self, number: int, frame: FrameType | None) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()
