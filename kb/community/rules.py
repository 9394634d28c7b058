"""Who may speak, and who may take words back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from accounts.models import Membership, User
from accounts.standing import standing
from kb.community.models import Comment, Retrospective

EDIT_WINDOW = timedelta(days=7)
"""Reports are facts: after a week they are completed by dated addenda, not rewritten."""


def day_of(person: User, moment: datetime) -> date:
    """The day it is for this person: one signal counts a day."""
    return moment.astimezone(ZoneInfo(person.time_zone)).date()


def can_take_part(person: User) -> bool:
    """Whether the person may vote, comment, signal, report and wish: every member."""
    return standing(person).is_member


def can_withdraw(person: User, comment: Comment, department_ids: Collection[int]) -> bool:
    """Its author, or a curator of the prompt's departments."""
    return comment.author_id == person.pk or standing(person).has(
        Membership.Role.CURATOR, department_ids
    )


def can_edit_report(person: User, report: Retrospective, now: datetime) -> bool:
    """Its author, within the edit window."""
    return report.author_id == person.pk and now - report.created <= EDIT_WINDOW


def can_add_to_report(person: User, report: Retrospective) -> bool:
    """Its author, at any time."""
    return report.author_id == person.pk
