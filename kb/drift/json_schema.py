"""Whether a JSON value has the shape a schema asks for. Pure.

A small part of JSON Schema (draft 2020-12), chosen so that judging takes time in proportion to the
value: every part of a value meets at most one part of the schema. Keywords outside this part are
refused by name when the schema is read, because a rule that is silently not applied would let wrong
answers pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_SCHEMA_LENGTH = 20_000
"""Characters of a schema as compact JSON."""
MAX_DEPTH = 20
"""Levels of a schema; values are looked at no deeper, so that none exhausts the stack."""
MAX_CHOICES = 200
MAX_COUNT = 1_000_000
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_REMARKS = ("$schema", "title", "description")
"""Keywords that say something to people and nothing about values."""


class InvalidSchema(ValueError):
    """A schema that cannot be used; the message says where (`$.properties.total`), what and how."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema that was read by `read`: nothing unknown in it, nothing too large."""

    source: Mapping[str, Any]
    _root: _Node = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first place where a value is not as asked: its path, the keyword and what that asks."""

    path: str
    keyword: str
    wanted: Any


def read(
    source: object, *, matches: Callable[[str, str], bool], check_pattern: Callable[[str], None]
) -> Schema:
    """Take a schema for use. Raises InvalidSchema, and what `check_pattern` raises.

    `check_pattern` is called with each regular expression and refuses those that cannot be used;
    `matches` searches with one of them.
    """
    if not isinstance(source, Mapping):
        raise InvalidSchema(f"A schema is an object, not {_kind(source)}.")
    try:
        length = len(json.dumps(source, separators=(",", ":"), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSchema("A schema has to be JSON itself.") from error
    if length > MAX_SCHEMA_LENGTH:
        raise InvalidSchema(
            f"The schema has {length:,} characters; the limit is {MAX_SCHEMA_LENGTH:,}."
        )
    return Schema(source, _Reader(matches, check_pattern).node(source, "$", MAX_DEPTH))


def mismatch(schema: Schema, value: object) -> Mismatch | None:
    """Where the value is not as the schema asks; None when it is. Never raises on JSON values."""
    return schema._root.mismatch(value, "$")


# --- Reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes nodes of a schema, whose parts all meet the same patterns."""

    matches: Callable[[str, str], bool]
    check_pattern: Callable[[str], None]

    def node(self, source: object, path: str, depth: int) -> _Node:
        """One part of the schema with those inside it. Raises InvalidSchema."""
        if not isinstance(source, Mapping):
            raise InvalidSchema(f"{path}: a schema is an object, not {_kind(source)}.")
        if not depth:
            raise InvalidSchema(f"{path}: a schema has at most {MAX_DEPTH} levels.")
        for keyword, wanted in source.items():
            problem = _problem(keyword, wanted, self.check_pattern)
            if problem:
                raise InvalidSchema(f"{path}: {problem}")
        others = source.get("additionalProperties", True)
        return _Node(
            source=source,
            tests=[(name, _TESTS[name](source[name])) for name in _TESTS if name in source]
            + ([("pattern", self._pattern(source["pattern"]))] if "pattern" in source else []),
            fields={
                name: self.node(part, f"{path}.properties.{name}", depth - 1)
                for name, part in source.get("properties", {}).items()
            },
            others=others
            if isinstance(others, bool)
            else self.node(others, f"{path}.additionalProperties", depth - 1),
            items=self.node(source["items"], f"{path}.items", depth - 1)
            if "items" in source
            else None,
        )

    def _pattern(self, pattern: str) -> _Test:
        return lambda value: not isinstance(value, str) or self.matches(pattern, value)


def _problem(keyword: str, wanted: Any, check_pattern: Callable[[str], None]) -> str:
    """What is wrong with a keyword and what it asks for; '' for nothing."""
    match keyword:
        case "type":
            names = wanted if isinstance(wanted, list) else [wanted]
            if not names or any(name not in TYPES for name in names):
                return f"type {wanted!r} is not known; use: {', '.join(TYPES)}."
        case "properties":
            if not isinstance(wanted, Mapping):
                return "properties needs an object: a schema for each name."
        case "items":
            if not isinstance(wanted, Mapping):
                return "items needs one schema for all items."
        case "additionalProperties":
            if not isinstance(wanted, bool | Mapping):
                return "additionalProperties needs true, false or a schema."
        case "required":
            if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
                return "required needs a list of names."
        case "enum":
            if not isinstance(wanted, list) or not 0 < len(wanted) <= MAX_CHOICES:
                return f"enum needs a list of 1 to {MAX_CHOICES} values."
            if any(isinstance(choice, list | Mapping) for choice in wanted):
                return "enum needs plain values: texts, numbers, true, false or null."
        case "minimum" | "maximum":
            if _is_bool(wanted) or not isinstance(wanted, int | float):
                return f"{keyword} needs a number."
        case "minLength" | "maxLength":
            if _is_bool(wanted) or not isinstance(wanted, int) or not 0 <= wanted <= MAX_COUNT:
                return f"{keyword} needs a whole number from 0 to {MAX_COUNT:,}."
        case "pattern":
            if not isinstance(wanted, str):
                return "pattern needs a text."
            check_pattern(wanted)
        case _ if keyword not in _REMARKS:
            return f"the keyword {keyword!r} is not supported; supported: {', '.join(KEYWORDS)}."
    return ""


# --- Judging ----------------------------------------------------------------------------------

type _Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Node:
    """One part of a schema, ready to judge: tests of a value itself, and the parts inside it."""

    source: Mapping[str, Any]
    tests: list[tuple[str, _Test]]
    fields: Mapping[str, _Node]
    others: bool | _Node
    items: _Node | None

    def mismatch(self, value: object, path: str) -> Mismatch | None:
        """The first place in the value that is not as asked."""
        for keyword, holds in self.tests:
            if not holds(value):
                return Mismatch(path, keyword, self.source[keyword])
        if isinstance(value, dict):
            return self._mismatch_of_fields(value, path)
        if isinstance(value, list) and self.items:
            for place, item in enumerate(value):
                found = self.items.mismatch(item, f"{path}[{place}]")
                if found:
                    return found
        return None

    def _mismatch_of_fields(self, value: Mapping[str, object], path: str) -> Mismatch | None:
        for name in self.source.get("required", ()):
            if name not in value:
                return Mismatch(path, "required", name)
        for name, part in value.items():
            wanted = self.fields.get(name, self.others)
            if wanted is False:
                return Mismatch(path, "additionalProperties", name)
            found = wanted.mismatch(part, f"{path}.{name}") if isinstance(wanted, _Node) else None
            if found:
                return found
        return None


def _has_type(wanted: str | list[str]) -> _Test:
    names = {wanted} if isinstance(wanted, str) else set(wanted)
    return lambda value: not names.isdisjoint(_kinds(value))


def _kinds(value: object) -> tuple[str, ...]:
    if isinstance(value, float):
        return ("number", "integer") if value.is_integer() else ("number",)
    return _KINDS[type(value)]


_KINDS: Mapping[type, tuple[str, ...]] = {
    dict: ("object",),
    list: ("array",),
    str: ("string",),
    bool: ("boolean",),
    int: ("number", "integer"),
    type(None): ("null",),
}


def _is_one_of(choices: list[object]) -> _Test:
    # For Python, True is 1; for JSON it is not.
    known = {(_is_bool(choice), choice) for choice in choices}
    return lambda value: not isinstance(value, dict | list) and (_is_bool(value), value) in known


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not _is_bool(value)


_TESTS: Mapping[str, Callable[[Any], _Test]] = {
    "type": _has_type,
    "enum": _is_one_of,
    "minimum": lambda least: lambda value: not _is_number(value) or value >= least,
    "maximum": lambda most: lambda value: not _is_number(value) or value <= most,
    "minLength": lambda least: lambda value: not isinstance(value, str) or len(value) >= least,
    "maxLength": lambda most: lambda value: not isinstance(value, str) or len(value) <= most,
}
KEYWORDS = (*_TESTS, "pattern", "properties", "required", "additionalProperties", "items")


def _kind(value: object) -> str:
    return {str: "a text", list: "a list", bool: "true or false", type(None): "nothing"}.get(
        type(value), "a number"
    )
