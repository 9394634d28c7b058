"""Promises AUDIT and LAST-ADMIN: each security act has one entry that stays; somebody administrates."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction
from django.test import Client

from accounts.models import ApiToken, AuditEntry, Department, User
from kb.llm.models import Connection
from tests.factories import (
    PASSWORD,
    make_admin,
    make_connection,
    make_department,
    make_person,
    make_target,
)
from tests.promises.routes import PAGES

pytestmark = pytest.mark.django_db

KEY = "sk-the-key-of-a-provider-9876"
NEW_PASSWORD = "kettle-comet-violin"


@pytest.fixture
def admin(client):
    person = make_admin(email="anna@company.test")
    client.force_login(person)
    return person


def sends(name, **changed):
    return {**PAGES[name].acts["POST"].sends(None, None), **changed}


def acts(client, admin):
    """Each security act as a page does it, with the entry it leaves: name of the act and its target."""
    legal = make_department("legal")
    other = make_person("reader", email="otto@company.test")
    connection = make_connection(by=admin, name="Vendor")
    token = ApiToken.objects.create(person=admin, name="old", hint="rtx_", digest="x", scopes=[])
    yield "/people/new/", sends("person-new"), "person.created", "eve@company.test"
    yield f"/people/{other.pk}/", {"role_company": "author"}, "person.role", other.email
    yield f"/people/{other.pk}/active/", {"on": "0"}, "person.deactivated", other.email
    yield f"/people/{other.pk}/active/", {"on": "1"}, "person.activated", other.email
    yield "/departments/", sends("departments"), "department.created", "sport"
    yield (
        f"/departments/{legal.pk}/",
        {"name_en": "Law", "name_fr": "Le droit"},
        "department.renamed",
        "legal",
    )
    yield "/settings/tokens/", sends("tokens"), "token.created", admin.email
    yield f"/settings/tokens/{token.pk}/revoke/", {}, "token.revoked", admin.email
    typed = sends("connection-new", service="openai", api_key=KEY)
    yield "/connections/new/", typed, "connection.created", "Another"
    yield (
        f"/connections/{connection.pk}/edit/",
        {**typed, "name": "Vendor 2"},
        "connection.changed",
        "Vendor 2",
    )
    yield f"/connections/{connection.pk}/switch/", {"on": "0"}, "connection.changed", "Vendor 2"
    yield f"/connections/{connection.pk}/delete/", {}, "connection.deleted", "Vendor 2"
    target = make_target(make_connection(by=admin, name="Judges"), "judge-small")
    choice = "/connections/graders/judge/"
    yield choice, {"judge-target": target.pk}, "grader.chosen", str(target)
    yield choice, {"judge-target": ""}, "grader.removed", str(target)
    reader = make_target(target.connection, "simulated-embeddings", is_embedding=True)
    choice = "/connections/meaning/choose/"
    yield choice, {"target": reader.pk, "is_wide": "on"}, "meaning.chosen", str(reader)
    yield choice, {"target": ""}, "meaning.removed", str(reader)
    yield (
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
        "person.password",
        admin.email,
    )


def test_audit_every_security_act_leaves_one_entry_without_secrets(client, admin):
    """AUDIT: who did what to whom, once, and no key, token or password."""
    for path, data, action, target in acts(client, admin):
        before = set(AuditEntry.objects.values_list("pk", flat=True))

        answer = client.post(path, data)

        left = AuditEntry.objects.exclude(pk__in=before)
        found = [(row.actor, row.actor_label, row.action, row.target) for row in left]
        assert found == [(admin, "anna@company.test", action, target)], (path, answer.status_code)
    words = " ".join(f"{row} {row.details}" for row in AuditEntry.objects.all())
    hidden = [KEY, NEW_PASSWORD, PASSWORD, *ApiToken.objects.values_list("digest", flat=True)[:1]]
    assert [secret for secret in hidden if len(secret) > 1 and secret in words] == []


def test_audit_a_refused_act_leaves_nothing(client, admin):
    """AUDIT: the record tells what happened, so what was refused is not in it."""
    before = AuditEntry.objects.count()

    client.post("/people/new/", {"email": "nonsense"})
    client.post(f"/people/{admin.pk}/", {"role_company": "reader"})
    client.post(f"/people/{admin.pk}/active/", {"on": "0"})

    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize("change", ["delete", "update", "rewrite"])
def test_audit_entries_cannot_be_changed(admin, change):
    """AUDIT: the database itself refuses, whatever the program does."""
    rows = AuditEntry.objects.all()
    before = list(rows.values())
    acts_on = {
        "delete": lambda: rows.delete(),
        "update": lambda: rows.update(action="nothing"),
        "rewrite": lambda: rows.update(actor=None, details={"innocent": True}),
    }

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        acts_on[change]()

    assert list(rows.values()) == before


def test_last_admin_cannot_go_by_any_door(client, admin):
    """LAST-ADMIN: neither by pages nor by the actions of the operators."""
    helper = make_admin()
    other = Client()
    other.force_login(helper)
    other.post(f"/people/{admin.pk}/", {"role_company": "reader"})
    assert list(User.objects.filter(memberships__role="admin")) == [helper]

    other.post(f"/people/{helper.pk}/", {"role_company": "reader"})
    other.post(f"/people/{helper.pk}/active/", {"on": "0"})

    helper.refresh_from_db()
    assert helper.is_active
    assert list(User.objects.filter(memberships__role="admin")) == [helper]
    assert Department.objects.count() == Connection.objects.count() == 0
