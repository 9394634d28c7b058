"""The only reader of SearchEntry: a SearchQuery and a person become a page of results.

One statement finds, ranks and counts. Visibility is inside it, so that page, counts and facets
agree. How many rows are ranked is bounded (kb.search.tiers), so that a common word costs the same
in a library of ten thousand and of a million. docs/search.md tells the whole story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from typing import Any, Literal

from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from accounts.models import User
from accounts.standing import standing
from kb.search import counts, meaning, vocabulary
from kb.search.conditions import Asked, asked_of
from kb.search.copies import stepped_back
from kb.search.keys import HALF_LIFE_DAYS, SIGNS, facet_of
from kb.search.meaning import Question
from kb.search.models import SearchEntry
from kb.search.plan import Group, Plan, group_of, look_up, make_plan, outside_title
from kb.search.query import SearchQuery
from kb.search.synonyms import SYNONYM_WEIGHT
from kb.search.text import Segment, excerpt, title_key

Sort = Literal["relevance", "proven", "newest"]
SORTS: tuple[Sort, ...] = ("relevance", "proven", "newest")
Kind = Literal["prompt", "retrospective", "everything"]
KINDS = ("prompt", "retrospective")
FACETS = tuple(SIGNS)

# --- What ranks before what ---
WEIGHTS = "{0.1, 0.3, 0.6, 1.0}"
"""Of D, C, B, A for ts_rank: write-up and notes, text, summary and keywords, title."""
ONE_MATCH = 0.6079
"""What ts_rank gives one word standing once at weight 1 (6/pi²); dividing by it makes that 1."""
TITLE_WEIGHT = 2.0
"""A title is chosen by its author to say what the thing is: a word there counts this much more
than standing in it would by weight alone, less when the title says much else."""
WHOLE_TITLE_SHARE = 0.5
"""Of the title's weight that depends on how much of the title was asked for."""
RELATIVE = 0.5
"""Of a title word's weight when the title only has a relative of it: "access" for "accessibility"."""
TITLE_ALONE = 0.6
"""Of it when nothing beside the title speaks of the word."""
ALL_IN_TITLE = 1.0
"""Every word in the title: the next best thing to the title itself."""
EXACT_TITLE = 100.0
"""The title itself comes first, whatever else is lively."""
LENGTH_WEIGHT = 0.35
USUAL_LENGTH = 100
"""Different words of a usual prompt. A long one holds many words by chance: what it holds counts
less, by the logarithm of how much longer it is."""
MISSING_WORDS = 2
"""Power of the share of the words' weight that matches: who lacks a rare word falls far behind."""
ACTIVITY_WEIGHT = 0.25
"""How much liveliness lifts a match: e-fold activity adds a quarter of its rank."""
MOST_ACTIVITY = 50.0
"""Beyond which liveliness lifts no further: at most it doubles a match."""
PROVEN_WEIGHT = 0.5
"""A prompt that surely works ranks at most half again as high: words matter more than proof."""
DRIFTED_PENALTY = 0.7
RETIRED_PENALTY = 0.6
"""Of what is archived, when it is asked for among others."""

FUSION = 1
"""What is added to a place before it is turned over, as in Reciprocal Rank Fusion (Cormack, Clarke and
Büttcher, SIGIR 2009). Their 60 makes the first sixty places nearly equal, which is right where no list
is better than the other; here that cost 6 of 100 first places (docs/benchmarks.md)."""
MEANING_WEIGHT = 0.5
"""Of a place by meaning, beside one by words: who comes first by meaning alone comes about fourth."""
MOST_FUSED = 200
"""Best matches by words among which those that no model has read are looked up."""

# --- How much is looked at ---
MOST_RANKED = 20_000
"""Matches ranked in an index where all is hot: all of them."""
MOST_RARE = 5_000
"""Entries that are looked for everywhere, however large the index, when no more than these are expected."""
MOST_FOUND = 2 * MOST_RARE
"""How many of them are taken when there are more after all; an estimate is no more than that."""
MOST_SCORED = 1_500
"""Candidates whose words are weighed, those with a fitting title and then the liveliest; of a very
common word the others are only counted, and follow by liveliness."""
ENOUGH_HOT = 200
"""Matches among the hot entries with which the others are not searched: ten pages."""
TITLED = (("all_in_title", 3_000), ("in_title", 1_000))
"""Cold entries that are ranked with the hot ones for their title, by how much of what was asked for
stands there: all of it, or TITLE_SHARE."""
TITLE_SHARE = 0.5
"""Of the weight of the words that a title must hold to be a candidate by it."""
ENOUGH = 5
"""Results below which fewer words are insisted upon."""
KEYWORD_SHARES = (1.0, 1.0, 0.7, 0.45, 0.3)
"""Of the weight of the words that must match, in attempts that follow too few results. The second one
is made with the last word read as a beginning."""
SENTENCE = 3
"""Words from which a query is read as a sentence: nobody knows which of its words are written there,
and in a large library some document has them all by chance."""
SENTENCE_SHARES = (0.3,)
NEAR_SHARES = (0.2, 0.25, 0.3, 0.45, 0.6, 0.7, 0.85, 1.0)
"""In a large index the least of these that few enough entries have is looked for everywhere as well.
For a sentence it may be less than what is asked for: the larger the index, the more of the weight a
single rare word has."""
DEEPEST = 5_000
"""Results one can page through; beyond, words or facets help more than pages."""

EXCERPT_WIDTH = 180
MOST_COMPARED = 50
"""Best matches among which near copies step back, a few pages."""
MOST_VALUES = 60
"""Values of one facet that are counted."""


@dataclass(frozen=True)
class Hit:
    """One result: what it is, and its title and a passage with the matching words marked.

    `is_near`: it has not the words, but means something near to them.
    """

    kind: str
    object_id: int
    slug: str
    title: Sequence[Segment]
    excerpt: Sequence[Segment]
    language: str
    dated: datetime
    is_near: bool = False


@dataclass(frozen=True)
class Position:
    """Where a hit stands in the order of the newest."""

    dated: datetime
    object_id: int


@dataclass(frozen=True)
class Correction:
    """A word nobody has used, and the word that was looked for instead."""

    asked: str
    used: str


@dataclass(frozen=True)
class Results:
    """A page of results; `facets` maps a facet to its values and their counts.

    With `total_is_capped`, `total` and the counts are those of the matches that were ranked, and
    there are more. `kinds` counts what the same query finds of each kind. `is_relaxed` when not
    every result has every word. `near` of them have not the words but a meaning near to them.
    `corrections` when words were exchanged; ask with `is_exact` to have them back. `last_page` is
    the deepest that may be asked for.
    """

    hits: Sequence[Hit] = ()
    total: int = 0
    facets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    total_is_capped: bool = False
    kinds: Mapping[str, int] = field(default_factory=dict)
    corrections: Sequence[Correction] = ()
    is_relaxed: bool = False
    near: int = 0
    last_page: int = 1


@dataclass(frozen=True)
class _Page:
    """What is wanted of the matches."""

    sort: Sort
    number: int
    size: int
    has_facets: bool

    @property
    def offset(self) -> int:
        return min((self.number - 1) * self.size, DEEPEST)

    @property
    def limit(self) -> int:
        """Rows of the page; none beyond the deepest one."""
        return self.size if self.offset < DEEPEST else 0

    @property
    def is_compared(self) -> bool:
        """Whether near copies among its rows step back."""
        return self.sort == "relevance" and self.offset < MOST_COMPARED


def search(
    query: SearchQuery,
    person: User | AnonymousUser,
    *,
    kind: Kind = "prompt",
    sort: Sort = "relevance",
    page: int = 1,
    page_size: int = 20,
    has_facets: bool = True,
    is_exact: bool = False,
    after: Position | None = None,
    question: Question | None = None,
) -> Results:
    """The page of what this person may read and the query asks for.

    A facet counts what choosing its value would show: all other conditions hold, its own do not.
    Without words, relevance means liveliest first. With `is_exact`, no word is exchanged or missing.
    `after` begins behind a hit instead of at a page, at any depth; it needs `is_in_order`. With a
    `question`, the words as a vector, what is near in meaning is found as well.
    """
    wanted = _Page(sort, page, page_size, has_facets)
    tokens = standing(person).audience_tokens
    asked = asked_of(query, person, KINDS if kind == "everything" else (kind,))
    if not tokens:
        return Results(facets=_empty(), kinds=dict.fromkeys(KINDS, 0))
    if asked.is_plain and not query.terms:
        with connection.cursor() as cursor:
            return _browse(cursor, asked, tokens, wanted, after)
    with steady_cursor() as cursor:
        plan = make_plan(query.terms)
        if not plan.groups:
            return _ranked(cursor, plan, asked, tokens, wanted, query)
        meant = meaning.nearest(cursor, question, tokens) if question and not is_exact else ()
        return _by_words(cursor, plan, asked, tokens, wanted, query, meant, is_exact=is_exact)


def is_in_order(query: SearchQuery, sort: Sort) -> bool:
    """Whether all there is can be followed to its end: nothing asked for, the newest first."""
    return sort == "newest" and query == SearchQuery()


def most_proven(person: User, most: int) -> list[int]:
    """Ids of the published prompts with the highest lower bound of 'worked'; only proven ones."""
    rows = SearchEntry.objects.filter(
        is_hot=True,
        kind="prompt",
        is_listed=True,
        proven__gt=0,
        audience__overlap=standing(person).audience_tokens,
    )
    return list(rows.order_by("-proven", "-object_id").values_list("object_id", flat=True)[:most])


@contextmanager
def steady_cursor() -> Iterator[CursorWrapper]:
    """A cursor whose statements never walk the whole table.

    The planner multiplies the frequencies of words as if they were independent, expects many rows
    and reads the table from its start until it has enough; when there are none, it reads all of it.
    The memory is for the bitmap of a common word, which otherwise forgets rows and checks pages.
    """
    is_inside = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_STEADY)
        yield cursor
        if is_inside:
            cursor.execute(_USUAL)


_STEADY = "SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '32MB'; SET LOCAL jit = off"
_USUAL = (
    "SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL work_mem TO DEFAULT; SET LOCAL jit TO DEFAULT"
)


# --- Browsing: nothing asked but a kind --------------------------------------------------------

_BROWSE = """
SELECT e.kind, e.object_id, e.slug, e.title, e.excerpt, e.language, e.dated FROM (
  {parts}
) e ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s
"""
_BROWSE_PART = """
(SELECT e.* FROM kb_searchentry e
 WHERE e.is_listed AND e.kind = '{kind}' AND e.audience && %(tokens)s::varchar[] {behind}
 ORDER BY {order} LIMIT %(limit)s + %(offset)s)
"""
_BROWSE_ORDER = {
    "relevance": "e.heat DESC, e.object_id DESC",
    "newest": "e.dated DESC, e.object_id DESC",
    "proven": "e.proven DESC, e.heat DESC, e.object_id DESC",
}


def _browse(
    cursor: CursorWrapper,
    asked: Asked,
    tokens: Sequence[str],
    page: _Page,
    after: Position | None,
) -> Results:
    """The liveliest of everything: rows from an index in order, counts from the table of counts."""
    order = _BROWSE_ORDER[page.sort]
    part = _BROWSE_PART
    if page.sort == "proven":
        part = part.replace("e.is_listed", "e.is_listed AND e.is_hot")
    behind = "AND (e.dated, e.object_id) < (%(dated)s, %(object_id)s)" if after else ""
    parts = " UNION ALL ".join(
        part.format(kind=kind, order=order, behind=behind) for kind in asked.kinds
    )
    counted = counts.read(tokens, KINDS)
    values: dict[str, Any] = {
        "tokens": list(tokens),
        "limit": page.size if after else page.limit,
        "offset": 0 if after else page.offset,
    }
    if after:
        values |= {"dated": after.dated, "object_id": after.object_id}
    cursor.execute(_BROWSE.format(parts=parts, order=order), values)
    rows = cursor.fetchall()
    kinds = {kind: counted.get((kind, True), {}).get(counts.TOTAL, 0) for kind in KINDS}
    total = sum(kinds[kind] for kind in asked.kinds)
    return Results(
        hits=[_hit((*row, False), ()) for row in rows],
        total=total,
        facets=_counted_facets(counted, asked.kinds) if page.has_facets else _empty(),
        kinds=kinds,
        last_page=_last_page(total, page.size),
    )


def _counted_facets(
    counted: counts.Counted, kinds: Iterable[str]
) -> Mapping[str, Mapping[str, int]]:
    """What is listed, and of the statuses also what is not: drafts, archives."""
    rows: list[tuple[str, str, int]] = []
    for (kind, is_listed), keys in counted.items():
        if kind not in kinds:
            continue
        for key, entries in keys.items():
            if key != counts.TOTAL and (is_listed or key.startswith(SIGNS["statuses"])):
                rows.append((*facet_of(key), entries))
    return _facets(rows)


# --- Words -------------------------------------------------------------------------------------


def _by_words(
    cursor: CursorWrapper,
    plan: Plan,
    asked: Asked,
    tokens: Sequence[str],
    page: _Page,
    query: SearchQuery,
    meant: Sequence[int],
    *,
    is_exact: bool,
) -> Results:
    """All words; when that finds too little, corrected words, related words, fewer words."""
    if is_exact:
        return _ranked(cursor, plan.exact(), asked, tokens, page, query)
    plan, corrections = _corrected(cursor, plan, asked, tokens)
    query = _marking(query, corrections)
    shares = SENTENCE_SHARES if len(plan.wanted) >= SENTENCE else KEYWORD_SHARES
    found = Results()
    for share in shares:
        found = _ranked(cursor, plan, asked, tokens, page, query, meant, share=share)
        if found.total - found.near >= ENOUGH or found.total_is_capped:
            break
        plan = plan.widened()
    return replace(found, corrections=corrections if found.total else ())


def _corrected(
    cursor: CursorWrapper, plan: Plan, asked: Asked, tokens: Sequence[str]
) -> tuple[Plan, Sequence[Correction]]:
    """Words that nothing readable holds exchanged for the nearest ones that something does."""
    unknown = [g for g in plan.wanted if g.word and not g.entries and not g.is_optional]
    if not unknown:
        return plan, ()
    last = plan.groups[-1].word
    tries = {
        group.word: vocabulary.guesses(group.word, plan.state.words_edition) for group in unknown
    }
    if not any(tries.values()):
        return plan, ()
    known, state = look_up({word for words in tries.values() for word in words})
    groups = {word: group_of(word, known, state) for words in tries.values() for word in words}
    matches = [*(g.match for g in unknown), *(g.match for g in groups.values())]
    matches += [g.widened_match for g in unknown if g.word == last]
    readable = _readable(cursor, matches, asked, tokens)
    exchanged: dict[str, Group] = {}
    for group in unknown:
        if group.match in readable or (group.word == last and group.widened_match in readable):
            continue
        found = next((w for w in tries[group.word] if groups[w].match in readable), None)
        if found:
            exchanged[group.word] = groups[found]
    corrections = [Correction(word, group.word) for word, group in exchanged.items()]
    return plan.exchanged(exchanged), corrections


def _readable(
    cursor: CursorWrapper, matches: Sequence[str], asked: Asked, tokens: Sequence[str]
) -> set[str]:
    """Which of these match anything this person may read."""
    parts, values = [], asked.values | {"tokens": list(tokens)}
    for number, match in enumerate(dict.fromkeys(filter(None, matches))):
        values[f"try{number}"] = match
        parts.append(
            f"""(SELECT %(try{number})s FROM kb_searchentry e
            WHERE e.vector @@ %(try{number})s::tsquery AND e.audience && %(tokens)s::varchar[] LIMIT 1)"""
        )
    cursor.execute(" UNION ALL ".join(parts), values)
    return {row[0] for row in cursor.fetchall()}


def _marking(query: SearchQuery, corrections: Sequence[Correction]) -> SearchQuery:
    """The query with the words that were used, so that these are marked."""
    used = {correction.asked: correction.used for correction in corrections}
    if not used:
        return query
    terms = tuple(
        replace(term, words=tuple(used.get(title_key(word), word) for word in term.words))
        for term in query.terms
    )
    return replace(query, terms=terms)


def _marked(plan: Plan, query: SearchQuery) -> Sequence[str]:
    """The words to mark in excerpts: articles and the like only where nothing else is asked for."""
    passed_over = {g.word for g in plan.groups if g.is_optional and g not in plan.wanted}
    return [word for word in query.wanted_words if title_key(word) not in passed_over]


# --- The statement -----------------------------------------------------------------------------


def _ranked(
    cursor: CursorWrapper,
    plan: Plan,
    asked: Asked,
    tokens: Sequence[str],
    page: _Page,
    query: SearchQuery,
    meant: Sequence[int] = (),
    *,
    share: float = 1.0,
) -> Results:
    """Candidates, ranked, one page of them, and what is counted among them: one statement.

    Documents with that share of the weight of the words are enough. `meant` are entries that are
    near in meaning, the nearest first.
    """
    has_words = bool(plan.groups)
    is_compared = has_words and page.is_compared
    values: dict[str, Any] = asked.values | {
        "tokens": list(tokens),
        "weights": WEIGHTS,
        "limit": max(MOST_COMPARED, page.offset + page.limit) if is_compared else page.limit,
        "offset": 0 if is_compared else page.offset,
        "named": title_key(" ".join(w for term in query.terms for w in term.words)),
    }
    ways = plan.ways(share) if has_words or plan.negated else ()
    near: tuple[str, ...] = ()
    is_everywhere = not plan.state.is_tiered or (has_words and plan.expected(share) <= MOST_RARE)
    is_sentence = share < 1 and len(plan.wanted) >= SENTENCE
    if has_words:
        values["in_title"] = plan.in_title(TITLE_SHARE)
        values["all_in_title"] = plan.in_title(1.0)
        if plan.state.is_tiered and (is_sentence or not is_everywhere):
            shares = [one for one in NEAR_SHARES if is_sentence or one >= share]
            near = plan.nearest(shares, MOST_RARE)
    if is_everywhere:
        ways, near = tuple(dict.fromkeys(ways + near)), ()
    values |= {f"way{number}": way for number, way in enumerate(ways)}
    match = " OR ".join(f"e.vector @@ %(way{number})s::tsquery" for number in range(len(ways)))
    values |= {f"near{number}": way for number, way in enumerate(near)}
    is_near = " OR ".join(f"e.vector @@ %(near{number})s::tsquery" for number in range(len(near)))
    match = f"({match})" if match else "true"
    only_near = "false"
    if meant:
        values["meant"] = list(meant)
        is_meant = "e.id = ANY(%(meant)s::bigint[])"
        only_near = f"({is_meant} AND NOT ({match}{f' OR {is_near}' if is_near else ''}))"
        match = f"({match} OR {is_meant})"
    candidates = (
        _all_candidates(plan, asked, match)
        if is_everywhere
        else _candidates_by_tier(plan, asked, match, is_near)
    )
    sql = f"""
WITH {candidates},
found AS MATERIALIZED (
  SELECT e.id, e.kind, e.object_id, e.keys, e.status, e.proven, e.dated, e.heat, {_score(plan)} AS score,
    {_lacks(plan, share)} AS lacks, {only_near} AS only_near, {asked.flags}
  FROM {_promising(plan, has_near=bool(near))} e {_ranks(plan, values)}
),
matching AS MATERIALIZED (SELECT *{_fused(meant)} FROM found WHERE {asked.all_flags})
{_page(page, is_fused=bool(meant))}
UNION ALL SELECT 'total', '', count(*), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM matching
UNION ALL SELECT 'lacks', '', count(*), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM matching
  WHERE lacks AND NOT only_near
UNION ALL SELECT 'near', '', count(*), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM matching WHERE only_near
UNION ALL SELECT 'capped', '', entries, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM capped
{_counting(asked, has_words=has_words) if page.has_facets else ""}
"""
    cursor.execute(sql, values)
    marked = _marked(plan, query)
    named = values["named"] if is_compared else None
    return _results(cursor.fetchall(), asked, tokens, page, marked, named, is_counted=not has_words)


_COUNTABLE = "e.id, e.kind, e.object_id, e.keys, e.status, e.is_listed, e.proven, e.dated, e.drift, e.activity, e.active, e.heat, e.language, e.title_key, e.extent, e.vector, e.title_vector"


def _matching(asked: Asked, match: str) -> str:
    return f"{match} AND e.audience && %(tokens)s::varchar[] AND {asked.base}"


def _loose(plan: Plan, asked: Asked) -> str:
    return asked.loose if not plan.groups else "true"


def _all_candidates(plan: Plan, asked: Asked, match: str) -> str:
    """The rows that are ranked, looked for in the whole index, and whether there are more."""
    most = MOST_FOUND if plan.state.is_tiered else MOST_RANKED
    hot = "" if plan.state.is_tiered else "e.is_hot AND "
    return f"""
candidates AS (
  SELECT {_COUNTABLE} FROM kb_searchentry e
  WHERE {hot}{_matching(asked, match)} AND {_loose(plan, asked)} LIMIT {most}
),
capped AS (SELECT count(*) / {most} AS entries FROM candidates)"""


def _candidates_by_tier(plan: Plan, asked: Asked, match: str, is_near: str) -> str:
    """The rows that are ranked, some thousands of those that match, and whether there are more."""
    readable, loose = _matching(asked, match), _loose(plan, asked)
    # Said so that no index serves it: with words, their own index of hot entries is the one to use,
    # and the planner would cross the large one of words with the small one of audiences.
    seen = "(e.audience && %(tokens)s::varchar[])"
    in_hot = f"{match} AND {seen}{' IS TRUE' if plan.groups else ''} AND {asked.base}"
    titled = "".join(
        f"""
    UNION ALL (SELECT e.id FROM (
      SELECT * FROM kb_searchentry e
      WHERE e.title_vector @@ %({name})s::tsquery AND NOT e.is_hot AND {seen} IS TRUE
        AND {asked.base} LIMIT {most}) e
      WHERE {match})"""
        for name, most in (TITLED if len(plan.wanted) > 1 else TITLED[-1:])
    )
    near_too = "UNION ALL SELECT id FROM near WHERE NOT is_hot" if is_near else ""
    titles = f"""{titled}
    {near_too}
    UNION ALL (SELECT e.id FROM kb_searchentry e
      WHERE e.title_key = %(named)s AND NOT e.is_hot AND {readable} LIMIT {ENOUGH_HOT})"""
    near = f"""
near AS MATERIALIZED (
  SELECT e.id, e.is_hot FROM kb_searchentry e
  WHERE ({is_near}) AND {seen} IS TRUE AND {asked.base} AND {asked.row_flags} LIMIT {MOST_FOUND}
),"""
    return f"""{near if is_near else ""}
hot AS MATERIALIZED (
  SELECT {_COUNTABLE}, ({asked.row_flags}) AS is_match FROM kb_searchentry e
  WHERE e.is_hot AND {in_hot} AND {loose} LIMIT {MOST_RANKED}
),
enough AS MATERIALIZED (SELECT count(*) >= {ENOUGH_HOT} AS is_enough FROM hot WHERE is_match),
rest AS MATERIALIZED (
  SELECT e.id FROM kb_searchentry e
  WHERE NOT (SELECT is_enough FROM enough) AND NOT e.is_hot AND {readable} AND {asked.row_flags}
  LIMIT {MOST_RARE}
),
cold AS MATERIALIZED (
  SELECT DISTINCT id FROM (
    SELECT id FROM rest {titles if plan.groups else ""}
  ) any_of_them
),
candidates AS (
  SELECT * FROM hot
  UNION ALL
  SELECT e.*, NULL FROM cold,
    LATERAL (SELECT {_COUNTABLE} FROM kb_searchentry e WHERE e.id = cold.id OFFSET 0) e
),
capped AS (
  SELECT CASE WHEN is_enough OR (SELECT count(*) FROM rest) >= {MOST_RARE} THEN 1 ELSE 0 END AS entries
  FROM enough
)"""


def _promising(plan: Plan, *, has_near: bool) -> str:
    """The candidates with their place by title and liveliness: only so many are read in full."""
    if not plan.groups:
        return "(SELECT *, 0 AS place FROM candidates)"
    place = "row_number() OVER (ORDER BY (title_key = %(named)s) DESC, titled DESC, heat DESC)"
    is_near = ""
    if has_near:
        # Those near to what was asked and those with a fitting title share the places between them.
        is_near = ", id IN (SELECT id FROM near) AS is_near"
        place = f"""CASE WHEN EXISTS (SELECT FROM near) THEN 2 ELSE 1 END * least({place},
      CASE WHEN is_near THEN row_number() OVER (ORDER BY is_near DESC, titled DESC, heat DESC) END)"""
    return f"""(SELECT *, {place} AS place FROM (SELECT *{is_near},
      (title_vector @@ %(in_title)s::tsquery)::int
        + (title_vector @@ %(all_in_title)s::tsquery)::int AS titled FROM candidates) c)"""


def _ranks(plan: Plan, values: dict[str, Any]) -> str:
    """For each candidate and word its rank and whether it is in the title, worked out once."""
    columns = []
    for number, group in enumerate(plan.ranking):
        values[f"root{number}"] = f"% {group.root}%"
        names = {"fr": f"fr{number}", "en": f"en{number}", "plain": f"plain{number}"}
        for dictionary, name in names.items():
            values[name] = group.ranked.get(dictionary) or group.ranked["plain"]  # type: ignore[call-overload]
        asked = _in_language(names)
        rank = f"ts_rank(%(weights)s::real[], d.words, {asked})"
        if group.kin:
            kin = {"fr": f"kfr{number}", "en": f"ken{number}", "plain": f"kplain{number}"}
            for dictionary, name in kin.items():
                values[name] = group.kin.get(dictionary) or group.ranked["plain"]  # type: ignore[call-overload]
            related = f"ts_rank(%(weights)s::real[], d.words, {_in_language(kin)})"
            columns.append(f"coalesce({related}, 0) / {ONE_MATCH} AS k{number}")
        body = {"fr": f"bfr{number}", "en": f"ben{number}", "plain": f"bplain{number}"}
        for dictionary, name in body.items():
            values[name] = outside_title(values[names[dictionary]])
        is_told = f"coalesce(d.words @@ {_in_language(body)}, false)"
        columns.append(f"coalesce({rank}, 0) / {ONE_MATCH} AS r{number}")
        columns.append(
            f"CASE WHEN NOT e.title_vector @@ {asked} THEN 0 ELSE"
            f" CASE WHEN ' ' || e.title_key LIKE %(root{number})s THEN 1 ELSE {RELATIVE} END"
            f" * CASE WHEN {is_told} THEN 1 ELSE {TITLE_ALONE} END END AS t{number}"
        )
    if not columns:
        return ""
    return f"""
      CROSS JOIN LATERAL (SELECT CASE WHEN e.place <= {MOST_SCORED} THEN e.vector || ''::tsvector END
        AS words OFFSET 0) d
      CROSS JOIN LATERAL (SELECT {", ".join(columns)} OFFSET 0) r"""


def _in_language(names: Mapping[str, str]) -> str:
    return (
        f"CASE e.language WHEN 'fr' THEN %({names['fr']})s::tsquery"
        f" WHEN 'en' THEN %({names['en']})s::tsquery"
        f" WHEN 'und' THEN %({names['en']})s::tsquery ELSE %({names['plain']})s::tsquery END"
    )


def _insisted_upon(plan: Plan) -> list[int]:
    """Places of the words that are wanted among those that rank."""
    wanted = [number for number, group in enumerate(plan.ranking) if not group.is_optional]
    return wanted or list(range(len(plan.ranking)))


def _share_found(plan: Plan) -> str:
    """How much of the weight of the wanted words a candidate has, from 0 to 1."""
    wanted = {number: plan.ranking[number] for number in _insisted_upon(plan)}
    found = " + ".join(_found(number, group) for number, group in wanted.items())
    return f"(({found}) / {sum(group.weight for group in wanted.values()):.4f})"


def _found(number: int, group: Group) -> str:
    """The weight of a word that stands there, or of what means the same."""
    own = f"{group.weight:.4f} * (r.r{number} > 0)::int"
    return f"greatest({own}, {group.kin_weight:.4f} * (r.k{number} > 0)::int)" if group.kin else own


def _rank(number: int, group: Group) -> str:
    """The rank of a word times its weight."""
    own = f"{group.weight:.4f} * r.r{number}"
    kin = f"{group.kin_weight * SYNONYM_WEIGHT:.4f} * r.k{number}"
    return f"greatest({own}, {kin})" if group.kin else own


def _score(plan: Plan) -> str:
    if not plan.groups:
        return "e.heat"
    groups, wanted = plan.ranking, _insisted_upon(plan)
    total = sum(group.weight for group in groups)
    rank = " + ".join(_rank(number, group) for number, group in enumerate(groups))
    title = " + ".join(f"{g.weight:.4f} * r.t{n}" for n, g in enumerate(groups))
    in_title = " + ".join(f"r.t{n}" for n in wanted)
    least_in_title = ", ".join(f"r.t{n}" for n in wanted)
    covered = f"least(1, ({in_title})::float / greatest(length(e.title_vector), 1))"
    return f"""
      (({rank}) / {total:.4f} / (1 + {LENGTH_WEIGHT} * ln(1 + e.extent / {USUAL_LENGTH}.0))
       + {TITLE_WEIGHT} * ({title}) / {total:.4f}
         * ({1 - WHOLE_TITLE_SHARE} + {WHOLE_TITLE_SHARE} * {covered})
       + {ALL_IN_TITLE} * least({least_in_title}))
      * power({_share_found(plan)}, {MISSING_WORDS})
      * (1 + {ACTIVITY_WEIGHT} * ln(1 + least({MOST_ACTIVITY}, e.activity
          * power(0.5, greatest(0, extract(epoch FROM now() - e.active)::float8) / {HALF_LIFE_DAYS * 86_400}))))
      * (1 + {PROVEN_WEIGHT} * e.proven)
      * CASE WHEN e.drift = 'drifted' THEN {DRIFTED_PENALTY} ELSE 1 END
      * CASE WHEN e.is_listed THEN 1 ELSE {RETIRED_PENALTY} END
      + CASE WHEN e.title_key = %(named)s THEN {EXACT_TITLE} ELSE 0 END"""


def _lacks(plan: Plan, share: float) -> str:
    """Whether a candidate is without one of the wanted words, as far as its words were weighed."""
    if share >= 1 or not plan.groups:
        return "false"
    missing = (
        f"r.r{number} = 0{f' AND r.k{number} = 0' if plan.ranking[number].kin else ''}"
        for number in _insisted_upon(plan)
    )
    return f"(e.place <= {MOST_SCORED} AND ({' OR '.join(missing)}))"


_ORDER = {
    "relevance": "score DESC, heat DESC, object_id DESC",
    "proven": "proven DESC, score DESC, object_id DESC",
    "newest": "dated DESC, object_id DESC",
}


def _fused(meant: Sequence[int]) -> str:
    """The place by words and the place by meaning as one number, where there are two.

    What no model has read stands by its words alone, which then count for both.
    """
    if not meant:
        return ""
    place = "row_number() OVER (ORDER BY only_near, score DESC, heat DESC, object_id DESC)"
    by_words = f"CASE WHEN only_near THEN 0 ELSE 1.0 / ({FUSION} + {place}) END"
    return f""",
  {by_words} + CASE
    WHEN id = ANY(%(meant)s::bigint[])
      THEN {MEANING_WEIGHT} / ({FUSION} + array_position(%(meant)s::bigint[], id))
    WHEN {place} <= {MOST_FUSED} AND NOT EXISTS (SELECT FROM kb_searchmeaning m WHERE m.entry_id = found.id)
      THEN {MEANING_WEIGHT} * {by_words}
    ELSE 0 END + (score >= {EXACT_TITLE})::int AS fused"""


def _page(page: _Page, *, is_fused: bool) -> str:
    order = _ORDER[page.sort]
    if is_fused and page.sort == "relevance":
        order = f"fused DESC, {order}"
    return f"""
SELECT 'hit', CASE WHEN m.only_near THEN 'near' ELSE '' END, place, m.object_id, m.kind, e.slug, e.title, e.excerpt, e.language, e.dated, m.score
FROM (SELECT *, row_number() OVER (ORDER BY {order}) AS place FROM matching
      ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s) m,
  LATERAL (SELECT * FROM kb_searchentry e WHERE e.id = m.id OFFSET 0) e"""


_NOTHING = "NULL, NULL, NULL, NULL, NULL, NULL, NULL"


def _counting(asked: Asked, *, has_words: bool) -> str:
    """Counts of the facets: of those not asked for among the matches, of the others without them."""
    left_out = [SIGNS[facet] for facet in asked.facets] + [SIGNS["statuses"]]
    parts = [
        f"""SELECT 'facet', key, count(*), 0, {_NOTHING}
        FROM (SELECT unnest(keys) AS key FROM matching) keys
        WHERE left(key, 2) <> ALL(ARRAY{left_out}) GROUP BY key"""
    ]
    for facet in asked.facets:
        if facet != "statuses":
            parts.append(
                f"""SELECT 'facet', key, count(*), 0, {_NOTHING} FROM found, unnest(keys) key
                WHERE {asked.flags_without(facet)} AND left(key, 2) = '{SIGNS[facet]}' GROUP BY key"""
            )
    parts.append(
        f"""SELECT 'facet', '{SIGNS["statuses"]}' || status, count(*), 0, {_NOTHING} FROM found
        WHERE {asked.flags_without("statuses")} GROUP BY status"""
    )
    parts.append(
        f"""SELECT 'kind', kind, count(*), 0, {_NOTHING} FROM found
        WHERE {asked.flags_without("kinds")} GROUP BY kind"""
    )
    return "".join(f"\nUNION ALL ({part})" for part in parts)


# --- From rows to results ----------------------------------------------------------------------


def _results(
    rows: Iterable[Sequence[Any]],
    asked: Asked,
    tokens: Sequence[str],
    page: _Page,
    marked: Sequence[str],
    named: str | None,
    *,
    is_counted: bool,
) -> Results:
    """Of rows from the first on, with what was asked for as a title, or of the rows of the page."""
    hits: list[tuple[int, Sequence[Any]]] = []
    facets: list[tuple[str, str, int]] = []
    kinds, told = dict.fromkeys(KINDS, 0), dict[str, int]()
    for what, key, number, object_id, kind, *shown in rows:
        if what == "hit":
            hits.append((number, (kind, object_id, *shown[:5], key == "near")))
        elif what == "facet":
            facets.append((*facet_of(key), number))
        elif what == "kind":
            kinds[key] = number
        else:
            told[what] = number
    counted = dict(_facets(facets))
    if is_counted and asked.only_facet and page.has_facets:
        # Without its one condition everything is left, which is counted already.
        own = _counted_facets(counts.read(tokens, asked.kinds), asked.kinds)
        counted[asked.only_facet] = own[asked.only_facet]
    shown = [row for _place, row in sorted(hits, key=lambda hit: hit[0])]
    if named is not None:
        shown = _apart(shown, named)[page.offset : page.offset + page.limit]
    return Results(
        hits=[_hit(row, marked) for row in shown],
        total=told["total"],
        facets=counted,
        total_is_capped=bool(told["capped"]),
        kinds=kinds,
        is_relaxed=bool(told["lacks"]),
        near=told["near"],
        last_page=_last_page(told["total"], page.size),
    )


def _apart(rows: Sequence[Sequence[Any]], named: str) -> list[Sequence[Any]]:
    """The rows with near copies further back, but for those whose title was asked for."""
    best, others = rows[:MOST_COMPARED], rows[MOST_COMPARED:]
    order = stepped_back([text for _kind, _id, _slug, _title, text, *_more in best])
    asked_for = takewhile(lambda row: title_key(row[3]) == named, best)  # they rank first
    exact = sum(1 for _row in asked_for)
    order.sort(key=lambda place: place >= exact)
    return [*(best[place] for place in order), *others]


def _last_page(total: int, size: int) -> int:
    return max(1, -(-min(total, DEEPEST) // size))


def _hit(row: Sequence[Any], wanted: Sequence[str]) -> Hit:
    kind, object_id, slug, title, text, language, dated, is_near = row
    return Hit(
        kind=kind,
        object_id=object_id,
        slug=slug,
        title=excerpt(title, wanted, width=len(title) + 1),
        excerpt=excerpt(text, wanted, EXCERPT_WIDTH) if wanted else (),
        language=language,
        dated=dated,
        is_near=is_near,
    )


def _empty() -> dict[str, dict[str, int]]:
    return {facet: {} for facet in FACETS}


def _facets(rows: Iterable[tuple[str, str, int]]) -> Mapping[str, Mapping[str, int]]:
    """The most frequent values of each facet. What drifts is a status, too: so people ask for it."""
    found = _empty()
    for facet, value, entries in rows:
        for name in (facet, "statuses") if facet == "drifts" else (facet,):
            if value:
                found[name][value] = found[name].get(value, 0) + entries
    return {
        facet: dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_VALUES])
        for facet, values in found.items()
    }
