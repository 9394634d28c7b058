"""Choosing the model that finds by meaning, and what its page says of how far it has read."""

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from kb.finding import meaning
from kb.finding.models import MeaningModel
from kb.llm.models import Connection
from tests.factories import (
    NOW,
    make_admin,
    make_connection,
    make_department,
    make_person,
    make_prompt,
    make_target,
)
from tests.pages.reruns import words

pytestmark = pytest.mark.django_db
PAGE = "/connections/meaning/"
CHOICE = f"{PAGE}choose/"


def embeddings(provider="openai_compatible", **fields):
    """A model that makes vectors, on a connection of its own."""
    fields = {"name": "Vendor", **fields}
    model = "simulated-embeddings" if provider == "simulated" else "embed-3"
    return make_target(make_connection(provider, **fields), model, is_embedding=True)


def chosen(target=None, *, is_wide=False):
    return meaning.choose_model(
        target=target or embeddings(), is_wide=is_wide, by=make_admin(), now=NOW
    )


def clock():
    return NOW


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


class TestChoosing:
    def test_without_an_embeddings_model_the_page_says_what_is_missing(self, client, admin):
        make_target(make_connection("openai_compatible"), "gpt-x")

        page = client.get(PAGE)

        assert "No embeddings model yet" in words(page)
        assert f'href="{reverse("connections")}"' in page.content.decode()
        assert "How far it has read" not in words(page)
        assert 'id="save-meaning"' not in page.content.decode()

    def test_it_is_reached_from_the_connections_and_from_its_own(self, client, admin):
        target = chosen().target

        for name, *which in [("connections",), ("connection", target.connection_id)]:
            assert f'href="{PAGE}"' in client.get(reverse(name, args=which)).content.decode()

    def test_a_model_is_chosen_told_and_taken_away_again(self, client, admin):
        target = embeddings()

        made = client.post(CHOICE, {"target": target.pk, "is_wide": "on"})
        kept = meaning.current()
        page = client.get(PAGE)
        gone = client.post(CHOICE, {"target": "", "is_wide": "on"})

        assert (made.status_code, made["Location"]) == (302, PAGE)
        assert told(made) == [
            "Saved. It begins to read within a minute; what it has read is found by meaning."
        ]
        assert (kept.target, kept.is_wide, kept.chosen_by) == (target, True, admin)
        assert "what the company and its departments share" in words(page)
        assert "Hélène Admin" in words(page)
        assert page.context["form"]["target"].value() == str(target.pk)
        assert page.context["form"]["is_wide"].value() is True
        assert told(gone)[-1] == (
            "Saved: things are found by their words from now on, and what was read is forgotten."
        )
        assert meaning.current() is None

    def test_only_models_that_make_vectors_are_offered(self, client, admin):
        target = embeddings()
        make_target(target.connection, "gpt-x")

        choices = client.get(PAGE).context["form"]["target"].field.choices

        assert choices == [
            ("", "nobody: things are found by their words"),
            (str(target.pk), "embed-3 · Vendor"),
        ]

    def test_what_is_not_offered_is_refused_at_the_field(self, client, admin):
        answers = make_target(embeddings().connection, "gpt-x")

        page = client.post(CHOICE, {"target": answers.pk})

        assert page.status_code == 422
        assert "One answer needs another look" in words(page)
        assert 'href="#id_target"' in page.content.decode()
        assert not MeaningModel.objects.exists()

    def test_a_model_whose_connection_is_off_is_told_and_cannot_be_chosen_anew(self, client, admin):
        target = chosen().target
        Connection.objects.filter(pk=target.connection_id).update(is_enabled=False)

        page = client.get(PAGE)
        refused = client.post(CHOICE, {"target": target.pk, "is_wide": "on"})

        assert "The connection “Vendor” is switched off, so nothing is read" in words(page)
        assert refused.status_code == 422
        assert refused.context["form"].errors == {
            "target": ["The connection “Vendor” is switched off."]
        }
        assert not meaning.current().is_wide

    def test_others_are_refused(self, client):
        chosen()
        for person in (make_person("curator"), make_person("admin", make_department("legal"))):
            client.force_login(person)

            answers = [client.get(PAGE), client.post(CHOICE, {"target": ""})]

            assert [answer.status_code for answer in answers] == [403] * 2
        assert MeaningModel.objects.exists()


class TestReading:
    def test_it_tells_how_much_is_read(self, client, admin):
        legal = make_department("legal")
        author = make_person("author", legal)
        chosen(embeddings("simulated"))
        empty = words(client.get(PAGE))
        make_prompt(author, title="Dunning letter")
        make_prompt(author, title="Sorting of mail")
        make_prompt(author, title="Ours alone", visibility="departments", departments=[legal])
        make_prompt(author, title="Begun", status="draft")

        before = client.get(PAGE)
        meaning.read_on(clock=clock)
        after = client.get(PAGE)

        assert "There is nothing to read yet." in empty
        assert "0 of 2 read" in words(before)
        assert '<progress class="progress" max="2" value="0"' in before.content.decode()
        assert "2 of 2 read" in words(after)
        assert "<progress" not in after.content.decode()
        assert 'class="badge simulated"' in after.content.decode()

    def test_what_departments_share_is_read_with_the_tick(self, client, admin):
        legal = make_department("legal")
        author = make_person("author", legal)
        make_prompt(author, title="Ours alone", visibility="departments", departments=[legal])

        chosen(embeddings("simulated"), is_wide=True)

        assert "0 of 1 read" in words(client.get(PAGE))

    def test_why_it_could_not_be_asked_is_told_with_its_time(self, client, admin):
        chosen()
        MeaningModel.objects.update(trouble="auth", troubled=NOW)

        page = words(client.get(PAGE))

        assert "The provider refused the key." in page
        assert "It is tried again every minute." in page
        assert f"Since {NOW.day} {NOW:%B %Y}" in page
