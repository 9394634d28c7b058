import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.drift.reading import Reader
from kb.drift.vectors import HEAD_BYTES, PLACES, TAIL_BYTES, normalised, vectors


def similarity(one, other):
    found = vectors([one, other])
    return float(found[0] @ found[1])


def test_a_text_has_length_one_and_an_empty_one_none():
    found = vectors(["Yes, it is.", "", "  \n"])

    lengths = np.sqrt((found * found).sum(axis=1))
    assert lengths.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


def test_white_space_does_not_matter_and_words_do():
    assert similarity("one  two\n three", "one two three") == pytest.approx(1.0, abs=1e-6)
    assert similarity("The contract ends in May.", "The contract ends in June.") > 0.5
    assert abs(similarity("The contract ends in May.", "Bonjour à tous les amis")) < 0.2


def test_the_end_of_a_long_answer_is_read():
    middle = "x y " * HEAD_BYTES
    yes, no = middle + "so the answer is yes", middle + "hence we must say no"

    assert similarity(yes, no) < 0.999
    assert similarity(yes, middle[:HEAD_BYTES] + middle[-TAIL_BYTES:] + yes[-TAIL_BYTES:]) > 0.9


def test_no_n_gram_reaches_from_one_text_into_the_next():
    texts = ["a", "bb", "", "ccc", "d" * 20]

    together = vectors(texts)

    alone = np.vstack([vectors([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)


@given(st.lists(st.text(max_size=60), max_size=8))
def test_a_vector_depends_on_its_text_alone(texts):
    found = vectors(texts)

    assert found.shape == (len(texts), PLACES)
    again = vectors(texts[::-1])[::-1]
    np.testing.assert_array_equal(found, again)


def test_big_texts_are_read_in_groups_with_the_same_result():
    texts = [f"{number} " * 2_000 for number in range(300)]

    found = vectors(texts)

    np.testing.assert_array_equal(found[[0, 150, 299]], vectors([texts[0], texts[150], texts[299]]))


def test_normalised_keeps_one_space_between_words():
    assert normalised(" a\t b\n\n c ") == "a b c"


def test_a_reader_gives_what_was_asked_for_in_its_order():
    reader = Reader()
    reader.read(["b", "a"])

    found = reader.vectors(["a", "b", "a"])

    np.testing.assert_array_equal(found, vectors(["a", "b", "a"]))
    assert reader.features(["a", "b"]).shape[0] == 2
    assert reader.vectors([]).shape == (0, PLACES)
