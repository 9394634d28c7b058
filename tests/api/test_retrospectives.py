from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from kb.community.models import Retrospective, UsageSignal
from kb.prompts import actions as prompts
from kb.search.models import SearchEntry
from tests.api.conftest import Caller, told
from tests.factories import (
    NOW,
    make_department,
    make_person,
    make_prompt,
    make_report,
    make_tool,
    make_use_case,
)

pytestmark = pytest.mark.django_db

FULL = {
    "title": "Summary of a supplier contract",
    "lesson": "Ask for the clause numbers.",
    "outcome": "worked_with_edits",
    "language": "en",
    "is_anonymous": False,
    "department": "legal",
    "use_case": "review",
    "prompt": "review-an-nda",
    "version": 1,
    "pasted_text": "",
    "tool": "chatgpt",
    "model": "gpt-5",
    "task_date": "2026-03-01",
    "stakes": "client",
    "task_familiarity": 4,
    "tool_familiarity": 2,
    "data_class": "confidential",
    "expectation": "A page I can send.",
    "kept_share": 75,
    "counterfactual": "by_hand",
    "minutes_preparing": 5,
    "minutes_waiting": 1,
    "minutes_checking": 20,
    "minutes_without": 90,
    "minutes_basis": "done_before",
    "attempts": 2,
    "items": 1,
    "is_parallel_work": False,
    "quality": "same",
    "checked": "read",
    "incidents": ["invented_fact", "wrong_number"],
    "incident_severity": "medium",
    "is_incident_caught": True,
    "evidence": "> clause 12",
    "why_different": "No numbers asked for.",
    "worked": "Structure.",
    "failed": "Citations.",
    "lucky": "I know the contract.",
    "would_reuse": "with_changes",
    "reuse_note": "With numbers.",
    "advice": "Check clause by clause.",
    "when_not": "Not for signing.",
}


@pytest.fixture
def reporter():
    make_department("legal"), make_tool("chatgpt"), make_use_case("review")
    make_prompt(title="Review an NDA")
    return Caller(make_person("reader", name="Rose"))


class TestPosting:
    def test_every_answer_comes_back_as_it_was_given(self, reporter):
        owner = make_person(name="Olaf")
        tasks = [
            {"text": "Ask for numbers", "kind": "prompt_change", "due": "2026-04-01"},
            {"text": "Tell the team", "kind": "training", "owner": owner.email.upper()},
        ]

        made = reporter.post("retrospectives/", {**FULL, "follow_ups": tasks})

        assert made.status_code == 201
        pk = Retrospective.objects.get().pk
        assert made["Location"] == f"http://testserver/api/v1/retrospectives/{pk}/"
        shown = dict(made.json())
        assert reporter.get(f"retrospectives/{pk}/").json() == shown
        follow_ups = shown.pop("follow_ups")
        assert shown.pop("created") == follow_ups[0].pop("created")
        assert shown == {
            **FULL,
            "id": pk,
            "url": f"http://testserver/retrospectives/{pk}/",
            "author": {"id": reporter.person.pk, "name": "Rose"},
            "is_mine": True,
            "can_edit": True,
            "edited": None,
            "addenda": [],
            "links": [],
        }
        assert follow_ups[0] == {
            "id": follow_ups[0]["id"],
            "owner": None,
            "state": "open",
            **tasks[0],
        }
        assert follow_ups[1]["owner"] == {"id": owner.pk, "name": "Olaf"}

    def test_three_answers_are_enough(self, reporter):
        made = reporter.post(
            "retrospectives/", {"title": "T", "lesson": "L", "outcome": "failed"}
        ).json()

        assert (made["language"], made["prompt"], made["version"]) == ("en", None, None)
        assert made["task_date"] == timezone.now().date().isoformat()

    def test_without_a_number_it_is_about_the_current_version(self, reporter):
        sent = {"title": "T", "lesson": "L", "outcome": "worked", "prompt": "review-an-nda"}

        assert reporter.post("retrospectives/", sent).json()["version"] == 1

    def test_the_signal_of_the_same_use_counts_once(self, reporter):
        reporter.post("prompts/review-an-nda/signals/", {"outcome": "worked"})
        reporter.post("retrospectives/", FULL)

        counted = reporter.get("prompts/review-an-nda/signals/").json()

        assert (counted["n"], counted["with_edits"]) == (1, 1)
        assert UsageSignal.objects.get().retrospective is not None

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"title": ""}, "title"),
            ({"lesson": "x" * 201}, "lesson"),
            ({"outcome": "great"}, "outcome"),
            ({"language": "english"}, "language"),
            ({"department": "nowhere"}, "department"),
            ({"tool": 7.5}, "tool"),
            ({"use_case": ""}, "use_case"),
            ({"prompt": "no-such-prompt"}, "prompt"),
            ({"version": 2}, "version"),
            ({"prompt": None, "version": 1}, "version"),
            ({"task_date": "yesterday"}, "task_date"),
            ({"task_date": "2199-01-01"}, "task_date"),
            ({"task_familiarity": 6}, "task_familiarity"),
            ({"kept_share": 60}, "kept_share"),
            ({"minutes_waiting": -1}, "minutes_waiting"),
            ({"minutes_waiting": 1.5}, "minutes_waiting"),
            ({"is_parallel_work": "perhaps"}, "is_parallel_work"),
            ({"is_parallel_work": []}, "is_parallel_work"),
            ({"incidents": ["fire"]}, "incidents.0"),
            ({"incidents": "fire"}, "incidents"),
            ({"stakes": "high"}, "stakes"),
            ({"worked": "x" * 10_001}, "worked"),
            ({"model": "x" * 81}, "model"),
            ({"follow_ups": [{"text": ""}]}, "follow_ups.0.text"),
            ({"follow_ups": [{"text": "x", "owner": "no@body"}]}, "follow_ups.0.owner"),
            ({"follow_ups": [{"text": "x", "due": "soon"}]}, "follow_ups.0.due"),
            ({"follow_ups": ["x"]}, "follow_ups.0"),
            ({"follow_ups": [{"text": "x"}] * 11}, "follow_ups"),
            ({"outcom": "worked"}, "outcom"),
        ],
    )
    def test_what_cannot_be_kept_is_named(self, reporter, sent, field):
        refused = reporter.post("retrospectives/", {**FULL, **sent})

        assert told(refused) == (422, "invalid", [field])
        assert Retrospective.objects.count() == 0

    def test_a_hidden_prompt_does_not_exist_for_reports_either(self, reporter):
        draft = make_prompt(status="draft")

        refused = reporter.post("retrospectives/", {**FULL, "prompt": draft.slug})

        assert told(refused) == (422, "invalid", ["prompt"])


class TestReading:
    def test_who_wants_no_name_has_none_but_for_themselves(self, reporter):
        pk = reporter.post("retrospectives/", {**FULL, "is_anonymous": True}).json()["id"]
        other = Caller(make_person())

        for path in (f"retrospectives/{pk}/", "retrospectives/"):
            mine, theirs = reporter.get(path), other.get(path)
            assert "Rose" in mine.text
            assert "Rose" not in theirs.text
            assert f'"id":{reporter.person.pk},' not in theirs.text

    def test_reports_on_hidden_prompts_do_not_exist(self, reporter):
        legal = make_department("legal")
        author = make_person("author", legal)
        hidden = make_prompt(author, departments=[legal], visibility="departments")
        report = make_report(hidden, author)
        path = f"retrospectives/{report.pk}/"

        assert Caller(author).get(path).status_code == 200
        assert reporter.get("retrospectives/").json()["count"] == 0
        for method, rest, data in [
            ("GET", "", None),
            ("PATCH", "", {"title": "x"}),
            ("POST", "addenda/", {"text": "x"}),
            ("POST", "follow-ups/", {"text": "x"}),
            ("POST", "links/", {"kind": "confirms", "prompt": "review-an-nda"}),
        ]:
            assert told(reporter(method, f"{path}{rest}", data)) == (404, "not_found", [])

    def test_its_author_keeps_it_when_the_prompt_is_hidden_but_not_the_prompt(self, reporter):
        pk = reporter.post("retrospectives/", FULL).json()["id"]
        report = Retrospective.objects.get(pk=pk)
        prompt = report.version.prompt
        prompts.edit_prompt(
            prompt=prompt,
            fields=prompts.PromptFields(visibility="private"),
            by=prompt.author,
            now=NOW,
            based_on=None,
        )

        shown = reporter.get(f"retrospectives/{pk}/").json()

        assert (shown["prompt"], shown["version"]) == (None, 1)

    @pytest.mark.parametrize(
        ("query", "titles"),
        [
            ("", ["Full", "Mine", "Plain"]),
            ("outcome=failed", ["Plain"]),
            ("outcome=failed,worked_with_edits", ["Full", "Plain"]),
            ("department=legal", ["Full"]),
            ("tool=chatgpt", ["Full"]),
            ("use_case=review", ["Full"]),
            ("prompt=review-an-nda", ["Full"]),
            ("author=me", ["Mine"]),
            ("q=crocodile", ["Plain"]),
            ("q=crocodile&outcome=worked", []),
        ],
    )
    def test_filters_narrow_the_list(self, reporter, query, titles):
        Caller(make_person()).post("retrospectives/", {**FULL, "title": "Full"})
        make_report(None, title="Plain", outcome="failed", lesson="Crocodiles bite.")
        make_report(None, reporter.person, title="Mine")

        found = reporter.get(f"retrospectives/?{query}").json()

        assert sorted(row["title"] for row in found["results"]) == titles
        assert found["count"] == len(titles)

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("outcome=great", "outcome.0"),
            ("tool=none", "tool"),
            ("author=7", "author"),
            ("prompt=none", "prompt"),
            ("sort=new", "sort"),
        ],
    )
    def test_what_is_asked_wrongly_is_named(self, reporter, query, field):
        assert told(reporter.get(f"retrospectives/?{query}")) == (422, "invalid", [field])

    def test_rows_leave_the_long_answers_out_and_cost_the_same_for_one_and_ten(
        self, reporter, django_assert_num_queries
    ):
        long = ("pasted_text", "evidence", "why_different", "worked", "failed", "lucky", "advice", "when_not", "follow_ups", "addenda", "links")  # fmt: skip
        one = reporter.post("retrospectives/", FULL).json()
        with django_assert_num_queries(4):
            rows = reporter.get("retrospectives/").json()["results"]
        for _ in range(9):
            reporter.post("retrospectives/", FULL)

        with django_assert_num_queries(4):
            reporter.get("retrospectives/")

        assert rows == [{name: one[name] for name in one if name not in long}]


class TestCorrecting:
    def test_what_was_read_can_be_sent_back_changed(self, reporter):
        read = reporter.post("retrospectives/", FULL).json()
        path = f"retrospectives/{read['id']}/"

        changed = reporter.patch(path, {**read, "minutes_checking": 35, "task_familiarity": None})

        assert changed.status_code == 200
        now = dict(changed.json())
        assert now.pop("edited") is not None
        assert now == {
            **{name: read[name] for name in read if name != "edited"},
            "minutes_checking": 35,
            "task_familiarity": None,
        }

    def test_only_what_is_sent_changes(self, reporter):
        pk = reporter.post("retrospectives/", FULL).json()["id"]

        changed = reporter.patch(f"retrospectives/{pk}/", {"outcome": "harmful"}).json()

        assert {name: changed[name] for name in FULL} == {**FULL, "outcome": "harmful"}

    def test_it_can_be_moved_to_another_version_or_prompt(self, reporter):
        first = make_prompt(title="First")
        second = make_prompt(title="Second")
        prompts.edit_prompt(
            prompt=first,
            fields=prompts.PromptFields(text="New"),
            by=first.author,
            now=NOW,
            based_on=None,
        )
        pk = reporter.post("retrospectives/", {**FULL, "prompt": "first"}).json()["id"]
        path = f"retrospectives/{pk}/"

        newer = reporter.patch(path, {"version": 2}).json()
        moved = reporter.patch(path, {"prompt": "second"}).json()
        proven = {e.slug: (e.reports, e.proven > 0) for e in SearchEntry.objects.filter(kind="prompt")}  # fmt: skip
        freed = reporter.patch(path, {"prompt": None}).json()

        assert (newer["prompt"], newer["version"]) == ("first", 2)
        assert (moved["prompt"], moved["version"]) == ("second", 1)
        assert (proven["first"], proven["second"]) == ((0, False), (1, True))
        assert (freed["prompt"], freed["version"]) == (None, None)
        assert second.current is not None

    def test_after_a_week_it_is_added_to_instead(self, reporter):
        pk = reporter.post("retrospectives/", FULL).json()["id"]
        path = f"retrospectives/{pk}/"

        with time_machine.travel(timezone.now() + timedelta(days=8)):
            refused = reporter.patch(path, {"title": "x"})
            added = reporter.post(f"{path}addenda/", {"text": "Later: it held."})
            shown = reporter.get(path).json()

        assert told(refused) == (403, "not_allowed", [])
        assert added.status_code == 201
        assert shown["addenda"] == [added.json()]
        assert shown["can_edit"] is False

    def test_nobody_else_corrects_adds_or_links(self, reporter):
        pk = reporter.post("retrospectives/", FULL).json()["id"]
        other, path = Caller(make_person("admin")), f"retrospectives/{pk}/"

        for method, rest, data in [
            ("PATCH", "", {"title": "x"}),
            ("POST", "addenda/", {"text": "x"}),
            ("POST", "follow-ups/", {"text": "x"}),
            ("POST", "links/", {"kind": "confirms", "prompt": "review-an-nda"}),
        ]:
            assert told(other(method, f"{path}{rest}", data)) == (403, "not_allowed", [])


class TestWhatFollows:
    def test_a_follow_up_is_settled_by_its_owner(self, reporter):
        owner = Caller(make_person("reader"))
        pk = reporter.post("retrospectives/", FULL).json()["id"]
        task = reporter.post(
            f"retrospectives/{pk}/follow-ups/", {"text": "Do", "owner": owner.person.email}
        )

        done = owner.patch(f"follow-ups/{task.json()['id']}/", {"state": "done"})
        refused = Caller(make_person()).patch(f"follow-ups/{task.json()['id']}/", {"state": "open"})

        assert task.status_code == 201
        assert done.json() == {**task.json(), "state": "done"}
        assert told(refused) == (403, "not_allowed", [])

    def test_links_lead_to_reports_and_prompts_one_may_read(self, reporter):
        pk = reporter.post("retrospectives/", FULL).json()["id"]
        other = make_report(None)
        path = f"retrospectives/{pk}/"

        to_report = reporter.post(f"{path}links/", {"kind": "confirms", "report": other.pk})
        to_prompt = reporter.post(f"{path}links/", {"kind": "nuances", "prompt": "review-an-nda"})

        assert [to_report.status_code, to_prompt.status_code] == [201, 201]
        assert reporter.get(path).json()["links"] == [
            {"kind": "confirms", "report": other.pk, "prompt": None},
            {"kind": "nuances", "report": None, "prompt": "review-an-nda"},
        ]

    @pytest.mark.parametrize(
        ("sent", "fields"),
        [
            ({"kind": "likes", "prompt": "review-an-nda"}, ["kind"]),
            ({"kind": "confirms", "prompt": "none"}, ["prompt"]),
            ({"kind": "confirms", "report": 999_999}, ["report"]),
            ({"kind": "confirms"}, []),
        ],
    )
    def test_links_that_lead_nowhere_are_refused(self, reporter, sent, fields):
        pk = reporter.post("retrospectives/", FULL).json()["id"]

        assert told(reporter.post(f"retrospectives/{pk}/links/", sent)) == (422, "invalid", fields)
