"""Every address of the product: which methods it takes, who may use them, and what a good use sends.

A right is one word of RIGHTS in test_deny. `of` names the attribute of company.Things the address is
about; an address about nothing that has an owner says "".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.promises.company import Company, Things

type Sent = Callable[[Company, Things], dict[str, Any]]


@dataclass(frozen=True)
class Act:
    """One method of an address: the right it needs, the answer to a good use, and what that sends.

    `guest` is the answer to a good use by somebody who is not signed in, where it is another one.
    """

    right: str
    status: int
    sends: Sent = field(default=lambda company, things: {})
    guest: int | None = None


@dataclass(frozen=True)
class Route:
    """An address: the arguments it takes, what it is about, and its methods."""

    acts: Mapping[str, Act]
    of: str = ""
    takes: Callable[[Company, Things], list[Any]] = field(default=lambda company, things: [])
    unknown: tuple[Any, ...] = ()
    """Arguments that lead to nothing, in place of those of a thing."""

    def path(self, name: str, company: Company, things: Things) -> str:
        return reverse(name, args=self.takes(company, things))


def _slug(company: Company, things: Things) -> list[Any]:
    return [things.prompt.slug]


def _pk(of: str) -> Callable[[Company, Things], list[Any]]:
    return lambda company, things: [getattr(things, of).pk]


def _fixed(name: str) -> Callable[[Company, Things], list[Any]]:
    return lambda company, things: [getattr(company, name).pk]


def page(status: int = 200, right: str = "signed") -> dict[str, Act]:
    """Something to look at."""
    return {"GET": Act(right, status)}


def post(right: str, status: int = 302, **sent: Any) -> dict[str, Act]:
    """Something to do. Values that are functions are asked for each thing."""
    return {"POST": Act(right, status, _filled(sent))}


def form(right: str, status: int = 302, *, opens: int = 200, **sent: Any) -> dict[str, Act]:
    """Something to fill in and send."""
    return {"GET": Act(right, opens), "POST": Act(right, status, _filled(sent))}


def do(method: str, right: str, status: int = 200, **sent: Any) -> dict[str, Act]:
    """Something a program does."""
    return {method: Act(right, status, _filled(sent))}


def _filled(sent: Mapping[str, Any]) -> Sent:
    return lambda company, things: {
        name: value(company, things) if callable(value) else value for name, value in sent.items()
    }


def on_prompt(acts: Mapping[str, Act], *more: Any) -> Route:
    """About a prompt, by its slug."""
    return Route(
        acts, "prompt", lambda company, things: [things.prompt.slug, *more], ("nowhere", *more)
    )


def on(of: str, acts: Mapping[str, Act]) -> Route:
    """About something that hangs on a prompt, by its number."""
    return Route(acts, of, _pk(of), (999_999,))


def fixed(acts: Mapping[str, Act], name: str) -> Route:
    """About something of the company that is no prompt's."""
    return Route(acts, "", _fixed(name), (999_999,))


def _grader(acts: Mapping[str, Act], unknown: str) -> Route:
    """About the judge of the company."""
    return Route(acts, "", lambda company, things: ["judge"], (unknown,))


def _named(get: Callable[[Company, Things], Any]) -> Any:
    return get


_NEW_PROMPT = {"title": "A new one", "text": "Do {{ it }}.", "visibility": "company", "do": "save"}
_EDITED = {
    **_NEW_PROMPT,
    "edition": _named(lambda c, t: t.prompt.edition),
    "departments": "legal",
    "language": "en",
}
_MONITOR = {
    "target": _named(lambda c, t: c.target.pk),
    "schedule": "weekly",
    "follows": "yes",
    "case-0-name": "one",
    "case-0-v-n": "7",
    "case-0-rule-0-kind": "contains",
    "case-0-rule-0-value": "yes",
}
_REPORT = {
    "title": "What happened",
    "use_case": "summarise",
    "version": "none",
    "pasted_text": "Do it.",
    "tool": "chatgpt",
    "model": "gpt-x",
    "outcome": "worked",
    "minutes_checking": "5",
    "quality": "same",
    "lesson": "Ask first.",
    "language": "en",
    "is_anonymous": "0",
}
_CONNECTION = {
    "service": "simulated",
    "name": "Another",
    "calls_at_once": "8",
    "auth_header": "bearer",
    "max_tokens_field": "max_tokens",
    "seed_field": "seed",
}
_CAP = {"cap-most": "40", "cap-unit": "EUR", "cap-period": "day"}
_RETIREMENT = {"model": "old-model", "connection": "all", "retires": "2027-03-01"}
_PASSWORDS = {"password1": "kettle-comet-violin", "password2": "kettle-comet-violin"}


def _guests(status: int, guest: int) -> Act:
    """Open to everybody, with another answer for those who are signed in."""
    return Act("open", status, guest=guest)


PAGES: Mapping[str, Route] = {
    "home": Route(page()),
    "healthz": Route(page(right="open")),
    "readyz": Route(page(right="open")),
    "set-language": Route(post("open", language="en")),
    "set-theme": Route(post("open", theme="dark")),
    "style": Route(page()),
    # Accounts
    "own-address": Route({"GET": Act("signed", 302), "POST": Act("signed", 302)}),
    "account_login": Route(
        {"GET": _guests(302, 200), "POST": Act("open", 302, guest=200)}  # without a password
    ),
    "account_logout": Route({"GET": _guests(200, 302), "POST": Act("open", 302)}),
    "account_inactive": Route(page(right="open")),
    "account_signup": Route({"GET": _guests(302, 200)}),
    "account_reauthenticate": Route(form("signed", password="a-long-enough-secret")),
    "account_email": Route({"GET": Act("signed", 302), "POST": Act("signed", 302)}),
    "account_email_verification_sent": Route(page(right="open")),
    "account_change_password": Route(
        form("signed", oldpassword="a-long-enough-secret", **_PASSWORDS)
    ),
    "account_set_password": Route({"GET": Act("signed", 302), "POST": Act("signed", 302)}),
    "account_reset_password": Route(form("open", email="somebody@company.test")),
    "account_confirm_login_code": Route({"GET": Act("open", 302), "POST": Act("open", 302)}),
    "account_confirm_email": Route(page(right="open"), "", lambda c, t: ["nothing"]),
    "account_reset_password_from_key": Route(page(right="open"), "", lambda c, t: ["1", "nothing"]),
    "account_reset_password_from_key_done": Route(page(right="open")),
    "account_reset_password_done": Route(page(right="open")),
    "profile": Route(form("signed", name="New Name", language="en", time_zone="Europe/Paris")),
    "tokens": Route(form("signed", 200, name="mine", scopes="read", expires="90")),
    "notifications": Route(page()),
    "notifications-read": Route(post("signed")),
    "notifications-choices": Route(form("signed", drifted="on")),
    "unsubscribe": Route(
        {"GET": Act("open", 422), "POST": Act("open", 422)}, "", lambda c, t: ["damaged"]
    ),
    "people": Route(page(right="admin")),
    "person-new": Route(
        form("admin", name="Eve", email="eve@company.test", language="en", role_company="reader")
    ),
    "departments": Route(form("admin", name_en="Sport", name_fr="Le sport")),
    "department": fixed(form("admin", name_en="Law", name_fr="Le droit"), "legal"),
    # Prompts
    "prompts": Route(page()),
    "prompt-new": Route(form("publish", **_NEW_PROMPT)),
    "prompt-near": Route(page()),
    "prompt-detect": Route(post("signed", 200, text="[CLIENT]")),
    "prompt-preview": Route(post("signed", 200, text="[CLIENT]")),
    "prompt": on_prompt(page(right="read")),
    "prompt-edit": on_prompt(form("edit", **_EDITED)),
    "prompt-versions": on_prompt(page(right="read")),
    "prompt-version": on_prompt(page(right="read"), 1),
    "prompt-restore": on_prompt(post("edit"), 1),
    "prompt-diff": on_prompt(page(right="read")),
    "prompt-fill": on_prompt(post("read", 200, **{"v-n": "7"})),
    "prompt-watch": on_prompt(post("read", on="1")),
    "prompt-publish": on_prompt(post("edit")),
    "prompt-archive": on_prompt(post("edit")),
    "prompt-verify": on_prompt(post("curate", model="gpt-x")),
    "prompt-vote": on_prompt(post("read", on="1")),
    "prompt-signal": on_prompt(post("read", outcome="worked")),
    "prompt-comment": on_prompt(post("read", text="Well done.")),
    "comment-withdraw": on("comment", post("edit")),
    # Trying prompts
    "playground": on_prompt(form("try", **{"v-n": "7", "target": lambda c, t: c.target.pk})),
    "trial": on("trial", page(right="alone")),
    "trial-cancel": on("trial", post("alone")),
    "trial-delete": on("trial", post("alone")),
    "trial-keep": on("answer", post("alone", on="1")),
    "example-remove": on("example", post("edit")),
    # Reports, wishes, mine
    "retrospectives": Route(page()),
    "retrospective-new": Route(form("member", **_REPORT)),
    "retrospective": on("report", page(right="read")),
    "retrospective-edit": on("report", form("own", **_REPORT)),
    "retrospective-add": on("report", post("own", text="One more word.")),
    "retrospective-link": on(
        "report", post("own", kind="confirms", target=lambda c, t: f"/prompts/{t.prompt.slug}/")
    ),
    "retrospective-follow-up": on("report", post("own", text="Do it", kind="training")),
    "follow-up": on("follow_up", post("own", state="done")),
    "wishes": Route(page(right="member")),
    "wish-new": Route(form("member", title="Please", language="en")),
    "wish-support": fixed(post("member", on="1"), "wish"),
    "wish-answer": fixed(
        form("member", prompt=lambda c, t: c.things["company"].prompt.slug), "wish"
    ),
    "mine": Route(page()),
    # Finding
    "search-suggest": Route(page()),
    "search-recent": Route(form("signed", 204, q="nda")),
    "search-missed": Route(post("signed", 204)),
    "searches": Route(page()),
    "search-save": Route(form("signed", 422, name="mine", cadence="weekly")),  # of nothing yet
    "searches-missed": Route(page(right="curator")),
    # Drift and connections
    "monitor-new": on_prompt(form("edit", **_MONITOR)),
    "monitors": Route(page()),
    "monitor": on("monitor", page(right="read")),
    "monitor-edit": on("monitor", form("edit", **_MONITOR)),
    "monitor-baseline": on("monitor", post("edit")),
    "monitor-run": on("monitor", post("edit")),
    "monitor-learn": on("monitor", post("edit")),
    "incidents": Route(page()),
    "incident": on("incident", page(right="read")),
    "spending": Route(page(right="admin")),
    "cap-save": Route(post("admin", **_CAP, **{"cap-scope": "company"})),
    "cap-delete": fixed(post("admin"), "cap"),
    "model-calendar": Route(page()),
    "retirement-new": Route(form("admin", **_RETIREMENT)),
    "retirement-edit": fixed(form("admin", **_RETIREMENT), "retirement"),
    "retirement-delete": fixed(post("admin"), "retirement"),
    "monitor-compare": on("monitor", form("try", **{"with": lambda c, t: c.other.pk})),
    "monitor-accept": on("monitor", post("edit", note="Fine.")),
    "monitor-pause": on("monitor", post("edit", on="0")),
    "monitor-delete": on("monitor", form("edit")),
    "run": on("run", page(right="read")),
    "run-cancel": on("queued", post("edit")),
    "connections": Route(page(right="admin")),
    "connection-new": Route(form("admin", **_CONNECTION)),
    "graders": Route(page(right="admin")),
    "grader-choose": _grader(
        post("admin", **{"judge-target": lambda c, t: c.target.pk}), unknown="referee"
    ),
    "grader-try": _grader(post("admin", 200), unknown="referee"),
    "judge-accept": Route(post("admin", 409)),  # it has not changed
    "meaning": Route(page(right="admin")),
    "meaning-choose": Route(post("admin", target=lambda c, t: c.embeddings.pk)),
    "connection": fixed(page(right="admin"), "idle"),
    "connection-edit": fixed(form("admin", **_CONNECTION), "idle"),
    "connection-switch": fixed(post("admin", on="0"), "idle"),
    "connection-delete": fixed(form("admin"), "idle"),
    "connection-target": fixed(post("admin", **{"target-model": "simulated-stable"}), "idle"),
    "connection-prices": fixed(post("admin"), "idle"),
    "connection-cap": fixed(
        post("admin", **_CAP, **{"cap-scope": lambda c, t: f"connection-{c.idle.pk}"}), "idle"
    ),
    "connection-models": fixed(page(right="admin"), "idle"),
    "connection-try": fixed(post("admin", 200), "idle"),
    # People, whose addresses carry the number of one
    "person": Route(
        form("admin", role_company="reader"),
        "",
        lambda c, t: [c.person("nobody").pk],
        (999_999,),
    ),
    "person-active": Route(
        post("admin", on="0"), "", lambda c, t: [c.person("nobody").pk], (999_999,)
    ),
    "person-access": Route(post("admin"), "", lambda c, t: [c.person("nobody").pk], (999_999,)),
    "api-docs": Route(page()),
}
"""Name of an address for people to its route. Pages of the administration site are walked by kind."""

OWN: Mapping[str, str] = {
    "token-revoke": "tokens",
    "notification": "notifications",
    "search-change": "searches",
    "search-delete": "searches",
}
"""Addresses about something of one person that nobody else ever reaches: name to Company's attribute."""

_API_REPORT = {"title": "What happened", "lesson": "Ask first.", "outcome": "worked"}
_API_MONITOR = {
    "prompt": _named(lambda c, t: t.prompt.slug),
    "target": _named(lambda c, t: c.target.pk),
    "schedule": "weekly",
    "cases": [{"name": "one", "variables": {"n": "7"}, "assertions": []}],
}

API: Mapping[str, Route] = {
    "root": Route(page()),
    "schema": Route(page()),
    "me": Route(page()),
    "notifications": Route(page()),
    "notifications-read": Route(post("signed", 200)),
    "search": Route(page()),
    "suggest": Route(page(422)),  # of nothing typed
    "prompts": Route({**page(), **post("publish", 201, title="A new one", text="Do it.")}),
    "prompt": on_prompt(
        {**page(right="read"), **do("PATCH", "edit", summary="Other"), **do("DELETE", "edit", 204)}
    ),
    "versions": on_prompt(page(right="read")),
    "version": on_prompt(page(right="read"), 1),
    "restore": on_prompt(post("edit", 201), 1),
    "render": on_prompt(post("read", 200, values={"n": "7"})),
    "watch": on_prompt({**do("PUT", "read"), **do("DELETE", "read")}),
    "vote": on_prompt({**do("PUT", "read"), **do("DELETE", "read")}),
    "signals": on_prompt(
        {**page(right="read"), **post("read", 201, outcome="worked"), **do("DELETE", "read")}
    ),
    "comments": on_prompt({**page(right="read"), **post("read", 201, text="Well done.")}),
    "comment": on("comment", {**do("PATCH", "own", text="Other."), **do("DELETE", "edit", 204)}),
    "retrospectives": Route({**page(), **post("member", 201, **_API_REPORT)}),
    "retrospective": on("report", {**page(right="read"), **do("PATCH", "own", lesson="Other.")}),
    "addenda": on("report", post("own", 201, text="One more word.")),
    "follow-ups": on("report", post("own", 201, text="Do it")),
    "links": on("report", post("own", 201, kind="confirms", prompt=lambda c, t: t.prompt.slug)),
    "follow-up": on("follow_up", do("PATCH", "own", state="done")),
    "wishes": Route({**page(), **post("member", 201, title="Please")}),
    "wish": fixed(page(right="role"), "wish"),
    "wish-support": fixed({**do("PUT", "role"), **do("DELETE", "role")}, "wish"),
    "wish-answer": fixed(
        post("role", 200, prompt=lambda c, t: c.things["company"].prompt.slug), "wish"
    ),
    "departments": Route({**page(), **post("company", 201, name="Sport")}),
    "department": Route(
        {**page(), **do("PATCH", "company", position=3)}, "", lambda c, t: ["legal"], ("nowhere",)
    ),
    "tools": Route({**page(), **post("company", 201, name="Le Chat")}),
    "tool": Route(
        {**page(), **do("PATCH", "company", position=3)}, "", lambda c, t: ["chatgpt"], ("nowhere",)
    ),
    "use-cases": Route({**page(), **post("company", 201, name="Translate")}),
    "use-case": Route(
        {**page(), **do("PATCH", "company", position=3)},
        "",
        lambda c, t: ["summarise"],
        ("nowhere",),
    ),
    "tags": Route(page()),
    "monitors": Route(page()),
    "monitor-targets": Route(page()),
    "monitor": on(
        "monitor",
        {
            **page(right="read"),
            **do("PATCH", "edit", schedule="weekly"),
            **do("DELETE", "edit", 204),
        },
    ),
    "baseline": on("monitor", post("edit", 202)),
    "run-now": on("monitor", post("edit", 202)),
    "accept": on("monitor", post("edit", 200, note="Fine.")),
    "runs": on("monitor", page(right="read")),
    "run": on("run", page(right="read")),
    "run-cancel": on("queued", post("edit", 200)),
    "trials": on_prompt(post("try", 202, targets=lambda c, t: [c.target.pk], values={"n": "7"})),
    "trial": on("trial", page(right="alone")),
    "connections": Route(
        {**page(right="admin"), **post("admin", 201, name="Another", provider="simulated")}
    ),
    "connection": fixed(
        {
            **page(right="admin"),
            **do("PATCH", "admin", is_enabled=False),
            **do("DELETE", "admin", 204),
        },
        "idle",
    ),
    "models": fixed(page(right="admin"), "idle"),
    "prices": fixed(
        {
            **page(right="admin"),
            **do("PUT", "admin", model="m", input_per_million="1", output_per_million="2"),
        },
        "idle",
    ),
    "targets": Route({**page(right="admin"), **post("admin", 201, connection="Idle", model="m")}),
    "graders": Route(page(right="admin")),
    "grader": _grader(
        {
            **page(right="admin"),
            **do("PUT", "admin", target=lambda c, t: c.target.pk),
            **do("DELETE", "admin", 204),
        },
        unknown="referee",
    ),
    "judge-accept": Route(post("admin", 409)),  # it has not changed
    "semantic-search": Route(
        {
            **page(right="admin"),
            **do("PUT", "admin", target=lambda c, t: c.embeddings.pk),
            **do("DELETE", "admin", 204),
        }
    ),
    "target": fixed(page(right="admin"), "target"),
    "nothing": Route(
        {method: Act("signed", 404) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")},
        "",
        lambda c, t: ["no/such/thing/"],
    ),
}
"""Name of an address for programs, without its `api:`, to its route."""

MONITOR_SENT: Mapping[str, Any] = _API_MONITOR
"""Setting up a monitor names the prompt in the body, not in the address: it has a test of its own."""


def every_name() -> set[str]:
    """The names of all addresses, namespaces before a colon."""
    return {name for name, _pattern in _walk(get_resolver())}


def admin_patterns() -> list[str]:
    """The addresses of the administration site as Django spells them."""
    return [pattern for name, pattern in _walk(get_resolver()) if name.startswith("admin:")]


def _walk(resolver: URLResolver, prefix: str = "", space: str = "") -> Iterator[tuple[str, str]]:
    for entry in resolver.url_patterns:
        pattern = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield space + (entry.name or pattern), pattern
        else:
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from _walk(entry, pattern, inner)
