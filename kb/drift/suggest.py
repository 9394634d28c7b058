"""Rules proposed from one good answer, for a person to tick. Pure.

A proposal is a guess at what of the answer was no accident: its format, its headings, its figures,
its names, its language, about its length. Every proposal holds for the answer it comes from. Those
ticked beforehand are the ones that seldom fail on another good answer; the person decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kb.drift.assertions import Assertion, check, parse
from kb.drift.json_schema import MAX_SCHEMA_LENGTH
from kb.drift.textscores import words

LONGEST_ANSWER = 50_000
"""Characters of a pasted answer; a longer one is more than anybody reads through."""
MOST_FIGURES, MOST_NAMES, MOST_HEADINGS = 4, 3, 8
LONGEST_OPENING = 60
LEAST_FUNCTION_WORDS = 3
MOST_WORDS_WHOLE = 4
"""Of an answer so short that its words are the answer: yes, no, a class, a name."""
SHORTEST_PROSE = 12
"""Words; below, neither length nor language says much."""
FIELD_DEPTH = 2
"""Levels of fields a proposed shape of JSON asks for; deeper ones differ from answer to answer."""
MOST_FIELDS = 30

type Why = Literal[
    "whole",
    "json",
    "xml",
    "headings",
    "opening",
    "list",
    "figure",
    "name",
    "language",
    "length",
    "answers",
]
type Language = Literal["fr", "en"]

_FUNCTION_WORDS: Mapping[Language, str] = {
    "fr": "le|les|des|une|est|dans|avec|que|qui|vous|nous|sont|votre|cette|ce|aux|du",
    "en": "the|and|of|is|are|with|this|that|you|we|your|from|by|it|be|was|has",
}
LANGUAGE_PATTERNS: Mapping[Language, str] = {
    language: rf"(?is)(?:\b(?:{names})\b.*?){{{LEAST_FUNCTION_WORDS}}}"
    for language, names in _FUNCTION_WORDS.items()
}
"""A pattern for RE2 that a text in this language matches: three of its commonest words."""

NAMED_PATTERNS: Mapping[str, str] = {
    **{f"language-{language}": pattern for language, pattern in LANGUAGE_PATTERNS.items()},
    "list": r"(?m)^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+\S",
}
"""Patterns that people choose by name instead of writing them."""

# A figure stands alone and says something: an amount, a share, a date, a number of several digits.
_FIGURE = re.compile(
    r"(?<![\w.,/-])(?:[€$£]\s?)?\d(?:[\d \u00a0\u202f.,/:-]{0,20}\d)?(?:\s?(?:€|\$|£|%|EUR|USD))?(?![\w/-])"
)
_CODE = re.compile(r"\b[A-Z][A-Z0-9]{1,9}[-_/][A-Z0-9][A-Z0-9_/-]{1,20}\b")
_NAME = re.compile(
    r"(?<![.!?:\n#*-] )(?<!^)\b(?:[A-ZÀ-Ý][\w’'-]{1,30}(?: (?:de |du |of )?[A-ZÀ-Ý][\w’'-]{1,30}){1,3})"
)
_HEADING = re.compile(r"^(?:#{1,6} +(.{2,80}?)#*|\*\*(.{2,80}?)\*\* ?:?)[ \t]*$", re.MULTILINE)
_BULLET = re.compile(NAMED_PATTERNS["list"])
_FENCE = re.compile(r"```|[\[{]")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule with the reason why it is proposed; `is_ticked` when it is recommended."""

    rule: Assertion
    why: Why
    is_ticked: bool


def propose(answer: str) -> list[Proposal]:
    """Rules the answer satisfies, the most telling first; none for an empty or too long one.

    The same answer gives the same proposals.
    """
    if not answer.strip() or len(answer) > LONGEST_ANSWER:
        return []
    found: dict[str, Proposal] = {}
    for proposal in _candidates(answer):
        if check(proposal.rule, answer).passed:
            found.setdefault(json.dumps(proposal.rule.to_dict(), sort_keys=True), proposal)
    return list(found.values())


def language_of(text: str) -> Language | None:
    """French or English, by their commonest words; None when there are too few of them to tell."""
    spoken = words(text)
    counts: dict[Language, int] = {
        language: sum(word in names.split("|") for word in spoken)
        for language, names in _FUNCTION_WORDS.items()
    }
    likeliest = max(counts, key=lambda language: counts[language])
    others = max(count for language, count in counts.items() if language != likeliest)
    is_clear = counts[likeliest] >= max(LEAST_FUNCTION_WORDS, 2 * others)
    return likeliest if is_clear else None


def _candidates(answer: str) -> Iterator[Proposal]:
    data = _data_in(answer)
    if data is not None:
        yield from _of_json(data)
        return
    if answer.lstrip().startswith("<"):
        yield _proposal("xml", True, {"type": "is-xml"})
    elif _FENCE.search(answer):
        yield _proposal("json", True, {"type": "contains-json"})
    yield from _of_structure(answer)
    yield from _of_content(answer)
    yield from _of_prose(answer)
    yield _proposal("answers", True, {"type": "not-is-refusal"})


def _of_json(data: object) -> Iterator[Proposal]:
    shape = _shape(data, FIELD_DEPTH)
    has_fields = bool(shape.get("required"))
    if has_fields and len(json.dumps(shape)) <= MAX_SCHEMA_LENGTH:
        yield _proposal("json", True, {"type": "is-json", "value": shape})
        yield _proposal("json", False, {"type": "is-json"})
    else:
        yield _proposal("json", True, {"type": "is-json"})


def _data_in(answer: str) -> object | None:
    """The object or list an answer is; None for other texts, whole numbers and words included."""
    try:
        data = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict | list) else None


def _shape(data: object, depth: int) -> dict[str, Any]:
    """A schema that asks for the fields of this value and for their types."""
    if isinstance(data, dict):
        fields = {name: part for name, part in list(data.items())[:MOST_FIELDS] if part is not None}
        schema: dict[str, Any] = {"type": "object", "required": list(fields)}
        if depth > 1:
            schema["properties"] = {name: _shape(part, depth - 1) for name, part in fields.items()}
        return schema
    if isinstance(data, list):
        return {"type": "array"}
    if isinstance(data, bool):
        return {"type": "boolean"}
    return {"type": "string"} if isinstance(data, str) else {"type": "number"}


def _of_structure(answer: str) -> Iterator[Proposal]:
    headings = [(one or other).strip() for one, other in _HEADING.findall(answer)]
    if 2 <= len(headings) <= MOST_HEADINGS:
        yield _proposal("headings", True, {"type": "contains-all", "value": headings})
    opening = _opening(answer)
    if opening:
        is_heading = bool(_HEADING.match(opening))
        yield _proposal("opening", is_heading, {"type": "starts-with", "value": opening})
    if len(_BULLET.findall(answer)) > 1:
        yield _proposal("list", True, {"type": "regex", "value": NAMED_PATTERNS["list"]})


def _opening(answer: str) -> str:
    """The first line when it is a short one of several, such as a greeting; '' for none."""
    lines = answer.split("\n")
    first = lines[0].rstrip()
    return first if 0 < len(first) <= LONGEST_OPENING and any(map(str.strip, lines[1:])) else ""


def _of_content(answer: str) -> Iterator[Proposal]:
    figures = dict.fromkeys(
        text.strip()
        for text in [*_CODE.findall(answer), *_FIGURE.findall(answer)]
        if _says_something(text)
    )
    for place, figure in enumerate(list(figures)[:MOST_FIGURES]):
        yield _proposal("figure", place < 2, {"type": "contains", "value": figure})
    names = dict.fromkeys(found.group() for found in _NAME.finditer(answer))
    for name in list(names)[:MOST_NAMES]:
        yield _proposal("name", False, {"type": "icontains", "value": name})


def _says_something(figure: str) -> bool:
    """Single digits number lists and count little things; anything longer is likely meant."""
    return len(re.sub(r"\D", "", figure)) > 1 or not figure.strip().isdigit()


def _of_prose(answer: str) -> Iterator[Proposal]:
    count = len(answer.split())
    if count <= MOST_WORDS_WHOLE and len(answer.strip()) <= LONGEST_OPENING:
        yield _proposal(
            "whole", True, {"type": "icontains", "value": answer.strip(" \n\t.!") or answer}
        )
    if count < SHORTEST_PROSE:
        return
    language = language_of(answer)
    if language:
        yield _proposal("language", True, {"type": "regex", "value": LANGUAGE_PATTERNS[language]})
    bounds = {"min": _round(count * 0.5), "max": _round(count * 2)}
    yield _proposal("length", True, {"type": "word-count", "value": bounds})


def _round(count: float) -> int:
    """A number a person would have written: tens above fifty, fives above ten."""
    step = 10 if count > 50 else 5 if count > 10 else 1
    return max(1, round(count / step) * step)


def _proposal(why: Why, is_ticked: bool, item: Mapping[str, Any]) -> Proposal:
    return Proposal(parse(item), why, is_ticked)
