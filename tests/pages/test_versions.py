"""The history of a prompt: list, one version, what changed, bringing one back."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import reverse

from kb.community import actions as community
from kb.prompts import actions
from kb.prompts.template import Variable
from tests.factories import NOW, later, make_department, make_person, make_prompt, make_report

pytestmark = pytest.mark.django_db


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"), name="Ada Author")
    client.force_login(person)
    return person


def change(prompt, *, note="", days=1, **fields):
    actions.edit_prompt(
        prompt=prompt,
        fields=actions.PromptFields(**fields),
        by=prompt.author,
        now=later(days=days),
        based_on=None,
        change_note=note,
    )
    prompt.refresh_from_db()
    return prompt


def versions_url(prompt):
    return reverse("prompt-versions", args=[prompt.slug])


def version_url(prompt, number):
    return reverse("prompt-version", args=[prompt.slug, number])


def diff_url(prompt, query=""):
    return reverse("prompt-diff", args=[prompt.slug]) + query


def restore_url(prompt, number):
    return reverse("prompt-restore", args=[prompt.slug, number])


def words(page):
    """The text of the page's content, without markup."""
    main = re.search(r"<main.*?</main>", page.content.decode(), re.DOTALL)
    assert main is not None
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main[0])).split())


# --- Who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_url", [versions_url, diff_url, lambda p: version_url(p, 1)])
def test_the_history_of_what_one_may_not_read_does_not_exist(client, make_url):
    prompt = make_prompt(visibility="private")
    client.force_login(make_person("reader"))

    assert client.get(make_url(prompt)).status_code == 404


@pytest.mark.parametrize("make_url", [versions_url, diff_url, lambda p: version_url(p, 1)])
def test_a_stranger_is_sent_to_the_sign_in_page(client, make_url):
    response = client.get(make_url(make_prompt()))

    assert response.status_code == 302
    assert response.url.startswith("/accounts/login/")


def test_a_reader_sees_no_way_to_restore_and_cannot(client):
    prompt = change(make_prompt(), text="Say goodbye.")
    client.force_login(make_person("reader"))

    page = client.get(version_url(prompt, 1))
    response = client.post(restore_url(prompt, 1))

    assert 'id="restore"' not in page.content.decode()
    assert response.status_code == 403
    assert prompt.versions.count() == 2


# --- The list -----------------------------------------------------------------------------------


def test_versions_are_listed_newest_first_with_who_why_and_what_they_proved(client, author):
    prompt = make_prompt(author, text="Say hello.")
    make_report(prompt, outcome="worked")
    change(prompt, text="Say goodbye.", note="Politer.")
    actions.restore_version(prompt=prompt, number=1, by=author, now=later(days=2))

    said = words(client.get(versions_url(prompt)))

    assert re.findall(r"Version (\d)(?! is)", said) == ["3", "2", "1"]
    assert "Version 3 current restored from 1 Ada Author" in said
    assert "Version 2 Politer. Ada Author 3 March 2026" in said
    assert said.endswith("Worked in 1 of 1 use (21% – 100%)")


def test_one_version_offers_no_comparison(client, author):
    page = client.get(versions_url(make_prompt(author)))

    assert "There is one version so far." in words(page)
    assert 'class="compare"' not in page.content.decode()


def test_long_histories_come_in_pages(client, author):
    prompt = make_prompt(author)
    for number in range(34):
        change(prompt, text=f"Say {number}.")

    first, second = client.get(versions_url(prompt)), client.get(versions_url(prompt) + "?page=2")

    assert [len(page.context["rows"]) for page in (first, second)] == [30, 5]
    assert len(second.context["numbers"]) == 35


def test_one_version_and_three_cost_the_same_number_of_queries(
    client, author, django_assert_num_queries
):
    one, three = make_prompt(author), make_prompt(author)
    for text in ("Say two.", "Say three."):
        make_report(change(three, text=text))
    client.get(versions_url(one))

    for prompt in (one, three):
        with django_assert_num_queries(QUERIES):
            client.get(versions_url(prompt))


QUERIES = 13
"""Session, person, standing, prompt with facets, versions, counts, evidence, frame."""


# --- One version --------------------------------------------------------------------------------


def test_a_version_is_shown_as_it_was(client, author):
    prompt = make_prompt(
        author,
        text="Sell {{ thing }}.",
        system="Be brief.",
        variables=[Variable("thing", "What to sell", "choice", options=("tea", "milk"))],
    )
    community.signal(prompt=prompt, outcome="failed", by=make_person(), now=NOW)
    change(prompt, text="Sell everything.", variables=[])

    page = client.get(version_url(prompt, 1))

    said = words(page)
    assert "Today it is at version 2." in said
    assert "Sell What to sell ." in said
    assert "Be brief." in said
    assert "thing What to sell tea, milk" in said
    assert "Worked in 0 of 1 use" in said
    assert f'action="{restore_url(prompt, 1)}"' in page.content.decode()


def test_the_current_version_cannot_be_restored(client, author):
    prompt = change(make_prompt(author), text="Say goodbye.")

    page = client.get(version_url(prompt, 2))

    assert 'id="restore"' not in page.content.decode()


def test_a_version_that_says_what_the_prompt_says_needs_no_restoring(client, author):
    prompt = change(make_prompt(author, text="Say hello."), text="Say goodbye.")
    change(prompt, text="Say hello.")

    page = client.get(version_url(prompt, 1))

    assert 'id="restore"' not in page.content.decode()
    assert client.post(restore_url(prompt, 1)).status_code == 422


@pytest.mark.parametrize("number", [0, 2, 99_999_999_999_999_999_999])
def test_a_version_that_does_not_exist_is_not_found(client, author, number):
    prompt = make_prompt(author)

    assert client.get(f"/prompts/{prompt.slug}/versions/{number}/").status_code == 404
    assert client.post(f"/prompts/{prompt.slug}/versions/{number}/restore/").status_code == 404


# --- Bringing one back --------------------------------------------------------------------------


def test_restoring_makes_a_new_version_and_says_how_to_undo_it(client, author):
    prompt = change(make_prompt(author, text="Say hello."), text="Say goodbye.")

    response = client.post(restore_url(prompt, 1), follow=True)

    prompt.refresh_from_db()
    assert response.redirect_chain == [(versions_url(prompt), 302)]
    assert (prompt.current.number, prompt.current.text, prompt.current.restored_from) == (
        3,
        "Say hello.",
        1,
    )
    assert "Version 1 is back, as version 3. To undo it, restore version 2." in words(response)


def test_looking_does_not_restore(client, author):
    prompt = change(make_prompt(author), text="Say goodbye.")

    assert client.get(restore_url(prompt, 1)).status_code == 405
    assert prompt.versions.count() == 2


# --- What changed -------------------------------------------------------------------------------


def test_a_difference_is_marked_for_eyes_and_for_screen_readers(client, author):
    prompt = change(
        make_prompt(author, text="Read the long lease."), text="Read the new lease slowly."
    )

    page = client.get(diff_url(prompt))

    html = page.content.decode()
    assert (
        '<del><span class="visually-hidden diff__word">[removed: </span>long'
        '<span class="visually-hidden diff__word">]</span></del>' in html
    )
    assert (
        '<ins><span class="visually-hidden diff__word">[added: </span>new'
        '<span class="visually-hidden diff__word">]</span></ins>' in html
    )
    assert "2 words added, 1 removed" in words(page)


def test_any_two_versions_can_be_compared_either_way(client, author):
    prompt = make_prompt(author, text="One.")
    for text in ("One two.", "One two three."):
        change(prompt, text=text)

    there = words(client.get(diff_url(prompt, "?from=1&to=3")))
    back = words(client.get(diff_url(prompt, "?from=3&to=1")))

    assert "From version 1 to 3" in there
    assert "2 words added, 0 removed" in there
    assert "From version 3 to 1" in back
    assert "0 words added, 2 removed" in back


def test_long_unchanged_parts_are_folded_until_asked_for(client, author):
    middle = " ".join(f"word{number}" for number in range(200))
    prompt = make_prompt(author, text=f"Begin. {middle} End.")
    change(prompt, text=f"Start. {middle} Stop.")

    folded = client.get(diff_url(prompt))
    unfolded = client.get(diff_url(prompt, "?from=1&to=2&all=1"))

    assert "word100" not in folded.content.decode()
    assert re.search(r"\d+ unchanged words", words(folded))
    assert 'href="?from=1&amp;to=2&amp;all=1"' in folded.content.decode()
    assert middle in unfolded.content.decode()
    assert "Fold the unchanged parts" in words(unfolded)


def test_system_text_and_places_to_fill_in_are_compared_too(client, author):
    prompt = make_prompt(
        author,
        text="{{ a }} {{ b }}",
        system="Be kind.",
        variables=[Variable("a", "First"), Variable("b")],
    )
    change(
        prompt,
        text="{{ a }} {{ c }}",
        system="Be brief.",
        variables=[Variable("a", "First thing", "choice", options=("x", "y")), Variable("c")],
    )

    said = words(client.get(diff_url(prompt)))

    assert "Standing instructions Be [removed: kind ] [added: brief ] ." in said
    assert (
        "Places to fill in a Question or label [removed: First ] [added: First thing ] "
        "Answer [removed: A few words ] [added: One of a list ] "
        "The list [added: x, y ] "
        "[added: c ] [removed: b ]" in said
    )


def test_a_change_of_places_alone_says_that_the_text_is_the_same(client, author):
    prompt = make_prompt(author, text="{{ a }}", variables=[Variable("a", "First")])
    change(prompt, variables=[Variable("a", "Second")])

    assert "The text is the same; what is said of its places has changed." in words(
        client.get(diff_url(prompt))
    )


def test_a_blank_line_that_came_or_went_can_be_seen(client, author):
    prompt = change(make_prompt(author, text="One.\nTwo."), text="One.\n\nTwo.")

    assert (
        'class="diff__blank" aria-hidden="true">¶' in client.get(diff_url(prompt)).content.decode()
    )


def test_equal_versions_say_so(client, author):
    prompt = change(make_prompt(author), text="Say goodbye.")

    assert "Both say the same, word for word." in words(
        client.get(diff_url(prompt, "?from=2&to=2"))
    )


def test_a_single_version_has_nothing_to_compare(client, author):
    assert "Nothing to compare yet" in words(client.get(diff_url(make_prompt(author))))


@pytest.mark.parametrize(
    "query", ["?from=9&to=1", "?from=x", "?to=-1", "?to=٣", "?from=" + "9" * 5_000]
)
def test_numbers_that_are_no_versions_are_not_found(client, author, query):
    assert client.get(diff_url(make_prompt(author), query)).status_code == 404


def test_huge_texts_are_compared_and_the_page_says_how_coarsely(client, author):
    old = "\n".join(f"old line {number} of many words" for number in range(5_000))
    new = "\n".join(f"new line {number * 7} with other words" for number in range(5_000))
    prompt = change(make_prompt(author, text=old), text=new)

    page = client.get(diff_url(prompt))

    assert page.status_code == 200
    assert "too long and too different to compare word by word" in words(page)
