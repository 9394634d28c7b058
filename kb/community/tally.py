"""Counting of what people reported, by prompt: one statement for any number of prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db import connection

from kb.community.evidence import Worked

_USES = """
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
"""
_BY_PROMPT = f"""{_USES}
SELECT u.prompt_id, u.version_id = p.current_id AS is_current, u.outcome, count(*)
FROM uses u JOIN kb_prompt p ON p.id = u.prompt_id
GROUP BY 1, 2, 3
"""  # noqa: S608 - our own pieces; the ids travel as a parameter
_BY_VERSION = f"""{_USES}
SELECT version_id, outcome, count(*) FROM uses WHERE version_id IS NOT NULL GROUP BY 1, 2
"""  # noqa: S608 - likewise


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
        cursor.execute(_BY_PROMPT, {"ids": list(prompt_ids)})
        for prompt_id, is_current, outcome, count in cursor.fetchall():
            counts[prompt_id, bool(is_current)][outcome] += count
    return {pk: _tally(counts[pk, True], counts[pk, False]) for pk in prompt_ids}


def tally_by_version(prompt_id: int) -> Mapping[int, Worked]:
    """Id of a version to the reported uses of it; absent means none (one query)."""
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(_BY_VERSION, {"ids": [prompt_id]})
        for version_id, outcome, count in cursor.fetchall():
            counts[version_id][outcome] = count
    return {pk: _worked(found) for pk, found in counts.items()}


def _worked(*counts: Mapping[str, int]) -> Worked:
    return Worked(
        *(sum(c.get(name, 0) for c in counts) for name in ("worked", "with_edits", "failed"))
    )


def _tally(current: Mapping[str, int], older: Mapping[str, int]) -> Tally:
    return Tally(current=_worked(current), total=_worked(current, older))
