"""Promise DENY, for everything that gathers: no list, count, search or export tells of what is hidden.

What is hidden was open to all before (tests.promises.company), so that lists, messages, follow-ups,
links, votes and remembered values of people who may no longer read it are there to leak.
"""

from __future__ import annotations

import pytest
from django.urls import reverse

from kb.notifications.actions import deliver_due_mails
from tests.factories import later
from tests.promises.company import MARK, WORDS
from tests.promises.conftest import ask, call
from tests.promises.routes import API, PAGES
from tests.promises.test_deny import READERS

pytestmark = pytest.mark.django_db

ASKED = (
    *(f"/prompts/?q={word}" for word in WORDS.values()),
    "/prompts/?status=draft&status=archived&status=published&sort=newest",
    "/prompts/?sort=proven&tool=chatgpt&department=legal&use_case=summarise",
    "/prompts/?tag=okapi77tag&tag=numbat77tag&tag=quagga77tag",
    *(f"/prompts/new/near/?title={word}+again+title+{word}" for word in WORDS.values()),
    *(f"/search/suggest/?q={word}" for word in WORDS.values()),
    *(f"/retrospectives/?q={word}" for word in WORDS.values()),
    "/retrospectives/?format=csv",
    "/retrospectives/?outcome=worked&department=legal",
    *(f"/retrospectives/new/?find={word}" for word in WORDS.values()),
    *(f"/wanted/new/?title={word}+title" for word in WORDS.values()),
    "/drift/?state=drifted",
    "/drift/?department=legal",
    "/people/?q=a",
    "/admin/kb/prompt/",
    "/admin/kb/promptversion/",
    "/admin/kb/tag/",
    "/admin/kb/retrospective/",
    "/admin/kb/wish/",
    "/admin/kb/monitor/",
    "/admin/kb/run/",
    "/admin/kb/baseline/",
    "/admin/kb/driftreport/",
    "/admin/accounts/auditentry/",
    "/admin/admin/logentry/",
)
TELLING = ("nobody", "outsider", "colleague", "curator", "admin")
"""One of each kind of people who may not read everything."""
FRAGMENTS = tuple(path for path in ASKED if "find=" in path or "wanted/new" in path)
"""Lists that are only drawn for a script that asks for the part."""
ASKED_OF_THE_API = (
    *(f"search/?q={word}" for word in WORDS.values()),
    *(f"search/?q={word}&kind=retrospective" for word in WORDS.values()),
    *(f"suggest/?q={word}" for word in WORDS.values()),
    "search/?q=",
    "prompts/?full=1&page_size=100",
    "prompts/?status=draft&status=archived&status=published&page_size=100",
    "retrospectives/?page_size=100",
    "wishes/?state=answered",
    "monitors/?page_size=100",
    "notifications/?page_size=100",
    "tags/",
)


def hidden_from(who):
    """The marks that this person must meet nowhere."""
    return [word + MARK for state, word in WORDS.items() if who not in READERS[state]]


def told(answer, who):
    """The marks an answer gives away."""
    page = answer.content.decode()
    return [mark for mark in hidden_from(who) if mark in page]


def paths_of(company, who):
    """All pages this person can open, and the lists with what can be asked of them."""
    for name, route in PAGES.items():
        if "GET" not in route.acts or name.startswith("account_"):
            continue
        if not route.of:
            yield route.path(name, company, company.things["company"])
            continue
        for state, things in company.things.items():
            if who in READERS[state]:
                yield route.path(name, company, things)
    yield from ASKED


def test_deny_no_page_tells_what_is_hidden(company, clients):
    """DENY: pages, lists, counts, facets, suggestions, messages and the export."""
    leaks = []
    for who in TELLING:
        for path in paths_of(company, who):
            headers = {"HX-Request": "true"} if path in FRAGMENTS else {}
            asked = [mark for mark in hidden_from(who) if mark in path]
            answer = ask(clients[who], "GET", path, **headers)
            leaks += [(who, path, mark) for mark in told(answer, who) if mark not in asked]

    assert leaks == []


def test_deny_no_list_of_the_api_tells_what_is_hidden(company, client, callers):
    """DENY: the same for programs."""
    lists = [
        route.path(f"api:{name}", company, company.things["company"]).removeprefix("/api/v1/")
        for name, route in API.items()
        if "GET" in route.acts and not route.of
    ]
    leaks = [
        (who, path, mark)
        for who in TELLING
        for path in (*lists, *ASKED_OF_THE_API)
        for mark in told(call(client, "GET", path, **callers[who]), who)
    ]

    assert leaks == []


def test_deny_the_author_meets_everything(company, clients):
    """DENY: the lists above would show what is hidden to those who may read it."""
    seen = "".join(
        ask(clients["author"], "GET", path).content.decode()
        for path in (*ASKED, "/notifications/", "/mine/", "/")
    )

    assert [word for word in WORDS.values() if word + MARK not in seen] == []


def test_deny_ones_own_report_on_what_is_hidden_now(company, clients, client, callers):
    """DENY: a report stays its author's, and tells no more of the prompt than they wrote."""
    leaks = []
    for who in TELLING[1:]:
        for report in company.person(who).retrospectives.all():
            answers = [
                ask(clients[who], "GET", reverse("retrospective", args=[report.pk])),
                ask(clients[who], "GET", reverse("retrospective-edit", args=[report.pk])),
                call(client, "GET", f"retrospectives/{report.pk}/", **callers[who]),
            ]
            assert [answer.status_code for answer in answers] == [200, 200, 200]
            leaks += [(who, report.title, mark) for answer in answers for mark in told(answer, who)]

    assert leaks == []


def test_deny_no_mail_tells_what_is_hidden(company, mailoutbox):
    """DENY: a mail that was owed before the prompt was closed is not sent afterwards."""
    names = {person.email: who for who, person in company.people.items() if person is not None}

    deliver_due_mails(now=later(hours=3), most=10_000)

    assert mailoutbox
    assert [
        (names[mail.to[0]], mark)
        for mail in mailoutbox
        for mark in hidden_from(names[mail.to[0]])
        if mark in mail.subject + mail.body
    ] == []
