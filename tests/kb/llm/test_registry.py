import asyncio
from datetime import UTC, datetime

import pytest

from kb.core.http import EgressPolicy, HttpClient
from kb.llm import registry
from kb.llm.anthropic import Anthropic
from kb.llm.base import ApiKey, RetryPolicy
from kb.llm.openai_compatible import OpenAICompatible, Quirks
from kb.llm.registry import Setup, UnknownProvider, build, normalise
from kb.llm.simulated import Script, SimulatedProvider
from kb.llm.wire import InvalidConnection

HTTP = HttpClient(EgressPolicy())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("openai_compatible", "openai_compatible"),
        ("openai-compatible", "openai_compatible"),
        (" OpenAI-Compatible ", "openai_compatible"),
        ("anthropic", "anthropic"),
        ("simulated", "simulated"),
    ],
)
def test_a_name_has_several_spellings(written, name):
    assert normalise(written) == name


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(
        UnknownProvider,
        match="'openai'; known: openai_compatible, anthropic, simulated",
    ):
        normalise("openai")


def test_a_connection_becomes_the_provider_it_names():
    setup = Setup(
        HTTP,
        base_url=" https://h.example/v1 ",
        key=ApiKey("secret", "h.example:443"),
        quirks={"auth_header": "api-key"},
        retry=RetryPolicy(attempts=1),
    )

    provider = build("openai-compatible", setup)

    assert isinstance(provider, OpenAICompatible)
    assert provider.quirks == Quirks(auth_header="api-key")
    assert (provider.wire.base_url, provider.wire.key, provider.wire.retry) == (
        "https://h.example/v1",
        setup.key,
        RetryPolicy(attempts=1),
    )


def test_an_empty_base_url_is_the_vendors_own():
    openai, anthropic = build("openai_compatible", Setup(HTTP)), build("anthropic", Setup(HTTP))

    assert isinstance(anthropic, Anthropic)
    assert (openai.wire.base_url, anthropic.wire.base_url) == (
        "https://api.openai.com/v1",
        "https://api.anthropic.com/v1",
    )


def test_the_simulated_provider_gets_its_scripts_and_clock():
    scripts = {"x": Script(match="x", answers=("y",))}

    def clock():
        return datetime(2026, 1, 1, tzinfo=UTC)

    assert build("simulated", Setup(HTTP, scripts=scripts, now=clock)) == SimulatedProvider(
        scripts, clock
    )


@pytest.mark.parametrize(
    ("name", "quirks", "complaint"),
    [
        ("anthropic", {"seed_field": "seed"}, "'seed_field' is not a setting"),
        ("anthropic", {"api_version": "2024"}, "known: 2023-06-01, 2026-10-21"),
        ("openai-compatible", {"api_version": "2023-06-01"}, "'api_version' is not a setting"),
    ],
)
def test_settings_a_provider_does_not_have_are_refused_when_saved_and_when_used(
    name, quirks, complaint
):
    with pytest.raises(InvalidConnection, match=complaint):
        registry.check_quirks(name, quirks)
    with pytest.raises(InvalidConnection, match=complaint):
        build(name, Setup(HTTP, quirks=quirks))


def test_settings_a_provider_has_are_fine():
    registry.check_quirks("anthropic", {"auth_header": "bearer"})
    registry.check_quirks("openai_compatible", {"auth_header": "api-key"})
    registry.check_quirks("simulated", {"scripts": {}})


def test_every_known_provider_can_list_models_and_complete():
    for name in registry.FACTORIES:
        provider = build(name, Setup(HTTP))

        assert asyncio.iscoroutinefunction(provider.complete)
        assert asyncio.iscoroutinefunction(provider.models)
