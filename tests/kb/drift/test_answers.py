import pytest

from kb.drift.answers import Sample, is_odd, is_refused, passed

DECLINES = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((1,), True),
        ((1, 1), True),
        ((1, 0), False),
        ((0,), False),
        ((), None),
        ((None,), None),
        ((1, None), None),
        ((0, None), None),
    ],
)
def test_an_answer_passes_when_every_assertion_was_judged_and_holds(verdicts, expected):
    assert passed(Sample("yes", 1, verdicts)) is expected


def test_a_missing_answer_neither_passes_nor_fails():
    assert passed(Sample("", 1, (1,), outcome="missing")) is None


@pytest.mark.parametrize("outcome", ["empty", "refused", "cut"])
def test_an_answer_that_ended_otherwise_is_judged_like_any(outcome):
    assert passed(Sample("", 1, (0,), outcome=outcome)) is False
    assert passed(Sample("", 1, (1,), outcome=outcome)) is True


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (Sample("Yes, I can help.", 1), False),
        (Sample(DECLINES, 1), True),
        (Sample("", 1, outcome="refused"), True),
        (Sample("Here you are.", 1, outcome="refused"), True),
        (Sample("", 1, outcome="empty"), False),
        (Sample("Here you", 1, outcome="cut"), False),
    ],
)
def test_a_model_declines_by_its_own_account_or_in_words(sample, expected):
    assert is_refused(sample) is expected


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (Sample("Yes.", 1), False),
        (Sample("0", 1, (0,)), False),
        (Sample("", 1), True),
        (Sample(" \n\t", 1), True),
        (Sample("", 1, outcome="empty"), True),
        (Sample("Here you", 1, outcome="cut"), True),
        (Sample("Here you are.", 1, outcome="refused"), True),
        (Sample(DECLINES, 1), True),
        (Sample("", 1, outcome="missing"), True),
    ],
)
def test_an_answer_is_odd_where_the_service_may_be_to_blame(sample, expected):
    """A wrong answer is the model's own."""
    assert is_odd(sample) is expected
