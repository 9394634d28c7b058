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
from dataclasses import dataclass
from typing import Literal, cast, get_args

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


@dataclass(frozen=True)
class Spelling:
    """One place where a placeholder may stand; `default` is empty unless the syntax has one."""

    start: int
    end: int
    syntax: Syntax
    raw: str
    inner: str
    default: str


def spellings(text: str, syntaxes: Collection[Syntax]) -> list[Spelling]:
    """The places that count, in order.

    A place that could as well be a label counts when the same spelling stands elsewhere as a
    placeholder beyond doubt: whoever writes “for [CLIENT]” means the heading [CLIENT] too.
    """
    code = _CodeRegions(text)
    closing_tags = set(_CLOSING_TAG.findall(text))
    found = [
        spelling
        for match in _SPELLING.finditer(text)
        if (spelling := _read(match)).syntax in syntaxes
        and _is_placeholder(spelling, text, code.around(spelling.start), closing_tags)
    ]
    doubtful = [
        spelling.syntax == "brackets" and _could_be_a_label(spelling, text) for spelling in found
    ]
    certain = {spelling.raw for spelling, doubt in zip(found, doubtful, strict=True) if not doubt}
    return [spelling for spelling in found if spelling.raw in certain]


def _read(match: re.Match[str]) -> Spelling:
    if match["nested"] is not None:
        syntax, inner, default = "dollar", match["nested"], match["nested_default"]
    elif match["dollar"] is not None:
        syntax, inner, default = "dollar", match["dollar"], match["dollar_default"]
    else:
        syntax, default = match.lastgroup or "", ""
        inner = match[syntax]
    inner = unicodedata.normalize("NFC", inner.strip())
    return Spelling(
        start=match.start(),
        end=match.end(),
        syntax=cast("Syntax", syntax),
        raw=match[0],
        inner=inner,
        default=(default or "").strip(),
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


def _is_placeholder(
    spelling: Spelling, text: str, code: _Code, closing_tags: Collection[str]
) -> bool:
    """Whether what stands at this place is a placeholder rather than code, mark-up or a link."""
    before, after = text[spelling.start - 1 : spelling.start], text[spelling.end : spelling.end + 1]
    if before == "\\":
        return False
    if spelling.syntax == "dollar":
        return _is_dollar_placeholder(spelling, code)
    if code in ("inline", "listing") or before.isalnum() or before == "_":
        return False
    words = _words(spelling.inner)
    match spelling.syntax:
        case "double_braces":
            # One word would be a hole already, had it been a name.
            return len(spelling.inner.split()) > 1 and words[0] not in _TEMPLATE_WORDS
        case "double_brackets":
            return before not in ("!", "]")
        case "brackets":
            is_link = before in ("!", "]", ")") or after in ("(", "[")
            is_list = "," in spelling.inner and words[0] not in _INSTRUCTIONS
            return (
                not is_link
                and not is_list
                and _is_in_capitals(spelling.inner)
                and spelling.inner not in closing_tags
            )
        case "braces":
            is_formula = (
                before in ("$", "#", "@", "%", "^", "}") or after == "{" or "," in spelling.inner
            )
            return not is_formula and _is_in_capitals(spelling.inner)
        case "angles":
            is_markup = (
                spelling.inner in closing_tags or words[0] in _HTML_NAMES or "," in spelling.inner
            )
            return not is_markup and _is_in_capitals(spelling.inner)
        case _:
            is_encoded = _HEXADECIMAL.fullmatch(spelling.inner) is not None or after.isalnum()
            return (
                not is_encoded
                and spelling.inner not in _SYSTEM_NAMES
                and _is_in_capitals(spelling.inner)
            )


def _is_dollar_placeholder(spelling: Spelling, code: _Code) -> bool:
    inner = spelling.inner
    if " " not in inner and any(sign in inner for sign in ",/&'’"):
        return False
    if spelling.default:
        # Nothing but a prompt writes ${x:default}; a shell writes ${x:-default}.
        return spelling.default[0] not in "-=?+"
    if code in ("inline", "listing"):
        return False
    return not inner.isupper() or (code == "none" and inner not in _SHELL_NAMES)


def _is_in_capitals(inner: str) -> bool:
    """Whether `inner` is a caption in capitals and not a constant, mask, citation or choice."""
    words = _words(inner)
    return (
        inner.upper() == inner
        and any(sum(sign.isalpha() for sign in word) > 1 for word in words)
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
