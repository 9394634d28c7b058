import pytest

from kb.drift.likenesses import Answer, of_nights, quantiles


def test_a_night_like_the_usual_ones_is_alike_and_another_is_not():
    answers = [Answer(night, 7, True, "the invoice is due in March") for night in (1, 2, 3)]
    answers.append(Answer(4, 7, False, "no"))

    found = of_nights(answers)

    assert found == {1: pytest.approx(1.0), 2: pytest.approx(1.0), 3: pytest.approx(1.0), 4: 0.0}


def test_each_case_counts_once_however_many_answers_it_has():
    usual = [Answer(1, case, True, f"answer number {case}") for case in (1, 2)]
    night = [Answer(2, 1, False, "answer number 1")] + [Answer(2, 2, False, "–")] * 9

    assert of_nights([*usual, *night])[2] == pytest.approx(0.5, abs=0.05)


def test_a_baseline_of_one_session_is_compared_within_itself():
    answers = [Answer(1, 7, True, text) for text in ("yes", "yes", "yes")]

    assert of_nights(answers) == {1: pytest.approx(1.0)}


def test_two_empty_answers_are_alike():
    assert of_nights([Answer(1, 7, True, ""), Answer(2, 7, False, " ")])[2] == 1.0


def test_a_night_nothing_can_be_compared_with_is_left_out():
    assert of_nights([Answer(1, 7, False, "yes")]) == {}


def test_quantiles_lie_between_the_levels():
    assert quantiles([0.0, 1.0], (0.05, 0.95)) == [pytest.approx(0.05), pytest.approx(0.95)]
