"""From the words of a query to what the database is asked: lexemes, rarity, alternatives.

Words are looked for in French and in English at once, because a document is indexed in its own
language and a query has none. What is a stop word in either, and what people write around a
request, is not insisted upon while other words remain.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from django.db import connection

from kb.search.query import Term
from kb.search.synonyms import FILLERS, synonyms
from kb.search.text import Word, fold, words

Dictionary = Literal["fr", "en", "plain"]
DICTIONARIES: tuple[Dictionary, ...] = ("fr", "en", "plain")
OPTIONAL_WEIGHT = 0.15
"""Of a filler or stop word: decides between equals, never more."""
MOST_OPTIONAL = 2
MOST_WANTED = 8
"""Words of a long sentence that are ranked by, the rarest."""
MOST_COMBINED = 6
"""Of these, the rarest, whose combinations are looked for when not every word has to be there."""
TOGETHER = 5.0
LEAST_WEIGHT = 0.3
"""Of the commonest word: it still counts a little."""
SHORTEST_ROOT, LONGEST_ENDING = 4, 3
"""Letters of a word that an inflection leaves alone, and those it may change."""
SHORTEST_PREFIX = 3
"""Letters from which the last word is also read as the beginning of one."""


@dataclass(frozen=True)
class State:
    """What a search must know of the index."""

    is_tiered: bool = False
    entries: int = 0
    words_edition: int = 0


@dataclass(frozen=True)
class Group:
    """Alternatives of which one is wanted, as tsquery texts.

    `match` holds in any language; `ranked` is what counts in a document of one dictionary, and may
    be empty. `entries` is about how many entries match, 0 when unknown; `word` is the word itself
    when the group is just one, so that it can be corrected, completed and exchanged.
    """

    match: str
    ranked: Mapping[Dictionary, str]
    entries: int
    is_optional: bool = False
    is_negated: bool = False
    word: str = ""
    weight: float = 1.0
    kin: Mapping[Dictionary, str] | None = None
    """The same of its synonyms."""
    kin_entries: int = 0
    """In about how many entries one of them stands."""
    kin_weight: float = 1.0
    """Of the group where only a synonym is found: no more than so common a word tells."""

    @property
    def root(self) -> str:
        """Letters a title must begin a word with to hold this word and not a mere relative of it.

        The dictionaries cut "accessibility" down to "access"; who asks for it does not mean that.
        Nothing when the group is more than one word.
        """
        return self.word[: max(SHORTEST_ROOT, len(self.word) - LONGEST_ENDING)]

    @property
    def kin_match(self) -> str:
        """The word or what means the same."""
        return _any([self.match, *(self.kin or {}).values()])

    @property
    def reach(self) -> int:
        """In about how many entries it stands, or what means the same."""
        return self.entries + (self.kin_entries if self.kin else 0)

    @property
    def widened_match(self) -> str:
        """The word also as the beginning of one."""
        if not self.word:
            return self.match
        return _any([self.match, f"{_quoted(self.word)}:*"])


@dataclass(frozen=True)
class Plan:
    """The groups of a query, and the state of the index when they were read."""

    groups: tuple[Group, ...]
    negated: tuple[Group, ...]
    state: State

    @property
    def wanted(self) -> tuple[Group, ...]:
        """The groups that are insisted upon: all optional ones when there is nothing else."""
        return tuple(g for g in self.groups if not g.is_optional) or self.groups

    @property
    def ranking(self) -> tuple[Group, ...]:
        """The groups that decide the order."""
        wanted = sorted(self.wanted, key=lambda g: -g.weight)[:MOST_WANTED]
        optional = [g for g in self.groups if g.is_optional and g not in wanted]
        return (*wanted, *optional[:MOST_OPTIONAL])

    def ways(self, share: float) -> tuple[str, ...]:
        """Ways to have at least this share of the weight of the words, and none that is negated.

        Several queries instead of one with all of them: the index finds what has two words by going
        through those that have the rarer one, but what has this or that by reading all of both.
        """
        sets = _sets(self.wanted, share) if self.groups else [()]
        return tuple(_without(_all(g.kin_match for g in found), self.negated) for found in sets)

    def expected(self, share: float) -> float:
        """About how many entries have one of these ways, at most.

        As if words met by chance, and then TOGETHER times as often: words of one matter are friends.
        """
        total = max(self.state.entries, 1)

        def one(groups: Sequence[Group]) -> float:
            shares = [min(1.0, group.reach / total) for group in groups]
            met = total * math.prod(shares) * TOGETHER ** (len(groups) - 1)
            return min(met, *(group.reach for group in groups), total)

        return sum(one(groups) for groups in _sets(self.wanted, share))

    def nearest(self, shares: Sequence[float], most: int) -> tuple[str, ...]:
        """Ways to have the least of these shares that no more than about `most` entries have.

        First of the words themselves, then, as far as there is room, of what means the same as well;
        none when even all words are in more.
        """
        found: tuple[str, ...] = ()
        room: float = most
        for plan in (self.exact(), self):
            share = next((one for one in shares if plan.expected(one) <= room), None)
            if share is not None:
                found += plan.ways(share)
                room -= plan.expected(share)
        return tuple(dict.fromkeys(found))

    def in_title(self, share: float) -> str:
        """At least this share of the weight."""
        return _any(_all(group.match for group in found) for found in _sets(self.wanted, share))

    def completing(self) -> str:
        """Every word of the query, the last one perhaps only begun."""
        return _without(_all([self.before_last(), self.groups[-1].widened_match]), self.negated)

    def before_last(self) -> str:
        """Every word of the query but the last."""
        return _all(g.match for g in self.groups[:-1] if not g.is_optional)

    def exact(self) -> Plan:
        """Without the synonyms."""
        return replace(self, groups=tuple(replace(group, kin=None) for group in self.groups))

    def widened(self) -> Plan:
        """With the last word also as the beginning of one."""
        last = next((g for g in reversed(self.groups) if g.word), None)
        groups = tuple(_widened(group, is_last=group is last) for group in self.groups)
        return replace(self, groups=groups)

    def exchanged(self, words: Mapping[str, Group]) -> Plan:
        """With other groups instead of those of some words."""
        return replace(self, groups=tuple(words.get(g.word, g) for g in self.groups))


def make_plan(terms: Iterable[Term]) -> Plan:
    """Read the terms of a query (one statement)."""
    read = [(term, _units(term)) for term in terms]
    read = [(term, units) for term, units in read if units]
    asked = {spelling for _term, units in read for unit in units for spelling in _spellings(unit)}
    kin = {word: synonyms(word) for word in asked}
    known, state = look_up({*asked, *(other for others in kin.values() for other in others)})
    groups: list[Group] = []
    negated: list[Group] = []
    for _number, members in itertools.groupby(read, key=lambda pair: pair[0].group):
        made = _group(list(members), known, kin)
        (negated if made.is_negated else groups).append(made)
    weighed = tuple(_weighed(group, state) for group in groups)
    return Plan(weighed, tuple(negated), state)


def group_of(word: str, known: Mapping[str, Lexemes], state: State) -> Group:
    """The group of a single word that was looked up."""
    pair = (Term((word,)), [Word((word,))])
    return _weighed(_group([pair], known, {word: synonyms(word)}), state)


# --- Looking words up --------------------------------------------------------------------------


@dataclass(frozen=True)
class Lexemes:
    """What the dictionaries make of a word (nothing of a stop word), and how many entries have it."""

    fr: tuple[str, ...]
    en: tuple[str, ...]
    plain: tuple[str, ...]
    entries: int

    def of(self, dictionary: Dictionary) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self, dictionary)
        return found

    @property
    def is_stop_word(self) -> bool:
        return not self.fr or not self.en


_LOOK_UP = """
SELECT asked.word, asked.fr, asked.en, asked.plain,
  (SELECT coalesce(sum(w.entries), 0)::bigint FROM kb_searchword w
   WHERE w.lexemes && (asked.fr || asked.en || asked.plain))
FROM (SELECT word, tsvector_to_array(to_tsvector('french', word)) AS fr,
        tsvector_to_array(to_tsvector('english', word)) AS en,
        tsvector_to_array(to_tsvector('simple', word)) AS plain
      FROM unnest(%(words)s::text[]) word) asked
UNION ALL
SELECT NULL, CASE WHEN is_tiered THEN '{tiered}'::text[] END, NULL, NULL, entries FROM kb_searchstate
UNION ALL
SELECT NULL, NULL, '{edition}'::text[], NULL, words_edition FROM kb_searchstate
"""


def look_up(asked: Iterable[str]) -> tuple[Mapping[str, Lexemes], State]:
    """The lexemes of folded words, and the state of the index."""
    found: dict[str, Lexemes] = {}
    state = State()
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_UP, {"words": sorted(asked)})
        for word, fr, en, plain, entries in cursor.fetchall():
            if word is not None:
                found[word] = Lexemes(tuple(fr), tuple(en), tuple(plain), entries)
            elif en:
                state = replace(state, words_edition=entries)
            else:
                state = replace(state, is_tiered=bool(fr), entries=entries)
    return found, state


# --- Building ----------------------------------------------------------------------------------


def _units(term: Term) -> list[Word]:
    return [word for text in term.words for word in words(fold(text))]


def _spellings(word: Word) -> Iterator[str]:
    if word.whole:
        yield word.whole
    yield from word.parts


def _group(
    members: Sequence[tuple[Term, Sequence[Word]]],
    known: Mapping[str, Lexemes],
    kin: Mapping[str, frozenset[str]],
) -> Group:
    first, units = members[0]
    alternatives = [_alternative(term, found, known) for term, found in members]
    match = _any({text for found in alternatives for text in found.values()})
    ranked = {name: _any({found[name] for found in alternatives}) for name in DICTIONARIES}
    is_single = len(members) == 1 and len(units) == 1 and not first.phrase
    word = units[0].whole or units[0].parts[0] if is_single else ""
    others = [other for other in sorted(kin.get(word, ())) if other in known]
    return Group(
        match=match,
        ranked=ranked,
        entries=sum(_entries(found, known) for _term, found in members),
        is_optional=not first.phrase
        and all(_is_optional(w, known) for _t, f in members for w in f),
        is_negated=first.negated,
        word=word,
        kin={name: _any(_joined(other, name, known) for other in others) for name in DICTIONARIES}
        if others
        else None,
        kin_entries=sum(known[other].entries for other in others),
    )


def _alternative(
    term: Term, units: Sequence[Word], known: Mapping[str, Lexemes]
) -> Mapping[Dictionary, str]:
    if term.phrase:
        parts = [part for unit in units for part in unit.parts]
        return {name: _phrase(parts, name, known) for name in DICTIONARIES}
    return {name: _all(_unit(unit, name, known) for unit in units) for name in DICTIONARIES}


def _unit(word: Word, name: Dictionary, known: Mapping[str, Lexemes]) -> str:
    """A word; a compound of letters also in separate words, next to each other.

    Not one with figures: gpt-4o is not gpt-4o-mini.
    """
    whole = _joined(word.whole or word.parts[0], name, known)
    if word.whole and all(part.isalpha() for part in word.parts):
        return _any([whole, _phrase(word.parts, name, known)])
    return whole


def _joined(word: str, name: Dictionary, known: Mapping[str, Lexemes]) -> str:
    return _all(_quoted(lexeme) for lexeme in known[word].of(name))


def _phrase(parts: Sequence[str], name: Dictionary, known: Mapping[str, Lexemes]) -> str:
    """The parts in this order; a stop word leaves its place open, as it does in the index."""
    text, gap = "", 0
    for part in parts:
        gap += 1
        if lexemes := known[part].of(name):
            text = f"{text} <{gap}> {_quoted(lexemes[0])}" if text else _quoted(lexemes[0])
            gap = 0
    return f"({text})" if text else ""


def _entries(units: Sequence[Word], known: Mapping[str, Lexemes]) -> int:
    return min(
        min(known[spelling].entries for spelling in (unit.whole or unit.parts[0],))
        for unit in units
    )


def _is_optional(word: Word, known: Mapping[str, Lexemes]) -> bool:
    spelling = word.whole or word.parts[0]
    return spelling in FILLERS or known[spelling].is_stop_word


def _weighed(group: Group, state: State) -> Group:
    """With its weight: how much finding it tells, like the inverse document frequency of BM25."""
    part = OPTIONAL_WEIGHT if group.is_optional else 1.0
    weight, kin_weight = (
        part * (LEAST_WEIGHT + math.log((max(state.entries, found) + 2) / (max(found, 1) + 1)))
        for found in (group.entries, group.kin_entries)
    )
    return replace(group, weight=weight, kin_weight=min(weight, kin_weight))


def _widened(group: Group, *, is_last: bool) -> Group:
    if not is_last or len(group.word) < SHORTEST_PREFIX:
        return group
    beginning = f"{_quoted(group.word)}:*"
    ranked = {name: _any([text, beginning]) for name, text in group.ranked.items()}
    return replace(group, match=group.widened_match, ranked=ranked)


_LEXEME = re.compile(r"('(?:[^']|'')*'):?")


def outside_title(query: str) -> str:
    """A tsquery that holds only by words that stand elsewhere than in the title (weight A)."""
    return _LEXEME.sub(r"\1:BCD", query)


def _sets(groups: Sequence[Group], share: float) -> list[tuple[Group, ...]]:
    """Every smallest set of groups that has the share of the weight of all."""
    most = MOST_WANTED if share >= 1 else MOST_COMBINED
    heaviest = sorted(groups, key=lambda g: -g.weight)[:most]
    # A word in no entry that was read is nothing to insist upon, but whoever has it has much.
    known = [group for group in heaviest if group.reach] or heaviest
    needed = share * sum(group.weight for group in known) - 1e-9
    sets: list[tuple[Group, ...]] = []
    for size in range(1, len(heaviest) + 1):
        for chosen in itertools.combinations(heaviest, size):
            is_enough = sum(g.weight for g in chosen) >= needed
            if is_enough and not any(set(map(id, s)) <= set(map(id, chosen)) for s in sets):
                sets.append(chosen)
    return sets


def _without(text: str, negated: Sequence[Group]) -> str:
    return _all([text, *(f"!{group.match}" for group in negated if group.match)])


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def _any(texts: Iterable[str]) -> str:
    return _put_together(texts, " | ")


def _all(texts: Iterable[str]) -> str:
    return _put_together(texts, " & ")


def _put_together(texts: Iterable[str], sign: str) -> str:
    found = sorted(set(filter(None, texts)))
    return found[0] if len(found) == 1 else f"({sign.join(found)})" if found else ""
