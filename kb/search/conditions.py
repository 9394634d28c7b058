"""From what a query asks besides words to SQL conditions on an entry `e`.

Values travel as parameters; the SQL is made of our own pieces only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser

from accounts.models import Department, User
from kb.search.keys import keys_of
from kb.search.query import Facet, Facets, SearchQuery
from kb.search.text import title_key

DRIFTS = frozenset({"drifted", "suspect", "stable", "learning"})
"""What is asked for as a status, and is a state of the monitors: both may be asked at once."""
MOST_AUTHORS = 50
_PLAIN: tuple[Facet, ...] = ("departments", "tools", "use_cases", "tags", "languages", "evidence")
_HAS = {"retrospective": "e.reports > 0", "monitor": "e.drift <> ''"}
_NOT_SLUG = re.compile(r"[^\w]+")


@dataclass(frozen=True)
class Asked:
    """Conditions on an entry `e`.

    `base` always holds; of `facets` each has a condition that its own counts leave out. `flags` are
    the conditions as columns in_…; `values` the parameters of all.
    """

    kinds: Sequence[str]
    base: str
    conditions: Mapping[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    is_bare: bool = True
    """Whether `base` asks for nothing."""

    @property
    def facets(self) -> Sequence[str]:
        """The facets that were asked for."""
        return [name for name in self.conditions if name != "kinds" and not self._is_usual(name)]

    def _is_usual(self, name: str) -> bool:
        return name == "statuses" and self.conditions[name] == _LISTED

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for but a kind."""
        return self.is_bare and not self.facets

    @property
    def only_facet(self) -> str:
        """The facet asked for, when nothing else is; '' otherwise. What is not listed has others."""
        facets = self.facets
        is_only = self.is_bare and len(facets) == 1 and self._is_usual("statuses")
        return facets[0] if is_only else ""

    @property
    def flags(self) -> str:
        return ", ".join(f"({sql}) AS in_{name}" for name, sql in self.conditions.items())

    @property
    def all_flags(self) -> str:
        return " AND ".join(f"in_{name}" for name in self.conditions)

    def flags_without(self, left_out: str) -> str:
        """Every condition but one, over the columns."""
        return " AND ".join(f"in_{n}" for n in self.conditions if n != left_out) or "true"

    @property
    def row_flags(self) -> str:
        """Every condition, over the entry."""
        return " AND ".join(f"({sql})" for sql in self.conditions.values())

    @property
    def loose(self) -> str:
        """What the page or the count of any facet needs: at most one facet's condition is missing."""
        facets = [name for name in self.facets if name != "statuses"]
        if self.is_bare and len(facets) == 1:
            return f"({self.conditions[facets[0]]})"
        if len(facets) < 2:
            return "true"
        parts = (
            " AND ".join(f"({self.conditions[other]})" for other in facets if other != name)
            for name in facets
        )
        return f"({' OR '.join(parts)})"


_LISTED = "e.is_listed"


def asked_of(query: SearchQuery, person: User | AnonymousUser, kinds: Sequence[str]) -> Asked:
    """The conditions of a query. Kinds typed in it win over `kinds`."""
    values: dict[str, Any] = {}
    kinds = [kind for kind in ("prompt", "retrospective") if kind in query.kinds] or list(kinds)
    conditions = {"kinds": "true"}
    if len(kinds) == 1:
        values["kind"] = kinds[0]
        conditions["kinds"] = "e.kind = %(kind)s"
    conditions["statuses"] = _statuses(query, values)
    for facet in _PLAIN:
        if asked := query.values(facet):
            values[facet] = keys_of(facet, _spelt(facet, asked))
            conditions[facet] = f"e.keys && %({facet})s::varchar[]"
    if drifts := query.statuses & DRIFTS:
        values["drifts"] = keys_of("drifts", sorted(drifts))
        conditions["drifts"] = "e.keys && %(drifts)s::varchar[]"
    base = [*_authors(query, person, values), *_excluded(query.excluded, values)]
    base += [_HAS[name] for name in sorted(query.has) if name in _HAS]
    base += [f"NOT ({_HAS[name]})" for name in sorted(query.excluded.has) if name in _HAS]
    return Asked(kinds, " AND ".join(base) or "true", conditions, values, not base)


def _statuses(query: SearchQuery, values: dict[str, Any]) -> str:
    if asked := query.statuses - DRIFTS:
        values["statuses"] = keys_of("statuses", sorted(asked))
        return "e.keys && %(statuses)s::varchar[]"
    return _LISTED


def _authors(
    query: SearchQuery, person: User | AnonymousUser, values: dict[str, Any]
) -> Iterable[str]:
    if not query.authors:
        return
    found = {person.pk or 0} if "me" in query.authors else set()
    for name in query.authors - {"me"}:
        people = User.objects.filter(name__icontains=name).values_list("pk", flat=True)
        found.update(people[:MOST_AUTHORS])
    values["authors"] = sorted(found)
    yield "e.author_id = ANY(%(authors)s::bigint[])"


def _excluded(excluded: Facets, values: dict[str, Any]) -> Iterable[str]:
    for facet in (*_PLAIN, "statuses"):
        if asked := excluded.values(facet):
            values[f"not_{facet}"] = [
                *keys_of(facet, _spelt(facet, asked)),
                *(keys_of("drifts", sorted(asked & DRIFTS)) if facet == "statuses" else ()),
            ]
            yield f"NOT e.keys && %(not_{facet})s::varchar[]"
    if excluded.kinds:
        values["not_kinds"] = sorted(excluded.kinds)
        yield "e.kind <> ALL(%(not_kinds)s::varchar[])"


def _spelt(facet: Facet, asked: Iterable[str]) -> list[str]:
    """The values as the index may have them: as typed, as slugs, and departments by their names."""
    typed = sorted(asked)
    found = dict.fromkeys(typed)
    found |= dict.fromkeys(_NOT_SLUG.sub("-", value).strip("-") for value in typed)
    found |= dict.fromkeys(_NOT_SLUG.sub("-", title_key(value)).strip("-") for value in typed)
    if facet == "departments":
        wanted = {title_key(value) for value in typed}
        for department in Department.objects.all():
            if wanted & {title_key(n) for n in (department.name_fr, department.name_en)}:
                found[department.slug] = None
    return [value for value in found if value]
