"""Both languages are whole: every text of the product has its French, and the French is well made."""

import re
from pathlib import Path

import polib
import pytest

CATALOGUE = Path(__file__).parent.parent / "locale/fr/LC_MESSAGES/django.po"
ENTRIES = [entry for entry in polib.pofile(str(CATALOGUE)) if not entry.obsolete]
PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]|\{[a-z_]*\}|%%n")


def french(entry):
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_no_text_waits_for_its_french():
    waiting = [entry.msgid for entry in ENTRIES if not entry.translated() or entry.fuzzy]

    assert waiting == []


def test_the_french_fills_the_same_places():
    wrong = [
        entry.msgid
        for entry in ENTRIES
        for said in french(entry)
        if set(PLACEHOLDER.findall(said))
        - set(PLACEHOLDER.findall(entry.msgid + entry.msgid_plural))
    ]

    assert wrong == []


@pytest.mark.parametrize("mark", [";", "!", "?", "»"])
def test_a_narrow_space_stands_before_high_punctuation(mark):
    wrong = [
        said
        for entry in ENTRIES
        for said in french(entry)
        if re.search(rf"[^\W\d_][ \u00a0]?{re.escape(mark)}(?=[\s\u202f]|$)", said)
        and "&" not in said
        and "://" not in said
    ]

    assert wrong == []


def test_apostrophes_are_curved():
    wrong = [
        said for entry in ENTRIES for said in french(entry) if re.search(r"[^\W\d_]'[^\W\d_]", said)
    ]

    assert wrong == []
