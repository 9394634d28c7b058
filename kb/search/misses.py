"""What people looked for in vain: for the wanted board, never with a name."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.db import connection
from django.db.models import Sum

from kb.search.models import SearchMiss
from kb.search.query import FACETS, LONGEST_QUERY, SearchQuery
from kb.search.text import fold

KEPT = timedelta(days=90)
_RECORD = """
INSERT INTO kb_searchmiss AS m (words, facets, language, day, found, times)
VALUES (%(words)s, %(facets)s, %(language)s, %(day)s, %(found)s, 1)
ON CONFLICT (day, words, facets, language)
DO UPDATE SET times = m.times + 1, found = EXCLUDED.found
"""


def record_miss(query: SearchQuery, *, found: int, language: str, now: datetime) -> None:
    """Note that a search found nothing, or nothing anybody opened. Without words nothing is noted.

    Kept are the folded words, the facets, how many results there were (`found`), the language of
    the page and the day; not who asked, nor when on that day. A name typed as author is left out.
    """
    words = fold(" ".join(w for t in query.terms if not t.negated for w in t.words))
    if not words.strip():
        return
    facets = " ".join(
        f"{facet}:{value}"
        for facet in FACETS
        if facet != "authors"
        for value in sorted(query.values(facet))
    )
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORD,
            {
                "words": " ".join(words.split())[:LONGEST_QUERY],
                "facets": facets[:LONGEST_QUERY],
                "language": language[:8],
                "day": now.date(),
                "found": found,
            },
        )


def most_missed(*, since: date, most: int = 50) -> list[tuple[str, int]]:
    """The words most often looked for in vain since a day, with how often."""
    rows = SearchMiss.objects.filter(day__gte=since).values("words").annotate(n=Sum("times"))
    return list(rows.order_by("-n", "words").values_list("words", "n")[:most])


def prune(*, now: datetime) -> int:
    """Forget what is older than 90 days; returns how many rows went."""
    return SearchMiss.objects.filter(day__lt=(now - KEPT).date()).delete()[0]
