"""The wanted board: prompts people look for, who else does, and what answers them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from kb.community import actions, queries, reports, rules
from kb.community.models import Wish
from kb.core.errors import Invalid, NotAllowed
from kb.core.words import clean_line
from kb.forms.community import WishForm, blame
from kb.prompts.models import TITLE_LENGTH, Prompt
from kb.prompts.rules import can_publish
from kb.views import picking
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in

PAGE_SIZE = 30
ANSWERED_SHOWN = 12
NEAR_SHOWN = 3
"""Prompts shown beside a wish being typed: a few, so that they are read."""


@require_safe
def wishes(request: HttpRequest) -> HttpResponse:
    """What is still looked for, most wanted first, and what was found lately."""
    person = _member(request)
    page = Paginator(queries.open_wishes(person), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(
            page.number, on_each_side=1, on_ends=1
        ),
        "total": page.paginator.count,
        "answered": queries.answered_wishes(person)[:ANSWERED_SHOWN],
        "can_publish": can_publish(person),
    }
    return render(request, "community/wishes.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Ask for a prompt; what is there already shows while the title is typed."""
    person = _member(request)
    if request.method != "POST":
        title = clean_line(request.GET.get("title", ""))[:TITLE_LENGTH]
        if wants_fragment(request):
            return render(request, "community/wish_form.html#near", _near(person, title))
        department = reports.department_of(person)
        initial = {
            "title": title,
            "language": person.language,
            "department": department.slug if department else "",
        }
        return _form_page(request, WishForm(initial=initial), _near(person, title))
    form = WishForm(request.POST)
    if form.is_valid():
        try:
            wish = actions.make_wish(**form.cleaned_data, by=person, now=timezone.now())
        except Invalid as error:
            blame(form, error)
        else:
            messages.success(
                request, _("Your wish is on the board. You will hear when somebody answers it.")
            )
            return redirect(_place_of(wish))
    return _form_page(request, form, _near(person, request.POST.get("title", "")), status=422)


@require_POST
def support(request: HttpRequest, pk: int) -> HttpResponse:
    """Want it too, or no more."""
    person = _member(request)
    wish = queries.wish_by_id(person, pk)
    if request.POST.get("on") == "1":
        actions.support_wish(wish=wish, by=person, now=timezone.now())
    else:
        actions.unsupport_wish(wish=wish, by=person)
    if wants_fragment(request):
        context = {"wish": queries.wish_by_id(person, pk)}
        return render(request, "community/_wish_support.html", context)
    return redirect(_place_of(wish))


@require_http_methods(["GET", "HEAD", "POST"])
def answer(request: HttpRequest, pk: int) -> HttpResponse:
    """Say which prompt is what was looked for: first find it, then link it."""
    person = _member(request)
    wish = queries.wish_by_id(person, pk)
    if wish.answer_id is not None:
        messages.warning(request, _("“%(title)s” has an answer already.") % {"title": wish.title})
        return redirect("wishes")
    if request.method != "POST":
        return _answer_page(request, person, wish, request.GET.get("q", ""))
    slug = request.POST.get("prompt", "")
    prompt = next(iter(picking.prompt_of_slug(person, slug)), None)
    if prompt is None:
        error = _("Choose a prompt first.") if not slug else _("This prompt is not open to you.")
        return _answer_page(request, person, wish, request.POST.get("q", ""), error=error)
    actions.answer_wish(wish=wish, prompt=prompt, by=person, now=timezone.now())
    messages.success(
        request,
        _("Thank you: “%(title)s” is found. Those who asked are told.") % {"title": wish.title},
    )
    return redirect("wishes")


def _member(request: HttpRequest) -> User:
    person = signed_in(request)
    if not rules.can_take_part(person):
        raise NotAllowed(
            _("You have no role yet. Ask an administrator to add you to a department.")
        )
    return person


def _place_of(wish: Wish) -> str:
    return reverse("wishes") + f"#wish-{wish.pk}"


def _near(person: User, title: str) -> dict[str, Any]:
    return {"near": picking.near_prompts(person, title, most=NEAR_SHOWN) if title else []}


def _form_page(
    request: HttpRequest, form: WishForm, near: dict[str, Any], status: int = 200
) -> HttpResponse:
    context = {"form": form, **near}
    return render(request, "community/wish_form.html", context, status=status)


def _answer_page(
    request: HttpRequest, person: User, wish: Wish, words: str, error: str = ""
) -> HttpResponse:
    found = (
        picking.find_prompts(person, words, statuses=picking.PUBLISHED)
        if words.strip()
        else _suggested(person, wish)
    )
    context = {"wish": wish, "words": words, "found": found, "error": error}
    if wants_fragment(request):
        return render(request, "community/wish_answer.html#found", context)
    return render(request, "community/wish_answer.html", context, status=422 if error else 200)


def _suggested(person: User, wish: Wish) -> list[Prompt]:
    """Before a word is typed: what shares words with the wish."""
    return picking.near_prompts(person, wish.title, most=picking.MOST_FOUND)
