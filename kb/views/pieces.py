"""The text of a prompt as pages draw it: literal stretches, and holes with what stands in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kb.prompts import template

LONG_TEXT = 6_000
"""Characters from which the text of a prompt scrolls in its own box."""


@dataclass(frozen=True)
class Piece:
    """A stretch of the text: literal without a variable, else a hole and the value or label in it."""

    text: str
    variable: template.Variable | None = None
    is_filled: bool = False
    raw: str = ""


@dataclass(frozen=True)
class Blank:
    """One variable as a field of a form: what it holds, its id, and what is wrong with it."""

    variable: template.Variable
    value: str
    field_id: str
    error: str = ""


def blanks(
    variables: Iterable[template.Variable],
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
) -> list[Blank]:
    """The fields of a prompt in the order of its variables; `errors` by the variable's name."""
    wrong = errors or {}
    return [
        Blank(variable, values.get(variable.name, ""), f"v{number}", wrong.get(variable.name, ""))
        for number, variable in enumerate(variables)
    ]


def pieces(
    text: str, variables: Iterable[template.Variable], values: Mapping[str, str]
) -> list[Piece]:
    """`text` cut at its holes; each holds its value, else its default, else its label."""
    return [_piece(segment, values) for segment in template.segments(text, variables)]


def _piece(segment: template.Segment, values: Mapping[str, str]) -> Piece:
    variable = segment.variable
    if variable is None:
        return Piece(segment.text)
    value = values.get(variable.name) or variable.default
    return Piece(value or variable.label or variable.name, variable, bool(value), segment.text)
