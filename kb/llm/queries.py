"""Reads about provider accounts and targets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from asgiref.sync import sync_to_async
from django.db.models import Count, F, Prefetch, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotAllowed, NotFound
from kb.core.http import HttpClient
from kb.llm import catalogue, clients, rules, spending
from kb.llm.anthropic import DEFAULT_BASE_URL as ANTHROPIC_URL
from kb.llm.base import (
    EmbeddingRequest,
    Embeddings,
    LLMError,
    Message,
    ModelInfo,
    Reply,
    Request,
    RetryPolicy,
    host_of,
)
from kb.llm.breaker import State
from kb.llm.models import (
    CALLS,
    Cap,
    Connection,
    Expense,
    KnownModel,
    Price,
    Retirement,
    Tally,
    Target,
)
from kb.llm.openai_compatible import DEFAULT_BASE_URL as OPENAI_URL
from kb.llm.paced import traffic

DEFAULT_URLS: Mapping[str, str] = {
    "openai_compatible": OPENAI_URL,
    "anthropic": ANTHROPIC_URL,
}
"""Where a connection without an address of its own leads."""
TRIAL_SECONDS = 20.0
"""A person waits for a trial; a model that needs longer for one word is not fit for use."""
TRIAL_QUESTION = "Answer with one word: ready"
TRIAL_OUTPUT_TOKENS = 100
"""Of an answer of one word; models that think first write more, and are charged for it."""
TRIAL_REFERENCE = "trial"
_TRIAL_PATIENCE = RetryPolicy(attempts=1, attempt_timeout=TRIAL_SECONDS)


def connections(person: User) -> QuerySet[Connection]:
    """All provider accounts. Raises NotAllowed for who may not handle them."""
    if not rules.can_manage(person):
        raise NotAllowed(_("Only a company-wide administrator can handle provider accounts."))
    return Connection.objects.all()


def connection_by_id(person: User, pk: int) -> Connection:
    """One account. Raises NotAllowed, NotFound."""
    found = connections(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no connection %(pk)s.") % {"pk": pk})
    return found


def connections_with_targets(person: User) -> QuerySet[Connection]:
    """All provider accounts with `targets`, each with `monitor_count`. Raises NotAllowed."""
    return connections(person).prefetch_related(Prefetch("targets", queryset=_counted_targets()))


def targets_of(connection: Connection) -> list[Target]:
    """The targets of one account, each with `monitor_count`, how many monitors ask it."""
    return list(_counted_targets().filter(connection=connection))


def monitor_count(connection: Connection) -> int:
    """How many monitors ask a model of this account; as long as there are any, it stays."""
    return int(connection.targets.aggregate(count=Count("monitors"))["count"])


def _counted_targets() -> QuerySet[Target]:
    return Target.objects.annotate(monitor_count=Count("monitors")).order_by("model", "pk")


def prices_of(connection: Connection) -> Mapping[str, Price]:
    """Model name to its price, for the models of this account that have one."""
    return {price.model: price for price in connection.prices.order_by("model")}


def host(connection: Connection) -> str:
    """``host:port`` a connection leads to; '' for one that leads nowhere."""
    address = connection.base_url or DEFAULT_URLS.get(connection.provider, "")
    try:
        return host_of(address)
    except ValueError:
        return ""


@dataclass(frozen=True)
class Trial:
    """What a provider said when it was tried: its models, an answer or vectors, else an error."""

    models: Sequence[ModelInfo] = ()
    reply: Reply | None = None
    embeddings: Embeddings | None = None
    error: LLMError | None = None


async def try_connection(connection: Connection, http: HttpClient) -> Trial:
    """Ask the provider for its models, and remember them; never raises LLMError.

    An open circuit breaker does not stop a person; an answer closes it.
    """
    try:
        provider = clients.open_provider(connection, http, _TRIAL_PATIENCE, is_trial=True)
        listed = await provider.models()
    except LLMError as error:
        return Trial(error=error)
    await sync_to_async(catalogue.note_listing)(connection, listed, now=timezone.now())
    return Trial(models=listed)


async def try_target(target: Target, http: HttpClient, *, now: datetime) -> Trial:
    """Ask the model for one word, or for the vector of one; never raises LLMError.

    That may cost a few tokens. The call keeps to the limits and the budgets like any other, and is
    never repeated.
    """
    try:
        provider = clients.open_provider(target.connection, http, _TRIAL_PATIENCE, is_trial=True)
        price = await sync_to_async(price_of)(target)
        purse = spending.purse_for(
            target,
            department_id=None,
            reference=TRIAL_REFERENCE,
            price=price,
            usual_output=TRIAL_OUTPUT_TOKENS,
        )
        metered = spending.Metered(provider, purse, timezone.now)
        deadline = time.monotonic() + TRIAL_SECONDS
        if target.is_embedding:
            texts = EmbeddingRequest((TRIAL_QUESTION,), target.model, target.parameters)
            return Trial(embeddings=await metered.embed(texts, deadline=deadline))
        parameters = clients.parameters_for(target, {}, slot=now, repeat=0)
        question = Request((Message("user", TRIAL_QUESTION),), target.model, parameters)
        return Trial(reply=await metered.complete(question, deadline=deadline))
    except LLMError as error:
        return Trial(error=error)


def targets_in_use() -> QuerySet[Target]:
    """The targets of connections in use, whatever they are for."""
    return Target.objects.select_related("connection").filter(connection__is_enabled=True)


def targets() -> QuerySet[Target]:
    """What prompts can be re-run against: the models in use that answer."""
    return targets_in_use().filter(is_embedding=False)


def embedding_targets() -> QuerySet[Target]:
    """The models in use that turn texts into vectors."""
    return targets_in_use().filter(is_embedding=True)


def target_by_id(pk: int) -> Target:
    """One model in use that answers. Raises NotFound."""
    return _one(targets(), pk)


def any_target_by_id(pk: int) -> Target:
    """One target in use, whatever it is for. Raises NotFound."""
    return _one(targets_in_use(), pk)


def _one(rows: QuerySet[Target], pk: int) -> Target:
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no target %(pk)s in use.") % {"pk": pk})
    return found


def price_of(target: Target) -> Price | None:
    """The price entered for the target's model, if any."""
    return Price.objects.filter(connection=target.connection_id, model=target.model).first()


# --- Health -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Health:
    """How a connection is doing at this moment, for all workers together.

    ``state`` closed: calls go. Open: none goes until ``until``. Half open: one is trying.
    ``pause`` are the seconds the provider asked to wait, ``gap`` those kept between two calls.
    """

    state: State
    failures: int
    cause: str
    since: datetime | None
    until: datetime | None
    pause: float
    gap: float
    under_way: int


def health(connection: Connection, *, now: datetime) -> Health:
    """What the connection's page shows of its breaker and its pace."""
    known = traffic()
    breaker = known.breakers.read(connection.pk)
    look = known.limits.look(clients.rates_of(connection))
    return Health(
        state=breaker.state(now.timestamp()),
        failures=breaker.failures,
        cause=breaker.cause,
        since=_moment(breaker.opened),
        until=_moment(breaker.until),
        pause=look.pause,
        gap=look.gap,
        under_way=look.under_way,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


# --- Budgets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class CapUse:
    """A cap and its period so far, in the unit of the cap. ``frees`` begins the next period."""

    cap: Cap
    spent: Decimal
    reserved: Decimal
    frees: date

    @property
    def left(self) -> Decimal:
        """What may still be reserved; never below 0, though a lowered cap may be passed already."""
        return max(self.cap.most - self.spent - self.reserved, Decimal(0))


def caps(person: User, *, now: datetime) -> list[CapUse]:
    """All caps with what their period has cost so far. Raises NotAllowed."""
    connections(person)
    day = spending.today(now)
    starts = {spending.period_start(period, day) for period in ("day", "month")}
    tallies = {
        (row.scope, row.scope_id, row.period, row.starts, row.unit): row
        for row in Tally.objects.filter(starts__in=starts)
    }
    found = []
    for cap in Cap.objects.select_related("connection", "department"):
        tally = tallies.get(spending.tally_key(cap, day))
        found.append(
            CapUse(
                cap=cap,
                spent=tally.spent if tally else Decimal(0),
                reserved=tally.reserved if tally else Decimal(0),
                frees=spending.period_end(cap.period, day),
            )
        )
    return found


def caps_of(person: User, connection: Connection, *, now: datetime) -> list[CapUse]:
    """The caps of one connection alone, with what their period has cost so far. Raises NotAllowed."""
    return [use for use in caps(person, now=now) if use.cap.connection_id == connection.pk]


def currencies() -> set[str]:
    """What prices and caps are in, CALLS included."""
    return {
        *Price.objects.values_list("currency", flat=True),
        *Cap.objects.values_list("unit", flat=True),
    }


def uncounted(connection: Connection) -> list[str]:
    """Models of a connection that are not asked because no cap can count them, for want of a price.

    See `spending.reserve`: a call that none of the caps on it can count would escape them all. The
    caps of departments are left out; whose calls they are is known only when they are made.
    """
    bounds = Cap.objects.filter(Q(connection=None) | Q(connection=connection), department=None)
    units = set(bounds.values_list("unit", flat=True))
    if not units or CALLS in units:
        return []
    prices = prices_of(connection)
    is_free = connection.provider == clients.SIMULATED
    models = connection.targets.order_by("model").values_list("model", flat=True).distinct()
    return [
        model
        for model in models
        if (prices[model].currency not in units if model in prices else not is_free)
    ]


def cap_by_id(person: User, pk: int) -> Cap:
    """One cap. Raises NotAllowed, NotFound."""
    connections(person)
    found = Cap.objects.select_related("connection", "department").filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no cap %(pk)s.") % {"pk": pk})
    return found


def expenses(person: User, *, since: date, until: date) -> QuerySet[Expense]:
    """What was spent on the days from `since` to `until`, both included. Raises NotAllowed.

    A row is one purpose (such as run:12) on one day with one model.
    """
    connections(person)
    return Expense.objects.filter(day__range=(since, until))


GROUPINGS: Mapping[str, str] = {
    "day": "day",
    "connection": "connection_id",
    "department": "department_id",
    "model": "model",
}
"""What expenses can be summed by, and the column that tells it."""


@dataclass(frozen=True)
class ExpenseSum:
    """A line of the spending page: calls, tokens and cost of one group in one currency.

    `group` is a day, a model, or the id of a connection or department, None for no department.
    Calls without a known price have the currency ''.
    """

    group: object
    currency: str
    calls: int
    unknown_calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal


def expense_sums(rows: QuerySet[Expense], *, by: str) -> list[ExpenseSum]:
    """Sums by one of GROUPINGS, dearest first; by day, latest first."""
    sums = (
        rows.order_by()
        .values("currency", group=F(GROUPINGS[by]))
        .annotate(
            Sum("calls"),
            Sum("unknown_calls"),
            Sum("input_tokens"),
            Sum("output_tokens"),
            Sum("cost"),
        )
        .order_by(*(("-group",) if by == "day" else ("-cost__sum", "-calls__sum", "group")))
    )
    return [
        ExpenseSum(
            group=row["group"],
            currency=row["currency"],
            calls=row["calls__sum"],
            unknown_calls=row["unknown_calls__sum"],
            input_tokens=row["input_tokens__sum"],
            output_tokens=row["output_tokens__sum"],
            cost=row["cost__sum"],
        )
        for row in sums
    ]


# --- Ends of models ---------------------------------------------------------------------------


def retirements(person: User) -> QuerySet[Retirement]:
    """The ends of models that people entered, soonest first. Raises NotAllowed."""
    connections(person)
    return Retirement.objects.select_related("connection")


def retirement_by_id(person: User, pk: int) -> Retirement:
    """One of them. Raises NotAllowed, NotFound."""
    found = retirements(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no retirement %(pk)s.") % {"pk": pk})
    return found


def model_names() -> list[str]:
    """Names of models that are asked or that a provider has listed, as suggestions for a form."""
    asked = Target.objects.values_list("model", flat=True)
    listed = KnownModel.objects.values_list("model", flat=True)
    return sorted({*asked, *listed})


def listed_connections() -> list[int]:
    """Ids of the connections whose provider can be asked for its models."""
    rows = Connection.objects.filter(is_enabled=True).exclude(provider=clients.SIMULATED)
    return list(rows.values_list("pk", flat=True))
