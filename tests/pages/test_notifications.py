"""What a person was told, what comes by mail, and the way out of a mail."""

from __future__ import annotations

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from kb.notifications import actions, queries
from kb.notifications.kinds import KINDS
from kb.notifications.models import Notification
from tests.factories import NOW, later, make_person

pytestmark = pytest.mark.django_db


def tell(person, key="1", kind="commented", now=NOW, path="/prompts/nda/", **context):
    actions.notify(
        recipients=[person],
        kind=kind,
        context={"by": "Karim", "title": f"NDA {key}", **context},
        path=path,
        key=key,
        now=now,
    )
    return Notification.objects.get(recipient=person, key=key)


def mailed(person, kind):
    return queries.mail_choices(person)[kind]


# --- The list ----------------------------------------------------------------------------------


def test_the_newest_stands_first_in_the_reader_s_language(client):
    person = make_person(language="en")
    tell(person, "1")
    tell(person, "2", now=later(hours=1))
    client.force_login(person)

    page = client.get("/notifications/").content.decode()

    first, second = (page.index(f"Karim commented on “NDA {key}”.") for key in "21")
    assert first < second


def test_unread_messages_are_marked_until_they_are_followed(client):
    person = make_person()
    told = tell(person)
    client.force_login(person)

    before = client.get("/notifications/").content.decode()
    followed = client.get(f"/notifications/{told.pk}/")
    after = client.get("/notifications/").content.decode()

    assert followed.url == "/prompts/nda/"
    assert ("told__item--unread" in before, "told__item--unread" in after) == (True, False)
    assert ("1 unread." in before, "1 unread." in after) == (True, False)


def test_a_message_never_leads_out_of_the_house(client):
    person = make_person()
    told = tell(person, path="//elsewhere.test/")
    client.force_login(person)

    assert client.get(f"/notifications/{told.pk}/").url == "/notifications/"


def test_all_are_marked_as_read_at_once(client):
    person, other = make_person(), make_person()
    tell(person, "1"), tell(person, "2"), tell(other)
    client.force_login(person)

    response = client.post("/notifications/read/")

    assert response.url == "/notifications/"
    assert queries.unread_count(person) == 0
    assert queries.unread_count(other) == 1


def test_nobody_reads_what_another_was_told(client):
    told = tell(make_person(), title="A secret title")
    client.force_login(make_person())

    assert "A secret title" not in client.get("/notifications/").content.decode()
    assert client.get(f"/notifications/{told.pk}/").status_code == 404
    told.refresh_from_db()
    assert told.read is None


def test_messages_of_a_kind_we_no_longer_have_are_left_out(client):
    person = make_person()
    told = tell(person)
    Notification.objects.filter(pk=told.pk).update(kind="forgotten")
    client.force_login(person)

    assert client.get("/notifications/").status_code == 200


def test_an_empty_list_says_how_to_hear_something(client):
    client.force_login(make_person())

    assert "Follow a prompt and you hear" in client.get("/notifications/").content.decode()


def test_a_long_list_has_pages(client):
    person = make_person()
    for number in range(31):
        tell(person, str(number), now=later(minutes=number))
    client.force_login(person)

    assert "NDA 0”" not in client.get("/notifications/").content.decode()
    assert "NDA 0”" in client.get("/notifications/?page=2").content.decode()
    assert "NDA 0”" in client.get("/notifications/?page=999").content.decode()


def test_three_messages_need_no_more_queries_than_one(client, django_assert_num_queries):
    person = make_person()
    client.force_login(person)
    tell(person, "1")
    with CaptureQueriesContext(connection) as one:
        client.get("/notifications/")
    tell(person, "2"), tell(person, "3")

    with django_assert_num_queries(len(one)):
        client.get("/notifications/")


# --- Choices -----------------------------------------------------------------------------------


def test_the_grid_shows_what_comes_by_mail(client):
    person = make_person()
    actions.choose_mail(by=person, kind="commented", is_on=True)
    actions.choose_mail(by=person, kind="drifted", is_on=False)
    client.force_login(person)

    page = client.get("/notifications/choices/").content.decode()

    assert 'value="commented" checked' in page
    assert 'value="drifted">' in page
    assert page.count('name="mail"') == len(KINDS)


def test_choices_are_saved(client):
    person = make_person()
    client.force_login(person)

    response = client.post("/notifications/choices/", {"mail": ["reported", "drifted"]})

    assert response.url == "/notifications/choices/"
    assert queries.mail_choices(person) == {name: name in ("reported", "drifted") for name in KINDS}


def test_a_kind_that_is_none_changes_nothing(client):
    person = make_person()
    before = queries.mail_choices(person)
    client.force_login(person)

    response = client.post("/notifications/choices/", {"mail": ["nonsense"]})

    assert response.status_code == 422
    assert queries.mail_choices(person) == before


# --- Mails -------------------------------------------------------------------------------------


def test_a_mail_says_what_why_and_how_to_end_it_in_the_reader_s_language():
    person = make_person(language="en", name="Ada Lovelace")
    tell(person, kind="replied", title="A <b>bold</b> & quiet title")

    actions.deliver_due_mails(now=NOW)

    [message] = mail.outbox
    html = message.alternatives[0].content
    sentence = "Karim answered your comment on “A <b>bold</b> & quiet title”."
    assert message.subject == f"Retex · {sentence}"
    assert message.body.startswith(f"Hello Ada,\n\n{sentence}\n")
    assert "http://localhost:8000/prompts/nda/\n" in message.body
    assert "Why this mail? You wrote the comment." in message.body
    assert "<b>bold</b>" not in html
    assert "A &lt;b&gt;bold&lt;/b&gt; &amp; quiet title" in html
    unsubscribe = message.extra_headers["List-Unsubscribe"].strip("<>")
    assert f"{unsubscribe}\n" in message.body
    assert f'href="{unsubscribe}"' in html
    assert 'href="http://localhost:8000/prompts/nda/"' in html


def test_a_mail_loads_nothing_from_anywhere():
    person = make_person()
    tell(person, kind="replied")

    actions.deliver_due_mails(now=NOW)

    html = mail.outbox[0].alternatives[0].content
    assert [word for word in ("<img", "<link", "<script", "url(") if word in html] == []


def test_the_link_of_a_mail_asks_first_and_ends_such_mails_without_signing_in(client):
    person = make_person(language="en")
    path = f"/unsubscribe/{actions.unsubscribe_token(person, 'drifted')}/"

    asked = client.get(path)
    assert "“A prompt has drifted” will no longer come by mail" in asked.content.decode()
    assert mailed(person, "drifted")

    done = client.post(path)
    assert "“A prompt has drifted” no longer comes by mail" in done.content.decode()
    assert not mailed(person, "drifted")
    assert mailed(person, "replied")


def test_mail_programs_end_mails_in_one_click():
    person = make_person()
    client = Client(enforce_csrf_checks=True)
    path = f"/unsubscribe/{actions.unsubscribe_token(person, 'drifted')}/"

    response = client.post(path, {"List-Unsubscribe": "One-Click"})

    assert response.status_code == 200
    assert not mailed(person, "drifted")


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_damaged_link_ends_nothing(client, method):
    person = make_person()
    token = actions.unsubscribe_token(person, "drifted")

    response = getattr(client, method)(f"/unsubscribe/{token[:-1]}x/")

    assert response.status_code == 422
    assert "This link is damaged." in response.content.decode()
    assert mailed(person, "drifted")


@pytest.mark.parametrize("token", ["%00", "a:b:c", "x" * 5000, "%ff", "WzEsMl0:1:1"])
def test_no_link_breaks_the_page(client, token):
    assert client.get(f"/unsubscribe/{token}/").status_code == 422


def test_the_page_speaks_the_recipient_s_language_until_somebody_chooses_one(client):
    person = make_person(language="fr")
    path = f"/unsubscribe/{actions.unsubscribe_token(person, 'drifted')}/"

    first = client.get(path, headers={"accept-language": "en"})
    client.post("/language/", {"language": "en", "next": path})
    second = client.get(path, headers={"accept-language": "en"})

    assert ['<html lang="fr"' in first.content.decode(), first.headers["Content-Language"]] == [
        True,
        "fr",
    ]
    assert '<html lang="en"' in second.content.decode()


def test_mails_of_a_kind_we_no_longer_have_have_ended(client):
    person = make_person(language="en")

    response = client.post(f"/unsubscribe/{actions.unsubscribe_token(person, 'forgotten')}/")

    assert response.status_code == 200
    assert "Retex no longer sends mails of this kind." in response.content.decode()
