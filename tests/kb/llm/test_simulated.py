import asyncio
import json
from collections import Counter
from datetime import UTC, date, datetime

import pytest

from kb.drift import textscores
from kb.llm.base import EmbeddingRequest, LLMError, Message, Reply, Request
from kb.llm.simulated import DRIFTING, STABLE, VECTORS, Script, SimulatedProvider

MAIL = Script(
    match="relance client",
    answers=(
        "Bonjour,\n\nSauf erreur, la facture reste ouverte. Merci d'avance.\n\nCordialement,",
        "Bonjour,\n\nNous n'avons pas encore reçu le règlement. Un mot nous aiderait.\n\nCordialement,",
        "Bonjour,\n\nLa facture est échue depuis peu. Pouvez-vous vérifier ?\n\nCordialement,",
    ),
    after=date(2026, 3, 1),
    answers_after=("Payez.",),
)
FIELDS = Script(match="JSON", answers=('{"total": 120, "currency": "EUR"}',))
SCRIPTS = {"mail": MAIL, "fields": FIELDS}


def ask(text, *, model=STABLE, scripts=SCRIPTS, today=date(2026, 1, 1), **parameters):
    noon = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    provider = SimulatedProvider(scripts, lambda: noon)
    request = Request((Message("system", "Sois poli."), Message("user", text)), model, parameters)
    return asyncio.run(provider.complete(request, deadline=0.0))


def test_the_same_question_gets_the_same_reply():
    first = ask("relance client", simulated_repeat=3)

    assert ask("relance client", simulated_repeat=3) == first
    assert first == Reply(
        text=first.text,
        finish="stop",
        model=STABLE,
        fingerprint="simulated",
        input_tokens=7,
        output_tokens=first.output_tokens,
        request_id=None,
        latency_ms=first.latency_ms,
        raw_finish="stop",
    )
    assert first.text in MAIL.answers


def test_answers_do_not_change_from_one_release_to_the_next():
    """The demonstration's history is written by this; a change here rewrites it."""
    texts = [MAIL.answers.index(ask("relance client", simulated_repeat=n).text) for n in range(12)]

    assert texts == [1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0]


def test_repeats_vary_mildly_and_the_first_answer_is_the_usual_one():
    counts = Counter(ask("relance client", simulated_repeat=n).text for n in range(1_000))

    assert counts.keys() == set(MAIL.answers)
    assert 550 < counts[MAIL.answers[0]] < 650
    assert 150 < counts[MAIL.answers[1]] < 250


def test_answers_take_as_long_as_those_of_a_quick_model():
    latencies = [ask("relance client", simulated_repeat=n).latency_ms for n in range(1_000)]

    assert 350 <= min(latencies) < 400
    assert 1_850 < max(latencies) <= 1_900


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 1}, {"seed": 2}),
        ({"simulated_repeat": 0}, {"simulated_repeat": 1}),
        ({"simulated_date": "2026-01-01"}, {"simulated_date": "2026-01-02"}),
    ],
)
def test_seed_repeat_and_day_each_matter(one, other):
    latencies = [ask("relance client", **parameters).latency_ms for parameters in (one, other)]

    assert latencies[0] != latencies[1]


@pytest.mark.parametrize(
    ("model", "day", "has_drifted"),
    [
        (DRIFTING, "2026-02-28", False),
        (DRIFTING, "2026-03-01", True),
        (DRIFTING, "2026-09-01T02:00:00+02:00", True),
        (STABLE, "2026-09-01", False),
    ],
)
def test_only_the_drifting_model_drifts_and_only_from_its_day_on(model, day, has_drifted):
    reply = ask("relance client", model=model, simulated_date=day)

    assert (reply.text == "Payez.") is has_drifted


def test_without_a_date_the_clock_tells_the_day():
    texts = [
        ask("relance client", model=DRIFTING, today=day).text
        for day in (date(2026, 2, 28), date(2026, 3, 1))
    ]

    assert texts[0] in MAIL.answers
    assert texts[1] == "Payez."


def test_a_script_can_hold_json():
    assert json.loads(ask("Réponds en JSON").text) == {"total": 120, "currency": "EUR"}


def test_the_first_script_that_matches_answers():
    assert ask("relance client en JSON").text in MAIL.answers


def test_a_prompt_nobody_scripted_is_told_so():
    reply = ask("Quelle heure est-il ?")

    assert reply.text.startswith("This is a simulated answer. ")
    assert "the prompt had 6 words" in reply.text


def test_the_gate_is_passed_once():
    passed = []

    async def gate(attempt):
        passed.append(attempt)

    provider = SimulatedProvider({}, lambda: datetime.now(UTC))
    request = Request((Message("user", "x"),), STABLE)
    asyncio.run(provider.complete(request, deadline=0.0, gate=gate))

    assert passed == [1]


def test_an_unknown_model_is_named_with_the_known_ones():
    with pytest.raises(LLMError, match="no model 'gpt'; it has simulated-stable and") as failure:
        ask("x", model="gpt")

    assert (failure.value.kind, failure.value.permanent) == ("not_found", True)


def test_a_date_that_is_none_is_named():
    with pytest.raises(LLMError, match="simulated_date is 'demain'") as failure:
        ask("x", simulated_date="demain")

    assert (failure.value.kind, failure.value.permanent) == ("bad_request", True)


def test_all_models_are_labelled_as_simulated():
    models = asyncio.run(SimulatedProvider({}, lambda: datetime.now(UTC)).models())

    assert [model.id for model in models] == [DRIFTING, VECTORS, STABLE]
    assert all("Simulated" in model.name for model in models)


@pytest.mark.parametrize(
    "fields",
    [
        {"match": "", "answers": ("a",)},
        {"match": "x", "answers": ()},
        {"match": "x", "answers": ("a",), "after": date(2026, 1, 1)},
    ],
)
def test_a_script_that_could_not_answer_is_refused(fields):
    with pytest.raises(ValueError, match="needs a match, answers, and answers_after"):
        Script(**fields)


# --- Vectors ----------------------------------------------------------------------------------


def vectors(*texts, model=VECTORS):
    provider = SimulatedProvider({}, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    request = EmbeddingRequest(texts, model, {})
    return asyncio.run(provider.embed(request, deadline=0.0))


def nearness(one, other):
    first, second = vectors(one, other).vectors
    return textscores.cosine(first, second)


def test_vectors_are_the_same_each_time_and_say_that_they_are_simulated():
    found = vectors("Bonjour", "Merci")

    assert found == vectors("Bonjour", "Merci")
    assert (found.model, found.input_tokens, found.output_tokens) == (VECTORS, 4, 0)
    assert {len(vector) for vector in found.vectors} == {256}


def test_what_is_spelled_alike_is_near():
    said = "Le contrat prend fin en mai."

    assert nearness(said, "le contrat  prend fin en MAI.") == pytest.approx(1.0)
    assert nearness(said, "Le contrat prend fin en juin.") > 0.7
    assert nearness(said, "Bonjour à toutes et à tous") < 0.3
    assert nearness(said, "  ") is None


def test_only_the_model_for_vectors_makes_vectors():
    with pytest.raises(LLMError) as refused:
        vectors("Bonjour", model=STABLE)
    with pytest.raises(LLMError) as silent:
        ask("Bonjour", model=VECTORS)

    assert (refused.value.kind, silent.value.kind) == ("not_found", "not_found")


def test_the_gate_is_asked_before_vectors_are_made():
    async def closed(attempt):
        raise LLMError("cancelled", "Switched off.", permanent=True)

    provider = SimulatedProvider({}, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    request = EmbeddingRequest(("Bonjour",), VECTORS, {})

    with pytest.raises(LLMError, match="Switched off"):
        asyncio.run(provider.embed(request, deadline=0.0, gate=closed))
