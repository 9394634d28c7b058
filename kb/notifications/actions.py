"""Writes about notifications: owing, reading, mailing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core import signing
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.standing import standing
from kb.core.errors import Invalid
from kb.notifications import channels
from kb.notifications.kinds import KINDS
from kb.notifications.models import MailChoice, Notification
from kb.notifications.queries import may_be_told

MOST_MAIL_ATTEMPTS = 6
FIRST_MAIL_WAIT = timedelta(minutes=1)
"""Doubled after each failure: 1, 2, 4, 8, 16 minutes, then given up; the page still shows the message."""
MAIL_LEASE = timedelta(minutes=5)
"""How long a mail may be on its way before another worker tries again."""
_SALT = "kb.notifications.unsubscribe"


@dataclass(frozen=True)
class Subject:
    """The prompt a message tells of, with the tokens of those who may read it (accounts.standing)."""

    prompt_id: int
    audience: list[str]

    def is_open_to(self, person: User) -> bool:
        return bool(set(self.audience).intersection(standing(person).audience_tokens))


def notify(
    *,
    recipients: Iterable[User],
    kind: str,
    context: Mapping[str, Any],
    path: str,
    key: str,
    now: datetime,
    about: Subject | None = None,
) -> int:
    """Owe each recipient one message about one event; returns how many messages are owed.

    `key` names the event: told twice, it is owed once. Mails leave later, from a worker. With
    `about`, the message is there only as long as its recipient may read that prompt.
    """
    people = [
        person
        for person in {person.pk: person for person in recipients}.values()
        if person.is_active and (about is None or about.is_open_to(person))
    ]
    refused = set(
        MailChoice.objects.filter(person__in=people, kind=kind, is_on=False).values_list(
            "person_id", flat=True
        )
    )
    wanted = set(
        MailChoice.objects.filter(person__in=people, kind=kind, is_on=True).values_list(
            "person_id", flat=True
        )
    )

    def is_mailed(person: User) -> bool:
        return person.pk in wanted or (KINDS[kind].is_mailed and person.pk not in refused)

    rows = [
        Notification(
            recipient=person,
            kind=kind,
            context={**context, **(asdict(about) if about else {})},
            path=path,
            key=key,
            created=now,
            mail_due=now if is_mailed(person) else None,
        )
        for person in people
    ]
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def set_audience(about: Subject) -> None:
    """Who may read a prompt has changed: messages about it follow, those already told included."""
    told = Notification.objects.filter(context__prompt_id=about.prompt_id)
    for row in told.only("context").iterator():
        row.context["audience"] = about.audience
        row.save(update_fields=["context"])


def mark_read(*, by: User, now: datetime, ids: Iterable[int] | None = None) -> int:
    """Mark the person's messages as read, all of them without `ids`; returns how many were unread."""
    unread = Notification.objects.filter(recipient=by, read=None)
    if ids is not None:
        unread = unread.filter(pk__in=list(ids))
    return unread.update(read=now)


def choose_mail(*, by: User, kind: str, is_on: bool) -> None:
    """Whether mails of one kind reach the person. Raises Invalid for a kind we do not have."""
    if kind not in KINDS:
        raise Invalid(
            _("There is no notification “%(kind)s”; known: %(known)s.")
            % {"kind": kind, "known": ", ".join(KINDS)}
        )
    MailChoice.objects.update_or_create(person=by, kind=kind, defaults={"is_on": is_on})


def unsubscribe_token(person: User, kind: str) -> str:
    """What the link of a mail carries to end such mails in one click, without signing in."""
    return signing.dumps([person.pk, kind], salt=_SALT, compress=True)


def read_unsubscribe_token(token: str) -> tuple[User, str]:
    """The person and kind of a link. Raises Invalid for a damaged one."""
    try:
        person_id, kind = signing.loads(token, salt=_SALT)
        return User.objects.get(pk=person_id), str(kind)
    except (signing.BadSignature, User.DoesNotExist, ValueError, TypeError) as error:
        raise Invalid(
            _("This link is damaged. Sign in and choose your mails under Notifications.")
        ) from error


def deliver_due_mails(*, now: datetime, most: int = 100) -> tuple[int, int]:
    """Send the mails that are owed; returns (sent, failed).

    A row is taken by moving its due time to the end of a lease, so two workers never hold the same
    one; a worker that dies gives it back when the lease ends. A mail is told at least once, and
    twice only when the worker dies between the mail server's yes and our note of it.
    """
    sent = failed = 0
    for notification in _take(now, most):
        if not may_be_told(notification):
            Notification.objects.filter(pk=notification.pk).update(mail_due=None)
            continue
        try:
            channels.mail(
                notification, unsubscribe_token(notification.recipient, notification.kind)
            )
        except channels.MAIL_FAULTS:
            failed += 1
            _postpone(notification, now)
        else:
            sent += 1
            Notification.objects.filter(pk=notification.pk).update(mailed=now, mail_due=None)
    return sent, failed


def _take(now: datetime, most: int) -> list[Notification]:
    with transaction.atomic():
        rows = list(
            Notification.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("recipient")
            .filter(mail_due__lte=now)
            .order_by("mail_due", "pk")[:most]
        )
        Notification.objects.filter(pk__in=[row.pk for row in rows]).update(
            mail_due=now + MAIL_LEASE
        )
    return rows


def _postpone(notification: Notification, now: datetime) -> None:
    attempts = notification.mail_attempts + 1
    given_up = attempts >= MOST_MAIL_ATTEMPTS
    Notification.objects.filter(pk=notification.pk).update(
        mail_attempts=attempts,
        mail_due=None if given_up else now + FIRST_MAIL_WAIT * 2 ** (attempts - 1),
    )
