"""Whether a text is one well-formed XML document, and which elements it lacks. Pure.

A document type is refused as soon as it begins: with it go entities, the only way in which XML can
grow while it is read or reach for files and addresses.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from xml.parsers import expat

MAX_DEPTH = 100
"""Levels of elements; answers for people and programs have a dozen."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What was found. ``line`` and ``column``, from 1, say where it stops being XML."""

    problem: Literal["", "not_xml", "document_type", "too_deep"]
    line: int = 1
    column: int = 1
    missing: tuple[str, ...] = ()
    """Wanted elements that do not occur, in the order they were asked for."""


class _Refused(Exception):
    """What expat would go on with and we do not; its argument is the problem."""


def shape_of(text: str, wanted: Collection[str] = ()) -> Shape:
    """Read a text as XML. `wanted` are paths of elements like ``invoice.total``, from the root.

    Never raises on text; takes time in proportion to its length.
    """
    # An encoding named in the document is of the bytes it once was; these are ours.
    parser = expat.ParserCreate(encoding="utf-8")
    path: list[str] = []
    owed = set(wanted)
    last_names = {name.rsplit(".", 1)[-1] for name in owed}

    def start(name: str, _attributes: object) -> None:
        path.append(name)
        if len(path) > MAX_DEPTH:
            raise _Refused("too_deep")
        if name in last_names:
            owed.discard(".".join(path))

    def end(_name: str) -> None:
        path.pop()

    def refuse(*_declared: object) -> None:
        raise _Refused("document_type")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.strip().encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        return Shape("not_xml", error.lineno, error.offset + 1)
    except _Refused as refused:
        problem = refused.args[0]
        return Shape(problem, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
    return Shape("", missing=tuple(name for name in wanted if name in owed))
