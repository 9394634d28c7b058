"""Promises that hold when people do the same thing at the same moment: VOTE-ONE and NO-LOST-EDIT."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection
from django.test import Client

from accounts.actions import create_token
from kb.community.models import Vote
from kb.prompts.models import Prompt
from tests.factories import make_person, make_prompt

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 6


def at_once(acts):
    """What each act returned, when all begin together, each on a connection of its own."""
    start = Barrier(len(acts))

    def run(act):
        try:
            start.wait()
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def browser_of(person):
    made = Client()
    made.force_login(person)
    return made


def test_vote_one_per_person_however_often_at_once():
    """VOTE-ONE: many clicks of few people, in any order, leave one row each and the sum on the page."""
    prompt = make_prompt()
    people = [make_person("reader") for _ in range(3)]
    browsers = [browser_of(person) for person in people * 2]

    answers = at_once(
        [lambda b=b: b.post(f"/prompts/{prompt.slug}/vote/", {"on": "1"}) for b in browsers]
    )

    assert [answer.status_code for answer in answers] == [302] * AT_ONCE
    assert sorted(Vote.objects.values_list("person", flat=True)) == [p.pk for p in people]
    page = browser_of(people[0]).get(f"/prompts/{prompt.slug}/")
    assert page.context["votes"] == 3


def test_vote_one_is_taken_back_and_cast_at_once():
    """VOTE-ONE: the last word of one person is zero or one vote, never two, never a stumble."""
    prompt, person = make_prompt(), make_person("reader")
    browsers = [browser_of(person) for _ in range(AT_ONCE)]

    answers = at_once(
        [
            lambda b=b, on=str(number % 2): b.post(f"/prompts/{prompt.slug}/vote/", {"on": on})
            for number, b in enumerate(browsers)
        ]
    )

    assert [answer.status_code for answer in answers] == [302] * AT_ONCE
    assert Vote.objects.count() in (0, 1)


def test_no_lost_edit_of_people_who_save_at_once():
    """NO-LOST-EDIT: of edits based on the same edition one is kept, the others are shown as conflicts."""
    author = make_person()
    prompt = make_prompt(author, text="At first.")
    browsers = [browser_of(author) for _ in range(AT_ONCE)]
    texts = [f"Text number {number}." for number in range(AT_ONCE)]

    def save(browser, text):
        data = {
            "title": prompt.title,
            "text": text,
            "edition": prompt.edition,
            "visibility": "company",
            "language": "en",
            "do": "save",
        }
        return browser.post(f"/prompts/{prompt.slug}/edit/", data)

    answers = at_once([lambda b=b, t=t: save(b, t) for b, t in zip(browsers, texts, strict=True)])

    assert sorted(answer.status_code for answer in answers) == [302] + [409] * (AT_ONCE - 1)
    kept = texts[[answer.status_code for answer in answers].index(302)]
    versions = Prompt.objects.get(pk=prompt.pk).versions.order_by("number")
    assert [(row.number, row.text) for row in versions] == [(1, "At first."), (2, kept)]
    lost = [
        text
        for text, answer in zip(texts, answers, strict=True)
        if answer.status_code == 409 and text not in answer.content.decode()
    ]
    assert lost == []


@pytest.mark.parametrize(("header", "status"), [(True, 412), (False, 409)])
def test_no_lost_edit_of_programs_that_write_at_once(header, status):
    """NO-LOST-EDIT: 412 with If-Match, 409 with the edition in the body; numbers of versions are dense."""
    author = make_person()
    prompt = make_prompt(author, text="At first.")
    text = create_token(person=author, name="x", scopes=["write"], by=author)[1]
    headers = {"authorization": f"Bearer {text}"}
    if header:
        headers["if-match"] = f'"{prompt.edition}"'

    def write(number):
        body = {"text": f"Text number {number}."}
        return Client().patch(
            f"/api/v1/prompts/{prompt.slug}/",
            body if header else {**body, "edition": prompt.edition},
            content_type="application/json",
            headers=headers,
        )

    answers = at_once([lambda n=n: write(n) for n in range(AT_ONCE)])

    assert sorted(answer.status_code for answer in answers) == [200] + [status] * (AT_ONCE - 1)
    assert [row.number for row in prompt.versions.order_by("number")] == [1, 2]


def test_no_lost_edit_without_an_edition_keeps_every_text():
    """NO-LOST-EDIT: who says not what an edit is based on overwrites nothing: each text has its number."""
    author = make_person()
    prompt = make_prompt(author, text="At first.")
    text = create_token(person=author, name="x", scopes=["write"], by=author)[1]

    def write(number):
        return Client().patch(
            f"/api/v1/prompts/{prompt.slug}/",
            {"text": f"Text number {number}."},
            content_type="application/json",
            headers={"authorization": f"Bearer {text}"},
        )

    answers = at_once([lambda n=n: write(n) for n in range(AT_ONCE)])

    versions = list(prompt.versions.order_by("number").values_list("number", "text"))
    assert [answer.status_code for answer in answers] == [200] * AT_ONCE
    assert [number for number, _text in versions] == list(range(1, AT_ONCE + 2))
    assert sorted(row for _number, row in versions[1:]) == [
        f"Text number {number}." for number in range(AT_ONCE)
    ]
