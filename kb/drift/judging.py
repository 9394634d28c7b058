"""Having answers judged by the models chosen for it: who is asked, who pays, what is kept.

Whoever is asked is asked outside any transaction, through the limits, the breaker and the budgets
of its connection. Every vote is written down as it comes, so that a killed worker repeats at most
the one that was under way; an answer whose verdicts are owed says so by `Completion.judged`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import cast

from asgiref.sync import sync_to_async
from django.db.models import QuerySet, Sum

from kb.drift import assertions, grader_queries
from kb.drift.assertions import MODEL_TYPES, Assertion, Facts, Reason, Verdict
from kb.drift.grader_models import Grader, RememberedVote
from kb.drift.grading import (
    RUBRIC,
    SIMILAR,
    VOTES,
    Asking,
    Bench,
    Graders,
    Memory,
    Question,
    Said,
    grade,
)
from kb.drift.models import Completion, Run, TestCase
from kb.llm import clients, forecast, spending
from kb.llm.base import (
    EmbeddingRequest,
    Embeddings,
    Gate,
    LLMError,
    Message,
    Provider,
    Reply,
    Request,
)
from kb.llm.models import Connection, Expense
from kb.llm.queries import price_of

QUESTION_TOKENS = 220
"""Of what a judge is sent besides the requirement and the answer."""
JUDGING = ":judging"
"""Ends the reference of what judging cost: run:12:judging."""
USUAL_VOTE_TOKENS = 100
"""Of a vote nobody has measured yet: ten are enough, but models that think first write more."""
MOST_MEASURED = 50
"""Latest expenses that tell how long a vote is."""
WORTH_ASKING_AGAIN = frozenset({"", "judge_away", "needs_a_model", "judge_changed"})
"""Reasons of usual answers that the next run asks about again; the others would come out alike."""


class Remembered:
    """A `Memory` that lasts: a table of votes. For use in one event loop."""

    def __init__(self) -> None:
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def once(self, question: Question, ask: Asking) -> Said | Reason:
        """See `Memory.once`."""
        key = question.key
        async with self._asking[key]:
            known = RememberedVote.objects.filter(key=key)
            if said := await known.values_list("said", flat=True).afirst():
                return cast(Said, said)
            heard = await ask()
            if not isinstance(heard, Reason):
                row = RememberedVote(key=key, grader=question.grader, said=heard)
                # Another worker may have asked the same at the same time; the first word counts.
                await RememberedVote.objects.abulk_create([row], ignore_conflicts=True)
            return heard


@dataclass(frozen=True)
class Access:
    """How a worker reaches the models that judge: one for all that it drives in one event loop.

    `open_provider` may raise LLMError, which is then why a grader could not be asked.
    """

    open_provider: Callable[[Connection], Provider]
    memory: Memory = field(default_factory=Remembered)


@dataclass(frozen=True)
class Payer:
    """Who pays for what is judged: see kb.llm.spending.Purse."""

    department_id: int | None
    reference: str


async def bench_for(
    payer: Payer,
    access: Access | None,
    *,
    clock: Callable[[], datetime],
    deadline: float,
    gate: Gate,
) -> Bench:
    """The graders in use, ready to be asked at the expense of `payer` until `deadline`.

    `gate` is asked before each call, and whether the grader is still in use. Without `access` none
    can be asked.
    """
    rows = {} if access is None else await sync_to_async(grader_queries.in_use)()
    desks = {
        type: await _Desk.open(row, payer, access, clock, deadline, gate)
        for type, row in rows.items()
        if access is not None and row.status != Grader.Status.CHANGED
    }
    judge, embeddings = desks.get(RUBRIC), desks.get(SIMILAR)
    graders = Graders(
        ask=judge.ask if judge else None,
        embed=embeddings.embed if embeddings else None,
        judge_name=judge.grader.name if judge else "",
        embeddings_name=embeddings.grader.name if embeddings else "",
        closed={
            type: Reason("judge_changed", {})
            for type, row in rows.items()
            if row.status == Grader.Status.CHANGED
        },
    )
    return Bench(graders, access.memory if access else None)


@dataclass(frozen=True)
class _Desk:
    """Where one grader is asked. `error` is why it could not be opened."""

    grader: Grader
    metered: spending.Metered | None
    error: LLMError | None
    clock: Callable[[], datetime]
    deadline: float
    gate: Gate
    places: asyncio.Semaphore

    @classmethod
    async def open(
        cls,
        grader: Grader,
        payer: Payer,
        access: Access,
        clock: Callable[[], datetime],
        deadline: float,
        gate: Gate,
    ) -> _Desk:
        metered = error = None
        try:
            provider = await sync_to_async(access.open_provider)(grader.target.connection)
        except LLMError as refused:
            error = refused
        else:
            purse = await sync_to_async(_purse)(grader, payer)
            metered = spending.Metered(provider, purse, clock)
        places = asyncio.Semaphore(grader.target.connection.calls_at_once)
        return cls(grader, metered, error, clock, deadline, gate, places)

    async def ask(self, messages: tuple[Message, ...]) -> Reply:
        target = self.grader.target
        parameters = clients.parameters_for(target, {}, slot=self.clock(), repeat=0)
        request = Request(messages, target.model, parameters)
        async with self.places:
            return await self._open().complete(
                request, deadline=self.deadline, gate=self._may_leave
            )

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        target = self.grader.target
        request = EmbeddingRequest(tuple(texts), target.model, target.parameters)
        async with self.places:
            return await self._open().embed(request, deadline=self.deadline, gate=self._may_leave)

    def _open(self) -> spending.Metered:
        if self.metered is None:
            assert self.error is not None  # noqa: S101 - one of the two is there
            raise LLMError(self.error.kind, self.error.message, permanent=True)
        return self.metered

    async def _may_leave(self, attempt: int) -> None:
        """Before anything leaves: is what it is for still wanted, the grader still in use?"""
        await self.gate(attempt)
        if not await _still_in_use(self.grader).aexists():
            raise LLMError("cancelled", "The model that judges is switched off.", permanent=True)


def _still_in_use(grader: Grader) -> QuerySet[Grader]:
    return Grader.objects.filter(
        pk=grader.pk, ended=None, target__connection__is_enabled=True
    ).exclude(status=Grader.Status.CHANGED)


def _purse(grader: Grader, payer: Payer) -> spending.Purse:
    return spending.purse_for(
        grader.target,
        department_id=payer.department_id,
        reference=payer.reference,
        price=price_of(grader.target),
        usual_output=usual_vote_tokens(grader),
    )


def usual_vote_tokens(grader: Grader) -> float:
    """How many tokens a vote of this judge has had lately; USUAL_VOTE_TOKENS before the first."""
    latest = Expense.objects.filter(
        connection_id=grader.target.connection_id,
        model=grader.target.model,
        reference__endswith=JUDGING,
    ).order_by("-pk")[:MOST_MEASURED]
    sums = latest.aggregate(calls=Sum("calls"), tokens=Sum("output_tokens"))
    if not sums["calls"] or not sums["tokens"]:
        return USUAL_VOTE_TOKENS
    return float(sums["tokens"] / sums["calls"])


def forget_votes() -> int:
    """Delete what graders said that are no longer in use; returns how many votes."""
    names = [row.name for row in grader_queries.in_use().values()]
    gone, _rows = RememberedVote.objects.exclude(grader__in=names).delete()
    return gone


# --- What it will cost ------------------------------------------------------------------------


@dataclass(frozen=True)
class Effort:
    """What judging the answers of one run takes: calls, and money where a price is known.

    ``cost`` is None as soon as the price of a model that is asked is not known, or the two have
    different currencies.
    """

    votes: int
    vectors: int
    cost: Decimal | None
    currency: str


def effort(rules: Sequence[tuple[str, int]], *, answer_tokens: int) -> Effort:
    """What judging takes by these rules, given as type and characters of the value.

    Each stands for one answer of a run. What was judged before is not paid for again; this is the
    most it can be.
    """
    rows = grader_queries.in_use()
    lengths = {type: [length for name, length in rules if name == type] for type in MODEL_TYPES}
    sums = []
    for type, row in rows.items():
        if not lengths[type]:
            continue
        price = price_of(row.target)
        read = forecast.tokens_in(lengths[type]) + answer_tokens * len(lengths[type])
        written = 0
        if type == RUBRIC:
            read = (read + QUESTION_TOKENS * len(lengths[type])) * VOTES
            written = round(usual_vote_tokens(row) * VOTES * len(lengths[type]))
        cost = clients.cost(price, read, written)
        sums.append((cost, price.currency if price else ""))
    currencies = {currency for _cost, currency in sums}
    known = [cost for cost, _currency in sums if cost is not None]
    is_known = len(known) == len(sums) and len(currencies) == 1
    return Effort(
        votes=VOTES * len(lengths[RUBRIC]),
        vectors=len(lengths[SIMILAR]),
        cost=sum(known, Decimal(0)) if is_known else None,
        currency=currencies.pop() if is_known else "",
    )


# --- Answers of runs --------------------------------------------------------------------------


def reference_of(run: Run) -> str:
    """What the expenses of judging the answers of a run are booked under."""
    return f"run:{run.pk}{JUDGING}"


def rules_of(case: TestCase) -> list[Assertion]:
    """The rules its answers must satisfy."""
    return [assertions.parse(item) for item in case.assertions]


def needs_a_model(case: TestCase) -> bool:
    """Whether one of its rules is judged by a model."""
    names = {
        str(item.get("type", "")).removeprefix(assertions.NEGATION) for item in case.assertions
    }
    return not names.isdisjoint(MODEL_TYPES)


def is_needed(run: Run) -> bool:
    """Whether a case that the run asks has a rule that a model judges."""
    return any(needs_a_model(case) for case in run.monitor.cases.filter(is_retired=False))


def facts_of(row: Completion) -> Facts:
    """What is known of a stored answer besides its text."""
    return Facts(finish=row.finish or None, latency_ms=row.latency_ms, cost=row.cost)


def owed(run: Run, bench: Bench) -> list[Completion]:
    """Answers to be judged before the run can be compared: its own, and usual ones.

    Usual answers were judged by a grader that is not today's, or could not be judged at the time.
    """
    answered = Completion.objects.select_related("case").filter(
        outcome=Completion.Outcome.ANSWERED, case__is_retired=False, case__monitor=run.monitor_id
    )
    own = answered.filter(run=run, judged=None)
    found = [row for row in own if needs_a_model(row.case)]
    if run.baseline_id is not None:
        usual = answered.filter(
            run__baseline=run.baseline_id, run__kind=Run.Kind.BASELINE, run__status=Run.Status.DONE
        ).exclude(run=run)
        found += [row for row in usual if _is_worth_asking_again(row, bench.graders)]
    return found


def _is_worth_asking_again(row: Completion, graders: Graders) -> bool:
    """Whether a grader of today, who can be asked, would say more than is known."""
    for place, rule in enumerate(rules_of(row.case)):
        if rule.type not in MODEL_TYPES or not graders.is_open(rule.type):
            continue
        if row.graders.get(rule.type) != graders.name_for(rule.type):
            return True
        is_open = _at(row.verdicts, place) is None
        if is_open and (_at(row.not_judged, place) or {}).get("code", "") in WORTH_ASKING_AGAIN:
            return True
    return False


def _at[Item](items: Sequence[Item], place: int) -> Item | None:
    return items[place] if place < len(items) else None


async def judge(
    row: Completion, bench: Bench, *, clock: Callable[[], datetime], is_ours: Callable[[], bool]
) -> None:
    """Have one stored answer judged and write its verdicts down, unless somebody else did meanwhile.

    `is_ours` tells, after the asking, whether the run still belongs to this worker.
    """
    rules = rules_of(row.case)
    verdicts = await grade(rules, row.text, facts_of(row), bench, has_answer=True)
    if is_ours():
        await sync_to_async(_keep)(row, rules, verdicts, bench.graders, clock())


def _keep(
    row: Completion,
    rules: Sequence[Assertion],
    verdicts: Sequence[Verdict],
    graders: Graders,
    now: datetime,
) -> None:
    passed = [verdict.passed for verdict in verdicts]
    names = {rule.type: graders.name_for(rule.type) for rule in rules if rule.type in MODEL_TYPES}
    Completion.objects.filter(pk=row.pk, judged=row.judged).update(
        verdicts=passed,
        not_judged=reasons(verdicts),
        is_passed=assertions.together(rules, passed),
        graders={type: name for type, name in names.items() if name},
        judged=now,
    )


def reasons(verdicts: Iterable[Verdict]) -> list[dict[str, object] | None]:
    """Why rules were not judged, as `Completion.not_judged` keeps it."""
    return [
        None
        if verdict.passed is not None
        else {"code": verdict.reason.code, "params": dict(verdict.reason.params)}
        for verdict in verdicts
    ]
