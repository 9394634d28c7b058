"""Promises about everything that leaves the product: SECRET-OUT, PRIVATE-CACHE, OFFLINE, INERT, REVOKE-60."""

from __future__ import annotations

import csv
import io
import logging
import re
from html.parser import HTMLParser

import pytest
from django.apps import apps
from django.core import mail
from django.test import Client

from accounts import actions as accounts
from kb.admin import site
from kb.community import actions as community
from kb.llm.actions import save_connection
from kb.notifications.actions import deliver_due_mails
from kb.prompts import actions as prompts
from kb.prompts.writeup import WriteUpSections
from tests.factories import NOW, PASSWORD, later, make_person, make_report, make_tool
from tests.promises.company import MARK, WORDS
from tests.promises.conftest import ask, call
from tests.promises.routes import API, PAGES

pytestmark = pytest.mark.django_db

KEY = "sk-the-key-of-a-provider-9876"
OF_EVERYBODY = ("/healthz", "/readyz")
"""Pages that tell the machine room the same whoever asks."""


def opened(company, clients, who="admin"):
    """Path and answer of every page this person can look at, about a published prompt."""
    for name, route in PAGES.items():
        if "GET" in route.acts:
            path = route.path(name, company, company.things["company"])
            yield path, ask(clients[who], "GET", path)


def answered(company, client, callers, who="admin"):
    """Path and answer of everything a program of this person can read."""
    for name, route in API.items():
        if "GET" in route.acts:
            path = route.path(f"api:{name}", company, company.things["company"])
            yield path, call(client, "GET", path.removeprefix("/api/v1/"), **callers[who])


# --- SECRET-OUT ----------------------------------------------------------------------------------


def test_secret_out_of_pages_api_logs_and_names(company, clients, client, callers, caplog):
    """SECRET-OUT: a provider's key, a token and a password are in nothing that is shown or logged."""
    admin = company.person("admin")
    with caplog.at_level(logging.DEBUG):
        connection = save_connection(
            by=admin,
            connection=company.idle,
            provider="openai_compatible",
            base_url="https://api.vendor.test/v1",
            api_key=KEY,
        )
        token, text = accounts.create_token(person=admin, name="mine", scopes=["admin"], by=admin)
        caller = {"authorization": f"Bearer {text}"}
        quiet = ("connection-models", "api:models")
        paths = [
            route.path(space + name, company, company.things["company"])
            for space, table in (("", PAGES), ("api:", API))
            for name, route in table.items()
            if "GET" in route.acts and space + name not in quiet
        ]
        paths += [
            f"/admin/{model._meta.app_label}/{model._meta.model_name}/{row.pk}/change/"
            for model in site._registry
            for row in model._default_manager.all()[:1]
        ]
        paths += [
            f"/admin/kb/connection/{connection.pk}/change/",
            f"/admin/accounts/apitoken/{token.pk}/change/",
            f"/admin/accounts/user/{admin.pk}/change/",
            "/admin/accounts/auditentry/?q=connection",
        ]
        pages = {
            path: ask(clients["admin"], "GET", path, **(caller if "/api/" in path else {}))
            for path in paths
        }
        ask(
            clients["anonymous"],
            "POST",
            "/accounts/login/",
            {"login": admin.email, "password": PASSWORD},
        )
    secrets = {KEY, text, token.digest, PASSWORD, connection.sealed_key, admin.password}
    rows = [row for model in apps.get_models() for row in model._default_manager.all()[:50]]
    told = {
        **{path: answer.content.decode() for path, answer in pages.items()},
        "log": caplog.text,
        "names": " ".join(f"{row!r} {row}" for row in (*rows, connection, token, admin)),
    }

    assert [
        (place, secret) for place, words in told.items() for secret in secrets if secret in words
    ] == []
    assert "…9876" in told[f"/connections/{connection.pk}/"]


def test_secret_out_of_refusals(company, clients):
    """SECRET-OUT: a form that comes back with a mistake does not bring the secret with it."""
    tries = [
        ("admin", "/connections/new/", {"service": "openai", "name": "", "api_key": KEY}),
        ("admin", f"/connections/{company.idle.pk}/edit/", {"service": "nonsense", "api_key": KEY}),
        ("anonymous", "/accounts/login/", {"login": "nobody@company.test", "password": KEY}),
        ("author", "/accounts/password/change/", {"oldpassword": KEY, "password1": KEY}),
    ]

    pages = [ask(clients[who], "POST", path, data) for who, path, data in tries]

    assert [page.status_code for page in pages] == [422, 422, 200, 200]
    assert [KEY in page.content.decode() for page in pages] == [False] * 4


# --- PRIVATE-CACHE -------------------------------------------------------------------------------


def test_private_cache_keeps_no_page_of_a_person(company, clients, client, callers):
    """PRIVATE-CACHE: every answer forbids shared caches to keep it, and varies with who asks."""
    careless = []
    for path, answer in (
        *opened(company, clients),
        *opened(company, clients, "anonymous"),
        *answered(company, client, callers),
    ):
        rules = answer.get("Cache-Control", "")
        varies = {name.strip() for name in answer.get("Vary", "").split(",")}
        is_kept_out = bool(re.search(r"private|no-store", rules)) and "public" not in rules
        if not is_kept_out or not ({"Cookie", "Accept-Language"} <= varies):
            careless.append((path, rules, varies))

    assert [entry for entry in careless if entry[0] not in OF_EVERYBODY] == []


# --- OFFLINE -------------------------------------------------------------------------------------


class _Fetched(HTMLParser):
    """What a browser fetches by itself, or would submit to, while it shows a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []
        self.inline = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        fetching = {
            "link": "href",
            "form": "action",
            "use": "href",
            "object": "data",
            "base": "href",
        }
        for name in ("src", "srcset", "poster", "background", "formaction", fetching.get(tag, "")):
            if given.get(name):
                self.addresses.append(given[name])
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [name for name in given if name.startswith("on") or name == "style"]


def fetched(page):
    reader = _Fetched()
    reader.feed(page)
    return reader


def test_offline_no_page_fetches_from_another_host(company, clients):
    """OFFLINE: scripts, styles, images and forms are our own, and the policy allows no others."""
    foreign = []
    for path, answer in (*opened(company, clients), *opened(company, clients, "author")):
        if answer.get("Content-Type", "").startswith("text/html"):
            found = fetched(answer.content.decode()).addresses
            foreign += [(path, a) for a in found if re.match(r"[a-z]+:|//", a) and "data:" not in a]
            policy = answer["Content-Security-Policy"]
            foreign += [(path, policy)] if re.search(r"https?:|\*|unsafe", policy) else []

    assert foreign == []


# --- INERT ---------------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(7)</script>"
    '"><img src=x onerror=alert(7)>'
    "![pixel](https://spy.test/pixel.png)"
    "[go](javascript:alert(7))"
    "{{ 7|add:7 }}{% debug %}"
    "</textarea></title><svg onload=alert(7)>"
)
FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "=HYPERLINK(1)")


@pytest.fixture
def hostile(company):
    """A prompt with everything that hangs on it, all of it hostile, by a person with a hostile name."""
    person = make_person("admin", name=HOSTILE[:120], email="eve@company.test")
    prompt = prompts.create_prompt(
        fields=prompts.PromptFields(
            title=HOSTILE[:160],
            summary=HOSTILE,
            text=HOSTILE + "{{ n }}",
            system=HOSTILE,
            write_up=WriteUpSections(
                purpose=HOSTILE, worked=HOSTILE, failed=HOSTILE, limits=HOSTILE
            ),
            tools=[make_tool("chatgpt")],
            tags=[HOSTILE[:50]],
            language="en",
            status="published",
        ),
        by=person,
        now=NOW,
        change_note=HOSTILE,
    )
    community.comment(prompt=prompt, text=HOSTILE, by=person, now=NOW)
    report = make_report(
        prompt,
        person,
        title=HOSTILE[:160],
        lesson=HOSTILE[:200],
        evidence=HOSTILE,
        model=HOSTILE[:80],
    )
    community.make_wish(
        title=HOSTILE[:160], text=HOSTILE, language="en", department=None, by=person, now=NOW
    )
    return person, prompt, report


def test_inert_words_never_become_markup(company, clients, hostile):
    """INERT: what people write shows as what they wrote: no script, no foreign image, no template."""
    person, prompt, report = hostile
    browser = Client()
    browser.force_login(person)
    paths = [
        *("/", "/prompts/", "/prompts/?q=script", "/retrospectives/", "/wanted/", "/mine/"),
        *(f"/prompts/{prompt.slug}/{part}" for part in ("", "edit/", "versions/", "diff/")),
        f"/prompts/{prompt.slug}/versions/1/",
        f"/retrospectives/{report.pk}/",
        f"/retrospectives/{report.pk}/edit/",
        "/settings/",
        "/people/",
        f"/people/{person.pk}/",
        f"/prompts/?q={HOSTILE}&tag={HOSTILE}",
        f"/retrospectives/?q={HOSTILE}&prompt={HOSTILE}",
        f"/wanted/new/?title={HOSTILE}",
        f"/prompts/new/?title={HOSTILE}",
        "/admin/kb/prompt/",
    ]

    pages = {path: ask(browser, "GET", path).content.decode() for path in paths}

    runs = {path: fetched(page).inline for path, page in pages.items() if "/admin/" not in path}
    assert {path: found for path, found in runs.items() if found} == {}
    for page in pages.values():
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<svg onload" not in page
        assert 'src="https://spy.test' not in page
        assert 'href="javascript:' not in page
        assert "14{" not in page
    assert "&lt;script&gt;alert(7)" in pages[f"/prompts/{prompt.slug}/"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_inert_cells_of_an_export_are_no_formulas(company, clients, formula):
    """INERT: a spreadsheet that opens the export runs nothing, in any cell, in either language."""
    author = company.person("author")
    make_report(None, author, title=f"{formula}", lesson=formula, evidence=formula, model=formula)
    for who in ("author", "outsider"):
        text = ask(clients[who], "GET", "/retrospectives/?format=csv").content.decode("utf-8-sig")
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]

        assert formula.strip()[-4:] in text
        assert [cell for cell in cells if re.match(r"[=+@\t\r]|-\D", cell)] == []


def test_inert_line_breaks_never_reach_a_header(company, clients, mailoutbox):
    """INERT: names and titles with line breaks make neither a header of a mail nor of an answer."""
    breaking = "Eve\r\nBcc: spy@spy.test\r\nX-Own: 1"
    author, watcher = company.person("author"), company.person("reader")
    accounts.save_profile(
        person=author,
        name=breaking,
        language="en",
        time_zone="Europe/Paris",
        has_key_shortcuts=True,
    )
    wish = community.make_wish(
        title=breaking, text="", language="en", department=None, by=watcher, now=NOW
    )
    prompt = prompts.create_prompt(
        fields=prompts.PromptFields(title=breaking, text="x", status="published", language="en"),
        by=author,
        now=NOW,
    )
    community.answer_wish(wish=wish, prompt=prompt, by=author, now=NOW)
    deliver_due_mails(now=later(hours=3), most=10_000)
    answers = [
        ask(clients["author"], "POST", path, {"next": breaking, "language": "en", "copy": breaking})
        for path in ("/language/", "/theme/")
    ]

    assert [sent for sent in mailoutbox if "Bcc: spy@spy.test" in sent.subject]
    for sent in mailoutbox:
        assert "spy@spy.test" not in str(sent.recipients())
        assert sent.message()["X-Own"] is None
    for answer in answers:
        assert [name for name in answer.headers if name.lower() in ("bcc", "x-own")] == []
        assert answer.url == "/"


@pytest.mark.parametrize(
    "target",
    ["https://spy.test/", "//spy.test", "\\\\spy.test", "javascript:alert(7)", "http:/spy.test"],
)
def test_inert_ways_back_stay_in_the_house(clients, target):
    """INERT: an address that is sent along to return to never leads to another host."""
    answers = [
        ask(clients["author"], "POST", "/language/", {"next": target, "language": "en"}),
        ask(clients["author"], "POST", "/theme/", {"next": target, "theme": "dark"}),
        ask(clients["author"], "GET", f"/accounts/login/?next={target}"),
    ]

    assert [answer.url for answer in answers] == ["/", "/", "/"]


# --- REVOKE-60 -----------------------------------------------------------------------------------


def statuses(company, clients, client, callers, who):
    """What this person meets at once: an open page, a hidden one, an act, and as a program."""
    things = company.things["department"]
    return [
        ask(clients[who], "GET", f"/prompts/{things.prompt.slug}/").status_code,
        ask(clients[who], "POST", f"/prompts/{things.prompt.slug}/verify/", {}).status_code,
        call(client, "GET", f"prompts/{things.prompt.slug}/", **callers[who]).status_code,
    ]


def test_revoke_60_a_lost_role_acts_at_the_next_request(company, clients, client, callers):
    """REVOKE-60: pages and programs see the role as it is, not as it was at sign-in."""
    curator, admin = company.person("curator"), company.person("admin")
    seen = [statuses(company, clients, client, callers, "curator")]

    for role in ("reader", None):
        accounts.set_role(person=curator, department=company.legal, role=role, by=admin)
        seen.append(statuses(company, clients, client, callers, "curator"))

    assert seen == [[200, 302, 200], [200, 403, 200], [404, 404, 404]]


def test_revoke_60_a_person_without_a_role_is_told_nothing_more(company, clients):
    """REVOKE-60: drafts, follow-ups and messages of one's own go with the last role."""
    author, admin = company.person("author"), company.person("admin")
    accounts.set_role(person=author, department=company.legal, role=None, by=admin)

    pages = [ask(clients["author"], "GET", path) for path in ("/", "/mine/", "/notifications/")]

    assert [page.status_code for page in pages] == [200, 200, 200]
    marked = re.compile("|".join(f"{word}{MARK}" for word in WORDS.values()), re.IGNORECASE)
    assert [marked.findall(page.content.decode()) for page in pages] == [[], [], []]


def test_revoke_60_a_closed_account_is_out_at_the_next_request(company, clients, client, callers):
    """REVOKE-60: session and tokens end, and no mail that was owed leaves any more."""
    curator, admin = company.person("curator"), company.person("admin")

    accounts.set_active(person=curator, is_active=False, by=admin)

    assert statuses(company, clients, client, callers, "curator") == [302, 302, 401]
    deliver_due_mails(now=later(hours=3), most=10_000)
    assert mail.outbox
    assert [sent for sent in mail.outbox if curator.email in sent.to] == []


def test_revoke_60_a_revoked_token_is_refused_at_the_next_request(company, client):
    """REVOKE-60: revocation and expiry act at once."""
    author = company.person("author")
    token, text = accounts.create_token(
        person=author, name="x", scopes=["read"], by=author, expires=later(hours=4)
    )
    headers = {"authorization": f"Bearer {text}"}
    before = call(client, "GET", "me/", **headers).status_code

    accounts.revoke_token(token=token, by=author, now=NOW)

    assert (before, call(client, "GET", "me/", **headers).status_code) == (200, 401)


def test_revoke_60_a_new_password_ends_other_sessions(company, clients):
    """REVOKE-60: whoever knew the old one is out."""
    author = company.person("author")

    accounts.set_password(person=author, password="kettle-comet-violin", by=author)

    assert ask(clients["author"], "GET", "/").status_code == 302
