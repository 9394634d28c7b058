"""Reads about notifications."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.models import User
from kb.notifications.kinds import KINDS
from kb.notifications.models import MailChoice, Notification


def of_person(person: User) -> QuerySet[Notification]:
    """Everything the person was told, newest first."""
    return Notification.objects.filter(recipient=person)


def unread_count(person: User, *, cap: int = 99) -> int:
    """How many messages wait, counted up to `cap` (one query)."""
    return Notification.objects.filter(recipient=person, read=None)[:cap].count()


def mail_choices(person: User) -> dict[str, bool]:
    """Kind name to whether its mails reach this person."""
    chosen = dict(MailChoice.objects.filter(person=person).values_list("kind", "is_on"))
    return {name: chosen.get(name, kind.is_mailed) for name, kind in KINDS.items()}
