"""What every test may rely on: English words, no network but loopback, fast passwords."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.utils import translation
from hypothesis import settings as hypothesis_settings

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


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items):
    """Tests of the running product go in two rows: those in a browser, and those that start it."""
    for item in items:
        if "e2e" in item.path.parts:  # they are marked later, by their own conftest
            item.add_marker(pytest.mark.xdist_group("e2e"))
        elif item.get_closest_marker("stack"):
            item.add_marker(pytest.mark.xdist_group("stack"))
