import pytest

from kb.community import actions as community
from kb.search import engine
from kb.search.query import parse
from tests.factories import (
    NOW,
    later,
    make_department,
    make_person,
    make_prompt,
    make_report,
    make_tool,
    make_use_case,
)

pytestmark = pytest.mark.django_db


def found(text, person=None, **options):
    results = engine.search(parse(text), person or make_person("reader"), **options)
    return [hit.slug for hit in results.hits]


@pytest.fixture
def shelf():
    """Four prompts in two languages."""
    author = make_person()
    legal, sales = make_department("legal"), make_department("sales")
    make_prompt(
        author,
        title="Relire un bail commercial",
        text="Relisez ce bail développé par l’utilisateur.",
        language="fr",
        departments=[legal],
        tools=[make_tool("le-chat", name="Le Chat")],
        use_cases=[make_use_case("check")],
        tags=["Bail"],
        now=NOW,
    )
    make_prompt(
        author,
        title="Review an NDA",
        text="Read the agreement with gpt-4o and list the risks.",
        departments=[legal, sales],
        tools=[make_tool("chatgpt", name="ChatGPT")],
        now=later(days=1),
    )
    make_prompt(
        author,
        title="Answer a complaint",
        text="Write to the customer.",
        departments=[sales],
        now=later(days=2),
    )
    make_prompt(author, title="A quiet draft", status="draft")
    return author


@pytest.mark.parametrize(
    ("typed", "slugs"),
    [
        ("bail", ["relire-un-bail-commercial"]),
        ("baux commerciaux", ["relire-un-bail-commercial"]),
        ("developpe", ["relire-un-bail-commercial"]),
        ("DÉVELOPPÉS", ["relire-un-bail-commercial"]),
        ("utilisateurs", ["relire-un-bail-commercial"]),
        ("relire un bail commercial", ["relire-un-bail-commercial"]),
        ("reviewing", ["review-an-nda"]),
        ("risk of the agreement", ["review-an-nda"]),
        ("gpt-4o", ["review-an-nda"]),
        ("gpt-4o-mini", []),
        ("chatgpt", ["review-an-nda"]),
        ("complaint OR bail", ["answer-a-complaint", "relire-un-bail-commercial"]),
        ('"a complaint"', ["answer-a-complaint"]),
        ('"customer complaint"', []),
        ("department:legal -bail", ["review-an-nda"]),
        ("service:sales -tool:chatgpt", ["answer-a-complaint"]),
        ("lang:fr", ["relire-un-bail-commercial"]),
        ("tag:bail usage:check outil:le-chat", ["relire-un-bail-commercial"]),
        ("quiet", []),
    ],
)
def test_what_people_type_finds_what_they_mean(shelf, typed, slugs):
    assert sorted(found(typed, is_exact=typed != "baux commerciaux")) == sorted(slugs)


def test_own_drafts_are_found_when_asked_for(shelf):
    assert found("status:draft", shelf) == ["a-quiet-draft"]
    assert found("status:draft") == []


def test_the_title_counts_more_than_the_text():
    make_prompt(title="Something else", text="A contract.")
    make_prompt(title="Review a contract", text="Something else.")

    assert found("contract") == ["review-a-contract", "something-else"]


def test_hits_mark_the_words_with_their_accents():
    make_prompt(title="Un bail développé", text="Rien.")

    [hit] = engine.search(parse("developpe"), make_person("reader")).hits

    assert [(part.text, part.is_match) for part in hit.title] == [
        ("Un bail ", False),
        ("développé", True),
    ]


def test_small_words_of_a_sentence_are_not_marked():
    make_prompt(title="Répondre à un client", text="Un **ton** calme.")

    [hit] = engine.search(parse("je veux repondre a un client"), make_person("reader")).hits

    assert [part.text for part in hit.title if part.is_match] == ["Répondre", "client"]
    assert "".join(part.text for part in hit.excerpt) == "Un ton calme."


def test_a_passage_reads_as_a_text_without_the_signs_of_its_layout():
    text = "# Rôle\n- Relis le texte.\n* Cite <Nom>.\n\n<bail>\n{{ texte du bail }}\n</bail>\n"
    make_prompt(title="Relire", text=text)

    [hit] = engine.search(parse("bail"), make_person("reader")).hits

    passage = "".join(part.text for part in hit.excerpt)
    assert passage == "Rôle Relis le texte. Cite <Nom>. texte du bail"


def test_page_counts_and_facets_agree_about_what_is_hidden(shelf):
    legal = make_department("legal")
    make_prompt(
        make_person("author", legal),
        title="Secret review",
        departments=[legal],
        visibility="departments",
    )
    member, outsider = make_person("reader", legal), make_person("reader")

    inside, outside = (
        engine.search(parse("review"), person, is_exact=True) for person in (member, outsider)
    )

    assert (inside.total, inside.facets["departments"]) == (2, {"legal": 2, "sales": 1})
    assert (outside.total, outside.facets["departments"]) == (1, {"legal": 1, "sales": 1})


def test_a_facet_counts_what_choosing_its_value_would_show(shelf):
    results = engine.search(parse("department:legal tool:chatgpt"), make_person("reader"))

    assert [hit.slug for hit in results.hits] == ["review-an-nda"]
    assert results.facets["departments"] == {"legal": 1, "sales": 1}
    assert results.facets["tools"] == {"chatgpt": 1, "le-chat": 1}
    assert results.facets["languages"] == {"en": 1}


def test_orders(shelf):
    person = make_person("reader")
    proven = make_prompt(title="Proven", now=later(days=-30))
    for _ in range(4):
        community.signal(prompt=proven, outcome="worked", by=make_person("reader"), now=NOW)

    assert found("", person, sort="proven")[0] == "proven"
    assert found("", person, sort="newest") == [
        "answer-a-complaint",
        "review-an-nda",
        "relire-un-bail-commercial",
        "proven",
    ]
    assert found("", person)[0] == "proven"


def test_pages_follow_each_other_and_the_count_stays(shelf):
    person = make_person("reader")

    pages = [engine.search(parse(""), person, page=number, page_size=2) for number in (1, 2, 3)]

    assert [len(page.hits) for page in pages] == [2, 1, 0]
    assert [page.total for page in pages] == [3, 3, 3]


def test_reports_are_found_by_their_lesson():
    make_report(
        make_prompt(title="Bail"), title="Three leases", lesson="Ask for the annexes first."
    )

    hits = engine.search(parse("annex"), make_person("reader"), kind="retrospective").hits

    assert ["".join(part.text for part in hit.title) for hit in hits] == ["Three leases"]


@pytest.mark.parametrize(
    "typed", ["'", '"', "a:b:c", "-", "&|!()", "<->", "x\\", "%", "\u0000", "*:*", "::tsquery"]
)
def test_nothing_typed_is_an_error(shelf, typed):
    engine.search(parse(typed), make_person("reader"))


def test_texts_too_heavy_for_the_index_are_indexed_from_their_beginning():
    heavy = " ".join(
        chr(0x4E00 + n % 20_000) + chr(0x4E00 + n // 7 % 20_000) for n in range(60_000)
    )

    make_prompt(title="Heavy", text=f"Beginning {heavy}"[:200_000])

    assert found("beginning") == ["heavy"]


def test_nobody_finds_nothing(shelf):
    assert found("bail", make_person(None)) == []
