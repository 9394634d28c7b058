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

from kb.drift.refusals import refusal_in

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
_LIST_LINE = re.compile(r"\n[ \t]*(?:([-*•])|[0-9]{1,4}[.)])[ \t]")
_HEADING = re.compile(r"\n#{1,6} ")
_FIRST_PERSON = frozenset({"I", "I'm", "I’m", "I'll", "I’ll", "I've", "I’ve", "Je", "je"})
_FORMULA = re.compile(r"\\(?:boxed|frac|begin|\(|\[)|\$\$")
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
            float(refusal_in(text) != ""),
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


def _is_json(stripped: str) -> bool:
    if stripped[:1] not in ("[", "{"):
        return False
    try:
        json.loads(stripped, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True
