"""Accounts, roles and departments, as administrators see them."""

from __future__ import annotations

import re
import smtplib

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actions import set_active, set_role
from accounts.models import AuditEntry, Department, User
from kb.search import engine
from kb.search.query import parse
from tests.factories import make_admin, make_department, make_person, make_prompt, make_report

pytestmark = pytest.mark.django_db

PATHS = ("/people/", "/people/new/", "/people/1/", "/departments/", "/departments/1/")
FILED = {"default": {"BACKEND": "django.core.mail.backends.filebased.EmailBackend"}}


def roles_of(person):
    return {
        row.department and row.department.slug: row.role
        for row in person.memberships.select_related("department")
    }


def names_in(page):
    return re.findall(r'<a href="/people/\d+/">([^<]+)</a>', page.content.decode())


# --- Who may -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_strangers_sign_in_first(client, path):
    assert client.get(path).url == f"/accounts/login/?next={path}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", ["reader", "author", "curator", None])
def test_only_administrators_of_the_company_look_after_people(client, path, role):
    client.force_login(make_person(role))

    response = client.get(path)

    assert response.status_code == 403
    assert "Only administrators of the company" in response.content.decode()


def test_a_role_in_a_department_opens_none_of_it(client):
    person = make_person("admin", make_department("legal"))
    other = make_person()
    client.force_login(person)

    answers = [
        client.post("/people/new/", {"name": "Eve", "email": "eve@company.test"}),
        client.post(f"/people/{person.pk}/", {"role_company": "admin"}),
        client.post(f"/people/{other.pk}/active/", {"on": "0"}),
        client.post(f"/people/{other.pk}/access/"),
        client.post("/departments/", {"name_en": "Mine", "name_fr": "Mien"}),
    ]

    assert [answer.status_code for answer in answers] == [403] * 5
    assert roles_of(person) == {"legal": "admin"}
    assert mail.outbox == []


@pytest.mark.usefixtures("admin")
def test_who_is_not_there_is_not_found(client):
    assert client.get("/people/999999/").status_code == 404
    assert client.get("/departments/999999/").status_code == 404


# --- The list ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("admin")
def test_people_are_listed_with_their_roles(client):
    make_person("curator", make_department("legal", name_en="Legal"), name="Ada")

    page = client.get("/people/")

    assert names_in(page) == ["Ada", "Hélène Admin"]
    assert "Legal · Curator" in page.content.decode()
    assert "Whole company · Administrator" in page.content.decode()


@pytest.mark.usefixtures("admin")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("helene", ["Hélène Admin"]),
        ("HÉLÈNE admin", ["Hélène Admin"]),
        ("jose company.test", ["José Núñez"]),
        ("100%", []),
        ("\x00", ["Hélène Admin", "José Núñez"]),
    ],
)
def test_people_are_found_by_name_and_address_without_accents(client, words, found):
    make_person(name="José Núñez")

    page = client.get("/people/", {"q": words})

    assert names_in(page) == found
    assert ("Nobody found" in page.content.decode()) == (found == [])


@pytest.mark.usefixtures("admin")
def test_people_are_listed_by_department(client):
    make_person("author", make_department("legal"), name="Ada")
    make_department("sales")

    assert names_in(client.get("/people/?department=legal")) == ["Ada"]
    assert "no members yet" in client.get("/people/?department=sales").content.decode()


def test_closed_accounts_stand_last(client, admin):
    person = make_person(name="Ada")
    set_active(person=person, is_active=False, by=admin)

    page = client.get("/people/")

    assert names_in(page) == ["Hélène Admin", "Ada"]
    assert "Account closed" in page.content.decode()


@pytest.mark.usefixtures("admin")
def test_three_people_need_no_more_queries_than_one(client, django_assert_num_queries):
    legal = make_department("legal")
    with CaptureQueriesContext(connection) as one:
        client.get("/people/")
    make_person("author", legal), make_person("curator", legal)

    with django_assert_num_queries(len(one)):
        client.get("/people/")


# --- A new account -----------------------------------------------------------------------------


def test_an_invitation_goes_by_mail_in_the_person_s_language(client, admin):
    legal = make_department("legal")

    response = client.post(
        "/people/new/",
        {
            "name": "Ève Éluard",
            "email": "Eve@company.test",
            "language": "en",
            "role_company": "reader",
            f"role_{legal.pk}": "curator",
        },
        follow=True,
    )

    person = User.objects.get(email="eve@company.test")
    [message] = mail.outbox
    assert response.redirect_chain == [(f"/people/{person.pk}/", 302)]
    assert "A link to choose a password is on its way" in response.content.decode()
    assert (person.name, person.language, person.has_usable_password()) == (
        "Ève Éluard",
        "en",
        False,
    )
    assert roles_of(person) == {None: "reader", "legal": "curator"}
    assert (message.to, message.subject) == ([person.email], "Retex · Your account at Retex")
    assert "Hélène Admin has opened an account for you" in message.body
    assert "works once, for 3 days" in message.body
    created = AuditEntry.objects.get(action="person.created", target=person.email)
    assert created.actor == admin


@pytest.mark.usefixtures("admin")
def test_the_link_of_an_invitation_opens_the_account(client):
    client.post(
        "/people/new/",
        {"name": "Eve", "email": "eve@company.test", "language": "en", "role_company": "reader"},
    )
    guest, password = Client(), "kettle-comet-violin-moss"

    path = re.search(r"http://localhost:\d+(/accounts/password/reset/key/\S+)", mail.outbox[0].body)
    form = guest.get(path[1], follow=True).redirect_chain[-1][0]
    guest.post(form, {"password1": password, "password2": password})

    assert guest.login(email="eve@company.test", password=password)


@pytest.mark.usefixtures("admin")
def test_without_a_mail_server_a_first_password_is_shown_once(client, settings):
    settings.MAILERS = FILED

    response = client.post(
        "/people/new/",
        {"name": "Eve", "email": "eve@company.test", "language": "fr", "role_company": "author"},
    )

    page = response.content.decode()
    password = re.search(r'<code id="first-password">([\w-]+)</code>', page)[1]
    assert User.objects.get(email="eve@company.test").check_password(password)
    assert "no-store" in response.headers["Cache-Control"]
    assert not AuditEntry.objects.filter(details__icontains=password).exists()


@pytest.mark.usefixtures("admin")
def test_a_mail_that_cannot_be_sent_leaves_an_account_to_be_written_to_later(client, monkeypatch):
    def refuse(self, messages):
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    response = client.post(
        "/people/new/",
        {"name": "Eve", "email": "eve@company.test", "language": "en", "role_company": "reader"},
        follow=True,
    )

    assert User.objects.filter(email="eve@company.test").exists()
    assert "The mail server did not take the mail to eve@company.test." in (
        response.content.decode()
    )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": "nonsense"}, "email"),
        ({"email": "TAKEN@company.test"}, "email"),
        ({"name": ""}, "name"),
        ({"language": "de"}, "language"),
        ({"role_company": "emperor"}, "role_company"),
    ],
)
@pytest.mark.usefixtures("admin")
def test_what_cannot_be_is_refused_and_the_rest_stays(client, changed, field):
    make_person(email="taken@company.test")
    legal = make_department("legal")
    typed = {
        "name": "Eve",
        "email": "eve@company.test",
        "language": "en",
        "role_company": "reader",
        f"role_{legal.pk}": "curator",
    }

    response = client.post("/people/new/", typed | changed)

    page = response.content.decode()
    assert response.status_code == 422
    assert f'id="id_{field}_error"' in page or field == "role_company"
    assert '<option value="curator" selected>' in page
    assert not User.objects.filter(name="Eve").exists()


# --- Roles -------------------------------------------------------------------------------------


def test_roles_are_given_and_taken(client, admin):
    legal, sales = make_department("legal"), make_department("sales")
    person = make_person("author", legal)

    response = client.post(
        f"/people/{person.pk}/",
        {"role_company": "reader", f"role_{legal.pk}": "", f"role_{sales.pk}": "curator"},
    )

    assert response.url == f"/people/{person.pk}/"
    assert roles_of(person) == {None: "reader", "sales": "curator"}
    entries = AuditEntry.objects.filter(action="person.role").order_by("pk")
    assert [(entry.actor, entry.target, entry.details["role"]) for entry in entries] == [
        (admin, person.email, "reader"),
        (admin, person.email, None),
        (admin, person.email, "curator"),
    ]


@pytest.mark.usefixtures("admin")
def test_saving_roles_as_they_are_is_no_change(client):
    person = make_person("author")

    client.post(f"/people/{person.pk}/", {"role_company": "author"})

    assert not AuditEntry.objects.filter(action="person.role").exists()


def test_the_last_administrator_stays_and_is_told_why(client, admin):
    response = client.post(f"/people/{admin.pk}/", {"role_company": "reader"})

    assert response.status_code == 422
    assert "name another one first" in response.content.decode()
    assert '<option value="reader" selected>' in response.content.decode()
    assert roles_of(admin) == {None: "admin"}


def test_an_administrator_among_two_may_step_back(client, admin):
    make_admin()

    response = client.post(f"/people/{admin.pk}/", {"role_company": "reader"})

    assert response.url == "/"
    assert client.get("/people/").status_code == 403


@pytest.mark.usefixtures("admin")
def test_a_new_administrator_opens_the_pages_at_once(client):
    person, theirs = make_person(), Client()
    theirs.force_login(person)
    assert theirs.get("/people/").status_code == 403

    client.post(f"/people/{person.pk}/", {"role_company": "admin"})
    assert theirs.get("/people/").status_code == 200

    client.post(f"/people/{person.pk}/", {"role_company": ""})
    assert theirs.get("/people/").status_code == 403


# --- Access ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("admin")
def test_closing_an_account_acts_at_once_and_can_be_undone(client):
    person, theirs = make_person(), Client()
    theirs.force_login(person)

    client.post(f"/people/{person.pk}/active/", {"on": "0"})
    assert "This account is closed" in client.get(f"/people/{person.pk}/").content.decode()
    assert theirs.get("/settings/").status_code == 302

    client.post(f"/people/{person.pk}/active/", {"on": "1"})
    assert theirs.get("/settings/").status_code == 200


def test_nobody_closes_their_own_account(client, admin):
    make_admin()

    response = client.post(f"/people/{admin.pk}/active/", {"on": "0"}, follow=True)

    admin.refresh_from_db()
    assert admin.is_active
    assert "Ask another administrator to do it." in response.content.decode()


def test_the_last_administrator_cannot_be_closed_by_one_who_is_none_any_more(client, admin):
    other = make_admin()
    client.get("/people/")
    set_role(person=admin, department=None, role=None, by=other)

    assert client.post(f"/people/{other.pk}/active/", {"on": "0"}).status_code == 403
    other.refresh_from_db()
    assert other.is_active


@pytest.mark.usefixtures("admin")
def test_a_link_helps_who_cannot_sign_in_and_the_present_password_works_until_then(client):
    person = make_person(language="en")
    person.last_login = "2026-01-01T09:00:00Z"
    person.save()

    client.post(f"/people/{person.pk}/access/")

    [message] = mail.outbox
    before = person.password
    person.refresh_from_db()
    assert (message.to, message.subject) == ([person.email], "Retex · Choose a new password")
    assert person.password == before


def test_without_a_mail_server_a_new_password_helps(client, admin, settings):
    settings.MAILERS = FILED
    person, theirs = make_person(), Client()
    theirs.force_login(person)

    page = client.post(f"/people/{person.pk}/access/").content.decode()

    password = re.search(r'<code id="first-password">([\w-]+)</code>', page)[1]
    person.refresh_from_db()
    assert person.check_password(password)
    assert theirs.get("/settings/").status_code == 302
    entry = AuditEntry.objects.get(action="person.password")
    assert (entry.actor, entry.target, entry.details) == (admin, person.email, {})


# --- Departments -------------------------------------------------------------------------------


@pytest.mark.usefixtures("admin")
def test_a_department_is_added_at_the_end(client):
    make_department("legal")

    response = client.post(
        "/departments/", {"name_en": "Customer  care", "name_fr": "Relation client"}
    )

    made = Department.objects.get(slug="customer-care")
    assert response.url == "/departments/"
    assert (made.name_en, made.name_fr) == ("Customer care", "Relation client")
    assert [row.slug for row in Department.objects.all()] == ["legal", "customer-care"]


@pytest.mark.parametrize("name", ["Customer care!", "客户"])
@pytest.mark.usefixtures("admin")
def test_every_department_gets_an_address_of_its_own(client, name):
    make_department("customer-care", name_en="Customer care")
    make_department("department")

    client.post("/departments/", {"name_en": name, "name_fr": name})

    assert Department.objects.filter(name_en=name, slug__endswith="-2").exists()


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name_en": "", "name_fr": "Achats"}, "name_en"),
        ({"name_en": "Purchasing", "name_fr": "juridique"}, "name_fr"),
        ({"name_en": "x" * 121, "name_fr": "Achats"}, "name_en"),
    ],
)
@pytest.mark.usefixtures("admin")
def test_a_department_that_cannot_be_keeps_what_was_typed(client, typed, field):
    make_department("legal", name_fr="Juridique")

    response = client.post("/departments/", typed)

    page = response.content.decode()
    assert response.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert f'value="{typed["name_fr"]}"' in page
    assert Department.objects.count() == 1


def test_a_renamed_department_is_found_by_its_new_name(client, admin):
    legal = make_department("legal", name_en="Legal")
    prompt = make_prompt(departments=[legal], title="Notice period")
    report = make_report(None, department=legal, title="A use")

    response = client.post(
        f"/departments/{legal.pk}/", {"name_en": "Contracts office", "name_fr": "Juridique"}
    )

    legal.refresh_from_db()
    found = engine.search(parse("contracts office"), admin)
    reports = engine.search(parse("contracts office"), admin, kind="retrospective")
    assert response.url == "/departments/"
    assert (legal.slug, legal.name_en) == ("legal", "Contracts office")
    assert [hit.object_id for hit in found.hits] == [prompt.pk]
    assert [hit.object_id for hit in reports.hits] == [report.pk]


@pytest.mark.usefixtures("admin")
def test_a_department_may_keep_its_names(client):
    legal = make_department("legal", name_en="Legal", name_fr="Juridique")

    assert (
        client.post(f"/departments/{legal.pk}/", {"name_en": "Legal", "name_fr": "Juridique"}).url
        == "/departments/"
    )


@pytest.mark.usefixtures("admin")
def test_three_departments_need_no_more_queries_than_one(client, django_assert_num_queries):
    make_department("legal")
    with CaptureQueriesContext(connection) as one:
        client.get("/departments/")
    make_department("sales"), make_department("support")

    with django_assert_num_queries(len(one)):
        client.get("/departments/")


@pytest.mark.parametrize(
    "path",
    [
        "/people/?department=%00",
        "/people/?q=%00%ff&page=%00",
        "/people/?page=" + "9" * 30,
        "/people/" + "9" * 30 + "/",
        "/departments/" + "9" * 30 + "/",
    ],
)
@pytest.mark.usefixtures("admin")
def test_no_address_breaks_the_pages(client, path):
    assert client.get(path).status_code < 500
