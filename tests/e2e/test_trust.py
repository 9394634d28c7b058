"""People see whether a prompt still works, have it watched, and decide what they hear of it."""

import re

import pytest
from playwright.sync_api import expect

DRIFTED = "Extraire les données d’une facture en JSON"
RUN_PATIENCE_MS = 60_000
"""A run of four calls to the simulated model, on a busy machine."""
POWER_PATIENCE_MS = 120_000
"""Three monitors are measured one after the other, on a busy machine."""
EXAMPLES = ("Atelier nord", "Atelier sud")


def test_the_page_of_a_drifted_prompt_explains_itself(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/drift/")

    page.locator("#state-drifted").click()
    expect(page).to_have_url(re.compile("state=drifted"))
    # A second one is suspect when the demonstration is loaded, and may have drifted an hour later.
    expect(page.locator(".watch .badge[data-tone=bad]").first).to_be_visible()
    page.get_by_role("link", name=DRIFTED).last.click()

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


def test_setting_up_tells_what_it_will_see_while_one_writes(visit, language, watched, has_scripts):
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page = author.go(f"/prompts/{watched}/monitors/new/")
    figures = page.locator("#effort .figure b")
    expect(figures.last).to_have_text(author.say("Night %(count)s", count=5))
    before = figures.all_inner_texts()

    def again():
        if not has_scripts:
            page.locator("aside [name=do][value=count]").click()

    for count in (2, 3):
        page.locator("#add-case").click()
        expect(page.locator(".test-case")).to_have_count(count)
    expect(figures.last).to_have_text(author.say("Night %(count)s", count=1))
    assert figures.all_inner_texts()[:2] != before[:2]

    page.locator("input[name=schedule][value=weekly]").check()
    again()
    expect(figures.last).to_have_text(author.say("Run %(count)s", count=1))
    page.locator("input[name=schedule][value=nightly]").check()
    page.locator("#id_repeats").fill("1")
    again()
    expect(figures.last).to_have_text(author.say("Not soon"))
    expect(page.locator("#effort")).to_contain_text("21")
    if has_scripts:
        page.set_viewport_size({"width": 320, "height": 800})
        expect(page.locator(".tally")).to_be_in_viewport()
        author.check()


def test_what_a_monitor_can_see_is_worked_out_by_a_worker(visit, language, company):
    drifted = company.one("SELECT min(id) FROM kb_monitor WHERE status = 'drifted'")
    author = visit("auteur", language)

    page = author.go(f"/drift/{drifted}/")

    told = page.locator("#power b").first
    expect(told).to_contain_text("100", timeout=POWER_PATIENCE_MS)
    expect(told).to_contain_text("%")
    author.check()


def test_an_end_is_entered_and_the_successor_compared_in_one_click(visit, language, company):
    admin = visit("admin", language)
    page = admin.go("/drift/models/")
    page.locator("#enter-end").click()
    page.locator("#id_model").fill("simulated-stable")
    page.locator("#id_retires").fill(company.one("SELECT (current_date + 20)::text"))
    page.locator("#id_successor").fill("simulated-drifting")
    admin.check()
    page.locator("#save").click()

    ending = page.locator(".end[data-urgency='30']").filter(has_text="simulated-stable").first
    expect(ending).to_be_visible()
    admin.check()
    ending.locator("form button").first.click()

    expect(page).to_have_url(re.compile(r"/drift/\d+/compare/\?with=\d+$"))
    expect(page.locator("#result-title")).to_have_text(
        admin.say("Both pass as many test cases"), timeout=RUN_PATIENCE_MS
    )
    page.locator("details.case summary").first.click()
    expect(page.locator("details.case").first.locator(".answers .answer")).to_have_count(2)
    admin.check()

    pk = company.one("SELECT id FROM kb_retirement WHERE model = 'simulated-stable'")
    admin.go(f"/drift/models/ends/{pk}/").locator("#delete").click()
    expect(page).to_have_url("/drift/models/")


def test_a_cap_is_set_changed_and_removed(visit, language, company, has_scripts):
    admin = visit("admin", language, java_script_enabled=has_scripts)
    connection = company.one("SELECT min(id) FROM kb_connection")
    page = admin.go(f"/connections/{connection}/")
    page.locator("#new-cap summary").click()
    page.locator("#id_cap-most").fill("1500")
    page.locator("#id_cap-unit").select_option("calls")
    page.locator("#id_cap-period").select_option("day")
    page.locator("#save-cap").click()

    new = page.locator(".cap").filter(has_text="500").first
    expect(new).to_be_visible()
    if has_scripts:
        admin.check()
    new.locator("summary").click()
    new.locator("[name=cap-most]").fill("2700")
    new.locator("button").first.click()
    changed = page.locator(".cap").filter(has_text="700").first
    expect(changed).to_be_visible()
    changed.locator("summary").click()
    changed.locator("button").last.click()
    expect(page.locator(".cap").filter(has_text="700")).to_have_count(0)


def test_a_monitor_without_a_check_is_refused_in_words(visit, language, watched, has_scripts):
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page = author.go(f"/prompts/{watched}/monitors/new/")
    author.expect_refusal(422)

    page.locator("#save").click()

    expect(page.locator(".error-summary li").first).to_be_visible()
    if has_scripts:
        expect(author.page.locator(".error-summary")).to_be_focused()
        author.check()
