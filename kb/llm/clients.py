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
from kb.llm.models import Connection, Price, Target
from kb.llm.registry import Setup, build
from kb.llm.simulated import Script
from kb.llm.wire import InvalidConnection

SIMULATED = "simulated"
_MILLION = Decimal(1_000_000)


def open_provider(
    connection: Connection, http: HttpClient, retry: RetryPolicy | None = None
) -> Provider:
    """The provider of a connection, its key unsealed for this process only.

    Raises LLMError: 'cancelled' when the connection is switched off, 'auth' when the key cannot be
    opened or belongs to another host, 'bad_request' when its settings cannot work.
    """
    if not connection.is_enabled:
        raise LLMError(
            "cancelled", f"The connection {connection.name} is switched off.", permanent=True
        )
    try:
        return build(
            connection.provider,
            Setup(
                http=http,
                base_url=connection.base_url,
                key=_key(connection),
                quirks={} if connection.provider == SIMULATED else connection.quirks,
                retry=retry or RetryPolicy(),
                scripts=_scripts(connection),
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


def _scripts(connection: Connection) -> Mapping[str, Script]:
    if connection.provider != SIMULATED:
        return {}
    return {name: _script(item) for name, item in connection.quirks.get("scripts", {}).items()}


def _script(item: Mapping[str, Any]) -> Script:
    after = item.get("after")
    return Script(
        match=item["match"],
        answers=tuple(item["answers"]),
        after=date.fromisoformat(after) if after else None,
        answers_after=tuple(item.get("answers_after", ())),
    )
