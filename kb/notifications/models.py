"""Messages owed to people."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Notification(models.Model):
    """A message owed to one person, put into words in the language of whoever reads it."""

    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="notifications"
    )
    kind = models.CharField(max_length=40)
    """A name of kb.notifications.kinds."""
    context = models.JSONField(default=dict)
    """What the sentence needs: titles, numbers, dates as ISO text. `prompt_id` and `audience` name the
    prompt it tells of and who may read that; kept by kb.notifications.actions."""
    path = models.CharField(max_length=300)
    key = models.CharField(max_length=120)
    """Names the event; the same event is told to a person once."""
    created = models.DateTimeField(db_default=Now())
    read = models.DateTimeField(null=True, blank=True)
    mailed = models.DateTimeField(null=True, blank=True)
    mail_attempts = models.PositiveSmallIntegerField(default=0)
    mail_due = models.DateTimeField(null=True, blank=True)
    """When a mail is owed; None when this person wants none for this kind or it has gone."""

    class Meta:
        ordering = ("-created", "-pk")
        constraints = [
            models.UniqueConstraint(fields=["recipient", "key"], name="told_once"),
        ]
        indexes = [
            models.Index(
                fields=["mail_due"], name="mail_owed", condition=models.Q(mail_due__isnull=False)
            ),
            models.Index(
                fields=["recipient"], name="notification_unread", condition=models.Q(read=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.recipient_id}"


class MailChoice(models.Model):
    """Whether a person wants mails of one kind. No row: the kind's own default."""

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="mail_choices"
    )
    kind = models.CharField(max_length=40)
    is_on = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "kind"], name="one_choice_per_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} {self.kind} {self.is_on}"
