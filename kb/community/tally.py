"""Counting of what people reported, by prompt: one statement for any number of prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db import connection

from kb.community.evidence import Worked

_SQL = """
WITH uses AS (
  SELECT s.prompt_id, s.version_id, s.outcome
  FROM kb_usagesignal s
  WHERE s.prompt_id = ANY(%(ids)s) AND s.retrospective_id IS NULL
  UNION ALL
  SELECT v.prompt_id, v.id, CASE r.outcome WHEN 'worked' THEN 'worked'
                                           WHEN 'worked_with_edits' THEN 'with_edits'
                                           ELSE 'failed' END
  FROM kb_retrospective r JOIN kb_promptversion v ON v.id = r.version_id
  WHERE v.prompt_id = ANY(%(ids)s)
)
SELECT u.prompt_id, u.version_id = p.current_id AS is_current, u.outcome, count(*)
FROM uses u JOIN kb_prompt p ON p.id = u.prompt_id
GROUP BY 1, 2, 3
"""


@dataclass(frozen=True)
class Tally:
    """Reported uses of one prompt: of its current version, and of all versions together."""

    current: Worked
    total: Worked

    @property
    def worked(self) -> Worked:
        """What counts today: the current version once anybody has used it, else its past."""
        return self.current if self.current.n else self.total

    @property
    def is_from_older_versions(self) -> bool:
        return not self.current.n and self.total.n > 0


def tally(prompt_ids: Collection[int]) -> Mapping[int, Tally]:
    """Prompt id to its tally, for every id given (one query)."""
    counts: dict[tuple[int, bool], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    with connection.cursor() as cursor:
        cursor.execute(_SQL, {"ids": list(prompt_ids)})
        for prompt_id, is_current, outcome, count in cursor.fetchall():
            counts[prompt_id, bool(is_current)][outcome] += count
    return {pk: _tally(counts[pk, True], counts[pk, False]) for pk in prompt_ids}


def _tally(current: Mapping[str, int], older: Mapping[str, int]) -> Tally:
    def worked(*sources: Mapping[str, int]) -> Worked:
        return Worked(
            *(sum(s.get(name, 0) for s in sources) for name in ("worked", "with_edits", "failed"))
        )

    return Tally(current=worked(current), total=worked(current, older))
