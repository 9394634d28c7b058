import pytest

from kb.core.errors import Conflict, Invalid, NotFound
from kb.finding import actions, queries
from kb.notifications.models import Notification
from kb.prompts import actions as prompts
from tests.factories import NOW, later, make_department, make_person, make_prompt

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader():
    return make_person("reader")


def keep(by, address="q=lease", cadence="daily", name="Leases", now=NOW):
    return actions.save_search(name=name, address=address, cadence=cadence, by=by, now=now)


def told(person):
    return [(n.kind, n.context["count"]) for n in Notification.objects.filter(recipient=person)]


def test_people_hear_of_what_is_new_and_of_nothing_twice(reader):
    make_prompt(title="An old lease", now=later(days=-1))
    saved = keep(reader)
    make_prompt(title="A new lease", now=later(hours=2))
    make_prompt(title="Something else", now=later(hours=2))

    new = [actions.look_again(saved.pk, now=later(days=day)) for day in (1, 1, 2, 3)]

    assert new == [1, 0, 0, 0]
    assert told(reader) == [("saved_search", 1)]
    assert Notification.objects.get(recipient=reader).path == "/prompts/?q=lease"


def test_what_is_no_longer_open_is_not_told(reader):
    legal = make_department("legal")
    author = make_person("author", legal)
    saved = keep(reader)
    prompt = make_prompt(author, title="A lease", departments=[legal], now=later(hours=2))
    prompts.edit_prompt(
        prompt=prompt,
        fields=prompts.PromptFields(visibility="departments"),
        by=author,
        now=later(hours=3),
        based_on=prompt.edition,
    )

    assert actions.look_again(saved.pk, now=later(days=1)) == 0
    assert told(reader) == []


def test_searches_are_due_by_their_cadence(reader):
    daily = keep(reader, name="a")
    weekly = keep(reader, name="b", cadence="weekly")
    keep(reader, name="c", cadence="never")

    due = [actions.due_saved_searches(now=later(days=day)) for day in (0, 1, 7)]

    assert due == [[], [daily.pk], [daily.pk, weekly.pk]]


def test_a_kept_search_is_renamed_and_forgotten_by_its_owner_only(reader):
    saved, stranger = keep(reader), make_person("reader")

    with pytest.raises(NotFound):
        actions.change_search(pk=saved.pk, name="Mine", by=stranger, now=NOW)
    with pytest.raises(NotFound):
        actions.delete_search(pk=saved.pk, by=stranger)
    changed = actions.change_search(
        pk=saved.pk, name="  Baux ", cadence="never", by=reader, now=NOW
    )

    assert (changed.name, changed.cadence, changed.due) == ("Baux", "never", None)
    actions.delete_search(pk=saved.pk, by=reader)
    assert list(queries.saved_searches_of(reader)) == []


def test_two_searches_of_one_person_have_two_names(reader):
    keep(reader)

    with pytest.raises(Conflict):
        keep(reader)
    keep(make_person("reader"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": " "},
        {"name": "x" * 81},
        {"address": ""},
        {"address": "page=2"},
        {"address": "q=" + "x" * 1_000},
        {"cadence": "hourly"},
    ],
)
def test_what_makes_no_sense_is_refused(reader, change):
    with pytest.raises(Invalid):
        keep(reader, **change)


def test_nobody_keeps_more_than_the_limit(reader, monkeypatch):
    monkeypatch.setattr(actions, "MOST_KEPT", 1)
    keep(reader)

    with pytest.raises(Invalid):
        keep(reader, name="One more")
