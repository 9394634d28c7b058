"""What changed between two states of a prompt, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from django.utils.translation import gettext as _

from kb.prompts import diff
from kb.prompts.template import Variable


@dataclass(frozen=True)
class Part:
    """A stretch of a difference. `hidden` counts the words of a folded one; `is_blank` tells that
    it holds nothing but spaces and line breaks, which a page has to make visible."""

    op: Literal["same", "insert", "delete", "fold"]
    text: str
    hidden: int = 0
    is_blank: bool = False


@dataclass(frozen=True)
class TextChange:
    """How one text became another: its name, what to draw, and words added and removed."""

    label: str
    parts: Sequence[Part]
    added: int
    removed: int
    is_coarse: bool
    has_folds: bool


@dataclass(frozen=True)
class ValueChange:
    """How a short value became another; empty for nothing."""

    label: str
    old: str
    new: str


@dataclass(frozen=True)
class VariableChange:
    """What became of a variable; `changes` name the fields of one that stayed."""

    name: str
    kind: Literal["added", "removed", "changed"]
    changes: Sequence[ValueChange] = ()


def text_change(label: str, old: str, new: str, *, is_folded: bool = True) -> TextChange | None:
    """The difference of two texts, long unchanged stretches folded away; None when they agree."""
    if old == new:
        return None
    found = diff.word_diff(old, new)
    added, removed = diff.summary(found.pieces)
    pieces = diff.fold(found.pieces) if is_folded else found.pieces
    parts = [_part(piece) for piece in pieces]
    return TextChange(
        label=label,
        parts=parts,
        added=added,
        removed=removed,
        is_coarse=found.coarse,
        has_folds=any(part.op == "fold" for part in parts),
    )


def _part(piece: diff.Piece | diff.Folded) -> Part:
    if isinstance(piece, diff.Folded):
        return Part("fold", "", hidden=piece.words_hidden)
    return Part(piece.op, piece.text, is_blank=not piece.text.strip())


def text_changes(
    pairs: Iterable[tuple[str, str, str]], *, is_folded: bool = True
) -> list[TextChange]:
    """The differences of (label, old, new), those without any left out."""
    found = (text_change(label, old, new, is_folded=is_folded) for label, old, new in pairs)
    return [change for change in found if change is not None]


def value_changes(pairs: Iterable[tuple[str, str, str]]) -> list[ValueChange]:
    """(label, old, new) where the two differ."""
    return [ValueChange(label, old, new) for label, old, new in pairs if old != new]


def variable_changes(old: Sequence[Variable], new: Sequence[Variable]) -> list[VariableChange]:
    """What became of the variables: those of the new text first, then the ones that are gone."""
    before = {variable.name: variable for variable in old}
    after = {variable.name for variable in new}
    changes: list[VariableChange] = []
    for variable in new:
        known = before.get(variable.name)
        if known is None:
            changes.append(VariableChange(variable.name, "added"))
        elif fields := _field_changes(known, variable):
            changes.append(VariableChange(variable.name, "changed", fields))
    gone = [variable.name for variable in old if variable.name not in after]
    return [*changes, *(VariableChange(name, "removed") for name in gone)]


def _field_changes(old: Variable, new: Variable) -> list[ValueChange]:
    before, after = _fields(old), _fields(new)
    return value_changes((label, before[label], after[label]) for label in before)


def _fields(variable: Variable) -> dict[str, str]:
    """The fields of a variable as a page names and shows them."""
    types = {
        "text": _("A few words"),
        "long_text": _("A longer text"),
        "number": _("A number"),
        "date": _("A date"),
        "choice": _("One of a list"),
    }
    return {
        _("Question or label"): variable.label,
        _("Answer"): types[variable.type],
        _("Usual value"): variable.default,
        _("Hint under the field"): variable.help,
        _("Has to be filled in"): _("yes") if variable.required else _("no"),
        _("The list"): ", ".join(variable.options),
    }
