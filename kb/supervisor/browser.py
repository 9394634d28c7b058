"""A Chromium for the tests that walk the pages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

BROWSER_VARIABLE = "RETEX_CHROMIUM"
"""Tells the tests the path of the browser; absent when there is none."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_PLAYWRIGHT_CACHES = (".cache/ms-playwright", "Library/Caches/ms-playwright")
_ANSWER_SECONDS = 30
_INSTALL_SECONDS = 600


def find_browser(environ: Mapping[str, str]) -> str | None:
    """Path of a Chromium that runs; None when there is none."""
    return next((path for path in _places(environ) if _runs(path)), None)


def install_browser() -> None:
    """Install Chromium with apt where that is possible: Debian's kin, as root. Elsewhere do nothing."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return
    install = [apt, "install", "-y", "--no-install-recommends", "chromium"]
    if not _succeeds(install):
        # The package lists may be missing, as in a fresh container.
        _succeeds([apt, "update"])
        _succeeds(install)


def _places(environ: Mapping[str, str]) -> Iterator[str]:
    if named := environ.get(BROWSER_VARIABLE):
        yield named
        return
    yield from filter(None, map(shutil.which, _NAMES))
    yield from _MAC_PLACES
    for cache in _PLAYWRIGHT_CACHES:
        folder = Path(environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / cache)
        for pattern in (
            "chromium-*/chrome-linux*/chrome",
            "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
        ):
            yield from map(str, sorted(folder.glob(pattern), reverse=True))


def _runs(path: str) -> bool:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    # Ubuntu's package is a script that only says where to get the browser.
    return done.returncode == 0 and b"Chrom" in done.stdout


def _succeeds(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_INSTALL_SECONDS,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
