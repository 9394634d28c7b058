"""Around the results: suggestions while one types, recent and saved searches, and what nobody found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import Membership, User
from accounts.standing import standing
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.finding import actions, queries
from kb.forms.community import blame
from kb.forms.finding import Address, SavedSearchForm, read_address
from kb.prompts.models import Tag, Tool
from kb.search import misses, suggesting
from kb.search.query import ADDRESS_NAMES, LONGEST_QUERY
from kb.search.text import Segment, fold, fold_with_offsets
from kb.views.browse import find, remember_miss
from kb.views.facets import url_of
from kb.views.people import signed_in

FEWEST_LETTERS = 2
"""One letter begins a tenth of all words: nothing to suggest yet."""
MOST_RECENT = 10
RECENT_WHILE_TYPING = 3
MISSES_SHOWN = 100
MISSES_COUNTED = 2_000
"""Words whose searches of the last weeks are read, to stand beside those of three months."""
_RECENT = "recent_searches"
"""Name in the session: the words of the latest searches, the latest first."""
_DELETED = "deleted_search"
"""Name in the session: the saved search that may be put back."""


# --- Suggestions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """A suggestion: where it leads and its label, what was typed marked."""

    url: str
    parts: Sequence[Segment]
    words: str = ""
    """What a recent search looked for."""


@dataclass(frozen=True)
class Group:
    """Suggestions of one kind under one heading."""

    label: str
    options: Sequence[Option]
    can_be_forgotten: bool = False


@require_safe
def suggest(request: HttpRequest) -> HttpResponse:
    """What the words typed so far may mean, as the options of a combobox."""
    person = signed_in(request)
    text = _line(request.GET.get("q", ""))
    if len(text) < FEWEST_LETTERS:
        return _options(request, [])
    suggested = suggesting.suggest(text, person)
    recent = [words for words in _recent(request) if fold(text) in fold(words)]
    names = _names(suggested)
    labels = {
        "prompt": _("Prompts"),
        "retrospective": _("Retrospectives"),
        "tag": _("Tags"),
        "tool": _("Tools"),
        "department": _("Departments"),
    }
    groups = [
        Group(label, [_option(one, names, text) for one in suggested if one.kind == kind])
        for kind, label in labels.items()
    ]
    groups.append(_recent_group(recent[:RECENT_WHILE_TYPING], text))
    return _options(request, groups)


@require_http_methods(["GET", "HEAD", "POST"])
def recent(request: HttpRequest) -> HttpResponse:
    """One's latest searches as options; POST adds one, or forgets them all."""
    signed_in(request)
    if request.method != "POST":
        group = _recent_group(_recent(request), "")
        return _options(request, [Group(group.label, group.options, can_be_forgotten=True)])
    if request.POST.get("forget"):
        request.session.pop(_RECENT, None)
    elif words := _line(request.POST.get("q", "")):
        others = [one for one in _recent(request) if fold(one) != fold(words)]
        request.session[_RECENT] = [words, *others][:MOST_RECENT]
    if request.POST.get("next"):
        messages.success(request, _("Your recent searches are forgotten."))
        return redirect("searches")
    return HttpResponse(status=204)


def _line(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())[:LONGEST_QUERY]


def _recent(request: HttpRequest) -> list[str]:
    return [str(words) for words in request.session.get(_RECENT, [])]


def _names(suggested: Iterable[suggesting.Suggestion]) -> Mapping[tuple[str, str], str]:
    """Kind and slug of tags and tools to their names: suggestions know only the slugs."""
    found = {}
    for kind, model in (("tag", Tag), ("tool", Tool)):
        slugs = [one.value for one in suggested if one.kind == kind]
        if slugs:
            rows = model.objects.filter(slug__in=slugs).values_list("slug", "name")
            found.update({(kind, slug): name for slug, name in rows})
    return found


def _option(one: suggesting.Suggestion, names: Mapping[tuple[str, str], str], text: str) -> Option:
    label = names.get((one.kind, one.value), one.label)
    if one.kind in ("prompt", "retrospective"):
        url = reverse(one.kind, args=[one.value])  # kinds bear the names of their pages
    else:
        url = reverse("prompts") + "?" + urlencode([(one.kind, one.value)])
    return Option(url, _marked(label, text))


def _recent_group(recent: Iterable[str], text: str) -> Group:
    options = [
        Option(
            reverse("prompts") + "?" + urlencode({"q": words}),
            _marked(words, text),
            words,
        )
        for words in recent
    ]
    return Group(_("Recent searches"), options)


def _marked(label: str, text: str) -> Sequence[Segment]:
    """The label with the beginnings of words that were typed marked, accents and case apart."""
    folded, offsets = fold_with_offsets(label)
    typed = sorted({re.escape(word) for word in fold(text).split()}, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(typed)})")
    parts, position = [], 0
    for match in pattern.finditer(folded) if typed else ():
        start, end = offsets[match.start()], offsets[match.end()]
        parts += [Segment(label[position:start], is_match=False)] if start > position else []
        parts.append(Segment(label[start:end], is_match=True))
        position = end
    return [*parts, Segment(label[position:], is_match=False)]


def _options(request: HttpRequest, groups: Sequence[Group]) -> HttpResponse:
    groups = [group for group in groups if group.options]
    n = sum(len(group.options) for group in groups)
    said = ngettext("%(n)s suggestion", "%(n)s suggestions", n) % {"n": n}
    return render(request, "search/suggestions.html", {"groups": groups, "said": said})


# --- Saved searches ------------------------------------------------------------------------------


@require_safe
def searches(request: HttpRequest) -> HttpResponse:
    """The searches one keeps, and the latest ones."""
    return _searches_page(request)


@require_http_methods(["GET", "HEAD", "POST"])
def save(request: HttpRequest) -> HttpResponse:
    """Keep the search of the address, under a name."""
    person = signed_in(request)
    address = read_address(request.GET, request.GET.getlist).to_keep()
    query_string = url_of(address)[1:]
    form = SavedSearchForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            saved = actions.save_search(
                address=query_string, **form.cleaned_data, by=person, now=timezone.now()
            )
        except (Invalid, Conflict) as error:
            blame(form, error)
        else:
            messages.success(request, _("The search “%(name)s” is saved.") % {"name": saved.name})
            return redirect(reverse("prompts") + "?" + query_string)
    if request.method != "POST":
        form.initial["name"] = _name_of(address)
    context = {
        "form": form,
        "query_string": query_string,
        "total": find(person, address, page_size=1).total,
    }
    return render(request, "search/save.html", context, status=422 if form.errors else 200)


@require_POST
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a saved search another name or pace."""
    person = signed_in(request)
    form = SavedSearchForm(request.POST, auto_id=f"search-{pk}-%s")
    if form.is_valid():
        try:
            actions.change_search(pk=pk, **form.cleaned_data, by=person, now=timezone.now())
        except (Invalid, Conflict) as error:
            blame(form, error)
        else:
            messages.success(request, _("Your changes are saved."))
            return redirect("searches")
    return _searches_page(request, failed=(pk, form))


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep a search no longer; it can be put back from the page that follows."""
    person = signed_in(request)
    before = queries.saved_searches_of(person).filter(pk=pk)
    told = before.values("name", "cadence", "address").first()
    actions.delete_search(pk=pk, by=person)
    request.session[_DELETED] = told
    return redirect("searches")


def _searches_page(
    request: HttpRequest, failed: tuple[int, SavedSearchForm] | None = None
) -> HttpResponse:
    person = signed_in(request)
    rows = []
    for saved in queries.saved_searches_of(person):
        initial = {"name": saved.name, "cadence": saved.cadence}
        form = SavedSearchForm(initial=initial, auto_id=f"search-{saved.pk}-%s")
        is_failed = failed is not None and failed[0] == saved.pk
        rows.append((saved, failed[1] if failed and is_failed else form, is_failed))
    context = {
        "rows": rows,
        "deleted": request.session.pop(_DELETED, None),
        "recent": _recent_group(_recent(request), "").options,
        "is_curator": _is_curator(person),
    }
    return render(request, "search/searches.html", context, status=422 if failed else 200)


def _name_of(address: Address) -> str:
    """A name to begin with: the words, else the values."""
    values = [value for name in ADDRESS_NAMES for value in address.ticked.get(name, ())]
    return " · ".join(filter(None, [address.text, *values]))[:60]


# --- What nobody found ---------------------------------------------------------------------------


@require_POST
def miss(request: HttpRequest) -> HttpResponse:
    """Somebody rested on a search without result while typing: now it counts as one."""
    person = signed_in(request)
    address = read_address(request.GET, request.GET.getlist).but()
    if not find(person, address, page_size=1).total:
        remember_miss(address, person)
    return HttpResponse(status=204)


@require_safe
def missed(request: HttpRequest) -> HttpResponse:
    """What people looked for in vain, most wanted first; for curators."""
    person = signed_in(request)
    if not _is_curator(person):
        raise NotAllowed(_("Searches without result are shown to curators."))
    today = timezone.now().date()
    counts = [
        dict(misses.most_missed(since=today - timedelta(days=days), most=most))
        for days, most in ((90, MISSES_SHOWN), (30, MISSES_COUNTED), (7, MISSES_COUNTED))
    ]
    rows = [
        (words, times, *(c.get(words, 0) for c in counts[1:])) for words, times in counts[0].items()
    ]
    return render(request, "search/missed.html", {"rows": rows})


def _is_curator(person: User) -> bool:
    return standing(person).has(Membership.Role.CURATOR)
