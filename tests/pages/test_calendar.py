from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from kb.llm import actions as llm
from kb.llm.models import Retirement
from tests.factories import (
    make_admin,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)
from tests.pages.reruns import words

pytestmark = pytest.mark.django_db


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"))
    client.force_login(person)
    return person


def end(model, days):
    day = timezone.localdate() + timedelta(days=days)
    llm.save_retirement(
        model=model, retires=day, by=make_admin(), successor="model-b", source="mail"
    )


def test_what_ends_first_comes_first_with_its_prompts(client, author):
    account = make_connection()
    for model in ("model-a", "model-c"):
        make_monitor(
            make_prompt(author, title=f"On {model}", text="{{ n }}"), make_target(account, model)
        )
    end("model-c", 20)

    page = client.get(reverse("model-calendar"))

    assert [(row.target.model, row.urgency) for row in page.context["rows"]] == [
        ("model-c", 30),
        ("model-a", 0),
    ]
    text = words(page)
    assert "20 days left" in text
    assert "Successor: model-b. Source: mail Nothing can be compared yet: model-b is" in text
    assert "An administrator adds it to a connection. On model-c" in text
    assert text.count("Compare on another model") == 1


def test_an_end_that_has_come_is_told_as_such(client, author):
    make_monitor(make_prompt(author, text="{{ n }}"), make_target(model="model-c"))
    end("model-c", -3)

    text = words(client.get(reverse("model-calendar")))

    assert "simulated ended Ended on" in text


def test_the_successor_is_one_click_away_where_it_can_be_asked(client, author):
    account = make_connection()
    monitor = make_monitor(make_prompt(author, text="{{ n }}"), make_target(account, "model-a"))
    far, near = make_target(make_connection(), "model-b"), make_target(account, "model-b")
    end("model-a", 20)

    page = client.get(reverse("model-calendar"))

    assert [row.successor for row in page.context["rows"]] == [near]
    assert "Compare on model-b" in words(page)
    assert "4 calls" in words(page)
    assert reverse("monitor-compare", args=[monitor.pk]) in page.content.decode()
    assert far != near


def test_readers_see_the_ends_and_no_button(client, author):
    account = make_connection()
    make_monitor(make_prompt(author, text="{{ n }}"), make_target(account, "model-a"))
    make_target(account, "model-b")
    end("model-a", 20)
    client.force_login(make_person("reader"))

    text = words(client.get(reverse("model-calendar")))

    assert "20 days left" in text
    assert "Compare on" not in text
    assert "Enter" not in text


def test_three_models_take_as_many_queries_as_one(client, author):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("model-calendar"))
        return len(captured)

    account = make_connection()
    make_monitor(make_prompt(author, text="{{ n }}"), make_target(account, "model-0"))
    end("model-0", 20)
    queries()
    one = queries()
    for number in (1, 2):
        make_monitor(make_prompt(author, text="{{ n }}"), make_target(account, f"model-{number}"))
        end(f"model-{number}", 20)

    assert queries() == one


class TestEnteringAnEnd:
    @pytest.fixture(autouse=True)
    def admin(self, client):
        person = make_admin()
        client.force_login(person)
        return person

    def typed(self, **more):
        day = timezone.localdate() + timedelta(days=40)
        usual = {"model": "model-a", "connection": "all", "retires": day.isoformat()}
        return {**usual, "successor": "model-b", "source": "mail", **more}

    def test_one_is_entered_for_every_connection_or_for_one(self, client):
        account = make_connection()

        client.post(reverse("retirement-new"), self.typed())
        response = client.post(reverse("retirement-new"), self.typed(connection=str(account.pk)))

        assert response["Location"] == reverse("model-calendar")
        rows = Retirement.objects.order_by("pk").values_list("model", "connection", "successor")
        assert list(rows) == [("model-a", None, "model-b"), ("model-a", account.pk, "model-b")]

    def test_it_begins_with_the_model_one_came_from(self, client):
        account = make_connection()

        query = {"model": "model-a", "connection": account.pk}
        page = client.get(reverse("retirement-new"), query)

        initial = page.context["form"].initial
        assert (initial["model"], initial["connection"]) == ("model-a", str(account.pk))

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"model": ""}, "model"),
            ({"model": "m" * 121}, "model"),
            ({"retires": ""}, "retires"),
            ({"retires": "soon"}, "retires"),
            ({"retires": "2150-01-01"}, "retires"),
            ({"connection": "999"}, "connection"),
            ({"source": "s" * 301}, "source"),
        ],
    )
    def test_what_cannot_be_kept_is_refused_at_its_field(self, client, wrong, field):
        response = client.post(reverse("retirement-new"), self.typed(**wrong))

        assert response.status_code == 422
        assert list(response.context["form"].errors) == [field]
        assert Retirement.objects.count() == 0

    def test_one_is_changed_even_to_another_model(self, client):
        client.post(reverse("retirement-new"), self.typed())
        found = Retirement.objects.get()

        shown = client.get(reverse("retirement-edit", args=[found.pk]))
        client.post(
            reverse("retirement-edit", args=[found.pk]), self.typed(model="model-z", source="")
        )

        assert shown.context["form"].initial["successor"] == "model-b"
        assert [(row.model, row.source) for row in Retirement.objects.all()] == [("model-z", "")]

    def test_one_is_removed(self, client):
        client.post(reverse("retirement-new"), self.typed())

        client.post(reverse("retirement-delete", args=[Retirement.objects.get().pk]))

        assert Retirement.objects.count() == 0

    def test_ends_nobody_depends_on_can_still_be_changed(self, client):
        client.post(reverse("retirement-new"), self.typed(model="gone-model"))

        page = client.get(reverse("model-calendar"))

        assert "Ends of models no prompt depends on gone-model" in words(page)
        found = Retirement.objects.get()
        assert reverse("retirement-edit", args=[found.pk]) in page.content.decode()

    def test_a_successor_nobody_can_ask_is_added_from_here(self, client):
        monitor = make_monitor(target=make_target(model="model-a"))
        account = monitor.target.connection
        client.post(reverse("retirement-new"), self.typed())

        page = client.get(reverse("model-calendar")).content.decode()
        form = client.get(reverse("connection", args=[account.pk]), {"model": "model-b"})

        assert f"{reverse('connection', args=[account.pk])}?model=model-b#add-model" in page
        assert form.context["target_form"].initial["model"] == "model-b"

    def test_others_are_refused(self, client):
        client.post(reverse("retirement-new"), self.typed())
        pk = Retirement.objects.get().pk
        codes = []
        for person in (make_person("author"), make_person("admin", make_department("legal"))):
            client.force_login(person)
            codes += [
                client.get(reverse("retirement-new")).status_code,
                client.post(reverse("retirement-new"), self.typed()).status_code,
                client.get(reverse("retirement-edit", args=[pk])).status_code,
                client.post(reverse("retirement-delete", args=[pk])).status_code,
            ]

        assert codes == [403] * 8
        assert Retirement.objects.count() == 1


def test_prompts_one_may_not_read_are_not_named(client, author):
    secret = make_prompt(
        author,
        title="Severance",
        text="{{ n }}",
        visibility="departments",
        departments=[make_department("legal")],
    )
    make_monitor(secret, make_target())
    client.force_login(make_person("author", make_department("sales")))

    assert "No prompt depends on a model yet" in words(client.get(reverse("model-calendar")))


def test_who_is_not_signed_in_is_asked_to(client):
    assert client.get(reverse("model-calendar")).status_code == 302
