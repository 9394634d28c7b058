"""Which texts are near copies of one another, and what order they are left in."""

from hypothesis import given
from hypothesis import strategies as st

from kb.search.copies import stepped_back

LEASE = "Read the lease from end to end. List every date it names. Say who has to act by then."
LEASE_COPIED = "List every date it names. Say who has to act by then! Answer in French, in a table."
NOTICE = "Write to the tenant in plain words. Name the day on which the keys are returned."


def test_a_copy_steps_back_behind_what_differs():
    assert stepped_back([LEASE, LEASE_COPIED, NOTICE]) == [0, 2, 1]


def test_first_copies_come_before_second_ones_each_best_first():
    texts = [LEASE, LEASE, LEASE, NOTICE, NOTICE]

    assert stepped_back(texts) == [0, 3, 1, 4, 2]


def test_capitals_and_line_breaks_make_no_original():
    assert stepped_back([LEASE, LEASE.upper().replace(". ", ".\n"), NOTICE]) == [0, 2, 1]


def test_one_common_sentence_makes_no_copy():
    opening = "You are an experienced lawyer. "

    assert stepped_back([opening + LEASE, opening + NOTICE]) == [0, 1]


def test_texts_without_sentences_are_copies_of_nothing():
    assert stepped_back(["", "Thanks.", "", "Thanks."]) == [0, 1, 2, 3]


@given(st.lists(st.text(max_size=60)))
def test_every_text_keeps_a_place_and_the_best_its_own(texts):
    order = stepped_back(texts)

    assert sorted(order) == list(range(len(texts)))
    assert order[:1] == [0][: len(texts)]
