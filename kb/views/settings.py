"""What people set about themselves, and their keys for programs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from accounts import actions, queries
from accounts.actions import AccountError
from accounts.models import User
from accounts.rules import can_manage_people
from kb.core.errors import NotFound
from kb.forms.accounts import ROLE_WORDS, SCOPE_WORDS, ProfileForm, TokenForm
from kb.views.people import signed_in

ADMINISTRATORS_SHOWN = 3
TOKENS_SHOWN = 100
"""Ended ones are rows as well; the oldest of a busy person are left out."""
PROFILE_FIELDS = ("name", "language", "time_zone", "has_key_shortcuts")


@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Name, language, time zone, shortcuts; and what an administrator sets."""
    person = signed_in(request)
    if request.method != "POST":
        initial = {name: getattr(person, name) for name in PROFILE_FIELDS}
        return _profile(request, ProfileForm(initial=initial, time_zone=person.time_zone))
    form = ProfileForm(request.POST, time_zone=person.time_zone)
    if not form.is_valid():
        return _profile(request, form, status=422)
    try:
        actions.save_profile(person=person, **form.cleaned_data)
    except AccountError as error:
        form.refuse(error)
        return _profile(request, form, status=422)
    with translation.override(person.language):
        messages.success(request, _("Your settings are saved."))
    return redirect("profile")


@never_cache
@sensitive_variables("text")
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """The person's tokens. A new one is shown in the answer to the form that makes it, and never again."""
    person = signed_in(request)
    if request.method != "POST":
        return _tokens(request, person, _token_form(person))
    form = _token_form(person, request.POST)
    if not form.is_valid():
        return _tokens(request, person, form, status=422)
    now = timezone.now()
    try:
        token, text = actions.create_token(
            person=person,
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            expires=form.expiry(now),
            by=person,
        )
    except AccountError as error:
        form.refuse(error)
        return _tokens(request, person, form, status=422)
    # No redirect: the text would have to be kept somewhere to survive it.
    return _tokens(request, person, _token_form(person), made=token, secret=text)


@require_POST
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    """End a token at once."""
    person = signed_in(request)
    token = queries.tokens_of(person).filter(pk=pk).first()
    if token is None:
        raise NotFound(_("You have no such token."))
    actions.revoke_token(token=token, by=person, now=timezone.now())
    messages.success(request, _("“%(name)s” is revoked.") % {"name": token.name})
    return redirect("tokens")


def _profile(request: HttpRequest, form: ProfileForm, status: int = 200) -> HttpResponse:
    person = signed_in(request)
    context = {
        "form": form,
        "memberships": [
            (row, ROLE_WORDS[row.role])
            for row in person.memberships.select_related("department").order_by(
                F("department__position").asc(nulls_first=True), "department__slug"
            )
        ],
        "administrators": list(queries.administrators()[:ADMINISTRATORS_SHOWN]),
        "can_manage_people": can_manage_people(person),
    }
    return render(request, "accounts/settings.html", context, status=status)


def _token_form(person: User, data: Any = None) -> TokenForm:
    return TokenForm(
        data,
        is_admin=can_manage_people(person),
        initial={"scopes": ["read"], "expires": "90"},
    )


def _tokens(
    request: HttpRequest, person: User, form: TokenForm, status: int = 200, **more: Any
) -> HttpResponse:
    found = list(queries.tokens_of(person)[:TOKENS_SHOWN])
    now = timezone.now()
    context = {
        "form": form,
        "tokens": [token for token in found if not _has_ended(token, now)],
        "ended": [token for token in found if _has_ended(token, now)],
        "scope_words": SCOPE_WORDS,
        **more,
    }
    return render(request, "accounts/tokens.html", context, status=status)


def _has_ended(token: Any, now: Any) -> bool:
    return token.revoked is not None or (token.expires is not None and token.expires <= now)
