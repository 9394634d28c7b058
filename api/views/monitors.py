"""Monitors and their runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Prefetch, prefetch_related_objects
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.response import Response

from api.idempotency import once_per_key
from api.pagination import Pages
from api.schema import described, page_of
from api.serializers.drift import (
    AcceptSent,
    BaselineAsked,
    MonitorDetail,
    MonitorQuery,
    MonitorSent,
    MonitorShown,
    Queued,
    RunAsked,
    RunRow,
    RunShown,
)
from api.serializers.llm import TargetBrief
from api.views.base import Door
from api.views.prompts import version_asked
from kb.celery import app
from kb.drift import actions, queries
from kb.drift.actions import CaseFields
from kb.drift.models import Monitor, Run, TestCase
from kb.llm.queries import targets
from kb.prompts.models import Prompt, PromptVersion
from kb.tasks import drift as tasks

logger = logging.getLogger(__name__)

TAG = "Monitors"
_EXAMPLE = {
    "prompt": "review-an-nda",
    "version": None,
    "target": 1,
    "schedule": "nightly",
    "time_zone": "Europe/Paris",
    "baseline_repeats": 5,
    "cases": [
        {
            "name": "mutual",
            "variables": {"party": "ACME", "agreement": "…"},
            "assertions": [{"type": "icontains", "value": "term"}],
        }
    ],
}


class Monitors(Door):
    """The monitors."""

    @described(
        "List monitors",
        tag=TAG,
        asks=MonitorQuery,
        answers={200: page_of(MonitorShown)},
        is_paged=True,
    )
    def get(self, request: Request) -> Response:
        """Those of the prompts you may read."""
        asked = self.asked(MonitorQuery)
        rows = queries.visible_to(self.person)
        if asked.get("prompt"):
            rows = rows.filter(prompt__slug=asked["prompt"])
        if asked.get("status"):
            rows = rows.filter(status__in=asked["status"])
        pages = Pages()
        return pages.answer(_shown(self, pages.cut(rows, request)))

    @described(
        "Create a monitor",
        tag=TAG,
        sends=MonitorSent,
        answers={201: MonitorDetail},
        is_once_per_key=True,
        example=_EXAMPLE,
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """Promise to re-run a prompt you may edit. Nothing runs before its baseline is recorded."""
        sent = self.sent(MonitorSent)
        prompt = sent["prompt"]
        usual = ("schedule", "time_zone", "baseline_repeats")
        made = actions.create_monitor(
            prompt=prompt,
            version=_version_pinned(prompt, sent),
            target=sent["target"],
            cases=_cases(sent["cases"]),
            by=self.person,
            now=timezone.now(),
            **{name: sent[name] for name in usual if name in sent},
        )
        if sent.get("is_enabled") is False:
            made = actions.change_monitor(
                monitor=made, by=self.person, now=timezone.now(), is_enabled=False
            )
        response = _one(self, made.pk, status=201)
        response["Location"] = request.build_absolute_uri(reverse("api:monitor", args=[made.pk]))
        return response


class MonitorTargets(Door):
    """What a monitor can be pointed at."""

    @described(
        "List targets for monitors", tag=TAG, answers={200: page_of(TargetBrief)}, is_paged=True
    )
    def get(self, request: Request) -> Response:
        """The models of connections in use, for authors who set up monitors."""
        return self.page(TargetBrief, targets())


class OneMonitor(Door):
    """One monitor."""

    @described("Read a monitor", tag=TAG, answers={200: MonitorDetail}, refuses=(404,))
    def get(self, request: Request, pk: int) -> Response:
        """Its state, its cases, its baseline, its last run, and what it would notice."""
        return _one(self, pk)

    @described(
        "Change a monitor",
        tag=TAG,
        sends=MonitorSent,
        answers={200: MonitorDetail},
        refuses=(404,),
        example={"schedule": "weekdays"},
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Only what is sent changes. Another version, target or other cases end its baseline.

        Naming another version ends following the prompt; `version: null` or
        `follows_current: true` begins it again.
        """
        monitor = queries.by_id(self.person, pk)
        sent = self.sent(MonitorSent, is_partial=True)
        simple = ("schedule", "time_zone", "baseline_repeats", "is_enabled", "target")
        changes = {name: sent[name] for name in simple if name in sent}
        if "cases" in sent:
            changes["cases"] = _cases(sent["cases"])
        actions.change_monitor(
            monitor=monitor,
            by=self.person,
            now=timezone.now(),
            **changes,
            **_version_wanted(monitor, sent),
        )
        return _one(self, pk)

    @described("Delete a monitor", tag=TAG, answers={204: None}, refuses=(404,))
    def delete(self, request: Request, pk: int) -> Response:
        """Ends the promise; its runs go with it."""
        monitor = queries.by_id(self.person, pk)
        actions.delete_monitor(monitor=monitor, by=self.person, now=timezone.now())
        return Response(status=204)


class RecordBaseline(Door):
    """Recording how it should be."""

    @described(
        "Record a baseline",
        tag=TAG,
        sends=BaselineAsked,
        answers={202: Queued},
        refuses=(404, 409),
        is_once_per_key=True,
    )
    @once_per_key
    def post(self, request: Request, pk: int) -> Response:
        """Queue a run whose answers become the baseline as soon as it is done.

        With `over_nights` the runs to come are learned from instead, one answer to each case at a
        time, and this one is the first.
        """
        if self.sent(BaselineAsked).get("over_nights"):
            monitor = queries.by_id(self.person, pk)
            actions.learn_over_nights(monitor=monitor, by=self.person, now=timezone.now())
            return _queued(self, pk, actions.request_run, BaselineAsked)
        return _queued(self, pk, actions.record_baseline, BaselineAsked)


class RunNow(Door):
    """Running a monitor by hand."""

    @described(
        "Run a monitor",
        tag=TAG,
        sends=RunAsked,
        answers={202: Queued},
        refuses=(404, 409),
        is_once_per_key=True,
    )
    @once_per_key
    def post(self, request: Request, pk: int) -> Response:
        """Queue one run now; it is compared with the baseline when it is done."""
        return _queued(self, pk, actions.request_run)


class Accept(Door):
    """Accepting a change."""

    @described(
        "Accept as normal",
        tag=TAG,
        sends=AcceptSent,
        answers={200: MonitorDetail},
        refuses=(404, 409),
        example={"note": "The new model answers shorter, which is fine."},
    )
    def post(self, request: Request, pk: int) -> Response:
        """What the model answers now is how it should be: the last judged run becomes the baseline."""
        monitor = queries.by_id(self.person, pk)
        note = self.sent(AcceptSent).get("note", "")
        actions.accept_as_normal(monitor=monitor, by=self.person, now=timezone.now(), note=note)
        return _one(self, pk)


class Runs(Door):
    """The runs of a monitor."""

    @described("List runs", tag=TAG, answers={200: page_of(RunRow)}, refuses=(404,), is_paged=True)
    def get(self, request: Request, pk: int) -> Response:
        """The latest first, without their answers."""
        monitor = queries.by_id(self.person, pk)
        return self.page(RunRow, monitor.runs.select_related("report"))


class OneRun(Door):
    """One run."""

    @described("Read a run", tag=TAG, answers={200: RunShown}, refuses=(404,))
    def get(self, request: Request, pk: int) -> Response:
        """Its verdict and every answer. Poll it while its status is queued or running."""
        return _one_run(self, pk)


class CancelRun(Door):
    """Stopping a run."""

    @described("Cancel a run", tag=TAG, answers={200: RunShown}, refuses=(404,))
    def post(self, request: Request, pk: int) -> Response:
        """Stop a waiting or running run; what was answered stays. An ended run stays as it is."""
        run = queries.run_by_id(self.person, pk)
        actions.cancel_run(run=run, by=self.person, now=timezone.now())
        return _one_run(self, pk)


def ring(run_id: int) -> None:
    """Tell a worker of a run once it is committed. A broker that is away is no error: beat finds it."""

    def tell() -> None:
        try:
            app.send_task(tasks.run.name, (run_id,), retry=False)
        except (BrokerAway, RedisError, OSError):
            logger.warning("broker away: run=%d waits for the clock", run_id)

    transaction.on_commit(tell)


def _queued(
    door: Door, pk: int, act: Callable[..., Run], sent: type[RunAsked] = RunAsked
) -> Response:
    monitor = queries.by_id(door.person, pk)
    slot = door.sent(sent).get("as_of")
    run = act(monitor=monitor, by=door.person, now=timezone.now(), slot=slot)
    ring(run.pk)
    return Response({"run": run.pk}, status=202)


def _one(door: Door, pk: int, status: int = 200) -> Response:
    (shown,) = _shown(door, [queries.by_id(door.person, pk)], MonitorDetail)
    return Response(shown, status=status)


def _shown(door: Door, monitors: Sequence[Monitor], kind: type[MonitorShown] = MonitorShown) -> Any:
    in_use = Prefetch(
        "cases", queryset=TestCase.objects.filter(is_retired=False), to_attr="cases_in_use"
    )
    prefetch_related_objects(monitors, in_use, "baseline__accepted_by")
    last_runs = queries.last_runs([monitor.pk for monitor in monitors])
    return door.shown(kind, monitors, is_many=True, last_runs=last_runs)


def _one_run(door: Door, pk: int) -> Response:
    run = queries.run_by_id(door.person, pk)
    shown = door.shown(
        RunShown,
        run,
        completions=list(run.completions.select_related("case")),
        pass_rate=queries.pass_rate(run),
    )
    return Response(shown)


def _cases(sent: Sequence[Mapping[str, Any]]) -> list[CaseFields]:
    return [
        CaseFields(
            name=case.get("name", ""),
            variables=case.get("variables", {}),
            assertions=case.get("assertions", ()),
        )
        for case in sent
    ]


def _version_pinned(prompt: Prompt, sent: Mapping[str, Any]) -> PromptVersion | None:
    """The version a new monitor stays with; None when it follows the prompt."""
    number = sent.get("version")
    if sent.get("follows_current", number is None):
        return None
    return version_asked(prompt, number)


def _version_wanted(monitor: Monitor, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Another number pins the monitor to it; the number it has says nothing, so it can be sent back."""
    if "version" in sent:
        number = sent["version"]
        if number is None:
            return {"follows_current": True}
        if number != monitor.version.number:
            return {"version": version_asked(monitor.prompt, number)}
    return {"follows_current": sent["follows_current"]} if "follows_current" in sent else {}
