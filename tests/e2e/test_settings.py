"""What people decide for themselves, and what administrators decide for the company."""

import re

from playwright.sync_api import expect


def test_what_is_unread_is_read_and_the_bell_falls_silent(visit, language, company):
    author = visit("auteur", language)
    company.change("UPDATE kb_notification SET read = now() WHERE read IS NULL")
    company.change(
        "UPDATE kb_notification SET read = NULL WHERE id IN (SELECT n.id FROM kb_notification n"
        " JOIN accounts_user u ON u.id = n.recipient_id WHERE u.email = 'auteur@retex.example'"
        " ORDER BY n.id DESC LIMIT 3)"
    )
    page = author.go("/")
    expect(page.locator(".bell .count")).to_have_text("3")

    page.locator(".bell").click()
    expect(page.locator(".told__item--unread")).to_have_count(3)
    page.locator(".told__item--unread a").first.click()
    expect(page).not_to_have_url(re.compile("/notifications/"))
    author.go("/notifications/")
    expect(page.locator(".told__item--unread")).to_have_count(2)
    page.get_by_role("button", name=author.say("Mark all as read")).click()

    expect(page.locator(".told__item--unread")).to_have_count(0)
    expect(page.locator(".bell .count")).to_have_count(0)


def test_choices_of_mails_are_kept(visit, language, has_scripts):
    reader = visit("lecteur", language, java_script_enabled=has_scripts)
    page = reader.go("/notifications/choices/")
    boxes = page.locator("input[name=mail]")
    before = [box.is_checked() for box in boxes.all()]

    boxes.first.set_checked(not before[0])
    page.locator("main form button").click()
    reader.go("/notifications/choices/")

    assert [box.is_checked() for box in boxes.all()] == [not before[0], *before[1:]]
    boxes.first.set_checked(before[0])
    page.locator("main form button").click()
    expect(page.locator(".notice--good")).to_be_visible()


def test_the_other_language_keeps_the_page_and_its_filters(visit, has_scripts):
    reader = visit("lecteur", "fr", java_script_enabled=has_scripts)
    page = reader.go("/prompts/?q=client&department=sales&sort=newest")

    page.locator("header .menu summary").click()
    page.locator("header button[value=en]").click()

    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page).to_have_url("/prompts/?q=client&department=sales&sort=newest")


def test_colours_change_at_once_and_stay(visit, language):
    reader = visit("lecteur", language)
    page = reader.go("/")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)

    page.locator("header .menu summary").click()
    with page.expect_response("**/theme/"):
        page.locator("header button[value=dark]").click()
    dark = page.evaluate(paper)
    page.reload()

    assert dark != light
    assert page.evaluate(paper) == dark
    reader.check()


def test_a_token_is_shown_once(visit, language, has_scripts):
    admin = visit("admin", language, java_script_enabled=has_scripts)
    page = admin.go("/settings/tokens/")

    page.locator("#id_name").fill("export de nuit")
    page.locator("#id_scopes_0").check()
    page.get_by_role("button", name=admin.say("Make a token")).click()
    secret = page.locator("#new-token").inner_text()
    assert re.fullmatch(r"rtx_[\w-]{43}", secret)
    if has_scripts:
        page.locator("[data-copy-from=new-token]").click()
        expect(page.locator("#toasts")).to_have_text(admin.say("Copied"))
        assert admin.clipboard() == secret
        admin.check()

    admin.go("/settings/tokens/")
    assert secret not in page.content()
    page.get_by_role("button", name=re.compile("export de nuit")).click()
    expect(page.get_by_role("button", name=re.compile("export de nuit"))).to_have_count(0)


def test_an_account_is_opened_and_its_first_password_shown_once(visit, language, company):
    admin = visit("admin", language)
    page = admin.go("/people/new/")
    email = f"nouvelle.{page.evaluate('Date.now()')}@retex.example"

    page.locator("#id_name").fill("Nadia Nouvelle")
    page.locator("#id_email").fill(email)
    page.locator("#id_role_company").select_option("author")
    page.get_by_role("button", name=admin.say("Open the account")).click()
    password = page.locator("#first-password").inner_text()
    admin.check()

    her = visit(None, language)
    page = her.go("/accounts/login/")
    page.locator("#id_login").fill(email)
    page.locator("#id_password").fill(password)
    page.locator("main form button").click()
    expect(page).to_have_url("/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Nadia")


def test_a_connection_is_entered_tried_and_deleted(visit, language, has_scripts):
    admin = visit("admin", language, java_script_enabled=has_scripts)
    page = admin.go("/connections/new/")

    page.locator("#id_service").select_option("simulated")
    page.locator("#id_name").fill("Bac à sable")
    page.locator("#save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Bac à sable")
    page.locator("#try").click()
    expect(page.locator("#outcome .notice--good")).to_contain_text("simulated-stable")
    if has_scripts:
        admin.check()

    page.get_by_role("link", name=admin.say("Delete…")).click()
    page.locator("main form button").last.click()
    expect(page).to_have_url("/connections/")
    expect(page.locator("tbody")).not_to_contain_text("Bac à sable")


def test_an_unknown_service_address_is_refused_in_words(visit, language):
    admin = visit("admin", language)
    page = admin.go("/connections/new/")
    admin.expect_refusal(422)

    page.locator("#id_service").select_option("ollama")
    page.locator("#save").click()

    expect(admin.page.locator(".error-summary")).to_be_focused()
    admin.check()


def test_a_stranger_signs_in_and_lands_where_they_wanted(visit, language, company, has_scripts):
    stranger = visit(None, language, java_script_enabled=has_scripts)
    company.speaks("lecteur", language)
    page = stranger.go("/wanted/")
    expect(page).to_have_url("/accounts/login/?next=/wanted/")

    page.locator("#id_login").fill("lecteur@retex.example")
    page.locator("#id_password").fill("not my password")
    page.locator("main form button").click()
    expect(page.locator("main [role=alert]")).to_be_visible()
    page.locator("#id_password").fill(company.passwords["lecteur@retex.example"])
    page.locator("main form button").click()

    expect(page).to_have_url("/wanted/")
