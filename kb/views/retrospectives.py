"""Retrospectives: the list with its export, the form of one minute, and the page of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import Department, User
from kb.community import actions, queries, reports, rules
from kb.community.evidence import Worked
from kb.community.models import Retrospective
from kb.community.tally import tally
from kb.core.errors import Invalid, NotAllowed
from kb.core.spreadsheet import Cell, csv_text
from kb.drift import rules as drift_rules
from kb.forms.community import (
    NO_PROMPT,
    OTHER,
    AddendumForm,
    FollowUpForm,
    LinkForm,
    ReportForm,
    blame,
    to_follow_up,
    to_report_query,
)
from kb.prompts import queries as prompts
from kb.prompts.models import Prompt, Tool, UseCase
from kb.views import picking
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in

PAGE_SIZE = 20
MOST_EXPORTED = 10_000
MOST_COLLEAGUES = 500
"""Names offered for the owner of a follow-up; anybody else is named by e-mail address."""
MODEL_LENGTH = 80
"""Characters of a model's name in a report."""
LINK_TARGETS = 20
OTHERS_SHOWN = 3
_SIGNALLED = {"with_edits": Retrospective.Outcome.WITH_EDITS.value}
"""Outcomes of a click that reports call otherwise."""


# --- the list ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    """One value of a facet, and how many reports choosing it would show."""

    value: str
    label: str
    count: int
    is_chosen: bool


@dataclass(frozen=True)
class _Box:
    """One facet with its values, the chosen and the frequent first."""

    name: str
    label: str
    values: Sequence[_Value]


@dataclass(frozen=True)
class _Tab:
    """All reports, or those of some outcomes."""

    label: str
    outcomes: Sequence[str]
    count: int
    is_chosen: bool


@require_safe
def retrospectives(request: HttpRequest) -> HttpResponse:
    """What really happened: reports by words, facets and outcome; `format=csv` exports them."""
    person = signed_in(request)
    query = to_report_query(request.GET)
    found = reports.find(person, query)
    if request.GET.get("format") == "csv":
        return _export(person, found)
    page = Paginator(found.rows, PAGE_SIZE).get_page(request.GET.get("page"))
    boxes = _boxes(query, found)
    context = {
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(
            page.number, on_each_side=1, on_ends=1
        ),
        "total": page.paginator.count,
        "boxes": boxes,
        "chips": [(box.name, value) for box in boxes for value in box.values if value.is_chosen],
        "tabs": _tabs(query, found),
        "query": query,
        "is_capped": found.is_capped,
        "most_matches": reports.MOST_MATCHES,
        "can_take_part": rules.can_take_part(person),
        **_about(person, query.prompt),
    }
    template = "community/retrospectives.html"
    return render(request, f"{template}#results" if wants_fragment(request) else template, context)


def _boxes(query: reports.ReportQuery, found: reports.Found) -> list[_Box]:
    labels: dict[str, tuple[str, Mapping[str, str]]] = {
        "outcome": (
            _("Outcome"),
            {value: str(label) for value, label in Retrospective.Outcome.choices},
        ),
        "department": (_("Department"), _names(Department)),
        "use_case": (_("Use case"), _names(UseCase)),
        "tool": (_("Tool"), _names(Tool)),
    }
    return [
        _Box(name, label, values)
        for name, (label, names) in labels.items()
        if (values := _values(names, query.facets.get(name, ()), found.facets[name]))
    ]


def _names(model: type[Department] | type[Tool] | type[UseCase]) -> dict[str, str]:
    return {row.slug: str(row) for row in model.objects.all()}


def _values(names: Mapping[str, str], chosen: Any, counts: Mapping[str, int]) -> list[_Value]:
    frequent = sorted(counts, key=lambda value: (-counts[value], names.get(value, value)))
    return [
        _Value(value, names.get(value, value), counts.get(value, 0), value in chosen)
        for value in dict.fromkeys([*chosen, *frequent])
    ]


def _tabs(query: reports.ReportQuery, found: reports.Found) -> list[_Tab]:
    chosen = frozenset(query.facets["outcome"])
    counts = found.facets["outcome"]
    kinds = [
        (_("All reports"), frozenset[str]()),
        (_("What did not work"), reports.DID_NOT_WORK),
        (_("What worked"), reports.DID_WORK),
    ]
    return [
        _Tab(
            label,
            [value for value in Retrospective.Outcome.values if value in outcomes],
            sum(n for value, n in counts.items() if value in outcomes or not outcomes),
            chosen == outcomes,
        )
        for label, outcomes in kinds
    ]


def _about(person: User, slug: str) -> dict[str, Any]:
    """The prompt the list is about, with what its reports and clicks say together."""
    if not slug:
        return {}
    found = next(iter(picking.prompt_of_slug(person, slug)), None)
    if found is None:
        return {"missing_prompt": slug}
    return {
        "prompt": found,
        "tally": tally([found.pk])[found.pk],
        "minutes": queries.minutes(found),
    }


# --- the export ----------------------------------------------------------------------------------


def _export(person: User, found: reports.Found) -> HttpResponse:
    """All pages of the list as a table that spreadsheets open."""
    count = found.rows.count()
    if count > MOST_EXPORTED:
        raise Invalid(
            _("These are %(count)s reports; one file takes %(most)s. Choose a filter first.")
            % {"count": count, "most": MOST_EXPORTED}
        )
    # A French spreadsheet reads a decimal comma, and so wants semicolons between cells.
    separator = ";" if (get_language() or "").startswith("fr") else ","
    rows = [_exported(person, report) for report in found.rows.defer("html")]
    header = [str(label) for label in _columns()]
    name = f"retrospectives-{timezone.localdate().isoformat()}.csv"
    return HttpResponse(
        csv_text(header, rows, separator=separator),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _columns() -> list[str]:
    return [
        _("Report number"), _("Reported on"), _("Day of the task"), _("Title"), _("Lesson"), _("Outcome"),
        _("Reported by"), _("Department"), _("Use case"), _("Prompt"), _("Version"), _("Tool"),
        _("Model"), _("Language"), _("Stakes"), _("Data"), _("Knew the task, 1 to 5"),
        _("Knew the tool, 1 to 5"), _("Expected"), _("Kept, %"), _("Without AI"),
        _("Minutes without AI"), _("Basis"), _("Minutes preparing"), _("Minutes waiting"),
        _("Minutes checking and fixing"), _("Net minutes"), _("Parallel work"), _("Attempts"),
        _("Things handled"), _("Quality"), _("How it was checked"), _("Incidents"), _("Severity"),
        _("Caught before use"), _("An excerpt"), _("Why it differed"), _("What worked"),
        _("What did not work"), _("Luck"), _("Use again"), _("Use again: note"), _("Advice"),
        _("When not to use it"),
    ]  # fmt: skip


def _exported(person: User, report: Retrospective) -> list[Cell]:
    """One row, in the order of _columns."""
    reckoned = reports.reckon(report)
    kinds = dict(Retrospective.IncidentKind.choices)
    version = report.version
    prompt = version.prompt if version and prompts.is_readable(version.prompt, person) else None
    return [
        report.pk,
        timezone.localdate(report.created).isoformat(),
        report.task_date.isoformat(),
        report.title,
        report.lesson,
        report.get_outcome_display(),
        "" if report.is_anonymous else str(report.author or ""),
        str(report.department or ""),
        str(report.use_case or ""),
        prompt.title if prompt else "",
        version.number if version else None,
        str(report.tool or ""),
        report.model,
        report.language,
        report.get_stakes_display(),
        report.get_data_class_display(),
        report.task_familiarity,
        report.tool_familiarity,
        report.expectation,
        report.kept_share,
        report.get_counterfactual_display(),
        report.minutes_without,
        report.get_minutes_basis_display(),
        report.minutes_preparing,
        report.minutes_waiting,
        report.minutes_checking,
        reckoned.net if reckoned else None,
        _("yes") if report.is_parallel_work else _("no"),
        report.attempts,
        report.items,
        report.get_quality_display(),
        report.get_checked_display(),
        ", ".join(str(kinds.get(kind, kind)) for kind in report.incidents),
        report.get_incident_severity_display(),
        {True: _("yes"), False: _("no"), None: ""}[report.is_incident_caught],
        report.evidence,
        report.why_different,
        report.worked,
        report.failed,
        report.lucky,
        report.get_would_reuse_display(),
        report.reuse_note,
        report.advice,
        report.when_not,
    ]


# --- writing and correcting ----------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Report on a use: eight answers, the rest folded."""
    person = signed_in(request)
    if not rules.can_take_part(person):
        raise NotAllowed(
            _("You have no role yet. Ask an administrator to add you to a department.")
        )
    if request.method != "POST":
        return _asked(request, person)
    if "look" in request.POST:
        return _looked(request, person)
    form = _form(person, request.POST)
    if form.is_valid():
        try:
            report = actions.write_retrospective(
                fields=form.to_fields(),
                follow_ups=form.to_follow_ups(),
                by=person,
                now=timezone.now(),
            )
        except Invalid as error:
            blame(form, error)
        else:
            messages.success(request, _thanks(report))
            return redirect("retrospective", pk=report.pk)
    return _form_page(request, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Correct one's report while the edit window is open."""
    person = signed_in(request)
    report = queries.report_by_id(person, pk)
    if not rules.can_edit_report(person, report, timezone.now()):
        raise NotAllowed(
            _("A report can be corrected by its author for %(days)s days; after that, add to it.")
            % {"days": rules.EDIT_WINDOW.days}
        )
    if request.method != "POST":
        return _form_page(request, _form(person, report=report), report)
    if "look" in request.POST:
        return _looked(request, person, report)
    form = _form(person, request.POST, report=report)
    if not form.is_valid():
        return _form_page(request, form, report, status=422)
    if form.cleaned_data["seen"] != _seen(report):
        return _changed_meanwhile(request, report)
    try:
        actions.edit_retrospective(
            report=report, fields=form.to_fields(), by=person, now=timezone.now()
        )
    except Invalid as error:
        blame(form, error)
        return _form_page(request, form, report, status=422)
    messages.success(request, _("Your correction is saved."))
    return redirect("retrospective", pk=pk)


def _asked(request: HttpRequest, person: User) -> HttpResponse:
    """The empty form, or only its list of prompts while one is being looked for."""
    asked = request.GET
    words = asked.get("find", "")
    if wants_fragment(request) and "find" in asked:
        found = picking.find_prompts(person, words)
        form = _form(person, found=found, initial=_chosen(found, asked.get("version", "")))
        context = {"form": form, "find": words, "found": found}
        return render(request, "community/retrospective_form.html#version", context)
    prompt = next(iter(picking.prompt_of_slug(person, asked.get("prompt", ""))), None)
    return _form_page(
        request,
        _form(person, found=[prompt] if prompt else [], initial=_guesses(person, prompt, asked)),
    )


def _looked(
    request: HttpRequest, person: User, report: Retrospective | None = None
) -> HttpResponse:
    """The form again as it was, with the prompts that were looked for: without scripts."""
    data = request.POST.copy()
    found = picking.find_prompts(person, data.get("find", ""))
    for name, value in _chosen(found, data.get("version", "")).items():
        data[name] = value
    form = _form(person, data, report=report, found=found)
    form.errors.clear()  # nothing has been sent yet
    return _form_page(request, form, report, find=data.get("find", ""), found=found)


def _chosen(found: Sequence[Prompt], before: str) -> dict[str, str]:
    """The newest version of the best match, or what was chosen before when nothing matches."""
    return {"version": str(found[0].current_id) if found else before}


def _form(
    person: User,
    data: QueryDict | None = None,
    *,
    report: Retrospective | None = None,
    found: Sequence[Prompt] = (),
    initial: Mapping[str, Any] | None = None,
) -> ReportForm:
    tools, use_cases = prompts.catalogue()
    if report is not None:
        initial = _answers(report)
        tools += [report.tool] if report.tool and report.tool not in tools else []
    chosen = str((data if data is not None else initial or {}).get("version", ""))
    offered = {
        prompt.pk: prompt
        for prompt in (
            *found,
            *picking.prompt_of_version(person, chosen),
            *picking.recent_prompts(person),
        )
    }
    return ReportForm(
        data,
        initial=initial,
        person=person,
        offered=list(offered.values()),
        department=reports.department_of(person),
        tools=tools,
        use_cases=use_cases,
        corrected=report,
    )


def _form_page(
    request: HttpRequest,
    form: ReportForm,
    report: Retrospective | None = None,
    *,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    context = {
        "form": form,
        "report": report,
        "models": reports.models_used(form.person),
        "colleagues": _colleagues() if report is None else [],
        "edit_days": rules.EDIT_WINDOW.days,
        **more,
    }
    return render(request, "community/retrospective_form.html", context, status=status)


def _guesses(person: User, prompt: Prompt | None, asked: QueryDict) -> dict[str, Any]:
    """What the form begins with, from the address, the profile and the person's last report."""
    department = reports.department_of(person)
    outcome = asked.get("outcome", "")
    guessed: dict[str, Any] = {
        "language": person.language,
        "department": department.slug if department else "",
        "is_anonymous": "0",
        "task_date": timezone.localdate(),
        "outcome": _SIGNALLED.get(outcome, outcome),
    }
    last = reports.latest_of(person)
    tools = list(prompt.tools.all()) if prompt else []
    if last is not None and last.tool is not None and (not tools or last.tool in tools):
        guessed |= {"tool": last.tool.slug, "model": last.model}
    elif len(tools) == 1:
        guessed["tool"] = tools[0].slug
    if asked.get("model"):
        guessed["model"] = asked["model"][:MODEL_LENGTH]
    if prompt is not None:
        wanted = asked.get("version", "")
        known = {str(version.pk) for version in prompt.versions.all()}
        guessed["version"] = wanted if wanted in known else str(prompt.current_id)
        use_cases = list(prompt.use_cases.all())
        guessed |= {"use_case": use_cases[0].slug} if len(use_cases) == 1 else {}
    return guessed


def _answers(report: Retrospective) -> dict[str, Any]:
    """What a report says, as the form shows it."""
    plain = {field.name: getattr(report, field.name) for field in fields(actions.ReportFields)}
    return plain | {
        "version": str(report.version_id or NO_PROMPT),
        "department": report.department.slug if report.department else "",
        "use_case": report.use_case.slug if report.use_case else OTHER,
        "tool": report.tool.slug if report.tool else OTHER,
        "is_anonymous": "1" if report.is_anonymous else "0",
        "is_incident_caught": {True: "1", False: "0", None: ""}[report.is_incident_caught],
        "seen": _seen(report),
    }


def _seen(report: Retrospective) -> str:
    return report.edited.isoformat() if report.edited else ""


def _changed_meanwhile(request: HttpRequest, report: Retrospective) -> HttpResponse:
    """The report was corrected in another window: the words typed here, and what to look at first."""
    data = request.POST.copy()
    data["seen"] = _seen(report)
    form = _form(signed_in(request), data, report=report)
    form.add_error(
        None,
        _(
            "You changed this report in another window meanwhile. Saving again replaces that change."
        ),
    )
    return _form_page(request, form, report, status=409)


def _colleagues() -> list[User]:
    people = User.objects.filter(is_active=True, memberships__isnull=False).distinct()
    return list(people.order_by("name", "pk")[:MOST_COLLEAGUES])


def _thanks(report: Retrospective) -> str:
    """Thanks, and what the report changed."""
    thanks = (
        _("Thank you. What did not work is what colleagues learn most from.")
        if report.outcome in reports.DID_NOT_WORK
        else _("Thank you. Your report is published.")
    )
    if report.version is None:
        return thanks
    worked = _worked_now(report)
    change = ngettext(
        "This prompt now: worked in %(k)s of %(n)s use.",
        "This prompt now: worked in %(k)s of %(n)s uses.",
        worked.n,
    ) % {"k": worked.k, "n": worked.n}
    return f"{thanks} {change}"


def _worked_now(report: Retrospective) -> Worked:
    """The uses the report was added to: of the current version, or of all versions together."""
    assert report.version is not None  # noqa: S101 - asked only of reports on a version
    prompt = report.version.prompt
    counted = tally([prompt.pk])[prompt.pk]
    return counted.current if report.version_id == prompt.current_id else counted.total


# --- the page of a report ------------------------------------------------------------------------


@require_safe
def retrospective(request: HttpRequest, pk: int) -> HttpResponse:
    """One use, told."""
    return _page(request, queries.report_by_id(signed_in(request), pk))


@require_POST
def add(request: HttpRequest, pk: int) -> HttpResponse:
    """Add a dated word to one's report."""
    person = signed_in(request)
    report = queries.report_by_id(person, pk)
    form = AddendumForm(request.POST, auto_id="add-%s")
    if form.is_valid():
        actions.add_to_retrospective(
            report=report, text=form.cleaned_data["text"], by=person, now=timezone.now()
        )
        messages.success(request, _("Your words are added to the report."))
        return redirect("retrospective", pk=pk)
    return _page(request, report, failed=form, addendum_form=form)


@require_POST
def follow_up_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Note one more thing to do because of one's report."""
    person = signed_in(request)
    report = queries.report_by_id(person, pk)
    _must_be_author(person, report)
    form = FollowUpForm(request.POST, report)
    if form.is_valid():
        actions.add_follow_up(
            report=report, fields=to_follow_up(form), by=person, now=timezone.now()
        )
        messages.success(request, _("The follow-up is noted."))
        return redirect("retrospective", pk=pk)
    return _page(request, report, failed=form, follow_up_form=form)


@require_POST
def follow_up(request: HttpRequest, pk: int) -> HttpResponse:
    """Say that a follow-up is done, dropped or open again."""
    person = signed_in(request)
    found = reports.follow_up_by_id(person, pk)
    actions.set_follow_up_state(follow_up=found, state=request.POST.get("state", ""), by=person)
    place = request.POST.get("place", "")
    if wants_fragment(request):
        context = {"follow_up": found, "place": place, "today": timezone.localdate()}
        return render(request, "community/_follow_up.html", context)
    return (
        redirect("mine")
        if place == "mine"
        else redirect("retrospective", pk=found.retrospective_id)
    )


@require_POST
def link(request: HttpRequest, pk: int) -> HttpResponse:
    """Say that one's report confirms, nuances or contradicts another report or a prompt."""
    person = signed_in(request)
    report = queries.report_by_id(person, pk)
    _must_be_author(person, report)
    form = LinkForm(request.POST, report, person)
    if form.is_valid():
        target = form.cleaned_data["target"]
        actions.link_retrospective(
            report=report,
            kind=form.cleaned_data["kind"],
            by=person,
            other=target if isinstance(target, Retrospective) else None,
            prompt=target if isinstance(target, Prompt) else None,
        )
        messages.success(request, _("The link is made."))
        return redirect("retrospective", pk=pk)
    return _page(request, report, failed=form, link_form=form)


def _must_be_author(person: User, report: Retrospective) -> None:
    if not rules.can_add_to_report(person, report):
        raise NotAllowed(
            _("Only its author can add to a report; others can answer with a report of their own.")
        )


def _page(
    request: HttpRequest, report: Retrospective, *, failed: forms.Form | None = None, **more: Any
) -> HttpResponse:
    person, now = signed_in(request), timezone.now()
    is_author = rules.can_add_to_report(person, report)
    kinds = dict(Retrospective.IncidentKind.choices)
    context = {
        "report": report,
        "facts": _facts(report),
        "reckoning": reports.reckon(report),
        "incidents": [kinds.get(kind, kind) for kind in report.incidents],
        "follow_ups": report.follow_ups.select_related("owner", "retrospective"),
        "links_from": reports.links_from(report, person),
        "links_to": reports.links_to(report, person),
        "addenda": report.addenda.all(),
        "today": timezone.localdate(),
        "is_author": is_author,
        "can_take_part": rules.can_take_part(person),
        "can_edit": rules.can_edit_report(person, report, now),
        "edit_until": report.created + rules.EDIT_WINDOW,
        "failed": failed,
        **_about_version(person, report),
        **(_author_forms(person, report) if is_author else {}),
        **more,
    }
    status = 422 if failed else 200
    return render(request, "community/retrospective.html", context, status=status)


def _about_version(person: User, report: Retrospective) -> dict[str, Any]:
    """The prompt used: what all its uses say, and other reports on it."""
    version = report.version
    if version is None:
        return {}
    readable = queries.reports_on(version.prompt, person).exclude(pk=report.pk)
    prompt = next(iter(picking.prompt_of_slug(person, version.prompt.slug)), None)
    return {
        "prompt": prompt,
        "can_watch": prompt is not None and drift_rules.can_monitor(person, prompt),
        "tally": tally([version.prompt_id])[version.prompt_id],
        "others": readable[:OTHERS_SHOWN],
    }


def _author_forms(person: User, report: Retrospective) -> dict[str, Any]:
    targets = queries.reports_visible_to(person).exclude(pk=report.pk)
    if report.version is not None:
        targets = targets.filter(version__prompt=report.version.prompt_id)
    return {
        "addendum_form": AddendumForm(auto_id="add-%s"),
        "follow_up_form": FollowUpForm(None, report),
        "link_form": LinkForm(None, report, person),
        "colleagues": _colleagues(),
        "link_targets": targets[:LINK_TARGETS],
    }


def _facts(report: Retrospective) -> list[tuple[str, str]]:
    """What was answered beside outcome, quality and minutes, in words."""
    of_five = _("%(n)s of 5")
    given = [
        (_("Stakes"), report.get_stakes_display()),
        (_("Data"), report.get_data_class_display()),
        (_("How it was checked"), report.get_checked_display()),
        (_("Attempts"), str(report.attempts or "")),
        (_("Things handled"), str(report.items or "")),
        (_("Without AI"), report.get_counterfactual_display()),
        (_("Knew the task"), report.task_familiarity and of_five % {"n": report.task_familiarity}),
        (_("Knew the tool"), report.tool_familiarity and of_five % {"n": report.tool_familiarity}),
    ]
    return [(label, str(value)) for label, value in given if value]
