"""Signing in, out and up; passwords; and the mails about accounts."""

from __future__ import annotations

import re
import smtplib
from uuid import uuid4

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.actions import set_active
from accounts.models import AuditEntry, User
from tests.factories import PASSWORD, make_admin, make_person

pytestmark = pytest.mark.django_db

LOGIN = "/accounts/login/"
RESET = "/accounts/password/reset/"
NEW_PASSWORD = "kettle-comet-violin-moss"
WRONG = "This address and this password do not go together."


@pytest.fixture(autouse=True)
def _own_counters(settings):
    """Attempts are counted in the cache: each test counts its own."""
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(uuid4())}}


def sign_in(client, email, password=PASSWORD, **more):
    return client.post(LOGIN, {"login": email, "password": password, **more})


def words(page):
    """What a reader sees: no tags, no tokens, single spaces."""
    body = page.content.decode().partition("<body")[2].partition(">")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def link_in(message):
    return re.search(r"http://localhost:\d+(/\S+)", message.body)[1]


def html_of(message):
    return message.alternatives[0].content


# --- Signing in --------------------------------------------------------------------------------


def test_signing_in_leads_home(client):
    person = make_person()

    response = sign_in(client, person.email.upper())

    assert (response.status_code, response.url) == (302, "/")
    assert client.get("/settings/").status_code == 200


def test_signing_in_leads_back_to_the_page_that_was_asked_for(client):
    person = make_person()
    asked = client.get("/settings/tokens/")
    assert asked.url == f"{LOGIN}?next=/settings/tokens/"

    form = client.get(asked.url).content.decode()
    assert '<input type="hidden" name="next" value="/settings/tokens/">' in form

    assert sign_in(client, person.email, next="/settings/tokens/").url == "/settings/tokens/"
    client.logout()
    assert sign_in(client, person.email, next="https://elsewhere.test/").url == "/"


def test_a_wrong_password_does_not_tell_whether_the_account_exists(client):
    person = make_person()

    known = words(sign_in(client, person.email, "wrong"))
    unknown = words(sign_in(Client(), "nobody@company.test", "wrong"))

    assert WRONG in known
    assert known == unknown


def test_a_wrong_password_keeps_the_address_and_not_the_password(client):
    page = sign_in(client, "somebody@company.test", "a-secret-attempt").content.decode()

    assert 'value="somebody@company.test"' in page
    assert "a-secret-attempt" not in page
    assert page.count('role="alert"') == 1


def test_five_wrong_passwords_lock_sign_in_and_say_for_how_long(client):
    person = make_person()

    with time_machine.travel("2026-03-02 09:00:00+00:00", tick=False) as clock:
        for _ in range(5):
            assert WRONG in words(sign_in(client, person.email, "wrong"))
            clock.shift(20)
        locked = words(sign_in(client, person.email))
        clock.shift(150)
        nearly = words(sign_in(client, person.email))
        clock.shift(60)
        opened = sign_in(client, person.email)

    assert "Too many attempts. Sign-in opens again in 4 minutes." in locked
    assert "Too many attempts. Sign-in opens again in 1 minute." in nearly
    assert opened.url == "/"


def test_a_flood_of_requests_is_told_to_wait(client, settings):
    settings.ACCOUNT_RATE_LIMITS = {"login": "2/m/ip"}
    for _ in range(2):
        sign_in(client, "nobody@company.test", "wrong")

    response = sign_in(client, "nobody@company.test", "wrong")

    assert response.status_code == 429
    assert "Wait a minute, then try again." in words(response)


def test_a_closed_account_is_told_so_only_with_its_password(client):
    person = make_person()
    make_admin()
    set_active(person=person, is_active=False, by=None)

    assert WRONG in words(sign_in(client, person.email, "wrong"))
    response = sign_in(client, person.email)

    assert response.url == "/accounts/inactive/"
    assert "This account is closed" in words(client.get(response.url))


def test_demo_accounts_are_no_door_where_real_people_work(client, settings):
    person = make_person(email="admin@retex.example")
    settings.TESTING = settings.EMBEDDED = settings.DEBUG = False

    assert WRONG in words(sign_in(client, person.email))


@pytest.mark.parametrize("is_demo", [True, False])
def test_only_the_demonstration_speaks_of_passwords_in_the_terminal(client, settings, is_demo):
    settings.EMBEDDED = is_demo

    assert ("printed in the terminal" in words(client.get(LOGIN))) == is_demo


def test_signing_out_asks_when_it_comes_by_a_link(client):
    client.force_login(make_person())

    assert "Sign out?" in words(client.get("/accounts/logout/"))
    assert client.post("/accounts/logout/").url == LOGIN
    assert client.get("/settings/").url == f"{LOGIN}?next=/settings/"


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(
    "name",
    [
        "account_login",
        "account_signup",
        "account_inactive",
        "account_reset_password",
        "account_reset_password_done",
        "account_reset_password_from_key_done",
        "account_email_verification_sent",
    ],
)
def test_strangers_find_every_page_before_sign_in_in_their_language(client, name, language):
    response = client.get(reverse(name), headers={"accept-language": language})

    assert response.status_code == 200
    assert f'<html lang="{language}"' in response.content.decode()
    assert 'class="entrance"' in response.content.decode()


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (LOGIN, {"login": "a\x00@company.test", "password": "\x00"}),
        (LOGIN, {"login": "x" * 5000, "password": "x" * 5000}),
        (LOGIN, {}),
        (RESET, {"email": "\x00"}),
        (RESET, {"email": "a" * 300 + "@company.test"}),
        ("/accounts/password/reset/key/zzzzzzzzzzzzz-set-password/", {"password1": "x"}),
        ("/accounts/password/reset/key/1-%00/", {}),
        ("/accounts/confirm-email/x/", {}),
    ],
)
def test_nothing_typed_breaks_the_pages(client, path, data):
    assert client.post(path, data).status_code < 500


# --- Passwords ---------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_new_password_by_mail(client, language):
    person = make_person(language=language)
    elsewhere = Client()
    elsewhere.force_login(person)

    done = client.post(RESET, {"email": person.email}, headers={"host": "127.0.0.1"})
    [message] = mail.outbox
    opened = client.get(link_in(message), follow=True)
    kept = client.post(
        opened.redirect_chain[-1][0], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    )

    assert done.url == "/accounts/password/reset/done/"
    assert message.to == [person.email]
    assert f'<html lang="{language}"' in html_of(message)
    assert link_in(message) in html_of(message)
    assert kept.url == "/accounts/password/reset/key/done/"
    assert sign_in(Client(), person.email, NEW_PASSWORD).url == "/"
    assert elsewhere.get("/settings/").status_code == 302
    assert "no longer works" in words(Client().get(link_in(message), follow=True))
    entries = AuditEntry.objects.filter(action="person.password")
    assert [(entry.actor, entry.target, entry.details) for entry in entries] == [
        (person, person.email, {})
    ]


def test_mails_lead_to_the_address_of_the_product_whatever_host_was_asked(client, settings):
    settings.BASE_URL = "https://retex.company.test"
    person = make_person()

    client.post(RESET, {"email": person.email}, headers={"host": "localhost"})

    assert re.findall(r"https?://[^/]+", mail.outbox[0].body) == ["https://retex.company.test"]


def test_asking_for_a_password_does_not_tell_whether_the_account_exists(client):
    person = make_person()

    known = client.post(RESET, {"email": person.email})
    unknown = client.post(RESET, {"email": "nobody@company.test"})

    assert known.url == unknown.url
    assert [message.to for message in mail.outbox] == [[person.email], ["nobody@company.test"]]
    assert "there is no account with the address nobody@company.test" in mail.outbox[1].body
    assert "/password/reset/key/" not in mail.outbox[1].body


def test_a_mail_server_that_is_away_is_told_in_words(client, monkeypatch):
    person = make_person()

    def refuse(self, messages):
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    response = client.post(RESET, {"email": person.email})

    assert response.status_code == 503
    assert "The mail could not be sent. Try again in a few minutes." in words(response)


def test_a_new_password_is_long_enough_and_typed_twice(client):
    person = make_person()
    client.post(RESET, {"email": person.email})
    path = client.get(link_in(mail.outbox[0])).url

    short = words(client.post(path, {"password1": "short", "password2": "short"}))
    different = words(client.post(path, {"password1": NEW_PASSWORD, "password2": "other"}))

    assert "at least 10 characters" in short
    assert "the same password" in different
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_changing_the_password_keeps_this_session_and_tells_by_mail(client):
    person = make_person()
    client.force_login(person)
    other = Client()
    other.force_login(person)
    path = "/accounts/password/change/"

    page = client.get(path)
    wrong = client.post(
        path, {"oldpassword": "wrong", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    )
    changed = client.post(
        path, {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    )

    assert "At least 10 characters." in words(page)
    assert "This is not your current password." in words(wrong)
    assert changed.url == "/settings/"
    assert "Your new password is set." in words(client.get(changed.url))
    assert other.get("/settings/").status_code == 302
    [message] = mail.outbox
    assert (message.to, message.subject) == ([person.email], "Retex · Your password was changed")


def test_a_password_change_stands_when_its_mail_cannot_be_sent(client, monkeypatch):
    person = make_person()
    client.force_login(person)

    def refuse(self, messages):
        raise OSError("no route")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    client.post(
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD},
    )

    person.refresh_from_db()
    assert person.check_password(NEW_PASSWORD)


def test_who_has_no_password_chooses_one(client):
    person = make_person()
    person.set_unusable_password()
    person.save()
    client.force_login(person)

    response = client.get("/accounts/password/change/", follow=True)

    assert response.redirect_chain == [("/accounts/password/set/", 302)]
    assert "Choose a password" in words(response)


def test_ones_own_address_is_not_changed_at_the_library_s_page(client):
    person = make_person()
    client.force_login(person)

    for method in (client.get, client.post):
        response = method("/accounts/email/", {"email": "other@company.test", "action_add": "1"})
        assert response.url == "/settings/"
    assert mail.outbox == []


# --- Signing up --------------------------------------------------------------------------------


def test_without_listed_domains_the_page_says_whom_to_ask(client):
    page = client.get("/accounts/signup/")
    tried = client.post(
        "/accounts/signup/",
        {"name": "Eve", "email": "eve@company.test", "password1": NEW_PASSWORD},
    )

    assert "Ask whoever looks after Retex in your company" in words(page)
    assert "Ask whoever looks after Retex in your company" in words(tried)
    assert not User.objects.filter(email="eve@company.test").exists()


@pytest.fixture
def _open_to_company(settings):
    settings.RETEX_SIGNUP_DOMAINS = ["company.test"]
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


@pytest.mark.usefixtures("_open_to_company")
def test_an_address_of_the_company_opens_an_account_once_it_is_confirmed(client):
    data = {"name": "Eve Éluard", "email": "Eve@Company.test", "password1": NEW_PASSWORD}

    sent = client.post("/accounts/signup/", data, headers={"accept-language": "fr"})
    [message] = mail.outbox
    before = sign_in(Client(), "eve@company.test", NEW_PASSWORD)
    asked = client.get(link_in(message))
    confirmed = client.post(link_in(message))
    after = sign_in(Client(), "eve@company.test", NEW_PASSWORD)

    person = User.objects.get(email="eve@company.test")
    roles = [(row.department, row.role) for row in person.memberships.all()]
    assert (person.name, person.language, roles) == ("Eve Éluard", "fr", [(None, "reader")])
    assert sent.url == before.url == "/accounts/confirm-email/"
    assert "eve@company.test" in words(asked)
    assert confirmed.status_code == 302
    assert after.url == "/"
    assert AuditEntry.objects.filter(action="person.created", target=person.email).exists()


@pytest.mark.usefixtures("_open_to_company")
def test_other_addresses_are_refused_and_what_was_typed_stays(client):
    data = {"name": "Eve", "email": "eve@elsewhere.test", "password1": NEW_PASSWORD}

    page = client.post("/accounts/signup/", data)

    assert "Accounts are for addresses at: company.test." in words(page)
    assert 'value="eve@elsewhere.test"' in page.content.decode()
    assert not User.objects.filter(email="eve@elsewhere.test").exists()


@pytest.mark.usefixtures("_open_to_company")
def test_signing_up_twice_does_not_tell_whether_the_account_exists(client):
    person = make_person()

    response = client.post(
        "/accounts/signup/", {"name": "Eve", "email": person.email, "password1": NEW_PASSWORD}
    )

    [message] = mail.outbox
    assert response.url == "/accounts/confirm-email/"
    assert "It has one already" in message.body
    assert User.objects.filter(email=person.email).count() == 1


@pytest.mark.usefixtures("_open_to_company")
def test_accounts_made_by_an_administrator_need_no_confirmation(client):
    person = make_person()

    assert sign_in(client, person.email).url == "/"
    assert mail.outbox == []


@pytest.mark.usefixtures("_open_to_company")
def test_following_the_link_of_a_mail_confirms_the_address(client):
    person = make_person()
    client.post(RESET, {"email": person.email})
    path = client.get(link_in(mail.outbox[0])).url
    client.post(path, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})

    assert sign_in(Client(), person.email, NEW_PASSWORD).url == "/"


def test_a_confirmation_link_that_is_none_leads_on(client):
    page = client.get("/accounts/confirm-email/nonsense/")

    assert "This link no longer works" in words(page)
