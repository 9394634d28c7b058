"""A start with DEBUG off on a database of one's own refuses every unsafe setting, each by its name."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from kb.checks import demo_accounts, refuse_unsafe_start
from tests.factories import make_person

pytestmark = pytest.mark.django_db

GOOD_SECRET = "kettle-comet-violin-moss-anchor-42"
UNSAFE = {
    "SECRET_KEY is missing": ("SECRET_KEY", ""),
    "SECRET_KEY is short": ("SECRET_KEY", "short"),
    "SECRET_KEY is monotonous": ("SECRET_KEY", "ab" * 32),
    "an encryption key is short": ("RETEX_ENCRYPTION_KEYS", [GOOD_SECRET, "short"]),
    "any host": ("ALLOWED_HOSTS", ["retex.company.test", "*"]),
    "any host below a dot": ("ALLOWED_HOSTS", ["."]),
    "trusted strangers": ("CSRF_TRUSTED_ORIGINS", ["https://*"]),
    "a trusted top level": ("CSRF_TRUSTED_ORIGINS", ["https://*.com"]),
    "anybody may sign up": ("RETEX_SIGNUP_DOMAINS", ["*"]),
    "a top level may sign up": ("RETEX_SIGNUP_DOMAINS", ["com"]),
    "a chosen clock": ("RETEX_ALLOW_CLOCK", True),
    "no address": ("BASE_URL", "retex.company.test"),
}


@pytest.fixture(autouse=True)
def production(settings, monkeypatch):
    """The settings of a sound installation; the connection of the test outlives the check."""
    monkeypatch.setattr("kb.checks.connection.close", lambda: None)
    settings.DEBUG = settings.TESTING = settings.EMBEDDED = False
    settings.SECRET_KEY = GOOD_SECRET
    settings.RETEX_ENCRYPTION_KEYS = [GOOD_SECRET]
    settings.ALLOWED_HOSTS = ["retex.company.test"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://retex.company.test", "https://*.company.test"]
    settings.RETEX_SIGNUP_DOMAINS = ["company.test"]
    settings.BASE_URL = "https://retex.company.test"
    settings.RETEX_ALLOW_CLOCK = False


def test_unsafe_start_is_not_what_a_sound_installation_is():
    refuse_unsafe_start()


@pytest.mark.parametrize(("name", "value"), UNSAFE.values(), ids=UNSAFE)
def test_unsafe_start_is_refused_by_the_name_of_the_setting(settings, name, value):
    setattr(settings, name, value)

    with pytest.raises(ImproperlyConfigured, match=rf"will not start\.\n- {name}: \S[^\n]+$"):
        refuse_unsafe_start()


def test_unsafe_start_tells_every_reason_at_once_and_no_secret(settings):
    settings.SECRET_KEY = "too-short-a-secret"
    settings.ALLOWED_HOSTS = ["*"]
    make_person(email="lea@retex.example")

    with pytest.raises(ImproperlyConfigured) as refused:
        refuse_unsafe_start()

    lines = str(refused.value).splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == [
        "- SECRET_KEY",
        "- ALLOWED_HOSTS",
        "- demo accounts",
    ]
    assert "too-short-a-secret" not in str(refused.value)


def test_unsafe_start_names_open_demo_accounts_and_the_way_out():
    make_person(email="lea@retex.example")
    closed = make_person(email="max@retex.example")
    closed.is_active = False
    closed.save()

    with pytest.raises(ImproperlyConfigured, match=r"lea@retex\.example.*remove_demo_accounts"):
        refuse_unsafe_start()

    assert demo_accounts() == ["lea@retex.example"]


@pytest.mark.parametrize("trial", ["DEBUG", "EMBEDDED"])
def test_unsafe_start_is_allowed_for_a_trial(settings, trial):
    settings.ALLOWED_HOSTS = ["*"]
    settings.RETEX_ALLOW_CLOCK = True
    make_person(email="lea@retex.example")
    setattr(settings, trial, True)

    refuse_unsafe_start()
