"""Setting up a monitor and changing one: a single page for people who do not code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.models import User
from kb.core.errors import Invalid, NotAllowed
from kb.drift import actions, grader_queries, judging, queries, rules
from kb.drift.grading import RUBRIC, SIMILAR
from kb.drift.models import Monitor
from kb.forms.check_words import whole
from kb.forms.drift import (
    CUSTOM,
    NEAR_TYPES,
    SCHEDULES,
    WITHOUT_VALUE,
    CaseDraft,
    Draft,
    Setup,
    draft_of_case,
)
from kb.llm import queries as llm
from kb.llm import rules as llm_rules
from kb.llm.clients import SIMULATED
from kb.llm.models import Target
from kb.prompts import queries as prompts
from kb.prompts import template
from kb.prompts.models import Prompt, PromptVersion
from kb.views.drift_words import money, power_words
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in
from kb.views.reported import begin_with_report, report_on, version_to_watch
from kb.views.tried import begin_with, tried_answer


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Set up a monitor in one page.

    `?report=N` begins with what a retrospective tells, `?answer=N` with what one tried,
    `?target=N` with this model.
    """
    person = signed_in(request)
    prompt = prompts.by_slug(person, slug)
    must_monitor(person, prompt)
    report = report_on(person, prompt, request.GET.get("report", ""))
    tried = tried_answer(person, prompt, request.GET.get("answer", ""))
    targets = list(llm.targets())
    version = version_to_watch(prompt, report, request.POST.get("version", ""))
    if tried is not None:
        version = tried.trial.version
    if not targets or version is None:
        return render(request, "drift/no_model.html", {"prompt": prompt})
    page = _SetupPage(request, prompt, version, targets)
    if request.method != "POST":
        others = list(queries.monitors_of(prompt))
        draft = _first_draft(person, prompt, targets, others)
        wanted = request.GET.get("target", "")
        if wanted in {str(target.pk) for target in targets}:
            draft.target = wanted
        if report is not None:
            return page.show(draft, **begin_with_report(draft, report, person, version))
        if tried is not None:
            begin_with(draft, tried)
            others = []
        return page.show(draft, copied_from=others[0] if others else None)
    return page.answer(lambda setup: _create(request, person, prompt, version, setup))


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what is asked, how often, and what the answers must satisfy."""
    person = signed_in(request)
    found = queries.by_id(person, pk)
    must_monitor(person, found.prompt)
    targets = list(llm.targets())
    if found.target not in targets:
        targets.insert(0, found.target)
    page = _SetupPage(request, found.prompt, found.version, targets, found)
    if request.method != "POST":
        return page.show(_draft_of(found))
    return page.answer(lambda setup: _change(request, person, found, setup))


class _SetupPage:
    """The page a monitor is set up and changed on."""

    def __init__(
        self,
        request: HttpRequest,
        prompt: Prompt,
        version: PromptVersion,
        targets: Sequence[Target],
        found: Monitor | None = None,
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.version = version
        self.targets = targets
        self.found = found
        self.variables = template.variables_from(version.variables)
        self.judged = grader_queries.types_judged()
        # Checks that are there already may stay when the model that judged them is gone.
        self.graders = self.judged | (actions.types_used(found) if found else frozenset())

    def answer(self, save: Callable[[Setup], HttpResponse]) -> HttpResponse:
        """Do what the pressed button says: add or remove a row, count anew, or save."""
        draft = Draft.typed(self.request.POST)
        pressed = self.request.POST.get("do", "save")
        if pressed != "save":
            fragment = "changed" if draft.change(pressed) else "effort"
            return self.show(draft, fragment=fragment)
        setup = self._setup(draft, is_judged=True)
        if setup.is_valid():
            try:
                response = save(setup)
            except Invalid as error:
                _place_refusals(setup, error)
            else:
                return response
        return self._render(setup, "drift/setup.html", status=422)

    def show(self, draft: Draft, *, fragment: str = "", **more: Any) -> HttpResponse:
        """The page as it stands with `more` for its template, or the part a change concerns."""
        setup = self._setup(draft)
        if fragment and wants_fragment(self.request):
            return self._render(setup, f"drift/setup.html#{fragment}")
        return self._render(setup, "drift/setup.html", **more)

    def _setup(self, draft: Draft, *, is_judged: bool = False) -> Setup:
        return Setup(
            draft,
            targets=self.targets,
            variables=self.variables,
            is_judged=is_judged,
            graders=self.graders,
        )

    def _render(self, setup: Setup, name: str, status: int = 200, **more: Any) -> HttpResponse:
        draft = setup.draft
        effort = queries.effort(
            self.prompt,
            setup.target,
            lengths=[request_length(self.version, case.values) for case in draft.cases],
            schedule=draft.schedule_text,
            repeats=setup.repeats,
        )
        plan = queries.planned(
            cases=len(draft.cases), schedule=draft.schedule_text, repeats=setup.repeats
        )
        context = {
            "prompt": self.prompt,
            "monitor": self.found,
            "setup": setup,
            "schedule_helps": {name: words[1] for name, words in SCHEDULES.items()},
            "time_zone": self.found.time_zone if self.found else signed_in(self.request).time_zone,
            "repeats": setup.repeats,
            "effort": effort,
            "power": power_words(plan, draft.schedule_text),
            "without_value": " ".join(WITHOUT_VALUE),
            "near_types": " ".join(NEAR_TYPES),
            **self._judging(setup, effort),
            "figure_a_month": _figure(
                effort.cost_a_month, effort.currency, round(effort.calls_a_month)
            ),
            "figure_of_baseline": _figure(
                effort.cost_of_baseline, effort.currency, effort.calls_of_baseline
            ),
            **more,
        }
        return render(self.request, name, context, status=status)

    def _judging(self, setup: Setup, effort: queries.Effort) -> dict[str, Any]:
        """What the checks by models take, and which of them nobody can judge."""
        took = judging.effort(setup.judged_rules, answer_tokens=effort.output_tokens)
        runs_a_month = effort.calls_a_month / effort.calls_a_run if effort.calls_a_run else 0.0
        a_month = None if took.cost is None else took.cost * Decimal(str(runs_a_month))
        return {
            "judging": took,
            "cost_of_judging": money(a_month, took.currency),
            "has_judge": RUBRIC in self.judged,
            "has_embeddings": SIMILAR in self.judged,
            "keeps_not_judged": bool({type for type, _length in setup.judged_rules} - self.judged),
            "can_manage": llm_rules.can_manage(signed_in(self.request)),
        }


def _figure(cost: Decimal | None, currency: str, calls: int) -> str:
    """What something takes, as briefly as can be: its cost where that is known, else its calls."""
    if cost is not None:
        return money(cost, currency)
    return ngettext("%(count)s call", "%(count)s calls", calls) % {"count": whole(calls)}


def _create(
    request: HttpRequest, person: User, prompt: Prompt, version: PromptVersion, setup: Setup
) -> HttpResponse:
    assert setup.target is not None  # noqa: S101 - the form is valid
    made = actions.create_monitor(
        prompt=prompt,
        target=setup.target,
        cases=setup.to_fields(),
        by=person,
        now=timezone.now(),
        version=version if setup.draft.follows == "no" else None,
        schedule=setup.draft.schedule_text,
        baseline_repeats=setup.repeats,
    )
    messages.success(request, _("Saved. One step is left: record the baseline."))
    return redirect("monitor", pk=made.pk)


def _change(request: HttpRequest, person: User, found: Monitor, setup: Setup) -> HttpResponse:
    follows = setup.draft.follows != "no"
    changed = actions.change_monitor(
        monitor=found,
        by=person,
        now=timezone.now(),
        schedule=setup.draft.schedule_text,
        target=setup.target,
        baseline_repeats=setup.repeats,
        follows_current=follows if follows != found.follows_current else None,
        cases=setup.to_fields(),
    )
    if found.baseline_id is not None and changed.baseline_id is None:
        said = _(
            "Saved. What is asked has changed, so the old baseline no longer counts: record a new one."
        )
        messages.warning(request, said)
    else:
        messages.success(request, _("Saved."))
    return redirect("monitor", pk=found.pk)


def _place_refusals(setup: Setup, error: Invalid) -> None:
    """Put what the action refused to the fields it is about."""
    for name, message in error.fields.items():
        if name.startswith("cases."):
            number = int(name.removeprefix("cases."))
            label = _("Test case %(n)s") % {"n": number + 1}
            setup.add_problem(f"case-{number}", label, str(message))
        elif name == "baseline_repeats":
            setup.add_problem("id_repeats", _("Answers to each test case"), str(message))
        elif name == "schedule":
            setup.add_problem("id_cron", _("How often"), str(message))
        else:
            setup.add_problem("add-case", _("Test cases"), str(message))
    if not error.fields:
        setup.add_problem("id_target_0", _("Model"), str(error))


def _first_draft(
    person: User, prompt: Prompt, targets: Sequence[Target], others: Sequence[Monitor]
) -> Draft:
    """Begun for the person: cases of another monitor of the prompt, else what they filled in last."""
    taken = {other.target_id for other in others}
    free = [target for target in targets if target.pk not in taken] or list(targets)
    real = [target for target in free if target.connection.provider != SIMULATED]
    draft = Draft(target=str((real or free)[0].pk))
    if others:
        draft.cases = _case_drafts(others[0])
    else:
        draft.cases[0].values = prompts.remembered_values(person, prompt)
    return draft


def _draft_of(found: Monitor) -> Draft:
    is_preset = found.schedule in SCHEDULES and found.schedule != CUSTOM
    return Draft(
        target=str(found.target_id),
        schedule=found.schedule if is_preset else CUSTOM,
        cron="" if is_preset else found.schedule,
        repeats=str(found.baseline_repeats),
        follows="yes" if found.follows_current else "no",
        cases=_case_drafts(found),
    )


def _case_drafts(found: Monitor) -> list[CaseDraft]:
    return [
        draft_of_case(actions.CaseFields(case.name, case.variables, case.assertions))
        for case in queries.cases_in_use(found)
    ]


def request_length(version: PromptVersion, values: Mapping[str, str]) -> int:
    """Characters of what is sent for these values."""
    variables = template.variables_from(version.variables)
    return sum(
        template.filled_length(text, values, variables) for text in (version.text, version.system)
    )


def must_monitor(person: User, prompt: Prompt) -> None:
    """Refuse a page that only leads to what the person may not do. Raises NotAllowed."""
    if not rules.can_monitor(person, prompt):
        raise NotAllowed(
            _("Only the author of “%(title)s” or a curator can watch it for drift.")
            % {"title": prompt.title}
        )
