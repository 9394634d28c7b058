"""Small real processes, and patience for them."""

import os
import signal
import sys
import time

from kb.supervisor.processes import Program

SLEEPS = "import time; print('up'); time.sleep(600)"
STUBBORN = f"import signal; signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); {SLEEPS}"
PATIENCE_SECONDS = 40
"""Generous: machines that run tests are busy."""


def python(name, code, **options):
    """A program that runs this Python code."""
    options.setdefault("environment", {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"})
    options.setdefault("directory", "/")
    return Program(name=name, command=[sys.executable, "-c", code], **options)


def wait_until(condition, seconds=PATIENCE_SECONDS):
    """The first true answer of `condition`; an AssertionError when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")
