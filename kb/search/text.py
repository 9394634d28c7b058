"""Text as the search sees it: folded, cut into words, and quoted from.

PostgreSQL's French dictionary tells `développé` from `developpe`, its parser takes `oui/non` for a
file, `next.js` for a host, `-4` for a number and `<NAME>` for a tag to be skipped, and not every
server has `unaccent`. So both sides, what is indexed and what is asked, are folded and cut here,
and the server only meets plain words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

LONGEST_WORD = 80
"""Characters; anything longer is an encoded blob, not a word."""
MOST_PARTS = 6
"""A chain of more parts is an address or a path: its parts are indexed, its whole is not."""
EXCERPT_WIDTH = 240
"""Characters of an excerpt: about two lines of a result."""

# --- Folding -----------------------------------------------------------------------------------

_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff]"
)
"""Accents and vowel points that a reader can do without. Marks that are letters of their word, as
in Hindi or Thai, stay."""
_SPECIAL = {
    **dict.fromkeys("’‘‛ʼʹ′´＇", "'"),
    **dict.fromkeys("\u2010\u2011\u2012\ufe63\uff0d", "-"),
    "\u0640": "",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "ł": "l",
    "ħ": "h",
    "ı": "i",
}
_MOST_REMEMBERED = 20_000
"""Signs whose folding is kept; all living scripts without Chinese have fewer."""


class _Foldings(dict[int, str]):
    """The folding of each sign, by code point, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = _fold_sign(chr(code))
        if len(self) < _MOST_REMEMBERED:
            self[code] = folded
        return folded


def _fold_sign(sign: str) -> str:
    category = unicodedata.category(sign)
    if category in ("Cc", "Cs"):
        return sign if sign in "\n\t" else " "
    if category == "Cf":
        return ""
    if category[0] == "Z":
        return " "
    low = sign.casefold()
    if low in _SPECIAL:
        return _SPECIAL[low]
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", low)).casefold()
    return unicodedata.normalize("NFC", "".join(_SPECIAL.get(part, part) for part in plain))


_FOLDINGS = _Foldings()


def fold(text: str) -> str:
    """`text` in small letters without accents or ligatures, for comparing and indexing.

    Typographic apostrophes and hyphens become ' and -, spaces of every width a plain space, signs
    that do not show disappear, control characters become spaces. Sign by sign, so that folding a
    part of a text gives that part of the folded text. Lower case is done here and not left to the
    database, whose idea of it depends on its locale.
    """
    return text.translate(_FOLDINGS)


def fold_with_offsets(text: str) -> tuple[str, Sequence[int]]:
    """`fold(text)`, and for each of its characters the index in `text` it came from.

    One more offset closes the list: the stretch `folded[a:b]` is `text[offsets[a]:offsets[b]]`.
    """
    if all(len(_FOLDINGS[ord(sign)]) == 1 for sign in set(text)):
        return fold(text), range(len(text) + 1)
    parts = [_FOLDINGS[ord(sign)] for sign in text]
    offsets = [index for index, part in enumerate(parts) for _sign in part]
    return "".join(parts), [*offsets, len(text)]


# --- Words and compounds -----------------------------------------------------------------------

_LETTER = r"[^\W_]"
_TOKEN = re.compile(
    rf"(?P<dot>(?<![\w.])\.(?=net\b))?(?P<chain>{_LETTER}++(?:[-.'_&]{_LETTER}++)*+)(?P<sign>\+\+|\#(?!\w))?"
)
_ELISION = re.compile(r"(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu)'(?=[^\W\d_])")
_SIGNS = {"++": "plusplus", "#": "sharp"}


class Word(NamedTuple):
    """A word of a folded text.

    `parts` are what the index holds one by one. `whole` is the spelling without joints of a
    compound (`gpt-4o`: parts gpt and 4o, whole gpt4o), empty for a plain word. `elided` is the
    French article in front of it (`l'e-mail`: elided l, parts e and mail, whole email).

    To look for a word, look for its whole if it has one, else for its only part, and never for
    what is elided: so `gpt-4o` does not find `gpt-4o-mini`, and `l'utilisateur` finds
    `utilisateurs`.
    """

    parts: tuple[str, ...]
    whole: str = ""
    elided: str = ""


def words(folded: str) -> list[Word]:
    """The words of a folded text in order, without punctuation, blobs left out."""
    return [word for match in _TOKEN.finditer(folded) for word in _read(match)]


def expand_compounds(folded: str) -> str:
    """A folded text as plain words to be indexed: all parts in order, then the compounds whole.

    Parts keep their neighbours, so that phrases can be looked for; wholes come after them, once
    each. Elided words are given whole too (`lutilisateur`), for people who type no apostrophe.
    """
    parts: list[str] = []
    wholes: dict[str, None] = {}
    for word in words(folded):
        if word.elided:
            parts.append(word.elided)
            wholes[word.elided + (word.whole or "".join(word.parts))] = None
        parts += word.parts
        if word.whole:
            wholes[word.whole] = None
    return "\n".join(filter(None, (" ".join(parts), " ".join(wholes))))


LONGEST_TITLE_KEY = 200


def title_key(title: str) -> str:
    """The words of a title, folded, in order: equal for titles that a reader would call the same."""
    parts = (part for word in words(fold(title)) for part in word.parts)
    return " ".join(parts)[:LONGEST_TITLE_KEY]


def _read(match: re.Match[str]) -> Iterator[Word]:
    chain, elided = match["chain"], ""
    if chain.isalnum() and match[0] == chain:
        if len(chain) <= LONGEST_WORD:
            yield Word((chain,))
        return
    if "'" in chain and (article := _ELISION.match(chain)):
        elided, chain = article[0][:-1], chain[article.end() :]
    parts = _parts(chain)
    if any(len(part) > LONGEST_WORD for part in parts):
        return
    if match["dot"]:
        yield Word(parts, whole="dot" + "".join(parts))
    elif match["sign"] and (match["sign"] == "++" or len(chain) == 1):
        yield Word(parts, whole="".join(parts) + _SIGNS[match["sign"]], elided=elided)
    elif len(parts) == 1:
        yield Word(parts, elided=elided)
    elif len(parts) > MOST_PARTS or all(part[0].isdigit() and part[-1].isdigit() for part in parts):
        # Dates and ranges of figures have no spelling in one piece.
        yield from (Word((part,)) for part in parts)
    else:
        yield Word(parts, whole="".join(parts).replace(".", ""), elided=elided)


def _parts(chain: str) -> tuple[str, ...]:
    """The parts of a chain; a decimal point joins figures to one part, as in 3.5."""
    return tuple(_PART.findall(chain))


_PART = re.compile(rf"(?<!{_LETTER})\d++(?:\.\d++)*+(?!{_LETTER}|\.{_LETTER})|{_LETTER}++")


# --- Excerpts ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """A stretch of an excerpt, to be escaped by the caller; `is_match` when it is to be marked."""

    text: str
    is_match: bool


def excerpt(text: str, terms: Iterable[str], width: int = EXCERPT_WIDTH) -> list[Segment]:
    """About `width` characters of `text` where most of `terms` stand, accents and case kept.

    Marked are words equal to a word of the terms, beginning with one of at least four letters, or
    sharing its stem by a rough rule for French and English; what the database found by a finer
    rule may go unmarked. White space is drawn together. Cut ends show an ellipsis. Without a match
    the excerpt is the beginning.
    """
    line = " ".join(text.split())
    folded, offsets = fold_with_offsets(line)
    matches = _matches(folded, terms)
    start, end = _window(folded, matches, width)
    segments: list[Segment] = []
    position = start
    for first, last, _term in matches:
        if start <= first and last <= end:
            segments += [
                Segment(line[offsets[position] : offsets[first]], is_match=False),
                Segment(line[offsets[first] : offsets[last]], is_match=True),
            ]
            position = last
    segments.append(Segment(line[offsets[position] : offsets[end]], is_match=False))
    if start > 0:
        segments.insert(0, Segment("…", is_match=False))
    if end < len(folded):
        segments.append(Segment("…", is_match=False))
    return _joined(segments)


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    """Neighbours of one kind made one, empty ones left out."""
    joined: list[Segment] = []
    for segment in segments:
        if not segment.text:
            continue
        if joined and joined[-1].is_match == segment.is_match:
            segment = Segment(joined.pop().text + segment.text, segment.is_match)
        joined.append(segment)
    return joined


_Match = tuple[int, int, int]
"""Start and end in the folded text, and the number of the term."""
_FEWEST_LETTERS = 4
"""Below this many letters a beginning in common means nothing."""
_SUFFIXES = (
    *("issement", "isation", "ization", "atrice", "ateur", "ement", "ation", "ition", "ution"),
    *("ance", "ante", "ence", "euse", "ique", "ment"),
    *("ant", "aux", "eur", "eux", "ies", "ing", "ion", "ise", "ize"),
    *("al", "ed", "er", "es", "ez", "ie", "e", "s", "x", "y"),
)
_JOINTS = "-.'_&"


def _matches(folded: str, terms: Iterable[str]) -> list[_Match]:
    """Where the words of the terms stand, compounds as one stretch."""
    wanted = [
        part
        for term in terms
        for word in words(fold(term))
        for part in word.parts
        if len(part) > 1 or part.isdigit()
    ]
    if not wanted:
        return []
    stems = [_stem(part) for part in wanted]
    beginnings = sorted(
        {re.escape(part[:_FEWEST_LETTERS]) for part in wanted}, key=len, reverse=True
    )
    pattern = re.compile(rf"(?<!{_LETTER})(?:{'|'.join(beginnings)}){_LETTER}*+")
    found: list[_Match] = []
    numbers: dict[str, int | None] = {}
    for match in pattern.finditer(folded):
        word = match[0]
        if word not in numbers:
            numbers[word] = _number_of(word, wanted, stems)
        if (number := numbers[word]) is None:
            continue
        start = match.start()
        if found and start - found[-1][1] == 1 and folded[start - 1] in _JOINTS:
            start, _end, number = found.pop()
        found.append((start, match.end(), number))
    return found


def _number_of(word: str, wanted: Sequence[str], stems: Sequence[str]) -> int | None:
    """The index of the first wanted part that `word` answers to."""
    for number, (part, stem) in enumerate(zip(wanted, stems, strict=True)):
        is_longer = len(part) >= _FEWEST_LETTERS and word.startswith(part)
        is_kin = len(stem) >= _FEWEST_LETTERS and _stem(word) == stem
        if word == part or is_longer or is_kin:
            return number
    return None


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    """`word` without its plural and one ending, while four letters stay."""
    for suffixes in (("s", "x"), _SUFFIXES):
        for suffix in suffixes:
            if word.endswith(suffix) and len(word) - len(suffix) >= _FEWEST_LETTERS:
                word = word[: -len(suffix)]
                break
    return word


def _window(folded: str, matches: Sequence[_Match], width: int) -> tuple[int, int]:
    """Start and end of the stretch to show: at words, around the most different terms."""
    if len(folded) <= width:
        return 0, len(folded)
    start = max(0, _best_start(matches, width) - width // 4)
    start = min(start, len(folded) - width)
    end = start + width
    if start > 0:
        space = folded.find(" ", start, end)
        start = space + 1 if space >= 0 else start
    if end < len(folded):
        space = folded.rfind(" ", start, end)
        end = space if space > start else end
    return start, end


def _best_start(matches: Sequence[_Match], width: int) -> int:
    """The start of the match after which, within three quarters of `width`, most terms stand."""
    best, best_start = (0, 0), 0
    counts: dict[int, int] = {}
    last = 0
    for index, (start, _end, _number) in enumerate(matches):
        while last < len(matches) and matches[last][1] <= start + width * 3 // 4:
            counts[matches[last][2]] = counts.get(matches[last][2], 0) + 1
            last += 1
        score = (len(counts), last - index)
        if score > best:
            best, best_start = score, start
        number = matches[index][2]
        counts[number] = counts.get(number, 0) - 1
        if counts[number] <= 0:
            del counts[number]
        last = max(last, index + 1)
    return best_start
