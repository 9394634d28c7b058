import pytest

from accounts.models import AuditEntry
from kb.drift.grader_models import Grader
from tests.api.conftest import Caller, told
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)
from tests.judges import (
    RUBRIC,
    Judge,
    access,
    chosen,
    failure,
    monitored,
    rerun,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return Caller(make_admin(name="Anna Admin"))


def test_nobody_judges_at_first(admin):
    assert admin.get("graders/").json() == {"judge": None, "embeddings": None}
    assert told(admin.get("graders/judge/")) == (404, "not_found", [])
    assert told(admin.delete("graders/judge/")) == (404, "not_found", [])


def test_an_administrator_chooses_and_removes_the_judge(admin):
    target = make_target(make_connection("openai_compatible", name="Vendor"), "gpt-x")

    made = admin.put("graders/judge/", {"target": target.pk})
    again = admin.put("graders/judge/", {"target": target.pk})

    shown = dict(made.json())
    assert (made.status_code, again.json()) == (200, shown)
    assert admin.get("graders/judge/").json() == shown
    assert admin.get("graders/").json() == {"judge": shown, "embeddings": None}
    moments = ("chosen", "status_since", "look_due")
    assert all(shown.pop(name) for name in moments)
    assert shown == {
        "role": "judge",
        "target": target.pk,
        "model": "gpt-x",
        "connection_name": "Vendor",
        "is_simulated": False,
        "chosen_by": {"id": admin.person.pk, "name": "Anna Admin"},
        "status": "new",
        "anchors": 0,
        "looked": None,
    }
    assert admin.delete("graders/judge/").status_code == 204
    assert admin.get("graders/").json()["judge"] is None
    acts = AuditEntry.objects.filter(action__startswith="grader.").order_by("pk")
    assert list(acts.values_list("action", "target")) == [
        ("grader.chosen", str(target)),
        ("grader.removed", str(target)),
    ]


def test_vectors_are_made_by_a_target_that_makes_them(admin):
    connection = make_connection("openai_compatible", name="Vendor")
    sent = {"connection": "Vendor", "model": "embed-3", "is_embedding": True}
    target = admin.post("targets/", sent).json()

    made = admin.put("graders/embeddings/", {"target": target["id"]})

    assert (target["is_embedding"], made.json()["model"]) == (True, "embed-3")
    assert target["id"] not in [t["id"] for t in admin.get("monitors/targets/").json()["results"]]
    assert target["id"] in [t["id"] for t in admin.get("targets/").json()["results"]]
    assert connection.targets.get().is_embedding


def test_what_makes_vectors_cannot_be_monitored(admin):
    target = make_target(make_connection("openai_compatible"), "embed-3", is_embedding=True)
    prompt = make_prompt(admin.person, text="Is {{ n }} prime?")

    refused = admin.post("monitors/", {"prompt": prompt.slug, "target": target.pk, "cases": [{}]})

    assert told(refused)[2] == ["cases.0", "target"] or "target" in told(refused)[2]


@pytest.mark.parametrize(
    ("role", "kind", "answer"),
    [
        ("judge", {"is_embedding": True}, (422, "invalid", ["target"])),
        ("embeddings", {}, (422, "invalid", ["target"])),
        ("referee", {}, (404, "not_found", [])),
    ],
)
def test_what_cannot_judge_is_refused(admin, role, kind, answer):
    target = make_target(make_connection("openai_compatible"), "m", **kind)

    assert told(admin.put(f"graders/{role}/", {"target": target.pk})) == answer


@pytest.mark.parametrize("sent", [{}, {"target": 0}, {"target": "x"}, {"target": 999_999}])
def test_what_is_no_target_is_named(admin, sent):
    assert told(admin.put("graders/judge/", sent)) == (422, "invalid", ["target"])


def test_vectors_need_a_dialect_that_has_them(admin):
    make_connection("anthropic", name="Claude")
    sent = {"connection": "Claude", "model": "m", "is_embedding": True}

    assert told(admin.post("targets/", sent)) == (422, "invalid", ["is_embedding"])


def test_only_a_changed_judge_can_be_accepted(admin):
    before = chosen()
    refused = admin.post("graders/judge/accept/")
    Grader.objects.filter(pk=before.pk).update(status="changed", look_due=None)

    accepted = admin.post("graders/judge/accept/")

    assert told(refused) == (409, "conflict", [])
    assert (accepted.status_code, accepted.json()["status"]) == (200, "new")
    assert accepted.json()["target"] == before.target_id


@pytest.mark.parametrize("scopes", [("read",), ("write",)])
def test_it_takes_the_scope_admin(scopes):
    caller = Caller(make_admin(), scopes)

    answers = [
        caller.get("graders/"),
        caller.get("graders/judge/"),
        caller.put("graders/judge/", {"target": 1}),
        caller.delete("graders/judge/"),
        caller.post("graders/judge/accept/"),
    ]

    assert [told(answer)[:2] for answer in answers] == [(403, "not_allowed")] * 5


def test_it_takes_an_administrator_of_the_company():
    people = [make_person("curator"), make_person("admin", make_department("legal"))]

    for caller in map(Caller, people):
        assert told(caller.get("graders/"))[:2] == (403, "not_allowed")
        assert told(caller.delete("graders/judge/"))[:2] == (403, "not_allowed")


def test_a_run_tells_why_something_was_not_judged_and_what_judging_took(admin):
    chosen()
    monitor = monitored(
        2,
        {"type": "contains", "value": "yes"},
        RUBRIC,
        way=access(judge=Judge("yes")),
    )
    run = rerun(monitor, "yes!", way=access(judge=Judge(failure("server"))), now=later(days=1))
    first = monitor.runs.order_by("slot").first()

    shown = Caller(monitor.owner).get(f"runs/{run.pk}/").json()
    baseline = Caller(monitor.owner).get(f"runs/{first.pk}/").json()

    assert [a["not_judged"] for a in shown["completions"]] == [[None, "judge_away:server"]] * 2
    assert [a["verdicts"] for a in shown["completions"]] == [[True, None]] * 2
    assert baseline["judging"] == [
        {
            "model": "judge",
            "calls": 2,
            "input_tokens": 400,
            "output_tokens": 20,
            "cost": None,
            "currency": "",
        }
    ]


def test_a_rule_nobody_can_judge_is_refused_and_one_somebody_can_is_taken(admin):
    monitor = make_monitor()
    caller = Caller(monitor.owner)
    cases = [{"name": "a", "variables": {"n": "7"}, "assertions": [RUBRIC]}]
    refused = caller.patch(f"monitors/{monitor.pk}/", {"cases": cases})
    chosen(now=NOW)

    taken = caller.patch(f"monitors/{monitor.pk}/", {"cases": cases})

    assert told(refused) == (422, "invalid", ["cases.0"])
    assert "An administrator of the company" in refused.json()["error"]["message"]
    assert taken.json()["cases"][0]["assertions"] == [RUBRIC]
