"""A provider that asks nobody: for the demonstration and for trying the product without a key.

Answers come from a table of scripts and are the same for the same seed, model, prompt, day and
repeat, so that months of nightly runs can be written in seconds and written again alike. Every
model is labelled as simulated, and an answer nobody scripted says so. Vectors are counts of
letters, three at a time: texts that are spelled alike come near each other, whatever they mean.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from kb.llm.base import (
    EmbeddingRequest,
    Embeddings,
    Gate,
    LLMError,
    ModelInfo,
    Reply,
    Request,
)

STABLE = "simulated-stable"
DRIFTING = "simulated-drifting"
VECTORS = "simulated-embeddings"
MODELS = (
    ModelInfo(id=DRIFTING, name="Simulated model whose behaviour changes one day"),
    ModelInfo(id=VECTORS, name="Simulated vectors of texts, from their letters alone"),
    ModelInfo(id=STABLE, name="Simulated model that stays as it is"),
)
DATE_PARAMETER = "simulated_date"
REPEAT_PARAMETER = "simulated_repeat"

USUAL_SHARE = 0.6
"""How often the first answer of a script is given; hosted models repeat themselves about so."""
CHARACTERS_PER_TOKEN = 4
"""The rule of thumb vendors give for English; only the shape of the figures matters here."""
FASTEST_MS, SLOWEST_MS = 350, 1_900
DIMENSIONS, LETTERS = 256, 3
FALLBACK = (
    "This is a simulated answer. No model was asked; the prompt had {words} words.",
    "This is a simulated answer. A real one needs a connection; the prompt had {words} words.",
)


@dataclass(frozen=True, slots=True)
class Script:
    """What to answer to prompts that contain ``match``.

    The first of ``answers`` is given most often, the others in turn by chance. From ``after`` on
    the drifting model gives ``answers_after`` instead, in the same manner.
    """

    match: str
    answers: tuple[str, ...]
    after: date | None = None
    answers_after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.match or not self.answers or (self.after and not self.answers_after):
            raise ValueError(
                f"The script for {self.match!r} needs a match, answers, and answers_after "
                f"when it has an after."
            )


@dataclass(frozen=True, slots=True)
class SimulatedProvider:
    """A `Provider` without a network. ``clock`` tells the day when a request names none.

    The first script, in the order of the mapping, whose match occurs in the prompt is used.
    Parameters read: ``seed`` (default 0), ``simulated_repeat`` (default 0) and ``simulated_date``
    (ISO 8601). All others are accepted and without effect.
    """

    scripts: Mapping[str, Script]
    clock: Callable[[], datetime]

    async def complete(
        self, request: Request, *, deadline: float, gate: Gate | None = None
    ) -> Reply:
        """See `Provider.complete`; never waits, so that ``deadline`` has no effect."""
        if gate:
            await gate(1)
        if request.model not in (STABLE, DRIFTING):
            raise _unknown(request.model, f"{STABLE} and {DRIFTING}")
        prompt = "\n\n".join(message.content for message in request.messages)
        day = self._day(request)
        chance = _chances(
            request.parameters.get("seed", 0),
            request.model,
            prompt,
            day,
            request.parameters.get(REPEAT_PARAMETER, 0),
        )
        text = _pick(self._answers(request.model, prompt, day), chance("answer"))
        return Reply(
            text=text,
            finish="stop",
            model=request.model,
            fingerprint="simulated",
            input_tokens=_tokens(prompt),
            output_tokens=_tokens(text),
            request_id=None,
            latency_ms=round(FASTEST_MS + chance("latency") * (SLOWEST_MS - FASTEST_MS)),
            raw_finish="stop",
        )

    async def embed(
        self, request: EmbeddingRequest, *, deadline: float, gate: Gate | None = None
    ) -> Embeddings:
        """See `Provider.embed`; never waits, so that ``deadline`` has no effect."""
        if gate:
            await gate(1)
        if request.model != VECTORS:
            raise _unknown(request.model, f"{VECTORS} for vectors")
        return Embeddings(
            vectors=tuple(_vector(text) for text in request.texts),
            model=VECTORS,
            input_tokens=sum(map(_tokens, request.texts)),
        )

    async def models(self) -> list[ModelInfo]:
        """See `Provider.models`."""
        return list(MODELS)

    def _day(self, request: Request) -> date:
        written = request.parameters.get(DATE_PARAMETER)
        if written is None:
            return self.clock().date()
        try:
            return date.fromisoformat(str(written)[:10])
        except ValueError as error:
            raise LLMError(
                "bad_request",
                f"{DATE_PARAMETER} is {written!r}; write a day like 2026-03-31.",
                permanent=True,
                attempts=1,
            ) from error

    def _answers(self, model: str, prompt: str, day: date) -> tuple[str, ...]:
        for script in self.scripts.values():
            if script.match in prompt:
                has_drifted = model == DRIFTING and script.after and day >= script.after
                return script.answers_after if has_drifted else script.answers
        return tuple(text.format(words=len(prompt.split())) for text in FALLBACK)


def _unknown(model: str, known: str) -> LLMError:
    return LLMError(
        "not_found",
        f"The simulated provider has no model {model!r}; it has {known}.",
        permanent=True,
        attempts=1,
    )


def _vector(text: str) -> tuple[float, ...]:
    """How often each three letters occur, white space and capitals apart; all 0 for no letters."""
    spelled = f" {' '.join(text.lower().split())} "
    counts = Counter(spelled[at : at + LETTERS] for at in range(len(spelled) - LETTERS + 1))
    vector = [0.0] * DIMENSIONS
    for letters, count in counts.items():
        vector[zlib.crc32(letters.encode("utf-8", "replace")) % DIMENSIONS] += 1 + math.log(count)
    return tuple(vector)


def _chances(*identity: object) -> Callable[[Literal["answer", "latency"]], float]:
    """Numbers in [0, 1) that depend on the identity and the purpose alone, on every machine."""

    def chance(purpose: Literal["answer", "latency"]) -> float:
        digest = hashlib.sha256(
            "\0".join(map(str, (*identity, purpose))).encode("utf-8", "replace")
        )
        return int.from_bytes(digest.digest()[:6]) / 2**48

    return chance


def _pick(answers: tuple[str, ...], chance: float) -> str:
    if len(answers) == 1 or chance < USUAL_SHARE:
        return answers[0]
    others = answers[1:]
    return others[int((chance - USUAL_SHARE) / (1 - USUAL_SHARE) * len(others))]


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)
