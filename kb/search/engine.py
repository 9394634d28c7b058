"""The only reader of SearchEntry: a SearchQuery and a person become a page of results.

One statement finds, ranks and counts. Visibility is inside it, so that page, counts and facets
agree. Words are looked for in French and in English at once; what is a stop word in either is not
insisted upon, so that a sentence finds what its words would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.contrib.auth.models import AnonymousUser
from django.db import connection

from accounts.models import User
from accounts.standing import standing
from kb.search.models import SearchEntry
from kb.search.query import SearchQuery, Term
from kb.search.text import Segment, excerpt, fold, words

Sort = Literal["relevance", "proven", "newest"]
SORTS: tuple[Sort, ...] = ("relevance", "proven", "newest")
Kind = Literal["prompt", "retrospective"]
FACETS = ("departments", "tools", "use_cases", "tags", "languages", "statuses")
ACTIVITY_WEIGHT = 0.25
"""How much liveliness lifts a match: e-fold activity adds a quarter of its rank."""
PROVEN_WEIGHT = 0.5
"""A prompt that surely works ranks at most half again as high: words matter more than proof."""
DRIFTED_PENALTY = 0.7
WEIGHTS = "{0.1, 0.3, 0.6, 1.0}"
"""Of D, C, B, A for ts_rank: notes, text, summary and keywords, title."""
EXCERPT_WIDTH = 180
MOST_VALUES = 60
"""Values of one facet that are counted."""


@dataclass(frozen=True)
class Hit:
    """One result: what it is, and its title and a passage with the matching words marked."""

    kind: str
    object_id: int
    slug: str
    title: Sequence[Segment]
    excerpt: Sequence[Segment]
    language: str
    dated: datetime


@dataclass(frozen=True)
class Results:
    """A page of results; `facets` maps a facet to its values and their counts."""

    hits: Sequence[Hit]
    total: int
    facets: Mapping[str, Mapping[str, int]]


def search(
    query: SearchQuery,
    person: User | AnonymousUser,
    *,
    kind: Kind = "prompt",
    sort: Sort = "relevance",
    page: int = 1,
    page_size: int = 20,
    has_facets: bool = True,
) -> Results:
    """The page of what this person may read and the query asks for.

    A facet counts what choosing its value would show: all other conditions hold, its own do not.
    Without words, relevance means liveliest first.
    """
    sql, values = _statement(query, person, kind)
    values |= {"limit": page_size, "offset": (page - 1) * page_size}
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} {_PAGE.format(order=_ORDER[sort])}", values)
        rows = cursor.fetchall()
        counts: list[tuple[str, str, int]] = []
        if has_facets:
            cursor.execute(f"{sql} {_COUNTS}", values)
            counts = cursor.fetchall()
    total = rows[0][-1] if rows else 0
    if not rows and page > 1:
        total = search(query, person, kind=kind, sort=sort, page_size=1, has_facets=False).total
    return Results(
        hits=[_hit(row, query) for row in rows],
        total=total,
        facets=_facets(counts),
    )


def most_proven(person: User, most: int) -> list[int]:
    """Ids of the published prompts with the highest lower bound of 'worked'; only proven ones."""
    return list(
        SearchEntry.objects.filter(
            kind="prompt",
            status="published",
            proven__gt=0,
            audience__overlap=standing(person).audience_tokens,
        )
        .order_by("-proven", "-object_id")
        .values_list("object_id", flat=True)[:most]
    )


# --- the statement -----------------------------------------------------------------------------

_PAGE = """
SELECT kind, object_id, slug, title, excerpt, language, dated, count(*) OVER () FROM found
WHERE in_departments AND in_tools AND in_use_cases AND in_tags AND in_languages AND in_statuses
ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s
"""
_COUNTS = " UNION ALL ".join(
    f"""(SELECT '{facet}', value, count(*) FROM found, unnest({facet}) value
        WHERE {" AND ".join(f"in_{other}" for other in FACETS if other != facet)}
        GROUP BY value ORDER BY count(*) DESC, value LIMIT {MOST_VALUES})"""
    for facet in FACETS
)
_ORDER = {
    "relevance": "score DESC, object_id DESC",
    "proven": "proven DESC, score DESC, object_id DESC",
    "newest": "dated DESC, object_id DESC",
}


def _statement(
    query: SearchQuery, person: User | AnonymousUser, kind: str
) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {
        "kind": kind,
        "tokens": standing(person).audience_tokens,
        "person": person.pk or 0,
        "weights": WEIGHTS,
    }
    tsquery = _tsquery(query.terms, values)
    match = "e.vector @@ q.query" if tsquery else "true"
    rank = "ts_rank(%(weights)s::real[], e.vector, q.query)" if tsquery else "1"
    conditions = [match, *_conditions(query, values)]
    sql = f"""
WITH q AS (SELECT {tsquery or "NULL::tsquery"} AS query),
found AS MATERIALIZED (
  SELECT e.kind, e.object_id, e.slug, e.title, e.excerpt, e.language, e.dated, e.proven,
    e.departments, e.tools, e.use_cases, e.tags, ARRAY[e.language]::text[] AS languages,
    ARRAY[e.status, e.drift]::text[] AS statuses,
    {rank} * (1 + {ACTIVITY_WEIGHT} * ln(1 + e.activity)) * (1 + {PROVEN_WEIGHT} * e.proven)
      * CASE WHEN e.drift = 'drifted' THEN {DRIFTED_PENALTY} ELSE 1 END AS score,
    {", ".join(_membership(facet, query, values) for facet in FACETS)}
  FROM kb_searchentry e, q
  WHERE e.kind = %(kind)s AND e.audience && %(tokens)s::varchar[] AND {" AND ".join(conditions)}
)
"""
    return sql, values


def _membership(facet: str, query: SearchQuery, values: dict[str, Any]) -> str:
    """Whether a row meets what is asked of one facet, as a column."""
    asked = sorted(getattr(query, facet))
    column = {
        "languages": "ARRAY[e.language]::text[]",
        "statuses": "ARRAY[e.status, e.drift]::text[]",
    }.get(facet, f"e.{facet}::text[]")
    if not asked:
        return f"{_default(facet)} AS in_{facet}"
    values[facet] = asked
    return f"({column} && %({facet})s::text[]) AS in_{facet}"


def _default(facet: str) -> str:
    # Reports keep their outcome in `status`; only prompts have drafts and archives to hide.
    return "(e.kind <> 'prompt' OR e.status = 'published')" if facet == "statuses" else "true"


def _conditions(query: SearchQuery, values: dict[str, Any]) -> list[str]:
    found = []
    for facet in ("departments", "tools", "use_cases", "tags"):
        if excluded := sorted(query.excluded.values(facet)):
            values[f"not_{facet}"] = excluded
            found.append(f"NOT (e.{facet}::text[] && %(not_{facet})s::text[])")
    if query.excluded.languages:
        values["not_languages"] = sorted(query.excluded.languages)
        found.append("NOT e.language = ANY(%(not_languages)s)")
    if "me" in query.authors:
        found.append("e.author_id = %(person)s")
    if "retrospective" in query.has:
        found.append("e.reports > 0")
    if "monitor" in query.has:
        found.append("e.drift <> ''")
    return found


def _tsquery(terms: Iterable[Term], values: dict[str, Any]) -> str:
    """SQL of the words asked for: groups are all wanted, terms of a group are alternatives."""
    groups: dict[int, list[str]] = {}
    for number, term in enumerate(terms):
        made = _term(term, f"term{number}", values)
        if made:
            groups.setdefault(term.group, []).append(made)
    return " && ".join(f"({' || '.join(group)})" for group in groups.values())


def _term(term: Term, name: str, values: dict[str, Any]) -> str:
    found = [word for text in term.words for word in words(fold(text))]
    if not found:
        return ""
    if term.phrase:
        values[name] = " ".join(part for word in found for part in word.parts)
        function = "phraseto_tsquery"
    else:
        values[name] = " ".join(word.whole or word.parts[0] for word in found)
        function = "plainto_tsquery"
    made = f"""(SELECT CASE WHEN numnode(fr) = 0 OR numnode(en) = 0 THEN ''::tsquery ELSE fr || en || si END
      FROM (SELECT {function}('french', %({name})s) fr, {function}('english', %({name})s) en,
                   {function}('simple', %({name})s) si) parsed)"""
    return f"!!{made}" if term.negated else made


def _hit(row: Sequence[Any], query: SearchQuery) -> Hit:
    kind, object_id, slug, title, text, language, dated, _total = row
    wanted = query.wanted_words
    return Hit(
        kind=kind,
        object_id=object_id,
        slug=slug,
        title=excerpt(title, wanted, width=len(title) + 1),
        excerpt=excerpt(text, wanted, EXCERPT_WIDTH) if wanted else (),
        language=language,
        dated=dated,
    )


def _facets(rows: Iterable[tuple[str, str, int]]) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, dict[str, int]] = {facet: {} for facet in FACETS}
    for facet, value, count in rows:
        if value:
            found[facet][value] = count
    return found
