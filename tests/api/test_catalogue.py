import pytest

from accounts.models import AuditEntry, Department
from kb.prompts.models import Tool, UseCase
from kb.search.models import SearchEntry
from tests.api.conftest import Caller, told
from tests.factories import make_department, make_person, make_prompt, make_tool, make_use_case

pytestmark = pytest.mark.django_db


@pytest.fixture
def curator():
    return Caller(make_person("curator"), ["write"])


@pytest.fixture
def reader():
    return Caller(make_person("reader"), ["read"])


class TestDepartments:
    def test_a_curator_enters_them_and_everybody_reads_them(self, curator, reader):
        made = curator.post("departments/", {"name_en": "Legal", "name_fr": "Juridique"})

        row = {
            "slug": "legal",
            "name": "Legal",
            "name_en": "Legal",
            "name_fr": "Juridique",
            "position": 0,
        }
        assert made.status_code == 201
        assert made["Location"] == "http://testserver/api/v1/departments/legal/"
        assert made.json() == row
        assert reader.get("departments/").json() == {
            "count": 1,
            "next": None,
            "previous": None,
            "results": [row],
        }
        french = reader.get("departments/legal/", accept_language="fr").json()
        assert french == {**row, "name": "Juridique"}
        assert AuditEntry.objects.filter(action="department.created").count() == 1

    def test_one_name_stands_for_both_languages(self, curator):
        made = curator.post("departments/", {"name": "R&D", "slug": "rd", "position": 7}).json()

        assert made == {
            "slug": "rd",
            "name": "R&D",
            "name_en": "R&D",
            "name_fr": "R&D",
            "position": 7,
        }

    def test_what_was_read_can_be_sent_back_changed(self, curator):
        curator.post("departments/", {"name_en": "Legal", "name_fr": "Juridique"})
        read = curator.get("departments/legal/").json()

        changed = curator.patch("departments/legal/", {**read, "name_fr": "Droit", "position": 3})

        assert changed.json() == {**read, "name_fr": "Droit", "position": 3}

    @pytest.mark.parametrize(
        ("sent", "fields"),
        [
            ({}, ["name_en", "name_fr"]),
            ({"name_en": ""}, ["name_en"]),
            ({"name": "x" * 121}, ["name_en", "name_fr"]),
            ({"name": "Sales", "slug": "Sales!"}, ["slug"]),
            ({"name": "Sales", "slug": "legal"}, ["slug"]),
            ({"name": "Legal"}, ["slug"]),
            ({"name": "法律"}, ["slug"]),
            ({"name": "Sales", "position": 40_000}, ["position"]),
            ({"name": "Sales", "positon": 1}, ["positon"]),
            ({"name_en": "Legal", "slug": "law"}, ["name_en"]),
        ],
    )
    def test_what_is_wrong_is_named(self, curator, sent, fields):
        make_department("legal")

        assert told(curator.post("departments/", sent)) == (422, "invalid", fields)
        assert Department.objects.count() == 1

    def test_the_slug_stays(self, curator):
        make_department("legal")

        assert told(curator.patch("departments/legal/", {"slug": "law"})) == (
            422,
            "invalid",
            ["slug"],
        )

    def test_others_may_not(self):
        legal = make_department("legal")
        for person in (make_person("author"), make_person("admin", legal)):
            caller = Caller(person)
            assert told(caller.post("departments/", {"name": "x"})) == (403, "not_allowed", [])
            assert told(caller.patch("departments/legal/", {"name_en": "x"})) == (
                403,
                "not_allowed",
                [],
            )

    def test_prompts_are_found_by_the_new_name(self, curator):
        prompt = make_prompt(departments=[make_department("legal")])
        assert curator.get("search/?q=compliance").json()["count"] == 0

        curator.patch("departments/legal/", {"name_en": "Compliance"})

        assert curator.get("search/?q=compliance").json()["results"][0]["slug"] == prompt.slug
        assert SearchEntry.objects.count() == 1


class TestTools:
    def test_a_curator_enters_and_retires_them(self, curator, reader):
        made = curator.post(
            "tools/",
            {"name": "Le Chat", "kind": "text", "open_url": "https://chat.example/?q={prompt}"},
        )
        retired = curator.patch("tools/le-chat/", {**made.json(), "is_retired": True})

        assert made.json() == {
            "slug": "le-chat",
            "name": "Le Chat",
            "kind": "text",
            "open_url": "https://chat.example/?q={prompt}",
            "position": 0,
            "is_retired": False,
        }
        assert retired.json() == {**made.json(), "is_retired": True}
        assert reader.get("tools/").json()["results"] == [retired.json()]
        assert reader.get("tools/le-chat/").json() == retired.json()

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"kind": "smell"}, "kind"),
            ({"open_url": "javascript:alert('{prompt}')"}, "open_url"),
            ({"open_url": "http://chat.example/?q={prompt}"}, "open_url"),
            ({"open_url": "https://chat.example/"}, "open_url"),
            ({"open_url": "https://chat.example/{prompt}" + "x" * 200}, "open_url"),
            ({"name": "x" * 81}, "name"),
            ({"name": "  "}, "name"),
        ],
    )
    def test_what_is_wrong_is_named(self, curator, sent, field):
        assert told(curator.post("tools/", {"name": "A tool", **sent})) == (
            422,
            "invalid",
            [field],
        )
        assert Tool.objects.count() == 0


class TestUseCases:
    def test_a_curator_enters_and_changes_them(self, curator, reader):
        made = curator.post("use-cases/", {"name_en": "Summarise", "name_fr": "Résumer"})
        changed = curator.patch("use-cases/summarise/", {"help_en": "Long into short."})

        row = {
            "slug": "summarise",
            "name": "Summarise",
            "name_en": "Summarise",
            "name_fr": "Résumer",
            "position": 0,
            "help_en": "",
            "help_fr": "",
        }
        assert made.json() == row
        assert changed.json() == {**row, "help_en": "Long into short."}
        assert reader.get("use-cases/summarise/").json() == changed.json()
        assert reader.get("use-cases/").json()["results"] == [changed.json()]

    def test_what_is_wrong_is_named(self, curator):
        refused = curator.post("use-cases/", {"name": "Draft", "help_fr": "x" * 201})

        assert told(refused) == (422, "invalid", ["help_fr"])
        assert UseCase.objects.count() == 0


def test_two_who_enter_the_same_tool_at_once_make_one(curator, monkeypatch):
    monkeypatch.setattr("kb.prompts.catalogue_actions._new_slug", lambda *args: "chatgpt")
    make_tool("chatgpt")

    assert told(curator.post("tools/", {"name": "ChatGPT"})) == (422, "invalid", ["slug"])


def test_what_is_not_there_is_not_found(curator):
    for kind in ("departments", "tools", "use-cases"):
        assert told(curator.get(f"{kind}/none/")) == (404, "not_found", [])
        assert told(curator.patch(f"{kind}/none/", {})) == (404, "not_found", [])


def test_tags_count_only_what_one_may_read(reader):
    author = make_person()
    for title in ("One", "Two"):
        make_prompt(author, title=title, tags=["NDA"])
    make_prompt(author, tags=["Secret"], visibility="private")
    make_prompt(author, tags=["Draft"], status="draft")
    make_prompt(author, tags=["Audit"])

    rows = reader.get("tags/").json()["results"]

    assert rows == [
        {"slug": "nda", "name": "NDA", "uses": 2},
        {"slug": "audit", "name": "Audit", "uses": 1},
    ]
    assert [row["uses"] for row in Caller(author).get("tags/").json()["results"]] == [2, 1, 1]


def test_one_and_twenty_take_the_same_queries(reader, django_assert_num_queries):
    for path, make in [
        ("departments/", make_department),
        ("tools/", make_tool),
        ("use-cases/", make_use_case),
    ]:
        make("first")
        reader.get(path)
        with django_assert_num_queries(3):
            reader.get(path)
        for number in range(19):
            make(f"{path[:3]}-{number}")
        with django_assert_num_queries(3):
            assert len(reader.get(path).json()["results"]) == 20
