"""Asks the judged queries: the product, and two references anybody would try first.

Runs inside a house; Django is set up by whoever imports this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from django.db import connection

from accounts.models import User
from kb.finding.meaning import is_for_meaning
from kb.prompts.models import Prompt
from kb.search import engine, meaning
from kb.search.meaning import Question
from kb.search.query import parse
from tests.benchmarks.search_judged import DEPTH, Answer, Judged
from tests.benchmarks.search_vectors import Space

PRODUCT, ILIKE, PLAIN = "retex", "ilike", "websearch_to_tsquery + ts_rank"
MEANING = "with stand-in vectors"
SPACE = 0
"""No target has this number."""
READER = "admin@retex.example"
"""Reads everything, so that no judged prompt is out of sight."""

_REFERENCE = """
CREATE TEMP TABLE bench_reference AS
SELECT p.id, p.title, v.text, p.published,
  setweight(to_tsvector(c.name, p.title), 'A') || setweight(to_tsvector(c.name, left(v.text, 100000)), 'C') AS vector
FROM kb_prompt p JOIN kb_promptversion v ON v.id = p.current_id,
  LATERAL (SELECT (CASE p.language WHEN 'fr' THEN 'french' ELSE 'english' END)::regconfig AS name) c
WHERE p.status = 'published'
"""
_ILIKE = """
SELECT title FROM bench_reference WHERE title ILIKE %(like)s OR text ILIKE %(like)s
ORDER BY title ILIKE %(like)s DESC, published DESC, id DESC LIMIT %(most)s
"""
_PLAIN = """
SELECT title FROM bench_reference, websearch_to_tsquery(%(config)s::regconfig, %(text)s) query
WHERE vector @@ query ORDER BY ts_rank(vector, query) DESC, id DESC LIMIT %(most)s
"""
Ask = Callable[[Judged], Sequence[str]]


def product(person: User, space: Space | None = None) -> Ask:
    """The search as `person` meets it, first page only; in a space by meaning as well."""

    def ask(judged: Judged) -> Sequence[str]:
        query = parse(judged.text)
        is_asked = space is not None and is_for_meaning(query)
        question = Question(SPACE, list(space.of(judged.text))) if space and is_asked else None
        hits = engine.search(
            query, person, page_size=DEPTH, has_facets=False, question=question
        ).hits
        found = [hit.object_id for hit in hits]
        titles = dict(Prompt.objects.filter(pk__in=found).values_list("pk", "title"))
        return [titles[number] for number in found]

    return ask


def read_all() -> Space:
    """Have everything in the index read by the model that stands in."""
    meaning.forget()
    unread = meaning.unread(space=SPACE, is_wide=True, most=1_000_000)
    space = Space([one.text for one in unread])
    meaning.keep(SPACE, ((one, list(space.of(one.text))) for one in unread))
    return space


def make_reference() -> None:
    """Put the texts where the two references look, for this connection."""
    with connection.cursor() as cursor:
        cursor.execute(_REFERENCE)


def ilike(judged: Judged) -> Sequence[str]:
    """Title or text contains what was typed; titles first, then the newest."""
    escaped = judged.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return _titles(_ILIKE, {"like": f"%{escaped}%"})


def plain(judged: Judged) -> Sequence[str]:
    """PostgreSQL's own search, told the language of the query and of every text."""
    config = "french" if judged.language == "fr" else "english"
    return _titles(_PLAIN, {"config": config, "text": judged.text})


def _titles(sql: str, values: dict[str, str]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {**values, "most": DEPTH})
        return [title for (title,) in cursor.fetchall()]


def answered(queries: Iterable[Judged], ask: Ask) -> tuple[list[Answer], float]:
    """The answers to all queries, and the mean milliseconds of one."""
    began = time.perf_counter()
    answers = [Answer(judged, ask(judged)) for judged in queries]
    return answers, (time.perf_counter() - began) * 1000 / max(1, len(answers))


def reader() -> User:
    """Who asks."""
    return User.objects.get(email=READER)
