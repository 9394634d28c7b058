import pytest

from kb.supervisor.browser import BROWSER_VARIABLE, find_browser


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program of this name on an otherwise empty path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kb.supervisor.browser._MAC_PLACES", ())

    def make(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make


def test_a_browser_on_the_path_is_found(program):
    path = program("google-chrome", "echo Google Chrome 149.0")

    assert find_browser({}) == path


def test_a_package_that_only_points_elsewhere_is_no_browser(program):
    program("chromium-browser", "echo please install the snap; exit 1")

    assert find_browser({}) is None


def test_the_browser_of_playwright_is_found(program, tmp_path):
    path = program(
        ".cache/ms-playwright/chromium-1200/chrome-linux64/chrome", "echo Chromium 149.0"
    )

    assert find_browser({}) == path


def test_a_named_browser_is_taken_and_no_other(program, tmp_path):
    program("chromium", "echo Chromium 149.0")
    named = program("mine/chrome", "echo Chromium 150.0")

    assert find_browser({BROWSER_VARIABLE: named}) == named
    assert find_browser({BROWSER_VARIABLE: str(tmp_path / "missing")}) is None
