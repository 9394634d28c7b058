"""The only writer of SearchEntry. Always called in the transaction of the change it tells of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import batched, repeat
from typing import Any

from django.db import connection

from kb.search import counts, tiers, vocabulary
from kb.search.keys import evidence, heat, keys_of, with_key
from kb.search.models import SearchEntry
from kb.search.text import expand_compounds, fold, title_key

LONGEST_INDEXED = 150_000
"""Characters of one text that are indexed."""
HEAVIEST_TEXT = 600_000
HEAVIEST_NOTES = 200_000
"""Estimated bytes in the tsvector, which PostgreSQL limits to 1,048,575 in all."""
EXCERPT_LENGTH = 1_800
"""Characters kept for quoting: the summary, the beginning of the write-up, then of the text."""
EXCERPT_NOTES = 600
CONFIGURATIONS = {"fr": "french", "en": "english", "und": "english"}
"""Language of a text to PostgreSQL's configuration; other languages are indexed word by word.
What nobody could tell is mostly lists of English key words."""
RECIPE = 4
"""Number of the way rows are made. A higher one makes the nightly repair write all rows anew."""
_VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_STRONG = re.compile(r"\*\*(\S|\S[^*\n]*\S)\*\*")
_LINE_SIGN = re.compile(r"^[ \t]*(?:[#>]+|[-*•])[ \t]+", re.MULTILINE)
_CLOSED_TAG = re.compile(r"</([\w-]{1,40})>")


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


@dataclass(frozen=True)
class Standing:
    """How a thing stands at the moment `as_of`, for loading in bulk. See `set_standing`."""

    proven: float = 0.0
    activity: float = 0.0
    votes: int = 0
    reports: int = 0
    drift: str = ""
    as_of: datetime | None = None


_COLUMNS = (
    "kind", "object_id", "parent_id", "slug", "title", "title_key", "excerpt", "language", "status",
    "author_id", "audience", "keys", "is_listed", "drift", "proven", "activity", "active", "heat",
    "votes", "reports", "dated", "extent", "stamp",
)  # fmt: skip
_TEXTS = ("config", "a", "b", "k", "c", "d")
_TITLE = "to_tsvector({config}::regconfig, {a})"
_VECTOR = """
  setweight(to_tsvector({config}::regconfig, {a}), 'A') ||
  setweight(to_tsvector({config}::regconfig, {b}), 'B') ||
  setweight(to_tsvector('french', {k}) || to_tsvector('english', {k}), 'B') ||
  setweight(to_tsvector({config}::regconfig, {c}), 'C') ||
  setweight(to_tsvector({config}::regconfig, {d}), 'D')"""
_PARAMETERS = {name: f"%({name})s" for name in _TEXTS}
_KEPT = ("drift", "proven", "activity", "active", "heat", "votes", "reports", "keys")
"""Columns that a later edition of a thing inherits, the keys of its standing included."""
_PUT = f"""
INSERT INTO kb_searchentry AS e ({", ".join(_COLUMNS)}, is_hot, title_vector, vector)
VALUES ({", ".join(f"%({name})s" for name in _COLUMNS)}, true,
  {_TITLE.format(**_PARAMETERS)}, {_VECTOR.format(**_PARAMETERS)})
ON CONFLICT (kind, object_id) DO UPDATE SET
  {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS if name not in _KEPT)},
  keys = EXCLUDED.keys[:cardinality(EXCLUDED.keys) - 1]
    || ARRAY(SELECT key FROM unnest(e.keys) key WHERE left(key, 2) IN ('e:', 'x:')),
  is_hot = true, indexed = now(), vector = EXCLUDED.vector, title_vector = EXCLUDED.title_vector
WHERE e.stamp <> EXCLUDED.stamp
"""  # noqa: S608 - our own column names


def put(document: Document) -> None:
    """Insert or replace what the search knows of a thing; its standing is left as it is.

    What is there already just so is not written again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PUT, _row(document, Standing()))
    if document.kind == "prompt":
        # Reports are read by whoever reads their prompt.
        reports = SearchEntry.objects.filter(parent_id=document.object_id)
        audience = list(document.audience)
        reports.exclude(audience=audience).update(audience=audience)


def _excerpt(text: str) -> str:
    """On one line, as it reads: without the signs around variables, of Markdown, of tags around parts."""
    text = _LINE_SIGN.sub("", _STRONG.sub(r"\1", _VARIABLE.sub(r"\1", text)))
    for name in dict.fromkeys(_CLOSED_TAG.findall(text)):
        text = text.replace(f"<{name}>", " ").replace(f"</{name}>", " ")
    return " ".join(text.split())


def _row(document: Document, standing: Standing) -> dict[str, Any]:
    """The columns of an entry and the texts its vectors are made of. Computes only."""
    texts = {
        "a": _prepared(document.title),
        "b": _prepared(document.summary),
        "k": _prepared("\n".join(document.keywords)),
        "c": _bounded(document.text, HEAVIEST_TEXT),
        "d": _bounded(document.notes, HEAVIEST_NOTES),
    }
    excerpt = f"{document.summary}\n{document.notes[:EXCERPT_NOTES]}\n{document.text}"
    as_of = standing.as_of or document.dated
    return {
        "kind": document.kind,
        "object_id": document.object_id,
        "parent_id": document.parent_id,
        "slug": document.slug,
        "title": document.title,
        "title_key": title_key(document.title),
        "excerpt": _excerpt(excerpt[:EXCERPT_LENGTH]),
        "language": document.language,
        "status": document.status,
        "author_id": document.author_id,
        "audience": list(document.audience),
        "keys": _keys(document, standing),
        "is_listed": document.kind != "prompt" or document.status == "published",
        "drift": standing.drift,
        "proven": standing.proven,
        "activity": standing.activity,
        "active": as_of,
        "heat": heat(activity=standing.activity, dated=document.dated, now=as_of),
        "votes": standing.votes,
        "reports": standing.reports,
        "dated": document.dated,
        "extent": len({word for text in texts.values() for word in text.split()}),
        "stamp": stamp(document),
        "config": CONFIGURATIONS.get(document.language, "simple"),
        **texts,
    }


def _keys(document: Document, standing: Standing) -> list[str]:
    """All facet values; those of the standing last, the one of evidence always being there."""
    proof = evidence(proven=standing.proven, reports=standing.reports)
    values = {
        "departments": document.departments,
        "tools": document.tools,
        "use_cases": document.use_cases,
        "tags": document.tags,
        "languages": [document.language],
        "statuses": [document.status],
        "drifts": [standing.drift] if standing.drift else [],
        "evidence": [proof],
    }
    return [key for facet, found in values.items() for key in keys_of(facet, dict.fromkeys(found))]


def stamp(document: Document) -> str:
    """A digest of everything the row of a document is made of."""
    told = json.dumps([RECIPE, asdict(document)], default=str, sort_keys=True)
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_STANDING = """
UPDATE kb_searchentry SET proven = %(proven)s, activity = %(activity)s, active = %(now)s,
  heat = %(heat)s, votes = %(votes)s, reports = %(reports)s, keys = %(keys)s
WHERE kind = %(kind)s AND object_id = %(object_id)s
"""


def set_standing(
    *,
    kind: str,
    object_id: int,
    proven: float,
    activity: float,
    votes: int,
    reports: int,
    now: datetime | None = None,
) -> None:
    """How proven (0 to 1) and how lively a thing is at `now` (the time of the call without)."""
    now = now or datetime.now(UTC)
    entries = SearchEntry.objects.select_for_update(no_key=True)
    entry = entries.filter(kind=kind, object_id=object_id).values("keys", "dated").first()
    if entry is None:
        return
    proof = evidence(proven=proven, reports=reports)
    keys: list[str] = entry["keys"]
    if f"e:{proof}" not in keys:
        keys = with_key(keys, "evidence", proof)
    with connection.cursor() as cursor:
        cursor.execute(
            _STANDING,
            {
                "kind": kind,
                "object_id": object_id,
                "proven": proven,
                "activity": activity,
                "votes": votes,
                "reports": reports,
                "keys": keys,
                "now": now,
                "heat": heat(activity=activity, dated=entry["dated"], now=now),
            },
        )


def set_drift(*, kind: str, object_id: int, state: str) -> None:
    """The worst monitor state of a thing, '' when nothing watches it."""
    entries = SearchEntry.objects.select_for_update(no_key=True)
    entry = entries.filter(kind=kind, object_id=object_id).exclude(drift=state).first()
    if entry is not None:
        entry.drift, entry.keys = state, with_key(entry.keys, "drifts", state)
        entry.save(update_fields=["drift", "keys"])


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


# --- For repair --------------------------------------------------------------------------------


def known(kind: str, *, after: int = 0, most: int = 10_000) -> list[int]:
    """Ids of the things of one kind in the index beyond `after`, ascending, at most `most`."""
    rows = SearchEntry.objects.filter(kind=kind, object_id__gt=after).order_by("object_id")
    return list(rows.values_list("object_id", flat=True)[:most])


def stamps(kind: str, object_ids: Collection[int]) -> Mapping[int, str]:
    """The stamps of these things; those not in the index are left out."""
    rows = SearchEntry.objects.filter(kind=kind, object_id__in=object_ids)
    return dict(rows.values_list("object_id", "stamp"))


# --- In bulk -----------------------------------------------------------------------------------

_STAGE = f"""
CREATE TEMPORARY TABLE search_stage ON COMMIT PRESERVE ROWS AS
SELECT {", ".join(_COLUMNS)}, {", ".join(f"''::text AS {name}" for name in _TEXTS)}
FROM kb_searchentry WITH NO DATA
"""  # noqa: S608 - our own column names
_UNSTAGE = f"""
INSERT INTO kb_searchentry ({", ".join(_COLUMNS)}, is_hot, title_vector, vector)
SELECT {", ".join(_COLUMNS)}, %(is_hot)s,
  {_TITLE.format(**{name: name for name in _TEXTS})},
  {_VECTOR.format(**{name: name for name in _TEXTS})}
FROM search_stage
"""  # noqa: S608
_COPY = f"COPY search_stage ({', '.join((*_COLUMNS, *_TEXTS))}) FROM STDIN"
_WORD_INDEXES = ("search_words", "search_titles", "search_keys", "search_hot_words", "search_hot_keys")  # fmt: skip


def load(
    documents: Iterable[Document],
    *,
    standings: Iterable[Standing] | None = None,
    batch_size: int = 2_000,
    told: Callable[[int], None] | None = None,
) -> int:
    """Add many things that are not in the index yet; returns how many. Afterwards call `settle`.

    `told` hears the number of each batch. Each batch is a transaction of its own unless the caller
    holds one. More than may be hot come in cold; `settle` chooses which are to be hot.
    """
    total = 0
    room = tiers.room()
    pairs = zip(documents, standings or repeat(Standing()), strict=False)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.search_stage")
        cursor.execute(_STAGE)
        for batch in batched(pairs, batch_size, strict=False):
            cursor.execute("TRUNCATE search_stage")
            with cursor.copy(_COPY) as copy:
                for row in _staged(batch):
                    copy.write_row(row)
            is_hot = total + len(batch) <= room
            if not is_hot:
                tiers.begin_cold()
            cursor.execute(_UNSTAGE, {"is_hot": is_hot})
            total += len(batch)
            if told:
                told(len(batch))
        cursor.execute("DROP TABLE search_stage")
    return total


def _staged(batch: Iterable[tuple[Document, Standing]]) -> Iterator[tuple[Any, ...]]:
    for document, standing in batch:
        row = _row(document, standing)
        yield tuple(row[name] for name in (*_COLUMNS, *_TEXTS))


def drop_word_indexes() -> None:
    """Drop the big indexes, for a load of hundreds of thousands; searches crawl meanwhile."""
    with connection.cursor() as cursor:
        for name in _WORD_INDEXES:
            cursor.execute(f"DROP INDEX IF EXISTS {name}")


def create_word_indexes() -> None:
    """Make them again."""
    with connection.schema_editor(atomic=False) as editor:
        for made in SearchEntry._meta.indexes:
            if made.name in _WORD_INDEXES:
                editor.add_index(SearchEntry, made)


def settle(*, told: Callable[[str], None] | None = None) -> None:
    """Bring everything that is worked out from the entries up to date: tiers, counts, vocabulary."""
    for name, work in (
        ("facet counts", counts.recount),
        ("hot entries", _choose_hot),
        ("vocabulary", vocabulary.rebuild),
        ("statistics", tiers.analyze),
    ):
        if told:
            told(name)
        work()


def _choose_hot() -> None:
    while tiers.refresh() >= tiers.MOST_CHANGED:
        pass
