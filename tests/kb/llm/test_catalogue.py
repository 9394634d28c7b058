from datetime import date, timedelta

import pytest

from kb.core.errors import Invalid, NotAllowed, NotFound
from kb.llm import actions, catalogue, queries
from kb.llm.base import ModelInfo
from kb.llm.catalogue import Ending
from kb.llm.models import KnownModel
from kb.notifications import kinds
from kb.notifications.kinds import Kind
from kb.notifications.models import Notification
from kb.tasks import llm as tasks
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_connection,
    make_monitor,
    make_person,
    make_target,
)
from tests.fakes import FakeVendor

pytestmark = pytest.mark.django_db
TODAY = NOW.date()


def in_days(count):
    return TODAY + timedelta(days=count)


def retire(model, days, **fields):
    return actions.save_retirement(model=model, retires=in_days(days), by=make_admin(), **fields)


class TestListing:
    def test_each_model_is_kept_with_when_it_was_first_and_last_seen(self):
        connection = make_connection()

        catalogue.note_listing(connection, [ModelInfo("a", "A"), ModelInfo("b", "B")], now=NOW)
        catalogue.note_listing(
            connection, [ModelInfo("a", "A 2", retires=in_days(9))], now=later(days=1)
        )

        rows = KnownModel.objects.values_list("model", "name", "retires", "first_seen", "last_seen")
        assert list(rows) == [
            ("a", "A 2", in_days(9), NOW, later(days=1)),
            ("b", "B", None, NOW, NOW),
        ]
        assert [row.model for row in catalogue.offered(connection)] == ["a"]
        assert [row.model for row in catalogue.withdrawn(connection)] == ["b"]

    def test_without_a_listing_nothing_is_offered_or_withdrawn(self):
        connection = make_connection()

        assert (list(catalogue.offered(connection)), list(catalogue.withdrawn(connection))) == (
            [],
            [],
        )

    def test_a_model_listed_twice_is_one(self):
        connection = make_connection()

        catalogue.note_listing(connection, [ModelInfo("a", "A"), ModelInfo("a", "B")], now=NOW)

        assert KnownModel.objects.count() == 1


class TestRetiring:
    def test_it_lists_targets_whose_model_ends_within_the_days_soonest_first(self):
        late, soon, past, kept = (make_target(model=f"simulated-{n}") for n in "lspk")
        retire(late.model, 30, successor="next", source="https://vendor.test/ends")
        retire(soon.model, 0)
        retire(past.model, -1)
        retire("unused", 5)

        assert catalogue.retiring(30, today=TODAY) == [
            Ending(soon, in_days(0), 0),
            Ending(late, in_days(30), 30, "next", "https://vendor.test/ends"),
        ]
        assert [ending.target for ending in catalogue.retiring(29, today=TODAY)] == [soon]
        assert kept not in [ending.target for ending in catalogue.retiring(30, today=TODAY)]

    def test_a_date_for_the_connection_outweighs_one_for_all_and_both_the_providers(self):
        target = make_target()
        listed = [ModelInfo(target.model, "x", retires=in_days(10))]
        catalogue.note_listing(target.connection, listed, now=NOW)
        found = [catalogue.retiring(90, today=TODAY)[0].days_left]

        retire(target.model, 20)
        found.append(catalogue.retiring(90, today=TODAY)[0].days_left)
        retire(target.model, 40, connection=target.connection)
        found.append(catalogue.retiring(90, today=TODAY)[0].days_left)

        assert found == [10, 20, 40]

    def test_what_is_switched_off_is_not_listed(self):
        target = make_target()
        retire(target.model, 5)
        actions.save_connection(connection=target.connection, by=make_admin(), is_enabled=False)

        assert catalogue.retiring(90, today=TODAY) == []

    def test_it_costs_the_same_queries_for_one_target_and_for_three(
        self, django_assert_num_queries
    ):
        for name in "abc":
            retire(make_target(model=f"simulated-{name}").model, 5)
            with django_assert_num_queries(3):
                catalogue.retiring(90, today=TODAY)


class TestEntering:
    def test_a_second_entry_replaces_the_first(self):
        retire("m", 5)
        second = retire("m", 9, successor="n")

        assert list(queries.retirements(make_admin())) == [second]
        assert second.retires == in_days(9)

    def test_only_administrators_enter_and_remove(self):
        entered, author = retire("m", 5), make_person("author")

        for forbidden in (
            lambda: actions.save_retirement(model="m", retires=TODAY, by=author),
            lambda: actions.delete_retirement(retirement=entered, by=author),
            lambda: queries.retirements(author),
        ):
            with pytest.raises(NotAllowed):
                forbidden()

    def test_a_removed_entry_is_gone(self):
        entered = retire("m", 5)
        pk = entered.pk
        actions.delete_retirement(retirement=entered, by=make_admin())

        with pytest.raises(NotFound):
            queries.retirement_by_id(make_admin(), pk)

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"model": " "}, "model"),
            ({"model": "m" * 121}, "model"),
            ({"successor": "m" * 121}, "successor"),
            ({"source": "m" * 301}, "source"),
            ({"retires": date(2100, 1, 1)}, "retires"),
        ],
    )
    def test_what_cannot_be_kept_is_named(self, fields, name):
        usual = {"model": "m", "retires": TODAY, "by": make_admin()}

        with pytest.raises(Invalid) as refused:
            actions.save_retirement(**usual | fields)

        assert list(refused.value.fields) == [name]


class TestWarning:
    @pytest.mark.parametrize(
        ("days", "stages"),
        [(91, []), (90, [90]), (31, [90]), (30, [30]), (8, [30]), (7, [7]), (0, [7]), (-1, [])],
    )
    def test_the_stage_follows_from_the_days_left(self, days, stages):
        retire(make_monitor().target.model, days)

        assert [notice.stage for notice in catalogue.notices(today=TODAY)] == stages

    def test_each_owner_is_told_once_at_90_30_and_7_days(self, monkeypatch, time_machine):
        monkeypatch.setitem(
            kinds.KINDS, "retiring", Kind("retiring", "", "", lambda context: context["model"])
        )
        monitor, other = make_monitor(), make_monitor()
        retire(monitor.target.model, 100, successor="next")
        told = []

        for days in range(101):
            time_machine.move_to(later(days=days), tick=False)
            tasks.warn_of_retirements()
            told.append(Notification.objects.filter(recipient=monitor.owner).count())

        assert [told.index(count) for count in (1, 2, 3)] == [10, 70, 93]
        assert (told[-1], Notification.objects.filter(recipient=other.owner).count()) == (3, 3)
        first = Notification.objects.filter(recipient=monitor.owner).earliest("created")
        assert (first.kind, first.path, first.context) == (
            "retiring",
            f"/drift/{monitor.pk}/",
            {
                "title": monitor.prompt.title,
                "model": monitor.target.model,
                "day": in_days(100).isoformat(),
                "days": 90,
                "successor": "next",
            },
        )

    def test_a_date_that_is_moved_is_told_again(self):
        monitor = make_monitor()
        retire(monitor.target.model, 5)
        first = [notice.key for notice in catalogue.notices(today=TODAY)]
        retire(monitor.target.model, 6)

        assert first != [notice.key for notice in catalogue.notices(today=TODAY)]


class TestNightlyListing:
    def test_every_provider_in_use_is_asked_and_one_that_fails_stops_no_other(self, settings):
        settings.RETEX_EGRESS_ALLOW = "127.0.0.1"
        with FakeVendor() as vendor, FakeVendor() as broken:
            broken.require_key = "another"
            wrong = make_connection("openai_compatible", base_url=broken.url, name="A")
            right = make_connection("openai_compatible", base_url=vendor.url, name="B")
            off = make_connection("openai_compatible", base_url=vendor.url, name="C")
            actions.save_connection(connection=off, by=make_admin(), is_enabled=False)
            make_connection()

            tasks.refresh_models()

        assert (len(vendor.requests), len(broken.requests)) == (1, 1)
        assert [row.model for row in catalogue.offered(right)] == ["model-a", "model-b"]
        assert list(catalogue.offered(wrong)) == []
