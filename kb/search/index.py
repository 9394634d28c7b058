"""The only writer of SearchEntry. Always called in the transaction of the change it tells of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from kb.search.models import SearchEntry
from kb.search.text import expand_compounds, fold

LONGEST_INDEXED = 150_000
"""Characters of one text that are indexed."""
HEAVIEST_TEXT = 600_000
HEAVIEST_NOTES = 200_000
"""Estimated bytes in the tsvector, which PostgreSQL limits to 1,048,575 in all."""
EXCERPT_LENGTH = 1_500
"""Characters kept for quoting; the beginning of a prompt says what it is."""
CONFIGURATIONS = {"fr": "french", "en": "english", "und": "english"}
"""Language of a text to PostgreSQL's configuration; other languages are indexed word by word.
What nobody could tell is mostly lists of English key words."""


@dataclass(frozen=True)
class Document:
    """What the search is told of one thing. Texts as people wrote them; folding is done here.

    Weights: title A, summary and keywords B, text C, notes D.
    """

    kind: str
    object_id: int
    slug: str
    title: str
    summary: str
    keywords: Sequence[str]
    text: str
    notes: str
    language: str
    status: str
    author_id: int | None
    audience: Sequence[str]
    departments: Sequence[str]
    tools: Sequence[str]
    use_cases: Sequence[str]
    tags: Sequence[str]
    dated: datetime
    parent_id: int | None = None


_PUT = """
INSERT INTO kb_searchentry AS e
  (kind, object_id, parent_id, slug, title, excerpt, language, status, author_id, audience,
   departments, tools, use_cases, tags, dated, drift, proven, activity, votes, reports, vector)
VALUES
  (%(kind)s, %(object_id)s, %(parent_id)s, %(slug)s, %(title)s, %(excerpt)s, %(language)s, %(status)s,
   %(author_id)s, %(audience)s, %(departments)s, %(tools)s, %(use_cases)s, %(tags)s, %(dated)s,
   '', 0, 0, 0, 0,
   setweight(to_tsvector(%(config)s::regconfig, %(a)s), 'A') ||
   setweight(to_tsvector(%(config)s::regconfig, %(b)s), 'B') ||
   setweight(to_tsvector('french', %(k)s) || to_tsvector('english', %(k)s), 'B') ||
   setweight(to_tsvector(%(config)s::regconfig, %(c)s), 'C') ||
   setweight(to_tsvector(%(config)s::regconfig, %(d)s), 'D'))
ON CONFLICT (kind, object_id) DO UPDATE SET
  parent_id = EXCLUDED.parent_id, slug = EXCLUDED.slug, title = EXCLUDED.title,
  excerpt = EXCLUDED.excerpt, language = EXCLUDED.language, status = EXCLUDED.status,
  author_id = EXCLUDED.author_id, audience = EXCLUDED.audience,
  departments = EXCLUDED.departments, tools = EXCLUDED.tools, use_cases = EXCLUDED.use_cases,
  tags = EXCLUDED.tags, dated = EXCLUDED.dated, vector = EXCLUDED.vector
"""


def put(document: Document) -> None:
    """Insert or replace what the search knows of a thing; its standing is left as it is."""
    with connection.cursor() as cursor:
        cursor.execute(
            _PUT,
            {
                "kind": document.kind,
                "object_id": document.object_id,
                "parent_id": document.parent_id,
                "slug": document.slug,
                "title": document.title,
                "excerpt": " ".join(
                    f"{document.summary}\n{document.text}"[:EXCERPT_LENGTH].split()
                ),
                "language": document.language,
                "status": document.status,
                "author_id": document.author_id,
                "audience": list(document.audience),
                "departments": list(document.departments),
                "tools": list(document.tools),
                "use_cases": list(document.use_cases),
                "tags": list(document.tags),
                "dated": document.dated,
                "config": CONFIGURATIONS.get(document.language, "simple"),
                "a": _prepared(document.title),
                "b": _prepared(document.summary),
                "k": _prepared("\n".join(document.keywords)),
                "c": _bounded(document.text, HEAVIEST_TEXT),
                "d": _bounded(document.notes, HEAVIEST_NOTES),
            },
        )
    if document.kind == "prompt":
        # Reports are read by whoever reads their prompt.
        SearchEntry.objects.filter(parent_id=document.object_id).update(
            audience=list(document.audience)
        )


def set_standing(
    *, kind: str, object_id: int, proven: float, activity: float, votes: int, reports: int
) -> None:
    """How proven (0 to 1) and how lively a thing is, and its counts."""
    SearchEntry.objects.filter(kind=kind, object_id=object_id).update(
        proven=proven, activity=activity, votes=votes, reports=reports
    )


def set_drift(*, kind: str, object_id: int, state: str) -> None:
    """The worst monitor state of a thing, '' when nothing watches it."""
    SearchEntry.objects.filter(kind=kind, object_id=object_id).update(drift=state)


def forget(*, kind: str, object_id: int) -> None:
    """Take a thing out of the search, a prompt with the reports on it."""
    SearchEntry.objects.filter(kind=kind, object_id=object_id).delete()
    if kind == "prompt":
        SearchEntry.objects.filter(parent_id=object_id).delete()


def _bounded(text: str, heaviest: int) -> str:
    """The text prepared, from the end on left out until it fits into its share of the index."""
    prepared = _prepared(text)
    while len(text) > 1 and _weight(prepared) > heaviest:
        text = text[: len(text) // 2]
        prepared = _prepared(text)
    return prepared


def _weight(prepared: str) -> int:
    """Bytes a tsvector of these words takes: each lexeme once with its entry, each position twice."""
    found = prepared.split()
    return sum(len(word.encode()) + 8 for word in set(found)) + 2 * len(found)


def _prepared(text: str) -> str:
    return expand_compounds(fold(text[:LONGEST_INDEXED]))
