"""The catalogue of components shows all of them, and in colours and icons that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kb.views.style import ICONS, TOKENS
from tests.factories import make_person

pytestmark = pytest.mark.django_db

STATIC = Path(__file__).resolve().parents[2] / "kb/static/kb"


@pytest.fixture
def page(client):
    client.force_login(make_person())
    response = client.get("/style/")
    assert response.status_code == 200
    return response.content.decode()


def test_strangers_sign_in_first(client):
    assert client.get("/style/").url == "/accounts/login/?next=/style/"


@pytest.mark.parametrize("language", ["fr", "en"])
def test_it_is_drawn_in_both_languages_without_a_row_in_the_database(client, language):
    client.force_login(make_person(None, language=language))

    response = client.get("/style/")

    assert response.status_code == 200
    assert f'<html lang="{language}"' in response.content.decode()


@pytest.mark.parametrize(
    "name",
    [
        "button--primary", "button--quiet", "button--danger", "button--small", "link-button",
        "field__help", "field__optional", "error-summary", "check", "choice", "search",
        "badge", "simulated", "chip", "chip--on", "notice--good", "notice--warn", "notice--bad",
        "evidence__bar", "evidence--old", "result__title", "result__summary", "facet",
        "prompt-text", "prompt-text--code", "hole", "hole--filled", "prose", "story__part--worked",
        "story__part--failed", "story__part--limits", "diff", "fold", "comment", "quote", "facts",
        "figure", "table", "tabs", "pages", "menu", "avatar", "dot-unread", "spinner", "empty", "chart",
    ],
)  # fmt: skip
def test_it_shows(page, name):
    shown = {word for names in re.findall(r'class="([^"]*)"', page) for word in names.split()}

    assert name in shown


def test_evidence_is_shown_for_none_few_many_and_old(page):
    assert [
        "Nobody has reported yet" in page,
        "Worked in 3 of 3 uses" in page,
        "Worked in 40 of 50 uses" in page,
        "with an older version" in page,
    ] == [True] * 4


def test_every_colour_has_a_swatch_and_is_a_colour_of_the_design():
    tokens = re.findall(
        r"^\s+--([a-z-]+): light-dark", (STATIC / "css/retex.css").read_text(), re.M
    )
    swatches = re.findall(r"\.swatch--([a-z-]+) ", (STATIC / "css/style.css").read_text())

    assert sorted(TOKENS) == sorted(set(tokens))
    assert sorted(TOKENS) == sorted(swatches)


def test_every_icon_of_the_sprite_is_shown():
    symbols = re.findall(r'<symbol id="([^"]+)"', (STATIC / "img/icons.svg").read_text())

    assert sorted(ICONS) == sorted(symbols)


def test_ids_are_used_once(page):
    ids = re.findall(r'\sid="([^"]+)"', page)

    assert sorted(ids) == sorted(set(ids))
