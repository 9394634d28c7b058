"""What comes before what, and what is found when not every word is there."""

import pytest

from kb.community import actions as community
from kb.search import engine, index
from kb.search.engine import Correction
from kb.search.query import parse
from tests.factories import (
    NOW,
    later,
    make_department,
    make_person,
    make_prompt,
    make_report,
    make_tool,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader():
    return make_person("reader")


def slugs(text, person, **options):
    return [hit.slug for hit in engine.search(parse(text), person, **options).hits]


def test_a_title_comes_before_the_same_word_in_a_text_however_popular(reader):
    popular = make_prompt(title="Something else", text="The minutes of a meeting.")
    for _ in range(8):
        community.cast_vote(prompt=popular, by=make_person("reader"), now=NOW)
    make_prompt(title="Minutes", text="Something else.")

    assert slugs("minutes", reader) == ["minutes", "something-else"]


def test_the_title_itself_comes_before_longer_titles_with_all_its_words(reader):
    for title in ("Cover Letter for a Letter Cover Maker", "Dynamic Cover Letter", "Cover Letter"):
        make_prompt(title=title, text="cover letter " * 20)

    assert slugs("COVER LETTER", reader)[0] == "cover-letter"


def test_all_words_in_the_title_come_before_words_spread_over_the_text(reader):
    make_prompt(title="Chase", text="overdue invoice " * 30, summary="An overdue invoice")
    make_prompt(title="Chase an overdue invoice politely", text="Nothing.")

    assert slugs("overdue invoice", reader)[0] == "chase-an-overdue-invoice-politely"


def test_a_rare_word_weighs_more_than_common_ones(reader):
    for number in range(6):
        make_prompt(title=f"Write to a client {number}", text="Write to the client.")
    make_prompt(title="Wazuh", text="Security rules.")
    index.settle()

    assert slugs("write client wazuh", reader)[0] == "wazuh"


def test_a_drifted_prompt_comes_after_its_equal(reader):
    first, second = (make_prompt(title=f"Lease {n}", text="Same.") for n in (1, 2))
    assert slugs("lease", reader) == [second.slug, first.slug]

    index.set_drift(kind="prompt", object_id=second.pk, state="drifted")

    assert slugs("lease", reader) == [first.slug, second.slug]


def test_a_sentence_finds_what_its_telling_words_say(reader):
    make_prompt(
        title="Relancer une facture impayée",
        text="Écris une relance polie à un client qui n’a pas réglé sa facture.",
        language="fr",
    )
    make_prompt(title="Chase an overdue invoice", text="Write a polite reminder to a client.")
    make_prompt(title="Poem", text="Write a poem about the sea.")
    index.settle()

    french = slugs("comment relancer un client qui ne paie pas", reader)
    english = slugs("help me write a polite reminder to a client who does not pay", reader)

    assert french[0] == "relancer-une-facture-impayee"
    assert english[0] == "chase-an-overdue-invoice"


def test_missing_words_are_told(reader):
    make_prompt(title="Chase an overdue invoice", text="Nothing.")
    make_prompt(title="Book a train", text="Nothing.")

    loose = engine.search(parse("overdue invoice zeppelin"), reader)
    strict = engine.search(parse("overdue invoice zeppelin"), reader, is_exact=True)

    assert ([hit.slug for hit in loose.hits], loose.is_relaxed) == (
        ["chase-an-overdue-invoice"],
        True,
    )
    assert (strict.hits, strict.is_relaxed) == ([], False)


@pytest.mark.parametrize(
    ("typed", "used"),
    [
        ("invioce", "invoice"),
        ("overdu", "overdue"),
        ("invoicce", "invoice"),
        ("onvoice", "invoice"),
    ],
)
def test_a_slip_finds_the_nearest_word_and_says_so(reader, typed, used):
    make_prompt(title="Chase an overdue invoice", text="Nothing.")
    index.settle()

    found = engine.search(parse(f"chase {typed} please"), reader)

    assert [hit.slug for hit in found.hits] == ["chase-an-overdue-invoice"]
    assert found.corrections in ((), [Correction(typed, used)])
    assert (found.corrections == ()) == used.startswith(typed)


def test_the_words_as_typed_can_be_had_back(reader):
    make_prompt(title="Chase an overdue invoice", text="Nothing.")
    index.settle()

    found = engine.search(parse("invioce"), reader, is_exact=True)

    assert (found.total, found.hits, found.corrections) == (0, [], ())


def test_a_word_only_others_may_read_is_never_offered(reader):
    legal = make_department("legal")
    make_prompt(
        make_person("author", legal),
        title="Zanzibar acquisition",
        text="Secret.",
        departments=[legal],
        visibility="departments",
    )
    index.settle()
    member = make_person("reader", legal)

    inside, outside = (engine.search(parse("zanzibr"), p) for p in (member, reader))

    assert (inside.total, inside.corrections) == (1, [Correction("zanzibr", "zanzibar")])
    assert (outside.total, outside.corrections) == (0, ())


def test_the_last_word_may_be_only_begun(reader):
    make_prompt(title="Photosynthesis explained", text="Nothing.")
    index.settle()

    assert slugs("explained photosy", reader) == ["photosynthesis-explained"]


def test_a_synonym_finds_after_the_word_itself(reader):
    make_prompt(title="Courriel de bienvenue", text="Rien.", language="fr")
    make_prompt(title="Welcome email", text="Nothing.")

    assert slugs("email", reader) == ["welcome-email", "courriel-de-bienvenue"]


def test_each_kind_is_counted_and_shown_on_its_own(reader):
    prompt = make_prompt(title="Lease", text="Nothing.")
    make_report(prompt, title="Three leases")

    everything = engine.search(parse("lease"), reader, kind="everything")
    prompts = engine.search(parse("lease"), reader)
    reports = engine.search(parse("lease kind:retrospective"), reader)

    assert sorted(hit.kind for hit in everything.hits) == ["prompt", "retrospective"]
    assert [hit.kind for hit in prompts.hits] == ["prompt"]
    assert [hit.kind for hit in reports.hits] == ["retrospective"]
    assert everything.kinds == prompts.kinds == {"prompt": 1, "retrospective": 1}


def test_authors_are_found_by_their_name(reader):
    make_prompt(make_person(name="Zélie Martin"), title="Hers")
    make_prompt(make_person(name="Bob"), title="His")

    assert slugs('author:"zélie martin"', reader) == ["hers"]


def test_departments_are_found_by_their_french_name(reader):
    finance = make_department("finance", name_en="Finance", name_fr="Comptabilité générale")
    make_prompt(title="Theirs", departments=[finance])
    make_prompt(title="Other")

    assert slugs('service:"comptabilite generale"', reader) == ["theirs"]


def test_evidence_and_drift_are_facets(reader):
    proven, quiet = make_prompt(title="Proven"), make_prompt(title="Quiet")
    for _ in range(8):
        community.signal(prompt=proven, outcome="worked", by=make_person("reader"), now=NOW)
    index.set_drift(kind="prompt", object_id=quiet.pk, state="drifted")

    results = engine.search(parse(""), reader)

    assert results.facets["evidence"] == {"none": 1, "proven": 1}
    assert results.facets["drifts"] == {"drifted": 1}
    assert results.facets["statuses"] == {"published": 2, "drifted": 1}
    assert slugs("evidence:proven", reader) == ["proven"]
    assert slugs("status:drifted", reader) == ["quiet"]


def test_a_tool_is_found_by_its_name_as_a_word(reader):
    make_prompt(title="Contract", tools=[make_tool("le-chat", name="Le Chat")])

    assert slugs("le chat contract", reader) == ["contract"]


def _copies(*titles):
    return [
        make_prompt(title=title, text=COPIED, now=later(days=n)) for n, title in enumerate(titles)
    ]


COPIED = "Read the lease from end to end. List every date it names. Say who has to act by then."


def test_near_copies_step_back_behind_what_differs(reader):
    make_prompt(title="Something on a lease", text="Write to the landlord about the heating.")
    _copies("Lease", "Lease for the shop", "Lease for the office")

    assert slugs("lease", reader)[:2] == ["lease", "something-on-a-lease"]


def test_a_copy_whose_title_was_typed_steps_back_behind_nothing(reader):
    make_prompt(title="Something on a lease", text="Write to the landlord about the heating.")
    first, second, third = _copies("Lease", "Lease", "Lease for the shop")

    found = slugs("lease", reader)

    assert (set(found[:2]), found[2:]) == (
        {first.slug, second.slug},
        ["something-on-a-lease", third.slug],
    )


def test_pages_hold_each_result_once_wherever_near_copies_stand(reader, monkeypatch):
    monkeypatch.setattr(engine, "MOST_COMPARED", 5)
    made = _copies(*(f"Lease {number}" for number in range(4)))
    made += [make_prompt(title=f"Lease of object {n}", text=f"Ask {n} about it.") for n in range(5)]

    pages = [slugs("lease", reader, page=number, page_size=2) for number in range(1, 6)]

    assert sorted(slug for page in pages for slug in page) == sorted(one.slug for one in made)
    assert [slug for page in pages for slug in page] == slugs("lease", reader, page_size=50)


def test_a_common_synonym_weighs_less_than_a_rare_word_itself(reader):
    for number in range(12):
        make_prompt(
            title=f"Newsletter {number}", text="Write the email that bids subscribers welcome."
        )
    make_prompt(title="Formal notice", text="The courriel arrived and is to be answered.")
    make_prompt(title="Boiler", text="The heating is cold.")
    index.settle()

    found = slugs("courriel subscribers welcome heating", reader)

    # "email" means the same as "courriel", but it is everywhere.
    assert {found[0], found[1]} == {"boiler", "formal-notice"}
