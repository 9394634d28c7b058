"""Runs with answers that a test decides, for the pages that show them."""

from __future__ import annotations

import re
from html import unescape

from asgiref.sync import async_to_sync

from kb.drift import actions, assessing, runs
from kb.drift.actions import CaseFields
from kb.drift.models import Run
from kb.llm.base import LLMError, Reply
from tests.factories import NOW, make_monitor


class Answering:
    """A provider that gives each prompt the answer of a rule: a text, a reply or an error."""

    def __init__(self, answer):
        self.answer = answer

    async def complete(self, request, *, deadline, gate=None):
        if gate:
            await gate(1)
        answer = self.answer
        if callable(answer):
            answer = answer(request.messages[-1].content)
        if isinstance(answer, LLMError):
            raise answer
        return answer if isinstance(answer, Reply) else reply(answer)


def reply(text, finish="stop", model="served-model"):
    return Reply(
        text=text,
        finish=finish,
        model=model,
        fingerprint="fp_1",
        input_tokens=1_200,
        output_tokens=50,
        request_id="req",
        latency_ms=1_400,
        raw_finish=finish,
    )


def failure(kind, message="It said no."):
    return LLMError(kind, message, permanent=True, attempts=1)


def play(run, answer, now=NOW):
    """Claim, execute and compare one run; the run as it is afterwards."""
    claimed = runs.claim(run.pk, now=now)
    async_to_sync(runs.execute)(
        claimed,
        provider=Answering(answer),
        clock=lambda: now,
        confirm=assessing.confirmation_wanted,
    )
    assessing.assess(run.pk, now=now)
    return Run.objects.get(pk=run.pk)


def yes_cases(count):
    """Cases 0, 1, …; the answer must contain yes."""
    return [
        CaseFields(f"number {n}", {"n": str(n)}, [{"type": "contains", "value": "yes"}])
        for n in range(count)
    ]


def monitored(count=3, answer="yes", **fields):
    """A monitor whose baseline holds five of these answers for each case."""
    monitor = make_monitor(cases=yes_cases(count), **fields)
    play(actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW), answer)
    monitor.refresh_from_db()
    return monitor


def rerun(monitor, answer, now):
    """One more run with this answer; the monitor is fresh afterwards."""
    ended = play(actions.request_run(monitor=monitor, by=monitor.owner, now=now), answer, now)
    monitor.refresh_from_db()
    return ended


def nightly(monitor, answer, now):
    """One scheduled run with this answer: unlike `rerun`, it is confirmed by a run of its own."""
    run = Run.objects.create(monitor=monitor, slot=now, baseline=monitor.baseline, created=now)
    ended = play(run, answer, now)
    monitor.refresh_from_db()
    return ended


def words(response):
    """The text of a page's content, without markup."""
    html = response.content.decode()
    main = re.search(r"<main.*?</main>", html, re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main[0] if main else html)).split())
