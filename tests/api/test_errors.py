import json

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.test import Client
from psycopg_pool import PoolTimeout
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework.settings import api_settings

from api.throttling import parse_rate
from api.views.people import Me
from kb.core.errors import Unavailable
from tests.api.conftest import Caller, told
from tests.factories import make_connection, make_person, make_prompt

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller():
    return Caller(make_person())


def send(caller, body, method="POST", path="prompts/", content_type="application/json"):
    return Client().generic(
        method, f"/api/v1/{path}", body, content_type=content_type, headers=caller.headers
    )


class TestAddresses:
    def test_an_unknown_address_is_not_found(self, caller):
        assert told(caller.get("no/such/thing/")) == (404, "not_found", [])
        assert told(Client().get("/api/v2/")) == (404, "not_found", [])

    @pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
    def test_a_missing_slash_is_told_rather_than_redirected(self, caller, method):
        answer = caller(method, "prompts", {} if method != "GET" else None)

        assert told(answer) == (404, "not_found", [])
        assert "/api/v1/prompts/" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("path", ["prompts/a%00b/", "prompts/%ed%a0%80/", "runs/1.5/", "prompts/a b/", "runs/-1/"])  # fmt: skip
    def test_addresses_that_cannot_be_are_not_found(self, caller, path):
        assert told(caller.get(path)) == (404, "not_found", [])

    @pytest.mark.parametrize("number", ["0", "9" * 18, "9" * 19, "9" * 30, "9" * 5000])
    @pytest.mark.parametrize(
        "path",
        ["runs/{}/", "monitors/{}/", "retrospectives/{}/", "wishes/{}/", "comments/{}/"],
    )
    def test_numbers_of_any_length_are_not_found(self, caller, path, number):
        method = "DELETE" if path.startswith("comments") else "GET"

        assert told(caller(method, path.format(number))) == (404, "not_found", [])

    @pytest.mark.parametrize(("method", "path"), [("DELETE", "prompts/"), ("POST", "me/"), ("TRACE", "me/"), ("FROB", "me/")])  # fmt: skip
    def test_a_method_that_is_not_there_is_said(self, caller, method, path):
        answer = caller(method, path)

        assert told(answer) == (405, "method_not_allowed", [])
        assert "GET" in answer["Allow"]

    def test_what_nobody_can_render_is_not_acceptable(self, caller):
        assert told(caller.get("me/", accept="text/html")) == (406, "not_acceptable", [])

    def test_the_root_says_where_things_are(self, caller):
        found = caller.get("").json()

        assert found["prompts"] == "http://testserver/api/v1/prompts/"
        assert {caller.get(found[name].split("/api/v1/")[1]).status_code for name in found} <= {200, 403}  # fmt: skip


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            *(b"{", b"", b"{'a': 1}", b"nul", b"\xff\xfe", b'{"title": "\xff"}', b"{} x"),
            *(b'{"a": NaN}', b'{"a": Infinity}', b'{"a": ' + b"1" * 5000 + b"}", b"\x00"),
            *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 32 + b"]" * 32),
        ],
        ids=lambda body: repr(body[:12]),
    )
    def test_what_cannot_be_read_is_malformed(self, caller, body):
        expected = (422, "invalid") if body == b"" else (400, "malformed")

        assert told(send(caller, body))[:2] == expected

    @pytest.mark.parametrize("body", ["[]", '"text"', "null", "7", "true", "[{}]"])
    def test_json_that_is_no_object_is_said_to_be_none(self, caller, body):
        answer = send(caller, body)

        assert told(answer) == (422, "invalid", [])

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (r'{"title": "a\u0000b", "text": "x"}', "title"),
            (r'{"title": "t", "text": "\ud800"}', "text"),
            (r'{"title": "t", "text": "x", "tags": ["ok", "\udfff"]}', "tags.1"),
            (r'{"title": "t", "text": "x", "write_up": {"purpose": "\u0000"}}', "write_up.purpose"),
            (r'{"title": "t", "text": "x", "variables": [{"name": "a\u0000"}]}', "variables.0.name"),
            (r'{"title": "t", "text": "x", "variables": [{"\u0000": 1}]}', "variables.0"),
            (r'{"title": "t", "text": "x", "variables": 1e999}', "variables"),
        ],
    )  # fmt: skip
    def test_what_no_database_keeps_is_named_by_its_place(self, caller, body, field):
        assert told(send(caller, body)) == (422, "invalid", [field])

    def test_a_pair_of_surrogates_is_text(self, caller):
        answer = send(caller, r'{"title": "\ud83d\ude00 smile", "text": "x"}')

        assert answer.json()["title"] == "😀 smile"

    def test_a_byte_order_mark_is_passed_over(self, caller):
        answer = send(caller, b"\xef\xbb\xbf" + b'{"title": "t", "text": "x"}')

        assert answer.status_code == 201

    def test_three_megabytes_are_too_large(self, caller):
        answer = send(caller, json.dumps({"title": "t", "text": "x" * 3 * 1024 * 1024}))

        assert told(answer) == (413, "too_large", [])

    def test_a_text_beyond_its_limit_is_told_the_limit(self, caller):
        answer = send(caller, json.dumps({"title": "t", "text": "x" * 200_001}))

        assert told(answer) == (422, "invalid", ["text"])
        assert answer.json()["error"]["fields"]["text"] == (
            "200001 characters; at most 200000 fit."
        )

    @pytest.mark.parametrize(
        "content_type",
        ["text/csv", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"],
    )
    def test_other_kinds_of_bodies_are_not_read(self, caller, content_type):
        answer = send(caller, b"title=t", content_type=content_type)

        assert told(answer) == (415, "unsupported_media_type", [])

    @pytest.mark.parametrize("charset", ["punycode", "utf-16", "utf-7", "latin-1", "x"])
    def test_json_is_utf_8_whatever_else_is_claimed(self, caller, charset):
        answer = send(
            caller,
            '{"title": "été", "text": "x"}'.encode(),
            path="prompts/?",
            content_type=f"application/json; charset={charset}",
        )
        asked = Client().get(
            "/api/v1/prompts/?q=%C3%A9t%C3%A9",
            headers={**caller.headers, "content-type": f"text/plain; charset={charset}"},
        )

        assert (answer.status_code, answer.json()["title"]) == (201, "été")
        assert asked.status_code == 200

    def test_numbers_no_column_holds_are_refused(self, caller):
        prompt = make_prompt()
        huge = 10**40
        admin = Caller(make_connection().created_by)

        for answer, field in [
            (caller.post(f"prompts/{prompt.slug}/signals/", {"outcome": "worked", "version": huge}), "version"),
            (caller.post(f"prompts/{prompt.slug}/comments/", {"text": "x", "parent": huge}), "parent"),
            (caller.post("notifications/read/", {"ids": [huge]}), "ids.0"),
            (caller.patch(f"prompts/{prompt.slug}/", {"edition": huge}), "edition"),
            (admin.post("connections/", {"name": "x", "provider": "simulated", "calls_at_once": huge}), "calls_at_once"),
            (admin.post("connections/", {"name": "x", "provider": "simulated", "tokens_per_minute": huge}), "tokens_per_minute"),
            (admin.post("targets/", {"connection": huge, "model": "m"}), "connection"),
        ]:  # fmt: skip
            assert told(answer) == (422, "invalid", [field])


class TestServices:
    @pytest.mark.parametrize(
        "fault", [OperationalError("gone"), PoolTimeout("no place"), RedisConnectionError("away")]
    )
    def test_a_service_that_is_away_is_503_with_a_time(self, caller, monkeypatch, fault):
        def fail(*args, **kwargs):
            raise fault

        monkeypatch.setattr(Me, "get", fail)

        answer = caller.get("me/")

        assert told(answer) == (503, "unavailable", [])
        assert answer["Retry-After"] == "5"

    def test_the_domain_may_say_so_too(self, caller, monkeypatch):
        def fail(*args, **kwargs):
            raise Unavailable("The provider is away.")

        monkeypatch.setattr(Me, "get", fail)

        answer = caller.get("me/")

        assert told(answer) == (503, "unavailable", [])
        assert answer["Retry-After"] == "5"

    def test_a_bug_of_ours_is_500_in_the_same_shape(self, caller, monkeypatch):
        def fail(*args, **kwargs):
            raise ZeroDivisionError

        monkeypatch.setattr(Me, "get", fail)
        client = Client(raise_request_exception=False)

        answer = client.get("/api/v1/me/", headers=caller.headers)

        assert told(answer) == (500, "error", [])


class TestThrottling:
    @pytest.fixture
    def rate(self, monkeypatch):
        monkeypatch.setattr(
            type(api_settings), "DEFAULT_THROTTLE_RATES", {"person": "3/min"}, raising=False
        )
        monkeypatch.setitem(api_settings.__dict__, "DEFAULT_THROTTLE_RATES", {"person": "3/min"})

    def test_who_asks_too_much_is_told_when_to_go_on(self, caller, rate, time_machine_at):
        with time_machine_at(1_800_000_010):
            answers = [caller.get("me/") for _ in range(4)]
            other = Caller(make_person()).get("me/")
        with time_machine_at(1_800_000_065):
            later = caller.get("me/")

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert told(answers[3]) == (429, "throttled", [])
        assert answers[3]["Retry-After"] == "50"
        assert (other.status_code, later.status_code) == (200, 200)

    @pytest.mark.parametrize(
        ("rate", "parsed"),
        [("3000/min", (3000, 60)), ("5/s", (5, 1)), ("9/hour", (9, 3600)), ("1/day", (1, 86400))],
    )
    def test_a_rate_is_requests_and_seconds(self, rate, parsed):
        assert parse_rate(rate) == parsed

    @pytest.mark.parametrize("rate", ["", "fast", "10", "10/", "10/week", "-1/min", "1.5/min"])
    def test_a_wrong_rate_names_its_setting(self, rate):
        with pytest.raises(ImproperlyConfigured, match="RETEX_API_RATE"):
            parse_rate(rate)

    def test_without_the_cache_nobody_is_held_up(self, caller, rate, monkeypatch):
        class Away:
            def add(self, *args, **kwargs):
                raise RedisConnectionError("away")

        monkeypatch.setattr("api.throttling.cache", Away())

        assert [caller.get("me/").status_code for _ in range(5)] == [200] * 5
