"""Rules an answer must satisfy, with the names and the meaning they have in promptfoo. Pure.

What follows promptfoo to the letter: ``equals`` compares the whole answer, outer white space
included; ``contains`` and its kin look for parts as they are written; lower case is that of
Unicode; a text given where a list is expected is split at its commas. What differs: ``regex`` is
RE2 (no back-references, no look-around), so that no pattern can hang; nothing is ever executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import re2

MAX_VALUES = 50
MAX_VALUE_LENGTH = 20_000
MAX_PATTERN_LENGTH = 1_000
MAX_PATTERN_PROGRAM = 12_000
"""Instructions of a compiled pattern; ``.{1,900}`` takes 8,103. The costliest patterns of this size
take some 20 µs for each character of an answer (measured), and other threads run meanwhile."""
MAX_PATTERN_MEMORY = 8 * 1024 * 1024
MAX_ANSWER_LENGTH = 1_000_000
"""Ten times what the most talkative models can write; a longer text is not judged."""
EXCERPT_LENGTH = 80
MAX_WORDS = 1_000_000
NEGATION = "not-"
VERSION = 1
"""Raise it when an assertion comes to judge the same answer differently: old answers are graded again."""


class InvalidAssertion(ValueError):
    """An assertion that cannot be used. ``type`` and ``value`` are those that were given.

    ``code`` names what is wrong for programs: unknown_type, unknown_key, missing_value,
    wrong_value, too_long, too_many, bad_pattern or unsupported.
    """

    def __init__(self, code: str, message: str, *, type: str = "", value: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.type = type
        self.value = value


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number of words from ``least`` to ``most``, both included; None is open."""

    least: int | None
    most: int | None


type Value = str | tuple[str, ...] | Bounds | None


@dataclass(frozen=True, slots=True)
class Assertion:
    """One rule. ``type`` is the name without ``not-``; ``negated`` stands for it."""

    type: str
    value: Value = None
    negated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The rule as it is stored and exported; `parse` reads it back."""
        name = f"{NEGATION}{self.type}" if self.negated else self.type
        if self.value is None:
            return {"type": name}
        return {"type": name, "value": _written(self.value)}


@dataclass(frozen=True, slots=True)
class Reason:
    """What was seen in the answer, for a page to put into words.

    ``code`` with its ``params``: found and not_found {value}; one_found {value}; none_found,
    all_found {values}; some_missing {missing}; equal {}; different {position: the first
    character that differs, from 0}; starts, does_not_start, ends, does_not_end {value}; matched
    {pattern, excerpt}; not_matched {pattern}; json {}; not_json {line, column}; words {count,
    least, most}; too_long_to_judge {characters, limit}.
    """

    code: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the answer satisfies the rule; None when the answer is too long to be judged."""

    passed: bool | None
    reason: Reason


def parse(item: Mapping[str, Any]) -> Assertion:
    """Read ``{"type": "not-contains", "value": "…"}``. Raises InvalidAssertion.

    Numbers are accepted where a text is expected. ``value`` of is-json stays empty: JSON Schemas
    are not supported.
    """
    name = item.get("type")
    if not isinstance(name, str):
        raise InvalidAssertion("unknown_type", f"An assertion needs a type; {_known()}.")
    unknown = sorted(str(key) for key in item if key not in ("type", "value"))
    if unknown:
        raise InvalidAssertion(
            "unknown_key",
            f"{name}: {unknown[0]!r} is not supported; an assertion has a type and a value.",
            type=name,
            value=item.get("value"),
        )
    base = name.removeprefix(NEGATION)
    if base not in _RULES:
        raise InvalidAssertion(
            "unknown_type", f"{name!r} is not a type of assertion; {_known()}.", type=name
        )
    value = _RULES[base].read(name, item.get("value"))
    return Assertion(base, value, negated=base != name)


def check(assertion: Assertion, text: str) -> Verdict:
    """Judge one answer. Never raises on text; takes time in proportion to its length."""
    if len(text) > MAX_ANSWER_LENGTH:
        params = {"characters": len(text), "limit": MAX_ANSWER_LENGTH}
        return Verdict(None, Reason("too_long_to_judge", params))
    holds, reason = _RULES[assertion.type].look(assertion.value, text)
    return Verdict(holds != assertion.negated, reason)


# --- reading values ----------------------------------------------------------------------------


def _read_text(name: str, value: object) -> str:
    """A text that may be empty."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        code = "missing_value" if value is None else "wrong_value"
        raise InvalidAssertion(code, f"{name} needs a text as its value.", type=name, value=value)
    text = value if isinstance(value, str) else _number(value)
    if len(text) > MAX_VALUE_LENGTH:
        raise InvalidAssertion(
            "too_long",
            f"{name}: the value has {len(text):,} characters; the limit is {MAX_VALUE_LENGTH:,}.",
            type=name,
            value=value,
        )
    return text


def _read_part(name: str, value: object) -> str:
    """A text that is looked for, and therefore not empty."""
    text = _read_text(name, value)
    if not text:
        raise InvalidAssertion("missing_value", f"{name} needs a value.", type=name, value=value)
    return text


def _read_list(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _split(name, _read_part(name, value))
    if not isinstance(value, list | tuple) or not value:
        raise InvalidAssertion(
            "missing_value" if not value else "wrong_value",
            f"{name} needs a list of texts, or one text with commas between them.",
            type=name,
            value=value,
        )
    if len(value) > MAX_VALUES:
        raise InvalidAssertion(
            "too_many",
            f"{name}: {len(value)} values are more than the limit of {MAX_VALUES}.",
            type=name,
            value=value,
        )
    return tuple(_read_part(name, part) for part in value)


# Quoted parts may hold commas; inside them a quote is doubled or follows a backslash. What is
# skipped before a part is never given back: an unclosed quote must not pass as an unquoted part.
_PART = re.compile(r'[\s,]*+(?:"((?:[^"\\]|""|\\.)*)"\s*(?=,|$)|([^",][^,]*|$))', re.DOTALL)


def _split(name: str, text: str) -> list[str]:
    """The parts of a text with commas between them; empty ones are passed over."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if not found:
            raise InvalidAssertion(
                "wrong_value",
                f"{name}: a quotation mark is not closed, or not followed by a comma.",
                type=name,
                value=text,
            )
        if found[1] is not None:
            parts.append(re.sub(r'""|\\(["\\])', lambda quote: quote[1] or '"', found[1]))
        elif found[2]:
            parts.append(found[2].strip())
        position = found.end()
    return parts


def _read_pattern(name: str, value: object) -> str:
    pattern = _read_part(name, value)
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidAssertion(
            "too_long",
            f"{name}: the pattern has {len(pattern):,} characters; "
            f"the limit is {MAX_PATTERN_LENGTH:,}.",
            type=name,
            value=value,
        )
    try:
        size = _compiled(pattern).programsize
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidAssertion(
            "bad_pattern",
            f"{name}: {pattern!r} is not a pattern RE2 accepts ({_said_by_re2(error)}). "
            f"Back-references and look-around do not exist there.",
            type=name,
            value=value,
        ) from error
    if size > MAX_PATTERN_PROGRAM:
        raise InvalidAssertion(
            "bad_pattern",
            f"{name}: {pattern!r} is too costly to search for; repeat fewer times or use simpler "
            f"classes of characters.",
            type=name,
            value=value,
        )
    return pattern


def _read_nothing(name: str, value: object) -> None:
    if value not in (None, ""):
        raise InvalidAssertion(
            "unsupported",
            f"{name} takes no value: JSON Schemas are not supported.",
            type=name,
            value=value,
        )


def _read_bounds(name: str, value: object) -> Bounds:
    if isinstance(value, Mapping) and value and value.keys() <= {"min", "max"}:
        least, most = value.get("min"), value.get("max")
    else:
        least = most = _count(value)
        value = {"min": least}
    for bound in value.values():
        if isinstance(bound, bool) or not isinstance(bound, int) or not 0 <= bound <= MAX_WORDS:
            raise InvalidAssertion(
                "wrong_value",
                f'{name} needs a number of words, or {{"min": …, "max": …}} with whole numbers '
                f"up to {MAX_WORDS:,}.",
                type=name,
                value=value,
            )
    if least is not None and most is not None and least > most:
        raise InvalidAssertion(
            "wrong_value", f"{name}: min {least} is above max {most}.", type=name, value=value
        )
    return Bounds(least, most)


def _count(value: object) -> object:
    """Whole numbers may be written as a text or, by YAML and JSON, as 50.0."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _number(value: float) -> str:
    """A number in the spelling JSON gives it: 3, not 3.0."""
    return str(int(value)) if value.is_integer() else str(value)


# --- looking at answers ------------------------------------------------------------------------


def _as_written(text: str) -> str:
    return text


def _contains(fold: Callable[[str], str]) -> Callable[[str, str], tuple[bool, Reason]]:
    def look(value: str, text: str) -> tuple[bool, Reason]:
        holds = fold(value) in fold(text)
        return holds, Reason("found" if holds else "not_found", {"value": value})

    return look


def _contains_any(
    fold: Callable[[str], str],
) -> Callable[[tuple[str, ...], str], tuple[bool, Reason]]:
    def look(values: tuple[str, ...], text: str) -> tuple[bool, Reason]:
        folded = fold(text)
        for value in values:
            if fold(value) in folded:
                return True, Reason("one_found", {"value": value})
        return False, Reason("none_found", {"values": values})

    return look


def _contains_all(
    fold: Callable[[str], str],
) -> Callable[[tuple[str, ...], str], tuple[bool, Reason]]:
    def look(values: tuple[str, ...], text: str) -> tuple[bool, Reason]:
        folded = fold(text)
        missing = tuple(value for value in values if fold(value) not in folded)
        if missing:
            return False, Reason("some_missing", {"missing": missing})
        return True, Reason("all_found", {"values": values})

    return look


def _equals(value: str, text: str) -> tuple[bool, Reason]:
    if value == text:
        return True, Reason("equal", {})
    pairs = enumerate(zip(value, text, strict=False))
    shorter = min(len(value), len(text))
    position = next((index for index, (one, other) in pairs if one != other), shorter)
    return False, Reason("different", {"position": position})


def _starts_with(value: str, text: str) -> tuple[bool, Reason]:
    holds = text.startswith(value)
    return holds, Reason("starts" if holds else "does_not_start", {"value": value})


def _ends_with(value: str, text: str) -> tuple[bool, Reason]:
    holds = text.endswith(value)
    return holds, Reason("ends" if holds else "does_not_end", {"value": value})


def _matches(pattern: str, text: str) -> tuple[bool, Reason]:
    found = _compiled(pattern).search(text.encode("utf-8", "replace"))
    if not found:
        return False, Reason("not_matched", {"pattern": pattern})
    excerpt = found.group().decode("utf-8", "replace")[:EXCERPT_LENGTH]
    return True, Reason("matched", {"pattern": pattern, "excerpt": excerpt})


def _is_json(_value: None, text: str) -> tuple[bool, Reason]:
    try:
        # Numbers stay texts: Python refuses very long ones, JSON does not.
        json.loads(text, parse_constant=_no_constant, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        return False, Reason("not_json", {"line": error.lineno, "column": error.colno})
    except (ValueError, RecursionError):
        return False, Reason("not_json", {"line": 1, "column": 1})
    return True, Reason("json", {})


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _counts_words(bounds: Bounds, text: str) -> tuple[bool, Reason]:
    count = len(text.split())
    holds = (bounds.least is None or count >= bounds.least) and (
        bounds.most is None or count <= bounds.most
    )
    return holds, Reason("words", {"count": count, "least": bounds.least, "most": bounds.most})


# --- the catalogue -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a value is read, and how an answer is looked at with what was read."""

    read: Callable[[str, object], Value]
    look: Callable[[Any, str], tuple[bool, Reason]]


_RULES: Mapping[str, _Rule] = {
    "equals": _Rule(_read_text, _equals),
    "contains": _Rule(_read_part, _contains(_as_written)),
    "icontains": _Rule(_read_part, _contains(str.lower)),
    "contains-any": _Rule(_read_list, _contains_any(_as_written)),
    "icontains-any": _Rule(_read_list, _contains_any(str.lower)),
    "contains-all": _Rule(_read_list, _contains_all(_as_written)),
    "icontains-all": _Rule(_read_list, _contains_all(str.lower)),
    "starts-with": _Rule(_read_part, _starts_with),
    "ends-with": _Rule(_read_part, _ends_with),
    "regex": _Rule(_read_pattern, _matches),
    "is-json": _Rule(_read_nothing, _is_json),
    "word-count": _Rule(_read_bounds, _counts_words),
}
TYPES = tuple(_RULES)
"""The names that `parse` knows; each also with ``not-`` before it."""


def _known() -> str:
    return f"known: {', '.join(TYPES)}, each also with {NEGATION} before it"


def _compiled(pattern: str) -> Any:
    # re2 keeps the last 128 compiled patterns itself.
    return re2.compile(pattern.encode("utf-8"), _PATTERN_OPTIONS)


def _pattern_options() -> Any:
    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY
    options.log_errors = False  # they reach the author as InvalidAssertion
    return options


_PATTERN_OPTIONS = _pattern_options()


def _said_by_re2(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _written(value: str | tuple[str, ...] | Bounds) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return value
    if value.least == value.most:
        return value.least
    bounds = {"min": value.least, "max": value.most}
    return {name: bound for name, bound in bounds.items() if bound is not None}
