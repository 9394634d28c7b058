"""Searches people keep, and the model by which things are found by their meaning."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kb.llm.models import Target

NAME_LENGTH = 80
ADDRESS_LENGTH = 1_000


class SavedSearch(models.Model):
    """A search a person wants to keep, and how often to hear of new matches."""

    class Cadence(models.TextChoices):
        DAILY = "daily", _("Every day")
        WEEKLY = "weekly", _("Every week")
        NEVER = "never", _("Never, only keep it")

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_searches"
    )
    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    address = models.CharField(max_length=ADDRESS_LENGTH, blank=True)
    """The query string of the page: words, facets, order."""
    cadence = models.CharField(_("tell me"), max_length=8, choices=Cadence, default=Cadence.WEEKLY)
    created = models.DateTimeField(db_default=Now())
    looked = models.DateTimeField()
    """What is newer than this is new to the person."""
    due = models.DateTimeField(null=True, blank=True)
    """When to look again; None for a search nobody wants to hear of."""
    sent = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name", "pk")
        constraints = [
            models.UniqueConstraint(
                fields=["person", "name"], name="saved_search_names_are_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(cadence="never") ^ models.Q(due__isnull=False),
                name="a_saved_search_is_due_unless_never",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due"],
                name="saved_search_due",
                condition=models.Q(due__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MeaningModel(models.Model):
    """The embeddings model that reads prompts and questions, company-wide: one row, or none."""

    target = models.ForeignKey(Target, models.CASCADE, related_name="meaning_models")
    is_wide = models.BooleanField(default=False)
    """Whether it may also read what only single departments read."""
    chosen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    chosen = models.DateTimeField()
    trouble = models.CharField(max_length=20, blank=True)
    """Why it could not be asked last time: a kind of kb.llm.base.LLMError; '' when it could."""
    troubled = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(pk=1), name="there_is_one_meaning_model"),
        ]

    def __str__(self) -> str:
        return str(self.target)
