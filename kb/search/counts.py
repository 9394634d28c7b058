"""How many entries have each facet value, kept beside the entries.

A trigger writes each coming and going of an entry to a table of changes, in the transaction of the
change; `fold` adds them up. Reading the counts and the changes together is exact at any moment, and
no two writers ever wait for the same count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from django.db import connection, transaction

from kb.search.models import SearchChange, SearchCount

TOTAL = "*"
"""The key every entry has."""

_FOLD = """
WITH gone AS (DELETE FROM kb_searchchange RETURNING audience, kind, is_listed, keys, step),
summed AS (
  SELECT audience, kind, is_listed, key, sum(step) AS entries
  FROM gone, unnest(keys || '*'::varchar) key GROUP BY 1, 2, 3, 4 HAVING sum(step) <> 0
)
INSERT INTO kb_searchcount AS c (audience, kind, is_listed, key, entries)
SELECT audience, kind, is_listed, key, entries FROM summed
ON CONFLICT (audience, kind, is_listed, key) DO UPDATE SET entries = c.entries + EXCLUDED.entries
"""
_RECOUNT = """
INSERT INTO kb_searchcount (audience, kind, is_listed, key, entries)
SELECT counted_audience(audience), kind, is_listed, key, count(*)
FROM kb_searchentry, unnest(keys || '*'::varchar) key GROUP BY 1, 2, 3, 4
"""
_READ = """
SELECT kind, is_listed, key, sum(entries)::bigint FROM (
  SELECT kind, is_listed, key, entries FROM kb_searchcount
  WHERE audience && %(tokens)s::varchar[] AND kind = ANY(%(kinds)s)
  UNION ALL
  SELECT kind, is_listed, key, step FROM kb_searchchange, unnest(keys || '*'::varchar) key
  WHERE audience && %(tokens)s::varchar[] AND kind = ANY(%(kinds)s)
) counted GROUP BY 1, 2, 3 HAVING sum(entries) > 0
"""

Counted = Mapping[tuple[str, bool], Mapping[str, int]]
"""(kind, is_listed) to key to entries; TOTAL is a key of every entry."""


@transaction.atomic
def fold() -> None:
    """Add the changes up. Safe to run at any time, twice too."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE kb_searchcount IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(_FOLD)
        cursor.execute("DELETE FROM kb_searchcount WHERE entries <= 0")


@transaction.atomic
def recount() -> None:
    """Count everything anew. Writers wait meanwhile, readers do not."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE kb_searchentry IN SHARE MODE")
        SearchChange.objects.all().delete()
        SearchCount.objects.all().delete()
        cursor.execute(_RECOUNT)


def read(tokens: Sequence[str], kinds: Collection[str]) -> Counted:
    """The counts of what holders of these audience tokens may read (one query)."""
    found: dict[tuple[str, bool], dict[str, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_READ, {"tokens": list(tokens), "kinds": list(kinds)})
        for kind, is_listed, key, entries in cursor.fetchall():
            found.setdefault((kind, is_listed), {})[key] = entries
    return found
