from datetime import UTC, datetime

import pytest
import time_machine

from kb.community import queries
from kb.prompts import actions as prompts
from tests.api.conftest import Caller, told
from tests.factories import NOW, make_department, make_person, make_prompt, make_report

pytestmark = pytest.mark.django_db


@pytest.fixture
def prompt():
    return make_prompt()


@pytest.fixture
def reader():
    return Caller(make_person("reader", name="Rose"))


class TestVotes:
    def test_a_vote_counts_once_and_can_be_taken_back(self, prompt, reader):
        path = f"prompts/{prompt.slug}/vote/"
        Caller(make_person()).put(path)

        answers = [call(path).json() for call in (reader.put, reader.put, reader.delete, reader.delete)]  # fmt: skip

        assert answers == [
            {"votes": 2, "voted": True},
            {"votes": 2, "voted": True},
            {"votes": 1, "voted": False},
            {"votes": 1, "voted": False},
        ]

    def test_who_has_no_role_has_no_vote(self, prompt):
        assert told(Caller(make_person(None)).put(f"prompts/{prompt.slug}/vote/")) == (
            404,
            "not_found",
            [],
        )


class TestSignals:
    def test_they_are_counted_with_their_interval(self, prompt, reader):
        path = f"prompts/{prompt.slug}/signals/"
        make_report(prompt, outcome="worked_with_edits")

        made = reader.post(path, {"outcome": "failed"})

        counted = made.json()
        assert made.status_code == 201
        assert reader.get(path).json() == counted
        everything = counted.pop("all_versions")
        intervals = [(part.pop("low"), part.pop("high")) for part in (counted, everything)]
        assert intervals[0] == intervals[1]
        assert [round(end, 3) for end in intervals[0]] == [0.095, 0.905]
        counts = {"worked": 0, "with_edits": 1, "failed": 1, "k": 1, "n": 2}
        assert counted == {**counts, "of_current_version": True, "today": "failed"}
        assert everything == {**counts, "of_current_version": False}

    def test_a_second_signal_of_the_day_corrects_the_first(self, prompt, reader):
        path = f"prompts/{prompt.slug}/signals/"

        reader.post(path, {"outcome": "failed"})
        corrected = reader.post(path, {"outcome": "with_edits"}).json()
        withdrawn = reader.delete(path).json()

        assert (corrected["n"], corrected["today"]) == (1, "with_edits")
        assert (withdrawn["n"], withdrawn["today"]) == (0, None)

    def test_they_belong_to_a_version(self, prompt, reader):
        path = f"prompts/{prompt.slug}/signals/"
        prompts.edit_prompt(
            prompt=prompt,
            fields=prompts.PromptFields(text="New"),
            by=prompt.author,
            now=NOW,
            based_on=None,
        )

        of_old = reader.post(path, {"outcome": "worked", "version": 1}).json()

        assert (of_old["n"], of_old["of_current_version"], of_old["today"]) == (1, False, None)

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({}, "outcome"),
            ({"outcome": "great"}, "outcome"),
            ({"outcome": 1}, "outcome"),
            ({"outcome": "worked", "version": 2}, "version"),
            ({"outcome": "worked", "version": 0}, "version"),
            ({"outcome": "worked", "version": "one"}, "version"),
            ({"outcome": "worked", "verson": 1}, "verson"),
        ],
    )
    def test_what_is_wrong_is_named(self, prompt, reader, sent, field):
        refused = reader.post(f"prompts/{prompt.slug}/signals/", sent)

        assert told(refused) == (422, "invalid", [field])

    def test_today_is_the_day_of_the_person(self, prompt, reader):
        """At 23:30 in London it is tomorrow in Paris, where this person lives."""
        late = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)

        with time_machine.travel(late, tick=False):
            answer = reader.post(f"prompts/{prompt.slug}/signals/", {"outcome": "worked"}).json()

        assert answer["today"] == "worked"
        assert queries.signal_today(reader.person, prompt, late) is not None


class TestComments:
    def test_threads_are_listed_flat_with_their_parents(self, prompt, reader):
        path = f"prompts/{prompt.slug}/comments/"
        first = reader.post(path, {"text": "First"}).json()
        second = reader.post(path, {"text": "Second"}).json()
        answer = reader.post(path, {"text": "Answer", "parent": first["id"]})

        assert answer.status_code == 201
        assert answer.json() == {
            "id": answer.json()["id"],
            "parent": first["id"],
            "author": {"id": reader.person.pk, "name": "Rose"},
            "text": "Answer",
            "created": answer.json()["created"],
            "edited": None,
            "withdrawn": None,
        }
        assert reader.get(path).json()["results"] == [first, answer.json(), second]

    def test_its_author_changes_and_withdraws_it(self, prompt, reader):
        made = reader.post(f"prompts/{prompt.slug}/comments/", {"text": "Frist"}).json()
        path = f"comments/{made['id']}/"
        stranger = Caller(make_person())

        assert told(stranger.patch(path, {"text": "x"})) == (403, "not_allowed", [])
        assert told(stranger.delete(path)) == (403, "not_allowed", [])
        changed = reader.patch(path, {**made, "text": "First"})
        assert (changed.status_code, changed.json()["text"]) == (200, "First")
        assert changed.json()["edited"] is not None
        assert reader.delete(path).status_code == 204
        assert told(reader.delete(path)) == (404, "not_found", [])
        assert reader.get(f"prompts/{prompt.slug}/comments/").json()["count"] == 0

    def test_a_comment_on_a_hidden_prompt_does_not_exist(self):
        legal = make_department("legal")
        author = Caller(make_person("author", legal))
        hidden = make_prompt(author.person, departments=[legal], visibility="departments")
        made = author.post(f"prompts/{hidden.slug}/comments/", {"text": "x"}).json()

        refused = Caller(make_person()).patch(f"comments/{made['id']}/", {"text": "y"})

        assert told(refused) == (404, "not_found", [])

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"text": ""}, "text"),
            ({"text": " \n"}, "text"),
            ({"text": None}, "text"),
            ({"text": ["x"]}, "text"),
            ({"text": "x" * 5_001}, "text"),
            ({"text": "x", "parent": 999}, "parent"),
            ({"text": "x", "parent": "first"}, "parent"),
        ],
    )
    def test_what_is_wrong_is_named(self, prompt, reader, sent, field):
        refused = reader.post(f"prompts/{prompt.slug}/comments/", sent)

        assert told(refused) == (422, "invalid", [field])

    def test_an_answer_to_a_comment_elsewhere_is_refused(self, prompt, reader):
        other = reader.post(f"prompts/{make_prompt().slug}/comments/", {"text": "x"}).json()

        refused = reader.post(
            f"prompts/{prompt.slug}/comments/", {"text": "y", "parent": other["id"]}
        )

        assert told(refused) == (422, "invalid", ["parent"])
