"""Browse and find: words, facets, kind, order and page, all in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from accounts.models import User
from kb.finding import meaning
from kb.forms.finding import Address, read_address
from kb.search import engine, misses, suggesting
from kb.search.engine import Kind, Results
from kb.search.query import SearchQuery
from kb.search.text import Segment
from kb.views.facets import Chip, boxes, chips, url_of
from kb.views.people import signed_in
from kb.views.shelf import Shelved, Told, read_shelf

PAGE_SIZE = 20
MOST_REMOVALS = 4
"""Conditions of a search without result whose removal is tried: each costs a search."""
NEAR_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """A result as the page shows it: a prompt or a report, and why it was found."""

    prompt: Shelved | None
    report: Told | None
    title: Sequence[Segment]
    passage: Sequence[Segment]
    """Empty when no word of it is marked: then its summary says more."""
    is_near: bool = False
    """Found by its meaning: it has not the words."""


@dataclass(frozen=True)
class Tab:
    """One kind of result, how many there are, and its address."""

    kind: Kind
    label: str
    count: int
    shown: str
    is_chosen: bool
    url: str


@dataclass(frozen=True)
class Removal:
    """A condition of a search without result, and how many results there are without it."""

    chip: Chip
    total: str


@require_safe
def prompts(request: HttpRequest) -> HttpResponse:
    """The results page, or only its results while somebody types."""
    person = signed_in(request)
    address = read_address(request.GET, request.GET.getlist)
    results = find(person, address)
    is_fragment = _wants_results(request)
    if not results.total and not is_fragment:
        remember_miss(address, person)
    context = _context(person, address, results) | {"is_fragment": is_fragment}
    template = "prompts/list.html#results" if is_fragment else "prompts/list.html"
    response = render(request, template, context)
    # One address, two answers: without this, Back may show results without their page.
    patch_vary_headers(response, ("HX-Request", "HX-Target"))
    if is_fragment:
        response["Cache-Control"] = "no-store"
    if request.headers.get("HX-Trigger") == "finding":
        # What was typed stands in the address at its shortest, without empty fields.
        response["HX-Replace-Url"] = reverse("prompts") + url_of(address)
    return response


def _wants_results(request: HttpRequest) -> bool:
    """True for a form or a boosted link that swaps the results; false when a page is rebuilt for Back."""
    headers = request.headers
    is_restored = headers.get("HX-History-Restore-Request") == "true"
    return headers.get("HX-Target") == "results" and not is_restored


def find(person: User, address: Address, *, page_size: int = PAGE_SIZE) -> Results:
    """What an address asks for; a page beyond the last is the last."""
    question = None if address.is_exact else meaning.question(address.query, clock=timezone.now)

    def ask(page: int) -> Results:
        return engine.search(
            address.query,
            person,
            kind=address.kind,
            sort=address.sort,
            page=page,
            page_size=page_size,
            is_exact=address.is_exact,
            question=question,
        )

    results = ask(address.page)
    if not results.hits and address.page > 1:
        results = ask(results.last_page)
    return results


def remember_miss(address: Address, person: User) -> None:
    """Note for curators what was looked for in vain; never by whom."""
    misses.record_miss(address.query, found=0, language=person.language, now=timezone.now())


def _context(person: User, address: Address, results: Results) -> dict[str, Any]:
    shelf = read_shelf(
        person,
        prompt_ids=[hit.object_id for hit in results.hits if hit.kind == "prompt"],
        report_ids=[hit.object_id for hit in results.hits if hit.kind == "retrospective"],
        tags=results.facets["tags"].keys() | address.query.tags,
    )
    rows = [
        Row(
            shelf.prompts.get(hit.object_id) if hit.kind == "prompt" else None,
            shelf.reports.get(hit.object_id) if hit.kind == "retrospective" else None,
            hit.title,
            hit.excerpt if any(segment.is_match for segment in hit.excerpt) else (),
            hit.is_near,
        )
        for hit in results.hits
    ]
    narrowing = chips(address, results, shelf.names)
    page = _page(results, address.page)
    return {
        "address": address,
        "query_string": url_of(address.but())[1:],
        "rows": [row for row in rows if row.prompt or row.report],
        "results": results,
        "count": _count(address.kind, results),
        "tabs": _tabs(address, results),
        "boxes": boxes(address, results, shelf.names),
        "chips": narrowing,
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(
            page.number, on_each_side=1, on_ends=1
        ),
        "is_last_of_many": results.total_is_capped and page.number == results.last_page,
        "sorts": _sorts(address),
        "search_words": address.text,
        "wish": " ".join(address.typed.wanted_words),
        "has_filters": address.query != SearchQuery(terms=address.query.terms),
        "chosen_words": _("(chosen, choose again to remove)"),
        "exact_url": url_of(address.but(is_exact=True)),
        "removals": [] if results.total else _removals(person, narrowing),
        "near": [] if results.total else _near(person, address),
    }


class _Counted(Paginator):  # type: ignore[type-arg]
    """A paginator that is told the count; the rows of the page come from the search."""

    def __init__(self, total: int) -> None:
        super().__init__([], PAGE_SIZE)
        self.count = total


def _page(results: Results, number: int) -> Page[None]:
    paginator = _Counted(min(results.total, results.last_page * PAGE_SIZE))
    return Page([], min(number, paginator.num_pages), paginator)


def _tabs(address: Address, results: Results) -> list[Tab]:
    found = results.kinds
    tabs: list[tuple[Kind, str, int]] = [
        ("everything", _("Everything"), sum(found.values())),
        ("prompt", _("Prompts"), found.get("prompt", 0)),
        ("retrospective", _("Retrospectives"), found.get("retrospective", 0)),
    ]
    return [
        Tab(
            kind,
            label,
            count,
            number_format(count, force_grouping=True) + ("+" if results.total_is_capped else ""),
            kind == address.kind,
            url_of(address.of_kind(kind)),
        )
        for kind, label, count in tabs
    ]


def _sorts(address: Address) -> list[tuple[str, str, bool]]:
    first = _("Best match") if address.query.terms else _("Most used lately")
    labels = {"relevance": first, "proven": _("Most proven"), "newest": _("Newest")}
    return [
        (label, url_of(address.but(sort=sort)), sort == address.sort)
        for sort, label in labels.items()
    ]


def _count(kind: Kind, results: Results) -> str:
    """'57 prompts', 'More than 5,000 prompts'."""
    n = results.total
    names = {
        "prompt": ngettext("%(shown)s prompt", "%(shown)s prompts", n),
        "retrospective": ngettext("%(shown)s report", "%(shown)s reports", n),
        "everything": ngettext("%(shown)s result", "%(shown)s results", n),
    }
    shown = number_format(n, force_grouping=True)
    if results.total_is_capped:
        shown = _("More than %(number)s") % {"number": shown}
    return names[kind] % {"shown": shown}


def _removals(person: User, narrowing: Sequence[Chip]) -> list[Removal]:
    """What each condition costs a search without result; only removals that bring something."""
    found = []
    for chip in narrowing[:MOST_REMOVALS]:
        results = engine.search(
            chip.rest.query, person, kind=chip.rest.kind, page_size=1, has_facets=False
        )
        if results.total:
            found.append(Removal(chip, _count(chip.rest.kind, results)))
    return found


def _near(person: User, address: Address) -> list[suggesting.Suggestion]:
    """Prompts whose titles are near the words, typos allowed."""
    words = " ".join(address.typed.wanted_words)
    suggested = suggesting.suggest(words, person, most=NEAR_SHOWN) if words else []
    return [one for one in suggested if one.kind == "prompt"]
