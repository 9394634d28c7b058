import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.drift.assertions import check
from kb.drift.suggest import LANGUAGE_PATTERNS, NAMED_PATTERNS, language_of, propose

LETTER = """Bonjour Madame Durand,

Votre facture CMD-2024-118 de 1\u202f250,00 € est échue depuis le 12/03/2026. Nous vous prions de \
la régler sous 8 jours auprès de la Société Générale.

- Montant dû : 1\u202f250,00 €
- Pénalités : 12 %

Cordialement,
Jean Martin"""
MEMO = """# Summary
The contract of Acme Corp is signed and it is valid.

## Risks
The price of $4,500 is due by the end of the month.

**Next steps**
Ask for the annex."""


def proposed(answer):
    return [
        (proposal.is_ticked, proposal.why, proposal.rule.to_dict()) for proposal in propose(answer)
    ]


def test_a_letter_proposes_its_figures_names_language_and_length():
    assert proposed(LETTER) == [
        (False, "opening", {"type": "starts-with", "value": "Bonjour Madame Durand,"}),
        (True, "list", {"type": "regex", "value": NAMED_PATTERNS["list"]}),
        (True, "figure", {"type": "contains", "value": "CMD-2024-118"}),
        (True, "figure", {"type": "contains", "value": "1\u202f250,00 €"}),
        (False, "figure", {"type": "contains", "value": "12/03/2026"}),
        (False, "figure", {"type": "contains", "value": "12 %"}),
        (False, "name", {"type": "icontains", "value": "Madame Durand"}),
        (False, "name", {"type": "icontains", "value": "Société Générale"}),
        (False, "name", {"type": "icontains", "value": "Jean Martin"}),
        (True, "language", {"type": "regex", "value": LANGUAGE_PATTERNS["fr"]}),
        (True, "length", {"type": "word-count", "value": {"min": 20, "max": 90}}),
        (True, "answers", {"type": "not-is-refusal"}),
    ]


def test_a_memo_proposes_its_headings_first():
    found = proposed(MEMO)

    assert found[:3] == [
        (
            True,
            "headings",
            {"type": "contains-all", "value": ["Summary", "Risks", "Next steps"]},
        ),
        (True, "opening", {"type": "starts-with", "value": "# Summary"}),
        (True, "figure", {"type": "contains", "value": "$4,500"}),
    ]
    assert (True, "language", {"type": "regex", "value": LANGUAGE_PATTERNS["en"]}) in found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            '{"total": 12.5, "paid": true, "lines": [], "client": {"name": "A", "vat": null}}',
            [
                (
                    True,
                    "json",
                    {
                        "type": "is-json",
                        "value": {
                            "type": "object",
                            "required": ["total", "paid", "lines", "client"],
                            "properties": {
                                "total": {"type": "number"},
                                "paid": {"type": "boolean"},
                                "lines": {"type": "array"},
                                "client": {"type": "object", "required": ["name"]},
                            },
                        },
                    },
                ),
                (False, "json", {"type": "is-json"}),
            ],
        ),
        ("[1, 2]", [(True, "json", {"type": "is-json"})]),
        (json.dumps({"x" * 30_000: 1}), [(True, "json", {"type": "is-json"})]),
        (
            "<a><b/></a>",
            [
                (True, "xml", {"type": "is-xml"}),
                (True, "whole", {"type": "icontains", "value": "<a><b/></a>"}),
                (True, "answers", {"type": "not-is-refusal"}),
            ],
        ),
        (
            "Oui.\n",
            [
                (True, "whole", {"type": "icontains", "value": "Oui"}),
                (True, "answers", {"type": "not-is-refusal"}),
            ],
        ),
        ("I'm sorry, but I can't help with this at all.", []),
        (" \n", []),
        ("", []),
        ("word " * 10_001, []),
    ],
)
def test_what_an_answer_shows_is_proposed_and_nothing_else(answer, found):
    assert proposed(answer) == found


def test_json_inside_prose_is_proposed_as_such():
    found = proposed('Here it is:\n```json\n{"a": 1}\n```')

    assert found[0] == (True, "json", {"type": "contains-json"})


@given(st.text(max_size=400) | st.text(alphabet="Aa1 .,#*-\n{}[]<>€%:", max_size=200))
def test_every_proposal_holds_for_the_answer_it_comes_from(answer):
    found = propose(answer)

    assert [check(proposal.rule, answer).passed for proposal in found] == [True] * len(found)
    assert propose(answer) == found


@pytest.mark.parametrize(
    "answer",
    [
        "\n" * 50_000 + "x",
        "# a" + "\n" * 49_000 + "x",
        "1 " * 25_000,
        "A" * 50_000,
        "Aa " * 16_000,
        "# " * 25_000,
        "**a** \t" * 7_000,
        "{" * 50_000,
        "<a>" * 16_000,
        "A-1-" * 12_000,
        "the " * 12_500,
        "x, " * 16_000,
    ],
)
def test_no_answer_takes_long_to_look_through(answer):
    began = time.perf_counter()

    propose(answer)

    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Nous vous remercions de votre message et nous vous répondrons dans les jours qui", "fr"),
        ("Thank you for your message; we will answer with the details of this case.", "en"),
        ("Le contrat is signed with the supplier dans les temps.", None),
        ("12 345", None),
        ("", None),
    ],
)
def test_the_language_is_told_only_when_it_is_clear(text, language):
    assert language_of(text) == language
