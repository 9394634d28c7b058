"""Promise DENY: what is not granted is refused, and forbidden looks like non-existent."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from accounts.actions import create_token
from tests.promises.company import WORDS
from tests.promises.conftest import ask, call
from tests.promises.routes import API, MONITOR_SENT, OWN, PAGES, admin_patterns, every_name

pytestmark = pytest.mark.django_db

MEMBERS = frozenset(
    ["outsider", "foreign_curator", "reader", "colleague", "curator", "author", "admin"]
)
SIGNED = MEMBERS | {"nobody"}
LEGAL = frozenset(["reader", "colleague", "curator", "author", "admin"])
READERS = {
    "draft": frozenset({"author"}),
    "private": frozenset({"author"}),
    "department": LEGAL,
    "company": MEMBERS,
    "archived": MEMBERS,
}
"""State of a prompt to who may read it and all that hangs on it."""
EDITORS = {
    "draft": frozenset({"author"}),
    "private": frozenset({"author"}),
    "department": frozenset({"author", "curator", "admin"}),
    "company": frozenset({"author", "curator", "admin"}),
    "archived": frozenset({"author", "curator", "admin"}),
}
CURATORS = {state: people - {"author"} for state, people in EDITORS.items()}
RIGHTS = {
    "open": SIGNED | {"anonymous"},
    "signed": SIGNED,
    "member": MEMBERS,
    "role": MEMBERS,
    "publish": frozenset(["foreign_curator", "colleague", "curator", "author", "admin"]),
    "company": frozenset({"admin"}),
    "curator": frozenset({"foreign_curator", "curator", "admin"}),
    "admin": frozenset({"admin"}),
}
"""Right that no prompt decides to who has it."""
TELLING = ("anonymous", "nobody", "outsider", "colleague", "curator", "author", "admin")
"""Those whose rights differ most: the API asks the same features as the pages, where everybody is asked."""
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
ODD = {
    # (address, method, state): what a good use meets there instead.
    ("prompt-archive", "POST", "draft"): 422,
    ("api:prompt", "DELETE", "draft"): 409,  # its monitors keep it
}
"""Cells where the state itself stands in the way of somebody who may."""


def may(right, state):
    """Who has a right on a thing in a state."""
    by_state = {"read": READERS, "edit": EDITORS, "curate": CURATORS}
    if right in ("own", "alone"):
        return frozenset({"author"})
    if right == "try":
        return READERS[state] & RIGHTS["publish"]
    return by_state[right][state] if right in by_state else RIGHTS[right]


def expected(who, act, state, *, refused_at_the_door):
    """The status of one cell."""
    if who == "anonymous" and act.guest is not None:
        return act.guest
    if who in may(act.right, state):
        return act.status
    if who == "anonymous":
        return refused_at_the_door
    hidden = state is not None and who not in READERS[state]
    return 404 if hidden or act.right in ("role", "alone") else 403


def test_deny_every_address_is_in_a_table():
    """DENY: an address nobody thought about fails here."""
    named = {*PAGES, *OWN, *(f"api:{name}" for name in API)}

    walked = {name for name in every_name() if not name.startswith("admin:")}

    assert sorted(walked ^ named) == []


def cells(table):
    """Each method of each address with a state of what it is about; None where that plays no part."""
    for name, route in table.items():
        for method, act in route.acts.items():
            for state in WORDS if route.of else [None]:
                yield name, route, method, act, state


def asked_by(state, people):
    """Who asks: people without a role meet the same in every state, so a single one will do."""
    alike = {"anonymous", "nobody"} if state not in (None, "company") else set()
    return [who for who in people if who not in alike]


def test_deny_pages_for_everybody_in_every_state(company, clients):
    """DENY: each page and each act on it, for each person and each state of what it is about."""
    wrong = []
    for name, route, method, act, state in cells(PAGES):
        things = company.things[state or "company"]
        path = route.path(name, company, things)
        data = None if method == "GET" else act.sends(company, things)
        for who in asked_by(state, clients):
            status = ask(clients[who], method, path, data).status_code
            wanted = expected(who, act, state, refused_at_the_door=302)
            if who in may(act.right, state):
                wanted = ODD.get((name, method, state), wanted)
            if status != wanted:
                wrong.append((name, method, state, who, status, wanted))

    assert wrong == []


def test_deny_the_api_for_everybody_in_every_state(company, client, callers):
    """DENY: the same for programs, whose tokens hold every scope their person can give."""
    wrong = []
    for name, route, method, act, state in cells(API):
        things = company.things[state or "company"]
        path = route.path(f"api:{name}", company, things).removeprefix("/api/v1/")
        data = None if method == "GET" else act.sends(company, things)
        for who in asked_by(state, TELLING):
            status = call(client, method, path, data, **callers[who]).status_code
            wanted = expected(who, act, state, refused_at_the_door=401)
            if who in may(act.right, state):
                wanted = ODD.get((f"api:{name}", method, state), wanted)
            if status != wanted:
                wrong.append((name, method, state, who, status, wanted))

    assert wrong == []


def test_deny_a_token_does_what_its_scopes_say(company, client):
    """DENY: reading needs read, writing needs write, provider accounts need admin."""
    things, admin = company.things["company"], company.person("admin")
    headers = {
        scope: {
            "authorization": f"Bearer {create_token(person=admin, name=scope, scopes=[scope], by=admin)[1]}"
        }
        for scope in ("read", "write", "admin")
    }
    wrong = []
    for name, route in API.items():
        path = route.path(f"api:{name}", company, things).removeprefix("/api/v1/")
        for method, act in route.acts.items():
            needed = 0 if method == "GET" or name == "render" else 1
            if act.right == "admin":
                needed = 2
            for rank, scope in enumerate(headers):
                answer = call(client, method, path, act.sends(company, things), **headers[scope])
                is_refused = answer.status_code == 403 and "scope" in answer.content.decode()
                if is_refused != (rank < needed):
                    wrong.append((name, method, scope, answer.status_code))

    assert wrong == []


def test_deny_a_monitor_of_what_one_cannot_edit(company, client, callers):
    """DENY: the prompt a new monitor watches stands in the body, and is as hidden there."""
    made = {}
    for state, things in company.things.items():
        body = {
            name: value(company, things) if callable(value) else value
            for name, value in MONITOR_SENT.items()
        }
        for who in asked_by(None, callers):
            body["target"] = company.target.pk
            made[state, who] = call(client, "POST", "monitors/", body, **callers[who]).status_code

    assert made == {
        (state, who): 401
        if who == "anonymous"
        else 422
        if who not in READERS[state]
        else 201
        if who in EDITORS[state]
        else 403
        for state in WORDS
        for who in (*SIGNED, "anonymous")
    }


def test_deny_methods_that_are_not_offered(company, clients, client, callers):
    """DENY: whatever else is tried at an address is 405, also by those who may everything."""
    things, wrong = company.things["company"], []
    for table, space in ((PAGES, ""), (API, "api:")):
        for name, route in table.items():
            if name.startswith("account_") or name in ("own-address", "api-docs"):
                continue  # the framework's own pages answer methods as they like
            path = route.path(space + name, company, things)
            for method in {*UNSAFE, "GET"} - route.acts.keys():
                if (name, method) == ("monitors", "POST"):
                    continue  # test_deny_a_monitor_of_what_one_cannot_edit
                headers = callers["admin"] if space else {}
                status = ask(clients["admin"], method, path, {}, **headers).status_code
                if status != 405:
                    wrong.append((name, method, status))

    assert wrong == []


def test_deny_what_is_one_persons_own(company, clients):
    """DENY: tokens and messages of others do not exist, not even for administrators."""
    paths = {
        name: {who: reverse(name, args=[row.pk]) for who, row in getattr(company, rows).items()}
        for name, rows in OWN.items()
    }

    sent = {"name": "another", "cadence": "weekly"}
    answers = {
        (name, owner, who): ask(
            clients[who], *(["GET", path] if name == "notification" else ["POST", path, sent])
        ).status_code
        for name, owned in paths.items()
        for owner, path in owned.items()
        for who in clients
    }

    own = {
        (name, owner, who): 302 if who in (owner, "anonymous") else 404
        for name in OWN
        for owner in SIGNED
        for who in (*SIGNED, "anonymous")
    }
    # Messages go with the last role; one's tokens can still be revoked.
    assert answers == own | {("notification", "nobody", "nobody"): 404}


def test_deny_the_administration_site_to_everybody_but_administrators(company, clients):
    """DENY: every address of the site, as a stranger and as each colleague."""
    values = {"object_id": "1", "content_type_id": "1", "app_label": "kb", "url": "nowhere"}
    paths = set()
    for pattern in admin_patterns():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values[found[1]], pattern)
        path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda found: values[found[1]], path)
        paths.add("/" + path.replace("^", "").replace("$", ""))
    opened = set()
    for path in sorted(paths):
        for who in ("anonymous", "outsider", "curator", "admin"):
            browser = clients[who]
            for method in ("GET", "POST"):
                answer = ask(browser, method, path, {} if method == "POST" else None)
                if who != "admin" and answer.status_code not in (302, 403, 404):
                    opened.add((path, who, method, answer.status_code))
                if answer.status_code >= 500:
                    opened.add((path, who, method, answer.status_code))

    assert len(paths) > 100
    assert opened == set()


# --- Forbidden looks like non-existent -----------------------------------------------------------


def _shape(answer, *names):
    """What an answer tells, without what names the address itself or changes with each answer."""
    page = answer.content.decode()
    for name in sorted(map(str, names), key=len, reverse=True):
        page = re.sub(rf"\b{re.escape(name)}\b", "X", page)
    page = re.sub(r'"[A-Za-z0-9]{64}"', "", page)  # tokens against forged requests
    return answer.status_code, sorted(answer.headers), page


def test_deny_hidden_pages_look_like_unknown_ones(company, clients):
    """DENY: status, headers and body tell nobody that there is something."""
    wrong = []
    for name, route, method, act, state in cells(PAGES):
        if state not in ("draft", "private", "department"):
            continue
        things = company.things[state]
        taken = route.takes(company, things)
        data = None if method == "GET" else act.sends(company, things)
        there = ask(clients["outsider"], method, reverse(name, args=taken), data)
        nowhere = ask(clients["outsider"], method, reverse(name, args=route.unknown), data)
        if _shape(there, taken[0], route.unknown[0]) != _shape(nowhere, taken[0], route.unknown[0]):
            wrong.append((name, method, state))

    assert wrong == []


def test_deny_hidden_things_of_the_api_look_like_unknown_ones(company, client, callers):
    """DENY: the same for programs."""
    wrong = []
    for name, route, method, act, state in cells(API):
        if state not in ("draft", "private", "department"):
            continue
        things = company.things[state]
        taken = route.takes(company, things)
        data = None if method == "GET" else act.sends(company, things)
        answers = [
            call(
                client,
                method,
                reverse(f"api:{name}", args=arguments).removeprefix("/api/v1/"),
                data,
                **callers["outsider"],
            )
            for arguments in (taken, route.unknown)
        ]
        if _shape(answers[0], taken[0], route.unknown[0]) != _shape(
            answers[1], taken[0], route.unknown[0]
        ):
            wrong.append((name, method, state))

    assert wrong == []
