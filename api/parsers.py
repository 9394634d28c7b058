"""Reading the body of a request: JSON in UTF-8, and nothing a database could not keep."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

from django.utils.translation import gettext as _
from rest_framework.parsers import JSONParser

from api.errors import Malformed
from kb.core.errors import Invalid

DEEPEST = 30
"""Levels of lists and objects; the deepest thing we take has six, a JSON schema some more."""


class Body(JSONParser):
    """A JSON document. Raises Malformed when it is none, Invalid naming text or numbers that are none.

    Its size is bounded by DATA_UPLOAD_MAX_MEMORY_SIZE before it gets here.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            data = json.loads(stream.read().decode("utf-8-sig"), parse_constant=_refuse_constant)
        except UnicodeDecodeError as error:
            raise Malformed(
                _("The body is not UTF-8 at byte %(position)s.") % {"position": error.start}
            ) from error
        except json.JSONDecodeError as error:
            raise Malformed(
                _("The body is not JSON: %(problem)s at line %(line)s, column %(column)s.")
                % {"problem": error.msg, "line": error.lineno, "column": error.colno}
            ) from error
        except RecursionError as error:
            raise _too_deep() from error
        except ValueError as error:  # a number with thousands of digits, or NaN
            raise Malformed(_("The body is not JSON: a number in it is none.")) from error
        _check(data)
        return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_deep() -> Malformed:
    return Malformed(
        _("The body is nested too deeply; at most %(most)s levels are read.") % {"most": DEEPEST}
    )


def _check(data: Any) -> None:
    """Refuse what no column can hold, wherever it stands."""
    waiting: list[tuple[Any, str, int]] = [(data, "", 0)]
    while waiting:
        value, name, depth = waiting.pop()
        if depth > DEEPEST:
            raise _too_deep()
        if isinstance(value, str) and not is_text(value):
            message = _("This text holds a character that is not text (NUL or half of a pair).")
            raise Invalid(f"{name}: {message}" if name else message, fields={name: message})
        if isinstance(value, float) and not math.isfinite(value):
            message = _("This number is too large.")
            raise Invalid(f"{name}: {message}" if name else message, fields={name: message})
        waiting.extend((inner, inner_name, depth + 1) for inner, inner_name in _inside(value, name))


def _inside(value: Any, name: str) -> Iterator[tuple[Any, str]]:
    dotted = f"{name}." if name else ""
    if isinstance(value, dict):
        for key, inner in value.items():
            # A bad key is shown by its place, for it could not be shown itself.
            yield key, name
            yield inner, f"{dotted}{key}" if is_text(key) else name
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield inner, f"{dotted}{number}"


def is_text(value: str) -> bool:
    """Whether a database and UTF-8 can hold it: no NUL, no lone surrogate."""
    if value.isascii():
        return "\x00" not in value
    return "\x00" not in value and not any("\ud800" <= sign <= "\udfff" for sign in value)
