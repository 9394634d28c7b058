import asyncio
import random
import time
from datetime import UTC, datetime

import pytest

from kb.core.http import EgressPolicy, HttpClient
from kb.llm.anthropic import Anthropic
from kb.llm.base import ApiKey, EmbeddingRequest, Message, Request, RetryPolicy, host_of
from kb.llm.openai_compatible import OpenAICompatible
from kb.llm.wire import Wire
from tests.fakes import FakeVendor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def vendor():
    with FakeVendor() as server:
        yield server


class Desk:
    """Asks one provider, on one event loop per question, and notes every wait instead of waiting."""

    def __init__(self, vendor, adapter, *, secret="", retry=None, clock=time.monotonic, **options):
        self.vendor = vendor
        self.adapter = adapter
        self.secret = secret
        self.retry = retry or RetryPolicy(first_wait=1.0)
        self.clock = clock
        self.options = options
        self.base_url = vendor.url
        self.policy = EgressPolicy.parse("127.0.0.1")
        self.waits = []

    def provider(self, http):
        key = ApiKey(self.secret, host_of(self.base_url)) if self.secret else None
        wire = Wire(
            http,
            self.base_url,
            key,
            retry=self.retry,
            clock=self.clock,
            sleep=self._note,
            now=lambda: NOW,
            rng=random.Random(1),
        )
        return self.adapter(wire, **self.options)

    def ask(self, text="Bonjour", *, model="model-a", seconds=30.0, gate=None, **parameters):
        request = Request((Message("user", text),), model, parameters)
        return self.send(request, seconds=seconds, gate=gate)

    def send(self, request, *, seconds=30.0, gate=None):
        async def once():
            async with HttpClient(self.policy) as http:
                deadline = self.clock() + seconds
                return await self.provider(http).complete(request, deadline=deadline, gate=gate)

        return asyncio.run(once())

    def embed(self, *texts, model="model-a", seconds=30.0, gate=None, **parameters):
        request = EmbeddingRequest(texts, model, parameters)

        async def once():
            async with HttpClient(self.policy) as http:
                deadline = self.clock() + seconds
                return await self.provider(http).embed(request, deadline=deadline, gate=gate)

        return asyncio.run(once())

    def models(self):
        async def once():
            async with HttpClient(self.policy) as http:
                return await self.provider(http).models()

        return asyncio.run(once())

    async def _note(self, seconds):
        self.waits.append(seconds)


@pytest.fixture
def openai(vendor):
    return Desk(vendor, OpenAICompatible)


@pytest.fixture
def anthropic(vendor):
    return Desk(vendor, Anthropic)


@pytest.fixture(params=[OpenAICompatible, Anthropic])
def desk(request, vendor):
    """Either dialect, for what both must do alike."""
    return Desk(vendor, request.param)
