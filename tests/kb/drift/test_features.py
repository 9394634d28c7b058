import math

import numpy as np
import pytest

from kb.drift.features import NAMES, measure


def feature(text, name):
    return measure(text)[NAMES.index(name)]


def test_each_feature_is_the_number_it_names():
    text = "# Title\n\n- **Yes**, I do?\n- 12 items\n1. one\n\n```x```\n\\boxed{3} done."

    seen = dict(zip(NAMES, measure(text), strict=True))

    length = len(text)
    assert seen == pytest.approx(
        {
            "characters": math.log1p(length),
            "words": math.log1p(len(text.split())),
            "lines": math.log1p(7),
            "refusal": 0.0,
            "json": 0.0,
            "code_block": 1.0,
            "bullets": math.log1p(2),
            "numbered_items": math.log1p(1),
            "heading": 1.0,
            "bold": 1.0,
            "digits": 4 / length,
            "capitals": 3 / length,
            "punctuation": sum(33 <= ord(c) < 128 and not c.isalnum() for c in text) / length,
            "other_scripts": 0.0,
            "questions": math.log1p(1),
            "ends_a_sentence": 1.0,
            "first_person": math.log1p(1),
            "formula": 1.0,
        }
    )


def test_json_counts_only_where_the_whole_answer_is_an_object_or_a_list():
    texts = ['{"a": [1, 2]}', " [1]\n", '```json\n{"a": 1}\n```', "{oops", "12", ""]

    seen = [feature(text, "json") for text in texts]

    assert seen == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_an_answer_that_declines_is_a_refusal_and_one_that_quotes_it_later_is_not():
    quoting = "The letter is fine. " * 40 + "I'm sorry, but I can't assist with that."

    seen = [
        feature(text, "refusal")
        for text in ("I'm sorry, but I can't assist with that.", quoting, "Yes, I can help.")
    ]

    assert seen == [1.0, 0.0, 0.0]


def test_other_scripts_are_seen_and_accents_are_not():
    assert feature("日本語", "other_scripts") == 1.0
    assert feature("Où êtes-vous – « ici » ?", "other_scripts") == 0.0


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\x00\ud800", "[" * 100_000, "a" * 100_000, "- \n" * 30_000]
)
def test_no_text_makes_it_fail(text):
    seen = measure(text)

    assert seen.shape == (len(NAMES),)
    assert np.isfinite(seen).all()
