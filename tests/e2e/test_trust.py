"""People see whether a prompt still works, have it watched, and decide what they hear of it."""

import re

import pytest
from playwright.sync_api import expect

DRIFTED = "Extraire les données d’une facture en JSON"
RUN_PATIENCE_MS = 60_000
"""A run of four calls to the simulated model, on a busy machine."""
EXAMPLES = ("Atelier nord", "Atelier sud")


def test_the_page_of_a_drifted_prompt_explains_itself(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/drift/")

    page.locator("#state-drifted").click()
    expect(page).to_have_url(re.compile("state=drifted"))
    expect(page.locator(".watch")).to_have_count(1)
    page.get_by_role("link", name=DRIFTED).click()

    expect(page.locator(".verdict[data-state=drifted] h2")).to_be_visible()
    for chart in (
        "Share of answers that pass all their checks, run by run",
        "Similarity of the answers to the usual ones, run by run",
    ):
        expect(page.get_by_role("img", name=reader.say(chart))).to_be_visible()
    table = page.locator("section:has(#chart-title) details")
    table.locator("summary").click()
    expect(table.locator("tbody tr")).to_have_count(31)
    changed = page.locator("details.case")
    expect(changed.first.locator(".answers .answer")).to_have_count(2)
    expect(changed.first.locator("ins").first).to_be_visible()
    expect(changed.first.locator(".checks li").first).to_be_visible()


@pytest.fixture
def watched(company):
    """A prompt of the author's that nothing re-runs, before and after the test."""
    return company.one(
        "SELECT p.slug FROM kb_prompt p JOIN accounts_user u ON u.id = p.author_id"
        " WHERE u.email = 'auteur@retex.example' AND p.status = 'published'"
        " AND NOT EXISTS (SELECT 1 FROM kb_monitor m WHERE m.prompt_id = p.id)"
        " ORDER BY p.id LIMIT 1"
    )


def test_a_monitor_with_two_examples_becomes_stable(visit, language, watched):
    author = visit("auteur", language)
    page = author.go(f"/prompts/{watched}/monitors/new/")

    page.get_by_label("simulated-stable").check()
    page.locator("#add-case").click()
    expect(page.locator(".test-case")).to_have_count(2)
    for number, example in enumerate(EXAMPLES):
        case = page.locator(f"#case-{number}")
        if case.get_attribute("open") is None:
            case.locator("summary").first.click()
        case.locator(f"[name=case-{number}-name]").fill(example)
        for field in case.locator(f"[name^=case-{number}-v-]").all():
            if field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(index=1)
            else:
                field.fill(f"{example}, 12")
        case.locator(f"[name=case-{number}-rule-0-value]").fill("simulat")
    author.check()
    page.locator("#save").click()

    expect(page).to_have_url(re.compile(r"/drift/\d+/$"))
    address = page.url
    expect(page.locator(".verdict[data-state=new]")).to_be_visible()
    author.check()
    page.locator("#record-baseline").click()
    expect(page).to_have_url(re.compile(r"/drift/runs/\d+/$"))
    expect(page.locator(".verdict[data-state=stable] h2")).to_have_text(
        author.say("This is a baseline"), timeout=RUN_PATIENCE_MS
    )
    author.check()

    author.go(address)
    expect(page.locator(".verdict h2")).to_have_text(author.say("The baseline is recorded"))
    page.locator("#run-now").click()
    expect(page.locator(".verdict[data-state=stable] h2")).to_be_visible(timeout=RUN_PATIENCE_MS)
    author.go(address)
    expect(page.locator("header .badge[data-tone=good]").first).to_have_text(author.say("No drift"))
    expect(page.locator(".verdict[data-state=stable]")).to_contain_text("2")
    author.check()

    author.go(f"{address}delete/")
    page.locator("main form button").last.click()
    expect(page).to_have_url(f"/prompts/{watched}/")
    expect(page.locator("main")).to_contain_text(author.say("Nothing re-runs this prompt yet."))


def test_a_monitor_without_a_check_is_refused_in_words(visit, language, watched, has_scripts):
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page = author.go(f"/prompts/{watched}/monitors/new/")
    author.expect_refusal(422)

    page.locator("#save").click()

    expect(page.locator(".error-summary li").first).to_be_visible()
    if has_scripts:
        expect(author.page.locator(".error-summary")).to_be_focused()
        author.check()
