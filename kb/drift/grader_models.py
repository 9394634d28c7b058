"""The models that judge answers, chosen for the whole company, and how the judge is watched."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kb.drift.grading import QUESTION_VERSION
from kb.drift.models import Completion
from kb.llm.models import Target


class Grader(models.Model):
    """A model that judges what no rule on a text can, from the day it was chosen or accepted.

    Whenever one is chosen, or a changed judge is accepted, that is a new grader: what the old one
    said is no word of the new one.
    """

    class Role(models.TextChoices):
        JUDGE = "judge", _("The judge")
        EMBEDDINGS = "embeddings", _("The embeddings model")

    class Status(models.TextChoices):
        NEW = "new", _("Not watched yet")
        LEARNING = "learning", _("Learning")
        STABLE = "stable", _("As usual")
        SUSPECT = "suspect", _("In doubt")
        CHANGED = "changed", _("Changed")

    role = models.CharField(max_length=10, choices=Role)
    target = models.ForeignKey(Target, models.CASCADE, related_name="graders")
    """Kept from deletion while in use by kb.llm.actions.delete_connection; one that ended goes along."""
    chosen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    chosen = models.DateTimeField(db_default=Now())
    ended = models.DateTimeField(null=True, blank=True)
    """When another took its place, or none; None for the one in use."""
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)
    """What its anchors tell; only a judge has some."""
    status_since = models.DateTimeField(db_default=Now())
    memory = models.JSONField(default=dict, blank=True)
    """What kb.drift.watch keeps of the anchors between two looks."""
    wanted = models.JSONField(default=dict, blank=True)
    """Verdicts to take at the next look: anchor id (as text) to number; empty: one of each."""
    is_confirming = models.BooleanField(default=False)
    """The next look is the second session of a suspicion."""
    look_due = models.DateTimeField(null=True, blank=True)
    looked = models.DateTimeField(null=True, blank=True)
    """Slot of the last look that told something."""
    trusted = models.DateTimeField(db_default=Now())
    """What it said later is left aside while it is in doubt or changed: the last look that found nothing."""

    class Meta:
        ordering = ("-chosen", "-pk")
        constraints = [
            models.UniqueConstraint(
                fields=["role"],
                condition=models.Q(ended=None),
                name="one_grader_in_use_per_role",
            ),
            models.CheckConstraint(
                condition=models.Q(ended=None) | models.Q(look_due=None),
                name="nobody_looks_at_a_grader_that_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"

    @property
    def name(self) -> str:
        """Under what its verdicts are kept: itself, and the way it is asked."""
        return f"{self.pk}.{QUESTION_VERSION}"


class RememberedVote(models.Model):
    """What a grader said to one question about one answer; it is not asked again."""

    key = models.CharField(max_length=64, unique=True)
    """kb.drift.grading.memory_key."""
    grader = models.CharField(max_length=30, db_index=True)
    """Its name; what was said by one that has ended is forgotten."""
    said = models.CharField(max_length=3)
    """yes or no."""
    created = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(said__in=["yes", "no"]), name="a_vote_is_yes_or_no"
            ),
        ]

    def __str__(self) -> str:
        return f"vote of grader {self.grader}"


class Anchor(models.Model):
    """A fixed answer with a rule the judge was sure about: what it says of it should not change."""

    grader = models.ForeignKey(Grader, models.CASCADE, related_name="anchors")
    completion = models.ForeignKey(Completion, models.CASCADE, related_name="+")
    """The answer itself, so that it goes when its prompt goes."""
    place = models.PositiveSmallIntegerField()
    """Of the rule, among the assertions of the answer's case."""
    chosen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(
                fields=["grader", "completion", "place"], name="an_anchor_is_chosen_once"
            ),
        ]

    def __str__(self) -> str:
        return f"anchor {self.pk}"


class AnchorLook(models.Model):
    """One time the anchors are judged anew: a night, or the second session of a suspicion.

    It waits as a row, is claimed by one conditional update and keeps a short lease alive, as a run.
    """

    class Verdict(models.TextChoices):
        LEARNING = "learning", _("Learning")
        STABLE = "stable", _("As usual")
        SUSPECT = "suspect", _("In doubt")
        CHANGED = "changed", _("Changed")
        INCOMPLETE = "incomplete", _("Not judged")

    grader = models.ForeignKey(Grader, models.CASCADE, related_name="looks")
    slot = models.DateTimeField()
    is_confirmation = models.BooleanField(default=False)
    wanted = models.JSONField(default=dict)
    """Anchor id (as text) to how many verdicts are taken."""
    attempt = models.PositiveSmallIntegerField(default=0)
    lease_ends = models.DateTimeField(null=True, blank=True)
    created = models.DateTimeField(db_default=Now())
    finished = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=10, choices=Verdict, blank=True)
    p = models.FloatField(null=True)
    """Chance of such a look, at most, if the judge has not changed."""
    facts = models.JSONField(default=dict, blank=True)
    """Shares of yes before and now, and how many anchors moved: see kb.drift.anchors."""

    class Meta:
        ordering = ("-slot", "-pk")
        constraints = [
            models.UniqueConstraint(fields=["grader", "slot"], name="one_look_per_slot"),
            models.UniqueConstraint(
                fields=["grader"],
                condition=models.Q(finished=None),
                name="one_look_under_way_per_grader",
            ),
        ]

    def __str__(self) -> str:
        return f"look {self.pk}"


class AnchorVote(models.Model):
    """What the judge said of one anchor in one look, vote by vote."""

    look = models.ForeignKey(AnchorLook, models.CASCADE, related_name="votes")
    anchor = models.ForeignKey(Anchor, models.CASCADE, related_name="votes")
    repeat = models.PositiveSmallIntegerField(default=0)
    place = models.PositiveSmallIntegerField()
    """0 or 1: which of the two votes."""
    said = models.CharField(max_length=7)
    """yes, no, or unclear for a reply that is neither."""
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("anchor", "repeat", "place")
        constraints = [
            models.UniqueConstraint(
                fields=["look", "anchor", "repeat", "place"], name="one_vote_per_place"
            ),
        ]

    def __str__(self) -> str:
        return f"vote on anchor {self.anchor_id}"
