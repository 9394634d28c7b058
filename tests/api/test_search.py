from urllib.parse import quote

import pytest

from kb.search import index
from tests.api.conftest import Caller, told
from tests.factories import make_department, make_person, make_prompt, make_report, make_tool

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller():
    return Caller(make_person("reader"), ["read"])


def test_a_hit_says_what_it_is_and_why_it_was_found(caller):
    prompt = make_prompt(
        title="Relire un bail", text="Tu es juriste. Relis les clauses du bail.", language="fr"
    )

    found = caller.get("search/?q=clause bail").json()

    assert found["count"] == 1
    hit = found["results"][0]
    assert hit.pop("excerpt").startswith("Tu es juriste.")
    assert hit == {
        "kind": "prompt",
        "slug": "relire-un-bail",
        "title": "Relire un bail",
        "matches": ["bail", "clauses"],
        "language": "fr",
        "dated": "2026-03-02T09:00:00Z",
        "is_near": False,
        "url": f"http://testserver/prompts/{prompt.slug}/",
    }


def test_facets_count_what_one_may_read(caller):
    legal, sales = make_department("legal"), make_department("sales")
    make_prompt(departments=[legal], tools=[make_tool()], tags=["NDA"])
    make_prompt(departments=[legal, sales])
    make_prompt(make_person("author", sales), departments=[sales], visibility="departments")

    facets = caller.get("search/?department=legal").json()["facets"]

    assert facets == {
        "departments": [{"value": "legal", "count": 2}, {"value": "sales", "count": 1}],
        "tools": [{"value": "chatgpt", "count": 1}],
        "use_cases": [],
        "tags": [{"value": "nda", "count": 1}],
        "languages": [{"value": "en", "count": 2}],
        "statuses": [{"value": "published", "count": 2}],
        "drifts": [],
        "evidence": [{"value": "none", "count": 2}],
    }


def test_failures_are_found_as_reports(caller):
    report = make_report(None, title="Bad table", outcome="failed", lesson="It invents columns.")
    make_prompt(title="Columns")

    found = caller.get("search/?q=columns&kind=retrospective&outcome=failed").json()

    assert [(hit["kind"], hit["slug"], hit["title"]) for hit in found["results"]] == [
        ("retrospective", str(report.pk), "Bad table")
    ]
    assert found["results"][0]["url"] == f"http://testserver/retrospectives/{report.pk}/"
    assert caller.get("search/?q=columns&kind=retrospective&outcome=worked").json()["count"] == 0


def test_hidden_prompts_are_not_found(caller):
    author = make_person()
    make_prompt(author, title="Crocodile", status="draft")

    assert caller.get("search/?q=crocodile").json()["count"] == 0
    assert Caller(author).get("search/?q=crocodile&status=draft").json()["count"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=person", "kind"),
        ("sort=random", "sort"),
        ("outcome=failed", "outcome"),
        ("kind=retrospective&status=draft", "status"),
        ("kind=retrospective&evidence=proven", "evidence"),
        ("evidence=sure", "evidence.0"),
        ("exact=perhaps", "exact"),
        ("language=francais", "language.0"),
        ("tool=none", "tool"),
        ("limit=5", "limit"),
        ("q=a%00b", "q"),
    ],
)
def test_what_is_asked_wrongly_is_named(caller, query, field):
    assert told(caller.get(f"search/?{query}")) == (422, "invalid", [field])


HOSTILE = ("-", "OR OR", "tool:", "((((", '"', "a" * 200, "'; DROP", "e\u0301", "😀", "\\", "%")


@pytest.mark.parametrize("words", HOSTILE)
def test_whatever_is_typed_is_answered(caller, words):
    make_prompt()

    assert caller.get(f"search/?q={quote(words)}").status_code == 200


def test_prompts_and_reports_are_found_together_and_counted_apart(caller):
    prompt = make_prompt(title="Columns of a table")
    report = make_report(prompt, title="Columns")
    make_report(None, title="Another one")

    found = caller.get("search/?q=columns&kind=everything").json()

    assert sorted((hit["kind"], hit["slug"]) for hit in found["results"]) == [
        ("prompt", prompt.slug),
        ("retrospective", str(report.pk)),
    ]
    assert (found["count"], found["total"], found["total_is_capped"]) == (2, 2, False)
    assert found["kinds"] == {"prompt": 1, "retrospective": 1}


def test_it_tells_what_it_understood(caller):
    make_department("legal")

    asked = quote('nda "standard clauses" -draft tool:chatgpt,claude -tag:old')
    found = caller.get(f"search/?q={asked}&department=legal").json()

    assert found["understood"] == [
        {"field": "words", "values": ["nda"], "is_excluded": False},
        {"field": "phrase", "values": ["standard clauses"], "is_excluded": False},
        {"field": "words", "values": ["draft"], "is_excluded": True},
        {"field": "department", "values": ["legal"], "is_excluded": False},
        {"field": "tool", "values": ["chatgpt", "claude"], "is_excluded": False},
        {"field": "tag", "values": ["old"], "is_excluded": True},
    ]


def test_a_correction_is_told_and_can_be_refused(caller):
    make_prompt(title="Review a contract")
    index.settle()

    found = caller.get("search/?q=contrcat").json()
    exact = caller.get("search/?q=contrcat&exact=1").json()

    assert found["corrections"] == [{"asked": "contrcat", "used": "contract"}]
    assert [hit["title"] for hit in found["results"]] == ["Review a contract"]
    assert (exact["corrections"], exact["results"]) == ([], [])


def test_a_result_that_lacks_a_word_makes_the_search_relaxed(caller):
    make_prompt(title="Review a contract")

    assert caller.get("search/?q=review contract zebra").json()["is_relaxed"] is True
    assert caller.get("search/?q=review contract").json()["is_relaxed"] is False


def test_evidence_filters_the_search_and_the_list(caller):
    make_prompt(title="Unproven")

    for path in ("search/", "prompts/"):
        counts = [
            caller.get(f"{path}?evidence={value}").json()["count"] for value in ("none", "proven")
        ]
        assert counts == [1, 0]


class TestSuggesting:
    def suggest(self, caller, text):
        return caller.get(f"suggest/?q={quote(text)}").json()["results"]

    def test_what_may_be_meant_has_a_kind_a_label_and_an_address(self, caller):
        make_prompt(title="Review an NDA", tools=[make_tool("reviewer")])
        index.settle()

        assert self.suggest(caller, "revi") == [
            {
                "kind": "tool",
                "value": "reviewer",
                "label": "reviewer",
                "url": "http://testserver/prompts/?tool=reviewer",
            },
            {
                "kind": "prompt",
                "value": "review-an-nda",
                "label": "Review an NDA",
                "url": "http://testserver/prompts/review-an-nda/",
            },
        ]

    def test_nothing_hidden_is_suggested(self, caller):
        author = make_person()
        make_prompt(author, title="Crocodile", status="draft")

        assert self.suggest(caller, "croco") == []

    @pytest.mark.parametrize("words", [" ", "r", *HOSTILE])
    def test_whatever_is_typed_is_answered(self, caller, words):
        assert caller.get(f"suggest/?q={quote(words)}").status_code == 200

    def test_it_has_to_be_told_what_was_typed(self, caller):
        assert told(caller.get("suggest/")) == (422, "invalid", ["q"])
