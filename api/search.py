"""From the parameters of an address to a query of the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from django.utils.text import slugify

from kb.prompts.queries import tags_meant
from kb.search.query import Facet, SearchQuery, parse

FACETS: Mapping[str, Facet] = {
    "department": "departments",
    "tool": "tools",
    "use_case": "use_cases",
    "tag": "tags",
    "language": "languages",
    "status": "statuses",
    "outcome": "statuses",
    "evidence": "evidence",
}
"""Name in the address to facet of the search."""


def to_query(asked: Mapping[str, Any]) -> SearchQuery:
    """The words in `q`, the fields typed among them, and the filters beside them."""
    query = parse(asked.get("q", ""))
    for name, facet in FACETS.items():
        if values := _values(name, asked.get(name) or ()):
            chosen: dict[str, Any] = {facet: query.values(facet) | values}
            query = replace(query, **chosen)
    return query


def _values(name: str, rows: Iterable[Any]) -> frozenset[str]:
    if name == "tag":
        return frozenset(tags_meant(slugify(tag, allow_unicode=True) for tag in rows))
    return frozenset(row if isinstance(row, str) else row.slug for row in rows)
