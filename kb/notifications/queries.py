"""Reads about notifications."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from accounts.models import User
from accounts.standing import standing
from kb.notifications.kinds import KINDS
from kb.notifications.models import MailChoice, Notification


def of_person(person: User) -> QuerySet[Notification]:
    """Everything the person was told and may still read, newest first."""
    tokens = standing(person).audience_tokens
    if not tokens:
        return Notification.objects.none()
    is_open = Q(context__audience__isnull=True) | Q(context__audience__has_any_keys=tokens)
    return Notification.objects.filter(is_open, recipient=person)


def may_be_told(notification: Notification) -> bool:
    """Whether its recipient, as they are now, may read a message and what it is about."""
    tokens = standing(notification.recipient).audience_tokens
    return bool(set(notification.context.get("audience", tokens)).intersection(tokens))


def unread_count(person: User, *, cap: int = 99) -> int:
    """How many messages wait, counted up to `cap` (one query)."""
    return of_person(person).filter(read=None)[:cap].count()


def mail_choices(person: User) -> dict[str, bool]:
    """Kind name to whether its mails reach this person."""
    chosen = dict(MailChoice.objects.filter(person=person).values_list("kind", "is_on"))
    return {name: chosen.get(name, kind.is_mailed) for name, kind in KINDS.items()}
