"""One company for all tests of a module: each test sees it whole, whatever the one before did."""

from __future__ import annotations

import contextlib
import copy
import json
from urllib.parse import urlencode

import pytest
import time_machine
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.utils import timezone, translation

from accounts.actions import create_token
from accounts.models import ApiToken
from tests.factories import later
from tests.promises.company import build


@pytest.fixture(scope="module")
def company(django_db_setup, django_db_blocker):
    with (
        django_db_blocker.unblock(),
        transaction.atomic(),
        translation.override("en"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(
            "django.conf.settings.PASSWORD_HASHERS",
            ["django.contrib.auth.hashers.MD5PasswordHasher"],
        )
        yield build()
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def _a_few_hours_later():
    """The clock of the doors stands where the company was built."""
    with time_machine.travel(later(hours=3), tick=False):
        yield


@pytest.fixture(autouse=True)
def _own_cache(settings):
    """No limit on requests counts what another test asked, and no server is needed."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_THROTTLE_RATES": {"person": "1000000/min"},
    }
    settings.ACCOUNT_RATE_LIMITS = False
    cache.clear()


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch):
    """Runs are queued as rows; nobody is rung."""
    for place in ("kb.views.monitors", "kb.views.monitor_setup", "api.views.monitors"):
        monkeypatch.setattr(f"{place}.ring", lambda run_id: None, raising=False)


@pytest.fixture
def clients(company):
    """Name of a person to a signed-in browser; mistakes of ours come back as 500."""
    made = {}
    for name, person in company.people.items():
        made[name] = Client(raise_request_exception=False)
        if person is not None:
            made[name].force_login(person)
    return made


def call(browser, method, path, data=None, **headers):
    """The answer to one request of a program, which leaves no row behind."""
    body = {} if data is None else {"data": json.dumps(data), "content_type": "application/json"}
    with undone():
        return browser.generic(method, f"/api/v1/{path}", **body, headers=headers)


def ask(browser, method, path, data=None, **headers):
    """The answer to one request, which leaves neither a row nor a cookie behind."""
    cookies = browser.cookies
    browser.cookies = copy.deepcopy(cookies)
    body = {}
    if data is not None:
        body = {
            "data": urlencode(data, doseq=True),
            "content_type": "application/x-www-form-urlencoded",
        }
    try:
        with undone():
            return browser.generic(method, path, **body, headers=headers)
    finally:
        browser.cookies = cookies


@pytest.fixture
def callers(company):
    """Name of a person to the headers of a program with their token of every scope."""
    made = {"anonymous": {}}
    for name, person in company.people.items():
        if person is not None:
            token, text = create_token(person=person, name="all", scopes=["admin"], by=person)
            ApiToken.objects.filter(pk=token.pk).update(last_used=timezone.now())
            made[name] = {"authorization": f"Bearer {text}"}
    return made


@contextlib.contextmanager
def undone():
    """What happens inside has not happened afterwards."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
