"""What the pages of finding are asked: words, facets, order and page in an address; a search to keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, get_args

from django import forms
from django.utils.translation import gettext_lazy as _

from kb.finding.models import NAME_LENGTH, SavedSearch
from kb.search.engine import SORTS, Kind, Sort
from kb.search.query import (
    ADDRESS_NAMES,
    LONGEST_QUERY,
    LONGEST_VALUE,
    MOST_VALUES,
    SearchQuery,
    parse,
)

_KINDS: tuple[Kind, ...] = get_args(Kind)
HIGHEST_PAGE = 100_000


@dataclass(frozen=True)
class Address:
    """An address of the results page, read. Nothing in it can be an error.

    `text` is what was typed; `ticked` maps names of ADDRESS_NAMES to the values chosen beside it.
    """

    text: str = ""
    ticked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kind: Kind = "prompt"
    sort: Sort = "relevance"
    page: int = 1
    is_exact: bool = False

    @cached_property
    def typed(self) -> SearchQuery:
        """What the text alone asks."""
        return parse(self.text)

    @cached_property
    def query(self) -> SearchQuery:
        """What the text and the ticked values ask together."""
        query = self.typed
        for name, values in self.ticked.items():
            chosen: dict[str, Any] = {
                ADDRESS_NAMES[name]: query.values(ADDRESS_NAMES[name]) | frozenset(values)
            }
            query = replace(query, **chosen)
        return query

    def pairs(self) -> list[tuple[str, str]]:
        """Names and values of the shortest address that asks this."""
        pairs = [("q", self.text)] if self.text else []
        pairs += [(name, value) for name in ADDRESS_NAMES for value in self.ticked.get(name, ())]
        for name, value in (("kind", self.kind), ("sort", self.sort), ("page", self.page)):
            if value != getattr(_USUAL, name):
                pairs.append((name, str(value)))
        return [*pairs, ("exact", "1")] if self.is_exact else pairs

    def but(self, **changed: Any) -> Address:
        """The same with some parts changed; other results begin at their first page."""
        return replace(self, **{"page": 1, **changed})

    def without_value(self, name: str, value: str) -> Address:
        """The same without a value of ADDRESS_NAMES, ticked or typed."""
        facet = ADDRESS_NAMES[name]
        kept = [one for one in self.ticked.get(name, ()) if one != value]
        is_typed = value in self.typed.values(facet)
        text = self.typed.without(facet, value).to_text() if is_typed else self.text
        return self.but(ticked={**self.ticked, name: kept}, text=text)

    def of_kind(self, kind: Kind) -> Address:
        """The same of another kind of results; a kind typed among the words has to go."""
        is_typed = bool(self.typed.kinds)
        text = replace(self.typed, kinds=frozenset()).to_text() if is_typed else self.text
        return self.but(kind=kind, text=text)

    def to_keep(self) -> Address:
        """The same from its first page, with the kind among the words: mails read only those."""
        if self.kind == _USUAL.kind or self.typed.kinds:
            return self.but()
        kinds = {self.kind} if self.kind != "everything" else set(_KINDS) - {"everything"}
        return self.but(
            kind=_USUAL.kind, text=replace(self.typed, kinds=frozenset(kinds)).to_text()
        )


_USUAL = Address()


def read_address(asked: Mapping[str, str], every: Callable[[str], list[str]]) -> Address:
    """Words, ticked facets, kind, order and page.

    `asked` gives one value of a name, `every` all of them, as QueryDict and its getlist do.
    """
    text = " ".join(asked.get("q", "").replace("\x00", "").split())[:LONGEST_QUERY]
    typed_kinds = parse(text).kinds & set(_KINDS)
    return Address(
        text=text,
        ticked={name: values for name in ADDRESS_NAMES if (values := _values(every(name)))},
        kind=_kind(typed_kinds or {asked.get("kind", "")}),
        sort=next((sort for sort in SORTS if sort == asked.get("sort")), _USUAL.sort),
        page=_number(asked.get("page", "")),
        is_exact=asked.get("exact") == "1",
    )


def _values(asked: Sequence[str]) -> list[str]:
    values = [value[:LONGEST_VALUE].replace("\x00", "") for value in asked]
    return [value for value in dict.fromkeys(values) if value][:MOST_VALUES]


def _kind(asked: Collection[str]) -> Kind:
    """What is typed, as in `type:retour`, goes before what is ticked; the usual kind without either."""
    if len(asked) > 1:
        return "everything"
    return next((kind for kind in _KINDS if kind in asked), _USUAL.kind)


def _number(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(HIGHEST_PAGE))
    return min(max(1, int(text)), HIGHEST_PAGE) if is_number else 1


class SavedSearchForm(forms.Form):
    """A name for a search, and how often to hear of it."""

    name = forms.CharField(label=_("Name"), max_length=NAME_LENGTH, strip=True)
    cadence = forms.ChoiceField(
        label=_("Tell me about new matches"),
        choices=SavedSearch.Cadence.choices,
        initial=SavedSearch.Cadence.WEEKLY,
        widget=forms.RadioSelect,
    )
