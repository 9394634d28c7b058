"""The models that judge answers: choosing them, trying them, and how the judge is watched."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from kb.core.errors import Conflict, Invalid
from kb.core.http import HttpClient, policy_from_settings
from kb.drift import anchors, grader_queries, grader_trials, graders
from kb.drift.grader_models import AnchorLook, Grader
from kb.drift.grading import RUBRIC
from kb.drift.judging import Access
from kb.forms.graders import GraderForm
from kb.llm.clients import SIMULATED, open_provider
from kb.views import drift_words as words
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in


@dataclass(frozen=True)
class Chosen:
    """One role on the page: who fills it, the form that changes it, and who depends on it."""

    role: str
    grader: Grader | None
    form: GraderForm
    monitors: int
    can_try: bool
    is_simulated: bool
    has_choice: bool


@dataclass(frozen=True)
class Look:
    """A look at the judge as the table shows it."""

    slot: datetime
    is_confirmation: bool
    verdict: str | Promise
    yes: float | None
    anchors: int
    moved: int


LOOK_WORDS: Mapping[str, str | Promise] = {
    AnchorLook.Verdict.LEARNING: gettext_lazy("learned"),
    AnchorLook.Verdict.STABLE: gettext_lazy("as usual"),
    AnchorLook.Verdict.SUSPECT: gettext_lazy("unlike before; asked again"),
    AnchorLook.Verdict.CHANGED: gettext_lazy("changed"),
    AnchorLook.Verdict.INCOMPLETE: gettext_lazy("too few votes came"),
}


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Who judges, company-wide, and whether the judge is as it was."""
    grader_queries.must_see(signed_in(request))
    return _page(request)


@require_POST
def choose(request: HttpRequest, role: str) -> HttpResponse:
    """Let another model judge from now on, or none."""
    person = signed_in(request)
    role = grader_queries.role_named(person, role)
    form = _form(role, grader_queries.current(role), request.POST)
    if not form.is_valid():
        return _page(request, forms={role: form}, status=422)
    now, target = timezone.now(), form.cleaned_data["target"]
    try:
        if target is None:
            graders.remove_grader(role=role, by=person, now=now)
        else:
            graders.choose_grader(role=role, target=target, by=person, now=now)
    except (Invalid, Conflict) as error:
        form.add_error("target", str(error))
        return _page(request, forms={role: form}, status=422)
    messages.success(request, _saved(role, target is not None))
    return redirect("graders")


def _saved(role: str, is_chosen: bool) -> str:
    if not is_chosen:
        return _("Saved: such checks are not judged from now on.")
    if role == Grader.Role.JUDGE:
        return _(
            "Saved. Try it once; usual answers are judged anew with the next run of each monitor."
        )
    return _(
        "Saved. Try it once; usual answers are compared anew with the next run of each monitor."
    )


@require_POST
def accept(request: HttpRequest) -> HttpResponse:
    """The judge as it judges now is right."""
    graders.accept_judge(by=signed_in(request), now=timezone.now())
    said = _("Accepted: its verdicts count again, and it is learned anew how it judges.")
    messages.success(request, said)
    return redirect("graders")


@require_POST
def attempt(request: HttpRequest, role: str) -> HttpResponse:
    """Ask the model of a role about what is known, and say how it went."""
    role = grader_queries.role_named(signed_in(request), role)
    ask = grader_trials.try_judge if role == Grader.Role.JUDGE else grader_trials.try_embeddings
    tried = _asked(lambda access: ask(access, clock=timezone.now))
    context: dict[str, Any] = {
        "tried_role": role,
        "tried": tried,
        "trouble": words.trouble(tried.kind) if tried.outcome == "away" else None,
    }
    if wants_fragment(request):
        return render(request, "llm/graders.html#outcome", context)
    return _page(request, **context)


def _asked(
    ask: Callable[[Access], Coroutine[Any, Any, grader_trials.Tried]],
) -> grader_trials.Tried:
    async def go() -> grader_trials.Tried:
        async with HttpClient(policy_from_settings()) as http:
            return await ask(Access(lambda connection: open_provider(connection, http)))

    return async_to_sync(go)()


def _form(role: str, grader: Grader | None, data: Any = None) -> GraderForm:
    chosen = grader.target if grader else None
    return GraderForm(role, grader_queries.candidates(role), chosen, data)


def _page(
    request: HttpRequest,
    *,
    forms: Mapping[str, GraderForm] | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    rows = grader_queries.in_use()
    judge = rows.get(RUBRIC)
    context = {
        "roles": [
            _chosen(role, rows.get(type), type, (forms or {}).get(role))
            for role, type in grader_queries.TYPES.items()
        ],
        "judge": judge,
        **(_watch(judge) if judge else {}),
        "least_anchors": anchors.LEAST_ANCHORS,
        "most_anchors": anchors.MOST_ANCHORS,
        "nights": anchors.BASELINE_LOOKS,
        "tried_role": "",
        "problems": [
            (form["target"].auto_id, str(Grader.Role(role).label), str(error))
            for role, form in (forms or {}).items()
            for error in form["target"].errors
        ],
        **more,
    }
    return render(request, "llm/graders.html", context, status=status)


def _chosen(role: str, grader: Grader | None, type: str, form: GraderForm | None) -> Chosen:
    drawn = form or _form(role, grader)
    return Chosen(
        role=str(role),
        grader=grader,
        form=drawn,
        monitors=grader_queries.monitors_with(type),
        can_try=grader is not None and grader.status != Grader.Status.CHANGED,
        is_simulated=grader is not None and grader.target.connection.provider == SIMULATED,
        has_choice=bool(drawn.targets),
    )


def _watch(judge: Grader) -> dict[str, Any]:
    found = grader_queries.watched(judge)
    looks = [_look(look) for look in found.looks]
    told = [look for look in looks if look.yes is not None]
    return {
        "watched": found,
        "looks": looks,
        "last": told[0] if told else None,
        "evidence": _evidence(found.looks),
        "calls_a_look": anchors.calls_of_a_look(found.anchors or anchors.MOST_ANCHORS),
    }


def _look(look: AnchorLook) -> Look:
    return Look(
        slot=look.slot,
        is_confirmation=look.is_confirmation,
        verdict=LOOK_WORDS[look.verdict],
        yes=look.facts.get("yes_now"),
        anchors=look.facts.get("anchors", 0),
        moved=look.facts.get("moved", 0),
    )


@dataclass(frozen=True)
class Evidence:
    """What the look that told of the change saw."""

    before: float | None
    now: float | None
    moved: int
    anchors: int
    odds: str


def _evidence(looks: Sequence[AnchorLook]) -> Evidence | None:
    found = next((one for one in looks if one.verdict == AnchorLook.Verdict.CHANGED), None)
    if found is None:
        return None
    return Evidence(
        before=found.facts.get("yes_before"),
        now=found.facts.get("yes_now"),
        moved=found.facts.get("moved", 0),
        anchors=found.facts.get("anchors", 0),
        odds=words.odds(found.p) if found.p is not None else "",
    )
