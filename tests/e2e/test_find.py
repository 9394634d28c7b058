"""Somebody who reads browses and finds, or asks for what nobody has."""

import re

from playwright.sync_api import expect

COMPLAINT = "Répondre à la réclamation d’un client"


def test_words_without_accents_find_the_prompt(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/")

    page.locator("#home-search").fill("reclamation")
    page.locator("#home-search").press("Enter")

    expect(page).to_have_url("/prompts/?q=reclamation")
    expect(page.get_by_role("link", name=COMPLAINT)).to_be_visible()


def test_facets_tell_the_truth_and_everything_is_in_the_address(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/prompts/")
    total = page.locator("#results p[role=status] b")
    everything = total.inner_text()
    facet = page.locator("#facet-department-customer-support")
    promised = int(facet.locator(".count").inner_text())

    facet.click()
    expect(page).to_have_url(re.compile(r"department=customer-support"))
    expect(total).to_have_text(re.compile(rf"^{promised}\b"))
    expect(page.locator(".result")).to_have_count(promised)

    page.locator(".chips .chip--on").click()
    expect(page).not_to_have_url(re.compile("department="))
    expect(total).to_have_text(everything)

    page.get_by_role("link", name=reader.say("Newest")).click()
    expect(page).to_have_url(re.compile(r"sort=newest"))
    page.reload()
    expect(page.locator("[aria-current=true]", has_text=reader.say("Newest"))).to_be_visible()


def test_back_restores_the_page_and_the_place_in_it(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/prompts/?sort=newest")

    page.locator(".pages a[rel=next]").click()
    expect(page.locator(".pages [aria-current=page]")).to_have_text("2")
    shown = page.locator(".result__title").all_inner_texts()
    page.locator(".result a").last.click()
    expect(page).to_have_url(re.compile(r"/prompts/[\w-]+/$"))
    page.go_back()

    expect(page).to_have_url(re.compile(r"page=2"))
    expect(page.locator(".result__title")).to_have_text(shown)
    page.wait_for_function("window.scrollY > 400")


def test_back_undoes_a_chosen_facet(visit, language):
    reader = visit("lecteur", language)
    page = reader.go("/prompts/")
    everything = page.locator("#results p[role=status]").inner_text()
    page.locator("#facet-department-customer-support").click()
    expect(page.locator(".chips .chip--on")).to_be_visible()

    page.go_back()

    expect(page.locator(".chips .chip--on")).to_have_count(0)
    expect(page.locator("#results p[role=status]")).to_have_text(everything)
    page.go_forward()
    expect(page.locator(".chips .chip--on")).to_be_visible()


def test_a_search_without_result_leads_to_asking_for_it(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/prompts/?department=legal")

    page.locator("#list-search").fill("zzxqy wvvk")
    page.locator("#list-search").press("Enter")
    expect(page.get_by_role("heading", name=reader.say("Nothing found"))).to_be_visible()
    assert "department=legal" in page.url  # the chosen filter stays, and can be removed
    expect(page.locator(".chips .chip--on")).to_be_visible()
    if has_scripts:
        reader.check()

    page.get_by_role("link", name=reader.say("Ask for this prompt")).click()
    expect(page.locator("#id_title")).to_have_value("zzxqy wvvk")


def test_a_slash_leads_to_the_search_and_escape_back(visit, language):
    reader = visit("lecteur", language)
    page = reader.go("/wanted/")
    page.locator(".button--primary").first.focus()

    page.keyboard.press("/")
    expect(reader.page.locator("#search-everywhere")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("main .button--primary").first).to_be_focused()
    page.keyboard.press("Control+k")
    page.keyboard.type("reclamation")
    page.keyboard.press("Enter")

    expect(page).to_have_url("/prompts/?q=reclamation")
