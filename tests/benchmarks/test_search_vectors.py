import numpy as np

from tests.benchmarks.search_vectors import Space

TEXTS = [
    "invoice, reminder, payment",
    "late payment, invoice",
    "late reminder",
    "train, timetable",
    "timetable, train, journey",
    "journey, ticket, train",
    "ticket, timetable",
]


def nearness(space, one, other):
    a, b = space.of(one), space.of(other)
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def test_words_that_go_together_are_near():
    space = Space(TEXTS, dimensions=2)

    assert nearness(space, "invoice", "late") > 0.9 > nearness(space, "invoice", "ticket")


def test_a_text_of_unknown_words_has_no_direction():
    assert not Space(TEXTS).of("xyzzy").any()
