"""Retrospectives: what real uses were like, with what is added, done and linked afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from django.db.models import QuerySet, prefetch_related_objects
from django.urls import reverse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from api.idempotency import once_per_key
from api.pagination import Pages
from api.schema import described, page_of
from api.serializers.community import (
    AddendumSent,
    AddendumShown,
    FollowUpSent,
    FollowUpShown,
    FollowUpState,
    LinkSent,
    LinkShown,
    ReportQuery,
    ReportRow,
    ReportSent,
    ReportShown,
)
from api.views.base import Door
from kb.community import actions, queries, reports
from kb.community.actions import LONG_ANSWERS, FollowUpFields, ReportFields
from kb.community.models import Retrospective
from kb.core.errors import Invalid, NotFound
from kb.prompts import queries as prompts

TAG = "Retrospectives"
_EXAMPLE = {
    "title": "Summary of a supplier contract",
    "lesson": "Ask for the clause numbers, or it invents some.",
    "outcome": "worked_with_edits",
    "prompt": "review-an-nda",
    "tool": "chatgpt",
    "model": "gpt-5",
    "minutes_checking": 20,
    "quality": "same",
    "incidents": ["invented_fact"],
    "follow_ups": [{"text": "Ask for clause numbers in the prompt", "kind": "prompt_change"}],
}


class Retrospectives(Door):
    """The list of reports."""

    @described(
        "List retrospectives",
        tag=TAG,
        asks=ReportQuery,
        answers={200: page_of(ReportRow)},
        is_paged=True,
    )
    def get(self, request: Request) -> Response:
        """The reports you may read, the newest first."""
        asked = self.asked(ReportQuery)
        facets = {name: _values(asked.get(name, ())) for name in reports.FACETS}
        query = reports.ReportQuery(
            words=asked.get("q", ""),
            facets=facets,
            prompt=asked.get("prompt", ""),
            is_mine=asked.get("author") == "me",
        )
        pages = Pages()
        found = reports.find(self.person, query, has_facets=False)
        rows = pages.cut(_light(found.rows), request)
        return pages.answer(self.shown(ReportRow, rows, is_many=True))

    @described(
        "Post a retrospective",
        tag=TAG,
        sends=ReportSent,
        answers={201: ReportShown},
        is_once_per_key=True,
        example=_EXAMPLE,
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """Tell what a real use was like; failures are as welcome as wins.

        Your signal of the same day on the same version becomes part of the report.
        """
        sent = self.sent(ReportSent)
        made = actions.write_retrospective(
            fields=_fields(ReportFields(language=self.person.language), sent),
            follow_ups=[FollowUpFields(**item) for item in sent.get("follow_ups", ())],
            by=self.person,
            now=timezone.now(),
        )
        response = _one(self, made, status=201)
        response["Location"] = request.build_absolute_uri(
            reverse("api:retrospective", args=[made.pk])
        )
        return response


class OneRetrospective(Door):
    """One report."""

    @described("Read a retrospective", tag=TAG, answers={200: ReportShown}, refuses=(404,))
    def get(self, request: Request, pk: int) -> Response:
        """The report with what was added to it."""
        return _one(self, queries.report_by_id(self.person, pk))

    @described(
        "Correct a retrospective",
        tag=TAG,
        sends=ReportSent,
        answers={200: ReportShown},
        refuses=(404,),
        example={"minutes_checking": 35},
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Its author may correct it for seven days; after that, add to it. Only what is sent changes."""
        report = queries.report_by_id(self.person, pk)
        sent = self.sent(
            ReportSent, is_partial=True, prompt=report.version.prompt if report.version else None
        )
        changed = actions.edit_retrospective(
            report=report,
            fields=_fields(_as_written(report), sent),
            by=self.person,
            now=timezone.now(),
        )
        return _one(self, changed)


class Addenda(Door):
    """What is added to a report later."""

    @described(
        "Add to a retrospective",
        tag=TAG,
        sends=AddendumSent,
        answers={201: AddendumShown},
        refuses=(404,),
        is_once_per_key=True,
    )
    @once_per_key
    def post(self, request: Request, pk: int) -> Response:
        """A dated word by its author, at any time."""
        report = queries.report_by_id(self.person, pk)
        made = actions.add_to_retrospective(
            report=report,
            text=self.sent(AddendumSent)["text"],
            by=self.person,
            now=timezone.now(),
        )
        return Response(self.shown(AddendumShown, made), status=201)


class FollowUps(Door):
    """What is to be done because of a report."""

    @described(
        "Add a follow-up",
        tag=TAG,
        sends=FollowUpSent,
        answers={201: FollowUpShown},
        refuses=(404,),
        is_once_per_key=True,
        example={"text": "Show it to the team", "kind": "training", "due": "2026-04-01"},
    )
    @once_per_key
    def post(self, request: Request, pk: int) -> Response:
        """Its author notes something to do, for whom and until when."""
        report = queries.report_by_id(self.person, pk)
        made = actions.add_follow_up(
            report=report,
            fields=FollowUpFields(**self.sent(FollowUpSent)),
            by=self.person,
            now=timezone.now(),
        )
        return Response(self.shown(FollowUpShown, made), status=201)


class OneFollowUp(Door):
    """One thing to do."""

    @described(
        "Settle a follow-up",
        tag=TAG,
        sends=FollowUpState,
        answers={200: FollowUpShown},
        refuses=(404,),
        example={"state": "done"},
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Its owner or the author of the report says whether it is done, dropped or open again."""
        found = reports.follow_up_by_id(self.person, pk)
        state = self.sent(FollowUpState)["state"]
        changed = actions.set_follow_up_state(follow_up=found, state=state, by=self.person)
        return Response(self.shown(FollowUpShown, changed))


class Links(Door):
    """What a report says of others."""

    @described(
        "Link a retrospective",
        tag=TAG,
        sends=LinkSent,
        answers={201: LinkShown},
        refuses=(404,),
        example={"kind": "confirms", "report": 12},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Its author says that it confirms, nuances or contradicts another report or a prompt."""
        report = queries.report_by_id(self.person, pk)
        sent = self.sent(LinkSent)
        made = actions.link_retrospective(
            report=report,
            kind=sent["kind"],
            by=self.person,
            **self._ends(sent.get("report"), sent.get("prompt")),
        )
        return Response(self.shown(LinkShown, made), status=201)

    def _ends(self, report: int | None, prompt: str | None) -> dict[str, Any]:
        try:
            return {
                "other": None if report is None else queries.report_by_id(self.person, report),
                "prompt": None if prompt is None else prompts.by_slug(self.person, prompt),
            }
        except NotFound as error:
            field = "report" if prompt is None else "prompt"
            raise Invalid(f"{field}: {error}", fields={field: str(error)}) from error


def _one(door: Door, report: Retrospective, status: int = 200) -> Response:
    prefetch_related_objects([report], "follow_ups__owner", "addenda")
    return Response(door.shown(ReportShown, report), status=status)


def _as_written(report: Retrospective) -> ReportFields:
    """What a report says today, as the feature takes it."""
    return ReportFields(
        **{field.name: getattr(report, field.name) for field in fields(ReportFields)}
    )


def _fields(written: ReportFields, sent: Mapping[str, Any]) -> ReportFields:
    """The same answers, with those changed that were sent."""
    names = ReportFields.__dataclass_fields__
    return replace(written, **{name: value for name, value in sent.items() if name in names})


def _values(rows: Iterable[Any]) -> list[str]:
    return [row if isinstance(row, str) else row.slug for row in rows]


def _light(rows: QuerySet[Retrospective]) -> QuerySet[Retrospective]:
    """Without the long texts a list leaves out."""
    texts = ("text", "system", "variables")
    return rows.defer("pasted_text", "html", *LONG_ANSWERS, *(f"version__{name}" for name in texts))
