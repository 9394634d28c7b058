"""People answer each other, report on real uses, and ask for what is missing."""

import re

import pytest
from playwright.sync_api import expect

PROMPT = "/prompts/repondre-a-la-reclamation-dun-client/"
QUESTION = {"fr": "Et si la cause est inconnue ?", "en": "What if the cause is unknown?"}
ANSWER = {"fr": "dites-le", "en": "say so"}
WISH = {"fr": "Un avis de vacances en deux langues", "en": "A holiday note in two languages"}
LESSON = {
    "fr": "La décision d’abord, le ton ensuite.",
    "en": "The decision first, the tone afterwards.",
}


@pytest.fixture
def tidy(company, language):
    """Takes away what these walks have left, so that they can be walked again."""
    yield
    company.change("DELETE FROM kb_comment WHERE text LIKE %s", f"%{ANSWER[language]}%")
    company.change("DELETE FROM kb_comment WHERE text = %s", QUESTION[language])
    company.change(
        "DELETE FROM kb_wishsupport s USING kb_wish w WHERE w.id = s.wish_id AND w.title = %s",
        WISH[language],
    )
    company.change("DELETE FROM kb_wish WHERE title = %s", WISH[language])


def test_a_comment_is_written_answered_and_removed(visit, language, has_scripts, tidy):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page = reader.go(PROMPT)

    page.locator("#comment-text").fill(QUESTION[language])
    page.get_by_role("button", name=reader.say("Comment"), exact=True).click()
    written = page.locator(".comment", has_text=QUESTION[language])
    expect(written).to_be_visible()
    expect(page.locator("#comment-text")).to_have_value("")

    answering = author.go(PROMPT).locator(".comment", has_text=QUESTION[language])
    answering.locator("summary").click()
    answering.locator("textarea").fill(f"… *{ANSWER[language]}*")
    answering.locator("details button").click()
    expect(author.page.locator(".comment .comment em", has_text=ANSWER[language])).to_be_visible()
    if has_scripts:
        author.check()

    page = reader.go(PROMPT)
    written = page.locator(".comment", has_text=QUESTION[language])
    remove = written.get_by_role("button", name=reader.say("Remove"))
    expect(remove).to_have_count(1)  # only one's own
    remove.click()
    expect(page.locator(".comment", has_text=QUESTION[language])).to_have_count(0)
    removed = page.locator(".comment", has_text=reader.say("This comment was removed.")).last
    expect(removed.locator(".comment")).to_contain_text(ANSWER[language])


def test_an_empty_comment_is_refused_in_words(visit, language, tidy):
    reader = visit("lecteur", language, java_script_enabled=False)
    page = reader.go(PROMPT)
    reader.expect_refusal(422)
    page.locator("#comment-text").fill("   ")

    page.get_by_role("button", name=reader.say("Comment"), exact=True).click()

    expect(page.locator("#comment-error")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text(reader.say("Your comment"))


def test_a_report_takes_eight_answers_and_no_mouse(visit, language):
    reader = visit("lecteur", language)
    page = reader.go(PROMPT)
    keys = page.keyboard

    page.get_by_role("link", name=reader.say("Report on a use")).last.focus()
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(reader.say("How did it go?"))
    reader.tab_to("#id_title")
    keys.type("Réclamation")
    assert page.locator("#id_use_case").input_value()  # chosen already, as is the prompt
    assert page.locator("#id_version").input_value()
    reader.tab_to("#id_tool")
    keys.type("Cl")
    expect(page.locator("#id_tool")).to_have_value("claude")
    reader.tab_to("[name=outcome]")
    keys.press("ArrowDown")
    expect(page.locator("[name=outcome]:checked")).to_have_value("worked_with_edits")
    reader.tab_to("#id_minutes_checking")
    keys.type("7")
    reader.tab_to("[name=quality]")
    keys.press("Space")
    keys.press("ArrowRight")
    expect(page.locator("[name=quality]:checked")).to_have_value("same")
    reader.tab_to("#id_lesson")
    keys.type(LESSON[language])
    expect(page.locator("#id_lesson_left")).to_have_text(str(200 - len(LESSON[language])))
    reader.check()
    keys.press("Control+Enter")

    expect(page).to_have_url(re.compile(r"/retrospectives/\d+/$"))
    expect(page.locator(".lesson")).to_have_text(LESSON[language])
    reader.check()


def test_a_report_without_answers_says_which_are_missing(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/retrospectives/new/")
    reader.expect_refusal(422)

    page.locator("#post-report").click()

    expect(page.locator(".error-summary li")).not_to_have_count(0)
    if has_scripts:
        expect(reader.page.locator(".error-summary")).to_be_focused()
        reader.check()
        page.locator(".error-summary a").first.click()
        expect(reader.page.locator("#id_title")).to_be_focused()


def test_a_report_that_was_not_sent_comes_back(visit, language):
    reader = visit("lecteur", language)
    page = reader.go("/retrospectives/new/")
    page.locator("#id_lesson").fill(LESSON[language])
    page.wait_for_function(
        "words => Object.values(localStorage).some((kept) => kept.includes(words))",
        arg=LESSON[language],
    )

    page = reader.go("/retrospectives/new/")

    expect(page.locator("#kept")).to_contain_text(reader.say("We kept what you typed last time."))
    expect(page.locator("#id_lesson")).to_have_value(LESSON[language])
    page.locator("#kept button").click()
    expect(page.locator("#id_lesson")).to_have_value("")


def test_a_wish_is_made_and_shared(visit, language, has_scripts, tidy):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page = reader.go("/wanted/new/")

    page.locator("#id_title").fill(WISH[language])
    page.locator("#post-wish").click()
    expect(page).to_have_url(re.compile(r"/wanted/"))
    expect(page.locator(".wish", has_text=WISH[language])).to_be_visible()

    page = author.go("/wanted/")
    me_too = page.locator(".wish", has_text=WISH[language]).locator(".wish__support")
    expect(me_too).to_have_attribute("aria-pressed", "false")
    before = int(me_too.locator("b").inner_text())
    me_too.click()
    expect(me_too).to_have_attribute("aria-pressed", "true")
    expect(me_too.locator("b")).to_have_text(str(before + 1))
    if has_scripts:
        expect(me_too).to_be_focused()
        author.check()
    me_too.click()
    expect(me_too.locator("b")).to_have_text(str(before))
