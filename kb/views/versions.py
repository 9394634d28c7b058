"""The history of a prompt: its versions, what changed between two of them, and bringing one back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from kb.community.evidence import Worked
from kb.community.tally import tally_by_version
from kb.core.errors import NotFound
from kb.drift.rules import can_try
from kb.prompts import actions, queries, rules, template
from kb.prompts.models import Prompt, PromptVersion
from kb.views.differences import TextChange, text_changes, variable_changes
from kb.views.people import signed_in
from kb.views.pieces import LONG_TEXT, pieces

PAGE_SIZE = 30
HIGHEST_NUMBER = 100_000
"""Above it nobody means a version; the database could not even compare it."""


@require_safe
def versions(request: HttpRequest, slug: str) -> HttpResponse:
    """All versions of a prompt, the newest first."""
    person = signed_in(request)
    prompt = queries.by_slug(person, slug)
    page = Paginator(_rows(prompt), PAGE_SIZE).get_page(request.GET.get("page"))
    evidence = tally_by_version(prompt.pk)
    context = {
        "prompt": prompt,
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
        "rows": [(version, evidence.get(version.pk, Worked())) for version in page],
        "numbers": list(prompt.versions.values_list("number", flat=True)),
        "can_edit": _can_edit(person, prompt),
    }
    return render(request, "prompts/versions.html", context)


@require_safe
def version(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """One version as it was, with what it proved."""
    person = signed_in(request)
    prompt = queries.by_slug(person, slug)
    found = _version(prompt, number)
    variables = template.variables_from(found.variables)
    context = {
        "prompt": prompt,
        "version": found,
        "is_current": found.pk == prompt.current_id,
        "variables": variables,
        "pieces": pieces(found.text, variables, {}),
        "system_pieces": pieces(found.system, variables, {}) if found.system else [],
        "is_long": len(found.text) > LONG_TEXT,
        "worked": tally_by_version(prompt.pk).get(found.pk, Worked()),
        "before": prompt.versions.filter(number__lt=found.number).first(),
        "after": prompt.versions.filter(number__gt=found.number).last(),
        "can_try": can_try(person, prompt),
        "can_restore": _can_edit(person, prompt) and not _says_the_same(prompt.current, found),
    }
    return render(request, "prompts/version.html", context)


@require_safe
def difference(request: HttpRequest, slug: str) -> HttpResponse:
    """What changed from one version to another; by default from the last but one to the last."""
    person = signed_in(request)
    prompt = queries.by_slug(person, slug)
    current = prompt.current.number if prompt.current else 1
    new = _version(prompt, _number(request, "to", current))
    old = _version(prompt, _number(request, "from", max(1, new.number - 1)))
    is_folded = request.GET.get("all") != "1"
    context = {
        "prompt": prompt,
        "old": old,
        "new": new,
        "is_folded": is_folded,
        "numbers": list(prompt.versions.values_list("number", flat=True)),
        **_changes(old, new, is_folded=is_folded),
    }
    return render(request, "prompts/diff.html", context)


@require_POST
def restore(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Make an older version the newest one again."""
    person = signed_in(request)
    prompt = queries.by_slug(person, slug)
    made = actions.restore_version(
        prompt=prompt, number=_version(prompt, number).number, by=person, now=timezone.now()
    )
    messages.success(
        request,
        _("Version %(number)s is back, as version %(new)s. To undo it, restore version %(last)s.")
        % {"number": number, "new": made.number, "last": made.number - 1},
    )
    return redirect("prompt-versions", slug=slug)


def _rows(prompt: Prompt) -> Any:
    """The versions for a list, without the texts, which may be long."""
    return prompt.versions.select_related("author").defer("text", "system")


def _version(prompt: Prompt, number: int) -> PromptVersion:
    return queries.version_of(prompt, min(number, HIGHEST_NUMBER))


def _number(request: HttpRequest, name: str, usual: int) -> int:
    text = request.GET.get(name, "").strip()
    if not text:
        return usual
    if not (text.isascii() and text.isdecimal()):
        raise NotFound(_("“%(value)s” is not the number of a version.") % {"value": text[:40]})
    return int(text[:7])


def _can_edit(person: User, prompt: Prompt) -> bool:
    return rules.can_edit(person, prompt, [row.pk for row in prompt.departments.all()])


def _says_the_same(one: PromptVersion | None, other: PromptVersion) -> bool:
    return one is not None and (one.text, one.system, one.variables) == (
        other.text,
        other.system,
        other.variables,
    )


def _changes(old: PromptVersion, new: PromptVersion, *, is_folded: bool) -> dict[str, Any]:
    texts: Sequence[TextChange] = text_changes(
        [
            (_("The prompt"), old.text, new.text),
            (_("Standing instructions"), old.system, new.system),
        ],
        is_folded=is_folded,
    )
    return {
        "texts": texts,
        "words_added": sum(change.added for change in texts),
        "words_removed": sum(change.removed for change in texts),
        "has_folds": any(change.has_folds for change in texts),
        "variables": variable_changes(
            template.variables_from(old.variables), template.variables_from(new.variables)
        ),
    }
