"""Trials: one person asks one to four models a version of a prompt, and looks at what comes back."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kb.llm.models import Target
from kb.prompts.models import PromptVersion


class Trial(models.Model):
    """One asking of a version with chosen values. Its answers are places, made with it."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        TIMEOUT = "timeout", _("Out of time")
        CANCELLED = "cancelled", _("Cancelled")
        OVER_BUDGET = "over_budget", _("Over budget")

    UNDER_WAY = (Status.QUEUED, Status.RUNNING)

    version = models.ForeignKey(PromptVersion, models.CASCADE, related_name="trials")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="trials"
    )
    values = models.JSONField(default=dict)
    """Names of the prompt's variables to what was filled in."""
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    reason = models.CharField(max_length=60, blank=True)
    """Why it did not end as done: an error kind of kb.llm.base or a reason of kb.drift.trials."""
    attempt = models.PositiveSmallIntegerField(default=0)
    created = models.DateTimeField(db_default=Now())
    started = models.DateTimeField(null=True, blank=True)
    lease_ends = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created", "-pk")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["queued", "running"], finished=None)
                | (
                    ~models.Q(status__in=["queued", "running"])
                    & models.Q(finished__isnull=False, lease_ends=None)
                ),
                name="an_ended_trial_has_a_date",
            ),
        ]
        indexes = [
            models.Index(
                fields=["status", "created"],
                name="trial_waiting",
                condition=models.Q(status__in=["queued", "running"]),
            ),
            models.Index(fields=["asked_by", "-created"], name="trial_of_person"),
        ]

    def __str__(self) -> str:
        return f"trial {self.pk}"


class TrialAnswer(models.Model):
    """The place of one model's answer in a trial: still empty, an answer, or why there is none.

    Model and connection are written down, so that the answer tells its origin when they are gone.
    """

    class Outcome(models.TextChoices):
        WAITING = "waiting", _("Not answered yet")
        ANSWERED = "answered", _("Answered")
        EMPTY = "empty", _("Empty answer")
        REFUSED = "refused", _("Refused")
        CUT = "cut", _("Cut short")
        MISSING = "missing", _("No answer")

    WITH_TEXT = (Outcome.ANSWERED, Outcome.REFUSED, Outcome.CUT)

    trial = models.ForeignKey(Trial, models.CASCADE, related_name="answers")
    position = models.PositiveSmallIntegerField()
    target = models.ForeignKey(Target, models.SET_NULL, null=True, related_name="+")
    model = models.CharField(max_length=120)
    connection_name = models.CharField(max_length=80)
    is_simulated = models.BooleanField(default=False)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.WAITING)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    """The text as kb.core.markdown renders it, once; safe for any page."""
    error_kind = models.CharField(max_length=20, blank=True)
    error = models.CharField(max_length=500, blank=True)
    served_model = models.CharField(max_length=120, blank=True)
    fingerprint = models.CharField(max_length=120, blank=True)
    finish = models.CharField(max_length=20, blank=True)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    cost = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    calls = models.PositiveSmallIntegerField(default=0)
    """Requests sent for it, failed attempts included."""
    finished = models.DateTimeField(null=True, blank=True)
    kept = models.DateTimeField(null=True, blank=True)
    """Since when it stands on the prompt's page as an example of an answer."""

    class Meta:
        ordering = ("position",)
        constraints = [
            models.UniqueConstraint(fields=["trial", "position"], name="one_answer_per_position"),
            models.CheckConstraint(
                condition=models.Q(kept=None)
                | models.Q(outcome__in=["answered", "refused", "cut"]),
                name="a_kept_answer_has_a_text",
            ),
        ]
        indexes = [
            models.Index(
                fields=["trial"], name="trial_example", condition=models.Q(kept__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"answer {self.position} of trial {self.trial_id}"
