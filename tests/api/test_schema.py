import json
from contextlib import contextmanager
from io import StringIO

import hypothesis
import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.utils import timezone
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from api.urls import endpoints
from api.views.docs import openapi
from tests.api.conftest import Caller, told
from tests.factories import (
    make_admin,
    make_department,
    make_monitor,
    make_prompt,
    make_report,
    make_tool,
    make_use_case,
)

METHODS = ("get", "post", "put", "patch", "delete")
"""In the order they are tried: what is deleted can no longer be asked for."""
EXAMPLES = 4
"""Per operation, kind of data and kind of address; all of them take less than a minute."""
HONEST = (
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
)


def operations():
    return [
        (path, method, operation)
        for path, item in openapi()["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


class TestTheDescription:
    def test_it_is_valid_and_nothing_was_guessed(self):
        call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())

    def test_it_is_openapi_3_1(self):
        assert openapi()["openapi"] == "3.1.1"

    def test_every_handler_is_described(self):
        documented = {(path, method) for path, method, _operation in operations()}
        handlers = {
            ("/api/v1/" + str(pattern.pattern), method)
            for pattern in endpoints
            for method in METHODS
            if hasattr(pattern.callback.view_class, method)
            and pattern.callback.view_class.schema is not None
        }
        holes = [
            ("<slug:slug>", "{slug}"),
            ("<slug:role>", "{role}"),
            ("<int:pk>", "{id}"),
            ("<int:number>", "{number}"),
        ]
        for converter, hole in holes:
            handlers = {(path.replace(converter, hole), method) for path, method in handlers}

        assert documented == handlers

    def test_every_operation_is_explained_and_names_its_refusals(self):
        for path, method, operation in operations():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            assert len(operation["tags"]) == 1, where
            codes = set(operation["responses"])
            assert {"401", "403", "429", "503"} <= codes, where
            assert ("404" in codes) or "{" not in path, where
            assert ("requestBody" in operation) <= ({"400", "413", "415", "422"} <= codes), where

    def test_operations_have_names_of_their_own(self):
        names = [operation["operationId"] for _path, _method, operation in operations()]

        assert len(names) == len(set(names))
        assert {"listPrompts", "createAPrompt", "withdrawTodaysSignal"} <= set(names)

    def test_write_only_is_what_no_answer_shows(self):
        shown = openapi()["components"]["schemas"]["ConnectionShown"]["properties"]

        assert "api_key" not in shown
        assert "sealed_key" not in json.dumps(openapi())


@pytest.mark.django_db
class TestServing:
    def test_it_is_served_as_json_and_on_request_as_yaml(self):
        caller = Caller(make_admin(), ["read"])

        plain = caller.get("schema/")
        yaml = caller.get("schema/?format=yaml")
        vendor = caller.get("schema/", accept="application/vnd.oai.openapi+json")

        assert plain["Content-Type"] == "application/json"
        assert plain.json() == json.loads(vendor.text) == json.loads(json.dumps(openapi()))
        assert vendor["Content-Type"] == "application/vnd.oai.openapi+json"
        assert yaml.text.startswith("openapi: 3.1.1")

    @pytest.mark.parametrize("query", ["lang=../x", "lang=%00", "version=%0Ax", "version=2"])
    def test_it_does_not_depend_on_what_is_asked(self, query):
        caller = Caller(make_admin(), ["read"])

        assert caller.get(f"schema/?{query}").json() == caller.get("schema/").json()

    def test_another_format_is_not_there(self):
        assert told(Caller(make_admin()).get("schema/?format=xml")) == (404, "not_found", [])


@contextmanager
def one_connection():
    """Requests of another client than Django's own stay in the transaction of the test."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.django_db
@pytest.mark.timeout(480)
def test_whatever_is_sent_is_answered_as_described(monkeypatch, settings):
    settings.RETEX_ALLOW_CLOCK = True
    monkeypatch.setattr("api.views.monitors.app.send_task", lambda *args, **options: None)
    caller = Caller(make_admin())
    real = a_small_world(caller)
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi())))
    schema.app = WSGIHandler()

    with one_connection():
        found = [result.ok() for result in schema.get_all_operations()]
        for operation in sorted(found, key=lambda o: METHODS.index(o.method)):
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                for places in (real, None):
                    ask_often(operation, mode, places, caller)


def ask_often(operation, mode, real, caller):
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        if real is not None:
            if not case.path_parameters:
                return
            case.path_parameters = real(operation.path)
        response = case.call(headers=caller.headers)
        case.validate_response(response, checks=list(HONEST))
        if response.status_code >= 400:
            error = response.json()["error"]
            assert sorted(error) == ["code", "fields", "message"]

    ask()


def a_small_world(caller):
    """One of everything; the answer gives places of addresses that lead to it."""
    make_department("legal"), make_tool("chatgpt"), make_use_case("review")
    prompt = make_prompt(caller.person, text="Is {{ n }} prime?")
    monitor = make_monitor(prompt)
    run = caller.post(f"monitors/{monitor.pk}/baseline/").json()["run"]
    report = make_report(prompt, caller.person, now=timezone.now()).pk
    task = caller.post(f"retrospectives/{report}/follow-ups/", {"text": "Do"}).json()["id"]
    comment = caller.post(f"prompts/{prompt.slug}/comments/", {"text": "Hi"}).json()["id"]
    wish = caller.post("wishes/", {"title": "Wanted"}).json()["id"]
    ids = {
        "monitors": monitor.pk,
        "runs": run,
        "retrospectives": report,
        "follow-ups": task,
        "comments": comment,
        "wishes": wish,
        "connections": monitor.target.connection_id,
        "targets": monitor.target_id,
    }
    slugs = {"departments": "legal", "tools": "chatgpt", "use-cases": "review"}

    def places(path):
        kind = path.removeprefix("/api/v1/").split("/")[0]
        return {
            "slug": slugs.get(kind, prompt.slug),
            "number": 1,
            "id": ids.get(kind),
            "role": "judge",
        }

    return places
