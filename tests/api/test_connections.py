import pytest

from accounts.models import AuditEntry
from kb.llm.models import Connection, Target
from tests.api.conftest import Caller, told
from tests.factories import make_admin, make_connection, make_monitor, make_person, make_target
from tests.fakes import FakeVendor

pytestmark = pytest.mark.django_db

SECRET = "sk-very-secret-key-1234"
MISTRAL = {
    "name": "Mistral",
    "provider": "openai-compatible",
    "base_url": "https://api.mistral.example/v1",
    "api_key": SECRET,
    "requests_per_minute": 60,
}


@pytest.fixture
def admin():
    return Caller(make_admin())


class TestConnections:
    def test_the_key_goes_in_and_never_comes_out(self, admin):
        made = admin.post("connections/", MISTRAL)

        pk = Connection.objects.get().pk
        assert made.status_code == 201
        assert made["Location"] == f"http://testserver/api/v1/connections/{pk}/"
        shown = dict(made.json())
        assert shown.pop("created")
        assert shown == {
            "id": pk,
            "name": "Mistral",
            "provider": "openai_compatible",
            "base_url": "https://api.mistral.example/v1",
            "has_key": True,
            "key_hint": "…1234",
            "key_host": "api.mistral.example:443",
            "quirks": {},
            "requests_per_minute": 60,
            "tokens_per_minute": None,
            "calls_at_once": 8,
            "is_enabled": True,
        }
        everything = [
            made.text,
            admin.get("connections/").text,
            admin.get(f"connections/{pk}/").text,
            admin.patch(f"connections/{pk}/", {"name": "M"}).text,
            str(Connection.objects.values()),
            str(AuditEntry.objects.values()),
        ]
        assert not [text for text in everything if SECRET in text]

    def test_what_was_read_can_be_sent_back_changed_and_keeps_the_key(self, admin):
        read = admin.post("connections/", MISTRAL).json()
        path = f"connections/{read['id']}/"

        changed = admin.patch(path, {**read, "is_enabled": False, "requests_per_minute": None})

        assert changed.json() == {**read, "is_enabled": False, "requests_per_minute": None}
        assert admin.patch(path, {"api_key": ""}).json()["has_key"] is False

    def test_another_host_needs_the_key_again(self, admin):
        pk = admin.post("connections/", MISTRAL).json()["id"]
        elsewhere = {"base_url": "https://evil.example/v1"}

        refused = admin.patch(f"connections/{pk}/", elsewhere)
        moved = admin.patch(f"connections/{pk}/", {**elsewhere, "api_key": "sk-new"})

        assert told(refused) == (422, "invalid", ["api_key"])
        assert moved.json()["key_host"] == "evil.example:443"

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "x" * 81}, "name"),
            ({"name": "Taken"}, "name"),
            ({"provider": "skynet"}, "provider"),
            ({"provider": None}, "provider"),
            ({"base_url": "ftp://x"}, "base_url"),
            ({"base_url": "https://user:pass@x/"}, "base_url"),
            ({"api_key": "x" * 4_001}, "api_key"),
            ({"quirks": []}, "quirks"),
            ({"quirks": {"nonsense": 1}}, "quirks"),
            ({"calls_at_once": 0}, "calls_at_once"),
            ({"requests_per_minute": -1}, "requests_per_minute"),
            ({"is_enabled": "perhaps"}, "is_enabled"),
            ({"sealed_key": "x"}, "sealed_key"),
        ],
    )
    def test_what_is_wrong_is_named(self, admin, sent, field):
        make_connection(name="Taken")

        assert told(admin.post("connections/", {**MISTRAL, **sent})) == (422, "invalid", [field])
        assert Connection.objects.count() == 1

    @pytest.mark.parametrize(
        "scripts",
        [
            5,
            {"a": 5},
            {"a": {}},
            {"a": {"match": "x"}},
            {"a": {"match": "", "answers": ["y"]}},
            {"a": {"match": "x", "answers": "yes"}},
            {"a": {"match": "x", "answers": [5]}},
            {"a": {"match": "x", "answers": ["y"], "after": "soon", "answers_after": ["z"]}},
            {"a": {"match": "x", "answers": ["y"], "after": "2026-03-01"}},
        ],
    )
    def test_scripts_of_a_simulated_model_are_checked_before_anything_runs(self, admin, scripts):
        refused = admin.post(
            "connections/",
            {"name": "Demo", "provider": "simulated", "quirks": {"scripts": scripts}},
        )

        assert told(refused) == (422, "invalid", ["quirks"])

    def test_quirks_of_one_provider_do_not_fit_another(self, admin):
        scripts = {"scripts": {"a": {"match": "x", "answers": ["y"]}}}
        pk = admin.post(
            "connections/", {"name": "Demo", "provider": "simulated", "quirks": scripts}
        ).json()["id"]

        refused = admin.patch(f"connections/{pk}/", {"provider": "anthropic"})

        assert told(refused) == (422, "invalid", ["quirks"])

    def test_two_who_take_one_name_at_once_make_one(self, admin, monkeypatch):
        make_connection(name="Demo")
        monkeypatch.setattr("kb.llm.actions.Connection.objects.filter", lambda **asked: Connection.objects.none())  # fmt: skip

        refused = admin.post("connections/", {"name": "Demo", "provider": "simulated"})

        assert told(refused) == (422, "invalid", ["name"])

    def test_it_is_deleted_unless_monitors_need_it(self, admin):
        target, spare = make_target(), make_target()
        make_monitor(target=target)

        needed = admin.delete(f"connections/{target.connection_id}/")
        removed = admin.delete(f"connections/{spare.connection_id}/")

        assert told(needed) == (409, "conflict", [])
        assert removed.status_code == 204
        assert list(Target.objects.all()) == [target]

    def test_an_administrator_of_a_department_is_none_of_the_company(self):
        caller = Caller(make_person("curator"))
        pk = make_connection().pk

        for path in ("connections/", f"connections/{pk}/", f"connections/{pk}/models/", "targets/"):
            assert told(caller.get(path)) == (403, "not_allowed", [])


class TestModels:
    def test_the_provider_is_asked(self, admin, settings):
        settings.RETEX_EGRESS_ALLOW = "127.0.0.1"
        with FakeVendor() as vendor:
            vendor.require_key = SECRET
            sent = {**MISTRAL, "base_url": vendor.url}
            pk = admin.post("connections/", sent).json()["id"]
            answer = admin.get(f"connections/{pk}/models/")

        assert answer.status_code == 200
        assert [model["id"] for model in answer.json()["results"]] == ["model-a", "model-b"]
        assert sorted(answer.json()["results"][0]) == ["created", "id", "name", "retires"]

    @pytest.mark.parametrize(
        ("change", "kind"),
        [({"api_key": "sk-wrong"}, "auth"), ({"is_enabled": False}, "cancelled")],
    )
    def test_a_provider_that_refuses_is_told_with_its_kind(self, admin, settings, change, kind):
        settings.RETEX_EGRESS_ALLOW = "127.0.0.1"
        with FakeVendor() as vendor:
            vendor.require_key = SECRET
            pk = admin.post("connections/", {**MISTRAL, "base_url": vendor.url, **change}).json()["id"]  # fmt: skip
            answer = admin.get(f"connections/{pk}/models/")

        assert told(answer) == (422, "provider_error", ["kind"])
        assert answer.json()["error"]["fields"] == {"kind": kind}
        assert "sk-wrong" not in answer.text

    def test_an_address_nobody_listed_is_not_asked(self, admin):
        with FakeVendor() as vendor:
            pk = admin.post("connections/", {**MISTRAL, "base_url": vendor.url}).json()["id"]
            answer = admin.get(f"connections/{pk}/models/")

        assert told(answer) == (422, "provider_error", ["kind"])
        assert answer.json()["error"]["fields"] == {"kind": "egress"}
        assert vendor.requests == []


class TestPrices:
    def test_a_price_is_set_and_replaced(self, admin):
        path = f"connections/{make_connection().pk}/prices/"
        price = {"model": "m", "input_per_million": "1.8", "output_per_million": 5.4}

        admin.put(path, {**price, "input_per_million": 1})
        admin.put(path, price)

        assert admin.get(path).json()["results"] == [
            {
                "model": "m",
                "input_per_million": "1.8000",
                "output_per_million": "5.4000",
                "currency": "EUR",
            }
        ]

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"input_per_million": -1}, "input_per_million"),
            ({"input_per_million": "NaN"}, "input_per_million"),
            ({"input_per_million": "Infinity"}, "input_per_million"),
            ({"input_per_million": 1e300}, "input_per_million"),
            ({"input_per_million": 10**11}, "input_per_million"),
            ({"output_per_million": 0.00001}, "output_per_million"),
            ({"output_per_million": []}, "output_per_million"),
            ({"currency": "euro"}, "currency"),
            ({"model": ""}, "model"),
        ],
    )
    def test_what_is_wrong_is_named(self, admin, sent, field):
        price = {"model": "m", "input_per_million": 1, "output_per_million": 2}
        path = f"connections/{make_connection().pk}/prices/"

        assert told(admin.put(path, {**price, **sent})) == (422, "invalid", [field])


class TestTargets:
    @pytest.mark.parametrize("by", ["pk", "name"])
    def test_a_target_names_its_connection_by_id_or_name(self, admin, by):
        connection = make_connection(name="Demo")
        sent = {"connection": getattr(connection, by), "model": "m", "parameters": {"top_p": 1}}

        made = admin.post("targets/", sent)
        again = admin.post("targets/", sent)

        pk = Target.objects.get().pk
        assert (made.status_code, again.json()["id"]) == (201, pk)
        shown = dict(made.json())
        assert admin.get(f"targets/{pk}/").json() == shown
        assert admin.get("targets/").json()["results"] == [shown]
        assert shown.pop("created")
        assert shown == {
            "id": pk,
            "connection": connection.pk,
            "connection_name": "Demo",
            "model": "m",
            "parameters": {"top_p": 1},
            "is_simulated": True,
            "is_embedding": False,
        }

    def test_parameters_may_be_as_long_as_a_response_schema(self, admin):
        """An index row holds 2,704 bytes; random letters do not shrink."""
        letters = "".join(chr(97 + (number * number * 31 + number // 7) % 26) for number in range(15_000))  # fmt: skip
        sent = {"connection": make_connection().pk, "model": "m", "parameters": {"x": letters}}

        made, again = admin.post("targets/", sent), admin.post("targets/", sent)

        assert (made.status_code, made.json()["id"]) == (201, again.json()["id"])

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"connection": "Nobody"}, "connection"),
            ({"connection": 999}, "connection"),
            ({"connection": True}, "connection"),
            ({"connection": []}, "connection"),
            ({"connection": None}, "connection"),
            ({"model": ""}, "model"),
            ({"model": "x" * 121}, "model"),
            ({"parameters": []}, "parameters"),
            ({"parameters": {"messages": []}}, "parameters"),
            ({"parameters": {"x": "y" * 20_001}}, "parameters"),
        ],
    )
    def test_what_is_wrong_is_named(self, admin, sent, field):
        target = {"connection": make_connection().pk, "model": "m"}

        assert told(admin.post("targets/", {**target, **sent})) == (422, "invalid", [field])

    def test_targets_of_a_connection_that_is_off_are_not_listed(self, admin):
        target = make_target()
        admin.patch(f"connections/{target.connection_id}/", {"is_enabled": False})

        assert admin.get("targets/").json()["count"] == 0
        assert told(admin.get(f"targets/{target.pk}/")) == (404, "not_found", [])
