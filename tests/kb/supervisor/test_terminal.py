import io
import re

import pytest

from kb.supervisor import terminal as module
from kb.supervisor.terminal import Terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def without_seconds(text):
    return re.sub(r" +\d+\.\d s", " N s", text)


def test_a_step_is_one_line_with_its_seconds():
    stream = io.StringIO()

    with Terminal(stream).step("PostgreSQL") as step:
        step.detail = "18.4"

    assert without_seconds(stream.getvalue()) == "  PostgreSQL, 18.4 N s\n"


def test_a_failed_step_says_so_and_passes_the_error_on():
    stream = io.StringIO()

    with pytest.raises(KeyError), Terminal(stream).step("Valkey"):
        raise KeyError

    assert without_seconds(stream.getvalue()) == "  Valkey failed N s\n"


def test_a_long_step_says_that_it_goes_on(monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.01)
    stream = io.StringIO()
    terminal = Terminal(stream)

    with terminal.step("Packages"):
        while "goes on" not in stream.getvalue():
            pass

    lines = without_seconds(stream.getvalue()).splitlines()
    assert lines[0] == "  Packages goes on N s"
    assert lines[-1] == "  Packages N s"


def test_on_a_screen_lines_appear_above_the_step_under_way(monkeypatch):
    monkeypatch.setattr(module, "_REDRAW_SECONDS", 0.01)
    screen = Screen()
    terminal = Terminal(screen)

    with terminal.step("Demo"):
        while "Demo ..." not in screen.getvalue():
            pass
        terminal.line("50 prompts")

    assert "\r\x1b[K50 prompts\n  Demo ..." in screen.getvalue()
    assert without_seconds(screen.getvalue()).endswith("\r\x1b[K  Demo N s\n")


def test_nobody_reading_is_no_error():
    terminal = Terminal(Closed())

    with terminal.step("Web server"):
        terminal.line("hello")


def test_a_terminal_without_accents_gets_question_marks():
    raw = io.BytesIO()
    terminal = Terminal(io.TextIOWrapper(raw, encoding="ascii"))

    terminal.line("prêt")

    assert raw.getvalue() == b"pr?t\n"
