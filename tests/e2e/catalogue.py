"""The English of the catalogue, to be found where a French reader should not meet it."""

from functools import cache

import polib

from kb.supervisor import addresses

SHORTEST = 12
"""Shorter words may well stand in a French text by chance: 'Version 2', 'Comment'."""


@cache
def english_texts():
    """Every text of the catalogue that French says otherwise, without those that have blanks."""
    catalogue = polib.pofile(str(addresses.ROOT / "locale/fr/LC_MESSAGES/django.po"))
    texts = set()
    for entry in catalogue:
        french = {entry.msgstr, *entry.msgstr_plural.values()}
        for text in (entry.msgid, entry.msgid_plural):
            is_plain = not {"%", "{", "<"} & set(text)
            if len(text) >= SHORTEST and is_plain and text not in french:
                texts.add(" ".join(text.split()))
    return frozenset(texts)


def english_in(shown):
    """Texts of the catalogue that stand untranslated among what a page shows."""
    return sorted(text for text in english_texts() if text in shown)
