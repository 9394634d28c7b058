"""Connections to model providers, for company-wide administrators; others are refused."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from kb.core.errors import Conflict, Invalid, NotFound
from kb.core.http import HttpClient, policy_from_settings
from kb.drift import grader_queries
from kb.finding import meaning
from kb.forms.caps import CapForm
from kb.forms.llm import (
    CHOICES,
    ConnectionForm,
    PriceForm,
    TargetForm,
    parameters_text,
    price_forms,
    service_of,
)
from kb.llm import actions, queries
from kb.llm.models import Connection, Target
from kb.views import caps
from kb.views import drift_words as words
from kb.views.fragments import wants_fragment
from kb.views.people import signed_in
from kb.views.traffic_words import traffic_words

MODELS_SHOWN = 12
"""Models of a provider that are named after a trial; some offer hundreds."""
MODELS_SUGGESTED = 500
_FIELD_OF = {"provider": "service", "quirks": "auth_header"}
"""Inputs of the action that have another name in the form."""


@dataclass(frozen=True)
class Account:
    """One connection as the list shows it."""

    connection: Connection
    service: str | Promise
    host: str
    is_left_alone: bool
    """Whether it failed so often that no call leaves for a while."""


@require_safe
def connections(request: HttpRequest) -> HttpResponse:
    """All provider accounts."""
    person = signed_in(request)
    rows = [_account(row) for row in queries.connections_with_targets(person)]
    return render(request, "llm/connections.html", {"rows": rows})


def _account(connection: Connection) -> Account:
    label = CHOICES[service_of(connection)].label
    health = queries.health(connection, now=timezone.now())
    return Account(connection, label, queries.host(connection), health.state != "closed")


@require_safe
def connection(request: HttpRequest, pk: int) -> HttpResponse:
    """One account: what it leads to, the models asked there, what they cost."""
    found = queries.connection_by_id(signed_in(request), pk)
    if wants_fragment(request):
        return render(request, "llm/_health.html", _state(found))
    return _page(request, found)


def _page(
    request: HttpRequest,
    found: Connection,
    *,
    target_form: TargetForm | None = None,
    prices: list[PriceForm] | None = None,
    cap_form: CapForm | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    targets, reading = queries.targets_of(found), meaning.current()
    context = {
        "account": _account(found),
        "connection": found,
        "targets": [(target, parameters_text(target)) for target in targets],
        "reading": reading.target_id if reading else None,
        "judging": {grader.target_id for grader in grader_queries.in_use().values()},
        "target_form": target_form or _target_form(request),
        "price_forms": _price_forms(found, targets) if prices is None else prices,
        **_money(request, found, cap_form),
        **_state(found),
        **more,
    }
    return render(request, "llm/connection.html", context, status=status)


def _target_form(request: HttpRequest) -> TargetForm:
    """An empty form, or one begun with the model that a link names (`?model=`)."""
    form = TargetForm()
    form.initial["model"] = request.GET.get("model", "")[:120].replace("\x00", "")
    return form


def _money(request: HttpRequest, found: Connection, form: CapForm | None) -> dict[str, Any]:
    """The caps on this account, and the models none of them can count."""
    return {
        "caps": caps.lines(queries.caps_of(signed_in(request), found, now=timezone.now())),
        "cap_form": form or caps.form_for(found),
        "uncounted": queries.uncounted(found),
    }


def _state(found: Connection) -> dict[str, Any]:
    """How the account is doing at this moment."""
    health = queries.health(found, now=timezone.now())
    return {"connection": found, "health": health, "traffic": traffic_words(health)}


def _price_forms(found: Connection, targets: list[Target], data: Any = None) -> list[PriceForm]:
    known = queries.prices_of(found)
    models = dict.fromkeys([*(target.model for target in targets), *known])
    return price_forms(list(models), known, data)


# --- Entering and changing --------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def connection_new(request: HttpRequest) -> HttpResponse:
    """Enter an account."""
    person = signed_in(request)
    queries.connections(person)  # refuses whoever may not
    return _form_page(request, person, None)


@require_http_methods(["GET", "HEAD", "POST"])
def connection_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change an account; the key is never shown again."""
    person = signed_in(request)
    return _form_page(request, person, queries.connection_by_id(person, pk))


def _form_page(request: HttpRequest, person: User, found: Connection | None) -> HttpResponse:
    form = ConnectionForm(request.POST if request.method == "POST" else None, found)
    if form.is_bound and form.is_valid():
        try:
            saved = actions.save_connection(by=person, connection=found, **form.to_fields())
        except Invalid as error:
            _place_refusals(form, error)
        else:
            said = _("Saved.") if found else _("Saved. Now try it, and add the models to ask.")
            messages.success(request, said)
            return redirect("connection", pk=saved.pk)
    context = {"form": form, "connection": found, "services": CHOICES}
    status = 422 if form.is_bound else 200
    return render(request, "llm/connection_form.html", context, status=status)


def _place_refusals(form: forms.Form, error: Invalid) -> None:
    for name, message in error.fields.items():
        field = _FIELD_OF.get(name, name)
        form.add_error(field if field in form.fields else None, str(message))
    if not error.fields:
        form.add_error(None, str(error))


@require_POST
def connection_switch(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch an account off, which stops its calls within a second, or on again."""
    person = signed_in(request)
    found = queries.connection_by_id(person, pk)
    is_on = request.POST.get("on") == "1"
    actions.save_connection(by=person, connection=found, is_enabled=is_on)
    said = (
        _("“%(name)s” is in use again.")
        if is_on
        else _("“%(name)s” is switched off: no call leaves.")
    )
    messages.success(request, said % {"name": found.name})
    return redirect("connection", pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
def connection_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what would go, then delete an account no monitor asks."""
    person = signed_in(request)
    found = queries.connection_by_id(person, pk)
    context: dict[str, Any] = {
        "connection": found,
        "monitor_count": queries.monitor_count(found),
        "is_judging": any(
            grader.target.connection_id == found.pk for grader in grader_queries.in_use().values()
        ),
    }
    if request.method != "POST":
        return render(request, "llm/connection_delete.html", context)
    name = found.name
    try:
        actions.delete_connection(connection=found, by=person)
    except Conflict as error:
        context |= {"refusal": str(error), "connection": queries.connection_by_id(person, pk)}
        return render(request, "llm/connection_delete.html", context, status=409)
    messages.success(request, _("“%(name)s” is deleted, with its key.") % {"name": name})
    return redirect("connections")


# --- Models and prices ------------------------------------------------------------------------


@require_POST
def connection_target(request: HttpRequest, pk: int) -> HttpResponse:
    """Add a model that prompts can be re-run against."""
    person = signed_in(request)
    found = queries.connection_by_id(person, pk)
    form = TargetForm(request.POST)
    if form.is_valid():
        try:
            actions.save_target(connection=found, by=person, **form.cleaned_data)
        except Invalid as error:
            _place_refusals(form, error)
        else:
            said = (
                _("“%(model)s” can make vectors now.")
                if form.cleaned_data["is_embedding"]
                else _("“%(model)s” can be asked now.")
            )
            messages.success(request, said % {"model": form.cleaned_data["model"]})
            return redirect("connection", pk=pk)
    return _page(request, found, target_form=form, status=422)


@require_POST
def connection_prices(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep what the models cost."""
    person = signed_in(request)
    found = queries.connection_by_id(person, pk)
    price_list = _price_forms(found, queries.targets_of(found), request.POST)
    if not all(form.is_valid() for form in price_list):
        return _page(request, found, prices=price_list, status=422)
    for form in price_list:
        if form.says_something:
            actions.save_price(connection=found, model=form.model, by=person, **form.cleaned_data)
    messages.success(request, _("The prices are saved; costs are counted with them from now on."))
    return redirect("connection", pk=pk)


@require_POST
def connection_cap(request: HttpRequest, pk: int) -> HttpResponse:
    """Set what this account may spend in a day or a month."""
    person = signed_in(request)
    found = queries.connection_by_id(person, pk)
    form = caps.form_for(found, request.POST)
    if caps.save(request, person, form):
        return redirect("connection", pk=pk)
    return _page(request, found, cap_form=form, status=422)


@require_safe
def connection_models(request: HttpRequest, pk: int) -> HttpResponse:
    """The models the provider offers, as suggestions while one is typed; none when it is silent."""
    found = queries.connection_by_id(signed_in(request), pk)
    trial = _asked(lambda http: queries.try_connection(found, http))
    context = {"models": trial.models[:MODELS_SUGGESTED]}
    return render(request, "llm/connection.html#suggestions", context)


# --- Trying -----------------------------------------------------------------------------------


@require_POST
def connection_try(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the provider for its models or, with a target, a model for one word; say how it went."""
    found = queries.connection_by_id(signed_in(request), pk)
    target = _target(found, request.POST.get("target", ""))
    now = timezone.now()
    if target is None:
        trial = _asked(lambda http: queries.try_connection(found, http))
    else:
        trial = _asked(lambda http: queries.try_target(target, http, now=now))
    context: dict[str, Any] = {
        "connection": found,
        "trial": trial,
        "tried": target,
        "shown": trial.models[:MODELS_SHOWN],
        "more_models": max(0, len(trial.models) - MODELS_SHOWN),
        "trouble": words.trouble(trial.error.kind) if trial.error else None,
        "host": queries.host(found),
        "wait": words.seconds(trial.reply.latency_ms) if trial.reply else "",
        "dimensions": len(trial.embeddings.vectors[0]) if trial.embeddings else 0,
    }
    if wants_fragment(request):
        context |= {**_state(found), "is_beside": True}
        return render(request, "llm/connection.html#outcome", context)
    return _page(
        request, found, **{name: context[name] for name in context if name != "connection"}
    )


def _target(found: Connection, pk: str) -> Target | None:
    if not pk:
        return None
    target = found.targets.filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 19 else None
    if target is None:
        raise NotFound(_("There is no such model in “%(name)s”.") % {"name": found.name})
    return target


def _asked(ask: Callable[[HttpClient], Coroutine[Any, Any, queries.Trial]]) -> queries.Trial:
    """Ask with a client of this request; the answer is awaited, a person looks on."""

    async def go() -> queries.Trial:
        async with HttpClient(policy_from_settings()) as http:
            return await ask(http)

    return async_to_sync(go)()
