"""What every test may rely on: English words, no network but loopback, fast passwords."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.utils import translation
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

hypothesis_settings.register_profile("retex", deadline=None)  # a busy machine is no bug
hypothesis_settings.load_profile("retex")

IN_CI = bool(os.environ.get("CI"))


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture(autouse=True)
def _fast_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class Rows(LoadScopeScheduling):  # type: ignore[misc]
    """Of tests in several processes, those of the running product go in two rows of their own.

    One walks the pages in a browser, one starts and kills processes; both wait most of the time, and
    each keeps what it has started. The longest row begins first. All others are taken one by one.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = next((folder for folder in ROWS if nodeid.startswith(folder)), None)
        return ROWS[folder] if folder else nodeid


ROWS = {"tests/e2e/": "pages", "tests/stack/": "processes", "tests/kb/supervisor/": "processes"}


def pytest_xdist_make_scheduler(config, log):
    return Rows(config, log)
