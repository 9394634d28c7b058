"""What a list page is asked for in its address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django import forms

from kb.search.engine import SORTS, Sort
from kb.search.query import (
    ADDRESS_NAMES,
    LONGEST_QUERY,
    LONGEST_VALUE,
    MOST_VALUES,
    SearchQuery,
    parse,
)

FIELDS = ADDRESS_NAMES


class SearchForm(forms.Form):
    """Words and sort order; facets are read beside it, because they repeat. Nothing is an error."""

    q = forms.CharField(required=False)
    sort = forms.CharField(required=False)

    def __init__(self, data: Mapping[str, Any], chosen: Callable[[str], list[str]]) -> None:
        """`chosen` gives all values of a name that repeats, such as QueryDict.getlist."""
        super().__init__(data)
        self._chosen = chosen
        self.full_clean()

    @property
    def text(self) -> str:
        """The words as typed, cut to what is read."""
        return str(self.cleaned_data.get("q", ""))[:LONGEST_QUERY]

    @property
    def order(self) -> Sort:
        """The order asked for; by default by relevance for words, else the liveliest first."""
        asked = self.cleaned_data.get("sort", "")
        return next((sort for sort in SORTS if sort == asked), "relevance")

    def chosen(self, name: str) -> list[str]:
        """The values ticked for one facet."""
        values = [value[:LONGEST_VALUE].replace("\x00", "") for value in self._chosen(name)]
        return [value for value in dict.fromkeys(values) if value][:MOST_VALUES]

    def to_query(self) -> SearchQuery:
        """Words, fields typed among them, and ticked facets as one query."""
        query = parse(self.text)
        for name, facet in FIELDS.items():
            if values := self.chosen(name):
                asked: dict[str, Any] = {facet: query.values(facet) | frozenset(values)}
                query = replace(query, **asked)
        return query
