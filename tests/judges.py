"""Models that judge answers as a test decides, and monitors whose cases need them."""

from __future__ import annotations

import re

from asgiref.sync import async_to_sync

from kb.drift import actions, anchors, assessing, graders, judging, runs
from kb.drift.actions import CaseFields
from kb.drift.grader_models import AnchorLook, Grader
from kb.drift.models import Run
from kb.llm.base import Embeddings, LLMError, Reply
from kb.llm.models import Connection
from tests.factories import NOW, make_admin, make_connection, make_monitor, make_target
from tests.pages.reruns import Answering

RUBRIC = {"type": "llm-rubric", "value": "Is polite."}
SIMILAR = {"type": "similar", "value": "yes", "threshold": 0.9}
_PARTS = re.compile(
    r"(?s)(==\S+==) (REQUIREMENT|TEXT) BEGINS\n(.*?)\n\1 \2 ENDS",
)


class Judge:
    """A provider that votes by a rule, told the requirement and the text, and keeps what it was asked.

    The rule gives yes, no, another text, a Reply or an LLMError.
    """

    def __init__(self, says="yes"):
        self.says = says
        self.asked = []

    async def complete(self, request, *, deadline, gate=None):
        if gate:
            await gate(1)
        found = {kind: text for _, kind, text in _PARTS.findall(request.messages[-1].content)}
        self.asked.append((found["REQUIREMENT"], found["TEXT"]))
        said = self.says
        if callable(said):
            said = said(found["REQUIREMENT"], found["TEXT"])
        if isinstance(said, BaseException):
            raise said
        return said if isinstance(said, Reply) else vote(said)


def vote(said, **fields):
    usual = {
        "text": f'{{"verdict": "{said}"}}' if said in ("yes", "no") else said,
        "finish": "stop",
        "model": "judge",
        "fingerprint": None,
        "input_tokens": 200,
        "output_tokens": 10,
        "request_id": None,
        "latency_ms": 5,
        "raw_finish": "stop",
    }
    return Reply(**{**usual, **fields})


class Embedder:
    """A provider whose vectors are given by a rule on the text."""

    def __init__(self, vector=lambda text: (1.0, 0.0)):
        self.vector = vector
        self.asked = []

    async def embed(self, request, *, deadline, gate=None):
        if gate:
            await gate(1)
        self.asked.append(request.texts)
        return Embeddings(tuple(map(self.vector, request.texts)), request.model, 20)


def failure(kind="timeout", *, permanent=False):
    return LLMError(kind, f"{kind} happened", permanent=permanent, attempts=1)


def chosen(role="judge", *, now=NOW, by=None, connection=None, model=""):
    """A grader on a connection of its own."""
    by = by or make_admin()
    connection = connection or make_connection("openai_compatible", by)
    target = make_target(connection, model or role, is_embedding=role == "embeddings")
    return graders.choose_grader(role=role, target=target, by=by, now=now)


def access(*, judge=None, embedder=None, opens=None):
    """The way to these models; with `opens`, a call of it tells which provider."""

    def open_provider(connection: Connection):
        if opens is not None:
            return opens(connection)
        role = Grader.objects.get(target__connection=connection, ended=None).role
        return judge if role == "judge" else embedder

    return judging.Access(open_provider)


def rubric_cases(count=2, *rules):
    """Cases 0, 1, …; each with these rules, or with the usual rubric."""
    return [CaseFields(f"case {n}", {"n": str(n)}, list(rules or [RUBRIC])) for n in range(count)]


def play(run, answer="yes", *, way=None, now=NOW):
    """Claim, execute and compare one run; the run as it is afterwards."""
    execute(run, answer, way=way, now=now)
    assessing.assess(run.pk, now=now)
    return Run.objects.get(pk=run.pk)


def execute(run, answer="yes", *, way=None, now=NOW):
    claimed = runs.claim(run.pk, now=now)
    provider = answer if hasattr(answer, "complete") else Answering(answer)
    async_to_sync(runs.execute)(
        claimed,
        provider=provider,
        clock=lambda: now,
        confirm=assessing.confirmation_wanted,
        access=way,
    )


def monitored(count=2, *rules, answer="yes", way=None, now=NOW, **fields):
    """A monitor with a recorded baseline."""
    monitor = make_monitor(cases=rubric_cases(count, *rules), **fields)
    run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=now)
    play(run, answer, way=way, now=now)
    monitor.refresh_from_db()
    return monitor


def rerun(monitor, answer="yes", *, way=None, now):
    """One run by hand with this answer; the monitor is fresh afterwards."""
    run = actions.request_run(monitor=monitor, by=monitor.owner, now=now)
    ended = play(run, answer, way=way, now=now)
    monitor.refresh_from_db()
    return ended


def look(way, *, now):
    """The look that is due, taken; None when none is."""
    pk = anchors.queue_due_look(now=now)
    if pk is None:
        return None
    claimed = anchors.claim(pk, now=now)
    async_to_sync(anchors.execute)(claimed, access=way, clock=lambda: now)
    return AnchorLook.objects.get(pk=pk)


def by_length(_rubric, text):
    """A vote that depends on the text alone."""
    return "yes" if len(text) % 2 else "no"


def numbered(text):
    """To the prompt about a number, an answer as long as that: the votes by length differ."""
    number = int("".join(sign for sign in text if sign.isdigit()))
    return f"Answer {'x' * number}"
