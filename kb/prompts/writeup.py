"""The write-up of a prompt: one Markdown text, or its four sections.

People write and read one document; the product asks for four things. The headings in between are
recognised in French and English, at any level, whatever their accents, case or punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Section = Literal["purpose", "worked", "failed", "limits"]
SECTIONS: tuple[Section, ...] = get_args(Section)

HEADINGS: dict[str, dict[Section, str]] = {
    "en": {
        "purpose": "What it is for",
        "worked": "What worked",
        "failed": "What did not work",
        "limits": "Limits",
    },
    "fr": {
        "purpose": "À quoi ça sert",
        "worked": "Ce qui a marché",
        "failed": "Ce qui n’a pas marché",
        "limits": "Limites",
    },
}

_OTHER_HEADINGS: dict[Section, tuple[str, ...]] = {
    "purpose": (
        *("Purpose", "Goal", "Aim", "What for", "What it's for", "What is it for"),
        *("But", "Objectif", "À quoi cela sert", "À quoi sert-il", "À quoi il sert"),
    ),
    "worked": (
        *("Worked", "What works", "What worked well", "What went well"),
        *("Ce qui marche", "Ce qui a bien marché", "Ce qui fonctionne", "Ce qui a fonctionné"),
    ),
    "failed": (
        *(
            "Failed",
            "Did not work",
            "What did not",
            "What didn't",
            "What didn't work",
            "What failed",
        ),
        *("What does not work", "What doesn't work", "What went wrong"),
        *("Ce qui n'a pas fonctionné", "Ce qui ne marche pas", "Ce qui ne fonctionne pas"),
        *("Ce qui a échoué", "Ce qui n'a pas été", "Échecs"),
    ),
    "limits": (
        *("Limit", "Known limits", "Limitations", "Known limitations", "When not to use it"),
        *("Limite", "Limites connues", "Quand ne pas l'utiliser"),
    ),
}


@dataclass(frozen=True)
class WriteUpSections:
    """The Markdown of each section, without its heading; an empty one says nothing."""

    purpose: str = ""
    worked: str = ""
    failed: str = ""
    limits: str = ""


def split(markdown: str) -> WriteUpSections:
    """Cut a write-up at its known headings.

    Text before the first one belongs to the purpose; unknown headings stay in the section they
    stand in, and what stands in fenced code is no heading. A section met twice is one section.
    A fence left open is closed, lest it swallow what is joined after it.
    """
    parts: dict[Section, list[str]] = {section: [] for section in SECTIONS}
    section: Section = "purpose"
    lines: list[str] = []
    for line, heading in _read(markdown):
        if heading is None:
            lines.append(line)
        else:
            parts[section].append(_tidy(lines))
            section, lines = heading, []
    parts[section].append(_tidy(lines))
    return WriteUpSections(
        **{section: "\n\n".join(part for part in parts[section] if part) for section in SECTIONS}
    )


def join(sections: WriteUpSections, language: str) -> str:
    """The write-up as one Markdown text under level-two headings, empty sections left out.

    `language` is a code such as `fr` or `fr-CA`; any but French gets English headings. `split`
    reads the result back, whatever the language.
    """
    headings = HEADINGS["fr" if language.lower().split("-")[0] == "fr" else "en"]
    texts = ((section, _tidy(_lines(getattr(sections, section)))) for section in SECTIONS)
    return "\n\n".join(f"## {headings[section]}\n\n{text}" for section, text in texts if text)


# --- Reading -----------------------------------------------------------------------------------

_FENCE = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})(?P<info>.*)")
_HEADING = re.compile(r" {0,3}#{1,6}(?P<title>[^#].*?)#*\s*")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)\s*")
_HEADING_START = re.compile(" {0,3}#")
_INDENT = re.compile(r" {0,3}\S")
_LONGEST_HEADING = 80
"""Characters; a longer line is prose, whatever it begins with."""


def _lines(markdown: str) -> list[str]:
    return markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _read(markdown: str) -> Iterator[tuple[str, Section | None]]:
    """Each line with the section it opens, if it does. Underlines of headings are left out."""
    lines = _lines(markdown)
    fence = ""
    is_in_paragraph = is_underline = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if is_underline:
            is_underline = False
            continue
        if fence or _opened_by(line):
            fence = _fence_after(line, fence)
            is_in_paragraph = False
            yield line, None
            continue
        heading = _heading(line)
        if heading is None and not is_in_paragraph and _UNDERLINE.fullmatch(following):
            heading = _known(line) if _INDENT.match(line) else None
            is_underline = heading is not None
        is_in_paragraph = bool(line.strip()) and heading is None and not _HEADING_START.match(line)
        yield line, heading


def _opened_by(line: str) -> str:
    """The fence a line opens, or nothing."""
    match = _FENCE.fullmatch(line)
    is_open = match is not None and not (match["marks"][0] == "`" and "`" in match["info"])
    return match["marks"] if match is not None and is_open else ""


def _fence_after(line: str, fence: str) -> str:
    """The fence still open after `line`, or nothing."""
    if not fence:
        return _opened_by(line)
    match = _FENCE.fullmatch(line)
    is_end = match is not None and match["marks"].startswith(fence) and not match["info"].strip()
    return "" if is_end else fence


def _tidy(lines: list[str]) -> str:
    """Lines as the text of a section: no blank ends, no fence left open."""
    said = [number for number, line in enumerate(lines) if line.strip()]
    if not said:
        return ""
    kept = lines[said[0] : said[-1] + 1]
    kept[-1] = kept[-1].rstrip()
    fence = ""
    for line in kept:
        fence = _fence_after(line, fence)
    return "\n".join([*kept, fence] if fence else kept)


def _heading(line: str) -> Section | None:
    if len(line) > _LONGEST_HEADING:
        return None
    match = _HEADING.fullmatch(line)
    return _known(match["title"]) if match else None


def _known(title: str) -> Section | None:
    return _SECTION_BY_KEY.get(_key(title)) if len(title) <= _LONGEST_HEADING else None


def _key(title: str) -> str:
    """A title without accents, case, marks, numbers or emphasis: its bare words."""
    plain = unicodedata.normalize("NFKD", title.casefold().replace("œ", "oe"))
    return " ".join(
        re.findall(r"[^\W\d_]+", "".join(s for s in plain if not unicodedata.combining(s)))
    )


_SECTION_BY_KEY: dict[str, Section] = {
    _key(title): section
    for section in SECTIONS
    for title in (*(names[section] for names in HEADINGS.values()), *_OTHER_HEADINGS[section])
}
