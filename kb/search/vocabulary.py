"""The words of the index: how rare each is, and which one somebody may have meant.

Kept in a table of its own, learned from titles, excerpts and facets by a task that follows the index; a
search only reads it. Counts are about right, which is all that rarity needs.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Mod
from rapidfuzz import process
from rapidfuzz.distance import OSA

from kb.search.keys import SIGNS
from kb.search.models import SearchEntry, SearchWord
from kb.search.text import fold, words
from kb.search.tiers import current_state

SETTLING = timedelta(seconds=90)
"""Entries this young are left to the next round: one of a transaction still open would be missed."""
BATCH = 2_000
MOST_READ = 100_000
"""Entries a rebuild reads besides the hot ones: about half a minute."""
FEWEST_LETTERS = 2
SHORTEST_CORRECTED = 4
"""Shorter words have too many neighbours to guess."""
MOST_REMEMBERED = 150_000
"""Words, the most frequent first, that corrections are chosen from: about 15 MB in a process."""
MOST_GUESSES = 6
TWO_EDITS_FROM = 7
"""Letters from which two slips in one word are believed."""

_LEARN = """
INSERT INTO kb_searchword AS w (word, lexemes, entries)
SELECT word, lexemes_of(word), entries
FROM unnest(%(words)s::text[], %(entries)s::int[]) AS fresh(word, entries) ORDER BY word
ON CONFLICT (word) DO UPDATE SET entries = w.entries + EXCLUDED.entries
"""


@transaction.atomic
def learn(*, now: datetime) -> int:
    """Add the words of what was indexed since the last time; returns how many entries were read.

    An edited entry counts again, which `rebuild` puts right.
    """
    state = current_state(is_locked=True)
    until = now - SETTLING
    fresh = SearchEntry.objects.filter(indexed__lte=until).order_by("indexed", "id")
    if state.learned is not None:
        fresh = fresh.filter(indexed__gt=state.learned)
    rows = fresh.values_list("title", "excerpt", "keys").iterator(BATCH)
    read, found = _counted((_told(*row), 1) for row in rows)
    _write(found)
    state.learned = until
    if read:
        state.words_edition = secrets.randbits(62)
    state.save(update_fields=["learned", "words_edition"])
    return read


@transaction.atomic
def rebuild() -> int:
    """Learn everything anew; returns how many entries were read.

    In a large index the titles of all entries, and more only of the hot ones and an even sample of
    the others, each standing for as many as it was drawn from: rarity stays about right, no word of a
    title is unknown, and another word missed is one that is looked up in full.
    """
    state = current_state(is_locked=True)
    SearchWord.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(indexed) FROM kb_searchentry")
        (state.learned,) = cursor.fetchone()
    entries = SearchEntry.objects.count()
    step = max(1, entries // MOST_READ)
    drawn = SearchEntry.objects.annotate(drawn=Mod("id", step))
    if step > 1:
        drawn = drawn.filter(Q(drawn=0) | Q(is_hot=True))
    texts = drawn.values_list("title", "excerpt", "keys", "drawn").iterator(BATCH)
    read, found = _counted(
        (_told(title, text, keys), 1 if number else step) for title, text, keys, number in texts
    )
    if step > 1:
        titles = SearchEntry.objects.values_list("title", flat=True).iterator(BATCH)
        read, titled = _counted((title, 1) for title in titles)
        found |= titled  # the larger of both counts
    _write(found)
    state.words_edition = secrets.randbits(62)
    state.save(update_fields=["learned", "words_edition"])
    return read


def _told(title: str, excerpt: str, keys: Iterable[str]) -> str:
    """What an entry says, with the names of its facets, which are searched as well."""
    named = (key.partition(":") for key in keys if key.startswith(_NAMED))
    return "\n".join([title, excerpt, *(slug.replace("-", " ") for _sign, _, slug in named)])


_NAMED = tuple(SIGNS[facet] for facet in ("departments", "tools", "use_cases", "tags"))


def _counted(texts: Iterable[tuple[str, int]]) -> tuple[int, Counter[str]]:
    """How many texts there are, and in how many each word stands, each text as often as told."""
    found: Counter[str] = Counter()
    read = 0
    for text, times in texts:
        for spelling in spellings(text):
            found[spelling] += times
        read += 1
    return read, found


def _write(found: Counter[str]) -> None:
    """Add these counts to what is known."""
    learned = sorted(found.items())
    with connection.cursor() as cursor:
        for start in range(0, len(learned), BATCH):
            part = learned[start : start + BATCH]
            cursor.execute(
                _LEARN, {"words": [w for w, _n in part], "entries": [n for _w, n in part]}
            )


def spellings(text: str) -> set[str]:
    """The words of a text as somebody would type them, folded: parts, and compounds in one piece."""
    found = {
        spelling
        for word in words(fold(text))
        for spelling in (*word.parts, word.whole)
        if len(spelling) >= FEWEST_LETTERS
    }
    return {spelling for spelling in found if not spelling[0].isdigit() or not spelling.isdigit()}


# --- Corrections -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    """The words of one edition of the vocabulary with their entries, by length."""

    edition: int
    by_length: Mapping[int, Mapping[str, int]]


_remembered = _Words(-1, {})
_lock = threading.Lock()


def _current(edition: int) -> _Words:
    """The words of this edition, read once per process."""
    global _remembered
    if _remembered.edition == edition:
        return _remembered
    with _lock:
        if _remembered.edition != edition:
            rows = SearchWord.objects.order_by("-entries", "word")
            by_length: dict[int, dict[str, int]] = {}
            for word, entries in rows.values_list("word", "entries")[:MOST_REMEMBERED]:
                by_length.setdefault(len(word), {})[word] = entries
            _remembered = _Words(edition, by_length)
    return _remembered


def guesses(word: str, edition: int) -> list[str]:
    """What a folded word may have been meant to be: the nearest words, then the most frequent.

    One slip (a letter wrong, missing, too many, or two swapped) in a word of four letters, two in
    one of seven. The first letter counts as much as any, but is rarely the wrong one.
    """
    if len(word) < SHORTEST_CORRECTED or word.isdigit():
        return []
    edits = 2 if len(word) >= TWO_EDITS_FROM else 1
    known = _current(edition).by_length
    near: list[tuple[int, bool, int, str]] = []
    for length in range(max(3, len(word) - edits), len(word) + edits + 1):
        found = known.get(length, {})
        for other, distance, _index in process.extract_iter(
            word, found.keys(), scorer=OSA.distance, score_cutoff=edits
        ):
            if other != word:
                near.append((int(distance), other[0] != word[0], -found[other], other))
    return [other for _distance, _first, _entries, other in sorted(near)[:MOST_GUESSES]]
