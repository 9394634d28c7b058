"""Votes, clicks and comments: each a form of its own, swapped in place when scripts run."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.models import User
from kb.community import actions, queries
from kb.community.models import Comment, UsageSignal
from kb.core.errors import Invalid, NotFound
from kb.prompts import queries as prompts
from kb.prompts import rules as prompt_rules
from kb.prompts.models import Prompt
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in

LONGEST_ID = 18
"""Digits of a number that surely fits into the database."""


@require_POST
def vote(request: HttpRequest, slug: str) -> HttpResponse:
    """Recommend a prompt, or take it back."""
    person, prompt = _prompt(request, slug)
    is_on = request.POST.get("on") == "1"
    act = actions.cast_vote if is_on else actions.withdraw_vote
    votes = act(prompt=prompt, by=person, now=timezone.now())
    context = {"prompt": prompt, "votes": votes, "has_voted": is_on}
    return _part(request, "prompts/detail.html#vote", context, prompt)


@require_POST
def signal(request: HttpRequest, slug: str) -> HttpResponse:
    """Say how a use went; an empty outcome takes today's click back."""
    person, prompt = _prompt(request, slug)
    outcome, now = request.POST.get("outcome", ""), timezone.now()
    found = None
    if outcome:
        found = actions.signal(prompt=prompt, outcome=outcome, by=person, now=now)
    else:
        actions.withdraw_signal(prompt=prompt, by=person, now=now)
    context = {"prompt": prompt, "signal": found, "outcomes": UsageSignal.Outcome.choices}
    return _part(request, "prompts/detail.html#signals", context, prompt)


@require_POST
def comment(request: HttpRequest, slug: str) -> HttpResponse:
    """Remark on a prompt, or answer a remark."""
    person, prompt = _prompt(request, slug)
    parent = _answered(prompt, request.POST.get("parent", ""))
    text = request.POST.get("text", "")
    try:
        made = actions.comment(
            prompt=prompt, text=text, by=person, now=timezone.now(), parent=parent
        )
    except Invalid as error:
        mistake = {"comment_error": str(error), "comment_text": text, "comment_parent": parent}
        if wants_fragment(request):
            return _comments(request, person, prompt, status=422, **mistake)
        context = {"prompt": prompt, **mistake}
        return render(request, "community/comment.html", context, status=422)
    if wants_fragment(request):
        return _comments(request, person, prompt)
    return redirect(reverse("prompt", args=[slug]) + f"#comment-{made.pk}")


@require_POST
def withdraw_comment(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a comment back."""
    person = signed_in(request)
    found = (
        Comment.objects.select_related("prompt")
        .filter(pk=pk, prompt__in=prompts.visible_to(person))
        .first()
    )
    if found is None:
        raise NotFound(_("This comment is gone."))
    actions.withdraw_comment(comment=found, by=person, now=timezone.now())
    if wants_fragment(request):
        return _comments(request, person, found.prompt)
    return redirect(reverse("prompt", args=[found.prompt.slug]) + "#comments")


def _prompt(request: HttpRequest, slug: str) -> tuple[User, Prompt]:
    person = signed_in(request)
    return person, prompts.by_slug(person, slug)


def _answered(prompt: Prompt, number: str) -> Comment | None:
    """The comment that is answered, None for a remark of its own. Raises NotFound."""
    if not number:
        return None
    is_id = number.isdecimal() and len(number) <= LONGEST_ID
    found = prompt.comments.filter(pk=int(number), withdrawn=None).first() if is_id else None
    if found is None:
        raise NotFound(_("The comment you answer is gone."))
    return found


def _part(
    request: HttpRequest, template: str, context: dict[str, Any], prompt: Prompt
) -> HttpResponse:
    if wants_fragment(request):
        return render(request, template, context)
    return redirect("prompt", slug=prompt.slug)


def _comments(
    request: HttpRequest, person: User, prompt: Prompt, status: int = 200, **more: Any
) -> HttpResponse:
    departments = list(prompt.departments.values_list("pk", flat=True))
    context = {
        "prompt": prompt,
        "threads": queries.threads(prompt),
        "can_take_part": True,
        "can_curate": prompt_rules.can_curate(person, prompt, departments),
        **more,
    }
    return render(request, "community/_comments.html", context, status=status)
