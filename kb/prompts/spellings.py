"""Where a text writes a placeholder the way people and other products do.

`${x}`, `${x:default}`, `{{several words}}`, `[[x]]`, and in capitals `[X]`, `{X}`, `<X>`, `%X%`.
Most brackets are something else (code, shell variables, links, check boxes, citations, mark-up,
option lists, song and log labels), so most of this module says no. Rules were tightened by reading
what they found in 1,275 real prompts. Time is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple, cast, get_args

Syntax = Literal[
    "dollar",  # ${x}, ${x:default}
    "double_braces",  # {{several words}}
    "double_brackets",  # [[x]]
    "brackets",  # [X]
    "braces",  # {X}
    "angles",  # <X>
    "percents",  # %X%
]
SYNTAXES: tuple[Syntax, ...] = get_args(Syntax)

MOST_SPELLINGS = 1_000
"""Distinct spellings looked at in one text. A real prompt has fewer than a hundred."""

# Every alternative has a bounded length, stops at the next sign that could open another one and
# never steps back (`*+`), so that no text, however many brackets it opens, is read more than a few
# times.
_INNER = r"[^\W\d_][\w\u0300-\u036f '’/&,-]{0,118}+"
_SHORT = r"[^\W\d_][\w\u0300-\u036f '’/&,-]{1,59}+"
_DEFAULT = r"[^{}\x00-\x1f\ud800-\udfff]"
_CAPITALS = r"[^\W\d_a-z](?:[^\Wa-z]|[\u0300-\u036f '’/&-]){1,59}+"
_SPELLING = re.compile(
    rf"""
      \$\{{\$\{{[ ]*+(?P<nested>{_INNER})(?::(?P<nested_default>{_DEFAULT}{{0,2000}}+))?\}}\}}
    | \$\{{[ ]*+(?P<dollar>{_INNER})(?::(?P<dollar_default>{_DEFAULT}{{0,2000}}+))?\}}
    | (?<!\{{)\{{\{{[ ]*+(?P<double_braces>{_INNER})\}}\}}(?!\}})
    | (?<!\[)\[\[[ ]*+(?P<double_brackets>{_INNER})\]\](?!\])
    | (?<!\[)\[[ ]*+(?P<brackets>{_SHORT})\](?!\])
    | (?<!\{{)\{{[ ]*+(?P<braces>{_SHORT})\}}(?!\}})
    | (?<!<)<(?P<angles>{_SHORT})>(?!>)
    | %(?P<percents>{_CAPITALS})%
    """,
    re.VERBOSE,
)


class Spelling(NamedTuple):
    """One place where a placeholder may stand; `default` is empty unless the syntax has one."""

    start: int
    end: int
    syntax: Syntax
    raw: str
    inner: str
    default: str


def spellings(text: str, syntaxes: Collection[Syntax] = SYNTAXES) -> list[Spelling]:
    """The places that count, in order.

    A place that could as well be a label counts when the same spelling stands elsewhere as a
    placeholder beyond doubt: whoever writes “for [CLIENT]” means the heading [CLIENT] too.
    """
    code = _CodeRegions(text)
    closing_tags = set(_CLOSING_TAG.findall(text))
    known: dict[str, Spelling | None] = {}
    found: list[Spelling] = []
    certain: set[str] = set()
    for match in _SPELLING.finditer(text):
        raw = match[0]
        if raw not in known:
            if len(known) == MOST_SPELLINGS:
                continue
            read = _read(match)
            is_wanted = read.syntax in syntaxes and _is_caption(read, closing_tags)
            known[raw] = read if is_wanted else None
        first = known[raw]
        if first is None:
            continue
        place = Spelling(match.start(), match.end(), *first[2:])
        if _stands_in_code(place, text, code.around(place.start)):
            continue
        found.append(place)
        if raw not in certain and not _could_be_a_label(place, text):
            certain.add(raw)
    return [place for place in found if place.raw in certain]


def _read(match: re.Match[str]) -> Spelling:
    syntax, default = match.lastgroup or "", ""
    if match["nested"] is not None:
        syntax, inner, default = "dollar", match["nested"], match["nested_default"] or ""
    elif match["dollar"] is not None:
        syntax, inner, default = "dollar", match["dollar"], match["dollar_default"] or ""
    else:
        inner = match[syntax]
    return Spelling(
        start=match.start(),
        end=match.end(),
        syntax=cast("Syntax", syntax),
        raw=match[0],
        inner=unicodedata.normalize("NFC", inner.strip()),
        default=default.strip(),
    )


# --- Code ---------------------------------------------------------------------------------------

_Code = Literal["none", "inline", "block", "listing"]
_FENCE = re.compile(r"^[ \t>]*+(?P<marks>`{3,}+|~{3,}+)(?P<info>[^\n]*)$", re.MULTILINE)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_PROSE_FENCES = frozenset({"", "text", "txt", "plain", "plaintext", "markdown", "md", "prompt"})


class _CodeRegions:
    """Where a text is code: between backticks, in a bare fence (block) or a language's (listing)."""

    def __init__(self, text: str) -> None:
        self._regions: list[tuple[int, int, _Code]] = []
        position = 0
        for start, end, kind in (*_fenced(text), (len(text), len(text), "none")):
            self._regions += [
                (span.start(), span.end(), "inline")
                for span in _INLINE_CODE.finditer(text, position, start)
            ]
            self._regions.append((start, end, kind))
            position = end
        self._starts = [start for start, _end, _kind in self._regions]

    def around(self, position: int) -> _Code:
        """The kind of code `position` lies in."""
        index = bisect_right(self._starts, position) - 1
        if index < 0 or position >= self._regions[index][1]:
            return "none"
        return self._regions[index][2]


def _fenced(text: str) -> Iterator[tuple[int, int, _Code]]:
    """Start, end and kind of the fenced blocks of `text`; one never closed runs to the end."""
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence["marks"].startswith(opened["marks"]) and not fence["info"].strip():
            yield opened.start(), fence.end(), _kind_of_fence(opened)
            opened = None
    if opened is not None:
        yield opened.start(), len(text), _kind_of_fence(opened)


def _kind_of_fence(fence: re.Match[str]) -> _Code:
    return "block" if fence["info"].strip().lower() in _PROSE_FENCES else "listing"


# --- What only looks like a placeholder --------------------------------------------------------


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CLOSING_TAG = re.compile(r"[<\[]/([^<>\[\]\n]{1,60}+)[>\]]")
_SHELL_NAMES = _set("HOME PATH USER PWD SHELL TMPDIR TEMP EDITOR HOSTNAME LANG PORT")
_SYSTEM_NAMES = _set(
    "APPDATA COMPUTERNAME COMSPEC HOMEDRIVE HOMEPATH LOCALAPPDATA PATH PROGRAMDATA PROGRAMFILES"
    " SYSTEMROOT TEMP TMP USERNAME USERPROFILE WINDIR"
)
_TEMPLATE_WORDS = _set(
    "block each else end endfor endif extends for from history if import include json log lookup"
    " macro media role section set unless with"
)
_MARKERS = _set(
    "BOS CAUTION CLS CRITICAL DEBUG DONE DRAFT EOF EOS ERROR FALSE FATAL FIXME HIGH IMPORTANT INFO"
    " INST KO LOW MASK MEDIUM NA NAN NO NON NONE NOTE NULL OBLIGATOIRE OK OPTIONAL OPTIONNEL OUI PAD"
    " REDACTED REQUIRED SEP SYS TBD TIP TODO TRUE UNK WARN WARNING WIP XX XXX YES"
)
_HTML_NAMES = _set(
    "BASE BODY BR CODE COL DIV EM EMBED FORM HEAD HR HTML IMG INPUT LI LINK META OL PRE SOURCE SPAN"
    " STRONG TABLE TD TH TR UL WBR"
)
_INSTRUCTIONS = _set(
    "ADD COLLER COLLEZ DESCRIBE DÉCRIRE DÉCRIVEZ ENTER ENTREZ HERE ICI INDIQUER INDIQUEZ INSERT"
    " INSÉRER INSÉREZ LIST PASTE PRÉCISER PRÉCISEZ PROVIDE REMPLACER SAISIR SAISISSEZ TYPE VOS VOTRE"
    " WRITE YOUR"
)
_DATE_MASK = re.compile(r"(?:(?:YY(?:YY)?|AA(?:AA)?|MM|DD|JJ|HH|SS)[ /T-]?)+")
_ROMAN = re.compile("[IVXLC]+")
_HEXADECIMAL = re.compile("[0-9A-F]{2}")
_REFERENCE = re.compile(r"\d{3}")
_LATIN = re.compile("[0-9A-Za-z_]")
_OPEN_STRING = re.compile(r"""[^"'\n]*""")
_BEFORE_A_FORMULA = ("$", "#", "@", "%", "^", "}")
_LONGEST_LOOK_BACK = 120
"""Characters in front of a brace in which the opening of a Python f-string is looked for."""


def _is_caption(spelling: Spelling, closing_tags: Collection[str]) -> bool:
    """Whether what stands between the brackets is what people write there to have it replaced."""
    inner, words = spelling.inner, _words(spelling.inner)
    match spelling.syntax:
        case "dollar":
            is_expression = " " not in inner and any(sign in inner for sign in ",/&'’")
            # A shell writes ${x:-default}, and nothing else puts these signs there.
            return not is_expression and spelling.default[:1] not in ("-", "=", "?", "+")
        case "double_braces":
            # One word would be a hole already, had it been a name.
            return len(inner.split()) > 1 and words[0] not in _TEMPLATE_WORDS
        case "double_brackets":
            return True
        case "brackets":
            is_list = "," in inner and words[0] not in _INSTRUCTIONS
            return _is_in_capitals(inner) and not is_list and inner not in closing_tags
        case "braces":
            return _is_in_capitals(inner) and "," not in inner
        case "angles":
            is_tag = inner in closing_tags or words[0] in _HTML_NAMES
            return _is_in_capitals(inner) and "," not in inner and not is_tag
        case "percents":
            return (
                _is_in_capitals(inner)
                and not _HEXADECIMAL.fullmatch(inner)
                and inner not in _SYSTEM_NAMES
            )


def _stands_in_code(place: Spelling, text: str, code: _Code) -> bool:
    """Whether the signs around the place make it code, a link or a formula."""
    before, after = text[place.start - 1 : place.start], text[place.end : place.end + 1]
    if before == "\\":
        return True
    if place.syntax == "dollar":
        if place.default:
            # Nothing but a prompt writes ${x:default}, so that even a listing may hold one.
            return False
        is_shell = place.inner.isupper() and (code == "block" or place.inner in _SHELL_NAMES)
        return is_shell or code in ("inline", "listing")
    # Chinese runs straight into a bracket; Latin letters do so only in code.
    if code in ("inline", "listing") or _LATIN.match(before):
        return True
    match place.syntax:
        case "brackets" | "double_brackets":
            return before in ("!", "]", ")") or after in ("(", "[")
        case "braces":
            return (
                before in _BEFORE_A_FORMULA or after == "{" or _is_in_formatted_string(place, text)
            )
        case "percents":
            return after.isalnum()
        case _:
            return False


def _is_in_formatted_string(place: Spelling, text: str) -> bool:
    """Whether a Python f-string was opened on this line and not closed before the place."""
    before = text[max(0, place.start - _LONGEST_LOOK_BACK) : place.start]
    opening = max(before.rfind('f"'), before.rfind("f'"))
    return opening >= 0 and _OPEN_STRING.fullmatch(before, opening + 2) is not None


def _is_in_capitals(inner: str) -> bool:
    """Whether `inner` is a caption in capitals and not a constant, mask, citation or choice."""
    words = _words(inner)
    return (
        inner.isupper()
        and any(sum(sign.isupper() for sign in word) > 1 for word in words)
        and not all(word in _MARKERS for word in words)
        and inner.count("/") < 2
        and not _DATE_MASK.fullmatch(inner)
        and not _ROMAN.fullmatch(inner)
        and not _REFERENCE.search(inner)
    )


def _words(inner: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", inner) if word]


_LABEL_START = re.compile(r"[ \t>*]*+\Z")
_LABEL_FOLLOWED_BY_TEXT = re.compile(r"[ \t*]*+(?:[:=|→–—-]|[^\W\d_a-z])")
_LABEL_ABOVE_TEXT = re.compile(r"[ \t*]*+\n[ \t>]*+\S")
_LONGEST_INDENT = 20
"""Characters looked at in front of a bracket to tell whether it starts its line."""


def _could_be_a_label(spelling: Spelling, text: str) -> bool:
    """Whether a bracket starting its line names what follows: “[CHORUS] Full arrangement”.

    A sentence that goes on in small letters, or an instruction to fill something in, is none.
    """
    if spelling.syntax != "brackets":
        return False
    first = max(0, spelling.start - _LONGEST_INDENT)
    newline = text.rfind("\n", first, spelling.start)
    if newline < 0 and first > 0:
        return False
    if not _LABEL_START.match(text[newline + 1 if newline >= 0 else 0 : spelling.start]):
        return False
    if not _INSTRUCTIONS.isdisjoint(_words(spelling.inner)):
        return False
    after = _LABEL_FOLLOWED_BY_TEXT.match(text, spelling.end)
    if after is not None:
        return not after[0][-1].isalpha() or after[0][-1].isupper()
    return _LABEL_ABOVE_TEXT.match(text, spelling.end) is not None
