"""What the search keeps. Written and read only inside kb.search.

One flat row per findable thing, the words these rows are made of, how many rows have each facet
value, and what people looked for in vain.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models.functions import Now

from kb.search.fields import Bits


class SearchEntry(models.Model):
    """What the search knows of a prompt or a retrospective."""

    kind = models.CharField(max_length=20)
    object_id = models.BigIntegerField()
    parent_id = models.BigIntegerField(null=True, db_index=True)
    """The prompt a report is about; the report is read by whoever reads the prompt."""
    slug = models.CharField(max_length=100)
    title = models.TextField()
    title_key = models.CharField(max_length=200, blank=True, default="")
    """The words of the title, folded, to recognise a title typed in full."""
    excerpt = models.TextField(blank=True)
    """Plain text the result list quotes from, accents kept."""
    language = models.CharField(max_length=8)
    status = models.CharField(max_length=20)
    author_id = models.BigIntegerField(null=True, db_index=True)
    audience = ArrayField(models.CharField(max_length=40), default=list)
    keys = ArrayField(models.CharField(max_length=90), default=list)
    """Every facet value of the row behind the sign of its facet (kb.search.keys): 'd:legal'."""
    is_listed = models.BooleanField(default=True)
    """Whether it shows without being asked for: published prompts, and all reports."""
    is_hot = models.BooleanField(default=True)
    """Whether it belongs to the rows that common words are ranked in (kb.search.tiers)."""
    drift = models.CharField(max_length=10, blank=True)
    proven = models.FloatField(default=0)
    """Lower bound of 'worked', 0 to 1; see kb.community.evidence."""
    activity = models.FloatField(default=0)
    """Decayed votes, signals, reports and comments at `active`."""
    active = models.DateTimeField(db_default=Now())
    heat = models.FloatField(default=0)
    """Orders rows by liveliness at any later time (kb.search.keys.heat)."""
    votes = models.PositiveIntegerField(default=0)
    reports = models.PositiveIntegerField(default=0)
    dated = models.DateTimeField()
    indexed = models.DateTimeField(db_default=Now())
    extent = models.PositiveIntegerField(default=0)
    """Different words, about: reading it here spares fetching a long vector."""
    stamp = models.CharField(max_length=32, blank=True, default="")
    """Digest of everything the row was made of, to find rows that fell behind."""
    vector = SearchVectorField()
    title_vector = SearchVectorField(default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "object_id"], name="one_entry_per_thing"),
        ]
        # What changes with each vote (activity, proven, votes, reports) is in no index: PostgreSQL
        # then rewrites the row in place, instead of every word of it in every index.
        indexes = [
            # Postings that wait to be sorted in are read by every search: few of them, or none.
            GinIndex(fields=["vector"], name="search_words", gin_pending_list_limit=512),
            GinIndex(fields=["title_vector"], name="search_titles", fastupdate=False),
            GinIndex(fields=["keys", "audience"], name="search_keys", fastupdate=False),
            GinIndex(
                fields=["vector"],
                name="search_hot_words",
                fastupdate=False,
                condition=models.Q(is_hot=True),
            ),
            GinIndex(
                fields=["keys", "audience"],
                name="search_hot_keys",
                fastupdate=False,
                condition=models.Q(is_hot=True),
            ),
            models.Index(fields=["title_key"], name="search_title_key"),
            models.Index(
                fields=["kind", "-heat", "-object_id"],
                name="search_liveliest",
                condition=models.Q(is_listed=True),
            ),
            models.Index(
                fields=["kind", "-dated", "-object_id"],
                name="search_latest",
                condition=models.Q(is_listed=True),
            ),
            models.Index(fields=["indexed", "id"], name="search_indexed"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"


class SearchMeaning(models.Model):
    """What an entry means, as the embeddings model in use tells it (kb.search.meaning)."""

    entry = models.OneToOneField(
        SearchEntry, models.CASCADE, primary_key=True, related_name="meaning"
    )
    space = models.BigIntegerField()
    """The target whose vectors these are; those of another cannot be compared."""
    stamp = models.CharField(max_length=32)
    """That of the entry when it was read."""
    bits = Bits()
    """For each number whether it is above their middle; how many differ is counted quickly."""
    numbers = models.BinaryField()
    """The vector, of length 1, as little-endian half floats."""

    def __str__(self) -> str:
        return f"meaning of entry {self.entry_id}"


class SearchWord(models.Model):
    """A word of titles, excerpts and facets, and in about how many entries it stands."""

    word = models.CharField(max_length=80, primary_key=True)
    lexemes = ArrayField(models.TextField(), default=list)
    """What the French, the English and the plain dictionary make of it."""
    entries = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [GinIndex(fields=["lexemes"], name="search_lexemes")]

    def __str__(self) -> str:
        return self.word


class SearchCount(models.Model):
    """How many entries of one audience have one key."""

    audience = ArrayField(models.CharField(max_length=40))
    kind = models.CharField(max_length=20)
    is_listed = models.BooleanField()
    key = models.CharField(max_length=90)
    entries = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["audience", "kind", "is_listed", "key"], name="one_count_each"
            ),
        ]
        indexes = [GinIndex(fields=["audience"], name="search_count_audience")]

    def __str__(self) -> str:
        return f"{self.key}: {self.entries}"


class SearchChange(models.Model):
    """One entry that came (+1) or went (-1) and is not yet in the counts. Written by a trigger."""

    audience = ArrayField(models.CharField(max_length=40))
    kind = models.CharField(max_length=20)
    is_listed = models.BooleanField()
    keys = ArrayField(models.CharField(max_length=90))
    step = models.SmallIntegerField()

    def __str__(self) -> str:
        return f"{self.step:+d} {self.keys}"


class SearchState(models.Model):
    """One row: how far the caretakers of the index have come."""

    is_tiered = models.BooleanField(default=False)
    """Whether some entries are not hot, so that common words are ranked in the hot ones only."""
    entries = models.BigIntegerField(default=0)
    """About how many entries there are."""
    learned = models.DateTimeField(null=True)
    """Entries indexed until then are in the vocabulary."""
    words_edition = models.BigIntegerField(default=0)
    """Another number whenever words were learned, so that processes read them again."""
    mended = models.BigIntegerField(default=0)
    """The last prompt the nightly repair has looked at."""

    def __str__(self) -> str:
        return f"{self.entries} entries"


class SearchMiss(models.Model):
    """What was looked for in vain on one day, by how many searches. Never by whom."""

    words = models.CharField(max_length=200)
    """Folded."""
    facets = models.CharField(max_length=200, blank=True)
    language = models.CharField(max_length=8)
    day = models.DateField()
    found = models.PositiveIntegerField(default=0)
    """Results of the last such search."""
    times = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "words", "facets", "language"], name="one_miss_a_day"
            ),
        ]

    def __str__(self) -> str:
        return self.words
