from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command

from accounts.models import AuditEntry
from kb.core import secrets
from kb.core.errors import Invalid
from kb.core.http import HttpClient, policy_from_settings
from kb.llm import actions, clients, queries, spending
from kb.llm.base import LLMError
from kb.llm.breaker import FAILURES, FIRST_SECONDS, Breaker
from kb.llm.models import CALLS, Connection, Expense, KnownModel, Tally, Target
from kb.llm.paced import traffic
from kb.llm.queries import Health
from kb.llm.simulated import SimulatedProvider
from kb.tasks import llm as tasks
from tests.factories import NOW, make_admin, make_connection, make_target
from tests.fakes import Fault

pytestmark = pytest.mark.django_db
KEY = "sk-very-secret-key-1234"


@pytest.fixture
def target(vendor, settings):
    settings.RETEX_EGRESS_ALLOW = "127.0.0.1"
    connection = make_connection("openai_compatible", base_url=vendor.url, api_key=KEY)
    actions.save_price(
        connection=connection,
        model="model-a",
        input_per_million=Decimal(1_000),
        output_per_million=Decimal(2_000),
        currency="EUR",
        by=make_admin(),
    )
    return make_target(connection, model="model-a")


def tried(what, *arguments, **fields):
    async def once():
        async with HttpClient(policy_from_settings()) as http:
            return await what(*arguments, http, **fields)

    return async_to_sync(once)()


class TestTrying:
    def test_a_trial_of_a_model_is_paid_for_like_any_call(self, vendor, target):
        trial = tried(queries.try_target, target, now=NOW)

        row = Expense.objects.get()
        assert (
            trial.reply.text,
            row.reference,
            row.calls,
            row.input_tokens,
            row.output_tokens,
        ) == (
            vendor.text,
            "trial",
            1,
            11,
            7,
        )
        assert row.cost == Decimal("0.025")
        assert set(Tally.objects.values_list("reserved", flat=True)) == {0}

    def test_a_trial_that_a_cap_does_not_cover_is_not_made(self, vendor, target):
        actions.save_cap(by=make_admin(), period="day", unit=CALLS, most=Decimal(0))

        trial = tried(queries.try_target, target, now=NOW)

        assert (trial.error.kind, vendor.requests) == ("over_budget", [])

    def test_a_trial_keeps_to_the_limit_of_requests(self, vendor, target):
        actions.save_connection(
            connection=target.connection, by=make_admin(), requests_per_minute=1
        )
        tried(queries.try_connection, target.connection)

        trial = tried(queries.try_target, target, now=NOW)

        assert (trial.error.kind, len(vendor.requests)) == ("rate_limited", 1)

    def test_a_trial_makes_one_attempt(self, vendor, target):
        vendor.fail(Fault("status", 500), Fault("status", 500))

        trial = tried(queries.try_target, target, now=NOW)

        assert (trial.error.kind, len(vendor.requests)) == ("server", 1)

    def test_a_list_of_models_is_remembered(self, target):
        tried(queries.try_connection, target.connection)

        assert list(KnownModel.objects.values_list("connection", "model")) == [
            (target.connection.pk, "model-a"),
            (target.connection.pk, "model-b"),
        ]

    def test_a_simulated_connection_asks_nobody_and_has_no_limits(self):
        connection = make_connection(requests_per_minute=1)

        provider = clients.open_provider(connection, http=None)

        assert isinstance(provider, SimulatedProvider)


class TestHealth:
    def test_a_connection_at_rest_is_well(self, target):
        assert queries.health(target.connection, now=NOW) == Health(
            "closed", 0, "", None, None, 0.0, 0.0, 0
        )

    def test_a_page_can_tell_since_when_and_why_nothing_leaves(self, vendor, target):
        pk, breakers = target.connection.pk, traffic().breakers
        for _failure in range(FAILURES):
            breakers.failed(pk, "it answered 502")

        now = datetime.now(UTC)
        found = queries.health(target.connection, now=now)

        assert (found.state, found.failures, found.cause) == ("open", FAILURES, "it answered 502")
        assert (found.until - found.since).total_seconds() == pytest.approx(FIRST_SECONDS)

    def test_a_person_who_tries_it_successfully_closes_the_breaker(self, target):
        for _failure in range(FAILURES):
            traffic().breakers.failed(target.connection.pk, "it answered 502")

        tried(queries.try_connection, target.connection)

        assert queries.health(target.connection, now=NOW).state == "closed"

    def test_saving_a_connection_closes_its_breaker(
        self, target, django_capture_on_commit_callbacks
    ):
        pk = target.connection.pk
        for _failure in range(FAILURES):
            traffic().breakers.failed(pk, "no route")

        with django_capture_on_commit_callbacks(execute=True):
            actions.save_connection(connection=target.connection, by=make_admin(), name="Renamed")

        assert traffic().breakers.read(pk) == Breaker()


class TestHostBound:
    def test_a_new_host_needs_the_key_again(self, target):
        """HOST-BOUND."""
        before = Connection.objects.filter(pk=target.connection.pk).values().get()
        elsewhere = "https://elsewhere.test/v1"

        with pytest.raises(Invalid) as refused:
            actions.save_connection(
                connection=target.connection, by=make_admin(), base_url=elsewhere
            )

        assert list(refused.value.fields) == ["api_key"]
        assert Connection.objects.filter(pk=target.connection.pk).values().get() == before

    def test_another_port_is_another_host(self, vendor, target):
        moved = vendor.url.replace(str(vendor.port), str(vendor.port % 60_000 + 1))

        with pytest.raises(Invalid) as refused:
            actions.save_connection(connection=target.connection, by=make_admin(), base_url=moved)

        assert list(refused.value.fields) == ["api_key"]

    def test_the_key_entered_again_is_bound_to_the_new_host(self, target):
        saved = actions.save_connection(
            connection=target.connection,
            by=make_admin(),
            base_url="https://elsewhere.test/v1",
            api_key="sk-another-key-9876",
        )

        assert (saved.key_host, saved.key_hint) == ("elsewhere.test:443", "…9876")

    def test_another_path_on_the_same_host_keeps_the_key(self, vendor, target):
        saved = actions.save_connection(
            connection=target.connection, by=make_admin(), base_url=f"{vendor.url}/proxy"
        )

        assert secrets.unseal(saved.sealed_key) == KEY

    def test_a_row_changed_behind_our_back_sends_the_key_nowhere(self, vendor, target):
        Connection.objects.filter(pk=target.connection.pk).update(key_host="elsewhere.test:443")

        moved = Target.objects.select_related("connection").get(pk=target.pk)
        trial = tried(queries.try_target, moved, now=NOW)

        assert (trial.error.kind, vendor.requests) == ("auth", [])


class TestRotatingKeys:
    def test_every_key_is_encrypted_with_the_newest_and_still_opens(self, target, settings):
        settings.RETEX_ENCRYPTION_KEYS = ["new" * 12, *settings.RETEX_ENCRYPTION_KEYS]
        make_connection()
        said = StringIO()

        call_command("rotate_keys", stdout=said)

        settings.RETEX_ENCRYPTION_KEYS = ["new" * 12]
        kept = Connection.objects.get(pk=target.connection.pk)
        assert secrets.unseal(kept.sealed_key) == KEY
        assert said.getvalue() == "1 keys are encrypted with the newest encryption key.\n"
        act = AuditEntry.objects.latest("pk")
        assert (act.action, act.actor, act.details) == (
            "connection.keys_rotated",
            None,
            {"count": 1},
        )

    def test_when_one_key_cannot_be_opened_nothing_changes(self, target, settings):
        readable = settings.RETEX_ENCRYPTION_KEYS
        settings.RETEX_ENCRYPTION_KEYS = ["lost" * 12]
        make_connection("openai_compatible", base_url="https://b.test/v1", api_key=KEY)
        settings.RETEX_ENCRYPTION_KEYS = ["new" * 12, *readable]
        before = set(Connection.objects.values_list("sealed_key"))

        with pytest.raises(CommandError, match="nothing was changed"):
            call_command("rotate_keys")

        assert set(Connection.objects.values_list("sealed_key")) == before


def test_a_connection_that_is_off_opens_nothing(target):
    actions.save_connection(connection=target.connection, by=make_admin(), is_enabled=False)

    with pytest.raises(LLMError) as refused:
        clients.open_provider(target.connection, http=None)

    assert refused.value.kind == "cancelled"


def test_the_clock_settles_what_dead_workers_left(time_machine, target):
    purse = spending.purse_for(target, department_id=None, reference="run:1", price=None)
    spending.reserve(purse, spending.Estimate(), now=NOW)
    time_machine.move_to(NOW + 2 * spending.LEASE)

    tasks.settle_lost_reservations()

    assert Expense.objects.get().unknown_calls == 1
