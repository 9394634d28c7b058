"""What somebody may be about to type: titles, tags, tools and departments that begin so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.contrib.auth.models import AnonymousUser
from django.utils.translation import get_language

from accounts.models import Department, User
from accounts.standing import standing
from kb.search import counts, vocabulary
from kb.search.engine import KINDS, steady_cursor
from kb.search.keys import SIGNS
from kb.search.plan import SHORTEST_PREFIX, Plan, group_of, look_up, make_plan
from kb.search.query import LONGEST_QUERY, parse
from kb.search.text import fold, title_key

FEWEST_LETTERS = 2
MOST_TITLES_LOOKED_AT = 400
"""Titles that match, of which the liveliest are offered."""
MOST_FACETS = 3
"""Of the suggestions, so that titles keep most of the room."""


@dataclass(frozen=True)
class Suggestion:
    """One line: `value` is the slug, `label` what to show (of tags and tools the slug again)."""

    kind: Literal["prompt", "retrospective", "tag", "tool", "department"]
    value: str
    label: str


_TITLES = """
WITH hot AS MATERIALIZED ({hot})
SELECT kind, slug, title FROM (
  SELECT * FROM hot UNION ALL ({others})
) t ORDER BY is_beginning DESC, heat DESC, object_id DESC LIMIT %(most)s
"""
_PART = """
SELECT e.kind, e.slug, e.title, e.heat, e.object_id, e.title_key LIKE %(beginning)s AS is_beginning
FROM kb_searchentry e
WHERE {condition} AND e.is_listed AND e.audience && %(tokens)s::varchar[] LIMIT {looked_at}
"""
_HAS = "e.title_vector @@ %(match)s::tsquery"
_HAS_EARLIER = "e.title_vector @@ %(earlier)s::tsquery"
"""What is typed without its last word. Titles with a word that begins with one or two letters are a large
part of all: with the other words an index finds fewer."""
_FEW = "NOT e.is_hot AND (SELECT count(*) FROM hot WHERE {which}) < %(most)s"
"""Few titles were found among the hot ones: then all others are looked at."""


def suggest(text: str, person: User | AnonymousUser, *, most: int = 8) -> list[Suggestion]:
    """At most `most` suggestions this person may see, facets first; nothing below two letters.

    The last word is read as the beginning of one; a word nobody used as the nearest that is used.
    """
    typed = title_key(text[:LONGEST_QUERY])
    tokens = standing(person).audience_tokens
    if len(typed) < FEWEST_LETTERS or not tokens:
        return []
    facets = _facets(typed, tokens)[:MOST_FACETS]
    plan = make_plan(parse(typed).terms)
    titles = _titles(plan, typed, tokens, most - len(facets))
    if not titles and not facets and (corrected := _corrected(plan)) is not None:
        titles = _titles(corrected, typed, tokens, most)
    return [*facets, *titles]


def _titles(plan: Plan, typed: str, tokens: Sequence[str], most: int) -> list[Suggestion]:
    if not plan.groups:
        return []
    match = plan.completing()
    last = plan.groups[-1].word
    is_short = 0 < len(last) < SHORTEST_PREFIX
    earlier = plan.before_last() if is_short else ""
    # In the title itself: its index leaves out the small words that one or two letters may begin.
    begun = "' ' || e.title_key LIKE %(begun)s"
    narrowed = f"{_HAS_EARLIER} AND {begun}" if earlier else _HAS
    hot = f"e.is_hot AND {begun if is_short and not earlier else narrowed}"
    others = f"{_FEW.format(which='true' if is_short else 'is_beginning')} AND {narrowed}"
    sql = _TITLES.format(
        hot=_PART.format(condition=hot, looked_at=MOST_TITLES_LOOKED_AT),
        others=_PART.format(
            condition=others if plan.state.is_tiered else "false", looked_at=MOST_TITLES_LOOKED_AT
        ),
    )
    values: dict[str, Any] = {
        "match": match,
        "earlier": earlier,
        "beginning": f"{_escaped(typed)}%",
        "begun": f"% {_escaped(last)}%",
        "tokens": list(tokens),
        "most": most,
    }
    with steady_cursor() as cursor:
        cursor.execute(sql, values)
        return [Suggestion(kind, slug, title) for kind, slug, title in cursor.fetchall()]


def _escaped(text: str) -> str:
    """For LIKE."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _corrected(plan: Plan) -> Plan | None:
    """The plan with the nearest known word for each word that nobody used; None without one."""
    tries = {
        group.word: vocabulary.guesses(group.word, plan.state.words_edition)[:1]
        for group in plan.groups
        if group.word and not group.entries
    }
    chosen = {word: found[0] for word, found in tries.items() if found}
    if not chosen:
        return None
    known, state = look_up(set(chosen.values()))
    return plan.exchanged({word: group_of(new, known, state) for word, new in chosen.items()})


def _facets(typed: str, tokens: Sequence[str]) -> list[Suggestion]:
    """Departments, tools and tags whose name begins so, the most used first."""
    used: dict[str, int] = {}
    for (_kind, is_listed), keys in counts.read(tokens, KINDS).items():
        for key, entries in keys.items() if is_listed else ():
            used[key] = used.get(key, 0) + entries
    found = [(Suggestion("department", slug, label), used.get(SIGNS["departments"] + slug, 0))
             for slug, label in _departments(typed)]  # fmt: skip
    for kind, facet in (("tool", "tools"), ("tag", "tags")):
        for key, entries in used.items():
            slug = key[2:]
            if key.startswith(SIGNS[facet]) and _begins(slug.replace("-", " "), typed):
                found.append((Suggestion(kind, slug, slug), entries))  # type: ignore[arg-type]
    found.sort(key=lambda pair: -pair[1])
    return [suggestion for suggestion, entries in found if entries]


def _departments(typed: str) -> Iterable[tuple[str, str]]:
    is_french = (get_language() or "en").startswith("fr")
    for department in Department.objects.all():
        names = (department.name_fr, department.name_en)
        if any(_begins(name, typed) for name in names):
            yield department.slug, names[0] if is_french else names[1]


def _begins(name: str, typed: str) -> bool:
    """Whether a name, or a word in it, begins with what was typed."""
    return f" {title_key(fold(name))}".find(f" {typed}") >= 0
