"""The list of prompts: words, facets, order and page, all in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.models import Department
from kb.forms.search import FIELDS, SearchForm
from kb.prompts.models import Tag, Tool, UseCase
from kb.search import engine
from kb.search.query import SearchQuery
from kb.templatetags.retex import language_name
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in
from kb.views.shelf import shelve

PAGE_SIZE = 20
VALUES_SHOWN = 12
"""Values of a facet that are shown before 'more'."""


@dataclass(frozen=True)
class FacetValue:
    """One line of a facet: ticking it leads to `url`."""

    value: str
    label: str
    count: int
    is_chosen: bool
    url: str


@dataclass(frozen=True)
class FacetBox:
    """One facet with its values, the chosen and the frequent first."""

    name: str
    label: str
    values: Sequence[FacetValue]
    is_open: bool


@require_safe
def prompts(request: HttpRequest) -> HttpResponse:
    """Browse and find."""
    person = signed_in(request)
    form = SearchForm(request.GET, request.GET.getlist)
    query = form.to_query()
    number = _page_number(request)
    results = engine.search(query, person, sort=form.order, page=number, page_size=PAGE_SIZE)
    page = _page(results.total, number)
    hits = {hit.object_id: hit for hit in results.hits}
    boxes = _boxes(request.GET, query, results.facets)
    context = {
        "rows": [(row, hits[row.card.pk] if query.terms else None) for row in shelve(list(hits))],
        "total": results.total,
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(
            page.number, on_each_side=1, on_ends=1
        ),
        "boxes": boxes,
        "chips": [value for box in boxes for value in box.values if value.is_chosen],
        "query": query,
        "search_words": form.text,
        "sort": form.order,
        "sorts": _sorts(bool(query.terms)),
    }
    template = "prompts/list.html#results" if wants_fragment(request) else "prompts/list.html"
    return render(request, template, context)


def _page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return max(1, min(int(text), 10_000)) if text.isdecimal() and len(text) < 6 else 1


class _Counted(Paginator):  # type: ignore[type-arg]
    """A paginator that is told the count; the rows of the page come from the search."""

    def __init__(self, total: int) -> None:
        super().__init__([], PAGE_SIZE)
        self.count = total


def _page(total: int, number: int) -> Page[None]:
    paginator = _Counted(total)
    return Page([], min(number, paginator.num_pages), paginator)


def _sorts(has_words: bool) -> list[tuple[str, str]]:
    first = _("Best match") if has_words else _("Most used lately")
    return [("relevance", first), ("proven", _("Most proven")), ("newest", _("Newest"))]


def _boxes(
    asked: QueryDict, query: SearchQuery, counts: Mapping[str, Mapping[str, int]]
) -> list[FacetBox]:
    labels = {
        "department": (_("Department"), _names(Department)),
        "tool": (_("Tool"), _names(Tool)),
        "use_case": (_("Use case"), _names(UseCase)),
        "language": (_("Language"), {code: language_name(code) for code in counts["languages"]}),
        "tag": (_("Tag"), {}),
        "status": (_("State"), _states()),
    }
    tags = counts["tags"].keys() | query.tags
    labels["tag"] = (_("Tag"), dict(Tag.objects.filter(slug__in=tags).values_list("slug", "name")))
    boxes = []
    for name, (label, names) in labels.items():
        chosen = query.values(FIELDS[name])
        found = counts[FIELDS[name]]
        values = [
            FacetValue(
                value,
                names.get(value, value),
                found.get(value, 0),
                value in chosen,
                _toggle(asked, name, value),
            )
            for value in dict.fromkeys([*sorted(chosen), *found])
            if name != "status" or value in names
        ]
        if values:
            boxes.append(
                FacetBox(name, label, values, name in ("department", "tool") or bool(chosen))
            )
    return boxes


def _names(model: type[Department] | type[Tool] | type[UseCase]) -> dict[str, str]:
    return {row.slug: str(row) for row in model.objects.all()}


def _states() -> dict[str, str]:
    return {
        "published": _("Published"),
        "archived": _("Archived"),
        "draft": _("My drafts"),
        "drifted": _("Drifted"),
        "stable": _("No drift"),
    }


def _toggle(asked: QueryDict, name: str, value: str) -> str:
    changed = asked.copy()
    chosen = changed.getlist(name)
    changed.setlist(
        name, [v for v in chosen if v != value] if value in chosen else [*chosen, value]
    )
    changed.pop("page", None)
    return "?" + changed.urlencode()
