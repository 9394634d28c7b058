"""Eighteen things anybody can see in an answer, as numbers: how long, how laid out, a refusal, JSON.

Pure. They are few and plain on purpose: a change in one of them can be told to a person as "the
median length fell from 638 to 4 characters".
"""

from __future__ import annotations

import json
import math
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

NAMES: Final = (
    "characters",
    "words",
    "lines",
    "refusal",
    "json",
    "code_block",
    "bullets",
    "numbered_items",
    "heading",
    "bold",
    "digits",
    "capitals",
    "punctuation",
    "other_scripts",
    "questions",
    "ends_a_sentence",
    "first_person",
    "formula",
)
"""Names of the features in the order of `measure`."""

COUNTED: Final = frozenset(
    {"characters", "words", "lines", "bullets", "numbered_items", "questions", "first_person"}
)
"""Counts; `measure` gives log(1 + count), so that one long answer cannot outweigh the others."""

LONGEST_READ: Final = 50_000
"""Characters looked at for layout; lengths are always of the whole answer."""
OPENING: Final = 400
"""A refusal is said at once; further down the same words are mostly quoted."""

_REFUSAL = re.compile(
    r"""\b(?:
        i['’]m\ (?:really\ |very\ )?sorry | i\ am\ (?:really\ |very\ )?sorry | sorry,\ but
      | i\ apologi[sz]e | as\ an\ ai\b | i\ must\ decline
      | i(?:['’]m|\ am)\ (?:unable|not\ able)\ to | unable\ to\ (?:help|assist|provide|comply)
      | i\ (?:cannot|can['’]t|can\ not|won['’]t)\ (?:help|assist|provide|fulfil|comply|do\ that|answer|continue|discuss)
      | je\ suis\ (?:vraiment\ )?désolé | désolée?,\ (?:mais\ )?je | je\ ne\ (?:peux|suis)\ pas\ (?:vous\ aider|répondre|en\ mesure|capable)
      | je\ ne\ peux\ (?:ni|malheureusement)\b | en\ tant\ qu['’](?:ia|intelligence\ artificielle|assistant)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_LIST_LINE = re.compile(r"\n[ \t]*(?:([-*•])|[0-9]{1,4}[.)])[ \t]")
_HEADING = re.compile(r"\n#{1,6} ")
_FIRST_PERSON = frozenset({"I", "I'm", "I’m", "I'll", "I’ll", "I've", "I’ve", "Je", "je"})
_FORMULA = re.compile(r"\\(?:boxed|frac|begin|\(|\[)|\$\$")
_SORRY = (
    "sorry",
    "apologi",
    "able to",
    "decline",
    "as an ai",
    "i can",
    "i won",
    "désol",
    "je ne",
    "tant qu",
)
"""Every refusal holds one of these; most answers hold none, which is quick to see."""

_PUNCTUATION = np.array([33 <= c < 128 and not chr(c).isalnum() for c in range(256)])
# In UTF-8 these bytes begin a character beyond Latin script and typographic punctuation.
_OTHER_SCRIPT = np.array([c >= 0xC9 and c != 0xE2 for c in range(256)])


def measure(text: str) -> NDArray[np.float64]:
    """The features of one answer, float[18] in the order of NAMES; never raises.

    Counts are log(1 + count), shares run from 0 to 1, and what is or is not is 1 or 0.
    """
    read = text[:LONGEST_READ]
    stripped = read.strip()
    words = text.split()
    encoded = np.frombuffer(read.encode("utf-8", "replace"), np.uint8)
    bytes_seen = np.bincount(encoded, minlength=256)
    length = max(1, len(read))
    below = "\n" + read
    items = [bullet != "" for bullet in _LIST_LINE.findall(below)]
    return np.array(
        [
            math.log1p(len(text)),
            math.log1p(len(words)),
            math.log1p(text.count("\n")),
            float(is_refusal(text)),
            float(_is_json(stripped)),
            float("```" in read),
            math.log1p(sum(items)),
            math.log1p(len(items) - sum(items)),
            float("#" in read and _HEADING.search(below) is not None),
            float("**" in read),
            int(bytes_seen[48:58].sum()) / length,
            int(bytes_seen[65:91].sum()) / length,
            int(bytes_seen[_PUNCTUATION].sum()) / length,
            int(bytes_seen[_OTHER_SCRIPT].sum()) / length,
            math.log1p(read.count("?")),
            float(stripped[-1:] in tuple('.!?…)]}»”"`')),
            math.log1p(sum(map(_FIRST_PERSON.__contains__, words))),
            float(("\\" in read or "$$" in read) and _FORMULA.search(read) is not None),
        ]
    )


def is_refusal(text: str) -> bool:
    """Whether the answer opens with the words of a refusal, in English or French."""
    opening = text[:OPENING].lower()
    return any(part in opening for part in _SORRY) and _REFUSAL.search(opening) is not None


def _is_json(stripped: str) -> bool:
    if stripped[:1] not in ("[", "{"):
        return False
    try:
        json.loads(stripped, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True
