"""Trying the models that judge: questions whose answers are known, paid for like any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kb.drift import judging, textscores
from kb.drift.assertions import Assertion, Reason
from kb.drift.grading import RUBRIC, Bench, Notebook
from kb.drift.judging import JUDGING, Access, Payer
from kb.llm.base import LLMError

TRIAL_SECONDS = 40.0
"""A person waits; four votes one after the other."""
RIGHT = ("The text is a whole number.", "42", "yes")
WRONG = ("The text is a whole number.", "A house by the sea.", "no")
ALIKE = ("The contract ends on 31 May.", "On the last day of May the contract comes to its end.")
UNLIKE = ("The contract ends on 31 May.", "She likes to swim in cold water.")


@dataclass(frozen=True)
class Tried:
    """How it went. ``outcome`` good: as it should be. Odd: it judged, and wrongly. Unclear: what it
    said is no verdict. Away: it could not be asked, ``kind`` says why.

    ``alike`` and ``unlike`` are the nearness of two sentences with one meaning, and with two.
    """

    outcome: Literal["good", "odd", "unclear", "away"]
    kind: str = ""
    alike: float | None = None
    unlike: float | None = None


async def _no_gate(_attempt: int) -> None:
    """Nothing but the switch of the connection stands in the way of a trial."""


async def _bench(access: Access, clock: Callable[[], datetime]) -> Bench:
    # Nothing is taken from memory: a person wants to see it judge now.
    fresh = Access(access.open_provider, Notebook())
    deadline = time.monotonic() + TRIAL_SECONDS
    payer = Payer(None, f"trial{JUDGING}")
    return await judging.bench_for(payer, fresh, clock=clock, deadline=deadline, gate=_no_gate)


async def try_judge(access: Access, *, clock: Callable[[], datetime]) -> Tried:
    """Ask the judge in use about a text that satisfies a requirement and one that does not."""
    bench = await _bench(access, clock)
    said = []
    for requirement, text, expected in (RIGHT, WRONG):
        vote = await bench.vote(Assertion(RUBRIC, requirement), text)
        if isinstance(vote, Reason):
            kind = str(vote.params.get("kind", ""))
            return Tried("unclear" if vote.code == "judge_unclear" else "away", kind)
        said.append(vote == expected)
    return Tried("good" if all(said) else "odd")


async def try_embeddings(access: Access, *, clock: Callable[[], datetime]) -> Tried:
    """Compare sentences with one meaning and with two by the embeddings model in use."""
    bench = await _bench(access, clock)
    if bench.graders.embed is None:
        return Tried("away", "cancelled")
    nearness = []
    for pair in (ALIKE, UNLIKE):
        try:
            vectors = (await bench.graders.embed(pair)).vectors
        except LLMError as error:
            return Tried("away", error.kind)
        nearness.append(textscores.cosine(*vectors) if len(vectors) == len(pair) else None)
    alike, unlike = nearness
    if alike is None or unlike is None:
        return Tried("unclear")
    return Tried("good" if alike > unlike else "odd", alike=alike, unlike=unlike)
