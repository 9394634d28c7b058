"""`make test`: every check of the code, then every test, on servers that nobody else uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kb.supervisor import addresses
from kb.supervisor.browser import BROWSER_VARIABLE, find_browser, install_browser
from kb.supervisor.catalogues import BrokenCatalogue, compile_outdated
from kb.supervisor.commands import in_foreground, running_servers
from kb.supervisor.data_folder import held, make_data_folder
from kb.supervisor.terminal import CannotStart, Terminal

TYPED = ("kb", "accounts", "api", "manage.py")

_PRODUCT_VARIABLES = {
    *(
        "ALLOWED_HOSTS",
        "BASE_URL",
        "CSRF_TRUSTED_ORIGINS",
        "DEBUG",
        "DEFAULT_FROM_EMAIL",
        "EMAIL_URL",
    ),
    *("LOG_LEVEL", "SECRET_KEY", "SECRET_KEY_FILE", "TZ"),
}
_SLOWING = {"PYTHONDONTWRITEBYTECODE"}
"""Dozens of processes would each compile the product again."""
_NO_TESTS = 5
"""pytest's exit code when it found nothing to run."""
_MOST_ROWS = 8
"""Each has a database of its own on one small server; more would wait for it."""


@dataclass(frozen=True)
class Outcome:
    """How one check went."""

    name: str
    has_passed: bool
    seconds: float


def run_tests(terminal: Terminal, environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run pytest with these arguments on servers of its own; its exit code."""
    with environment_of_tests(terminal, environ) as environment:
        return in_foreground([sys.executable, "-m", "pytest", *arguments], environment)


def verify(terminal: Terminal, environ: Mapping[str, str], *, with_tests: bool) -> int:
    """Run all checks, and all tests if wanted, even when some fail. 0 when everything passed."""
    outcomes = []
    with environment_of_tests(terminal, environ, installs_browser=with_tests) as environment:
        for name, command in _checks():
            outcomes.append(_check(terminal, name, command, environment))
        if with_tests:
            outcomes.append(_browser(environment))
            outcomes.append(_tests(terminal, "tests (pytest)", _pytest(), environment))
    terminal.line()
    for outcome in outcomes:
        word = "passed" if outcome.has_passed else "FAILED"
        terminal.line(f"  {word}  {outcome.name:<52} {outcome.seconds:6.1f} s")
    return 0 if all(outcome.has_passed for outcome in outcomes) else 1


@contextmanager
def environment_of_tests(
    terminal: Terminal, environ: Mapping[str, str], *, installs_browser: bool = False
) -> Iterator[dict[str, str]]:
    """The environment of tests: servers and a data directory that exist only meanwhile.

    DATABASE_URL and REDIS_URL are used instead when they are set. Nothing else of the caller's own
    installation shines through.
    """
    try:
        compile_outdated([addresses.ROOT / "locale"])
    except BrokenCatalogue as error:
        raise CannotStart(str(error)) from error
    if installs_browser and find_browser(environ) is None:
        with terminal.step("Installing Chromium"):
            install_browser()
    browser = find_browser(environ)
    clean = {
        name: value
        for name, value in environ.items()
        if not name.startswith("RETEX_") and name not in _PRODUCT_VARIABLES | _SLOWING
    }
    clean |= {"RETEX_BOOTSTRAP": "0"} | ({BROWSER_VARIABLE: browser} if browser else {})
    data = Path(tempfile.mkdtemp(prefix="retex-test-"))
    (data / "static").mkdir()  # each request would warn that there is none
    try:
        environment = clean | {"RETEX_DATA_DIR": str(data)}
        if not addresses.is_embedded(environ):
            yield environment
            return
        make_data_folder(data)
        environment |= {
            "DATABASE_URL": addresses.database_url(data),
            "REDIS_URL": addresses.redis_url(data),
        }
        with held(data), running_servers(terminal, data, environment, is_durable=False):
            yield environment
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _checks() -> list[tuple[str, list[str]]]:
    """Names and commands of the checks that read the code only."""
    python = [sys.executable, "-m"]
    checks = [
        ("style (ruff check)", [*python, "ruff", "check"]),
        ("layout (ruff format)", [*python, "ruff", "format", "--check"]),
        ("types (mypy)", [*python, "mypy", *TYPED]),
    ]
    settings = tomllib.loads((addresses.ROOT / "pyproject.toml").read_text("utf-8"))
    if "importlinter" in settings.get("tool", {}):
        program = str(Path(sys.executable).with_name("lint-imports"))
        checks.append(("imports (import-linter)", [program, "--no-logo"]))
    migrations = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]
    return [*checks, ("migrations match the models", migrations)]


def _check(
    terminal: Terminal, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> Outcome:
    began = time.monotonic()
    with terminal.step(name[0].upper() + name[1:]) as step:
        done = subprocess.run(
            command,
            cwd=addresses.ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            step.detail = "FAILED"
    if done.returncode:
        terminal.line(done.stdout)
    return Outcome(name, done.returncode == 0, time.monotonic() - began)


def _browser(environment: Mapping[str, str]) -> Outcome:
    """Where CI is set the browser tests must run; elsewhere they may be skipped."""
    if BROWSER_VARIABLE in environment:
        return Outcome(f"browser ({environment[BROWSER_VARIABLE]})", has_passed=True, seconds=0)
    text = "no Chromium found: the tests that walk the pages are skipped"
    return Outcome(text, has_passed=not environment.get("CI"), seconds=0)


def _pytest() -> list[str]:
    """All tests, in one row more than there are processors.

    Those that walk the pages and those that start and kill the product wait most of the time;
    tests/conftest.py gives each of these two a row of its own, and the others fill the rest.
    """
    rows = min(_MOST_ROWS, (os.cpu_count() or 1) + 1)
    words = ["-n", str(rows), "--durations", "10"]
    return [sys.executable, "-m", "pytest", *words]


def _tests(
    terminal: Terminal, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> Outcome:
    began = time.monotonic()
    terminal.line()
    code = in_foreground(command, environment)
    return Outcome(name, code in (0, _NO_TESTS), time.monotonic() - began)
