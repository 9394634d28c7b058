import json

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client

from accounts.actions import create_token

EVERYTHING = ("admin",)


class Caller:
    """A program with a token of `person`: `caller.post("prompts/", {...})`."""

    def __init__(self, person, scopes=EVERYTHING, **headers):
        self.person = person
        self.token = create_token(person=person, name="test", scopes=scopes, by=None)[1]
        self.headers = {"authorization": f"Bearer {self.token}", **headers}
        self._client = Client()

    def __call__(self, method, path, data=None, **headers):
        body = (
            {} if data is None else {"data": json.dumps(data), "content_type": "application/json"}
        )
        return self._client.generic(
            method, f"/api/v1/{path}", **body, headers={**self.headers, **headers}
        )

    def get(self, path, **headers):
        return self("GET", path, **headers)

    def post(self, path, data=None, **headers):
        return self("POST", path, data, **headers)

    def put(self, path, data=None, **headers):
        return self("PUT", path, data, **headers)

    def patch(self, path, data=None, **headers):
        return self("PATCH", path, data, **headers)

    def delete(self, path, **headers):
        return self("DELETE", path, **headers)


def told(response):
    """Status, code and names of wrong inputs of a refusal, whose shape is checked on the way."""
    assert response["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    error = response.json()["error"]
    assert sorted(error) == ["code", "fields", "message"]
    assert error["message"]
    assert all(isinstance(text, str) and text for text in error["fields"].values())
    return response.status_code, error["code"], sorted(error["fields"])


@pytest.fixture(autouse=True)
def _no_leftover_counts(settings):
    """Each test counts its own requests."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


@pytest.fixture
def time_machine_at():
    """Freeze the clock at a number of seconds since 1970."""
    return lambda seconds: time_machine.travel(seconds, tick=False)
