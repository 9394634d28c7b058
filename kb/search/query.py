"""What a person typed into the search, as data.

Words, "exact words", -not, one OR (OU) other, and fields in English and French: `tool:chatgpt`,
`service:juridique`, `-tag:nda`, `langue : fr`. Nothing typed is an error: an unclosed quotation
mark is a slip, an unknown field is a word, and what says nothing is left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import parse_qs

from kb.search.text import fold

LONGEST_QUERY = 200
"""Characters read; a longer text is something pasted by mistake."""
MOST_TERMS = 16

Facet = Literal[
    "departments",
    "tools",
    "use_cases",
    "tags",
    "languages",
    "kinds",
    "statuses",
    "authors",
    "has",
    "evidence",
]
FACETS: tuple[Facet, ...] = get_args(Facet)

FIELD_NAMES: dict[Facet, tuple[str, ...]] = {
    "departments": ("department", "dept", "service", "département"),
    "tools": ("tool", "outil"),
    "use_cases": ("use", "usage", "cas"),
    "tags": ("tag", "étiquette"),
    "languages": ("lang", "language", "langue"),
    "kinds": ("kind", "type"),
    "statuses": ("status", "statut", "état"),
    "authors": ("author", "auteur", "autrice"),
    "has": ("has", "avec"),
    "evidence": ("evidence", "preuve", "preuves"),
}
"""The names of each field, the canonical one first; accents and case do not count."""

_VALUE_NAMES: dict[Facet, dict[str, tuple[str, ...]]] = {
    "languages": {
        "fr": ("français", "francais", "french"),
        "en": ("anglais", "english"),
    },
    "authors": {"me": ("moi",)},
    "kinds": {
        "prompt": ("prompts",),
        "retrospective": ("retrospectives", "retour", "retours", "rex", "rétrospective"),
    },
    "statuses": {
        "draft": ("brouillon", "brouillons"),
        "published": ("publié", "publiée", "publiés"),
        "archived": ("archivé", "archivée", "archivés"),
        "verified": ("vérifié", "vérifiée", "vérifiés"),
        "drifted": ("dérivé", "dérive", "dérivés"),
        "suspect": ("suspects",),
        "stable": ("stables",),
    },
    "evidence": {
        "proven": ("prouvé", "prouvée", "éprouvé"),
        "some": ("quelques", "début"),
        "none": ("aucune", "sans"),
    },
    "has": {
        "retrospective": ("retrospectives", "retour", "retours", "rex", "rétrospective"),
        "variables": ("variable",),
        "failures": ("failure", "échec", "échecs"),
        "monitor": ("monitors", "surveillance"),
    },
}
"""Values with a fixed name, and what else people call them. Other values stay as typed."""


ADDRESS_NAMES: dict[str, Facet] = {
    "department": "departments",
    "tool": "tools",
    "use_case": "use_cases",
    "tag": "tags",
    "language": "languages",
    "status": "statuses",
    "evidence": "evidence",
}
"""Name in the address of a page to the field."""
MOST_VALUES = 20
LONGEST_VALUE = 80


@dataclass(frozen=True)
class Understood:
    """One thing that was asked for, to be told back: `field` is the canonical name of a field, or
    'words', 'phrase'. Of `values` any will do, unless `is_excluded`: then none may occur."""

    field: str
    values: tuple[str, ...]
    is_excluded: bool = False


@dataclass(frozen=True)
class Term:
    """Words to be found: one, or several in this order when `phrase`.

    Terms of one `group` are alternatives, groups are all wanted. A negated term, alone in its
    group, must not be found.
    """

    words: tuple[str, ...]
    phrase: bool = False
    negated: bool = False
    group: int = 0


@dataclass(frozen=True)
class Facets:
    """Values asked of each field, in small letters; of the values of one field, any will do."""

    departments: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    use_cases: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()
    has: frozenset[str] = frozenset()
    evidence: frozenset[str] = frozenset()

    def values(self, facet: Facet) -> frozenset[str]:
        """The values of one field by its name in FACETS."""
        values: frozenset[str] = getattr(self, facet)
        return values


@dataclass(frozen=True)
class SearchQuery(Facets):
    """Everything a person asked for. `excluded` holds the values that must not occur."""

    terms: tuple[Term, ...] = ()
    excluded: Facets = field(default_factory=Facets)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked: then the page browses."""
        return self == SearchQuery()

    @property
    def wanted_words(self) -> tuple[str, ...]:
        """The words of all terms that are not negated, to mark them in excerpts."""
        return tuple(word for term in self.terms if not term.negated for word in term.words)

    def understood(self) -> tuple[Understood, ...]:
        """What was asked for, piece by piece in the order of `to_text`."""
        pieces = [
            Understood(
                "phrase" if any(term.phrase for term in members) else "words",
                tuple(" ".join(term.words) for term in members),
                members[0].negated,
            )
            for _group, found in groupby(self.terms, key=lambda term: term.group)
            for members in [list(found)]
        ]
        for facets, is_excluded in ((self, False), (self.excluded, True)):
            pieces += [
                Understood(FIELD_NAMES[facet][0], tuple(sorted(facets.values(facet))), is_excluded)
                for facet in FACETS
                if facets.values(facet)
            ]
        return tuple(pieces)

    def without(self, facet: Facet, value: str) -> SearchQuery:
        """The query less one value of a field, asked or excluded: what its chip removes."""
        asked: dict[str, Any] = {facet: self.values(facet) - {value}}
        excluded: dict[str, Any] = {facet: self.excluded.values(facet) - {value}}
        return replace(self, **asked, excluded=replace(self.excluded, **excluded))

    def to_text(self) -> str:
        """The canonical spelling: words, then fields. `parse` reads it back to an equal query."""
        return " ".join((*self._spelt_terms(), *_spelt(self, ""), *_spelt(self.excluded, "-")))

    def _spelt_terms(self) -> Iterator[str]:
        group = None
        for term in self.terms:
            if term.group == group:
                yield "OR"
            group = term.group
            words = " ".join(term.words)
            yield ("-" if term.negated else "") + (f'"{words}"' if term.phrase else words)


def _spelt(facets: Facets, sign: str) -> Iterator[str]:
    for facet in FACETS:
        for value in sorted(facets.values(facet)):
            needs_quotes = _NEEDS_QUOTES.search(value) is not None
            yield f"{sign}{FIELD_NAMES[facet][0]}:" + (f'"{value}"' if needs_quotes else value)


def parse(raw: str, *, limit: int = LONGEST_QUERY) -> SearchQuery:
    """Read what was typed, at most `limit` characters and 16 terms of it. Never raises.

    What is kept always fits into `limit` in its canonical spelling too; for that the last terms
    may have to go.
    """
    query = _built(_tokens(_clean(raw, limit)))
    while len(query.to_text()) > limit:
        query = _shortened(query)
    return query


def parse_address(address: str) -> SearchQuery:
    """Read the query string of a page: words in `q` and ticked values. Never raises."""
    given = parse_qs(address.removeprefix("?")[:4_000], errors="replace", max_num_fields=None)
    query = parse(" ".join(given.get("q", ()))[:LONGEST_QUERY])
    for name, facet in ADDRESS_NAMES.items():
        values = [value[:LONGEST_VALUE].replace("\x00", "") for value in given.get(name, ())]
        if kept := frozenset(filter(None, values[:MOST_VALUES])):
            asked: dict[str, Any] = {facet: query.values(facet) | kept}
            query = replace(query, **asked)
    return query


def _shortened(query: SearchQuery) -> SearchQuery:
    """The query less its last term, or else less some value."""
    if query.terms:
        return replace(query, terms=query.terms[:-1])
    facets, facet = next(
        (f, name) for f in (query.excluded, query) for name in FACETS if f.values(name)
    )
    return query.without(facet, max(facets.values(facet)))


# --- From characters to tokens -----------------------------------------------------------------

_QUOTES = {'"': '"', "“": "”", "”": "”", "„": "“", "«": "»", "»": "»"}
_QUOTE_SIGNS = "".join(dict.fromkeys([*_QUOTES, *_QUOTES.values()]))
_FIELD = re.compile(r"(?P<name>[^\W\d_]+)\s?:")
_BARE = re.compile(rf"[^\s{_QUOTE_SIGNS}]+")
_BARE_VALUE = re.compile(rf"[^\s,{_QUOTE_SIGNS}]+")
_SEPARATORS = re.compile(rf"[\s{_QUOTE_SIGNS}]+")
_NEEDS_QUOTES = re.compile(r"[\s,]")
_OPERATORS = ("OR", "OU")


class _Token(NamedTuple):
    """An operator, a term, or a value of a field."""

    kind: Literal["or", "word", "phrase", "value"]
    words: tuple[str, ...] = ()
    is_negated: bool = False
    facet: Facet | None = None


def _clean(raw: str, limit: int) -> str:
    """At most `limit` composed characters, white space plain, what does not show left out."""
    # Cut first: cleaning a pasted book would take its time. Four signs may compose to one.
    kept = (
        " " if sign.isspace() else sign
        for sign in raw[: 4 * limit]
        if sign.isspace() or unicodedata.category(sign) not in ("Cc", "Cf", "Cs")
    )
    return unicodedata.normalize("NFC", "".join(kept)).strip()[:limit]


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while (position := _start_of_token(text, position)) < len(text):
        is_negated = text[position] == "-"
        if is_negated:
            position += 1
            if text[position : position + 1].isspace():
                continue
            position = _start_of_token(text, position, skipped="-")
        for token, end in _token_at(text, position):
            position = end
            if token is not None:
                yield token._replace(is_negated=is_negated and token.kind != "or")


def _start_of_token(text: str, position: int, skipped: str = "") -> int:
    """The next place where something begins; punctuation in front of it is left out."""
    while position < len(text):
        sign, following = text[position], text[position + 1 : position + 2]
        begins = (
            sign.isalnum() or (sign == "-" and sign not in skipped) or _is_quoted(text, position)
        )
        if begins or (sign == "." and following.isalnum()):
            break
        position += 1
    return position


def _token_at(text: str, position: int) -> Iterator[tuple[_Token | None, int]]:
    """What begins at `position` (several values of one field, perhaps), each with its end."""
    if position >= len(text):
        return
    if _is_quoted(text, position):
        inner, end = _quoted(text, position)
        words = tuple(word for word in map(_word, _SEPARATORS.split(inner)) if word)
        yield (_Token("phrase", words) if words else None), end
        return
    match = _FIELD.match(text, position)
    facet = _FACET_BY_NAME.get(fold(match["name"])) if match else None
    if match and facet:
        yield from _values_at(text, match.end(), facet)
        return
    match = _BARE.match(text, position)
    end = match.end() if match else position + 1
    typed = text[position:end]
    if typed in _OPERATORS:
        yield _Token("or"), end
    else:
        word = _word(typed)
        yield (_Token("word", (word,)) if word else None), end


def _is_quoted(text: str, position: int) -> bool:
    """Whether quotation marks open here and are closed later."""
    closing = _QUOTES.get(text[position : position + 1])
    return closing is not None and closing in text[position + 1 :]


def _quoted(text: str, position: int) -> tuple[str, int]:
    """What stands between the quotation marks that open at `position`, and where they end."""
    closing = text.index(_QUOTES[text[position]], position + 1)
    return text[position + 1 : closing], closing + 1


def _values_at(text: str, position: int, facet: Facet) -> Iterator[tuple[_Token | None, int]]:
    """The values, separated by commas, of a field whose colon ends at `position`."""
    following = _after_space(text, position)
    yield None, following
    position = following
    while position < len(text):
        if text[position] in _QUOTE_SIGNS:
            if not _is_quoted(text, position):
                position += 1
                continue
            inner, end = _quoted(text, position)
        else:
            match = _BARE_VALUE.match(text, position)
            inner, end = (match[0], match.end()) if match else ("", position)
        value = _value(facet, inner)
        yield (_Token("value", (value,), facet=facet) if value else None), end
        if text[end : end + 1] != "," or text[end + 1 : end + 2].isspace():
            return
        position = end + 1


def _after_space(text: str, position: int) -> int:
    """Where the value after `tool: ` begins: past one space, unless another field begins there."""
    if not text[position : position + 1].isspace():
        return position
    match = _FIELD.match(text, position + 1)
    is_field = match is not None and fold(match["name"]) in _FACET_BY_NAME
    following = text[position + 1 : position + 2]
    begins = following.isalnum() or following in _QUOTES
    return position + 1 if begins and not is_field else position


def _word(typed: str) -> str:
    """A word less the punctuation around it; nothing when there is no letter or figure in it."""
    start = next((number for number, sign in enumerate(typed) if sign.isalnum()), len(typed))
    if start and typed[start - 1] == "." and start < len(typed):
        start -= 1
    end = len(typed)
    while end > start and not (typed[end - 1].isalnum() or typed[end - 1] in "+#"):
        end -= 1
    word = typed[start:end]
    return word.lower() if word in _OPERATORS else word


def _value(facet: Facet, typed: str) -> str:
    value = _word(" ".join(_SEPARATORS.split(typed)).lower())
    return _VALUE_BY_NAME.get((facet, fold(value)), value)


_FACET_BY_NAME: dict[str, Facet] = {
    fold(name): facet for facet in FACETS for name in FIELD_NAMES[facet]
}
_VALUE_BY_NAME = {
    (facet, fold(name)): value
    for facet, values in _VALUE_NAMES.items()
    for value, names in values.items()
    for name in (value, *names)
}


# --- From tokens to a query --------------------------------------------------------------------


def _built(tokens: Iterator[_Token]) -> SearchQuery:
    terms: list[Term] = []
    values: dict[tuple[bool, Facet], set[str]] = {}
    is_alternative = False
    previous: _Token | None = None
    for token in tokens:
        if token.kind == "or":
            is_alternative = previous is not None and _may_be_an_alternative(previous)
            continue
        if token.facet is not None:
            values.setdefault((token.is_negated, token.facet), set()).update(token.words)
        elif len(terms) < MOST_TERMS:
            joins = is_alternative and _may_be_an_alternative(token)
            last = terms[-1].group if terms else -1
            group = last if joins else last + 1
            terms.append(Term(token.words, token.kind == "phrase", token.is_negated, group))
        is_alternative, previous = False, token
    return SearchQuery(
        terms=tuple(terms),
        excluded=Facets(**_chosen(values, is_negated=True)),
        **_chosen(values, is_negated=False),
    )


def _may_be_an_alternative(token: _Token) -> bool:
    return token.facet is None and not token.is_negated


def _chosen(
    values: dict[tuple[bool, Facet], set[str]], *, is_negated: bool
) -> dict[Facet, frozenset[str]]:
    return {
        facet: frozenset(found)
        for (negated, facet), found in values.items()
        if negated == is_negated
    }
