"""The look at a page sees what it is meant to see; else a page without a fault would prove nothing."""

import pytest

ELSEWHERE = "http://127.0.0.1:9/picture.png"


@pytest.fixture
def planted(visit):
    """Puts a piece of HTML into a page and looks at it, as a French reader."""

    def plant(html):
        window = visit("lecteur", "fr")
        page = window.go("/wanted/new/")
        page.evaluate(
            "html => document.querySelector('main .page').insertAdjacentHTML('beforeend', html)",
            html,
        )
        found, window.noise[:] = window.faults(), []
        return found

    return plant


def test_a_page_as_it_is_has_no_fault(planted):
    assert planted("<p>Tout va bien.</p>") == []


def test_an_english_text_of_the_catalogue_is_seen_unless_it_is_marked_as_english(planted):
    shown = planted('<p>This comment was removed.</p><p lang="en">Ask for a prompt</p>')

    assert shown == ["English: This comment was removed."]


def test_english_is_seen_in_what_only_assistive_technology_reads(planted):
    shown = planted('<button type="button" aria-label="Keyboard shortcuts">?</button>')

    assert shown == ["English: Keyboard shortcuts"]


def test_what_is_too_wide_is_seen(planted):
    (fault,) = planted(f"<table><tr><td>{'m' * 400}</td></tr></table>")

    assert fault.startswith("scrolls sideways: ['table.', 'tbody.', 'tr.', 'td.', '")


def test_what_axe_finds_is_seen(planted):
    (fault,) = planted('<button type="button" id="mute"></button>')

    assert fault.startswith("""axe button-name: ['#mute'] <button type="button" id="mute">""")


def test_a_request_to_another_host_and_a_refusal_by_the_policy_are_seen(planted):
    faults = planted(f'<img src="{ELSEWHERE}" alt=""><p style="color: red">rouge</p>')

    refused = [fault for fault in faults if "Content Security Policy" in fault]
    assert any(ELSEWHERE in fault for fault in faults)
    assert any("style-src" in fault for fault in refused)


def test_a_wrong_language_of_the_page_is_seen(visit):
    window = visit("lecteur", "fr")
    page = window.go("/")
    page.evaluate("document.documentElement.lang = 'en'")

    assert "the page says lang=en" in window.faults()
