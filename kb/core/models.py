"""What any door may need to keep."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

KEY_LENGTH = 200


class IdempotentAnswer(models.Model):
    """What a person was answered under an idempotency key, to be said again instead of done again."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    key = models.CharField(max_length=KEY_LENGTH)
    fingerprint = models.CharField(max_length=64)
    """SHA-256 of what was asked: method, address and body."""
    status = models.PositiveSmallIntegerField(null=True)
    """None only inside the transaction that is still acting."""
    body = models.JSONField(null=True)
    headers = models.JSONField(default=dict)
    created = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "key"], name="one_answer_per_key"),
        ]
        indexes = [models.Index(fields=["created"], name="idempotent_answer_age")]

    def __str__(self) -> str:
        return f"answer {self.status} to {self.person_id} under {self.key}"
