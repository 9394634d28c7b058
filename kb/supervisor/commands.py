"""Running one command on the servers of an installation, started for it when nobody runs them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psycopg

from kb.supervisor import addresses
from kb.supervisor.crew import Crew
from kb.supervisor.data_folder import AlreadyHeld, held, make_data_folder
from kb.supervisor.product import Installation
from kb.supervisor.servers import EmbeddedServers
from kb.supervisor.stopping import StopRequests
from kb.supervisor.terminal import CannotStart, Terminal

_PATIENCE_SECONDS = 30.0
"""Another terminal may be starting the servers just now."""


@contextmanager
def with_servers(
    terminal: Terminal, environ: Mapping[str, str], *, alone: bool = False
) -> Iterator[dict[str, str]]:
    """Environment in which a process reaches the servers of this installation.

    Starts the embedded servers when they do not run, and stops them afterwards. With `alone`, raises
    CannotStart while `manage.py up` runs.
    """
    installation = Installation.of(environ)
    if not installation.is_embedded:
        yield installation.environment(environ)
        return
    make_data_folder(installation.data)
    try:
        with held(installation.data):
            environment = installation.environment(environ)
            with running_servers(terminal, installation.data, environment):
                yield environment
            return
    except AlreadyHeld:
        if alone:
            raise
    _wait_for_database(installation.data)
    yield installation.environment(environ)


@contextmanager
def running_servers(
    terminal: Terminal, data: Path, environment: Mapping[str, str], *, is_durable: bool = True
) -> Iterator[None]:
    """The embedded servers on a data directory that the caller holds."""
    requests = StopRequests()
    crew = Crew(addresses.run_dir(data) / "processes.json", terminal, requests)
    servers = EmbeddedServers(data, environment, crew, terminal, is_durable)
    try:
        servers.start()
        yield
    finally:
        servers.stop(requests.hurry)
        crew.dismiss()


def run_command(terminal: Terminal, environ: Mapping[str, str], command: Sequence[str]) -> int:
    """Run a command in the foreground on the servers of this installation; its exit code."""
    with with_servers(terminal, environ) as environment:
        return in_foreground(command, environment)


def in_foreground(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command that owns the terminal; its exit code. A request to end is passed on to it."""
    process = subprocess.Popen(command, cwd=addresses.ROOT, env=dict(environment))

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    former = {
        signal.SIGINT: signal.signal(
            signal.SIGINT, signal.SIG_IGN
        ),  # the terminal sends it to both
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        signal.SIGHUP: signal.signal(signal.SIGHUP, pass_on),
    }
    try:
        return process.wait()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _wait_for_database(data: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(addresses.database_url(data)).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"Retex runs on {data}, but its database does not answer: {error}"
                ) from error
            time.sleep(0.2)
