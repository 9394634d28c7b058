from urllib.parse import quote

import pytest

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
