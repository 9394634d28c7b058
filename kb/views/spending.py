"""Spending: what model calls cost in a month, by whom, and what the caps leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.models import Department, User
from kb.core.spreadsheet import Cell, csv_text
from kb.forms.caps import CapForm
from kb.llm import queries, spending
from kb.llm.clients import SIMULATED
from kb.llm.models import Connection, Expense, Period
from kb.views import caps
from kb.views import drift_words as words
from kb.views.people import signed_in


@dataclass(frozen=True)
class Line:
    """A line of a table: whose calls, how many, and what they cost.

    `sums` is one for each currency, dearest first; `cost` is '' when none of the calls has a price.
    """

    name: str
    sums: Sequence[queries.ExpenseSum]

    @property
    def calls(self) -> int:
        return sum(one.calls for one in self.sums)

    @property
    def unknown_calls(self) -> int:
        return sum(one.unknown_calls for one in self.sums)

    @property
    def input_tokens(self) -> int:
        return sum(one.input_tokens for one in self.sums)

    @property
    def output_tokens(self) -> int:
        return sum(one.output_tokens for one in self.sums)

    @property
    def cost(self) -> str:
        return " + ".join(words.money(one.cost, one.currency) for one in self.sums if one.currency)

    @property
    def calls_without_price(self) -> int:
        return sum(one.calls for one in self.sums if not one.currency)


@dataclass(frozen=True)
class Table:
    """What was spent, by one thing."""

    key: str
    title: str
    lines: Sequence[Line]


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """One month; `?format=csv` gives the tables that are drawn, a row for each currency."""
    person = signed_in(request)
    return _page(request, person)


@require_POST
def save_cap(request: HttpRequest) -> HttpResponse:
    """Set a cap: of the company, a department or a connection."""
    person = signed_in(request)
    form = caps.form_for_company(person, request.POST)
    if caps.save(request, person, form):
        return redirect("spending")
    return _page(request, person, cap_form=form, status=422)


def _page(
    request: HttpRequest, person: User, *, cap_form: CapForm | None = None, status: int = 200
) -> HttpResponse:
    today = spending.today(timezone.now())
    begin = _month(request.GET.get("month", ""), today)
    end = spending.period_end(Period.MONTH, begin)
    rows = queries.expenses(person, since=begin, until=end - timedelta(days=1))
    tables = [
        Table(key, title, _lines(queries.expense_sums(rows, by=key), key))
        for key, title in (
            ("connection", _("By connection")),
            ("department", _("By department")),
            ("model", _("By model")),
        )
    ]
    if request.GET.get("format") == "csv":
        return _export(begin, tables)
    context = {
        "begin": begin,
        "before": (begin - timedelta(days=1)).replace(day=1),
        "after": end if end <= today else None,
        "tables": [table for table in tables if table.lines],
        "has_simulated": _has_simulated(rows),
        "caps": caps.lines(queries.caps(person, now=timezone.now())),
        "cap_form": cap_form or caps.form_for_company(person),
    }
    return render(request, "drift/spending.html", context, status=status)


def _has_simulated(rows: QuerySet[Expense]) -> bool:
    """Whether simulated models are among what was asked: their cost is nobody's bill."""
    simulated = Connection.objects.filter(provider=SIMULATED).values("pk")
    return rows.filter(connection_id__in=simulated, cost__gt=0).exists()


def _month(text: str, today: date) -> date:
    """The first day of a month such as 2026-03; of this month for what is none or still to come."""
    try:
        found = date.fromisoformat(f"{text}-01")
    except ValueError:
        return today.replace(day=1)
    return min(found, today.replace(day=1))


def _lines(sums: Sequence[queries.ExpenseSum], key: str) -> list[Line]:
    names = _names(key)
    groups: dict[object, list[queries.ExpenseSum]] = {}
    for one in sums:
        groups.setdefault(one.group, []).append(one)
    return [
        Line(str(group) if key == "model" else names.get(group, _("no longer there")), members)
        for group, members in groups.items()
    ]


def _names(key: str) -> dict[object, str]:
    if key == "connection":
        return dict(Connection.objects.values_list("pk", "name"))
    if key == "department":
        return {row.pk: str(row) for row in Department.objects.all()} | {None: _("No department")}
    return {}


def _export(begin: date, tables: Sequence[Table]) -> HttpResponse:
    # A French spreadsheet reads a decimal comma, and so wants semicolons between cells.
    is_french = (get_language() or "").startswith("fr")
    header = [
        _("Month"), _("Grouped by"), _("Name"), _("Calls"), _("Of them with an unknown end"),
        _("Tokens read"), _("Tokens written"), _("Cost"), _("Currency"),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for table in tables:
        for line in table.lines:
            for one in line.sums:
                cost = str(one.cost).replace(".", ",") if is_french else str(one.cost)
                rows.append(
                    [
                        f"{begin:%Y-%m}",
                        table.title,
                        line.name,
                        one.calls,
                        one.unknown_calls,
                        one.input_tokens,
                        one.output_tokens,
                        cost if one.currency else None,
                        one.currency,
                    ]
                )
    return HttpResponse(
        csv_text(header, rows, separator=";" if is_french else ","),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="spending-{begin:%Y-%m}.csv"'},
    )
