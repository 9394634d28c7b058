from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from django.contrib.messages import get_messages
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation

from accounts.models import AuditEntry
from kb.core import secrets
from kb.forms.llm import CHOICES, ConnectionForm, service_of
from kb.llm import actions as llm
from kb.llm.breaker import FAILURES, Breaker
from kb.llm.clients import rates_of
from kb.llm.models import Cap, Connection, Price, Target
from kb.llm.paced import traffic
from kb.llm.queries import Health
from kb.views.traffic_words import traffic_words
from tests.factories import (
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_target,
)
from tests.fakes import FakeVendor, Fault
from tests.pages.reruns import words

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}
KEY = "sk-a-long-secret-1234"


@pytest.fixture
def vendor(settings):
    settings.RETEX_EGRESS_ALLOW = "127.0.0.1"
    with FakeVendor() as running:
        yield running


@pytest.fixture
def account(admin, vendor):
    return make_connection(
        "openai_compatible", admin, name="Vendor", base_url=vendor.url, api_key=KEY
    )


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def url(name, row, *more):
    return reverse(name, args=[row.pk, *more])


def typed(**more):
    """What the browser sends for a new account."""
    return {
        "service": "openai",
        "name": "OpenAI, Lyon",
        "base_url": "",
        "api_key": KEY,
        "calls_at_once": "8",
        "requests_per_minute": "",
        "tokens_per_minute": "",
        "auth_header": "bearer",
        "max_tokens_field": "max_tokens",
        "seed_field": "seed",
        **more,
    }


def test_only_company_administrators_come_in(client, account):
    target = make_target(account, "gpt-x")
    people = [
        make_person("curator"),
        make_person("admin", make_department("legal")),
        make_person(None),
    ]
    pages = [
        reverse("connections"),
        reverse("connection-new"),
        *(url(f"connection{name}", account) for name in ("", "-edit", "-delete", "-models")),
    ]
    acts = [
        (url("connection-switch", account), {"on": "0"}),
        (url("connection-delete", account), {}),
        (url("connection-edit", account), typed()),
        (url("connection-target", account), {"target-model": "gpt-y"}),
        (url("connection-prices", account), {}),
        (url("connection-cap", account), {"cap-most": "1"}),
        (url("connection-try", account), {"target": str(target.pk)}),
        (reverse("connection-new"), typed()),
    ]

    for person in people:
        client.force_login(person)
        codes = [client.get(path).status_code for path in pages]
        codes += [client.post(path, data).status_code for path, data in acts]
        assert codes == [403] * 14

    client.logout()
    assert [client.get(path).status_code for path in pages] == [302] * 6
    assert (Connection.objects.get().is_enabled, Target.objects.count()) == (True, 1)


class TestTheList:
    def test_it_shows_where_each_leads_and_never_a_key(self, client, account):
        make_target(account, "gpt-x")

        response = client.get(reverse("connections"))

        text = words(response)
        host = urlsplit(account.base_url).netloc
        assert f"{host} …1234 gpt-x in use" in text
        assert KEY not in response.content.decode()
        assert account.sealed_key not in response.content.decode()

    def test_an_empty_one_offers_the_one_step(self, client, admin):
        page = client.get(reverse("connections")).content.decode()

        assert "No connection yet" in page
        assert reverse("connection-new") in page

    def test_three_accounts_take_as_many_queries_as_one(self, client, account, admin):
        make_target(account, "gpt-x")

        def queries():
            with CaptureQueriesContext(database) as captured:
                client.get(reverse("connections"))
            return len(captured)

        queries()
        one = queries()
        for name in ("a", "b"):
            make_target(make_connection(by=admin, name=name))

        assert queries() == one


class TestTheForm:
    @pytest.mark.parametrize(
        ("service", "base_url", "provider", "stored", "quirks"),
        [
            (
                *("openai", "", "openai_compatible", "https://api.openai.com/v1"),
                {"max_tokens_field": "max_completion_tokens"},
            ),
            (
                *("azure", "https://acme.openai.azure.com/openai/v1", "openai_compatible"),
                "https://acme.openai.azure.com/openai/v1",
                {"auth_header": "api-key", "max_tokens_field": "max_completion_tokens"},
            ),
            (
                *("mistral", "", "openai_compatible", "https://api.mistral.ai/v1"),
                {"seed_field": "random_seed"},
            ),
            ("ollama", "", "openai_compatible", "http://localhost:11434/v1", {}),
            ("anthropic", "", "anthropic", "https://api.anthropic.com/v1", None),
            ("simulated", "https://ignored.example", "simulated", "", None),
        ],
    )
    def test_a_service_brings_its_address_and_habits(
        self, client, admin, service, base_url, provider, stored, quirks
    ):
        client.post(reverse("connection-new"), typed(service=service, base_url=base_url))

        made = Connection.objects.get()
        usual = {"auth_header": "bearer", "max_tokens_field": "max_tokens", "seed_field": "seed"}
        assert (made.provider, made.base_url, made.quirks) == (
            provider,
            stored,
            {} if quirks is None else usual | quirks,
        )
        assert service_of(made) == service

    def test_the_key_is_stored_sealed_and_never_shown(self, client, admin):
        response = client.post(reverse("connection-new"), typed(), follow=True)

        made = Connection.objects.get()
        page = response.content.decode()
        assert secrets.unseal(made.sealed_key) == KEY
        assert (KEY in page, "stored, ends in …1234" in words(response)) == (False, True)
        edit = client.get(url("connection-edit", made)).content.decode()
        assert (KEY in edit, 'type="password"' in edit, 'autocomplete="off"' in edit) == (
            False,
            True,
            True,
        )
        assert KEY not in str(list(AuditEntry.objects.values()))

    def test_an_empty_key_keeps_the_stored_one_and_a_tick_removes_it(self, client, account):
        same = typed(name="Vendor", service="other", base_url=account.base_url, api_key="")
        client.post(url("connection-edit", account), same | {"name": "Renamed"})
        account.refresh_from_db()
        kept = (account.name, secrets.unseal(account.sealed_key))

        client.post(url("connection-edit", account), same | {"removes_key": "on"})
        account.refresh_from_db()

        assert kept == ("Renamed", KEY)
        assert (account.sealed_key, account.key_hint, account.key_host) == ("", "", "")

    def test_another_host_asks_for_the_key_again(self, client, account):
        data = typed(name="Vendor", service="other", base_url="https://b.example/v1", api_key="")

        response = client.post(url("connection-edit", account), data)

        account.refresh_from_db()
        assert response.status_code == 422
        assert "Enter the key again" in response.context["form"].errors["api_key"][0]
        assert account.base_url != "https://b.example/v1"
        assert 'value="https://b.example/v1"' in response.content.decode()

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"name": ""}, "name"),
            ({"name": "x" * 81}, "name"),
            ({"service": "nobody"}, "service"),
            ({"service": "azure"}, "base_url"),
            ({"service": "other"}, "base_url"),
            ({"service": "other", "base_url": "ftp://files.example"}, "base_url"),
            ({"service": "other", "base_url": "https://a@b.example"}, "base_url"),
            ({"api_key": "with a space"}, "api_key"),
            ({"api_key": "clé"}, "api_key"),
            ({"calls_at_once": "0"}, "calls_at_once"),
            ({"calls_at_once": "99999999999"}, "calls_at_once"),
            ({"requests_per_minute": "-1"}, "requests_per_minute"),
            ({"tokens_per_minute": "9" * 30}, "tokens_per_minute"),
            ({"name": "Null\x00"}, "name"),
        ],
    )
    def test_what_cannot_work_is_named_and_kept(self, client, admin, fields, name):
        response = client.post(reverse("connection-new"), typed(**fields))

        assert (response.status_code, list(response.context["form"].errors)) == (422, [name])
        assert KEY not in response.content.decode()
        assert not Connection.objects.exists()

    def test_a_taken_name_is_said_at_its_field(self, client, account):
        response = client.post(reverse("connection-new"), typed(name="Vendor"))

        assert "There is a connection “Vendor” already." in words(response)

    def test_limits_can_be_set_and_taken_away(self, client, admin):
        limits = {"requests_per_minute": "60", "tokens_per_minute": "90000", "calls_at_once": "2"}
        client.post(reverse("connection-new"), typed(**limits))
        made = Connection.objects.get()
        first = (made.requests_per_minute, made.tokens_per_minute, made.calls_at_once)

        client.post(url("connection-edit", made), typed(api_key=""))
        made.refresh_from_db()

        assert first == (60, 90_000, 2)
        assert (made.requests_per_minute, made.tokens_per_minute, made.calls_at_once) == (
            None,
            None,
            8,
        )

    def test_editing_a_simulated_one_keeps_its_scripts(self, client, admin):
        scripts = {"scripts": {"one": {"match": "a", "answers": ["b"]}}}
        made = make_connection(by=admin, name="Sim", quirks=scripts)

        client.post(url("connection-edit", made), typed(service="simulated", name="Sim 2"))

        made.refresh_from_db()
        assert (made.name, made.quirks) == ("Sim 2", scripts)

    def test_another_service_does_not_keep_the_address_of_the_one_before(self, client, admin):
        client.post(reverse("connection-new"), typed())
        made = Connection.objects.get()
        data = typed(service="mistral", base_url=made.base_url)

        client.post(url("connection-edit", made), data)

        made.refresh_from_db()
        assert made.base_url == "https://api.mistral.ai/v1"

    def test_a_gateway_keeps_habits_of_its_own(self, client, admin):
        habits = {"auth_header": "x-api-key", "seed_field": "none"}
        data = typed(service="other", base_url="https://gate.example/v1", **habits)

        client.post(reverse("connection-new"), data)

        made = Connection.objects.get()
        assert made.quirks == {"max_tokens_field": "max_tokens", **habits}
        assert ConnectionForm(None, made).initial["auth_header"] == "x-api-key"

    def test_every_service_has_a_hint(self, client, admin):
        text = words(client.get(reverse("connection-new")))

        assert all(str(service.hint) in text for service in CHOICES.values())


class TestModels:
    def test_a_model_is_added_with_its_parameters(self, client, account):
        client.post(
            url("connection-target", account),
            {"target-model": " gpt-x ", "target-parameters": '{"temperature": 0}'},
        )

        made = Target.objects.get()
        assert (made.connection, made.model, made.parameters) == (
            account,
            "gpt-x",
            {"temperature": 0},
        )
        text = words(client.get(url("connection", account)))
        assert 'gpt-x {"temperature": 0} 0 Ask for one word' in text

    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ('{"temperature":', "look at line 1, character 16"),
            ("[1]", "Write an object"),
            ('{"temperature": NaN}', "This is not JSON"),
            ('{"a": 1e999}', "cannot be kept"),
            ('{"a": "\\u0000"}', "cannot be kept"),
            ('{"a": "\\ud800"}', "cannot be kept"),
            ('{"a\\u0000": 1}', "cannot be kept"),
            ("[" * 100_000, "at most 20000 characters"),
            ("[" * 15_000, "This is not JSON"),
            ('{"a": ' + "9" * 5_000 + "}", "This is not JSON"),
            ('{"stream": true}', "“stream” is set by Retex"),
        ],
    )
    def test_parameters_that_cannot_be_sent_are_named_and_kept(
        self, client, account, parameters, said
    ):
        data = {"target-model": "gpt-x", "target-parameters": parameters}

        response = client.post(url("connection-target", account), data)

        assert (response.status_code, said in words(response)) == (422, True)
        assert 'value="gpt-x"' in response.content.decode()
        assert not Target.objects.exists()

    def test_the_provider_suggests_its_models(self, client, account):
        page = client.get(url("connection-models", account), headers=FRAGMENT).content.decode()

        assert '<option value="model-a">model-a · retires on 31 March 2027</option>' in page

    def test_a_silent_provider_suggests_nothing(self, client, account, vendor):
        vendor.fail(Fault("status", status=500))

        response = client.get(url("connection-models", account), headers=FRAGMENT)

        assert (response.status_code, "<option" in response.content.decode()) == (200, False)


class TestPrices:
    def sent(self, client, account, **values):
        """The fields of the first price form, filled in."""
        form = client.get(url("connection", account)).context["price_forms"][0]
        return client.post(
            url("connection-prices", account),
            {f"{form.prefix}-{name}": value for name, value in values.items()},
        )

    def test_a_price_is_kept(self, client, account):
        make_target(account, "gpt-x")

        self.sent(client, account, input_per_million="2.5", output_per_million="10", currency="usd")

        made = Price.objects.get()
        assert (made.model, made.input_per_million, made.output_per_million, made.currency) == (
            "gpt-x",
            Decimal("2.5"),
            Decimal(10),
            "USD",
        )

    def test_a_french_comma_is_understood(self, client, admin, account):
        admin.language = "fr"
        admin.save()
        make_target(account, "gpt-x")

        with translation.override("fr"):
            self.sent(client, account, input_per_million="0,15", output_per_million="0,6")

        made = Price.objects.get()
        assert (made.input_per_million, made.currency) == (Decimal("0.15"), "EUR")

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"input_per_million": "1", "output_per_million": ""}, "output_per_million"),
            ({"input_per_million": "-1", "output_per_million": "1"}, "input_per_million"),
            ({"input_per_million": "1e99", "output_per_million": "1"}, "input_per_million"),
            ({"input_per_million": "much", "output_per_million": "1"}, "input_per_million"),
            (
                {"input_per_million": "1", "output_per_million": "1", "currency": "Euro"},
                "currency",
            ),
        ],
    )
    def test_half_a_price_is_refused_and_kept(self, client, account, values, field):
        make_target(account, "gpt-x")

        response = self.sent(client, account, **values)

        assert response.status_code == 422
        assert list(response.context["price_forms"][0].errors) == [field]
        assert not Price.objects.exists()

    def test_nothing_entered_is_nothing_kept(self, client, account):
        make_target(account, "gpt-x")

        response = self.sent(client, account, input_per_million="", output_per_million="")

        assert (response.status_code, Price.objects.count()) == (302, 0)

    def test_a_price_follows_its_model_when_the_list_has_grown(self, client, account):
        make_target(account, "gpt-x")
        form = client.get(url("connection", account)).context["price_forms"][0]
        make_target(account, "a-new-one")

        client.post(
            url("connection-prices", account),
            {f"{form.prefix}-input_per_million": "1", f"{form.prefix}-output_per_million": "2"},
        )

        assert list(Price.objects.values_list("model", flat=True)) == ["gpt-x"]


class TestTrying:
    def test_a_provider_that_answers_names_its_models(self, client, account):
        response = client.post(url("connection-try", account), headers=FRAGMENT)

        assert "The provider answers. It offers 2 models: model-a model-b" in words(response)

    def test_a_model_is_asked_for_one_word(self, client, account, vendor):
        vendor.text = "ready"
        target = make_target(account, "gpt-x")

        response = client.post(
            url("connection-try", account), {"target": str(target.pk)}, headers=FRAGMENT
        )

        text = words(response)
        assert "gpt-x answers. It said “ready”" in text
        assert "The provider says that gpt-x-2026-01-01 answered." in text

    def test_without_a_script_the_whole_page_says_it(self, client, account):
        response = client.post(url("connection-try", account))

        assert "The provider answers." in words(response)
        assert "Models to ask" in words(response)

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (Fault("status", status=401), "The provider refused the key."),
            (Fault("status", status=404), "The provider does not know this model"),
            (Fault("status", status=429), "The provider asked us to slow down"),
            (Fault("status", status=503), "The provider was too busy to answer."),
            (Fault("page"), "Something answered that does not speak the language"),
            (Fault("disconnect"), "broke off on its way"),
        ],
    )
    def test_a_refusal_is_told_in_words_with_what_to_do(self, client, account, vendor, fault, said):
        vendor.fail(fault)

        response = client.post(url("connection-try", account), headers=FRAGMENT)

        assert (response.status_code, said in words(response)) == (200, True)
        assert KEY not in response.content.decode()

    def test_a_closed_address_names_the_setting_and_the_address(self, client, account, settings):
        settings.RETEX_EGRESS_ALLOW = ""

        text = words(client.post(url("connection-try", account), headers=FRAGMENT))

        assert "Retex may not contact this address." in text
        assert "RETEX_EGRESS_ALLOW" in text
        assert urlsplit(account.base_url).netloc in text

    def test_switched_off_nothing_leaves(self, client, account, vendor):
        client.post(url("connection-switch", account), {"on": "0"})

        text = words(client.post(url("connection-try", account), headers=FRAGMENT))

        assert "switched off" in text
        assert vendor.requests == []

    @pytest.mark.parametrize("target", ["999", "x", "9" * 40])
    def test_a_model_of_another_account_is_not_found(self, client, account, target):
        other = make_target()

        codes = [
            client.post(url("connection-try", account), {"target": value}).status_code
            for value in (target, str(other.pk))
        ]

        assert codes == [404, 404]


class TestSwitchingAndDeleting:
    def test_off_and_on_again(self, client, account):
        states = []
        for on in ("0", "1"):
            response = client.post(url("connection-switch", account), {"on": on})
            account.refresh_from_db()
            states.append((account.is_enabled, told(response)[-1]))

        assert states == [
            (False, "“Vendor” is switched off: no call leaves."),
            (True, "“Vendor” is in use again."),
        ]

    def test_an_unused_account_goes_with_its_key(self, client, account):
        make_target(account, "gpt-x")

        asked = client.get(url("connection-delete", account))
        response = client.post(url("connection-delete", account))

        assert "No monitor uses it." in words(asked)
        assert (response.url, Connection.objects.count()) == (reverse("connections"), 0)

    def test_an_account_in_use_stays(self, client, account):
        make_monitor(target=make_target(account, "gpt-x"))

        asked = client.get(url("connection-delete", account))
        response = client.post(url("connection-delete", account))

        assert "1 monitor asks a model of this connection" in words(asked)
        assert (response.status_code, Connection.objects.count()) == (409, 1)
        assert "switch it off instead" in words(response)
        assert (Target.objects.count(), secrets.unseal(Connection.objects.get().sealed_key)) == (
            1,
            KEY,
        )

    def test_what_is_not_there_is_not_found(self, client, admin):
        paths = [
            reverse(f"connection{name}", args=[999]) for name in ("", "-edit", "-delete", "-models")
        ]

        assert [client.get(path).status_code for path in paths] == [404] * 4


class TestCaps:
    def set(self, client, account, **more):
        data = {"cap-most": "40", "cap-unit": "EUR", "cap-period": "month"}
        data |= {"cap-scope": f"connection-{account.pk}", **more}
        return client.post(url("connection-cap", account), data)

    def test_one_is_set_on_the_page_of_its_account(self, client, account, admin):
        response = self.set(client, account)

        assert response["Location"] == url("connection", account)
        assert "at most €40.00 a month" in words(client.get(url("connection", account)))

    def test_caps_of_others_stand_on_other_pages(self, client, account, admin):
        llm.save_cap(by=admin, period="month", unit="EUR", most=Decimal(7))

        assert "at most €7.00" not in words(client.get(url("connection", account)))

    def test_no_other_account_can_be_reached_from_here(self, client, account, admin):
        other = make_connection(by=admin, name="Other")

        response = self.set(client, account, **{"cap-scope": f"connection-{other.pk}"})

        assert (response.status_code, Cap.objects.count()) == (422, 0)

    def test_a_model_no_cap_can_count_is_named(self, client, account, admin):
        for model in ("priced", "unpriced"):
            make_target(account, model)
        price = {"input_per_million": Decimal(1), "output_per_million": Decimal(1)}
        llm.save_price(connection=account, model="priced", currency="EUR", by=admin, **price)

        before = client.get(url("connection", account)).context["uncounted"]
        self.set(client, account)
        money = client.get(url("connection", account))
        self.set(client, account, **{"cap-unit": "calls"})
        calls = client.get(url("connection", account)).context["uncounted"]

        assert (before, money.context["uncounted"], calls) == ([], ["unpriced"], [])
        assert "so they are not asked: unpriced" in words(money)


class TestItsState:
    def fail(self, account, times):
        for _time in range(times):
            traffic().breakers.failed(account.pk, "it answered 502")

    def state(self, client, account):
        return words(client.get(url("connection", account), headers=FRAGMENT))

    def test_calls_go_through(self, client, account):
        page = client.get(url("connection", account)).content.decode()

        assert "Calls go through" in page
        assert 'id="try-again"' not in page
        assert 'hx-trigger="every 5s"' not in page

    def test_failures_are_counted(self, client, account):
        self.fail(account, 3)

        text = self.state(client, account)

        assert "Calls fail The latest 3 calls failed. After 10 in a row" in text
        assert "What went wrong last it answered 502" in text

    def test_an_open_breaker_says_until_when_and_why(self, client, account):
        self.fail(account, FAILURES)

        text = self.state(client, account)
        rows = words(client.get(reverse("connections")))

        assert "Left alone for now 10 calls in a row failed, so none leaves until" in text
        assert "Try again now" in text
        assert "Left alone for now" in rows

    def test_a_pause_and_the_distance_after_it_are_told(self, client, account):
        traffic().limits.slow_down(rates_of(account), 40)

        text = self.state(client, account)

        assert "Waiting The provider asked to wait: 40 more seconds." in text
        assert "0.1 s are left between two calls" in text

    def test_a_try_that_is_answered_opens_the_way_again(self, client, account, vendor):
        self.fail(account, FAILURES)

        answer = client.post(url("connection-try", account), headers=FRAGMENT)

        page = answer.content.decode()
        assert 'id="traffic"' in page
        assert 'hx-swap-oob="true"' in page
        assert "Calls go through" in page
        assert traffic().breakers.read(account.pk) == Breaker()

    def test_one_call_on_its_way_is_a_state_of_its_own(self):
        state = {"failures": 12, "since": None, "until": None, "pause": 0.0, "gap": 0.0}
        health = Health(state="half_open", cause="it answered 502", under_way=1, **state)

        found = traffic_words(health)

        assert (found.label, found.is_moving) == ("Trying again", True)
        assert found.said[-1] == "1 call is under way."
