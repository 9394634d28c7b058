"""Reads about provider accounts and targets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Prefetch, QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotAllowed, NotFound
from kb.core.http import HttpClient
from kb.llm import clients, rules
from kb.llm.anthropic import DEFAULT_BASE_URL as ANTHROPIC_URL
from kb.llm.base import LLMError, Message, ModelInfo, Reply, Request, RetryPolicy, host_of
from kb.llm.models import Connection, Price, Target
from kb.llm.openai_compatible import DEFAULT_BASE_URL as OPENAI_URL

DEFAULT_URLS: Mapping[str, str] = {
    "openai_compatible": OPENAI_URL,
    "anthropic": ANTHROPIC_URL,
}
"""Where a connection without an address of its own leads."""
TRIAL_SECONDS = 20.0
"""A person waits for a trial; a model that needs longer for one word is not fit for use."""
TRIAL_QUESTION = "Answer with one word: ready"
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
    """What a provider said when it was tried: the models it offers or an answer, else an error."""

    models: Sequence[ModelInfo] = ()
    reply: Reply | None = None
    error: LLMError | None = None


async def try_connection(connection: Connection, http: HttpClient) -> Trial:
    """Ask the provider for its models; never raises LLMError."""
    try:
        provider = clients.open_provider(connection, http, _TRIAL_PATIENCE)
        return Trial(models=await provider.models())
    except LLMError as error:
        return Trial(error=error)


async def try_target(target: Target, http: HttpClient, *, now: datetime) -> Trial:
    """Ask the model for one word, which may cost a few tokens; never raises LLMError."""
    parameters = clients.parameters_for(target, {}, slot=now, repeat=0)
    request = Request((Message("user", TRIAL_QUESTION),), target.model, parameters)
    try:
        provider = clients.open_provider(target.connection, http, _TRIAL_PATIENCE)
        deadline = time.monotonic() + TRIAL_SECONDS
        return Trial(reply=await provider.complete(request, deadline=deadline))
    except LLMError as error:
        return Trial(error=error)


def targets() -> QuerySet[Target]:
    """What prompts can be re-run against: the targets of connections in use."""
    return Target.objects.select_related("connection").filter(connection__is_enabled=True)


def target_by_id(pk: int) -> Target:
    """One target in use. Raises NotFound."""
    found = targets().filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no target %(pk)s in use.") % {"pk": pk})
    return found


def price_of(target: Target) -> Price | None:
    """The price entered for the target's model, if any."""
    return Price.objects.filter(connection=target.connection_id, model=target.model).first()
