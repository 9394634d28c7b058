"""Promises NO-500 and BOUNDED: no input makes the product stumble, and every limit is told."""

from __future__ import annotations

import itertools

import pytest
from django.db import OperationalError, connections
from django.test import Client
from redis import ConnectionError as RedisConnectionError

from tests.promises.conftest import ask, call, undone
from tests.promises.routes import API, PAGES

pytestmark = pytest.mark.django_db

DIGITS = "9" * 10_000
LONG = "x" * 300_000
TEXTS = ("", "\x00", "\ud800", "-1", DIGITS)
"""What is put into each field of each form in turn."""
VALUES = (None, [[]], True, -1, 2**63, 1e308, DIGITS, {"a": {"b": []}}, ["x" * 300])
"""What is put into each name of each JSON body in turn."""
QUERIES = (
    "page=-1",
    "page=%00&q=%00&sort=%00&status=%00&tag=%00&department=%00&tool=%00&language=%00&state=%00",
    "page=%FF&q=%FF%FE&title=%C3&find=%ED%A0%80&tag=%FF&department=%FF&version=%FF&case=%FF",
    f"q={'a' * 5_000}&sort=nonsense&title={'a' * 5_000}&find={'%20a' * 1_000}",
    f"page={DIGITS}&q=(((%22-OR%20&version={DIGITS}&from={DIGITS}&to=-1&case={DIGITS}&prompt={DIGITS}",
    f"format=csv&outcome=nonsense&use_case=%00&format=json&page_size={DIGITS}&all=2",
    "q[]=1&q=1&q=2&page=1&page=2&sort[a]=b&page=٣&version=٣&from=²&page_size=²",
)
HEADERS = (
    {"Accept-Language": "x" * 5_000, "HX-Request": "true"},
    {"Accept-Language": "fr;q=nonsense,*;q=9,\x80", "HX-Current-URL": "::::", "HX-Target": "\x80"},
    {"HX-Request": "true", "HX-Boosted": "true", "HX-History-Restore-Request": "true"},
    {"Accept": "image/png;q=x", "Range": "bytes=9-1", "If-None-Match": "x", "If-Match": 'W/"'},
    {"Authorization": "Bearer \x80", "Cookie": "retex_session=%00; retex_language=%00;;;=="},
    {"Idempotency-Key": "x" * 5_000, "If-Match": '"' + DIGITS, "Content-Type": "text/\x80"},
    {"If-Modified-Since": "yesterday", "Referer": "http://[", "Origin": "null", "Cookie": "\x80"},
)
FORM = "application/x-www-form-urlencoded"
BODIES = (
    ("", "application/json"),
    ("[1]", "application/json"),
    ('"text"', "application/json"),
    ("null", "application/json"),
    ("NaN", "application/json"),
    ("[" * 50_000, "application/json"),
    ('{"title": ' + DIGITS + "}", "application/json"),
    (b'{"title": "\xff"}', "application/json; charset=utf-16"),
    (b'{"title": "\\ud800"}', "application/json; charset=nonsense"),
    (b"\x1f\x8b\x00", "application/gzip"),
    ("<x/>", "text/xml"),
    (b"title=%FF&text=%00", FORM + "; charset=nonsense"),
    (b"no boundary", "multipart/form-data"),
    (b"--x\r\nnothing", "multipart/form-data; boundary=x"),
    ("&".join(f"a{n}=1" for n in range(2_100)), FORM),
    ("title=" + "x" * (2 * 1024 * 1024 + 1), FORM),
)
SEEN = ("home", "prompts", "prompt", "retrospective-new", "monitors", "account_login")
"""Pages that read headers in each way there is: language, fragments, sessions, conditions."""
SENT = ("account_login", "prompt-new", "prompt-comment", "retrospective-new", "monitor-new")
"""Forms, and below programs, that read bodies in each way there is."""
SENT_TO_THE_API = ("prompts", "prompt", "comments", "vote", "monitor", "notifications-read")


@pytest.fixture
def author(clients):
    """The pages as the author sees them, who may most of what concerns a prompt."""
    return clients["author"]


def addresses(company, table, space=""):
    """Name, method, path and a good body of everything in a table, about a published prompt."""
    things = company.things["company"]
    for name, route in table.items():
        for method, act in route.acts.items():
            yield (
                name,
                method,
                route.path(space + name, company, things),
                act.sends(company, things),
            )


def one_by_one(body, values):
    """The body with one value replaced, for each name and value."""
    for name, value in itertools.product(body, values):
        yield name, {**body, name: value}


def who_for(clients, table, name):
    right = next(iter(table[name].acts.values())).right
    return clients["admin" if right == "admin" else "author"]


def test_no_500_for_any_query_or_header(company, clients):
    """NO-500: every address that is looked at, with queries and headers nobody means."""
    stumbled = []
    for name, method, path, _body in addresses(company, PAGES):
        if method != "GET" or name in ("healthz", "readyz", "connection-models"):
            continue
        browser = who_for(clients, PAGES, name)
        for query in QUERIES:
            status = ask(browser, "GET", f"{path}?{query}").status_code
            stumbled += [(name, query[:60], status)] if status >= 500 else []
        for headers in HEADERS if name in SEEN else ():
            status = ask(browser, "GET", path, **headers).status_code
            stumbled += [(name, str(headers)[:60], status)] if status >= 500 else []

    assert stumbled == []


def test_no_500_for_any_query_or_header_of_the_api(company, client, callers):
    """NO-500: the same for programs."""
    stumbled = []
    for name, method, path, _body in addresses(company, API, "api:"):
        if method != "GET" or name == "schema":
            continue
        path = path.removeprefix("/api/v1/")
        for query in QUERIES:
            status = call(client, "GET", f"{path}?{query}", **callers["admin"]).status_code
            stumbled += [(name, query[:60], status)] if status >= 500 else []
        for headers in HEADERS if name in SENT_TO_THE_API else ():
            status = call(client, "GET", path, **{**callers["admin"], **headers}).status_code
            stumbled += [(name, str(headers)[:60], status)] if status >= 500 else []

    assert stumbled == []


def test_no_500_for_any_field_of_any_form(company, clients):
    """NO-500: forms left empty, filled with what nobody means, and with one such field among good ones."""
    stumbled = []
    for name, method, path, body in addresses(company, PAGES):
        if method != "POST":
            continue
        browser = who_for(clients, PAGES, name)
        texts = itertools.cycle(_raw(text) for text in TEXTS)
        tries = [
            ("nothing", {}),
            *(("everything", dict.fromkeys(body, text)) for text in (LONG, *map(_raw, TEXTS))),
            *((field, {**body, field: next(texts)}) for field in body),
        ]
        for field, data in tries:
            status = ask(browser, "POST", path, data).status_code
            if status >= 500:
                stumbled.append((name, field, str(data.get(field))[:30], status))

    assert stumbled == []


def _raw(text):
    """Lone surrogates travel as the bytes a careless program makes of them."""
    return text.encode("utf-8", "surrogatepass")


def test_no_500_for_any_value_of_any_body_of_the_api(company, client, callers):
    """NO-500: each name of each body with values of every wrong kind, one after another."""
    stumbled = []
    for name, method, path, body in addresses(company, API, "api:"):
        if method in ("GET", "DELETE"):
            continue
        for field, data in [("nothing", {}), *one_by_one(body, VALUES)]:
            answer = call(client, method, path.removeprefix("/api/v1/"), data, **callers["admin"])
            if answer.status_code >= 500:
                stumbled.append((name, method, field, str(data.get(field))[:30]))

    assert stumbled == []


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_no_500_for_any_kind_of_body(company, clients, callers, number):
    """NO-500: bodies that are none, too deep, too large, in no known coding."""
    data, kind = BODIES[number]
    stumbled = []
    for space, table, tried in (("", PAGES, SENT), ("api:", API, SENT_TO_THE_API)):
        for name, method, path, _body in addresses(company, table, space):
            if method not in ("POST", "PATCH", "PUT") or name not in tried:
                continue
            browser = Client(raise_request_exception=False) if space else clients["author"]
            headers = callers["author"] if space else {}
            with undone():
                status = browser.generic(
                    method, path, data, content_type=kind, headers=headers
                ).status_code
            stumbled += [(space, name, method, status)] if status >= 500 else []

    assert stumbled == []


# --- Services away -------------------------------------------------------------------------------


@pytest.fixture
def database_away(monkeypatch):
    """Every question to the database fails as it does when the server is gone."""

    def refuse(*args, **kwargs):
        raise OperationalError("the server is gone")

    monkeypatch.setattr(connections["default"], "cursor", refuse)


@pytest.mark.parametrize(
    ("language", "words"), [("fr", "Un instant"), ("en", "One moment, please")]
)
@pytest.mark.usefixtures("database_away")
def test_no_500_without_a_database(language, words):
    """NO-500: 503 with Retry-After, in the language of whoever asks, on pages and for programs."""
    browser = Client(raise_request_exception=False)
    browser.cookies["retex_session"] = "somebody"
    browser.cookies["retex_language"] = language

    page = browser.get("/prompts/")
    answer = browser.get("/api/v1/prompts/", headers={"Authorization": "Bearer rtx_x"})

    assert (page.status_code, page["Retry-After"], page["Cache-Control"]) == (503, "5", "no-store")
    assert words in page.content.decode()
    assert f'<html lang="{language}">' in page.content.decode()
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer.json()["error"]["code"] == "unavailable"


@pytest.mark.usefixtures("database_away")
def test_no_500_for_the_machine_room_without_a_database():
    """NO-500: the process says that it lives, and that it cannot serve."""
    browser = Client(raise_request_exception=False)

    answers = [browser.get(path) for path in ("/healthz", "/readyz")]

    assert [answer.status_code for answer in answers] == [200, 503]
    assert answers[1].json()["database"] == "away"


def test_no_500_without_a_cache(company, clients, client, callers, monkeypatch):
    """NO-500: pages and programs go on; what cannot be counted says 503, never 500."""

    def refuse(*args, **kwargs):
        raise RedisConnectionError("the server is gone")

    for name in ("get", "set", "add", "incr", "get_many", "set_many", "delete"):
        monkeypatch.setattr(f"django.core.cache.backends.locmem.LocMemCache.{name}", refuse)
    statuses = {
        name: ask(clients["author"], "GET", route.path(name, company, company.things["company"]))
        for name, route in PAGES.items()
        if "GET" in route.acts and next(iter(route.acts.values())).right in ("signed", "read")
    }

    assert [name for name, answer in statuses.items() if answer.status_code >= 500] == []
    assert call(client, "GET", "prompts/", **callers["author"]).status_code == 200


# --- Limits --------------------------------------------------------------------------------------

LIMITS = (
    ("POST", "prompts/", {"title": "x" * 161, "text": "y"}, "160"),
    ("POST", "prompts/", {"title": "x", "text": "y" * 200_001}, "200000"),
    ("POST", "prompts/", {"title": "x", "text": "y", "summary": "z" * 301}, "300"),
    ("POST", "prompts/", {"title": "x", "text": "y", "system": "z" * 200_001}, "200000"),
    ("POST", "prompts/", {"title": "x", "text": "y", "tags": [f"t{n}" for n in range(30)]}, "30"),
    (
        "POST",
        "prompts/",
        {"title": "x", "text": "y", "write_up": {"worked": "z" * 20_001}},
        "20000",
    ),
    ("POST", "retrospectives/", {"title": "x", "lesson": "y" * 201, "outcome": "worked"}, "200"),
    (
        "POST",
        "retrospectives/",
        {"title": "x", "lesson": "y", "outcome": "worked", "minutes_checking": 99_999},
        "43200",
    ),
    (
        "POST",
        "retrospectives/",
        {"title": "x", "lesson": "y", "outcome": "worked", "worked": "z" * 10_001},
        "10000",
    ),
    ("POST", "wishes/", {"title": "x", "text": "y" * 2_001}, "2000"),
    ("GET", "prompts/?page_size=101", None, "100"),
    ("GET", f"search/?q={'a' * 201}", None, "200"),
)


@pytest.mark.parametrize(("method", "path", "body", "limit"), LIMITS)
def test_bounded_inputs_name_their_limit(client, callers, method, path, body, limit):
    """BOUNDED: beyond a limit it is 422, and the answer says how much fits."""
    answer = call(client, method, path, body, **callers["author"])

    assert answer.status_code == 422
    assert limit in answer.content.decode().replace(",", "")
