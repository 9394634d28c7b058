"""The page of a prompt, and the small acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kb.community import queries as community
from kb.community import rules as community_rules
from kb.community.models import UsageSignal
from kb.community.tally import tally
from kb.drift import queries as drift
from kb.drift import rules as drift_rules
from kb.prompts import actions, queries, rules, template
from kb.prompts.models import Prompt, PromptVersion
from kb.views.charts import pass_rate_chart
from kb.views.examples import examples
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in
from kb.views.pieces import LONG_TEXT, blanks, pieces

LONGEST_LINK = 6_000
"""Characters of an address most browsers and tools still take."""
REPORTS_SHOWN = 4
VERSIONS_SHOWN = 4
NIGHTS_SHOWN = 30


@require_safe
def prompt(request: HttpRequest, slug: str) -> HttpResponse:
    """Everything about one prompt."""
    person = signed_in(request)
    found = queries.by_slug(person, slug)
    return _page(request, found, queries.remembered_values(person, found))


@require_POST
def fill(request: HttpRequest, slug: str) -> HttpResponse:
    """Keep what was filled in; without a script, show the filled text."""
    person = signed_in(request)
    found = queries.by_slug(person, slug)
    names = {v["name"] for v in (found.current.variables if found.current else [])}
    values = {name: request.POST.get(f"v-{name}", "") for name in names}
    actions.remember_values(prompt=found, by=person, values=values, now=timezone.now())
    if wants_fragment(request):
        return HttpResponse(status=204)
    return _page(request, found, values)


@require_POST
def watch(request: HttpRequest, slug: str) -> HttpResponse:
    """Follow a prompt or stop following it."""
    person = signed_in(request)
    found = queries.by_slug(person, slug)
    if request.POST.get("on") == "1":
        actions.watch(prompt=found, by=person)
    else:
        actions.unwatch(prompt=found, by=person)
    if wants_fragment(request):
        context = {"prompt": found, "is_watching": request.POST.get("on") == "1"}
        return render(request, "prompts/detail.html#watch", context)
    return redirect("prompt", slug=slug)


@require_POST
def publish(request: HttpRequest, slug: str) -> HttpResponse:
    """Publish a draft, or bring an archived prompt back."""
    person = signed_in(request)
    found = queries.by_slug(person, slug)
    actions.publish(prompt=found, by=person, now=timezone.now())
    messages.success(request, _("“%(title)s” is published.") % {"title": found.title})
    return redirect("prompt", slug=slug)


@require_POST
def archive(request: HttpRequest, slug: str) -> HttpResponse:
    """Take a prompt out of the lists; the page offers to bring it back."""
    person = signed_in(request)
    found = queries.by_slug(person, slug)
    actions.archive(prompt=found, by=person, now=timezone.now())
    messages.success(
        request,
        _("“%(title)s” is archived: out of the lists, but still at this address.")
        % {"title": found.title},
    )
    return redirect("prompt", slug=slug)


@require_POST
def verify(request: HttpRequest, slug: str) -> HttpResponse:
    """A curator vouches for the current version."""
    person = signed_in(request)
    found = queries.by_slug(person, slug)
    tool = next((t for t in found.tools.all() if t.slug == request.POST.get("tool")), None)
    actions.verify(
        prompt=found,
        by=person,
        now=timezone.now(),
        tool=tool,
        model=request.POST.get("model", ""),
        note=request.POST.get("note", ""),
    )
    messages.success(request, _("Thank you: this version is marked as verified by you."))
    return redirect("prompt", slug=slug)


def _page(request: HttpRequest, found: Prompt, values: Mapping[str, str]) -> HttpResponse:
    version = found.current
    if version is None:  # only while a prompt is being made, in another transaction
        return redirect("prompts")
    context = _text_context(found, version, values) | _story_context(request, found, version)
    return render(request, "prompts/detail.html", context)


def _text_context(
    found: Prompt, version: PromptVersion, values: Mapping[str, str]
) -> dict[str, Any]:
    variables = template.variables_from(version.variables)
    return {
        "prompt": found,
        "version": version,
        "blanks": blanks(variables, values),
        "pieces": pieces(version.text, variables, values),
        "system_pieces": pieces(version.system, variables, values) if version.system else [],
        "open_tools": [tool for tool in found.tools.all() if tool.open_url and not tool.is_retired],
        "longest_link": LONGEST_LINK,
        "is_long": len(version.text) > LONG_TEXT,
    }


def _story_context(request: HttpRequest, found: Prompt, version: PromptVersion) -> dict[str, Any]:
    person = signed_in(request)
    counted = tally([found.pk])[found.pk]
    departments = [department.pk for department in found.departments.all()]
    reports = community.reports_on(found, person)
    monitors = list(drift.monitors_of(found))
    return {
        "tally": counted,
        "minutes": community.minutes(found),
        "votes": community.vote_counts([found.pk]).get(found.pk, 0),
        "has_voted": community.has_voted(person, found),
        "signal": community.signal_today(person, found, timezone.now()),
        "outcomes": UsageSignal.Outcome.choices,
        "is_watching": queries.is_watching(person, found),
        "verification": queries.latest_verification(found),
        "versions": found.versions.select_related("author")[:VERSIONS_SHOWN],
        "version_count": version.number,
        "reports": reports[:REPORTS_SHOWN],
        "report_count": reports.count(),
        "threads": community.threads(found),
        "monitors": [
            (monitor, pass_rate_chart(drift.history(monitor, NIGHTS_SHOWN), is_small=True))
            for monitor in monitors
        ],
        "can_edit": rules.can_edit(person, found, departments),
        "can_curate": rules.can_curate(person, found, departments),
        "can_monitor": drift_rules.can_monitor(person, found),
        "can_try": drift_rules.can_try(person, found),
        "examples": examples(person, found),
        "can_take_part": community_rules.can_take_part(person),
    }
