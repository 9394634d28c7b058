"""What people set about themselves, and their keys for programs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import actions
from accounts.models import ApiToken, AuditEntry
from tests.factories import make_admin, make_department, make_person

pytestmark = pytest.mark.django_db

PROFILE = {
    "name": "Ada Lovelace",
    "language": "en",
    "time_zone": "Europe/London",
    "has_key_shortcuts": "on",
}


def token_of(person, name="Excel", **fields):
    return actions.create_token(
        person=person, name=name, scopes=fields.pop("scopes", ["read"]), by=person, **fields
    )


def test_strangers_sign_in_first(client):
    for path in ("/settings/", "/settings/tokens/"):
        assert client.get(path).url == f"/accounts/login/?next={path}"


def test_a_person_changes_name_language_zone_and_shortcuts(client):
    person = make_person(language="en")
    client.force_login(person)

    response = client.post(
        "/settings/", {"name": "  Ada   Lovelace ", "language": "fr", "time_zone": "Indian/Reunion"}
    )

    person.refresh_from_db()
    assert response.url == "/settings/"
    assert (person.name, person.language, person.time_zone, person.has_key_shortcuts) == (
        "Ada Lovelace",
        "fr",
        "Indian/Reunion",
        False,
    )
    page = client.get("/settings/").content.decode()
    assert '<html lang="fr"' in page
    assert "data-no-shortcuts" in page


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("name", "x" * 121),
        ("language", "de"),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", ""),
    ],
)
def test_what_cannot_be_is_refused_at_its_field_and_the_rest_stays(client, field, value):
    person = make_person(name="Before")
    client.force_login(person)

    response = client.post("/settings/", PROFILE | {field: value})

    person.refresh_from_db()
    page = response.content.decode()
    assert response.status_code == 422
    assert person.name == "Before"
    assert f'id="id_{field}_error"' in page
    assert "One answer needs another look" in page
    assert '<option value="Europe/London" selected>' in page or field == "time_zone"


def test_a_zone_that_is_not_offered_stays_with_who_has_it(client):
    person = make_person()
    person.time_zone = "Etc/GMT+3"
    person.save()
    client.force_login(person)

    page = client.get("/settings/").content.decode()
    saved = client.post("/settings/", PROFILE | {"time_zone": "Etc/GMT+3"})

    assert '<option value="Etc/GMT+3" selected>' in page
    assert saved.status_code == 302


def test_departments_are_shown_with_who_can_change_them(client):
    legal = make_department("legal", name_en="Legal")
    admin = make_admin(name="Hélène Admin")
    client.force_login(make_person("curator", legal))

    page = client.get("/settings/").content.decode()

    assert re.search(r"<dt>Legal</dt><dd>Curator", page)
    assert f'<a href="mailto:{admin.email}">Hélène Admin</a>' in page
    assert "/people/" not in page


# --- Tokens ------------------------------------------------------------------------------------


def test_a_token_is_shown_once(client):
    person = make_person()
    client.force_login(person)

    made = client.post(
        "/settings/tokens/", {"name": "Excel", "scopes": ["read", "write"], "expires": "30"}
    )
    again = client.get("/settings/tokens/")

    text = re.search(r'<code id="new-token">(rtx_[\w-]+)</code>', made.content.decode())[1]
    token = ApiToken.objects.get()
    assert token.digest == actions.digest(text)
    assert (token.person, token.name, token.scopes) == (person, "Excel", ["read", "write"])
    assert timedelta(days=29) < token.expires - timezone.now() < timedelta(days=30)
    assert "no-store" in made.headers["Cache-Control"]
    assert text not in again.content.decode()
    assert token.hint in again.content.decode()
    assert not AuditEntry.objects.filter(details__icontains=text).exists()


def test_a_token_may_last_until_it_is_revoked(client):
    client.force_login(make_person())

    client.post("/settings/tokens/", {"name": "Excel", "scopes": ["read"], "expires": "0"})

    assert ApiToken.objects.get().expires is None


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"expires": "7000"}, "expires"),
    ],
)
def test_a_token_that_cannot_be_made_keeps_the_form(client, changed, field):
    client.force_login(make_person())

    response = client.post(
        "/settings/tokens/", {"name": "Excel", "scopes": ["write"], "expires": "30"} | changed
    )

    page = response.content.decode()
    assert response.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert not ApiToken.objects.exists()
    assert 'value="Excel"' in page or field == "name"


def test_only_administrators_are_offered_what_only_they_can_do(client):
    client.force_login(make_admin())

    response = client.post(
        "/settings/tokens/", {"name": "Excel", "scopes": ["admin"], "expires": "30"}
    )

    assert response.status_code == 200
    assert ApiToken.objects.get().scopes == ["admin"]


def test_too_many_tokens_are_refused_in_words(client, monkeypatch):
    monkeypatch.setattr(actions, "MOST_TOKENS", 1)
    person = make_person()
    token_of(person)
    client.force_login(person)

    response = client.post(
        "/settings/tokens/", {"name": "One more", "scopes": ["read"], "expires": "30"}
    )

    assert response.status_code == 422
    assert "There are 1 tokens already; revoke one first." in response.content.decode()
    assert 'value="One more"' in response.content.decode()


def test_a_revoked_token_is_listed_as_ended(client):
    person = make_person()
    token, _text = token_of(person)
    client.force_login(person)

    response = client.post(f"/settings/tokens/{token.pk}/revoke/")
    page = client.get("/settings/tokens/").content.decode()

    token.refresh_from_db()
    assert response.url == "/settings/tokens/"
    assert token.revoked is not None
    assert "1 token has ended" in page
    assert f'id="token-{token.pk}"' not in page


def test_nobody_revokes_the_token_of_another(client):
    token, _text = token_of(make_person())
    client.force_login(make_admin())

    response = client.post(f"/settings/tokens/{token.pk}/revoke/")

    token.refresh_from_db()
    assert (response.status_code, token.revoked) == (404, None)


def test_three_tokens_need_no_more_queries_than_one(client, django_assert_num_queries):
    person = make_person()
    client.force_login(person)
    token_of(person)
    with CaptureQueriesContext(connection) as one:
        client.get("/settings/tokens/")
    for name in ("two", "three"):
        token_of(person, name)

    with django_assert_num_queries(len(one)):
        client.get("/settings/tokens/")
