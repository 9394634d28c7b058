import pytest

from kb.search import index
from kb.search.suggesting import Suggestion, suggest
from tests.factories import make_department, make_person, make_prompt, make_tool

pytestmark = pytest.mark.django_db


@pytest.fixture
def shelf():
    legal = make_department("legal", name_en="Legal", name_fr="Juridique")
    make_prompt(
        title="Review an NDA",
        departments=[legal],
        tools=[make_tool("le-chat", name="Le Chat")],
        tags=["Reviews"],
    )
    make_prompt(title="Réviser un contrat", language="fr")
    make_prompt(
        make_person("author", legal),
        title="Review the secret merger",
        departments=[legal],
        visibility="departments",
        tags=["Secret tag"],
    )
    index.settle()


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        (
            "rev",
            [("tag", "reviews"), ("prompt", "reviser-un-contrat"), ("prompt", "review-an-nda")],
        ),
        ("REVIS", [("prompt", "reviser-un-contrat")]),
        ("review nd", [("prompt", "review-an-nda")]),
        ("review n", [("prompt", "review-an-nda")]),
        ("review x", []),
        ("reviser u", [("prompt", "reviser-un-contrat")]),
        ("reviwe", [("prompt", "review-an-nda")]),
        ("juri", [("department", "legal")]),
        ("le ch", [("tool", "le-chat")]),
        ("secret", []),
        ("r", []),
        ("", []),
        ("%", []),
    ],
)
def test_what_begins_so_and_may_be_read_is_suggested(shelf, typed, suggested):
    found = suggest(typed, make_person("reader"))

    assert sorted((s.kind, s.value) for s in found) == sorted(suggested)


def test_members_are_offered_what_only_they_may_read(shelf):
    member = make_person("reader", make_department("legal"))

    found = suggest("secret", member)

    assert found == [
        Suggestion("tag", "secret-tag", "secret-tag"),
        Suggestion("prompt", "review-the-secret-merger", "Review the secret merger"),
    ]


def test_nobody_is_offered_nothing(shelf):
    assert suggest("review", make_person(None)) == []
