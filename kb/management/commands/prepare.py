"""manage.py prepare: bring database, translations and static files to where this version wants them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from io import StringIO, TextIOBase
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from redis import Redis, RedisError

from accounts.models import User
from kb.checks import refuse_unsafe_start
from kb.prompts.models import Prompt
from kb.supervisor import addresses
from kb.supervisor.catalogues import BrokenCatalogue, compile_outdated
from kb.supervisor.terminal import Terminal

PATIENCE_SECONDS = 60.0
"""A database in a container of its own may start later than we do."""
STATIC_STAMP = "static.stamp"


class Command(BaseCommand):
    help = "Migrate, compile translations, collect static files; once, load the demo of `manage.py up`."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        terminal = Terminal()
        try:
            refuse_unsafe_start()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if not settings.EMBEDDED:
            _wait_for_servers(terminal)
        addresses.run_dir(settings.DATA_DIR).mkdir(parents=True, exist_ok=True)
        _migrate(terminal)
        _compile_catalogues(terminal)
        _collect_static(terminal)
        if settings.EMBEDDED and settings.RETEX_DEMO:
            _load_demo(terminal)


def _wait_for_servers(terminal: Terminal) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with terminal.step("Database and broker answer"):
        _wait_for(_ask_database, "DATABASE_URL", deadline)
        _wait_for(_ask_broker, "REDIS_URL", deadline)


def _wait_for(ask: Callable[[], None], name: str, deadline: float) -> None:
    while True:
        try:
            ask()
            return
        except (OperationalError, RedisError) as error:
            if time.monotonic() > deadline:
                raise CommandError(
                    f"The server that {name} names does not answer: {error}"
                ) from error
            time.sleep(0.5)


def _ask_database() -> None:
    connection.ensure_connection()


def _ask_broker() -> None:
    client = Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=2)
    try:
        client.ping()
    finally:
        client.close()


def _migrate(terminal: Terminal) -> None:
    with terminal.step("Database tables") as step:
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if missing:
            call_command("migrate", interactive=False, verbosity=0)
        step.detail = f"{missing} migrations applied" if missing else "up to date"


def _compile_catalogues(terminal: Terminal) -> None:
    with terminal.step("Translations") as step:
        try:
            compiled = compile_outdated(Path(folder) for folder in settings.LOCALE_PATHS)
        except BrokenCatalogue as error:
            raise CommandError(str(error)) from error
        step.detail = f"{len(compiled)} catalogues compiled" if compiled else "up to date"


def _collect_static(terminal: Terminal) -> None:
    stamp = addresses.run_dir(settings.DATA_DIR) / STATIC_STAMP
    with terminal.step("Static files") as step:
        fingerprint = hashlib.sha256("\n".join(sorted(_static_sources())).encode()).hexdigest()
        if (
            stamp.exists()
            and stamp.read_text("ascii") == fingerprint
            and settings.STATIC_ROOT.is_dir()
        ):
            step.detail = "up to date"
            return
        stamp.unlink(missing_ok=True)
        call_command("collectstatic", interactive=False, clear=True, verbosity=0, stdout=StringIO())
        stamp.write_text(fingerprint, "ascii")
        step.detail = "collected"


def _load_demo(terminal: Terminal) -> None:
    """Fill a database in which nobody has written anything yet."""
    if Prompt.objects.exists() or User.objects.exists():
        return
    with terminal.step("Demo content"):
        call_command("load_demo", stdout=_Indented(terminal))


class _Indented(TextIOBase):
    """Shows what another command says above the step that is under way."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        self._terminal.line(f"    {text.rstrip()}")
        return len(text)


def _static_sources() -> Iterator[str]:
    """What tells the static files of this version from those of another: names, sizes, times."""
    yield settings.STORAGES["staticfiles"]["BACKEND"]
    for finder in get_finders():
        for name, storage in finder.list([]):
            about = Path(storage.path(name)).stat()
            yield f"{name} {about.st_size} {about.st_mtime_ns}"
