import smtplib
from datetime import timedelta

import pytest
from django.core import mail

from kb.core.errors import Invalid
from kb.notifications import actions, channels, queries
from kb.notifications.kinds import KINDS, sentence
from kb.notifications.models import Notification
from tests.factories import NOW, later, make_person

pytestmark = pytest.mark.django_db

DRIFT = {
    "title": "Bail",
    "model": "gpt-x",
    "direction": "worse",
    "before": "84 %",
    "now_passes": "51 %",
}


def tell(*people, kind="drifted", key="event", now=NOW):
    return actions.notify(
        recipients=people, kind=kind, context=DRIFT, path="/drift/1/", key=key, now=now
    )


def test_the_same_event_is_told_to_a_person_once():
    person, other = make_person(), make_person()

    tell(person)
    tell(person, other)
    tell(person, key="another")

    assert Notification.objects.filter(recipient=person).count() == 2
    assert Notification.objects.filter(recipient=other).count() == 1


def test_people_who_left_hear_nothing():
    person = make_person()
    person.is_active = False

    assert tell(person) == 0


@pytest.mark.parametrize(
    ("kind", "choice", "is_mailed"),
    [
        ("drifted", None, True),
        ("drifted", False, False),
        ("commented", None, False),
        ("commented", True, True),
    ],
)
def test_a_mail_is_owed_by_the_kind_unless_the_person_chose(kind, choice, is_mailed):
    person = make_person()
    if choice is not None:
        actions.choose_mail(by=person, kind=kind, is_on=choice)

    tell(person, kind=kind)

    assert (Notification.objects.get().mail_due is not None) is is_mailed
    assert queries.mail_choices(person)[kind] is is_mailed


def test_a_mail_speaks_its_readers_language_says_why_and_how_to_end_it():
    tell(make_person(language="en", email="claire@company.test"))

    assert actions.deliver_due_mails(now=NOW) == (1, 0)

    [message] = mail.outbox
    assert message.to == ["claire@company.test"]
    assert (
        message.subject
        == "Retex · “Bail” has drifted on gpt-x: it passes 51 % of its checks, 84 % before."
    )
    assert "You wrote this prompt or follow it." in message.body
    assert "/drift/1/" in message.body
    assert message.extra_headers["List-Unsubscribe"].startswith("<http")


def test_a_mail_leaves_once():
    tell(make_person())

    assert [actions.deliver_due_mails(now=NOW), actions.deliver_due_mails(now=later(days=1))] == [
        (1, 0),
        (0, 0),
    ]


def test_a_mail_server_that_is_away_is_tried_again_and_in_the_end_given_up(monkeypatch):
    def refuse(*_args):
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr(channels, "mail", refuse)
    tell(make_person())
    moments, now = [], NOW
    while (due := Notification.objects.get().mail_due) is not None:
        now = due
        moments.append((now - NOW) // timedelta(minutes=1))
        actions.deliver_due_mails(now=now)

    assert moments == [0, 1, 3, 7, 15, 31]


def test_a_mail_on_its_way_is_not_taken_by_another_worker(monkeypatch):
    tell(make_person())
    inner = []
    monkeypatch.setattr(
        channels,
        "mail",
        lambda *_: inner.append(actions.deliver_due_mails(now=NOW + timedelta(seconds=1))),
    )

    assert (actions.deliver_due_mails(now=NOW), inner) == ((1, 0), [(0, 0)])


def test_the_link_of_a_mail_names_person_and_kind_and_cannot_be_made_up():
    person = make_person()
    token = actions.unsubscribe_token(person, "drifted")

    assert actions.read_unsubscribe_token(token) == (person, "drifted")
    with pytest.raises(Invalid):
        actions.read_unsubscribe_token(token[:-1] + "x")


def test_an_unknown_kind_cannot_be_chosen():
    with pytest.raises(Invalid):
        actions.choose_mail(by=make_person(), kind="gossip", is_on=True)


def test_reading_marks_only_ones_own():
    person, other = make_person(), make_person()
    tell(person, other)

    assert actions.mark_read(by=person, now=NOW) == 1
    assert (queries.unread_count(person), queries.unread_count(other)) == (0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_sentence_even_with_an_old_context(kind):
    assert sentence(kind, {})
