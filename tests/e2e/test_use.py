"""Somebody fills a prompt, copies it, and says in one click whether it worked."""

import re

import pytest
from playwright.sync_api import expect

PROMPT = "/prompts/repondre-a-la-reclamation-dun-client/"
HOLE = re.compile(r"\{\{\s*([^\W\d][\w-]*)\s*\}\}")
VALUES = {
    "dossier": "SAV-40 412",
    "message": "Bonjour,\n\nvotre machine « siffle » <encore> & encore.",
    "décision": "Un technicien passe mardi ; il apporte le joint de 45.",
}
CHOICE = "ton"


@pytest.fixture
def filled(company):
    """The text of the prompt with these values in it, put together by other means."""
    text = company.one(
        "SELECT v.text FROM kb_promptversion v JOIN kb_prompt p ON p.current_id = v.id"
        " WHERE p.slug = %s",
        PROMPT.split("/")[2],
    )

    def fill(values):
        assert {match[1] for match in HOLE.finditer(text)} == values.keys()
        return HOLE.sub(lambda match: values[match[1]], text)

    return fill


def fill_in(page):
    """Fill every blank; the values that stand there then."""
    for name, value in VALUES.items():
        page.locator(f"[name='v-{name}']").fill(value)
    choice = page.locator(f"[name='v-{CHOICE}']")
    choice.select_option(index=1)
    return VALUES | {CHOICE: choice.input_value()}


def shown(page):
    """Text of the prompt as the page shows it."""
    return page.locator("[data-part=text]").evaluate("element => element.textContent")


def test_what_is_copied_is_the_filled_text_exactly_and_values_are_remembered(
    visit, language, filled
):
    reader = visit("lecteur", language)
    page = reader.go(PROMPT)

    with page.expect_response(re.compile(r"/fill/$")) as kept:
        values = fill_in(page)
    assert kept.value.ok
    assert shown(page) == filled(values)
    page.locator("[data-copy=text]").click()
    expect(page.locator("#toasts")).to_have_text(reader.say("Copied"))
    expect(reader.page.locator("[data-copy=text]")).to_be_focused()
    assert reader.clipboard() == filled(values)
    reader.check()

    page.reload()
    assert shown(page) == filled(values)
    expect(page.locator("[name='v-message']")).to_have_value(VALUES["message"])


def test_the_blanks_and_the_evidence_begin_at_the_same_height(visit):
    page = visit("lecteur", "fr").go(PROMPT)

    tops = [
        page.locator(panel).first.bounding_box()["y"]
        for panel in ("form > .panel", "aside > .panel")
    ]

    assert tops[0] == tops[1]


def test_without_scripts_a_button_puts_the_values_into_the_text(visit, language, filled):
    reader = visit("lecteur", language, java_script_enabled=False)
    page = reader.go(PROMPT)

    values = fill_in(page)
    page.get_by_role("button", name=reader.say("Put it into the text")).click()

    expect(page.locator("[data-part=text]")).to_contain_text(VALUES["dossier"])
    assert shown(page) == filled(values)


def test_one_click_says_whether_it_worked_and_another_takes_it_back(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go(PROMPT)

    page.locator("#signal-with_edits").click()
    expect(page.locator("#signal-with_edits")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".signal-note")).to_contain_text(
        reader.say("Noted, thank you. Colleagues will see it as evidence.")
    )
    if has_scripts:
        expect(reader.page.locator("#signal-with_edits")).to_be_focused()
    page.locator("#signal-undo").click()

    expect(page.locator("#signal-undo")).to_have_count(0)
    expect(page.locator("#signals [aria-pressed=true]")).to_have_count(0)


def test_recommending_counts_at_once_and_a_second_click_takes_it_back(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go(PROMPT)
    count = page.locator("#vote-button .count")
    before = int(count.inner_text())

    page.locator("#vote-button").click()
    expect(count).to_have_text(str(before + 1))
    expect(page.locator("#vote-button")).to_have_attribute("aria-pressed", "true")
    if has_scripts:
        expect(reader.page.locator("#vote-button")).to_be_focused()
    page.locator("#vote-button").click()

    expect(count).to_have_text(str(before))
    expect(page.locator("#vote-button")).to_have_attribute("aria-pressed", "false")


def test_the_keyboard_is_enough(visit, language, filled):
    reader = visit("lecteur", language)
    page = reader.go(PROMPT)
    with page.expect_response(re.compile(r"/fill/$")):
        fill_in(page)
    page = reader.go(PROMPT)
    keys = page.keyboard

    keys.press("Tab")
    expect(reader.page.locator("a.skip")).to_be_focused()
    keys.press("Enter")
    expect(reader.page.locator("#main")).to_be_focused()
    reader.tab_to("[name='v-dossier']")
    keys.press("Control+a")
    keys.type("SAV-7")
    reader.tab_to("[data-copy=text]")
    keys.press("Enter")
    expect(page.locator("#toasts")).to_have_text(reader.say("Copied"))
    assert "SAV-7" in reader.clipboard()
    assert reader.clipboard() == shown(page)

    reader.tab_to("#signal-worked")
    keys.press("Enter")
    expect(page.locator("#signal-worked")).to_have_attribute("aria-pressed", "true")
    expect(reader.page.locator("#signal-worked")).to_be_focused()
    reader.tab_to("#signal-undo")
    keys.press("Space")
    expect(page.locator("#signal-undo")).to_have_count(0)
    expect(
        reader.page.locator("#signals")
    ).to_be_focused()  # not thrown back to the top of the page
