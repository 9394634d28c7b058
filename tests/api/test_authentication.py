from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client

from accounts.actions import create_token, create_user, revoke_token, set_active
from accounts.models import ApiToken
from api.urls import endpoints
from tests.api.conftest import Caller, told
from tests.factories import PASSWORD, make_admin, make_person, make_prompt

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def routes():
    """Every address of the API, with something in its places."""
    found = []
    for pattern in endpoints:
        path = str(pattern.pattern)
        for hole, value in (
            ("<slug:slug>", "x"),
            ("<int:pk>", "1"),
            ("<int:number>", "1"),
            ("<path:rest>", "no/such/thing"),
        ):
            path = path.replace(hole, value)
        methods = [
            name for name in ("get", "post", "put", "patch", "delete")
            if hasattr(pattern.callback.view_class, name)
        ]  # fmt: skip
        found += [(method.upper(), path) for method in methods]
    return found


def test_there_are_routes_to_walk():
    assert len(routes()) > 70


@pytest.mark.parametrize(("method", "path"), routes())
def test_strangers_are_asked_for_a_token_everywhere(method, path):
    answer = Client().generic(method, f"/api/v1/{path}")

    assert told(answer) == (401, "not_authenticated", [])
    assert answer["WWW-Authenticate"] == 'Bearer realm="retex"'
    assert answer["Cache-Control"] == "private, no-store"


WRITES = [(method, path) for method, path in routes() if method != "GET" and "no/such" not in path]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_token_that_may_read_changes_nothing(method, path):
    answer = Caller(make_admin(), ["read"])(method, path)

    if path.endswith("/render/"):
        assert answer.status_code == 404
    else:
        assert told(answer) == (403, "not_allowed", [])


ADMINISTRATION = [
    (method, path) for method, path in routes() if path.startswith(("connections/", "targets/"))
]


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
def test_provider_accounts_need_a_token_that_administers_and_a_person_who_does(method, path):
    by_writer = Caller(make_admin(), ["read", "write"])(method, path)
    by_author = Caller(make_person("curator"))(method, path, {"name": "x", "provider": "simulated"})

    assert told(by_writer) == (403, "not_allowed", [])
    assert "“admin”" in by_writer.json()["error"]["message"]
    assert told(by_author)[0] in (403, 422)
    assert told(by_author)[:2] == (403, "not_allowed") or method != "GET"


class TestTokens:
    def test_scopes_imply_the_lesser_ones(self):
        person = make_person()

        held = [Caller(person, [scope]).get("me/").json()["scopes"] for scope in ("read", "write", "admin")]  # fmt: skip

        assert held == [["read"], ["read", "write"], ["read", "write", "admin"]]
        assert Caller(person, ["write"]).get("prompts/").status_code == 200

    @pytest.mark.parametrize(
        "header",
        [
            *("", "Bearer", "Bearer ", "Bearer rtx_nobody", "Bearer  x y", "Token x", "Basic eDp5"),
            *("Bearer \x00", "Bearer é", "rtx_", "Bearer " + "x" * 5000),
        ],
    )
    def test_what_is_no_token_is_refused(self, header):
        answer = Client().get("/api/v1/me/", headers={"authorization": header})

        assert told(answer) == (401, "not_authenticated", [])

    def test_an_expired_token_is_refused_from_its_moment_on(self):
        text = create_token(person=make_person(), name="t", scopes=["read"], by=None, expires=NOW)[
            1
        ]
        headers = {"authorization": f"bearer {text}"}

        with time_machine.travel(NOW - timedelta(seconds=1), tick=False):
            before = Client().get("/api/v1/me/", headers=headers)
        with time_machine.travel(NOW, tick=False):
            after = Client().get("/api/v1/me/", headers=headers)

        assert (before.status_code, after.status_code) == (200, 401)

    def test_a_revoked_token_is_refused_at_once(self):
        caller = Caller(make_person())
        assert caller.get("me/").status_code == 200

        revoke_token(token=ApiToken.objects.get(), by=None, now=NOW)

        assert caller.get("me/").status_code == 401

    def test_a_closed_account_is_refused_at_once(self):
        make_admin()
        caller = Caller(make_person())

        set_active(person=caller.person, is_active=False, by=None)

        assert caller.get("me/").status_code == 401

    def test_a_demo_account_is_refused_where_people_work(self, settings):
        person = create_user(
            email="auteur@retex.example", name="A", password=PASSWORD, roles=[(None, "author")]
        )
        caller = Caller(person)
        assert caller.get("me/").status_code == 200

        settings.TESTING = settings.DEBUG = settings.EMBEDDED = False

        assert caller.get("me/").status_code == 401

    def test_its_use_is_noted_once_a_minute(self):
        caller, used = Caller(make_person()), []

        for seconds in (0, 59, 60):
            with time_machine.travel(NOW + timedelta(seconds=seconds), tick=False):
                caller.get("me/")
            used.append(ApiToken.objects.get().last_used)

        assert used == [NOW, NOW, NOW + timedelta(minutes=1)]

    def test_a_person_without_a_role_sees_nothing(self):
        make_prompt()
        nobody = Caller(make_person(None))

        assert nobody.get("prompts/").json()["count"] == 0
        assert nobody.get("retrospectives/").json()["count"] == 0
        assert nobody.get("me/").json()["roles"] == []


class TestSessions:
    def test_a_signed_in_browser_reads_without_a_token(self):
        browser, person = Client(), make_person()
        browser.force_login(person)

        answer = browser.get("/api/v1/me/")

        assert answer.status_code == 200
        assert answer.json()["scopes"] == ["read", "write", "admin"]

    def test_writing_needs_the_csrf_token(self):
        browser, prompt = Client(enforce_csrf_checks=True), make_prompt()
        browser.force_login(make_person())
        path = f"/api/v1/prompts/{prompt.slug}/vote/"

        without = browser.put(path)
        page = browser.get("/api/v1/docs/?script=")
        token = page.text.split('request.headers["X-CSRFTOKEN"] = "')[1].split('"')[0]
        with_token = browser.put(path, headers={"x-csrftoken": token})

        assert told(without) == (403, "not_allowed", [])
        assert with_token.json() == {"votes": 1, "voted": True}

    def test_a_bad_token_is_not_made_good_by_a_session(self):
        browser = Client()
        browser.force_login(make_person())

        answer = browser.get("/api/v1/me/", headers={"authorization": "Bearer rtx_wrong"})

        assert told(answer) == (401, "not_authenticated", [])


def test_answers_are_for_one_person_only():
    answer = Caller(make_person()).get("prompts/")

    assert answer["Cache-Control"] == "private, no-store"
    assert {"Authorization", "Cookie", "Accept-Language"} <= set(answer["Vary"].split(", "))


def test_messages_speak_the_language_asked_for():
    caller = Caller(make_person())

    english = caller.get("departments/", accept_language="en")
    french = caller.get("departments/", accept_language="fr-FR")

    assert (english["Content-Language"], french["Content-Language"]) == ("en", "fr")
