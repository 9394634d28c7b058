import pytest

from kb.community import actions as community
from kb.prompts import actions
from kb.prompts.models import Prompt
from kb.prompts.template import Variable
from kb.prompts.writeup import WriteUpSections
from kb.search import engine
from kb.search.models import SearchEntry
from tests.api.conftest import Caller, told
from tests.factories import (
    NOW,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_tool,
    make_use_case,
)

pytestmark = pytest.mark.django_db

NDA = {
    "title": "Review an NDA",
    "summary": "Five positions",
    "text": "Review for {{ party }}:\n\n{{ agreement }}",
    "system": "You are a lawyer.",
    "variables": [{"name": "agreement", "label": "The agreement", "type": "long_text"}],
    "language": "en",
    "write_up": "## What worked\n\nNaming the positions.\n\n## Limits\n\nNot for contracts.",
    "departments": ["legal"],
    "tools": ["chatgpt"],
    "use_cases": ["review"],
    "tags": ["NDA", "Contrats"],
    "visibility": "company",
    "status": "published",
    "change_note": "First",
}


@pytest.fixture
def author():
    make_department("legal")
    make_tool("chatgpt")
    make_use_case("review")
    return Caller(make_person(name="Ada"))


class TestCreating:
    def test_what_is_sent_is_what_is_read(self, author):
        made = author.post("prompts/", NDA)

        read = author.get("prompts/review-an-nda/")
        assert made.status_code == 201
        assert made["Location"] == "http://testserver/api/v1/prompts/review-an-nda/"
        assert (made["ETag"], read["ETag"]) == ('"1"', '"1"')
        assert made.json() == read.json()
        shown = {**read.json(), "version": {**read.json()["version"]}}
        version = shown.pop("version")
        dates = {name: shown.pop(name) for name in ("created", "updated", "published")}
        assert all(date.endswith("Z") for date in dates.values())
        me = {"id": author.person.pk, "name": "Ada"}
        assert shown == {
            **{name: NDA[name] for name in ("title", "summary", "text", "system", "language")},
            **{name: NDA[name] for name in ("departments", "tools", "use_cases", "visibility")},
            "id": Prompt.objects.get().pk,
            "slug": "review-an-nda",
            "url": "http://testserver/prompts/review-an-nda/",
            "variables": [
                Variable("party").to_dict(),
                Variable("agreement", label="The agreement", type="long_text").to_dict(),
            ],
            "write_up": NDA["write_up"],
            "write_up_sections": {
                "purpose": "",
                "worked": "Naming the positions.",
                "failed": "",
                "limits": "Not for contracts.",
            },
            "tags": ["Contrats", "NDA"],
            "status": "published",
            "edition": 1,
            "author": me,
            "evidence": {
                "worked": 0,
                "with_edits": 0,
                "failed": 0,
                "k": 0,
                "n": 0,
                "low": 0.0,
                "high": 1.0,
                "of_current_version": True,
            },
            "votes": 0,
            "voted": False,
            "drift": None,
        }
        assert version == {
            "number": 1,
            "created": dates["created"],
            "change_note": "First",
            "restored_from": None,
            "author": me,
        }

    def test_title_and_text_are_enough_for_a_draft_in_ones_own_language(self):
        author = Caller(make_person(language="fr"))

        made = author.post("prompts/", {"title": "Bonjour", "text": "Dis {{ quoi }}."}).json()

        names = ("status", "language", "departments", "visibility", "published")
        assert {name: made[name] for name in names} == {
            "status": "draft",
            "language": "fr",
            "departments": [],
            "visibility": "company",
            "published": None,
        }
        assert [variable["name"] for variable in made["variables"]] == ["quoi"]

    def test_variables_may_be_names_alone_and_write_ups_objects(self, author):
        made = author.post(
            "prompts/",
            {
                "title": "T",
                "text": "{{ a }} {{ b }}",
                "variables": ["b"],
                "write_up": {"failed": "Tables."},
            },
        ).json()

        assert [variable["name"] for variable in made["variables"]] == ["a", "b"]
        assert made["write_up"] == "## What did not work\n\nTables."

    def test_what_cannot_be_kept_is_named_field_by_field(self, author):
        refused = author.post(
            "prompts/",
            {
                "title": "",
                "language": "english",
                "departments": ["legl"],
                "tools": "chatgpt",
                "status": "public",
                "write_up": {"purpos": "x"},
                "titel": "x",
                "tags": [1, []],
            },
        )

        assert told(refused) == (
            422,
            "invalid",
            [
                *("departments", "language", "status", "tags.1", "text", "titel", "title", "tools"),
                "write_up",
            ],
        )
        assert refused.json()["error"]["fields"]["departments"] == (
            "“legl” is not known; known: legal."
        )
        assert refused.json()["error"]["fields"]["titel"] == (
            "“titel” is not known here. Did you mean “title”?"
        )
        assert refused.json()["error"]["fields"]["status"] == (
            "“public” is not known; use one of: draft, published, archived."
        )

    @pytest.mark.parametrize(
        ("variables", "message"),
        [
            ([{"name": "1"}], "“1”: '1': A name is a letter, then letters, digits, _ or -, 64 at most."),
            ([{"name": "a", "type": "colour"}], "“a”: 'colour': The type is one of text, long_text, number, date, choice."),
            (["a", "a"], "“a”: 'a': Two variables have this name."),
            (["b"], "The text has no place for: b. Write {{ b }} where it belongs, or remove the variable."),
            ("a", "This is a list."),
        ],
    )  # fmt: skip
    def test_variables_that_cannot_be_kept_say_why(self, author, variables, message):
        refused = author.post("prompts/", {"title": "T", "text": "{{ a }}", "variables": variables})

        assert told(refused) == (422, "invalid", ["variables"])
        assert refused.json()["error"]["fields"]["variables"] == message

    def test_a_variable_that_is_no_object_is_named_by_its_place(self, author):
        refused = author.post("prompts/", {"title": "T", "text": "{{ a }}", "variables": ["a", 7]})

        assert told(refused) == (422, "invalid", ["variables.1"])

    def test_a_reader_may_not_publish(self):
        refused = Caller(make_person("reader")).post("prompts/", {"title": "T", "text": "x"})

        assert told(refused) == (403, "not_allowed", [])
        assert Prompt.objects.count() == 0

    def test_a_language_code_ends_where_it_ends(self, author):
        refused = author.post("prompts/", {"title": "T", "text": "x", "language": "fr\n"})

        assert told(refused) == (422, "invalid", ["language"])
        with pytest.raises(actions.Invalid):
            make_prompt(language="fr\n")


class TestReading:
    def test_what_is_not_for_you_does_not_exist(self):
        legal = make_department("legal")
        secret = make_prompt(
            make_person("author", legal), departments=[legal], visibility="departments"
        )
        draft = make_prompt(status="draft")
        colleague = Caller(make_person("author", legal))
        stranger = Caller(make_person("author", make_department("sales")))

        assert colleague.get(f"prompts/{secret.slug}/").status_code == 200
        for prompt in (secret, draft):
            for path in ("", "versions/", "versions/1/", "comments/", "signals/"):
                answer = stranger.get(f"prompts/{prompt.slug}/{path}")
                assert told(answer) == (404, "not_found", [])
            for method, path, data in [
                ("PATCH", "", {"title": "Mine"}),
                ("DELETE", "", None),
                ("POST", "versions/1/restore/", None),
                ("POST", "render/", {}),
                ("PUT", "watch/", None),
                ("DELETE", "watch/", None),
                ("PUT", "vote/", None),
                ("DELETE", "vote/", None),
                ("POST", "signals/", {"outcome": "worked"}),
                ("DELETE", "signals/", None),
                ("POST", "comments/", {"text": "Hello"}),
            ]:
                answer = stranger(method, f"prompts/{prompt.slug}/{path}", data)
                assert told(answer) == (404, "not_found", [])
        assert stranger.get("prompts/").json()["count"] == 0
        assert colleague.get("prompts/").json()["count"] == 1

    def test_evidence_votes_and_drift_stand_beside_the_prompt(self):
        monitor = make_monitor()
        prompt, reader = monitor.prompt, make_person("reader")
        monitor.status = "learning"
        monitor.save()
        for person, outcome in ((reader, "worked"), (make_person(), "failed")):
            community.signal(prompt=prompt, outcome=outcome, by=person, now=NOW)
        community.cast_vote(prompt=prompt, by=reader, now=NOW)

        shown = Caller(reader).get(f"prompts/{prompt.slug}/").json()

        low, high = shown["evidence"].pop("low"), shown["evidence"].pop("high")
        assert (round(low, 3), round(high, 3)) == (0.095, 0.905)
        assert shown["evidence"] == {
            "worked": 1,
            "with_edits": 0,
            "failed": 1,
            "k": 1,
            "n": 2,
            "of_current_version": True,
        }
        assert (shown["votes"], shown["voted"]) == (1, True)
        assert shown["drift"] == {
            "status": "learning",
            "since": "2026-03-02T09:00:00Z",
            "model": "simulated-stable",
            "is_simulated": True,
            "monitor": monitor.pk,
            "last_run": None,
        }


class TestTheList:
    def test_rows_leave_texts_out_unless_asked_for(self):
        prompt = make_prompt(write_up=WriteUpSections(purpose="Greeting"))
        caller = Caller(make_person())

        light = caller.get("prompts/").json()["results"]
        full = caller.get("prompts/?full=1").json()["results"]

        one = caller.get(f"prompts/{prompt.slug}/").json()
        texts = ("text", "system", "write_up", "write_up_sections")
        assert full == [one]
        assert light == [{name: one[name] for name in one if name not in texts}]

    @pytest.mark.parametrize(
        ("query", "slugs"),
        [
            ("", ["both", "legal-only", "plain"]),
            ("department=legal", ["both", "legal-only"]),
            ("department=legal&tool=chatgpt", ["both"]),
            ("department=legal,sales", ["both", "legal-only"]),
            ("department=legal&department=sales", ["both", "legal-only"]),
            ("use_case=review", ["both"]),
            ("tag=NDA", ["both"]),
            ("tag=nda", ["both"]),
            ("language=fr", ["plain"]),
            ("language=en,fr", ["both", "legal-only", "plain"]),
            ("status=archived", ["old"]),
            ("status=draft", ["mine"]),
            ("status=draft,archived", ["mine", "old"]),
            ("q=lawyer", ["both"]),
            ("q=lawyer&department=sales", []),
            ("q=department:legal", ["both", "legal-only"]),
        ],
    )
    def test_filters_narrow_it(self, query, slugs):
        me = make_person()
        legal, _sales = make_department("legal"), make_department("sales")
        tool, use = make_tool("chatgpt"), make_use_case("review")
        make_prompt(
            title="Both",
            text="You are a lawyer.",
            tags=["NDA"],
            departments=[legal],
            tools=[tool],
            use_cases=[use],
        )
        make_prompt(title="Legal only", departments=[legal])
        make_prompt(title="Plain", language="fr")
        make_prompt(me, title="Mine", status="draft")
        actions.archive(prompt=(old := make_prompt(me, title="Old")), by=old.author, now=NOW)

        answer = Caller(me).get(f"prompts/?{query}")

        assert answer.status_code == 200
        assert sorted(row["slug"] for row in answer.json()["results"]) == slugs
        assert answer.json()["count"] == len(slugs)

    def test_a_synonym_finds_what_its_tag_finds(self):
        prompt = make_prompt(tags=["contract"])
        tag = prompt.tags.get()
        tag.synonyms.create(slug="agreement", name="agreement")

        found = Caller(make_person()).get("prompts/?tag=agreement").json()

        assert [row["slug"] for row in found["results"]] == [prompt.slug]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("department=legl", "department"),
            ("status=public", "status.0"),
            ("ordering=votes", "ordering"),
            ("departement=legal", "departement"),
            ("page_size=101", "page_size"),
            ("page_size=0", "page_size"),
            ("page_size=ten", "page_size"),
            ("full=perhaps", "full"),
            (f"q={'x' * 201}", "q"),
            (f"department={','.join(map(str, range(101)))}", "department"),
        ],
    )
    def test_what_is_asked_wrongly_is_named(self, query, field):
        assert told(Caller(make_person()).get(f"prompts/?{query}")) == (422, "invalid", [field])

    @pytest.mark.parametrize("page", ["0", "-1", "4", "abc", "²", "9" * 30, "1e3", " "])
    def test_a_page_that_is_not_there_is_not_found(self, page):
        make_prompt()

        answer = Caller(make_person()).get(f"prompts/?page={page}")

        assert told(answer) == (404, "not_found", [])

    def test_pages_link_to_their_neighbours(self):
        for _ in range(5):
            make_prompt(language="fr")
        caller = Caller(make_person())

        pages = [
            caller.get(f"prompts/?language=fr&page_size=2&page={number}").json()
            for number in (1, 2, 3)
        ]

        base = "http://testserver/api/v1/prompts/?language=fr"
        assert [(p["count"], p["next"], p["previous"], len(p["results"])) for p in pages] == [
            (5, f"{base}&page=2&page_size=2", None, 2),
            (5, f"{base}&page=3&page_size=2", f"{base}&page_size=2", 2),
            (5, None, f"{base}&page=2&page_size=2", 1),
        ]
        assert len({row["id"] for page in pages for row in page["results"]}) == 5

    def test_a_program_that_follows_next_meets_every_prompt_once(self, monkeypatch):
        monkeypatch.setattr(engine, "DEEPEST", 4)
        made = {make_prompt(now=NOW).pk for _ in range(11)}  # all of one moment
        caller = Caller(make_person())

        met, address, counts = [], "prompts/?page_size=2", set()
        while address:
            page = caller.get(address.removeprefix("http://testserver/api/v1/")).json()
            met += [row["id"] for row in page["results"]]
            counts.add(page["count"])
            address = page["next"]

        assert sorted(met) == sorted(made)
        assert counts == {11}
        assert told(caller.get("prompts/?page_size=2&page=3"))[0] == 404

    @pytest.mark.parametrize(
        "query",
        [
            "after=here",
            "after=2026-03-01T00:00:00,12",
            "after=2026-03-01T00:00:00Z,x",
            f"after=2026-03-01T00:00:00Z,{'9' * 30}",
            "after=2026-03-01T00:00:00Z,12&q=contract",
            "after=2026-03-01T00:00:00Z,12&ordering=proven",
            "after=2026-03-01T00:00:00Z,12&language=fr",
        ],
    )
    def test_a_place_to_go_on_from_is_taken_as_it_was_given(self, query):
        answer = Caller(make_person()).get(f"prompts/?{query}")

        assert told(answer) == (422, "invalid", ["after"])

    def test_one_row_and_twenty_take_the_same_queries(self, django_assert_num_queries):
        caller = Caller(make_person())
        department, tool = make_department(), make_tool()

        def publish(count):
            for _ in range(count):
                prompt = make_prompt(
                    departments=[department], tools=[tool], tags=["a", "b"], text="{{ x }}"
                )
                community.cast_vote(prompt=prompt, by=caller.person, now=NOW)

        publish(1)
        make_monitor()
        caller.get("prompts/")  # the use of the token is noted once a minute
        with django_assert_num_queries(13):
            caller.get("prompts/")
        publish(18)

        with django_assert_num_queries(13):
            answer = caller.get("prompts/")

        assert len(answer.json()["results"]) == 20
        with django_assert_num_queries(13):
            caller.get("prompts/?full=1")


class TestChanging:
    def test_what_was_read_can_be_sent_back_changed(self, author):
        read = author.post("prompts/", NDA).json()

        changed = author.patch("prompts/review-an-nda/", {**read, "summary": "Six positions"})

        now = changed.json()
        assert changed.status_code == 200
        assert now.pop("updated") > read.pop("updated")
        assert now == {**read, "summary": "Six positions", "edition": 2}

    def test_a_changed_text_is_the_next_version_and_keeps_what_is_known_of_its_holes(self, author):
        author.post("prompts/", NDA)

        changed = author.patch(
            "prompts/review-an-nda/",
            {"text": "{{ agreement }} {{ new }}", "change_note": "Shorter"},
        ).json()

        assert changed["version"]["number"] == 2
        assert changed["version"]["change_note"] == "Shorter"
        assert [(v["name"], v["label"]) for v in changed["variables"]] == [
            ("agreement", "The agreement"),
            ("new", ""),
        ]

    def test_sections_that_are_not_sent_stay(self, author):
        author.post("prompts/", NDA)

        changed = author.patch("prompts/review-an-nda/", {"write_up": {"failed": "Tables."}}).json()

        assert changed["write_up_sections"] == {
            "purpose": "",
            "worked": "Naming the positions.",
            "failed": "Tables.",
            "limits": "Not for contracts.",
        }

    def test_a_stale_edit_is_refused_and_changes_nothing(self, author):
        author.post("prompts/", NDA)
        path = "prompts/review-an-nda/"
        author.patch(path, {"summary": "By somebody else"})

        by_edition = author.patch(path, {"summary": "Mine", "edition": 1})
        by_header = author.patch(path, {"summary": "Mine"}, if_match='"1"')
        by_weak_tag = author.patch(path, {"summary": "Mine"}, if_match='W/"2"')

        assert told(by_edition) == (409, "conflict", ["edition"])
        assert told(by_header) == (412, "precondition_failed", [])
        assert told(by_weak_tag) == (412, "precondition_failed", [])
        assert author.get(path).json()["summary"] == "By somebody else"

    @pytest.mark.parametrize("tag", ['"1"', '"0", "1"', "*"])
    def test_a_fresh_edit_is_accepted(self, author, tag):
        author.post("prompts/", NDA)

        changed = author.patch("prompts/review-an-nda/", {"summary": "Mine"}, if_match=tag)

        assert (changed.status_code, changed["ETag"]) == (200, '"2"')

    def test_if_match_notices_an_edit_made_in_between(self, author, monkeypatch):
        author.post("prompts/", NDA)
        edit = actions.edit_prompt

        def somebody_is_quicker(**given):
            edit(**{**given, "fields": actions.PromptFields(summary="Quick"), "based_on": None})
            return edit(**given)

        monkeypatch.setattr(actions, "edit_prompt", somebody_is_quicker)

        refused = author.patch("prompts/review-an-nda/", {"summary": "Slow"}, if_match='"1"')

        assert told(refused) == (412, "precondition_failed", [])
        assert author.get("prompts/review-an-nda/").json()["summary"] == "Quick"

    def test_only_author_and_curators_change_it(self, author):
        legal = make_department("legal")
        author.post("prompts/", NDA)
        path = "prompts/review-an-nda/"

        refused = Caller(make_person()).patch(path, {"summary": "x"})
        curated = Caller(make_person("curator", legal)).patch(path, {"summary": "Curated"})

        assert told(refused) == (403, "not_allowed", [])
        assert curated.json()["summary"] == "Curated"

    def test_a_curator_who_hides_a_prompt_from_themselves_is_still_answered(self):
        prompt = make_prompt()

        hidden = Caller(make_person("curator")).patch(
            f"prompts/{prompt.slug}/", {"visibility": "private"}
        )

        assert (hidden.status_code, hidden.json()["visibility"]) == (200, "private")

    @pytest.mark.parametrize("field", ["title", "text", "departments", "variables", "status"])
    def test_null_is_refused_rather_than_guessed_at(self, author, field):
        author.post("prompts/", NDA)

        refused = author.patch("prompts/review-an-nda/", {field: None})

        assert told(refused) == (422, "invalid", [field])

    def test_a_published_prompt_cannot_be_a_draft_again(self, author):
        author.post("prompts/", NDA)

        refused = author.patch("prompts/review-an-nda/", {"status": "draft"})

        assert told(refused) == (422, "invalid", ["status"])


class TestRemoving:
    def test_a_published_prompt_is_archived_and_can_come_back(self, author):
        author.post("prompts/", NDA)
        path = "prompts/review-an-nda/"

        twice = [author.delete(path).status_code for _ in range(2)]

        assert twice == [204, 204]
        assert author.get(path).json()["status"] == "archived"
        assert author.get("prompts/").json()["count"] == 0
        assert author.patch(path, {"status": "published"}).json()["status"] == "published"

    def test_ones_own_draft_is_deleted_with_all_that_hangs_on_it(self, author):
        author.post("prompts/", {**NDA, "status": "draft"})
        path = "prompts/review-an-nda/"
        author.post(f"{path}comments/", {"text": "To do"})
        author.post(
            "retrospectives/",
            {"title": "R", "lesson": "L", "outcome": "worked", "prompt": "review-an-nda"},
        )
        assert SearchEntry.objects.count() == 2

        removed = author.delete(path)

        assert removed.status_code == 204
        assert Prompt.objects.count() == 0
        assert SearchEntry.objects.count() == 0

    def test_a_watched_draft_is_not_deleted(self, author):
        draft = make_prompt(author.person, status="draft", text="{{ n }}")
        monitor = make_monitor(draft)
        monitor.baseline = monitor.baselines.create()
        monitor.save()

        refused = author.delete(f"prompts/{draft.slug}/")

        assert told(refused) == (409, "conflict", [])
        draft.refresh_from_db()
        assert draft.current is not None

    def test_a_colleague_may_not_remove_it(self, author):
        author.post("prompts/", NDA)

        refused = Caller(make_person()).delete("prompts/review-an-nda/")

        assert told(refused) == (403, "not_allowed", [])


class TestVersions:
    @pytest.fixture
    def path(self, author):
        author.post("prompts/", NDA)
        author.patch("prompts/review-an-nda/", {"text": "New", "change_note": "Rewritten"})
        return "prompts/review-an-nda/versions/"

    def test_the_history_is_listed_and_readable(self, author, path):
        rows = author.get(path).json()["results"]
        first = author.get(f"{path}1/").json()

        assert [(row["number"], row["change_note"]) for row in rows] == [
            (2, "Rewritten"),
            (1, "First"),
        ]
        assert sorted(rows[0]) == ["author", "change_note", "created", "number", "restored_from"]
        assert (first["text"], first["system"]) == (NDA["text"], NDA["system"])
        assert [variable["name"] for variable in first["variables"]] == ["party", "agreement"]

    @pytest.mark.parametrize("number", ["3", "0", "99999999999999999999", "x"])
    def test_a_version_that_never_was_is_not_found(self, author, path, number):
        assert told(author.get(f"{path}{number}/")) == (404, "not_found", [])
        assert told(author.post(f"{path}{number}/restore/")) == (404, "not_found", [])

    def test_restoring_makes_a_new_version(self, author, path):
        restored = author.post(f"{path}1/restore/")

        assert (restored.status_code, restored["ETag"]) == (201, '"3"')
        assert restored.json()["version"]["number"] == 3
        assert restored.json()["version"]["restored_from"] == 1
        assert restored.json()["text"] == NDA["text"]
        assert told(author.post(f"{path}3/restore/")) == (422, "invalid", [])


class TestFilling:
    @pytest.fixture
    def path(self, author):
        author.post("prompts/", NDA)
        return "prompts/review-an-nda/render/"

    def test_values_are_put_in_literally(self, author, path):
        filled = author.post(path, {"values": {"party": "{{ agreement }}", "agreement": "$& \\1"}})

        assert filled.json() == {
            "text": "Review for {{ agreement }}:\n\n$& \\1",
            "system": NDA["system"],
            "missing": [],
            "unused": [],
        }

    def test_reading_is_enough_to_fill(self, author, path):
        reader = Caller(make_person("reader"), ["read"])

        filled = reader.post(path, {"values": {"party": 5, "agreement": "x", "other": "y"}})

        assert filled.status_code == 200
        assert (filled.json()["text"], filled.json()["unused"]) == ("Review for 5:\n\nx", ["other"])

    def test_missing_values_are_named_unless_a_part_is_enough(self, author, path):
        refused = author.post(path, {"values": {"party": "ACME"}})
        partial = author.post(path, {"values": {"party": "ACME"}, "partial": True})

        assert told(refused) == (422, "invalid", ["values.agreement"])
        assert partial.json() == {
            "text": "Review for ACME:\n\n{{ agreement }}",
            "system": NDA["system"],
            "missing": ["agreement"],
            "unused": [],
        }

    def test_an_older_version_can_be_filled(self, author, path):
        author.patch("prompts/review-an-nda/", {"text": "New"})

        now = author.post(path, {}).json()
        then = author.post(path, {"version": 1, "partial": True}).json()

        assert (now["text"], then["text"]) == ("New", NDA["text"])
        assert told(author.post(path, {"version": 9})) == (422, "invalid", ["version"])

    @pytest.mark.parametrize("values", [[], "x", {"party": None}, {"party": {}}, {"party": True}])
    def test_values_are_names_with_texts(self, author, path, values):
        status, code, fields = told(author.post(path, {"values": values}))

        assert (status, code) == (422, "invalid")
        assert fields in (["values"], ["values.party"])

    def test_a_long_value_in_many_holes_is_refused_before_it_fills_the_memory(self, author):
        prompt = make_prompt(text="{{ a }}" * 20_000)

        refused = author.post(f"prompts/{prompt.slug}/render/", {"values": {"a": "x" * 100_000}})

        assert told(refused) == (422, "invalid", ["values"])
        assert "2000000000" in refused.json()["error"]["message"]


def test_watching_is_on_and_off():
    prompt, reader = make_prompt(), Caller(make_person("reader"))
    path = f"prompts/{prompt.slug}/watch/"

    answers = [reader.put(path).json(), reader.put(path).json()]

    assert answers == [{"watching": True}] * 2
    assert prompt.watches.filter(person=reader.person).count() == 1
    assert reader.delete(path).json() == {"watching": False}
    assert prompt.watches.filter(person=reader.person).count() == 0
