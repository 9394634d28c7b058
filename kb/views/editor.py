"""Writing a prompt: paste, describe, look at it, publish; and two people writing at once."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import Membership, User
from kb.core import markdown
from kb.core.errors import Conflict, Invalid
from kb.core.words import clean_line, clean_text
from kb.forms.prompts import (
    Data,
    Offer,
    PromptForm,
    convert,
    made_up_title,
    offers,
    tag_names,
)
from kb.prompts import actions, queries, rules
from kb.prompts.models import TITLE_LENGTH, Prompt
from kb.prompts.writeup import SECTIONS
from kb.search import engine
from kb.search.query import MOST_TERMS, SearchQuery, Term
from kb.search.text import fold, words
from kb.templatetags.retex import language_name
from kb.views.differences import text_changes, value_changes, variable_changes
from kb.views.people import signed_in
from kb.views.pieces import LONG_TEXT, pieces

SAVED_COOKIE = "retex_saved"
"""Names the copy on the reader's device that has been saved and may go."""
SAVED_COOKIE_SECONDS = 24 * 3600
NEAR_SHOWN = 5
NEAR_LOOKED_AT = 30
FEWEST_NEAR_WORDS = 2
SHORTEST_NEAR_WORD = 4
"""Letters; shorter words say little of what a prompt is about."""
ADMINS_NAMED = 3
_TEXTS = ("title", "summary", "text", "system", *SECTIONS)
_COPY = re.compile(r"[A-Za-z0-9_-]{1,40}")
_KEEPS_TYPED = ("look", "convert", "merge", "bring-back", "preview")
"""What a button asks for without saving anything: the same page with everything typed in it."""


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Write a new prompt."""
    person = signed_in(request)
    if not rules.can_publish(person):
        return _not_an_author(request)
    return _editor(request, person, None)


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Change a prompt."""
    person = signed_in(request)
    found = queries.by_slug(person, slug)
    if not rules.can_edit(person, found, [row.pk for row in found.departments.all()]):
        return _not_an_author(request, found)
    return _editor(request, person, found)


@require_POST
def detect(request: HttpRequest) -> HttpResponse:
    """The holes of the text being written, and what could become one; 204 when nothing changed."""
    person = signed_in(request)
    is_conversion = request.POST.get("do") == "convert"
    data = convert(request.POST) if is_conversion else request.POST
    form = PromptForm.typed(data, person, None)
    found = offers(data, data.getlist("accept"), data.getlist("offered"))
    holes = " ".join(row.name for row in form.rows)
    is_known = data.getlist("offered") == [offer.raw for offer in found]
    if not is_conversion and is_known and data.get("holes") == holes:
        return HttpResponse(status=204)
    context = {"form": form, **_offer_context(form, found, is_conversion=is_conversion)}
    part = "converted" if is_conversion else "holes"
    response = render(request, f"prompts/edit.html#{part}", context)
    response["HX-Trigger-After-Settle"] = "refresh-preview"
    return response


@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What colleagues will see of the text being written."""
    form = PromptForm.typed(request.POST, signed_in(request), None)
    return render(request, "prompts/edit.html#preview", _preview_context(form))


@require_safe
def near(request: HttpRequest) -> HttpResponse:
    """Prompts with a title near the one being typed."""
    title = request.GET.get("title", "")[:TITLE_LENGTH]
    context = {"near": _near(signed_in(request), title)}
    return render(request, "prompts/edit.html#near", context)


# --- The page ----------------------------------------------------------------------------------


def _editor(request: HttpRequest, person: User, prompt: Prompt | None) -> HttpResponse:
    if request.method != "POST":
        form = PromptForm.of(prompt, person) if prompt else PromptForm.blank(person, request.GET)
        return _page(request, form)
    do = request.POST.get("do", "")
    data: Data = request.POST.copy()
    if do in _KEEPS_TYPED:
        data = convert(data) if do == "convert" else data
        return _page(request, PromptForm.typed(data, person, prompt), data)
    if do == "draft" and not data.get("title", "").strip():
        data["title"] = made_up_title(data.get("text", ""))
    form = PromptForm(data, person=person, prompt=prompt)
    if form.is_valid():
        try:
            return _saved(request, _save(form, do), prompt)
        except Conflict:
            return _conflict(request, form)
        except Invalid as error:
            form.refuse(error.fields, error.message)
    return _page(request, form, data, status=422)


def _save(form: PromptForm, do: str) -> Prompt:
    statuses = {"publish": Prompt.Status.PUBLISHED, "draft": Prompt.Status.DRAFT}
    fields = form.to_fields(statuses.get(do))
    if form.prompt is None:
        return actions.create_prompt(fields=fields, by=form.person, now=timezone.now())
    return actions.edit_prompt(
        prompt=form.prompt,
        fields=fields,
        by=form.person,
        now=timezone.now(),
        based_on=form.cleaned_data["edition"] or 0,
        change_note=form.cleaned_data["change_note"],
    )


def _saved(request: HttpRequest, saved: Prompt, before: Prompt | None) -> HttpResponse:
    return _leave(request, saved, _news(saved, before))


def _leave(request: HttpRequest, saved: Prompt, news: str) -> HttpResponse:
    """On to the prompt, or back into its draft; the device may forget its copy."""
    messages.success(request, news)
    is_draft = saved.status == Prompt.Status.DRAFT
    response = redirect("prompt-edit" if is_draft else "prompt", slug=saved.slug)
    copy = request.POST.get("copy", "")
    if _COPY.fullmatch(copy):
        # Read by the script that keeps a copy of what is typed, hence no HttpOnly.
        response.set_cookie(
            SAVED_COOKIE,
            copy,
            max_age=SAVED_COOKIE_SECONDS,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )
    return response


def _news(saved: Prompt, before: Prompt | None) -> str:
    if saved.status == Prompt.Status.DRAFT:
        return _("Draft saved. Only you can see it.")
    number = saved.current.number if saved.current else 0
    if before is None or before.status == Prompt.Status.DRAFT:
        return _("“%(title)s” is published. Thank you for sharing it.") % {"title": saved.title}
    if before.current and before.current.number != number:
        return _("Saved as version %(number)s.") % {"number": number}
    return _("Saved. The text is the same, so the version and its evidence stay.")


def _page(
    request: HttpRequest, form: PromptForm, data: Data | None = None, status: int = 200
) -> HttpResponse:
    data = QueryDict() if data is None else data
    texts = {name: str(form[name].value() or "") for name in ("text", "system")}
    found = offers(texts, data.getlist("accept"), data.getlist("offered"))
    if form.prompt is not None and not data:
        # Its author has seen them before and left them: they are at hand, but do not nag.
        found = [replace(offer, is_ticked=False) for offer in found]
    copy = data.get("copy", "")
    context = {
        "form": form,
        "prompt": form.prompt,
        "is_published": form.prompt is not None and form.prompt.status == Prompt.Status.PUBLISHED,
        "is_draft": form.prompt is None or form.prompt.status == Prompt.Status.DRAFT,
        "copy": copy if _COPY.fullmatch(copy) else secrets.token_urlsafe(9),
        "is_typed": bool(data),
        **_offer_context(form, found, is_conversion=data.get("do") == "convert"),
        **_preview_context(form),
    }
    if form.prompt is not None and (data.get("do") == "merge" or data.get("merging")):
        theirs = PromptForm.of(form.prompt, form.person)
        context |= {"merging": True, "theirs": theirs, **_changes(form, theirs)}
    return render(request, "prompts/edit.html", context, status=status)


def _offer_context(form: PromptForm, found: list[Offer], *, is_conversion: bool) -> dict[str, Any]:
    return {
        "offers": found,
        "has_wanted_offers": any(offer.is_ticked for offer in found),
        "hole_names": " ".join(row.name for row in form.rows),
        "is_converted": is_conversion,
    }


def _preview_context(form: PromptForm) -> dict[str, Any]:
    texts = _texts(form)
    variables = form.variables()
    html = {section: markdown.render(texts[section]) for section in SECTIONS}
    return {
        "shown": texts,
        "pieces": pieces(texts["text"], variables, {}),
        "system_pieces": pieces(texts["system"], variables, {}) if texts["system"] else [],
        "is_long": len(texts["text"]) > LONG_TEXT,
        "html": html if any(html.values()) else {},
        "text_language": form["language"].value() or form.guessed_language(texts["text"]),
    }


def _not_an_author(request: HttpRequest, prompt: Prompt | None = None) -> HttpResponse:
    admins = User.objects.filter(
        is_active=True,
        memberships__department=None,
        memberships__role=Membership.Role.ADMIN,
    ).order_by("name")
    context = {
        "prompt": prompt,
        "admins": list(admins[:ADMINS_NAMED]),
    }
    return render(request, "prompts/not_an_author.html", context, status=403)


# --- Two people at once ------------------------------------------------------------------------


def _conflict(request: HttpRequest, form: PromptForm) -> HttpResponse:
    """Both states of the prompt with three ways on; nothing at all when they agree."""
    assert form.prompt is not None  # noqa: S101 - only an existing prompt can conflict
    prompt = queries.by_slug(form.person, form.prompt.slug)
    theirs = PromptForm.of(prompt, form.person)
    changes = _changes(form, theirs)
    if not any(changes.values()):
        if request.POST.get("do") == "publish" and prompt.status == Prompt.Status.DRAFT:
            published = actions.publish(prompt=prompt, by=form.person, now=timezone.now())
            return _saved(request, published, prompt)
        return _leave(request, prompt, _("Saved already; nothing was left to change."))
    data = request.POST.copy()
    data["edition"] = str(prompt.edition)
    context = {
        "prompt": prompt,
        "mine": PromptForm.typed(data, form.person, prompt),
        "theirs": theirs,
        "do": request.POST.get("do", ""),
        "copy": request.POST.get("copy", ""),
        "their_author": _last_writer(prompt),
        **changes,
    }
    return render(request, "prompts/conflict.html", context, status=409)


def _changes(mine: PromptForm, theirs: PromptForm) -> dict[str, Any]:
    """From their state of a prompt to mine."""
    old, new = _texts(theirs), _texts(mine)
    old_values, new_values = _values(theirs), _values(mine)
    return {
        "texts": text_changes((str(mine[name].label), old[name], new[name]) for name in _TEXTS),
        "values": value_changes(
            (label, old_values[label], new_values[label]) for label in new_values
        ),
        "variables": variable_changes(theirs.variables(), mine.variables()),
    }


def _texts(form: PromptForm) -> dict[str, str]:
    """The texts of a form as the actions would keep them, whether valid or not."""
    raw = {name: clean_text(str(form[name].value() or "")) for name in _TEXTS}
    lines = {name: clean_line(raw[name]) for name in ("title", "summary")}
    long = {name: raw[name].strip("\n") for name in ("text", "system")}
    return {**lines, **long, **{section: raw[section].strip() for section in SECTIONS}}


def _values(form: PromptForm) -> dict[str, str]:
    """The chosen values of a form in words, by the label of their field."""
    chosen: dict[str, str] = {}
    for name in ("departments", "use_cases", "tools", "visibility"):
        field, slugs = form[name], form[name].value() or []
        slugs = {slugs} if isinstance(slugs, str) else set(slugs)
        labels = [str(label) for slug, label in field.field.widget.choices if str(slug) in slugs]
        chosen[str(field.label)] = ", ".join(labels)
    tags = [*(form["popular"].value() or []), *tag_names(str(form["tags"].value() or ""))]
    language = form["language"].value() or form.guessed_language(_texts(form)["text"])
    chosen[_("Tags")] = ", ".join(sorted(dict.fromkeys(tags)))
    chosen[str(form["language"].label)] = language_name(language)
    return chosen


def _last_writer(prompt: Prompt) -> User | None:
    """Who made the last change, when that can be told: not every change leaves a version."""
    for record in (prompt.current, prompt.write_up):
        if record is not None and record.created == prompt.updated:
            return record.author
    return None


# --- Near titles -------------------------------------------------------------------------------


def _near(person: User, title: str) -> list[engine.Hit]:
    """Prompts that share half of the telling words of a title, and at least two; best first."""
    telling = dict.fromkeys(
        spelling
        for word in words(fold(clean_line(title)))
        if len(spelling := word.whole or word.parts[0]) >= SHORTEST_NEAR_WORD
    )
    if len(telling) < FEWEST_NEAR_WORDS:
        return []
    terms = tuple(Term((word,)) for word in list(telling)[:MOST_TERMS])
    found = engine.search(
        SearchQuery(terms=terms), person, page_size=NEAR_LOOKED_AT, has_facets=False
    )
    fewest = max(FEWEST_NEAR_WORDS, len(terms) // 2)
    return [hit for hit in found.hits if _shared(hit) >= fewest][:NEAR_SHOWN]


def _shared(hit: engine.Hit) -> int:
    return len({fold(segment.text) for segment in hit.title if segment.is_match})
