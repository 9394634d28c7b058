import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.drift import features, vectors
from kb.drift.reading import Reader


@given(st.lists(st.text(max_size=30), max_size=6), st.lists(st.text(max_size=30), max_size=6))
def test_what_was_read_before_changes_nothing(before, texts):
    reader = Reader()
    reader.read(before)

    np.testing.assert_array_equal(reader.vectors(texts), vectors.vectors(texts))
    assert reader.features(texts).tolist() == [features.measure(text).tolist() for text in texts]


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "b", "a"]])
def test_there_is_one_row_for_each_text_asked_for(texts):
    reader = Reader()

    assert reader.features(texts).shape == (len(texts), len(features.NAMES))
    assert reader.vectors(texts).shape == (len(texts), vectors.PLACES)
    assert reader.vectors(texts).dtype == np.float32


def test_each_text_is_measured_once(monkeypatch):
    measured = []

    def counted(texts):
        measured.extend(texts)
        return np.zeros((len(texts), vectors.PLACES), np.float32)

    monkeypatch.setattr(vectors, "vectors", counted)
    reader = Reader()
    reader.read(["a", "b", "a"])
    reader.vectors(["b", "c"])
    reader.features(["a", "c"])
    reader.read(iter(["c", "d"]))
    reader.read([])

    assert measured == ["a", "b", "c", "d"]


def test_texts_that_differ_in_white_space_alone_are_texts_of_their_own():
    reader = Reader()

    found = reader.features(["a b", "a\nb"])

    lines = features.NAMES.index("lines")
    assert found[:, lines].tolist() == [0.0, pytest.approx(np.log(2))]


def test_what_is_handed_out_cannot_change_what_is_kept():
    reader = Reader()
    reader.vectors(["a b c"])[:] = 7.0
    reader.features(["a b c"])[:] = 7.0

    assert reader.vectors(["a b c"]).max() < 1.0
    assert reader.features(["a b c"]).max() < 7.0
