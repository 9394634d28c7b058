"""A Retex of its own for a bench: data directory, embedded servers, environment, web server.

Nothing of the caller's own installation shines through, and nothing of it can be touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kb.supervisor import addresses
from kb.supervisor.commands import running_servers
from kb.supervisor.data_folder import held, make_data_folder
from kb.supervisor.network import answers
from kb.supervisor.processes import Child, launched, stop_all
from kb.supervisor.product import Installation, web_program
from kb.supervisor.terminal import Terminal

_OF_THE_CALLER = ("RETEX_", "PG", "DATABASE_URL", "REDIS_URL", "DJANGO_")
_NAMED = {"ALLOWED_HOSTS", "BASE_URL", "DEBUG", "EMAIL_URL", "SECRET_KEY", "SECRET_KEY_FILE", "TZ"}
_WEB_SECONDS = 60.0
_POLL_SECONDS = 0.1
PORT = 8791
"""Of the bench's web server unless RETEX_BENCH_PORT names another."""
SETTINGS = "tests.benchmarks.search_settings"
"""Those of the product and one page more; see search_floor.py."""


class BenchError(Exception):
    """A bench cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class House:
    """Running servers on a data directory, and the environment that reaches them."""

    data: Path
    environment: Mapping[str, str]
    terminal: Terminal

    @property
    def port(self) -> int:
        return int(self.environment["RETEX_PORT"])

    def run(self, *arguments: str | Path) -> None:
        """Run Python with these arguments here. Raises BenchError when it fails."""
        # It ends with us, whatever ends us.
        command = launched([sys.executable, *arguments], signal.SIGTERM)
        done = subprocess.run(command, cwd=addresses.ROOT, env=dict(self.environment), check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(map(str, arguments[:3]))} failed; its words are above.")

    @contextmanager
    def web_server(self) -> Iterator[None]:
        """The product's web server, with its own settings, while the block runs."""
        environment = {**self.environment, "DJANGO_SETTINGS_MODULE": SETTINGS}
        child = Child(web_program(environment), self.terminal)
        try:
            deadline = time.monotonic() + _WEB_SECONDS
            while answers("127.0.0.1", self.port, "/readyz", f"localhost:{self.port}") != 200:
                if child.has_ended() or time.monotonic() > deadline:
                    raise BenchError(f"The web server does not answer on port {self.port}.")
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            stop_all([child], threading.Event())


@contextmanager
def open_house(data: Path) -> Iterator[House]:
    """The embedded servers on this data directory, made when it is missing, while the block runs.

    They do not wait for the disk: a crash may spoil the directory, and reading is as in earnest.
    """
    data = data.resolve()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OF_THE_CALLER) and name not in _NAMED
    }
    inherited |= {
        "RETEX_DATA_DIR": str(data),
        "RETEX_PORT": os.environ.get("RETEX_BENCH_PORT") or str(PORT),
        "LOG_LEVEL": "WARNING",
    }
    terminal = Terminal()
    make_data_folder(data)
    with held(data):
        environment = Installation.of(inherited).environment(inherited)
        with running_servers(terminal, data, environment, is_durable=False):
            yield House(data, environment, terminal)
