"""From a stored connection to a provider that can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kb.core import secrets
from kb.core.http import HttpClient
from kb.llm import simulated
from kb.llm.base import JSON, ApiKey, LLMError, Provider, RetryPolicy
from kb.llm.limits import Queue, Rates
from kb.llm.models import Connection, Price, Target
from kb.llm.paced import Paced, WatchedClient, traffic
from kb.llm.registry import Setup, build
from kb.llm.simulated import Script
from kb.llm.wire import InvalidConnection

SIMULATED = "simulated"
_MILLION = Decimal(1_000_000)


def open_provider(
    connection: Connection,
    http: HttpClient,
    retry: RetryPolicy | None = None,
    *,
    is_trial: bool = False,
) -> Provider:
    """The provider of a connection, its key unsealed for this process only.

    It keeps to the limits of the connection, together with all workers, and heeds the circuit
    breaker unless a person tries the connection. A simulated one asks nobody and needs neither. For
    use in one event loop.

    Raises LLMError: 'cancelled' when the connection is switched off, 'auth' when the key cannot be
    opened or belongs to another host, 'bad_request' when its settings cannot work.
    """
    if not connection.is_enabled:
        raise LLMError(
            "cancelled", f"The connection {connection.name} is switched off.", permanent=True
        )
    known = traffic()
    queue = Queue(known.limits, rates_of(connection))
    try:
        if connection.provider == SIMULATED:
            return build(SIMULATED, Setup(http=http, scripts=scripts_from(connection.quirks)))
        provider = build(
            connection.provider,
            Setup(
                http=WatchedClient(http, queue, known.breakers),
                base_url=connection.base_url,
                key=_key(connection),
                quirks=connection.quirks,
                retry=retry or RetryPolicy(),
            ),
        )
    except secrets.Undecryptable as error:
        raise LLMError(
            "auth",
            f"The key of {connection.name} cannot be opened; enter it again.",
            permanent=True,
        ) from error
    except InvalidConnection as error:
        raise LLMError(
            "auth" if "key" in str(error) else "bad_request", str(error), permanent=True
        ) from error
    return Paced(provider, queue, known.breakers, connection.name, heeds_breaker=not is_trial)


def hurry(connection_id: int) -> None:
    """Somebody asks for answers now: the next call tries a connection that is being left alone."""
    traffic().breakers.hurry(connection_id)


def rates_of(connection: Connection) -> Rates:
    """The limits entered for a connection."""
    return Rates(
        connection_id=connection.pk,
        calls_at_once=connection.calls_at_once,
        requests_per_minute=connection.requests_per_minute,
        tokens_per_minute=connection.tokens_per_minute,
    )


def parameters_for(
    target: Target, own: Mapping[str, JSON], *, slot: datetime, repeat: int
) -> dict[str, JSON]:
    """What travels with a request: the version's parameters, overruled by the target's.

    A simulated model is told the night and the repeat, so that its history can be replayed.
    """
    parameters: dict[str, JSON] = {**own, **target.parameters}
    if target.connection.provider == SIMULATED:
        parameters |= {
            simulated.DATE_PARAMETER: slot.date().isoformat(),
            simulated.REPEAT_PARAMETER: repeat,
        }
    return parameters


def cost(
    price: Price | None, input_tokens: int | None, output_tokens: int | None
) -> Decimal | None:
    """What an answer cost, in the price's currency; None when price or usage are unknown."""
    if price is None or input_tokens is None or output_tokens is None:
        return None
    return (
        price.input_per_million * input_tokens + price.output_per_million * output_tokens
    ) / _MILLION


def _key(connection: Connection) -> ApiKey | None:
    if not connection.sealed_key:
        return None
    return ApiKey(secret=secrets.unseal(connection.sealed_key), host=connection.key_host)


def scripts_from(quirks: Mapping[str, Any]) -> Mapping[str, Script]:
    """The scripts in the quirks of a simulated connection. Raises InvalidConnection naming a bad one."""
    scripts = quirks.get("scripts", {})
    unknown = sorted(quirks.keys() - {"scripts"})
    if unknown:
        raise InvalidConnection(f"{unknown[0]!r} is not known here; use: scripts.")
    if not isinstance(scripts, Mapping):
        raise InvalidConnection("The scripts are an object: a name for each script.")
    return {name: _script(name, item) for name, item in scripts.items()}


def _script(name: str, item: Any) -> Script:
    try:
        after = item.get("after")
        if not isinstance(item["answers"], list):
            raise TypeError("One text would be read sign by sign.")
        return Script(
            match=_text(item["match"]),
            answers=tuple(_text(answer) for answer in item["answers"]),
            after=date.fromisoformat(after) if after else None,
            answers_after=tuple(_text(answer) for answer in item.get("answers_after", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidConnection(
            f"The script {name!r} needs a match and a list of answers, and with an after "
            f"(a date such as 2026-03-01) a list of answers_after."
        ) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text.")
    return value
