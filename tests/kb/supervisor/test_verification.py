"""`make test`: one failure is a failure, and the caller's own installation does not shine through."""

import os
import sys

import pytest

from kb.supervisor import verification
from kb.supervisor.browser import BROWSER_VARIABLE

PASSES = [sys.executable, "-c", "print('all is well')"]
FAILS = [sys.executable, "-c", "print('line 3 is wrong'); raise SystemExit(1)"]
PASSED = "passed tests (pytest)"
ELSEWHERE = {"DATABASE_URL": "postgres://somewhere/test", "REDIS_URL": "redis://somewhere/0"}


@pytest.fixture
def bench(monkeypatch, terminal):
    """Runs given checks, and tests that end with a given code."""
    monkeypatch.setattr(verification, "find_browser", lambda environ: environ.get("A_BROWSER"))
    monkeypatch.setattr(verification, "install_browser", lambda: None)
    monkeypatch.setattr(verification, "compile_outdated", lambda folders: [])

    def run(*checks, tests=None, **environ):
        monkeypatch.setattr(verification, "_checks", lambda: list(checks))
        monkeypatch.setattr(verification, "in_foreground", lambda command, environment: tests)
        environ = {"PATH": os.environ["PATH"]} | ELSEWHERE | environ
        code = verification.verify(terminal, environ, with_tests=tests is not None)
        summary = [
            " ".join(line.split()[:-2]) for line in terminal.text.rpartition("\n\n")[2].splitlines()
        ]
        return code, summary

    return run


def test_when_everything_passes_the_exit_code_says_so(bench, terminal):
    code, summary = bench(("style", PASSES), tests=0, A_BROWSER="/usr/bin/chromium")

    assert code == 0
    assert summary == [
        "passed style",
        "passed browser (/usr/bin/chromium)",
        PASSED,
    ]
    assert "all is well" not in terminal.text


def test_one_failed_check_fails_and_the_others_still_run(bench, terminal):
    code, summary = bench(("style", FAILS), ("types", PASSES), tests=0, A_BROWSER="x")

    assert code == 1
    assert summary == [
        "FAILED style",
        "passed types",
        "passed browser (x)",
        PASSED,
    ]
    assert "line 3 is wrong" in terminal.text


def test_failed_tests_fail(bench):
    code, summary = bench(tests=1, A_BROWSER="x")

    assert (code, summary) == (1, ["passed browser (x)", "FAILED tests (pytest)"])


@pytest.mark.parametrize(("processors", "rows"), [(1, "2"), (2, "3"), (64, "8"), (None, "2")])
def test_one_row_of_tests_more_than_processors_up_to_a_limit(monkeypatch, processors, rows):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)

    assert verification._pytest() == [
        *(sys.executable, "-m", "pytest", "-n", rows, "--durations", "10")
    ]


@pytest.mark.parametrize(("ci", "code", "word"), [("", 0, "passed"), ("1", 1, "FAILED")])
def test_a_missing_browser_fails_only_where_nobody_would_notice(bench, ci, code, word):
    text = "no Chromium found: the tests that walk the pages are skipped"

    assert bench(tests=0, CI=ci) == (code, [f"{word} {text}", PASSED])


def test_lint_alone_runs_no_test_and_needs_no_browser(bench):
    assert bench(("style", PASSES), CI="1") == (0, ["passed style"])


def test_the_caller_s_installation_does_not_shine_through(terminal):
    environ = ELSEWHERE | {
        "RETEX_DATA_DIR": "/srv/retex",
        "RETEX_EMBEDDED": "1",
        "SECRET_KEY": "of the caller",
        "DEBUG": "1",
        "PATH": "/bin",
        "CI": "1",
        BROWSER_VARIABLE: "/nowhere/chrome",
    }

    with verification.environment_of_tests(terminal, environ) as environment:
        data = environment.pop("RETEX_DATA_DIR")
        assert os.path.isdir(data)

    assert environment == ELSEWHERE | {"PATH": "/bin", "CI": "1", "RETEX_BOOTSTRAP": "0"}
    assert not os.path.exists(data)


@pytest.mark.stack
def test_the_servers_of_tests_exist_only_meanwhile(terminal):
    with verification.environment_of_tests(terminal, {"PATH": os.environ["PATH"]}) as environment:
        sockets = os.listdir(f"{environment['RETEX_DATA_DIR']}/run")

    assert {".s.PGSQL.5432", "valkey.sock"} <= set(sockets)
    assert not os.path.exists(environment["RETEX_DATA_DIR"])


def test_the_checks_name_programs_that_exist():
    for _, command in verification._checks():
        assert os.path.exists(command[0])
