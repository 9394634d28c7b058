"""The few ways the domain says no; the doors turn them into pages and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class DomainError(Exception):
    """Base of every refusal a person can understand.

    ``message`` names the thing, the value and the next step, in the reader's language.
    ``fields`` maps the names of wrong inputs to their own messages.
    """

    code = "error"

    def __init__(
        self,
        message: str | _StrPromise,
        *,
        fields: Mapping[str, str | _StrPromise] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fields = dict(fields or {})

    def __str__(self) -> str:
        return str(self.message)


class Invalid(DomainError):
    """What was entered cannot be accepted."""

    code = "invalid"


class NotAllowed(DomainError):
    """The person may see the thing but not do this to it."""

    code = "not_allowed"


class NotFound(DomainError):
    """The thing does not exist for this person."""

    code = "not_found"


class Conflict(DomainError):
    """The thing has changed since the person looked at it."""

    code = "conflict"


class Unavailable(DomainError):
    """A service the product leans on does not answer; trying again later may help."""

    code = "unavailable"
