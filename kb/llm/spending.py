"""Money and calls: reserved before a call leaves, settled when it has ended.

Every call moves the tallies of the company, its connection and its department, for the day and for
the month. A reservation and its check are one transaction that holds these rows, so that what is
spent and what is reserved together never pass a cap, however many workers reserve at once. A call
whose end nobody knows counts as spent at its estimate, and so does the reservation of a worker that
died, when its lease has ended.

Tallies are always locked in the order of `_places`; else two workers could wait for each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection as database
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from kb.llm import forecast
from kb.llm.base import (
    EmbeddingRequest,
    Embeddings,
    Gate,
    LLMError,
    ModelInfo,
    Provider,
    Reply,
    Request,
)
from kb.llm.clients import SIMULATED
from kb.llm.held import HeldBack
from kb.llm.models import CALLS, Cap, Period, Price, Reservation, Target

LEASE = timedelta(minutes=5)
"""An attempt takes two minutes at most and a wait before the next half a minute; a dead worker's
reservations are settled by whoever sweeps after this."""
WORTH_WAITING = 30.0
"""Seconds a call waits when only the reservations of others stand in its way."""
LOOK_SECONDS = 1.0
COMPANY, CONNECTION, DEPARTMENT = "company", "connection", "department"
MOST_SWEPT = 500


@dataclass(frozen=True, slots=True)
class Purse:
    """Who pays for the calls of one purpose, and at which price.

    ``department_id`` None: no department pays. ``reference`` names the purpose, such as run:12.
    ``usual_output`` is how many tokens answers to the prompt had so far, None when unknown.
    """

    connection_id: int
    connection_name: str
    department_id: int | None
    model: str
    reference: str
    input_price: Decimal | None = None
    output_price: Decimal | None = None
    currency: str = ""
    is_free: bool = False
    usual_output: float | None = None

    def cost(self, tokens: tuple[int, int]) -> Decimal:
        """What input and output tokens cost; 0 when no price is known."""
        if self.input_price is None or self.output_price is None:
            return Decimal(0)
        return forecast.money(self.input_price, self.output_price, tokens)

    def estimate(self, request: Request | EmbeddingRequest) -> Estimate:
        """What to reserve for one attempt of a request."""
        if isinstance(request, EmbeddingRequest):
            return Estimate(self.cost(forecast.tokens_embedded(request)))
        return Estimate(self.cost(forecast.reserved_tokens(request, self.usual_output)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is asked for: money in the purse's currency, and calls."""

    money: Decimal = Decimal(0)
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reserved call came to. ``calls`` and ``unknown_calls`` count requests that were sent."""

    money: Decimal = Decimal(0)
    calls: int = 0
    unknown_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class OverBudget(HeldBack):
    """A cap leaves no room. ``cap`` is the one, ``frees`` the day its next period begins.

    ``spent`` and ``reserved`` are in the unit of the cap. ``may_free`` tells that only calls under
    way stand in the way: when they cost less than reserved, there is room before that day.
    """

    def __init__(
        self,
        why: str,
        *,
        cap: Cap,
        spent: Decimal,
        reserved: Decimal,
        frees: date,
        may_free: bool = False,
    ) -> None:
        super().__init__("over_budget", why)
        self.cap = cap
        self.spent = spent
        self.reserved = reserved
        self.frees = frees
        self.may_free = may_free


@dataclass(frozen=True, slots=True)
class _Place:
    """Whose tally, and of what."""

    scope: str
    scope_id: int
    period: str
    starts: date
    unit: str


@dataclass(frozen=True, slots=True)
class _State:
    spent: Decimal
    reserved: Decimal


def purse_for(
    target: Target,
    *,
    department_id: int | None,
    reference: str,
    price: Price | None,
    usual_output: float | None = None,
) -> Purse:
    """The purse of calls to a target. A simulated model without a price is free."""
    connection = target.connection
    return Purse(
        connection_id=connection.pk,
        connection_name=connection.name,
        department_id=department_id,
        model=target.model,
        reference=reference,
        input_price=price.input_per_million if price else None,
        output_price=price.output_per_million if price else None,
        currency=price.currency if price else "",
        is_free=price is None and connection.provider == SIMULATED,
        usual_output=usual_output,
    )


@transaction.atomic
def reserve(
    purse: Purse, estimate: Estimate, *, now: datetime, lease: timedelta = LEASE
) -> Reservation:
    """Keep money and calls aside, for one call or for many. Raises OverBudget; nothing is kept then."""
    day = today(now)
    states = _reserve_in_tallies(purse, estimate, day)
    caps = _caps(purse)
    _check_price(purse, caps, day)
    full = [
        _refusal(cap, estimate, state, day)
        for cap in caps
        if (state := states.get(_place_of(cap, day))) and state.spent + state.reserved > cap.most
    ]
    if full:
        raise max(full, key=lambda refused: (not refused.may_free, refused.frees))
    return Reservation.objects.create(
        connection_id=purse.connection_id,
        connection_name=purse.connection_name,
        department_id=purse.department_id,
        model=purse.model,
        reference=purse.reference,
        day=day,
        calls=estimate.calls,
        currency=purse.currency,
        money=estimate.money if purse.currency else Decimal(0),
        lease_ends=now + lease,
    )


@transaction.atomic
def settle(reservation: Reservation, usage: Usage) -> bool:
    """Replace a reservation by what was really spent; False when a sweep had settled it already."""
    gone, _rows = Reservation.objects.filter(pk=reservation.pk).delete()
    if gone:
        _book(reservation, usage)
    return bool(gone)


def settle_lost(*, now: datetime, most: int = MOST_SWEPT) -> int:
    """Count the reservations of dead workers as spent; returns how many there were."""
    count = 0
    while count < most and _settle_one_lost(now):
        count += 1
    return count


def refusal(purse: Purse, estimate: Estimate, *, now: datetime) -> OverBudget | None:
    """Why a reservation would be refused at this moment; None when there is room."""
    try:
        with transaction.atomic():
            reserve(purse, estimate, now=now)
            transaction.set_rollback(True)
    except OverBudget as refused:
        return refused
    return None


def today(now: datetime) -> date:
    """The day a moment counts for, by the calendar of the installation's time zone."""
    return timezone.localtime(now, timezone.get_default_timezone()).date()


def tally_key(cap: Cap, day: date) -> tuple[str, int, str, date, str]:
    """Scope, its id, period, first day and unit of the tally that a cap bounds on a day."""
    place = _place_of(cap, day)
    return place.scope, place.scope_id, place.period, place.starts, place.unit


def period_start(period: str, day: date) -> date:
    """The first day of the period a day is in."""
    return day if period == Period.DAY else day.replace(day=1)


def period_end(period: str, day: date) -> date:
    """The first day of the next period: when a cap frees."""
    if period == Period.DAY:
        return day + timedelta(days=1)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Metered:
    """A `Provider` that reserves before each attempt and settles at the end of each call.

    ``clock`` tells the moment calls are booked at; the deadline is by ``ticks``.
    """

    provider: Provider
    purse: Purse
    clock: Callable[[], datetime]
    ticks: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def complete(
        self, request: Request, *, deadline: float, gate: Gate | None = None
    ) -> Reply:
        """See `Provider.complete`. Raises OverBudget as well, for a call that never left.

        The caller's gate is asked first, and again after a wait for others, so that nothing leaves
        that was switched off meanwhile.
        """

        async def ask(may_leave: Gate) -> Reply:
            return await self.provider.complete(request, deadline=deadline, gate=may_leave)

        return await self._paid(ask, self.purse.estimate(request), deadline, gate)

    async def embed(
        self, request: EmbeddingRequest, *, deadline: float, gate: Gate | None = None
    ) -> Embeddings:
        """See `Provider.embed`; reserved and settled as in `complete`."""

        async def ask(may_leave: Gate) -> Embeddings:
            return await self.provider.embed(request, deadline=deadline, gate=may_leave)

        return await self._paid(ask, self.purse.estimate(request), deadline, gate)

    async def _paid[Answer: (Reply, Embeddings)](
        self,
        ask: Callable[[Gate], Awaitable[Answer]],
        estimate: Estimate,
        deadline: float,
        gate: Gate | None,
    ) -> Answer:
        kept: list[Reservation] = []

        async def may_leave(attempt: int) -> None:
            patience = min(self.ticks() + WORTH_WAITING, deadline)
            while True:
                if gate:
                    await gate(attempt)
                try:
                    kept.append(await self._reserve(estimate))
                    return
                except OverBudget as refused:
                    # A repetition would wait for its own first attempt, which ends only after it.
                    is_worth_waiting = refused.may_free and not kept
                    if not is_worth_waiting or self.ticks() + LOOK_SECONDS > patience:
                        raise
                await self.sleep(LOOK_SECONDS)

        try:
            answer = await ask(may_leave)
        except LLMError as error:
            sent = min(error.attempts, len(kept))
            await self._settle(kept, _without_answer(kept, sent, error.maybe_billed))
            raise
        except BaseException:  # ended from outside: nobody knows what the last attempt became
            await asyncio.shield(self._settle(kept, _without_answer(kept, len(kept), len(kept))))
            raise
        await self._settle(kept, self._with_answer(kept, answer))
        return answer

    async def models(self) -> list[ModelInfo]:
        """See `Provider.models`; a list costs nothing."""
        return await self.provider.models()

    async def _reserve(self, estimate: Estimate) -> Reservation:
        return await sync_to_async(reserve)(self.purse, estimate, now=self.clock())

    async def _settle(self, kept: Sequence[Reservation], usages: Sequence[Usage]) -> None:
        for reservation, usage in zip(kept, usages, strict=True):
            await sync_to_async(settle)(reservation, usage)

    def _with_answer(self, kept: Sequence[Reservation], answer: Reply | Embeddings) -> list[Usage]:
        """The attempts before the last by what is known of them, the last by its tokens."""
        if not kept:
            return []
        before = _without_answer(kept[:-1], len(kept) - 1, answer.maybe_billed)
        if answer.input_tokens is None or answer.output_tokens is None:
            last = Usage(money=kept[-1].money, calls=1)
        else:
            tokens = (answer.input_tokens, answer.output_tokens)
            last = Usage(self.purse.cost(tokens), 1, 0, *tokens)
        return [*before, last]


def _without_answer(kept: Sequence[Reservation], sent: int, unknown: int) -> list[Usage]:
    """Usages of attempts that brought nothing: ``unknown`` of the ``sent`` may have been charged.

    Which of them does not matter, they were reserved alike; those beyond ``sent`` never left.
    """
    return [
        Usage(reservation.money, 1, 1)
        if place < min(unknown, sent)
        else Usage(calls=1 if place < sent else 0)
        for place, reservation in enumerate(kept)
    ]


@transaction.atomic
def _settle_one_lost(now: datetime) -> bool:
    lost = (
        Reservation.objects.select_for_update(skip_locked=True)
        .filter(lease_ends__lt=now)
        .order_by("lease_ends", "pk")
        .first()
    )
    if lost is None:
        return False
    usage = Usage(money=lost.money, calls=lost.calls, unknown_calls=lost.calls)
    return settle(lost, usage)


def _check_price(purse: Purse, caps: Sequence[Cap], day: date) -> None:
    """Refuse a call none of the caps can count, because its cost is unknown or in another currency."""
    if not caps or purse.is_free or any(cap.unit in (CALLS, purse.currency) for cap in caps):
        return
    cap = caps[0]
    known = f"in {purse.currency}" if purse.currency else "not known"
    raise OverBudget(
        f"The price of {purse.model} is {known}, so the cap of {_sum(cap.most, cap.unit)} "
        f"a {cap.period} {_scope_words(cap)} cannot be kept. Enter its price in {cap.unit} "
        f"(0 if it is free), or cap the calls.",
        cap=cap,
        spent=Decimal(0),
        reserved=Decimal(0),
        frees=period_end(cap.period, day),
    )


def _refusal(cap: Cap, estimate: Estimate, state: _State, day: date) -> OverBudget:
    """The refusal by a cap; ``state`` holds what was asked for as well."""
    asked = Decimal(estimate.calls) if cap.unit == CALLS else estimate.money
    reserved = state.reserved - asked
    frees = period_end(cap.period, day)
    return OverBudget(
        f"The cap of {_sum(cap.most, cap.unit)} a {cap.period} {_scope_words(cap)} leaves no room: "
        f"{_sum(state.spent, cap.unit)} spent, {_sum(reserved, cap.unit)} reserved, "
        f"{_sum(asked, cap.unit)} asked for. It frees on {frees.isoformat()}.",
        cap=cap,
        spent=state.spent,
        reserved=reserved,
        frees=frees,
        may_free=state.spent + asked <= cap.most,
    )


def _scope_words(cap: Cap) -> str:
    if cap.connection is not None:
        return f"for the connection {cap.connection.name}"
    if cap.department is not None:
        return f"for the department {cap.department.slug}"
    return "for the whole company"


def _sum(amount: Decimal, unit: str) -> str:
    return f"{amount.normalize():f} {unit}"


def _caps(purse: Purse) -> list[Cap]:
    """The caps that bind a purse; read after the tallies are held, so that a new one is heeded.

    Without the names of what they bound: only a refusal needs them.
    """
    return list(
        Cap.objects.filter(Q(connection=None) | Q(connection=purse.connection_id))
        .filter(Q(department=None) | Q(department=purse.department_id))
        .order_by("pk")
    )


def _place_of(cap: Cap, day: date) -> _Place:
    scope, scope_id = COMPANY, 0
    if cap.connection_id is not None:
        scope, scope_id = CONNECTION, cap.connection_id
    elif cap.department_id is not None:
        scope, scope_id = DEPARTMENT, cap.department_id
    return _Place(scope, scope_id, cap.period, period_start(cap.period, day), cap.unit)


def _places(
    connection_id: int, department_id: int | None, day: date, currency: str
) -> list[_Place]:
    """The tallies a call moves, in the order in which they are locked."""
    scopes = [(COMPANY, 0), (CONNECTION, connection_id)]
    if department_id is not None:
        scopes.append((DEPARTMENT, department_id))
    return [
        _Place(scope, scope_id, period, period_start(period, day), unit)
        for scope, scope_id in scopes
        for period in (Period.DAY.value, Period.MONTH.value)
        for unit in (CALLS, currency)
        if unit
    ]


_KEYS = """
unnest(%s::text[], %s::bigint[], %s::text[], %s::date[], %s::text[], %s::numeric[], %s::numeric[])
  WITH ORDINALITY AS k(scope, scope_id, period, starts, unit, reserved, spent, place)
"""
_RESERVE = f"""
INSERT INTO kb_tally AS t (scope, scope_id, period, starts, unit, spent, reserved)
SELECT k.scope, k.scope_id, k.period, k.starts, k.unit, k.spent, k.reserved
FROM {_KEYS} ORDER BY k.place
ON CONFLICT (scope, scope_id, period, starts, unit)
DO UPDATE SET reserved = t.reserved + EXCLUDED.reserved
RETURNING scope, scope_id, period, starts, unit, spent, reserved
"""  # noqa: S608 - put together from our own words; what people enter travels as parameters
_SETTLE = f"""
WITH held AS MATERIALIZED (
  SELECT t.id, k.reserved, k.spent FROM {_KEYS}
  JOIN kb_tally t USING (scope, scope_id, period, starts, unit)
  ORDER BY k.place FOR UPDATE OF t
)
UPDATE kb_tally t SET reserved = t.reserved - held.reserved, spent = t.spent + held.spent
FROM held WHERE t.id = held.id
"""  # noqa: S608
_EXPENSE = """
INSERT INTO kb_expense AS e (day, connection_id, connection_name, department_id, model, reference,
  currency, calls, unknown_calls, input_tokens, output_tokens, cost)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (day, connection_id, department_id, model, reference, currency) DO UPDATE SET
  connection_name = EXCLUDED.connection_name,
  calls = e.calls + EXCLUDED.calls,
  unknown_calls = e.unknown_calls + EXCLUDED.unknown_calls,
  input_tokens = e.input_tokens + EXCLUDED.input_tokens,
  output_tokens = e.output_tokens + EXCLUDED.output_tokens,
  cost = e.cost + EXCLUDED.cost
"""


def _reserve_in_tallies(purse: Purse, estimate: Estimate, day: date) -> dict[_Place, _State]:
    places = _places(purse.connection_id, purse.department_id, day, purse.currency)
    asked = [Decimal(estimate.calls) if p.unit == CALLS else estimate.money for p in places]
    with database.cursor() as cursor:
        cursor.execute(_RESERVE, _parameters(places, asked, [Decimal(0)] * len(places)))
        rows = cursor.fetchall()
    return {_Place(*row[:5]): _State(*row[5:]) for row in rows}


def _book(reservation: Reservation, usage: Usage) -> None:
    """Move the tallies from reserved to spent, and write the expense down."""
    places = _places(
        reservation.connection_id,
        reservation.department_id,
        reservation.day,
        reservation.currency,
    )
    reserved = [
        Decimal(reservation.calls) if p.unit == CALLS else reservation.money for p in places
    ]
    spent = [Decimal(usage.calls) if p.unit == CALLS else usage.money for p in places]
    with database.cursor() as cursor:
        cursor.execute(_SETTLE, _parameters(places, reserved, spent))
        if usage.calls:
            cursor.execute(_EXPENSE, _expense(reservation, usage))


def _expense(reservation: Reservation, usage: Usage) -> list[Any]:
    return [
        reservation.day,
        reservation.connection_id,
        reservation.connection_name,
        reservation.department_id,
        reservation.model,
        reservation.reference,
        reservation.currency,
        usage.calls,
        usage.unknown_calls,
        usage.input_tokens,
        usage.output_tokens,
        usage.money if reservation.currency else Decimal(0),
    ]


def _parameters(
    places: Sequence[_Place], reserved: Sequence[Decimal], spent: Sequence[Decimal]
) -> list[Any]:
    return [
        [p.scope for p in places],
        [p.scope_id for p in places],
        [p.period for p in places],
        [p.starts for p in places],
        [p.unit for p in places],
        list(reserved),
        list(spent),
    ]
