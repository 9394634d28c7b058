import pytest

from kb.drift.refusals import refusal_in


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("I'm sorry, but I can't help with that.", "I can't help"),
        ("I’m sorry, but I cannot assist with this request.", "I cannot assist"),
        ("Thank you. I am unable to provide legal advice.", "I am unable to provide"),
        ("I can't directly access files.", "I can't directly access"),
        ("I must respectfully decline.", "I must respectfully decline"),
        ("As an AI, I do not have opinions.", "As an AI, I do not"),
        ("Je suis désolé, mais je ne peux pas vous aider.", "je ne peux pas vous aider"),
        (
            "Je ne suis pas en mesure de répondre à cette demande.",
            "Je ne suis pas en mesure de répondre",
        ),
        (
            "Désolée, je ne peux malheureusement pas y répondre",
            "je ne peux malheureusement pas y répondre",
        ),
        ("En tant qu’IA, je ne peux pas voter.", "En tant qu'IA, je ne peux"),
        ("Il m’est impossible de traiter cela.", "Il m'est impossible de"),
    ],
)
def test_a_refusal_is_quoted(answer, words):
    assert refusal_in(answer) == words


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I'm sorry for the delay of your parcel.",
        "We cannot accept returns after 30 days.",
        "I cannot recommend it enough.",
        "I will not be in the office on Monday.",
        "I can help you with that.",
        "Je ne peux que recommander ce choix.",
        "Vous ne pouvez pas fournir ce document.",
        "Je suis désolé pour ce retard.",
        "x" * 300 + " I can't help with that.",
        "\ud800",
    ],
)
def test_an_answer_is_no_refusal(answer):
    assert refusal_in(answer) == ""
