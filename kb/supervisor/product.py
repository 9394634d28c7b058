"""The product as processes: what is started, with which environment, and in which order."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from kb.supervisor import addresses
from kb.supervisor.crew import Crew, Kept, keep_running
from kb.supervisor.data_folder import held, make_data_folder
from kb.supervisor.network import answers, port_number, refuse_taken_address
from kb.supervisor.passwords import DEMO_ADDRESSES, demo_passwords
from kb.supervisor.private_files import secret_key
from kb.supervisor.processes import INSTANCE_VARIABLE, Child, Program, stop_all
from kb.supervisor.servers import EmbeddedServers
from kb.supervisor.stopping import StopAsked, StopRequests
from kb.supervisor.terminal import CannotStart, Terminal

GUNICORN_SETTINGS = addresses.ROOT / "deploy" / "gunicorn.conf.py"
WORKERS = {
    "worker": ("default", 2),
    "models": ("models", 2),
}
"""Process: its queue and its tasks at once. Slow calls to models must not hold mails up."""

WEB_PATIENCE = 5.0
"""Seconds; more than gunicorn's own. With those of the servers it stays below the ten of Ctrl-C."""
CELERY = (sys.executable, "-m", "celery", "--quiet", "-A", "kb.celery")
_SILENCED = "ignore:You're running the worker with superuser privileges"
"""Its danger is pickle, which we do not accept."""
_WEB_SECONDS = 120.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Installation:
    """What the environment says about this installation."""

    data: Path
    host: str
    port: int
    is_embedded: bool

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Installation:
        """Read it. Raises CannotStart for a port that is none."""
        return cls(
            data=addresses.data_dir(environ),
            host=environ.get("RETEX_BIND") or "127.0.0.1",
            port=port_number(environ.get("RETEX_PORT") or str(addresses.DEFAULT_PORT)),
            is_embedded=addresses.is_embedded(environ),
        )

    def base_url(self, environ: Mapping[str, str]) -> str:
        """The address people type."""
        return (environ.get("BASE_URL") or f"http://localhost:{self.port}").rstrip("/")

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Environment of what we start."""
        ours = {
            "DJANGO_SETTINGS_MODULE": "kb.settings",
            "PYTHONUNBUFFERED": "1",
            "RETEX_BOOTSTRAP": "0",
            "RETEX_BIND": self.host,
            "RETEX_DATA_DIR": str(self.data),
            "RETEX_PORT": str(self.port),
        }
        if self.is_embedded:
            ours |= {
                "DATABASE_URL": addresses.database_url(self.data),
                "REDIS_URL": addresses.redis_url(self.data),
                "RETEX_EMBEDDED": "1",
            }
            if not (environ.get("SECRET_KEY") or environ.get("SECRET_KEY_FILE")):
                ours["SECRET_KEY"] = secret_key(self.data)
        inherited = {name: value for name, value in environ.items() if name != "RETEX_PROCESS"}
        return inherited | ours


def up(terminal: Terminal, environ: Mapping[str, str]) -> int:
    """Start everything, look after it, stop everything when asked to. Raises CannotStart."""
    installation = Installation.of(environ)
    requests = StopRequests()
    make_data_folder(installation.data)
    with held(installation.data):
        requests.listen()
        crew = Crew(addresses.run_dir(installation.data) / "processes.json", terminal, requests)
        refuse_taken_address(installation.host, installation.port)
        environment = installation.environment(environ) | {INSTANCE_VARIABLE: crew.instance}
        servers = EmbeddedServers(installation.data, environment, crew, terminal)
        processes = _processes(environment, crew)
        try:
            if installation.is_embedded:
                servers.start()
            _prepare(crew, environment)
            _start(processes, installation, crew, environment)
            _welcome(installation, terminal, environment)
            keep_running([*servers.kept, *processes], requests)
        except StopAsked:
            terminal.line()
        finally:
            with terminal.step("Stopping") as step:
                stop_all([one.child for one in processes if one.child is not None], requests.hurry)
                servers.stop(requests.hurry)
                step.detail = "all has ended"
            crew.dismiss()
    return 0


def _prepare(crew: Crew, environment: Mapping[str, str]) -> None:
    """Bring database, translations and files to where this version wants them."""
    child = crew.start(
        Program(
            name="prepare",
            command=[sys.executable, "manage.py", "prepare"],
            environment=environment,
            directory=addresses.ROOT,
            death_signal=signal.SIGKILL,
            speaks_itself=True,
        )
    )
    try:
        while not child.has_ended():
            crew.requests.pause(_POLL_SECONDS)
    finally:
        stop_all([child], crew.requests.hurry)
    if child.exit_code:
        raise CannotStart("the preparation failed; its words are above.")


def _processes(environment: Mapping[str, str], crew: Crew) -> list[Kept]:
    """All that make up the product, the web server first."""
    return [
        Kept("web", partial(web_program, environment), crew),
        *(Kept(name, partial(worker_program, name, environment), crew) for name in WORKERS),
        Kept("beat", partial(beat_program, environment), crew),
    ]


def _start(
    processes: list[Kept], installation: Installation, crew: Crew, environment: Mapping[str, str]
) -> None:
    """Start the web server and, once it serves, the others."""
    web, *others = processes
    with crew.terminal.step("Web server"):
        _wait_for_web(installation, web.start(), environment, crew.requests)
    for one in others:
        one.start()


def web_program(environment: Mapping[str, str]) -> Program:
    """The web server."""
    return Program(
        name="web",
        command=[sys.executable, "-m", "gunicorn", "-c", GUNICORN_SETTINGS, "kb.wsgi"],
        environment={**environment, "RETEX_PROCESS": "web"},
        directory=addresses.ROOT,
        patience=WEB_PATIENCE,
    )


def worker_program(name: str, environment: Mapping[str, str]) -> Program:
    """A Celery worker for one queue."""
    queue, at_once = WORKERS[name]
    options = f"-n {name}@%h -Q {queue} -c {at_once} -l WARNING"
    unheard = "--without-gossip --without-mingle"  # what workers would tell each other
    return Program(
        name=name,
        command=[*CELERY, "worker", *options.split(), *unheard.split()],
        environment={**environment, "RETEX_PROCESS": "worker", "PYTHONWARNINGS": _SILENCED},
        directory=addresses.ROOT,
        death_signal=signal.SIGKILL,  # asked politely it would first finish its tasks, without a broker
    )


def beat_program(environment: Mapping[str, str]) -> Program:
    """The clock."""
    return Program(
        name="beat",
        command=[*CELERY, "beat", "-l", "WARNING", "--pidfile="],
        environment={**environment, "RETEX_PROCESS": "beat"},
        directory=addresses.ROOT,
    )


def _welcome(
    installation: Installation, terminal: Terminal, environment: Mapping[str, str]
) -> None:
    """Say where it is, who may come in, and how to stop it."""
    terminal.line()
    terminal.line(f"  Retex is running:  {installation.base_url(environment)}/")
    terminal.line()
    present = _demo_accounts(installation.data) if installation.is_embedded else []
    if present:
        passwords = demo_passwords(installation.data)
        terminal.line("  Sign in with one of the demo's accounts:")
        for address in present:
            terminal.line(f"    {address:<22} {passwords[address]:<36} {DEMO_ADDRESSES[address]}")
    else:
        terminal.line(
            "  Make an account:  python3 manage.py create_user you@company.example --role admin"
        )
    terminal.line()
    terminal.line(f"  Ctrl-C stops it. What it keeps is in {installation.data}")
    terminal.line()


def _demo_accounts(data: Path) -> list[str]:
    """The demo's accounts that can sign in."""
    try:
        with psycopg.connect(addresses.database_url(data)) as connection:
            rows = connection.execute(
                "SELECT email FROM accounts_user WHERE is_active AND email = ANY(%s)",
                [list(DEMO_ADDRESSES)],
            ).fetchall()
    except psycopg.Error:
        return []
    return sorted(row[0] for row in rows)


def _wait_for_web(
    installation: Installation, web: Child, environment: Mapping[str, str], requests: StopRequests
) -> None:
    host_header = urlsplit(installation.base_url(environment)).netloc
    deadline = time.monotonic() + _WEB_SECONDS
    while True:
        status = answers(installation.host, installation.port, "/readyz", host_header)
        if status == HTTPStatus.OK:
            return
        if web.has_ended():
            raise CannotStart(f"the web server {web.ending()}; its words are above.")
        if time.monotonic() > deadline:
            answer = "nothing" if status is None else f"status {status}"
            raise CannotStart(f"the web server answers {answer} on port {installation.port}.")
        requests.pause(_POLL_SECONDS)
