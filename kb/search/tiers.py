"""Which entries are hot: common words are ranked among these only, so that size costs nothing.

Up to HOT_SIZE entries all are hot, and every answer is complete. Beyond, the liveliest (which
includes the newest, see kb.search.keys.heat) and the best proven are; a title, a rare word and a
narrow filter are still looked for everywhere.
"""

from __future__ import annotations

from django.db import connection, transaction

from kb.search.models import SearchEntry, SearchState

HOT_SIZE = 20_000
"""Ranking a word that stands in a third of them takes about 20 ms."""
MOST_CHANGED = 20_000
"""Entries that change sides in one run: each is written anew into every index."""
HOT_PROVEN = 2_000
"""Of these, the best proven, however long ago; 'most proven' is sorted among the hot."""

_REFRESH = """
WITH wanted AS (
  (SELECT id FROM kb_searchentry WHERE is_listed ORDER BY heat DESC, object_id DESC LIMIT %(lively)s)
  UNION
  (SELECT id FROM kb_searchentry WHERE is_listed AND proven > 0
   ORDER BY proven DESC, object_id DESC LIMIT %(proven)s)
), changed AS (
  SELECT e.id, (w.id IS NOT NULL) AS is_hot FROM kb_searchentry e LEFT JOIN wanted w USING (id)
  WHERE e.is_hot <> (w.id IS NOT NULL)
  ORDER BY (w.id IS NOT NULL) DESC LIMIT %(most)s
)
UPDATE kb_searchentry e SET is_hot = c.is_hot FROM changed c WHERE e.id = c.id
"""


@transaction.atomic
def refresh(*, hot_size: int = HOT_SIZE) -> int:
    """Choose the hot entries anew; returns how many changed. A second run changes nothing.

    At most MOST_CHANGED at once, what becomes hot before what cools: the rest waits for the next
    run, and until then a few too many are ranked.
    """
    state = current_state(is_locked=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kb_searchentry")
        state.entries = cursor.fetchone()[0]
        state.is_tiered = state.entries > hot_size
        if state.is_tiered:
            proven = min(HOT_PROVEN, hot_size // 10)
            most = {"lively": hot_size - proven, "proven": proven, "most": MOST_CHANGED}
            cursor.execute(_REFRESH, most)
        else:
            cursor.execute("UPDATE kb_searchentry SET is_hot = true WHERE NOT is_hot")
        changed: int = cursor.rowcount
    state.save(update_fields=["entries", "is_tiered"])
    return changed


def begin_cold() -> None:
    """Say that there are entries that are not hot, before the first of them comes in a load."""
    state = current_state()
    if not state.is_tiered:
        state.is_tiered = True
        state.save(update_fields=["is_tiered"])


def room(*, hot_size: int = HOT_SIZE) -> int:
    """How many more entries may be hot from the start."""
    return max(0, hot_size - SearchEntry.objects.filter(is_hot=True).count())


def current_state(*, is_locked: bool = False) -> SearchState:
    """The one row; made when missing. Locked, it makes caretakers wait for each other."""
    SearchState.objects.bulk_create([SearchState(pk=1)], ignore_conflicts=True)
    rows = SearchState.objects.select_for_update() if is_locked else SearchState.objects
    return rows.get(pk=1)


def analyze() -> None:
    """Bring the planner's statistics up to date, as after a load."""
    with connection.cursor() as cursor:
        for table in ("kb_searchentry", "kb_searchword", "kb_searchcount", "kb_searchchange"):
            cursor.execute(f"ANALYZE {table}")
