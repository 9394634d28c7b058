from datetime import date
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone, translation

from kb.llm import actions as llm
from kb.llm import spending
from kb.llm.models import Cap, Expense
from kb.views import drift_words
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


def test_calls_without_a_price_are_told_on_the_line_of_the_others(client, admin):
    account = make_connection(name="Main account")
    spend(account)
    spend(account, model="model-b", reference="run:2", calls=1, currency="", cost=Decimal(0))

    page = client.get(reverse("spending"), {"month": "2026-03"})

    text = words(page)
    assert "Main account 13 3,000 600 €2.50 (1 call without a price) By department" in text
    assert "model-b 1 1,500 300 no price entered" in text


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


def caps_of(client, page="spending"):
    """The caps as the page lists them, in its order."""
    return [f"{one.scope}: {one.most}" for one in client.get(reverse(page)).context["caps"]]


def cap(**more):
    return {"cap-scope": "company", "cap-most": "40", "cap-unit": "EUR", "cap-period": "month"} | {
        f"cap-{name}": value for name, value in more.items()
    }


def test_caps_say_what_is_left(client, admin):
    account = make_connection(name="Main account")
    llm.save_cap(by=admin, period="month", unit="EUR", most=Decimal(40), connection=account)

    text = words(client.get(reverse("spending")))

    assert "Main account at most €40.00 a month €0.00 spent or kept aside €40.00 left" in text


def test_what_was_spent_is_taken_from_a_cap(client, admin):
    account = make_connection(name="Main account")
    purse = spending.Purse(account.pk, account.name, None, "m", "run:1", currency="EUR")
    kept = spending.reserve(purse, spending.Estimate(Decimal(9)), now=timezone.now())
    spending.settle(kept, spending.Usage(Decimal("7.5"), calls=1))
    llm.save_cap(by=admin, period="month", unit="EUR", most=Decimal(10), connection=account)

    response = client.get(reverse("spending"))

    (line,) = response.context["caps"]
    assert (line.spent, line.left, line.share) == ("€7.50", "€2.50", "0.75")


def test_a_cap_begins_anew_on_a_day_the_french_call_first(client, admin):
    with translation.override("fr"):
        said = [drift_words.day(date(2026, 12, number)) for number in (1, 2)]

    assert said == ["1er décembre", "2 décembre"]
    assert drift_words.day(date(2026, 12, 1)) == "1 December"


def test_caps_are_set_for_the_company_a_department_and_a_connection(client, admin):
    account, legal = make_connection(name="Main account"), make_department("legal")

    codes = [
        client.post(reverse("cap-save"), data).status_code
        for data in (
            cap(scope=f"connection-{account.pk}", unit="calls", period="day", most="500"),
            cap(scope=f"department-{legal.pk}", most="12.5"),
            cap(),
        )
    ]

    assert codes == [302, 302, 302]
    assert caps_of(client) == [
        "The whole company: €40.00 a month",
        "Legal: €12.50 a month",
        "Main account: 500 calls a day",
    ]


def test_a_second_cap_of_the_same_kind_changes_the_first(client, admin):
    client.post(reverse("cap-save"), cap())

    response = client.post(reverse("cap-save"), cap(most="55"), follow=True)

    assert "The whole company: at most €55.00 a month." in words(response)
    assert caps_of(client) == ["The whole company: €55.00 a month"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"most": ""}, "most"),
        ({"most": "-1"}, "most"),
        ({"most": "forty"}, "most"),
        ({"most": "2.5", "unit": "calls"}, "most"),
        ({"unit": "XYZ"}, "unit"),
        ({"period": "year"}, "period"),
        ({"scope": "department-999"}, "scope"),
    ],
)
def test_a_cap_that_cannot_be_kept_is_refused_in_its_form(client, admin, wrong, field):
    response = client.post(reverse("cap-save"), cap(**wrong))

    assert response.status_code == 422
    assert list(response.context["cap_form"].errors) == [field]
    assert 'id="new-cap" open' in response.content.decode()
    assert Cap.objects.count() == 0


def test_a_cap_is_taken_away_and_the_page_it_was_on_comes_back(client, admin):
    account = make_connection(name="Main account")
    rows = [
        llm.save_cap(by=admin, period=period, unit="EUR", most=Decimal(40), connection=account)
        for period in ("day", "month")
    ]

    responses = [
        client.post(reverse("cap-delete", args=[row.pk]), {"back": back})
        for row, back in zip(rows, ("spending", "connection"), strict=True)
    ]

    assert [response["Location"] for response in responses] == [
        reverse("spending"),
        reverse("connection", args=[account.pk]),
    ]
    assert Cap.objects.count() == 0


def test_a_call_without_a_price_costs_nothing_that_is_known(client, admin):
    spend(make_connection(), currency="", cost=Decimal(0))

    assert "no price entered" in words(client.get(reverse("spending"), {"month": "2026-03"}))


@pytest.mark.parametrize("month", ["", "nonsense", "2026-13", "9999-01"])
def test_a_month_that_is_none_is_this_one(client, admin, month):
    assert "Nothing was spent" in words(client.get(reverse("spending"), {"month": month}))


def test_only_administrators_see_what_is_spent_and_set_caps(client):
    row = llm.save_cap(by=make_admin(), period="month", unit="EUR", most=Decimal(40))
    codes = []
    for person in (make_person("author"), make_person("admin", make_department("legal")), None):
        client.logout()
        if person:
            client.force_login(person)
        codes.append(
            [
                client.get(reverse("spending")).status_code,
                client.post(reverse("cap-save"), cap(most="1")).status_code,
                client.post(reverse("cap-delete", args=[row.pk])).status_code,
            ]
        )

    assert codes == [[403] * 3, [403] * 3, [302] * 3]
    assert Cap.objects.get().most == 40
