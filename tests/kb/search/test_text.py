from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.search.text import (
    EXCERPT_WIDTH,
    LONGEST_WORD,
    Segment,
    Word,
    excerpt,
    expand_compounds,
    fold,
    fold_with_offsets,
    words,
)
from tests.shared_data import real_prompts


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Développé À Noël", "developpe a noel"),
        ("L’œuvre, cœur, Æther, Straße", "l'oeuvre, coeur, aether, strasse"),
        ("ﬁn ２０２６ m² ½…", "fin 2026 m2 1⁄2..."),
        ("Œ Ø Đ Ł İ ı Þ", "oe o d l i i th"),
        ("1\u00a0000\u202f€\u2009!\u3000x", "1 000 € ! x"),
        ("so\u00adup\u200b‑ et\ufeff", "soup- et"),
        ("‘a’ ʼb ´c ＇d", "'a' 'b 'c 'd"),
        ("a\x00b\nc\td\x1be", "a b\nc\td e"),
        ("Ёлка ΆΓΙΟΣ", "елка αγιοσ"),
        ("كِتَابـ", "كتاب"),
        ("한국어 नमस्ते が", "한국어 नमस्ते が"),
        ("", ""),
    ],
)
def test_accents_ligatures_and_typography_are_folded(text, folded):
    assert fold(text) == folded


def test_a_text_with_loose_accents_folds_like_a_composed_one():
    text = "Évaluation détaillée, où ça ?"

    assert fold(unicodedata.normalize("NFD", text)) == fold(text) == "evaluation detaillee, ou ca ?"


def test_offsets_lead_back_to_the_original():
    folded, offsets = fold_with_offsets("Cœur e\u0301té")

    assert (folded, list(offsets)) == ("coeur ete", [0, 1, 1, 2, 3, 4, 5, 7, 8, 9])
    assert list(fold_with_offsets("abc")[1]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, 42!", [Word(("plain",)), Word(("words",)), Word(("42",))]),
        ("gpt-4o", [Word(("gpt", "4o"), "gpt4o")]),
        ("gpt-4o-mini", [Word(("gpt", "4o", "mini"), "gpt4omini")]),
        ("gpt-3.5-turbo", [Word(("gpt", "3.5", "turbo"), "gpt35turbo")]),
        ("sous-traitant", [Word(("sous", "traitant"), "soustraitant")]),
        ("tic-tac-toe", [Word(("tic", "tac", "toe"), "tictactoe")]),
        ("next.js", [Word(("next", "js"), "nextjs")]),
        ("{{client_name}}", [Word(("client", "name"), "clientname")]),
        ("r&d", [Word(("r", "d"), "rd")]),
        ("c++ c# c", [Word(("c",), "cplusplus"), Word(("c",), "csharp"), Word(("c",))]),
        ("asp.net .net", [Word(("asp", "net"), "aspnet"), Word(("net",), "dotnet")]),
        ("issue# #tag", [Word(("issue",)), Word(("tag",))]),
        ("l'utilisateur", [Word(("utilisateur",), elided="l")]),
        ("jusqu'au", [Word(("au",), elided="jusqu")]),
        ("l'e-mail", [Word(("e", "mail"), "email", elided="l")]),
        ("aujourd'hui", [Word(("aujourd", "hui"), "aujourdhui")]),
        ("client's", [Word(("client", "s"), "clients")]),
        ("oui/non", [Word(("oui",)), Word(("non",))]),
        ("<name>", [Word(("name",))]),
        ("-5 3.5 1.2.3", [Word(("5",)), Word(("3.5",)), Word(("1.2.3",))]),
        ("2026-01-31", [Word(("2026",)), Word(("01",)), Word(("31",))]),
        ("v2.5", [Word(("v2", "5"), "v25")]),
        ("a-b-c-d-e-f-g", [Word((letter,)) for letter in "abcdefg"]),
        ("x" * LONGEST_WORD, [Word(("x" * LONGEST_WORD,))]),
        (f"{'x' * (LONGEST_WORD + 1)} a-{'y' * (LONGEST_WORD + 1)} b", [Word(("b",))]),
        ("... --- '' c + +", [Word(("c",))]),
    ],
)
def test_words_are_cut_as_people_read_them(text, expected):
    assert words(text) == expected


def test_compounds_are_indexed_in_parts_and_whole():
    text = fold("L’utilisateur de GPT-4o-mini et de Next.js, GPT-4o-mini !")

    assert expand_compounds(text) == (
        "l utilisateur de gpt 4o mini et de next js gpt 4o mini\nlutilisateur gpt4omini nextjs"
    )


def test_a_compound_does_not_stand_whole_in_a_longer_one():
    assert "gpt4o" not in expand_compounds("gpt-4o-mini").split()
    assert "gpt4o" in expand_compounds("gpt-4o").split()


def test_a_text_without_words_is_indexed_as_nothing():
    assert expand_compounds(" …! ") == ""


def test_the_database_only_meets_plain_words():
    for _title, text in real_prompts():
        for word in expand_compounds(fold(text)).split():
            assert word.isalnum() or word.replace(".", "").isdigit()


# --- Excerpts ----------------------------------------------------------------------------------


def marked(segments):
    return "".join(
        f"<{segment.text}>" if segment.is_match else segment.text for segment in segments
    )


@pytest.mark.parametrize(
    ("text", "terms", "expected"),
    [
        ("Résumé d’un contrat", ["resume"], "<Résumé> d’un contrat"),
        ("Les négociations", ["négocier"], "Les <négociations>"),
        ("Summaries of a summary", ["summarize"], "<Summaries> of a <summary>"),
        ("Contrats, contraire", ["contrat"], "<Contrats>, contraire"),
        ("Sous-traitance et traitant", ["sous-traitants"], "<Sous-traitance> et <traitant>"),
        ("GPT-4o, not GPT", ["gpt-4o"], "<GPT-4o>, not <GPT>"),
        ("L’utilisateur, l’outil", ["l'utilisateur"], "L’<utilisateur>, l’outil"),
        ("Cœur et chœur", ["coeur"], "<Cœur> et chœur"),
        ("A to-do list, today", ["to do"], "A <to-do> list, today"),
        ("Prompts et promptitude", ["prompt"], "<Prompts> et <promptitude>"),
        ("an AI said again", ["ai"], "an <AI> said again"),
        ("a b c", ["a"], "a b c"),
        ("nothing", [], "nothing"),
        ("  two\n\nlines\t here ", ["lines"], "two <lines> here"),
        ("", ["x"], ""),
        ("re\u0301sume\u0301 fait", ["resume"], "<re\u0301sume\u0301> fait"),
    ],
)
def test_matching_words_are_marked_with_their_accents(text, terms, expected):
    assert marked(excerpt(text, terms)) == expected


def test_the_excerpt_shows_where_most_terms_stand():
    text = "A contract. " + "Nothing here. " * 40 + "The contract and its annexes. " + "More. " * 60

    segments = excerpt(text, ["contract", "annex"], width=70)

    assert marked(segments) == "…here. The <contract> and its <annexes>. More. More. More. More.…"


def test_without_a_match_the_excerpt_is_the_beginning():
    assert excerpt("one two three four", ["five"], width=9) == [Segment("one two…", is_match=False)]


def test_a_word_longer_than_the_excerpt_is_cut():
    assert marked(excerpt("x" * 300, ["y"], width=10)) == "x" * 10 + "…"


def test_what_looks_like_markup_stays_text():
    assert excerpt("<b>bold</b>", ["bold"]) == [
        Segment("<b>", is_match=False),
        Segment("bold", is_match=True),
        Segment("</b>", is_match=False),
    ]


# --- What holds for every text -----------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="aeéÉœŒßcC+#-.'’_&/ \n0123456789\u0301İ", max_size=60),
)


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS, TEXTS)
def test_folding_a_part_gives_a_part_of_the_folding(left, right):
    assert fold(left + right) == fold(left) + fold(right)


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS)
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS)
def test_every_stretch_of_a_folding_comes_from_its_original(text):
    folded, offsets = fold_with_offsets(text)

    assert folded == fold(text)
    assert (len(offsets), offsets[-1]) == (len(folded) + 1, len(text))
    assert list(offsets) == sorted(offsets)
    assert all(folded[i] in fold(text[offsets[i]]) for i in range(len(folded)))


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS)
def test_each_word_looked_for_is_one_that_is_indexed(text):
    folded = fold(text)
    indexed = expand_compounds(folded).split()

    looked_for = [word.whole or word.parts[0] for word in words(folded)]
    assert set(looked_for) <= set(indexed)
    assert all(fold(word) == word for word in indexed)


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS, st.lists(TEXTS, max_size=3), st.integers(min_value=5, max_value=80))
def test_an_excerpt_quotes_the_text(text, terms, width):
    line = " ".join(text.split())

    segments = excerpt(text, terms, width=width)

    quoted = "".join(segment.text for segment in segments)
    assert quoted.removeprefix("…").removesuffix("…") in line or quoted in line
    assert all(segment.text for segment in segments)
    assert len(fold(quoted)) <= width + 6


ATTACKS = ["a-", "'", "a", "l'", "1.", "c++"]


@pytest.mark.parametrize("piece", ATTACKS)
def test_no_text_takes_longer_than_its_length(piece):
    """Eight times the text takes eight times as long, not sixty-four times, however slow the machine."""

    def seconds(length):
        text = piece * (length // len(piece))
        start = time.thread_time()
        expand_compounds(fold(text))
        excerpt(text, ["a", "l'a", "1"])
        return time.thread_time() - start

    short, long = (min(seconds(length) for _ in range(3)) for length in (12_500, 100_000))

    assert long < 24 * short


def test_an_excerpt_is_two_lines_of_a_result():
    assert len(marked(excerpt("word " * 100, []))) <= EXCERPT_WIDTH + 1
