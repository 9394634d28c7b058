"""Caps on spending in words, and what can be done to them from the pages that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from accounts.models import Department, User
from kb.core.errors import Invalid
from kb.forms.caps import COMPANY, CapForm
from kb.forms.check_words import whole
from kb.llm import actions, queries
from kb.llm.models import CALLS, Cap, Connection
from kb.views import drift_words as words
from kb.views.people import signed_in


@dataclass(frozen=True)
class CapLine:
    """A cap in words: whom it bounds, how much, what is gone and what is left.

    `scope_key` and `typed` are what the form takes for the same cap.
    """

    cap: Cap
    scope: str
    scope_key: str
    most: str
    typed: str
    spent: str
    left: str
    share: str
    frees: str


def lines(uses: Sequence[queries.CapUse]) -> list[CapLine]:
    """The caps in words: of the company, of departments, of connections."""
    found = [_line(one) for one in uses]
    return sorted(found, key=lambda one: (_rank(one.cap), one.scope, one.cap.period))


def form_for_company(person: User, data: Any = None) -> CapForm:
    """The form in which any cap can be set. Raises NotAllowed."""
    return CapForm(
        data,
        connections=list(queries.connections(person)),
        departments=list(Department.objects.all()),
        currencies=queries.currencies(),
    )


def form_for(connection: Connection, data: Any = None) -> CapForm:
    """The form on the page of a connection."""
    return CapForm(
        data, connections=[connection], has_company=False, currencies=queries.currencies()
    )


def save(request: HttpRequest, person: User, form: CapForm) -> bool:
    """Set the cap of a filled form and say so; False when it is refused, with the reasons in it."""
    if not form.is_valid():
        return False
    try:
        cap = actions.save_cap(by=person, **form.to_fields())
    except Invalid as error:
        _place_refusals(form, error)
        return False
    said = _("%(scope)s: at most %(most)s.")
    messages.success(request, said % {"scope": _scope(cap), "most": _most(cap)})
    return True


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a cap away; back to the page it was shown on."""
    person = signed_in(request)
    cap = queries.cap_by_id(person, pk)
    connection = cap.connection
    said = _("The cap of %(most)s is gone: %(scope)s.") % {"most": _most(cap), "scope": _scope(cap)}
    actions.delete_cap(cap=cap, by=person)
    messages.success(request, said)
    if connection is not None and request.POST.get("back") == "connection":
        return redirect("connection", pk=connection.pk)
    return redirect("spending")


def _place_refusals(form: forms.Form, error: Invalid) -> None:
    for name, message in error.fields.items():
        form.add_error(name if name in form.fields else None, str(message))
    if not error.fields:
        form.add_error(None, str(error))


def _line(one: queries.CapUse) -> CapLine:
    cap = one.cap
    gone = one.spent + one.reserved
    return CapLine(
        cap=cap,
        scope=_scope(cap),
        scope_key=_key(cap),
        most=_most(cap),
        typed=formats.localize_input(
            cap.most.quantize(Decimal(1)) if cap.most == int(cap.most) else cap.most
        ),
        spent=_amount(gone, cap.unit),
        left=_amount(one.left, cap.unit),
        share=f"{min(1.0, float(gone / cap.most)) if cap.most else 1.0:.2f}",
        frees=words.day(one.frees),
    )


def _rank(cap: Cap) -> int:
    return 2 if cap.connection_id else 1 if cap.department_id else 0


def _key(cap: Cap) -> str:
    if cap.connection_id is not None:
        return f"connection-{cap.connection_id}"
    return COMPANY if cap.department_id is None else f"department-{cap.department_id}"


def _scope(cap: Cap) -> str:
    return str(cap.connection or cap.department or _("The whole company"))


def _most(cap: Cap) -> str:
    return f"{_amount(cap.most, cap.unit)} {cap.get_period_display()}"


def _amount(number: Decimal, unit: str) -> str:
    if unit == CALLS:
        return ngettext("%(count)s call", "%(count)s calls", int(number)) % {
            "count": whole(int(number))
        }
    return words.money(number, unit)
