"""An author shares a pasted prompt, improves it, and never loses what was typed."""

import re

import pytest
from playwright.sync_api import expect

PASTED = (
    "You write to [CLIENT NAME] on behalf of our company.\n"
    "Confirm the meeting of ${date} in three sentences, and thank [CLIENT NAME] by name."
)
BETTER = PASTED.replace("three sentences", "two short sentences")
WORDS = {"fr": "Confirmer un rendez-vous", "en": "Confirm an appointment"}


def holes(text):
    """The pasted text as it is stored once its places have become variables."""
    return text.replace("[CLIENT NAME]", "{{ client_name }}").replace("${date}", "{{ date }}")


@pytest.fixture
def publish(company, request):
    """Publishes a prompt of its own for one test, and archives it afterwards."""
    title = f"{WORDS[request.getfixturevalue('language')]} ({request.node.name})"

    def write(author):
        page = author.go("/prompts/new/")
        page.locator("#id_title").fill(title)
        page.locator("#id_text").fill(PASTED)
        return page, title

    yield write
    company.change("DELETE FROM kb_searchentry WHERE title = %s", title)
    company.change(
        "UPDATE kb_prompt SET status = 'archived', archived = now() WHERE title = %s", title
    )


def convert(page, author):
    """Let the places of the text become variables."""
    if not author.has_scripts:
        page.get_by_role("button", name=author.say("Look for places to fill in")).click()
    offers = page.locator("#holes input[name=accept]")
    expect(offers).to_have_count(2)
    assert [offer.input_value() for offer in offers.all()] == ["[CLIENT NAME]", "${date}"]
    assert all(offer.is_checked() for offer in offers.all())
    page.locator("#convert").click()
    expect(page.locator("#holes .variable legend")).to_have_text(["client_name", "date"])


def as_served(page):
    """The text of the prompt as the server sent it, before any script touched it."""
    return page.evaluate(
        """async () => {
          const page = new DOMParser().parseFromString(await (await fetch(location)).text(), "text/html");
          return page.querySelector("[data-part=text]").innerHTML;
        }"""
    )


def published(page):
    page.locator("#publish").click()
    expect(page).to_have_url(re.compile(r"/prompts/(?!new)[\w-]+/$"))
    return page.url


def test_a_pasted_text_is_shared_with_its_places_as_questions(
    visit, language, has_scripts, publish
):
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page, title = publish(author)

    convert(page, author)
    expect(page.locator("#id_text")).to_have_value(holes(PASTED))
    if has_scripts:
        expect(page.locator("#preview .preview__title")).to_have_text(title)
        expect(page.locator("#preview .prompt-text .hole").first).to_have_text("Client name")
        author.check()
    else:
        page.locator("#show-preview").click()
        expect(page.locator("#preview .preview__title")).to_have_text(title)
    previewed = page.locator("#preview .prompt-text").inner_html()
    published(page)

    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    assert as_served(page) == previewed
    page.locator("[name='v-client_name']").fill("Valmeyre")
    page.locator("[name='v-date']").fill("2026-05-12")
    if has_scripts:
        page.locator("[data-copy=text]").click()
        expect(page.locator("#toasts")).to_have_text(author.say("Copied"))
        filled = PASTED.replace("[CLIENT NAME]", "Valmeyre").replace("${date}", "2026-05-12")
        assert author.clipboard() == filled


def test_a_conversion_can_be_undone(visit, language, publish):
    author = visit("auteur", language)
    page, _ = publish(author)
    convert(page, author)

    page.locator("[data-undo-conversion]").click()

    expect(page.locator("#id_text")).to_have_value(PASTED)
    expect(author.page.locator("#id_text")).to_be_focused()
    expect(page.locator("#holes input[name=accept]")).to_have_count(2)


def test_a_change_can_be_read_and_taken_back(visit, language, has_scripts, publish):
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page, _ = publish(author)
    address = published(page)

    author.go(f"{address}edit/")
    page.locator("#id_text").fill(BETTER)
    page.locator("#id_change_note").fill("Plus court")
    page.locator("#save").click()
    expect(page).to_have_url(address)
    author.go(f"{address}versions/")
    expect(page.locator(".history > li")).to_have_count(2)
    if has_scripts:
        author.check()
    page.locator(".history a", has_text=author.say("What changed")).click()
    expect(page.locator(".changes ins")).to_contain_text(["two short"])
    expect(page.locator(".changes del")).to_contain_text(["three"])
    if has_scripts:
        author.check()

    author.go(f"{address}versions/1/")
    page.locator("#restore").click()

    author.go(f"{address}versions/3/")
    expect(page.locator("[data-part=text]")).to_contain_text("in three sentences")


def test_of_two_tabs_none_wins_in_silence(visit, language, has_scripts, publish):
    author = visit("auteur", language, java_script_enabled=has_scripts)
    page, _ = publish(author)
    address = published(page)
    author.go(f"{address}edit/")
    other = author.context.new_page()
    other.goto(f"{address}edit/")

    other.locator("#id_text").fill("Their text.")
    other.locator("#save").click()
    expect(other).to_have_url(address)
    author.expect_refusal(409)
    page.locator("#id_text").fill("My text.")
    page.locator("#save").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(author.say("Two changes at once"))
    expect(page.locator(".changes ins")).to_contain_text(["My"])
    expect(page.locator(".changes del")).to_contain_text(["Their"])
    if has_scripts:
        author.check()
    page.locator("#merge").click()
    expect(page.locator("#id_text")).to_have_value("My text.")
    expect(page.locator(".theirs")).to_contain_text("Their")
    page.locator("#id_text").fill("Their text and mine.")
    page.locator("#save").click()
    expect(page).to_have_url(address)
    expect(page.locator("[data-part=text]")).to_have_text("Their text and mine.")
    author.go(f"{address}versions/")
    expect(page.locator(".history > li")).to_have_count(3)


def test_what_was_typed_survives_a_closed_tab(visit, language, publish):
    author = visit("auteur", language)
    page, title = publish(author)
    expect(page.locator("#kept-note")).not_to_be_empty()

    page.close()
    author.page = page = author.context.new_page()
    author.go("/prompts/new/")
    page.locator("[data-bring-back]").click()

    expect(page.locator("#id_title")).to_have_value(title)
    expect(page.locator("#id_text")).to_have_value(PASTED)


def test_a_prompt_without_a_text_is_refused_in_words_that_lead_to_the_field(visit, language):
    author = visit("auteur", language)
    page = author.go("/prompts/new/")
    author.expect_refusal(422)
    page.locator("#id_title").fill("x")

    page.locator("#publish").click()

    expect(author.page.locator(".error-summary")).to_be_focused()
    author.check()
    page.locator(".error-summary a").last.click()
    expect(author.page.locator("#id_text")).to_be_focused()


def test_a_reader_is_turned_away_with_a_way_to_go_on(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)

    page = reader.go("/prompts/new/", status=403)
    expect(page.get_by_role("heading", level=1)).to_have_text(
        reader.say("Sharing prompts is for authors")
    )
    expect(page.locator("main")).to_contain_text("Hélène Marchetti")
    if has_scripts:
        reader.check()
    page.get_by_role("link", name=reader.say("Ask for a prompt")).click()

    expect(page).to_have_url("/wanted/new/")


def test_a_reader_who_would_change_a_prompt_is_led_to_its_comments(visit, language):
    reader = visit("lecteur", language)

    page = reader.go("/prompts/repondre-a-la-reclamation-dun-client/edit/", status=403)
    reader.check()
    page.get_by_role("link", name=reader.say("Suggest a change")).click()

    expect(page.locator("#comments-title")).to_be_in_viewport()
