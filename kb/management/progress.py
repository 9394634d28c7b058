"""A progress bar for commands: a line that grows in a terminal, a line each tenth elsewhere."""

from __future__ import annotations

import sys
from typing import TextIO

WIDTH = 32


class Progress:
    """Counts up to `total`; call it once per thing done."""

    def __init__(self, total: int, out: TextIO | None = None) -> None:
        self.total, self.done, self.out = max(total, 1), 0, out or sys.stderr
        self._tenth = 0

    def __call__(self) -> None:
        self.done += 1
        tenth = self.done * 10 // self.total
        if self.out.isatty():
            filled = WIDTH * self.done // self.total
            bar = "█" * filled + "·" * (WIDTH - filled)
            self.out.write(f"\r{bar} {self.done}/{self.total}")
            if self.done == self.total:
                self.out.write("\n")
            self.out.flush()
        elif tenth > self._tenth:
            self._tenth = tenth
            self.out.write(f"{tenth * 10} % ({self.done}/{self.total})\n")
            self.out.flush()
