"""Reads about what people said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.standing import standing
from kb.community.evidence import MinutesSummary, TimeReport, summarise_minutes
from kb.community.models import (
    Comment,
    FollowUp,
    Retrospective,
    UsageSignal,
    Vote,
    Wish,
    WishSupport,
)
from kb.community.rules import day_of
from kb.core.errors import NotFound
from kb.prompts.models import Prompt
from kb.prompts.queries import visible_to as prompts_visible_to


def reports_visible_to(person: User) -> QuerySet[Retrospective]:
    """The reports this person may read: those on prompts they may read, those on none, their own."""
    tokens = standing(person).audience_tokens
    if not tokens:
        return Retrospective.objects.none()
    return Retrospective.objects.filter(
        Q(version=None) | Q(version__prompt__audience__overlap=tokens) | Q(author=person)
    ).select_related("author", "department", "use_case", "tool", "version__prompt")


def report_by_id(person: User, pk: int) -> Retrospective:
    """One report. Raises NotFound, also when it exists for others only."""
    found = reports_visible_to(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no report %(pk)s here.") % {"pk": pk})
    return found


def reports_on(prompt: Prompt, person: User) -> QuerySet[Retrospective]:
    """Reports on any version of a prompt, newest first."""
    return reports_visible_to(person).filter(version__prompt=prompt)


def vote_counts(prompt_ids: Collection[int]) -> Mapping[int, int]:
    """Prompt id to its votes; absent means none (one query)."""
    rows = Vote.objects.filter(prompt__in=prompt_ids).values_list("prompt").annotate(Count("pk"))
    return dict(rows)


def report_counts(prompt_ids: Collection[int]) -> Mapping[int, int]:
    """Prompt id to its reports; absent means none (one query)."""
    rows = (
        Retrospective.objects.filter(version__prompt__in=prompt_ids)
        .values_list("version__prompt")
        .annotate(Count("pk"))
    )
    return dict(rows)


def has_voted(person: User, prompt: Prompt) -> bool:
    return Vote.objects.filter(prompt=prompt, person=person).exists()


def voted_among(person: User, prompt_ids: Collection[int]) -> set[int]:
    """Those of the prompts that the person recommends (one query)."""
    rows = Vote.objects.filter(prompt__in=prompt_ids, person=person)
    return set(rows.values_list("prompt_id", flat=True))


def signal_today(person: User, prompt: Prompt, now: datetime) -> UsageSignal | None:
    """What the person clicked today on the current version, if anything."""
    return UsageSignal.objects.filter(
        person=person, prompt=prompt, version_id=prompt.current_id, day=day_of(person, now)
    ).first()


@dataclass
class Thread:
    """A comment with the answers to it."""

    comment: Comment
    replies: list[Thread] = field(default_factory=list)


def threads(prompt: Prompt) -> list[Thread]:
    """The comments of a prompt as trees, oldest first (one query).

    A withdrawn comment stays only while somebody has answered it.
    """
    rows = list(prompt.comments.select_related("author"))
    made = {row.pk: Thread(row) for row in rows}
    roots: list[Thread] = []
    for row in rows:
        parent = made.get(row.parent_id) if row.parent_id is not None else None
        (parent.replies if parent else roots).append(made[row.pk])
    return _without_empty(roots)


def _without_empty(found: Sequence[Thread]) -> list[Thread]:
    kept = []
    for thread in found:
        thread.replies = _without_empty(thread.replies)
        if thread.comment.withdrawn is None or thread.replies:
            kept.append(thread)
    return kept


def minutes(prompt: Prompt) -> MinutesSummary | None:
    """Net minutes over the comparable reports of a prompt; None below five distinct people."""
    rows = Retrospective.objects.filter(version__prompt=prompt, author__isnull=False)
    return summarise_minutes(
        [
            (
                row.author_id or 0,
                TimeReport(
                    preparing=row.minutes_preparing,
                    waiting=row.minutes_waiting,
                    checking=row.minutes_checking,
                    without=row.minutes_without,
                    counterfactual=row.counterfactual,
                    is_parallel_work=row.is_parallel_work,
                ),
            )
            for row in rows
        ]
    )


def outcome_counts(prompt: Prompt) -> Mapping[str, int]:
    """Outcome to number of reports on a prompt."""
    rows = (
        Retrospective.objects.filter(version__prompt=prompt)
        .values_list("outcome")
        .annotate(Count("pk"))
    )
    return dict(rows)


def open_wishes(person: User) -> QuerySet[Wish]:
    """The wanted board: what is still looked for, most wanted first."""
    return (
        _wishes(person).filter(closed=None).order_by(F("support_count").desc(), "-created", "-pk")
    )


def answered_wishes(person: User) -> QuerySet[Wish]:
    """What was looked for and found, as far as this person may read the answer."""
    readable = prompts_visible_to(person).values("pk")
    return _wishes(person).filter(answer__in=readable).order_by("-closed", "-pk")


def _wishes(person: User) -> QuerySet[Wish]:
    wishes = Wish.objects.all() if standing(person).is_member else Wish.objects.none()
    return wishes.select_related("author", "department", "answer").annotate(
        support_count=Count("supports"),
        is_supported=Exists(WishSupport.objects.filter(wish=OuterRef("pk"), person=person)),
    )


def wish_by_id(person: User, pk: int) -> Wish:
    """One wish. Raises NotFound."""
    found = _wishes(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no wish %(pk)s.") % {"pk": pk})
    return found


def open_follow_ups(person: User) -> QuerySet[FollowUp]:
    """What is left for this person to do about reports they may read, most urgent first."""
    readable = reports_visible_to(person).values("pk")
    return (
        FollowUp.objects.filter(owner=person, state=FollowUp.State.OPEN, retrospective__in=readable)
        .select_related("retrospective")
        .order_by("due", "created")
    )
