"""The playground: asking a few models a version of a prompt, and reading their answers side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from kb.core.errors import Invalid
from kb.drift import rules, trial_queries, trials
from kb.drift.trial_models import Trial, TrialAnswer
from kb.drift.trial_queries import Estimate
from kb.forms.llm import parameters_text
from kb.forms.trials import TrialDraft, number_of
from kb.llm import queries as llm
from kb.llm import rules as llm_rules
from kb.llm.clients import SIMULATED
from kb.llm.models import Target
from kb.prompts import actions as prompt_actions
from kb.prompts import queries as prompts
from kb.prompts import template
from kb.prompts.models import Prompt, PromptVersion
from kb.tasks.trials import ring
from kb.views import trial_words as words
from kb.views.drift_words import Trouble, money, seconds
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in
from kb.views.pieces import LONG_TEXT, blanks, pieces

# --- Filling in -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """One model that can be asked."""

    target: Target
    is_chosen: bool
    parameters: str
    cost: str


@require_http_methods(["GET", "HEAD", "POST"])
def playground(request: HttpRequest, slug: str) -> HttpResponse:
    """Fill in the blanks, choose models, see what it will cost, ask.

    `?version=N` tries an older version, `?again=N` begins with one's own trial of this number.
    """
    person = signed_in(request)
    prompt = prompts.by_slug(person, slug)
    trials.must_try(person, prompt)
    version = _version(request, prompt)
    targets = list(llm.targets())
    if not targets:
        return render(request, "playground/no_model.html", {"prompt": prompt})
    page = _Page(request, person, version, targets)
    if request.method != "POST":
        return page.show(_first_draft(request, person, prompt, targets))
    draft = TrialDraft.typed(request.POST, request.POST.getlist("target"), page.variables)
    pressed = request.POST.get("do", "ask")
    if pressed == "open":
        return page.open(draft)
    return page.ask(draft) if pressed == "ask" else page.show(draft)


def _version(request: HttpRequest, prompt: Prompt) -> PromptVersion:
    """The version the address or the form names, else the newest. Raises NotFound."""
    number = number_of(request.POST.get("version") or request.GET.get("version", ""))
    if number is None and prompt.current is not None:
        return prompt.current
    return prompts.version_of(prompt, number or 0)


def _first_draft(
    request: HttpRequest, person: User, prompt: Prompt, targets: Sequence[Target]
) -> TrialDraft:
    """Begun for the person: an earlier trial, else what they filled in last and chose last."""
    again = number_of(request.GET.get("again", ""))
    if again is not None:
        before = trial_queries.by_id(person, again)
        return TrialDraft(dict(before.values), _targets_of(before, targets))
    last = trial_queries.latest(person, prompt)
    chosen = _targets_of(last, targets) if last else []
    real = [target for target in targets if target.connection.provider != SIMULATED]
    return TrialDraft(
        prompts.remembered_values(person, prompt), chosen or [(real or targets)[0].pk]
    )


def _targets_of(trial: Trial, targets: Sequence[Target]) -> list[int]:
    asked = {answer.target_id for answer in trial.answers.all()}
    return [target.pk for target in targets if target.pk in asked]


class _Page:
    """The page a trial is asked from."""

    def __init__(
        self,
        request: HttpRequest,
        person: User,
        version: PromptVersion,
        targets: Sequence[Target],
    ) -> None:
        self.request = request
        self.person = person
        self.version = version
        self.prompt = version.prompt
        self.targets = targets
        self.variables = template.variables_from(version.variables)

    def open(self, draft: TrialDraft) -> HttpResponse:
        """Keep what was filled in on the page of the prompt, and go on here."""
        self._remember(draft)
        return redirect("playground", slug=self.prompt.slug)

    def ask(self, draft: TrialDraft) -> HttpResponse:
        """Write the trial down and go to its page, or say what is wrong."""
        chosen = [target for target in self.targets if target.pk in draft.targets]
        self._remember(draft)
        try:
            made = trials.request(
                version=self.version,
                targets=chosen,
                values=draft.values,
                by=self.person,
                now=timezone.now(),
            )
        except Invalid as error:
            return self.show(draft, wrong={k: str(v) for k, v in error.fields.items()}, status=422)
        ring(made.pk)
        return redirect("trial", pk=made.pk)

    def show(
        self, draft: TrialDraft, *, wrong: Mapping[str, str] | None = None, status: int = 200
    ) -> HttpResponse:
        """The page as it stands, or its estimate alone for a script."""
        estimates = trial_queries.estimates(
            self.version,
            draft.values,
            self.targets,
            checked=draft.targets,
            now=timezone.now(),
        )
        context = {
            "prompt": self.prompt,
            "version": self.version,
            **_estimate_context(estimates, draft.targets),
        }
        if wants_fragment(self.request):
            return render(self.request, "playground/ask.html#estimate", context)
        context |= self._form_context(draft, estimates, wrong or {})
        return render(self.request, "playground/ask.html", context, status=status)

    def _form_context(
        self, draft: TrialDraft, estimates: Sequence[Estimate], wrong: Mapping[str, str]
    ) -> dict[str, Any]:
        errors = {name.removeprefix("values."): said for name, said in wrong.items()}
        fields = blanks(self.variables, draft.values, errors)
        problems = [
            (blank.field_id, blank.variable.label or blank.variable.name, blank.error)
            for blank in fields
            if blank.error
        ]
        if "values" in wrong:
            problems.append(("ask", _("The prompt"), wrong["values"]))
        if "targets" in wrong:
            first = f"target-{self.targets[0].pk}"
            problems.append((first, _("Models"), wrong["targets"]))
        return {
            "is_current": self.version.pk == self.prompt.current_id,
            "blanks": fields,
            "problems": problems,
            "targets_error": wrong.get("targets", ""),
            "choices": [_choice(estimate, draft.targets) for estimate in estimates],
            "most_targets": trials.MOST_TARGETS,
            "pieces": pieces(self.version.text, self.variables, draft.values),
            "system_pieces": (
                pieces(self.version.system, self.variables, draft.values)
                if self.version.system
                else []
            ),
            "is_long": len(self.version.text) > LONG_TEXT,
            "history": _history(self.person, self.prompt),
        }

    def _remember(self, draft: TrialDraft) -> None:
        prompt_actions.remember_values(
            prompt=self.prompt, by=self.person, values=draft.values, now=timezone.now()
        )


def _choice(estimate: Estimate, chosen: Collection[int]) -> Choice:
    target = estimate.target
    return Choice(
        target=target,
        is_chosen=target.pk in chosen,
        parameters=parameters_text(target),
        cost=words.cost_words(estimate),
    )


def _estimate_context(estimates: Sequence[Estimate], chosen: Collection[int]) -> dict[str, Any]:
    asked = [estimate for estimate in estimates if estimate.target.pk in chosen]
    return {
        "asked_count": len(asked),
        "is_free": all(estimate.is_free for estimate in asked),
        "total": words.total_words(asked),
        "input_tokens": sum(estimate.input_tokens for estimate in asked),
        "output_tokens": sum(estimate.output_tokens for estimate in asked),
        "refusals": [said for estimate in asked if (said := words.refusal_words(estimate))],
    }


@dataclass(frozen=True)
class Past:
    """One line of one's own history."""

    trial: Trial
    answered: int
    is_kept: bool
    is_under_way: bool


def _history(person: User, prompt: Prompt) -> list[Past]:
    return [
        Past(
            trial=trial,
            answered=sum(answer.outcome in TrialAnswer.WITH_TEXT for answer in trial.answers.all()),
            is_kept=any(answer.kept is not None for answer in trial.answers.all()),
            is_under_way=trial.status in Trial.UNDER_WAY,
        )
        for trial in trial_queries.history(person, prompt)
    ]


# --- Answers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One model's place on the page of a trial, with words for what it took."""

    answer: TrialAnswer
    is_waiting: bool
    has_text: bool
    trouble: Trouble | None
    can_open: bool
    """Whether the person can open the connection behind it."""
    detail: str
    """What the provider said, for those who can do something about it."""
    seconds: str
    cost: str


@require_safe
def trial(request: HttpRequest, pk: int) -> HttpResponse:
    """What the models answered; it renews itself until the trial has ended.

    A script that has seen as many answers as there are (`?seen=N`) is told that nothing is new.
    """
    person = signed_in(request)
    found = trial_queries.by_id(person, pk)
    columns = _columns(person, found)
    is_ended = found.status not in Trial.UNDER_WAY
    settled = sum(not column.is_waiting for column in columns)
    seen = f"{found.status}-{settled}"
    if wants_fragment(request) and request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    prompt, version = found.version.prompt, found.version
    context = {
        "trial": found,
        "prompt": prompt,
        "version": version,
        "columns": columns,
        "is_ended": is_ended,
        "settled": settled,
        "seen": seen,
        "values": words.filled_in(version, found.values),
        "can_keep": rules.can_try(person, prompt),
        "can_monitor": rules.can_monitor(person, prompt),
    }
    is_fragment = wants_fragment(request)
    if is_ended or not is_fragment:
        context["history"] = _history(person, prompt)
    name = "playground/trial.html#renewed" if is_fragment else "playground/trial.html"
    return render(request, name, context)


def _columns(person: User, found: Trial) -> list[Column]:
    can_manage = llm_rules.can_manage(person)
    under_way = found.status in Trial.UNDER_WAY
    return [
        Column(
            answer=answer,
            is_waiting=under_way and answer.outcome == TrialAnswer.Outcome.WAITING,
            has_text=answer.outcome in TrialAnswer.WITH_TEXT,
            trouble=words.trouble_of(found, answer),
            can_open=can_manage and answer.target is not None,
            detail=answer.error if can_manage else "",
            seconds=seconds(answer.latency_ms),
            cost=money(answer.cost, answer.currency),
        )
        for answer in found.answers.all()
    ]


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a trial; what was answered stays."""
    person = signed_in(request)
    found = trial_queries.by_id(person, pk)
    if trials.cancel(trial=found, by=person, now=timezone.now()):
        messages.success(request, _("Stopped. What was answered stays."))
    return redirect("trial", pk=pk)


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget one of one's own trials."""
    person = signed_in(request)
    found = trial_queries.by_id(person, pk)
    trials.delete(trial=found, by=person)
    messages.success(request, _("The trial is deleted."))
    return redirect("playground", slug=found.version.prompt.slug)


@require_POST
def keep(request: HttpRequest, pk: int) -> HttpResponse:
    """Show an answer on the page of the prompt as an example, or take it off again."""
    person = signed_in(request)
    found = trial_queries.answer_by_id(person, pk)
    if request.POST.get("on") == "1":
        trials.keep_as_example(answer=found, by=person, now=timezone.now())
    else:
        trials.remove_example(answer=found, by=person)
    if wants_fragment(request):
        found.refresh_from_db(fields=["kept"])
        context = {"answer": found, "can_keep": True}
        return render(request, "playground/_keep.html", context)
    return redirect("trial", pk=found.trial_id)
