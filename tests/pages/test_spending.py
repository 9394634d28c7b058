from datetime import date
from decimal import Decimal

import pytest
from django.urls import reverse

from kb.llm import actions as llm
from kb.llm.models import Expense
from tests.factories import make_admin, make_connection, make_department, make_person
from tests.pages.reruns import words

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client):
    person = make_admin()
    client.force_login(person)
    return person


def spend(account, **fields):
    usual = {
        "day": date(2026, 3, 4),
        "connection_id": account.pk,
        "connection_name": account.name,
        "department_id": None,
        "model": "model-a",
        "reference": "run:1",
        "currency": "EUR",
        "calls": 12,
        "input_tokens": 1_500,
        "output_tokens": 300,
        "cost": Decimal("2.5"),
    }
    return Expense.objects.create(**{**usual, **fields})


def test_a_month_is_told_by_connection_department_and_model(client, admin):
    account = make_connection(name="Main account")
    legal = make_department("legal")
    spend(account)
    spend(account, department_id=legal.pk, model="model-b", reference="run:2", cost=Decimal(1))
    spend(account, day=date(2026, 2, 28), reference="run:0", cost=Decimal(99))

    page = client.get(reverse("spending"), {"month": "2026-03"})

    text = words(page)
    assert "Spending in March 2026" in text
    assert "Main account 24 3,000 600 €3.50" in text
    assert "No department 12 1,500 300 €2.50 Legal 12 1,500 300 €1.00" in text
    assert "model-a 12 1,500 300 €2.50 model-b 12 1,500 300 €1.00" in text
    assert "99" not in text


def test_the_file_holds_exactly_what_is_drawn(client, admin):
    account = make_connection(name="=Main")
    spend(account, unknown_calls=2)

    response = client.get(reverse("spending"), {"month": "2026-03", "format": "csv"})

    lines = response.content.decode("utf-8-sig").splitlines()
    assert lines[1:] == [
        "2026-03,By connection,'=Main,12,2,1500,300,2.500000,EUR",
        "2026-03,By department,No department,12,2,1500,300,2.500000,EUR",
        "2026-03,By model,model-a,12,2,1500,300,2.500000,EUR",
    ]


def test_caps_say_what_is_left(client, admin):
    account = make_connection(name="Main account")
    llm.save_cap(by=admin, period="month", unit="EUR", most=Decimal(40), connection=account)

    text = words(client.get(reverse("spending")))

    assert "Main account €40.00 a month €0.00 €40.00" in text


def test_a_call_without_a_price_costs_nothing_that_is_known(client, admin):
    spend(make_connection(), currency="", cost=Decimal(0))

    assert "no price entered" in words(client.get(reverse("spending"), {"month": "2026-03"}))


@pytest.mark.parametrize("month", ["", "nonsense", "2026-13", "9999-01"])
def test_a_month_that_is_none_is_this_one(client, admin, month):
    assert "Nothing was spent" in words(client.get(reverse("spending"), {"month": month}))


def test_only_administrators_see_what_is_spent(client):
    codes = []
    for person in (make_person("author"), make_person("reader")):
        client.force_login(person)
        codes.append(client.get(reverse("spending")).status_code)
    client.logout()

    assert [*codes, client.get(reverse("spending")).status_code] == [403, 403, 302]
