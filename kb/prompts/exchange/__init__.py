"""Formats prompts travel in, one pure module each, and what all of them share.

A reader never raises on data: it yields rows and problems. Whatever it could not carry over as it
was, it says in a Note. Nothing found in a file is ever evaluated.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Literal

LONGEST_TEXT = 200_000
"""Characters of a prompt. The longest real one we know has 144,260."""
LONGEST_TITLE = 160


@dataclass(frozen=True)
class Note:
    """What became of one field: dropped, approximated, or added without standing in the file."""

    field: str
    kind: Literal["dropped", "approximated", "added"]
    note: str


@dataclass(frozen=True)
class Problem:
    """Why a file, or one row of it, could not be read.

    `line` is the physical line it begins on, 1 for the first. `message` names what is wrong and
    what to do next; `code` stays the same whatever the message says.
    """

    line: int
    code: Literal["encoding", "csv", "column", "columns", "empty", "too_long"]
    message: str


def content_hash(text: str) -> str:
    """A fingerprint of what a prompt says, 64 hexadecimal digits, to find the same one again.

    Case, spaces, line ends and the composition of accents do not count. The title does not
    either: the same title often stands over different prompts, and the same prompt under two.
    """
    plain = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


# --- Language ----------------------------------------------------------------------------------

_SIGNIFICANT_LENGTH = 20_000
"""Characters looked at; a text does not change its language after so many."""
_FEWEST_LETTERS = 8
_SCRIPT_SHARE = 0.4
"""Share of letters that decides for a script: technical texts are full of Latin words."""
_FEWEST_HITS = 3
_HIT_SHARE = 0.06
"""Share of words that are stop words of the language. In running French or English it is 0.3 to
0.5, in a list of key words below 0.05."""
_LEAD = 2
"""The best language has this many times the hits of the second, else nobody knows."""

_SCRIPTS: dict[str, re.Pattern[str]] = {
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"),
    "ja": re.compile("[\u3040-\u30ff]"),
    "ko": re.compile("[\u1100-\u11ff\uac00-\ud7af]"),
    "ar": re.compile("[\u0600-\u06ff]"),
    "he": re.compile("[\u0590-\u05ff]"),
    "el": re.compile("[\u0370-\u03ff]"),
    "ru": re.compile("[\u0400-\u04ff]"),
    "hi": re.compile("[\u0900-\u097f]"),
    "th": re.compile("[\u0e00-\u0e7f]"),
}
_UNLIKE: dict[str, re.Pattern[str]] = {
    "ar": re.compile(
        "[\u067e\u0686\u0698\u06af\u06cc\u06a9\u0679\u0688\u0691\u06d2]"
    ),  # Persian, Urdu
    "ru": re.compile("[\u0454\u0456\u0457\u0491\u0458\u0459\u045a\u045e]"),  # Ukrainian, Serbian…
}
"""Letters that give away another language of the same script."""

# Words found in one of these languages and not in the others; neighbours of French and English are
# listed so that they are not taken for them.
_STOP_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(
        {
            *("the", "and", "of", "to", "is", "are", "with", "that", "this", "for", "your", "you"),
            *(
                "it",
                "be",
                "will",
                "not",
                "from",
                "or",
                "as",
                "each",
                "should",
                "must",
                "have",
                "by",
            ),
            *(
                "an",
                "what",
                "how",
                "can",
                "when",
                "any",
                "if",
                "all",
                "my",
                "their",
                "into",
                "which",
            ),
        }
    ),
    "fr": frozenset(
        {
            *("le", "les", "des", "et", "est", "une", "dans", "pour", "avec", "vous", "sur", "je"),
            *(
                "qui",
                "pas",
                "au",
                "aux",
                "du",
                "ce",
                "cette",
                "votre",
                "ou",
                "où",
                "être",
                "chaque",
            ),
            *("ne", "leur", "tu", "ton", "ta", "à"),
        }
    ),
    "es": frozenset(
        {
            *(
                "el",
                "los",
                "las",
                "y",
                "del",
                "una",
                "para",
                "con",
                "por",
                "que",
                "como",
                "su",
                "es",
            ),
            *("al", "lo", "más", "este", "esta", "cada"),
        }
    ),
    "de": frozenset(
        {
            *(
                "der",
                "die",
                "das",
                "und",
                "ist",
                "mit",
                "für",
                "von",
                "den",
                "ein",
                "eine",
                "nicht",
            ),
            *("zu", "auf", "sie", "ich", "im", "werden", "dem"),
        }
    ),
    "it": frozenset(
        {
            *(
                "il",
                "di",
                "che",
                "per",
                "con",
                "della",
                "delle",
                "gli",
                "una",
                "sono",
                "nel",
                "dei",
            ),
            *("più", "come", "è", "alla"),
        }
    ),
    "pt": frozenset(
        {
            *("o", "os", "as", "do", "da", "dos", "das", "e", "uma", "para", "com", "não", "em"),
            *("você", "são", "no", "na", "seu", "ao"),
        }
    ),
    "tr": frozenset(
        {
            *(
                "ve",
                "bir",
                "bu",
                "için",
                "ile",
                "olarak",
                "olan",
                "gibi",
                "veya",
                "da",
                "de",
                "her",
            ),
            *("daha", "çok", "ben", "bana"),
        }
    ),
    "nl": frozenset(
        {
            *("het", "een", "van", "en", "voor", "met", "niet", "zijn", "op", "aan", "je", "dat"),
            *("wordt", "deze"),
        }
    ),
}
_WORD = re.compile(r"[^\W\d_]+")


def guess_language(text: str) -> str:
    """A two-letter code, or `und` when the text does not tell.

    The script decides where it belongs to one language; Latin letters are judged by how many of
    the words are stop words of English, French and a few neighbours. A guess for a form to start
    from, not a fact.
    """
    sample = text[:_SIGNIFICANT_LENGTH].casefold()
    return _by_script(sample) or _by_stop_words(sample) or "und"


def _by_script(sample: str) -> str:
    letters = sum(map(len, _WORD.findall(sample)))
    counts = {code: len(script.findall(sample)) for code, script in _SCRIPTS.items()}
    # Japanese writes with Chinese signs too, and nobody else with kana.
    if counts["ja"] > _SCRIPT_SHARE * counts["zh"] / 2:
        counts["ja"] += counts.pop("zh")
    code = max(counts, key=lambda script: counts[script])
    if counts[code] < max(_FEWEST_LETTERS, _SCRIPT_SHARE * letters):
        return ""
    return "und" if code in _UNLIKE and _UNLIKE[code].search(sample) else code


def _by_stop_words(sample: str) -> str:
    words = Counter(_WORD.findall(sample))
    hits = {code: sum(words[word] for word in stop) for code, stop in _STOP_WORDS.items()}
    best, second = sorted(hits, key=lambda code: hits[code], reverse=True)[:2]
    is_clear = hits[best] >= max(_FEWEST_HITS, _HIT_SHARE * words.total(), _LEAD * hits[second])
    return best if is_clear else ""
