"""From the parameters of an address to a query of the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

from kb.core.errors import Invalid
from kb.prompts.queries import tags_meant
from kb.search.engine import Hit, Position
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
LONGEST_ID = 18
"""Digits that a column of ids surely holds."""


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


def position_of(hit: Hit) -> str:
    """A place in the order of the newest, as `next` carries it."""
    return f"{hit.dated.isoformat()},{hit.object_id}"


def position(text: str, *, is_in_order: bool) -> Position:
    """Read what `position_of` wrote. Raises Invalid for anything else, and where it has no meaning."""
    dated, _comma, number = text.partition(",")
    message = _("“%(value)s” is no place to go on from; take the address in `next` as it is.") % {
        "value": text[:60]
    }
    if not is_in_order:
        message = _("after works in the whole list, newest first: leave out words and filters.")
    try:
        moment = datetime.fromisoformat(dated)
    except ValueError:
        moment = None
    is_id = number.isascii() and number.isdigit() and len(number) <= LONGEST_ID
    if not is_in_order or moment is None or moment.tzinfo is None or not is_id:
        raise Invalid(f"after: {message}", fields={"after": message})
    return Position(moment, int(number))
