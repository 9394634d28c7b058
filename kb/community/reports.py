"""Reads about retrospectives: lists by words and facets, and what stands on the page of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.models import Department, Membership, User
from kb.community import queries, rules
from kb.community.evidence import COMPARABLE_COUNTERFACTUALS, TimeReport, net_minutes
from kb.community.models import FollowUp, Retrospective, RetrospectiveLink
from kb.core.errors import NotFound
from kb.prompts.queries import visible_to as prompts_visible_to
from kb.search import engine
from kb.search.query import parse

MOST_MATCHES = 1_000
"""Reports found by words that a list goes through, the newest; the page says when there are more."""
FACETS: Mapping[str, str] = {
    "outcome": "outcome",
    "department": "department__slug",
    "use_case": "use_case__slug",
    "tool": "tool__slug",
}
"""Name of a facet to the column that holds its value."""
DID_NOT_WORK = frozenset(
    {
        Retrospective.Outcome.PARTLY.value,
        Retrospective.Outcome.FAILED.value,
        Retrospective.Outcome.HARMFUL.value,
    }
)
"""The outcomes that evidence counts as failed (kb.community.evidence.Worked)."""
DID_WORK = frozenset(Retrospective.Outcome.values) - DID_NOT_WORK
MOST_MODELS = 30


@dataclass(frozen=True)
class ReportQuery:
    """What a list of reports is asked for. Empty parts ask for nothing.

    `facets` maps names of FACETS to values, of which any will do; `prompt` is a slug.
    """

    words: str = ""
    facets: Mapping[str, Collection[str]] = field(default_factory=dict)
    prompt: str = ""
    is_mine: bool = False


@dataclass(frozen=True)
class Found:
    """Reports, newest first, and facet to value to how many reports choosing it would show."""

    rows: QuerySet[Retrospective]
    facets: Mapping[str, Mapping[str, int]]
    is_capped: bool
    """Whether the words are in more than MOST_MATCHES reports, of which these are the newest."""


def find(person: User, query: ReportQuery, *, has_facets: bool = True) -> Found:
    """What this person may read and the query asks for; facets are counted unless told otherwise."""
    rows, is_capped = queries.reports_visible_to(person), False
    if query.prompt:
        rows = rows.filter(version__prompt__slug=query.prompt)
    if query.is_mine:
        rows = rows.filter(author=person)
    if query.words:
        hits = engine.search(
            parse(query.words),
            person,
            kind="retrospective",
            sort="newest",
            page_size=MOST_MATCHES,
            has_facets=False,
        )
        rows = rows.filter(pk__in=[hit.object_id for hit in hits.hits])
        is_capped = hits.total > MOST_MATCHES
    counted = FACETS if has_facets else {}
    counts = {name: _count(_narrowed(rows, query, besides=name), FACETS[name]) for name in counted}
    return Found(_narrowed(rows, query), counts, is_capped)


def _narrowed(
    rows: QuerySet[Retrospective], query: ReportQuery, *, besides: str = ""
) -> QuerySet[Retrospective]:
    for name, values in query.facets.items():
        if values and name != besides:
            rows = rows.filter(**{f"{FACETS[name]}__in": list(values)})
    return rows


def _count(rows: QuerySet[Retrospective], column: str) -> Mapping[str, int]:
    counted = rows.exclude(**{column: None}).order_by().values_list(column).annotate(Count("pk"))
    return dict(counted)


@dataclass(frozen=True)
class Reckoning:
    """How the net minutes of one report come about; `net` is None when they say nothing.

    `reason` is then why: something else would have been done ('counterfactual'), other work went on
    meanwhile ('parallel'), or a figure is missing ('missing').
    """

    without: int | None
    preparing: int | None
    waiting: int | None
    checking: int | None
    net: int | None
    reason: Literal["", "counterfactual", "parallel", "missing"]


def reckon(report: Retrospective) -> Reckoning | None:
    """The minutes of a report as its page explains them; None when it gives none at all."""
    given = (
        report.minutes_without,
        report.minutes_preparing,
        report.minutes_waiting,
        report.minutes_checking,
    )
    if all(minutes is None for minutes in given):
        return None
    net = net_minutes(
        TimeReport(*given, report.counterfactual, is_parallel_work=report.is_parallel_work)
    )
    return Reckoning(*given, net=None if net is None else round(net), reason=_reason(report, net))


def _reason(
    report: Retrospective, net: float | None
) -> Literal["", "counterfactual", "parallel", "missing"]:
    if net is not None:
        return ""
    if report.counterfactual and report.counterfactual not in COMPARABLE_COUNTERFACTUALS:
        return "counterfactual"
    return "parallel" if report.is_parallel_work else "missing"


def links_from(report: Retrospective, person: User) -> QuerySet[RetrospectiveLink]:
    """What the report says of other reports and prompts, as far as this person may read them."""
    return (
        report.links.select_related("report", "prompt")
        .filter(
            Q(report__in=queries.reports_visible_to(person).values("pk"))
            | Q(prompt__in=prompts_visible_to(person).values("pk"))
        )
        .order_by("pk")
    )


def links_to(report: Retrospective, person: User) -> QuerySet[RetrospectiveLink]:
    """What other reports this person may read say of this one."""
    readable = queries.reports_visible_to(person).values("pk")
    return report.linked_from.select_related("source").filter(source__in=readable).order_by("pk")


def follow_up_by_id(person: User, pk: int) -> FollowUp:
    """A follow-up of a report this person may read. Raises NotFound."""
    readable = queries.reports_visible_to(person).values("pk")
    found = (
        FollowUp.objects.select_related("retrospective", "owner")
        .filter(retrospective__in=readable, pk=pk)
        .first()
    )
    if found is None or not rules.can_take_part(person):
        raise NotFound(_("There is no follow-up %(pk)s here.") % {"pk": pk})
    return found


def latest_of(person: User) -> Retrospective | None:
    """The last report of a person: what they use today is most likely what they used then."""
    return person.retrospectives.select_related("tool").first()


def department_of(person: User) -> Department | None:
    """The department a person speaks for unless they say otherwise: the first of theirs."""
    rows = Membership.objects.filter(person=person, department__isnull=False)
    first = rows.select_related("department").order_by("department__position", "pk").first()
    return first.department if first else None


def models_used(person: User) -> Sequence[str]:
    """Names of models in the reports this person may read, the frequent first."""
    rows = (
        queries.reports_visible_to(person)
        .exclude(model="")
        .order_by()
        .values_list("model")
        .annotate(uses=Count("pk"))
        .order_by("-uses", "model")
    )
    return [model for model, _uses in rows[:MOST_MODELS]]
