import pytest

from accounts.models import AuditEntry
from kb.finding import meaning
from kb.finding.models import MeaningModel
from tests.api.conftest import Caller, told
from tests.factories import (
    NOW,
    make_admin,
    make_connection,
    make_department,
    make_person,
    make_prompt,
    make_target,
)

pytestmark = pytest.mark.django_db
URL = "semantic-search/"


@pytest.fixture
def admin():
    return Caller(make_admin(name="Anna Admin"))


@pytest.fixture
def target():
    connection = make_connection("openai_compatible", name="Vendor")
    return make_target(connection, "embed-3", is_embedding=True)


def test_nobody_is_chosen_at_first(admin):
    assert told(admin.get(URL)) == (404, "not_found", [])
    assert told(admin.delete(URL)) == (404, "not_found", [])


def test_an_administrator_chooses_and_removes_the_model(admin, target):
    make_prompt(make_person("author"), title="Dunning letter")

    made = admin.put(URL, {"target": target.pk})
    again = admin.put(URL, made.json())

    shown = dict(made.json())
    assert (made.status_code, again.status_code, again.json()) == (200, 200, shown)
    assert admin.get(URL).json() == shown
    assert shown.pop("chosen")
    assert shown == {
        "target": target.pk,
        "model": "embed-3",
        "connection_name": "Vendor",
        "is_simulated": False,
        "is_wide": False,
        "chosen_by": {"id": admin.person.pk, "name": "Anna Admin"},
        "read": 0,
        "readable": 1,
        "trouble": "",
        "troubled": None,
    }
    assert admin.put(URL, {"target": target.pk, "is_wide": True}).json()["is_wide"] is True
    assert admin.delete(URL).status_code == 204
    assert told(admin.get(URL)) == (404, "not_found", [])
    acts = AuditEntry.objects.filter(action__startswith="meaning.").order_by("pk")
    assert list(acts.values_list("action", "target")) == [
        ("meaning.chosen", str(target)),
        ("meaning.chosen", str(target)),
        ("meaning.removed", str(target)),
    ]


def test_it_tells_how_far_it_has_read_and_why_no_further(admin):
    simulated = make_target(make_connection(), "simulated-embeddings", is_embedding=True)
    make_prompt(make_person("author"), title="Dunning letter")
    meaning.choose_model(target=simulated, is_wide=False, by=admin.person, now=NOW)
    meaning.read_on(clock=lambda: NOW)
    MeaningModel.objects.update(trouble="timeout", troubled=NOW)

    shown = admin.get(URL).json()

    assert (shown["read"], shown["readable"], shown["is_simulated"]) == (1, 1, True)
    assert (shown["trouble"], shown["troubled"]) == ("timeout", shown["chosen"])


@pytest.mark.parametrize("sent", [{}, {"target": 0}, {"target": "x"}, {"target": 999_999}])
def test_what_is_no_target_is_named(admin, sent):
    assert told(admin.put(URL, sent)) == (422, "invalid", ["target"])


def test_a_model_that_answers_cannot_be_chosen(admin, target):
    answers = make_target(target.connection, "gpt-x")

    assert told(admin.put(URL, {"target": answers.pk})) == (422, "invalid", ["target"])
    assert told(admin.put(URL, {"target": target.pk, "is_wide": "maybe"}))[2] == ["is_wide"]


@pytest.mark.parametrize("scopes", [("read",), ("write",)])
def test_it_takes_the_scope_admin(target, scopes):
    refused(Caller(make_admin(), scopes), target)


def test_it_takes_an_administrator_of_the_company(target):
    for person in (make_person("curator"), make_person("admin", make_department("legal"))):
        refused(Caller(person), target)


def refused(caller, target):
    meaning.choose_model(target=target, is_wide=False, by=make_admin(), now=NOW)

    answers = [caller.get(URL), caller.put(URL, {"target": target.pk}), caller.delete(URL)]

    assert [told(answer)[:2] for answer in answers] == [(403, "not_allowed")] * 3
    assert MeaningModel.objects.exists()
