"""The providers this product knows, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kb.core.http import HttpClient
from kb.llm import anthropic, openai_compatible
from kb.llm.base import JSON, ApiKey, Provider, RetryPolicy
from kb.llm.simulated import Script, SimulatedProvider
from kb.llm.wire import Wire


class UnknownProvider(ValueError):
    """No provider goes by this name."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a provider may need; each takes what concerns it.

    ``base_url`` empty means the vendor's own. ``quirks`` are those of the
    provider's own ``Quirks``; ``scripts`` those of `kb.llm.simulated.SimulatedProvider`.
    """

    http: HttpClient
    base_url: str = ""
    key: ApiKey | None = None
    quirks: Mapping[str, JSON] = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    scripts: Mapping[str, Script] = field(default_factory=dict)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


def _openai_compatible(setup: Setup) -> Provider:
    return openai_compatible.OpenAICompatible(
        _wire(setup, openai_compatible.DEFAULT_BASE_URL),
        openai_compatible.Quirks.from_dict(setup.quirks),
    )


def _anthropic(setup: Setup) -> Provider:
    return anthropic.Anthropic(
        _wire(setup, anthropic.DEFAULT_BASE_URL), anthropic.Quirks.from_dict(setup.quirks)
    )


def _simulated(setup: Setup) -> Provider:
    return SimulatedProvider(setup.scripts, setup.now)


FACTORIES: Mapping[str, Callable[[Setup], Provider]] = {
    "openai_compatible": _openai_compatible,
    "anthropic": _anthropic,
    "simulated": _simulated,
}


def normalise(name: str) -> str:
    """The name as it is stored: ``openai-compatible`` is ``openai_compatible``.

    Raises UnknownProvider listing the known names.
    """
    normal = name.strip().lower().replace("-", "_")
    if normal not in FACTORIES:
        raise UnknownProvider(f"No provider is named {name!r}; known: {', '.join(FACTORIES)}.")
    return normal


def check_quirks(name: str, quirks: Mapping[str, JSON]) -> None:
    """Whether these settings fit the provider. Raises UnknownProvider and InvalidConnection."""
    checks: Mapping[str, Callable[[Mapping[str, JSON]], object]] = {
        "openai_compatible": openai_compatible.Quirks.from_dict,
        "anthropic": anthropic.Quirks.from_dict,
    }
    check = checks.get(normalise(name))
    if check:
        check(quirks)


def build(name: str, setup: Setup) -> Provider:
    """The provider of a connection. Raises UnknownProvider and InvalidConnection."""
    return FACTORIES[normalise(name)](setup)


def _wire(setup: Setup, default_base_url: str) -> Wire:
    return Wire(
        http=setup.http,
        base_url=setup.base_url.strip() or default_base_url,
        key=setup.key,
        retry=setup.retry,
        now=setup.now,
    )
