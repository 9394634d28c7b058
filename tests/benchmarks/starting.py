"""make bench-start: from nothing to the first page, and once more.

    python -m tests.benchmarks.starting [--write-docs]

Clones this checkout into a folder of its own, as a newcomer would, and says `make run` there.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kb.supervisor.addresses import ROOT
from tests.benchmarks import report
from tests.stack.product import free_port

PATIENCE_SECONDS = 900
LOOK_SECONDS = 0.05
PAGE = "accounts/login/"


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds to the first page, to the line that says how to stop, and from Ctrl-C to the end."""

    page: float
    said: float
    stop: float


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-start", description="Start to first page.")
    parser.add_argument(
        "--write-docs", action="store_true", help="bring docs/benchmarks.md up to date"
    )
    wanted = parser.parse_args(arguments)
    about = report.machine_line(report.machine())
    with tempfile.TemporaryDirectory(prefix="retex-start-") as folder:
        clone = Path(folder) / "retex"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        first, second = started(clone), started(clone)
    text = f"{about}\n\n{table(first, second)}"
    print(text)
    if wanted.write_docs:
        report.write_section("starting", text)
    return 0


def started(clone: Path) -> Start:
    """Say `make run`, wait for the first page, stop. Raises RuntimeError with what it said."""
    port = free_port()
    log = clone.parent / "said.log"
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=clone,
            env=_environment(port),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        page = said = 0.0
        while not (page and said):
            passed = time.monotonic() - began
            if process.poll() is not None or passed > PATIENCE_SECONDS:
                raise RuntimeError(log.read_text("utf-8"))
            page = page or (passed if _answers(port) else 0.0)
            said = said or (passed if b"Ctrl-C stops it" in log.read_bytes() else 0.0)
            time.sleep(LOOK_SECONDS)
    finally:
        ending = time.monotonic()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    return Start(page, said, time.monotonic() - ending)


def _environment(port: int) -> Mapping[str, str]:
    """That of a newcomer: nothing of ours."""
    ours = ("RETEX_", "DATABASE_", "REDIS_", "DJANGO_", "MAKE", "MFLAGS", "SECRET_KEY", "VIRTUAL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"RETEX_PORT": str(port)}


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/{PAGE}", timeout=5) as response:
            return bool(response.status == 200 and b"</html>" in response.read())
    except (urllib.error.URLError, OSError):
        return False


def table(first: Start, second: Start) -> str:
    """What was measured, as Markdown."""
    rows = [
        (name, *(f"{getattr(start, field):.1f}" for start in (first, second)))
        for name, field in (
            ("seconds to the first page", "page"),
            ("seconds until it says how to stop", "said"),
            ("seconds from Ctrl-C to the end", "stop"),
        )
    ]
    return report.table(("", "first start", "second start"), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
