from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.prompts.writeup import HEADINGS, SECTIONS, WriteUpSections, join, split

FULL = WriteUpSections("To sum up contracts.", "Short ones.", "Annexes.", "Not for signature.")


def test_a_french_write_up_is_cut_at_its_headings():
    markdown = """Pour résumer un contrat.

## Ce qui a marché
Les clauses courtes.

### Détail
- la liste

## Ce qui n'a pas marché :
Les annexes.

## Limites
Pas pour signer.
"""

    assert split(markdown) == WriteUpSections(
        purpose="Pour résumer un contrat.",
        worked="Les clauses courtes.\n\n### Détail\n- la liste",
        failed="Les annexes.",
        limits="Pas pour signer.",
    )


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("# What it is for", "purpose"),
        ("## Purpose", "purpose"),
        ("# À QUOI ÇA SERT ?", "purpose"),
        ("###### a quoi ca sert", "purpose"),
        ("## But", "purpose"),
        ("## What worked", "worked"),
        ("## **What worked** ##", "worked"),
        ("## 2. Ce qui a marché", "worked"),
        ("##Ce qui a marche", "worked"),
        ("   ## ✅ what worked!", "worked"),
        ("What worked\n===========", "worked"),
        ("Ce qui a marché\n---", "worked"),
        ("## What did not work", "failed"),
        ("## What did not", "failed"),
        ("## What didn’t work", "failed"),
        ("## Ce qui n’a pas marché", "failed"),
        ("## Ce qui n'a pas marché", "failed"),
        ("## Limits", "limits"),
        ("## LIMITES :", "limits"),
        ("## Known limitations", "limits"),
    ],
)
def test_a_heading_is_known_whatever_its_dress(heading, section):
    assert split(f"{heading}\n\ntext") == WriteUpSections(**{section: "text"})


@pytest.mark.parametrize(
    "markdown",
    [
        "Limits",
        "**Limits**",
        "    ## Limits",
        "> ## Limits",
        "####### Limits",
        "## Limits of the model",
        "## 日本 limits",
        "```\n## Limits\n```",
        "~~~~ text\n## Limits\n~~~\n## Limits\n~~~~",
        "a paragraph\nLimits\n---",
        "Limits\n\n---",
        "# Limits" + "#" * 80,
    ],
)
def test_what_is_no_known_heading_stays_where_it_stands(markdown):
    assert split(markdown) == WriteUpSections(purpose=markdown)


def test_a_heading_after_closed_code_counts():
    assert split("```py\n# Limits\n```\n# Limits\nnone") == WriteUpSections(
        purpose="```py\n# Limits\n```", limits="none"
    )


def test_a_fence_left_open_is_closed():
    assert split("## What worked\n````\ncode\n## Limits") == WriteUpSections(
        worked="````\ncode\n## Limits\n````"
    )


def test_a_section_met_twice_is_one_section():
    assert split("## Limits\none\n## What worked\ntwo\n## Limites\nthree") == WriteUpSections(
        worked="two", limits="one\n\nthree"
    )


def test_line_ends_and_blank_ends_do_not_matter():
    assert split("\r\n \r\n  first\r\nsecond  \r\n\r\n## Limits\r\rnone\r") == WriteUpSections(
        purpose="  first\nsecond", limits="none"
    )


def test_nothing_is_four_empty_sections():
    assert split("") == WriteUpSections() == split("## Limits\n\n## What worked\n \n")
    assert join(WriteUpSections(), "fr") == ""


IN_ENGLISH = """## What it is for

To sum up contracts.

## What worked

Short ones.

## What did not work

Annexes.

## Limits

Not for signature."""
IN_FRENCH = """## À quoi ça sert

To sum up contracts.

## Ce qui a marché

Short ones.

## Ce qui n’a pas marché

Annexes.

## Limites

Not for signature."""


@pytest.mark.parametrize(("language", "expected"), [("en", IN_ENGLISH), ("fr-CA", IN_FRENCH)])
def test_a_write_up_is_joined_in_its_language(language, expected):
    assert join(FULL, language) == expected
    assert split(expected) == FULL


def test_empty_sections_are_left_out():
    assert join(WriteUpSections(worked="Yes", limits=" \n"), "de") == "## What worked\n\nYes"


def test_an_open_fence_does_not_swallow_the_sections_after_it():
    sections = WriteUpSections(purpose="```\ncode", limits="none")

    assert split(join(sections, "en")) == WriteUpSections(purpose="```\ncode\n```", limits="none")


def test_both_languages_have_every_section():
    assert {language: set(headings) for language, headings in HEADINGS.items()} == {
        "en": set(SECTIONS),
        "fr": set(SECTIONS),
    }


LINES = st.sampled_from(
    [
        *("## What worked", "# Limites", "Limits", "---", "===", "```", "~~~", "````", "``` x", ""),
        *(
            " ",
            "text",
            "    code",
            "- item",
            "## Other",
            "#",
            "## But ##",
            "é",
            "   # Ce qui a marché",
        ),
    ]
)
MARKDOWN = st.lists(st.one_of(LINES, st.text(max_size=8))).map("\n".join)


@settings(deadline=None)  # a busy machine is no bug
@given(MARKDOWN, st.sampled_from(["fr", "en"]))
def test_what_was_split_survives_being_joined(markdown, language):
    sections = split(markdown)

    assert split(join(sections, language)) == sections


@settings(deadline=None)  # a busy machine is no bug
@given(
    st.builds(WriteUpSections, MARKDOWN, MARKDOWN, MARKDOWN, MARKDOWN),
    st.sampled_from(["fr", "en"]),
)
def test_what_was_joined_survives_being_split(sections, language):
    markdown = join(split(join(sections, language)), language)

    assert join(split(markdown), language) == markdown


@pytest.mark.parametrize(
    "line", ["#a" + "#" * 100_000 + "x", "-" * 100_000 + "x", "`" * 100_000, "\n" * 100_000]
)
def test_no_line_takes_longer_than_its_length(line):
    start = time.process_time()
    split(f"Limits\n{line}")

    assert time.process_time() - start < 1.0
