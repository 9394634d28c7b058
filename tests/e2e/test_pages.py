"""Every page of the product, in both colours, wide and narrow, French and English."""

import pytest
from django.core import signing
from django.urls import URLPattern, get_resolver

from tests.e2e.visitor import HEIGHT, NARROW, WIDE, lines

NOBODY = None

PAGES = {
    # Before sign-in
    "account_login": (NOBODY, "/accounts/login/"),
    "account_signup": (NOBODY, "/accounts/signup/"),
    "account_inactive": (NOBODY, "/accounts/inactive/"),
    "account_reset_password": (NOBODY, "/accounts/password/reset/"),
    "account_reset_password_done": (NOBODY, "/accounts/password/reset/done/"),
    "account_reset_password_from_key": (NOBODY, "/accounts/password/reset/key/1-spoilt/"),
    "account_reset_password_from_key_done": (NOBODY, "/accounts/password/reset/key/done/"),
    "account_email_verification_sent": (NOBODY, "/accounts/confirm-email/"),
    "account_confirm_email": (NOBODY, "/accounts/confirm-email/spoilt/"),
    "unsubscribe": ("lecteur", "/unsubscribe/{unsubscribe}/"),
    # Reading and taking part
    "home": ("lecteur", "/"),
    "prompts": ("lecteur", "/prompts/?q=client"),
    "prompt": ("lecteur", "/prompts/{prompt}/"),
    "prompt-versions": ("lecteur", "/prompts/{revised}/versions/"),
    "prompt-version": ("lecteur", "/prompts/{revised}/versions/1/"),
    "prompt-diff": ("lecteur", "/prompts/{revised}/diff/?from=1&to=2"),
    "retrospectives": ("lecteur", "/retrospectives/"),
    "retrospective": ("lecteur", "/retrospectives/{report}/"),
    "retrospective-new": ("lecteur", "/retrospectives/new/?prompt={prompt}"),
    "retrospective-edit": ("lecteur", "/retrospectives/{own_report}/edit/"),
    "wishes": ("lecteur", "/wanted/"),
    "wish-new": ("lecteur", "/wanted/new/"),
    "wish-answer": ("lecteur", "/wanted/{wish}/answer/?q=client"),
    "mine": ("lecteur", "/mine/"),
    "searches": ("lecteur", "/searches/"),
    "search-save": ("lecteur", "/searches/new/?q=client"),
    "profile": ("lecteur", "/settings/"),
    "tokens": ("lecteur", "/settings/tokens/"),
    "account_change_password": ("lecteur", "/accounts/password/change/"),
    "account_logout": ("lecteur", "/accounts/logout/"),
    "account_reauthenticate": ("lecteur", "/accounts/reauthenticate/"),
    "notifications": ("auteur", "/notifications/"),
    "notifications-choices": ("lecteur", "/notifications/choices/"),
    "style": ("lecteur", "/style/"),
    "api-docs": ("lecteur", "/api/v1/docs/"),
    # Writing and watching
    "prompt-new": ("auteur", "/prompts/new/"),
    "prompt-edit": ("auteur", "/prompts/{own}/edit/"),
    "monitors": ("auteur", "/drift/"),
    "monitor": ("auteur", "/drift/{drifted}/"),
    "run": ("auteur", "/drift/runs/{run}/"),
    "monitor-new": ("admin", "/prompts/{own}/monitors/new/"),
    "monitor-edit": ("admin", "/drift/{drifted}/edit/"),
    "monitor-delete": ("admin", "/drift/{drifted}/delete/"),
    "incidents": ("auteur", "/drift/incidents/"),
    "incident": ("auteur", "/drift/incidents/{incident}/"),
    "spending": ("admin", "/drift/spending/"),
    "model-calendar": ("auteur", "/drift/models/"),
    "monitor-compare": ("auteur", "/drift/{drifted}/compare/"),
    "retirement-new": ("admin", "/drift/models/ends/new/"),
    "retirement-edit": ("admin", "/drift/models/ends/{retirement}/"),
    "playground": ("auteur", "/prompts/{own}/try/"),
    "trial": ("auteur", "/trials/{trial}/"),
    # Administrating
    "searches-missed": ("admin", "/searches/missed/"),
    "people": ("admin", "/people/"),
    "person-new": ("admin", "/people/new/"),
    "person": ("admin", "/people/{person}/"),
    "departments": ("admin", "/departments/"),
    "department": ("admin", "/departments/{department}/"),
    "connections": ("admin", "/connections/"),
    "connection-new": ("admin", "/connections/new/"),
    "graders": ("admin", "/connections/graders/"),
    "meaning": ("admin", "/connections/meaning/"),
    "connection": ("admin", "/connections/{connection}/"),
    "connection-edit": ("admin", "/connections/{connection}/edit/"),
    "connection-delete": ("admin", "/connections/{connection}/delete/"),
}
"""Route name → who looks at it, and an address of it; names in braces are found in the demo."""

DRAWN_LATER = {"api-docs": ".opblock"}
"""What a page that a script draws has to show before it is looked at."""

NO_PAGES = {
    "for machines": {"healthz", "readyz", "connection-models"},
    "answers a click and leads elsewhere": {
        *("set-language", "set-theme", "own-address", "account_email", "account_set_password"),
        *("token-revoke", "notifications-read", "notification", "person-active", "person-access"),
        *("prompt-restore", "prompt-fill", "prompt-watch", "prompt-publish", "prompt-archive"),
        *("prompt-verify", "prompt-vote", "prompt-signal", "prompt-comment", "comment-withdraw"),
        *("retrospective-add", "retrospective-link", "retrospective-follow-up", "follow-up"),
        *("wish-support", "monitor-baseline", "monitor-run", "monitor-accept", "monitor-pause"),
        *("run-cancel", "connection-switch", "connection-target", "connection-prices"),
        *("cap-save", "cap-delete", "connection-cap", "retirement-delete"),
        *("connection-try", "account_confirm_login_code", "monitor-learn", "example-remove"),
        *("trial-cancel", "trial-delete", "trial-keep"),
        *("grader-choose", "grader-try", "judge-accept", "meaning-choose"),
        *("search-missed", "search-change", "search-delete"),
    },
    "part of another page": {
        *("prompt-near", "prompt-detect", "prompt-preview", "search-suggest", "search-recent"),
    },
}
DJANGO_S_OWN = ("admin", "api")
"""Namespaces without pages of ours: Django's administration, and answers in JSON."""


def test_every_route_is_a_page_of_the_table_or_has_a_reason_not_to_be():
    not_pages = set().union(*NO_PAGES.values())

    assert set(names(get_resolver().url_patterns)) == PAGES.keys() | not_pages
    assert not_pages & PAGES.keys() == set()


def names(patterns):
    """Names of all routes below these, those of foreign namespaces left out."""
    for entry in patterns:
        if isinstance(entry, URLPattern):
            yield entry.name
        elif entry.namespace not in DJANGO_S_OWN:
            yield from names(entry.url_patterns)


@pytest.fixture(scope="package")
def found(company):
    """What the addresses of the table need, by name."""
    key = (company.product.data / "secret-key").read_text("utf-8").strip()
    reader = company.one("SELECT id FROM accounts_user WHERE email = 'lecteur@retex.example'")
    company.change(
        "UPDATE kb_retrospective SET author_id = %s, created = now() WHERE id ="
        " (SELECT max(id) FROM kb_retrospective)",
        reader,
    )
    trial = company.one(
        "INSERT INTO kb_trial (version_id, asked_by_id, values, status, reason, attempt, finished)"
        " SELECT min(v.id), u.id, '{}', 'done', '', 1, now() FROM kb_prompt p"
        " JOIN kb_promptversion v ON v.prompt_id = p.id JOIN accounts_user u ON u.id = p.author_id"
        " WHERE u.email = 'auteur@retex.example' GROUP BY u.id RETURNING id"
    )
    return {
        "trial": trial,
        "incident": company.one("SELECT min(id) FROM kb_incident"),
        "retirement": company.one("SELECT min(id) FROM kb_retirement"),
        "unsubscribe": signing.dumps(
            [reader, "new_version"], key=key, salt="kb.notifications.unsubscribe"
        ),
        "person": reader,
        "own_report": company.one("SELECT max(id) FROM kb_retrospective"),
        "report": company.one("SELECT min(id) FROM kb_retrospective WHERE incidents <> '{}'"),
        "prompt": company.one("SELECT slug FROM kb_prompt ORDER BY id LIMIT 1"),
        "revised": company.one(
            "SELECT slug FROM kb_prompt JOIN kb_promptversion v ON v.prompt_id = kb_prompt.id"
            " GROUP BY slug ORDER BY count(*) DESC, slug LIMIT 1"
        ),
        "own": company.one(
            "SELECT slug FROM kb_prompt p JOIN accounts_user u ON u.id = p.author_id"
            " WHERE u.email = 'auteur@retex.example' ORDER BY p.id LIMIT 1"
        ),
        "wish": company.one("SELECT min(id) FROM kb_wish WHERE closed IS NULL"),
        "drifted": company.one("SELECT min(id) FROM kb_monitor WHERE status = 'drifted'"),
        "run": company.one(
            "SELECT max(r.id) FROM kb_run r JOIN kb_monitor m ON m.id = r.monitor_id"
            " WHERE m.status = 'drifted'"
        ),
        "department": company.one("SELECT min(id) FROM accounts_department"),
        "connection": company.one("SELECT min(id) FROM kb_connection"),
    }


@pytest.fixture(scope="module")
def windows(browser, company):
    """A window for each person and language, kept from page to page: opening one takes as long as a page."""
    kept = {}

    def window(person, language):
        if (person, language) not in kept:
            kept[person, language] = company.window(browser, person, language)
        elif person is not None:
            company.speaks(person, language)
        return kept[person, language]

    yield window
    for one in kept.values():
        one.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_fault(name, windows, found):
    person, address = PAGES[name]
    address = address.format_map(found)

    french = windows(person, "fr")
    french.page.set_viewport_size({"width": WIDE, "height": HEIGHT})
    french.page.emulate_media(color_scheme="light")
    page = french.go(address)
    page.locator(DRAWN_LATER.get(name, "main")).first.wait_for()
    faults = french.faults()
    page.set_viewport_size({"width": NARROW, "height": HEIGHT})
    page.emulate_media(color_scheme="dark")
    faults += [f"narrow and dark: {fault}" for fault in french.faults() if fault not in faults]
    english = windows(person, "en")
    english.go(address)
    faults += english.faults(looks=False)
    for window in (french, english):
        window.noise.clear()

    assert lines(faults) == ""
