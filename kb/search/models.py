"""One flat row per findable thing. Written only by kb.search.index, read only by kb.search.engine."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models


class SearchEntry(models.Model):
    """What the search knows of a prompt or a retrospective."""

    kind = models.CharField(max_length=20)
    object_id = models.BigIntegerField()
    parent_id = models.BigIntegerField(null=True, db_index=True)
    """The prompt a report is about; the report is read by whoever reads the prompt."""
    slug = models.CharField(max_length=100)
    title = models.TextField()
    excerpt = models.TextField(blank=True)
    """Plain text the result list quotes from, accents kept."""
    language = models.CharField(max_length=8)
    status = models.CharField(max_length=20)
    author_id = models.BigIntegerField(null=True)
    audience = ArrayField(models.CharField(max_length=40), default=list)
    departments = ArrayField(models.CharField(max_length=80), default=list)
    tools = ArrayField(models.CharField(max_length=80), default=list)
    use_cases = ArrayField(models.CharField(max_length=80), default=list)
    tags = ArrayField(models.CharField(max_length=60), default=list)
    drift = models.CharField(max_length=10, blank=True)
    proven = models.FloatField(default=0)
    """Lower bound of 'worked', 0 to 1; see kb.community.evidence."""
    activity = models.FloatField(default=0)
    """Decayed votes, signals, reports and comments."""
    votes = models.PositiveIntegerField(default=0)
    reports = models.PositiveIntegerField(default=0)
    dated = models.DateTimeField()
    vector = SearchVectorField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "object_id"], name="one_entry_per_thing"),
        ]
        indexes = [
            GinIndex(fields=["vector"], name="search_vector"),
            GinIndex(fields=["departments", "tools", "use_cases", "tags"], name="search_facets"),
            models.Index(fields=["kind", "-dated", "-object_id"], name="search_newest"),
            models.Index(fields=["kind", "-proven", "-object_id"], name="search_proven"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"
