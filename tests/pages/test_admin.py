"""The operators' window: open to administrators of the company, and no way around the rules."""

from __future__ import annotations

import re

import pytest

from accounts.actions import create_token
from kb.admin import site
from kb.prompts.models import Tool
from kb.search import engine
from kb.search.query import parse
from tests.factories import (
    make_admin,
    make_connection,
    make_person,
    make_prompt,
    make_report,
    make_tool,
)

pytestmark = pytest.mark.django_db

EDITABLE = {"tool", "usecase", "tag"}


@pytest.fixture
def admin(client):
    person = make_admin()
    client.force_login(person)
    return person


def path_of(model, *rest):
    meta = model._meta
    return "/".join(["/admin", meta.app_label, meta.model_name, *map(str, rest)]) + "/"


def test_strangers_sign_in_where_everybody_does(client):
    response = client.get("/admin/", follow=True)

    assert response.redirect_chain[-1][0].startswith("/accounts/login/?next=")


def test_its_own_sign_in_takes_no_password(client):
    make_admin(email="admin@company.test")

    response = client.post(
        "/admin/login/", {"username": "admin@company.test", "password": "a-long-enough-secret"}
    )

    assert response.url.startswith("/accounts/login/")
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("role", ["reader", "author", "curator"])
def test_colleagues_are_refused(client, role):
    person = make_person(role)
    person.is_staff = True
    person.save()
    client.force_login(person)

    assert client.get("/admin/", follow=True).status_code == 403


@pytest.mark.usefixtures("admin")
def test_every_list_and_form_opens(client):
    for model in site._registry:
        assert client.get(path_of(model)).status_code == 200
        row = model._default_manager.first()
        if row is not None:
            assert client.get(path_of(model, row.pk, "change")).status_code == 200


@pytest.mark.usefixtures("admin")
def test_only_the_catalogue_can_be_edited(client):
    make_tool()

    addable = {
        model._meta.model_name
        for model in site._registry
        if client.get(path_of(model, "add")).status_code == 200
    }

    assert addable == EDITABLE


@pytest.mark.usefixtures("admin")
def test_nothing_is_deleted_here(client):
    tool = make_tool()

    assert client.post(path_of(Tool, tool.pk, "delete"), {"post": "yes"}).status_code == 403
    client.post(path_of(Tool), {"action": "delete_selected", "_selected_action": [tool.pk]})
    assert Tool.objects.filter(pk=tool.pk).exists()


def test_a_renamed_tool_is_found_by_its_new_name(client, admin):
    tool = make_tool("old-name", name="Old name")
    prompt = make_prompt(tools=[tool])

    client.post(
        path_of(Tool, tool.pk, "change"),
        {"name": "Mistigri", "slug": tool.slug, "kind": "text", "position": "0", "open_url": ""},
    )

    found = engine.search(parse("mistigri"), admin)
    assert [hit.object_id for hit in found.hits] == [prompt.pk]


def test_secrets_are_not_shown(client, admin):
    token, _text = create_token(person=admin, name="Excel", scopes=["read"], by=admin)
    connection = make_connection(
        "openai_compatible", base_url="https://api.openai.com/v1", api_key="sk-a-very-secret-key"
    )

    pages = [
        client.get(path_of(type(row), row.pk, "change")).content.decode()
        for row in (token, connection, admin)
    ]

    assert token.digest not in pages[0]
    assert "sk-a-very-secret-key" not in pages[1]
    assert connection.sealed_key not in pages[1]
    assert admin.password not in pages[2]


@pytest.mark.usefixtures("admin")
def test_drafts_and_private_prompts_of_others_stay_theirs(client):
    draft = make_prompt(title="A quiet draft", status="draft")
    private = make_prompt(title="For my eyes", visibility="private")
    shown = make_prompt(title="For everybody")

    prompts = client.get(path_of(type(shown))).content.decode()
    versions = client.get(path_of(type(shown.current))).content.decode()

    assert [title in prompts for title in ("A quiet draft", "For my eyes", "For everybody")] == [
        False,
        False,
        True,
    ]
    assert "A quiet draft" not in versions
    for row in (draft, private):
        assert client.get(path_of(type(row), row.pk, "change")).status_code == 302
        current = row.current
        assert client.get(path_of(type(current), current.pk, "change")).status_code == 302


@pytest.mark.usefixtures("admin")
def test_a_colleague_in_a_department_stays_one(client):
    author = make_person(name="Shy Author", email="shy@company.test")
    report = make_report(None, author, is_anonymous=True, title="An honest failure")

    page = client.get(path_of(type(report), report.pk, "change")).content.decode()

    assert "An honest failure" in page
    assert not re.search("Shy Author|shy@company.test", page)
