import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.drift.textscores import bleu, cosine, edit_distance, rouge_n, words

REFERENCE = "the cat is on the mat"


@pytest.mark.parametrize(
    ("one", "other", "most", "distance"),
    [
        ("kitten", "sitting", 3, 3),
        ("kitten", "sitting", 2, None),
        ("", "abc", 3, 3),
        ("é", "e", 5, 1),
        ("same", "same", 0, 0),
        ("x" * 20_000, "y" * 1_000_000, 20_000, None),
    ],
)
def test_the_edit_distance_is_known_up_to_a_limit(one, other, most, distance):
    assert edit_distance(one, other, most) == distance


@pytest.mark.parametrize(
    ("text", "n", "score"),
    [
        (REFERENCE, 1, 1.0),
        ("The cat, on THE mat!", 1, 5 / 6),
        ("the the the the", 1, 2 / 6),
        ("the cat is here", 2, 2 / 5),
        ("", 1, 0.0),
        ("anything", 7, 1.0),
    ],
)
def test_rouge_is_the_share_of_the_reference_that_comes_back(text, n, score):
    assert rouge_n(text, REFERENCE, n) == pytest.approx(score)


def test_bleu_clips_what_is_repeated():
    """Papineni's example: seven times 'the' has a precision of 2/7, not 7/7."""
    once = math.log(2 / 7) + math.log(1 / 7) + math.log(1 / 6) + math.log(1 / 5)

    assert bleu("the the the the the the the", REFERENCE) == pytest.approx(math.exp(once / 4))


def test_bleu_punishes_what_is_too_short():
    assert bleu("the cat", "the cat is here") == pytest.approx(math.exp(1 - 4 / 2))


@pytest.mark.parametrize(
    ("text", "reference", "score"),
    [
        (REFERENCE, REFERENCE, 1.0),
        ("yes", "Yes.", 1.0),
        ("no", "yes", 0.0),
        ("", "yes", 0.0),
        ("!", "?", 1.0),
    ],
)
def test_bleu_of_the_same_words_is_one_and_of_others_zero(text, reference, score):
    assert bleu(text, reference) == pytest.approx(score)


@given(st.text(max_size=60), st.text(max_size=60))
def test_scores_of_any_texts_lie_between_zero_and_one(one, other):
    scores = [bleu(one, other), rouge_n(one, other), rouge_n(one, other, 2)]

    assert all(0 <= score <= 1 + 1e-9 for score in scores)
    assert rouge_n(one, one) == 1.0


def test_the_longest_texts_are_measured_in_seconds():
    text, reference = "aé " * 333_333, "bé " * 6_666
    began = time.perf_counter()

    found = (
        edit_distance(reference, text, 20_000),
        rouge_n(text, reference),
        bleu(text, reference),
    )

    assert found == (None, 0.0, 0.0)
    assert time.perf_counter() - began < 10


def test_words_are_letters_and_digits_of_any_script():
    assert words("L’été, 3 fois : ПРИВЕТ!") == ["l", "été", "3", "fois", "привет"]


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ([1.0, 0.0], [2.0, 0.0], 1.0),
        ([1.0, 0.0], [0.0, 1.0], 0.0),
        ([1.0, 1.0], [-1.0, -1.0], -1.0),
        ([0.0], [1.0], None),
        ([], [], None),
        ([1.0], [1.0, 0.0], None),
        ([math.nan], [1.0], None),
        ([1e308, 1e308], [1e308, 1e308], None),
    ],
)
def test_a_cosine_that_does_not_exist_is_none(one, other, score):
    assert cosine(one, other) == (None if score is None else pytest.approx(score))
