from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.prompts.diff import (
    FEWEST_HIDDEN_WORDS,
    LONGEST_BRIDGE_WORDS,
    Diff,
    Folded,
    Piece,
    fold,
    summary,
    word_diff,
)
from tests.shared_data import real_prompts


def drawn(pieces):
    marks = {"same": "{}", "delete": "[-{}-]", "insert": "[+{}+]"}
    return "".join(
        f"[…{piece.words_hidden}…]"
        if isinstance(piece, Folded)
        else marks[piece.op].format(piece.text)
        for piece in pieces
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", ""),
        ("same", "same", "same"),
        ("", "new", "[+new+]"),
        ("old", "", "[-old-]"),
        ("the red car", "a red bike", "[-the-][+a+] red [-car-][+bike+]"),
        ("Be kind.", "Be kind!", "Be kind[-.-][+!+]"),
        ("Then stop.", "Then stop now.", "Then stop[+ now+]."),
        ("l'utilisateur", "l'utilisatrice", "l'[-utilisateur-][+utilisatrice+]"),
        ("one\ntwo\n", "one\n2\n", "one\n[-two-][+2+]\n"),
    ],
)
def test_changes_are_shown_word_by_word(old, new, expected):
    assert drawn(word_diff(old, new).pieces) == expected


def test_a_lone_space_does_not_split_a_phrase():
    diff = word_diff("Answer in plain English.", "Answer with short sentences.")

    assert diff == Diff(
        (
            Piece("same", "Answer "),
            Piece("delete", "in plain English"),
            Piece("insert", "with short sentences"),
            Piece("same", "."),
        )
    )


def test_a_small_word_between_long_changes_is_read_with_them():
    diff = word_diff("I want you to act as a doctor.", "You should behave like a nurse.")

    assert drawn(diff.pieces) == (
        "[-I want you to act as a doctor-][+You should behave like a nurse+]."
    )
    assert LONGEST_BRIDGE_WORDS == 2


def test_a_line_break_keeps_changed_lines_apart():
    assert drawn(word_diff("one two\nthree four", "five six\nseven eight").pieces) == (
        "[-one two-][+five six+]\n[-three four-][+seven eight+]"
    )


def test_chinese_is_compared_sign_by_sign():
    assert drawn(word_diff("请用中文回答", "请用英文回答").pieces) == "请用[-中-][+英+]文回答"


def test_a_letter_keeps_its_combining_accent():
    assert drawn(word_diff("re\u0301ponse", "reponse").pieces) == "[-re\u0301ponse-][+reponse+]"


def test_the_summary_counts_words_not_marks():
    diff = word_diff("Write a short, friendly e-mail.", "Write a friendly e-mail, now: go!")

    assert summary(diff.pieces) == (2, 1)
    assert summary(()) == (0, 0)


def test_long_unchanged_stretches_are_folded_with_their_context():
    words = " ".join(f"w{n}" for n in range(30))
    diff = word_diff(f"old {words} old {words} old", f"new {words} new {words} new")

    assert drawn(fold(diff.pieces, context_words=3)) == (
        "[-old-][+new+] w0 w1 w2[…24…]w27 w28 w29 "
        "[-old-][+new+] w0 w1 w2[…24…]w27 w28 w29 [-old-][+new+]"
    )


def test_the_ends_of_the_text_need_no_context():
    words = " ".join(f"w{n}" for n in range(30))
    diff = word_diff(f"{words} old {words}", f"{words} new {words}")

    assert drawn(fold(diff.pieces, context_words=3)) == (
        "[…27…]w27 w28 w29 [-old-][+new+] w0 w1 w2[…27…]"
    )


def test_a_fold_begins_and_ends_with_a_line_when_one_is_near():
    lines = "\n".join(f"line {n} has words" for n in range(20))
    diff = word_diff(f"old {lines} old", f"new {lines} new")

    assert drawn(fold(diff.pieces, context_words=3)) == (
        "[-old-][+new+] line 0 has words[…72…]line 19 has words [-old-][+new+]"
    )


def test_a_text_without_changes_is_one_fold():
    text = "nothing has changed in these eight words here"

    assert fold(word_diff(text, text).pieces) == [Folded(8, text)]
    assert FEWEST_HIDDEN_WORDS == 8
    assert fold(word_diff("seven words", "seven words").pieces) == [Piece("same", "seven words")]


def test_no_context_is_possible():
    words = " ".join(f"w{n}" for n in range(9))

    assert drawn(
        fold(word_diff(f"old {words} old", f"new {words} new").pieces, context_words=0)
    ) == ("[-old-][+new+][…9…][-old-][+new+]")


def test_two_different_long_texts_are_compared_by_lines_and_say_so():
    old = "".join(f"old {n} " * 400 + "\n" for n in range(60)) + "kept line\n" + "a " * 20_000
    new = "".join(f"new {n} " * 400 + "\n" for n in range(60)) + "kept line\n" + "b " * 20_000

    diff = word_diff(old, new)

    assert diff.coarse
    assert Piece("same", "kept line\n") in diff.pieces


def test_a_small_change_in_a_long_text_is_not_coarse():
    _title, text = max(real_prompts(), key=lambda prompt: len(prompt[1]))
    new = text.replace("the", "one", 1)[::-1].replace("eht", "eno", 1)[::-1]

    diff = word_diff(text, new)

    assert (len(text), diff.coarse, summary(diff.pieces)) == (144_260, False, (2, 2))


def test_lines_that_changed_little_are_compared_by_words_even_in_a_huge_text():
    old = "".join(f"line {n} of many words\n" for n in range(5_000))
    new = old.replace("line 7 of", "row 7 of").replace("line 4990 of", "row 4990 of")

    diff = word_diff(old, new)

    assert (diff.coarse, summary(diff.pieces)) == (False, (2, 2))


MOST_SECONDS = 2.0
"""Some twenty times what a quiet machine needs."""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a " * 72_000, "b," * 72_000),
        ("a\nb\n" * 36_000, "b\nc\na\n" * 24_000),
        ("a " * 4_900, "b " * 4_900),
        ("aaaa x " * 2_400, "bbbb x " * 2_400),
        ("\n" * 144_000, " \n" * 72_000),
    ],
)
def test_the_cost_of_a_diff_is_bounded(old, new):
    start = time.process_time()
    diff = word_diff(old, new)
    fold(diff.pieces)

    assert time.process_time() - start < MOST_SECONDS
    assert "".join(piece.text for piece in diff.pieces if piece.op != "insert") == old


WORDS = st.lists(
    st.sampled_from(["a", "bb", " ", "  ", "\n", ".", "é", "e\u0301", "中", "-", "x_1"]),
    max_size=40,
)
TEXTS = st.one_of(WORDS.map("".join), st.text(max_size=40))


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS, TEXTS)
def test_the_pieces_join_back_to_both_texts(old, new):
    diff = word_diff(old, new)

    assert "".join(piece.text for piece in diff.pieces if piece.op != "insert") == old
    assert "".join(piece.text for piece in diff.pieces if piece.op != "delete") == new
    assert all(piece.text for piece in diff.pieces)
    operations = [piece.op for piece in diff.pieces]
    assert all(pair not in OUT_OF_ORDER for pair in pairwise(operations))


OUT_OF_ORDER = {("same", "same"), ("insert", "delete"), ("insert", "insert"), ("delete", "delete")}


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS, TEXTS, st.integers(min_value=0, max_value=5))
def test_folding_hides_but_loses_nothing(old, new, context):
    pieces = word_diff(old * 8, new + old * 7).pieces

    folded = fold(pieces, context_words=context)

    assert "".join(part.text for part in folded) == "".join(piece.text for piece in pieces)
    assert [p for p in folded if isinstance(p, Piece) and p.op != "same"] == [
        p for p in pieces if p.op != "same"
    ]
