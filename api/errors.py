"""Every refusal in one shape: `{"error": {"code", "message", "fields"}}`.

`fields` maps the names of wrong inputs, dotted where they are nested (`cases.0.variables.n`), to a
sentence each. The codes are a closed list, documented in docs/api.md.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404, UnreadablePostError
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from accounts.actions import AccountError
from kb.core.errors import DomainError, Invalid
from kb.middleware import STATUSES
from kb.views.errors import RETRY_AFTER_SECONDS, SERVICE_FAULTS

logger = logging.getLogger(__name__)

MOST_FIELDS_TOLD = 3
"""Wrong inputs repeated in the message; all of them are in `fields`."""


class Malformed(DomainError):
    """The body cannot be read at all."""

    code = "malformed"


class PreconditionFailed(DomainError):
    """The thing is no longer what If-Match says it is."""

    code = "precondition_failed"


class ProviderFailed(DomainError):
    """A model provider was asked and did not answer as it should."""

    code = "provider_error"


_STATUSES: Mapping[type[DomainError], int] = {
    **STATUSES,
    Malformed: 400,
    PreconditionFailed: 412,
    ProviderFailed: 422,
}


@dataclass(frozen=True)
class _Refusal:
    status: int
    code: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(fault: Exception, context: Mapping[str, Any]) -> Response | None:
    """What DRF answers when a view raised; None for bugs of ours, which become a 500 elsewhere."""
    found = _refusal(fault)
    if found is None:
        return None
    return Response(
        body(found.code, found.message, found.fields),
        status=found.status,
        headers=dict(found.headers),
    )


def body(code: str, message: str, fields: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The one shape."""
    return {"error": {"code": code, "message": message, "fields": dict(fields or {})}}


def _refusal(fault: Exception) -> _Refusal | None:
    if isinstance(fault, DomainError):
        return _Refusal(
            _STATUSES[type(fault)],
            fault.code,
            str(fault),
            {name: str(text) for name, text in fault.fields.items()},
            {"Retry-After": RETRY_AFTER_SECONDS} if fault.code == "unavailable" else {},
        )
    if isinstance(fault, AccountError):
        fields = {fault.field: str(fault)} if fault.field else {}
        return _Refusal(_STATUSES[Invalid], Invalid.code, str(fault), fields)
    if isinstance(fault, exceptions.APIException):
        return _of_framework(fault)
    if isinstance(fault, SERVICE_FAULTS):
        logger.error("service away: %s", type(fault).__name__)
        message = _("The service is away for a moment. Please try again in a few seconds.")
        return _Refusal(503, "unavailable", message, headers={"Retry-After": RETRY_AFTER_SECONDS})
    return _of_django(fault)


def _of_django(fault: Exception) -> _Refusal | None:
    if isinstance(fault, RequestDataTooBig):
        return _Refusal(413, "too_large", _("The body is larger than 2 MB; send less at once."))
    if isinstance(fault, Http404):
        return _Refusal(404, "not_found", _("There is nothing at this address."))
    if isinstance(fault, PermissionDenied):
        return _Refusal(403, "not_allowed", _("You may not do this."))
    if isinstance(fault, SuspiciousOperation | BadRequest | UnreadablePostError):
        return _Refusal(400, "malformed", _("This request could not be understood."))
    return None


def _of_framework(fault: exceptions.APIException) -> _Refusal:
    if isinstance(fault, exceptions.ValidationError):
        fields = _flat(fault.detail)
        return _Refusal(422, "invalid", _sentence(fields), {k: v for k, v in fields.items() if k})
    status, code = _CODES.get(type(fault), (fault.status_code, "error"))
    headers = {}
    if challenge := getattr(fault, "auth_header", None):
        headers["WWW-Authenticate"] = str(challenge)
    if (wait := getattr(fault, "wait", None)) is not None:
        headers["Retry-After"] = str(math.ceil(wait))
    return _Refusal(status, code, _said(fault), headers=headers)


def _said(fault: exceptions.APIException) -> str:
    """The framework's words, or better ones where there is a next step to name."""
    if isinstance(fault, exceptions.NotAuthenticated):
        return _("Send a token, made under Settings: Authorization: Bearer rtx_…")
    if isinstance(fault, exceptions.Throttled):
        return _("Too many requests; go on in %(seconds)s seconds.") % {
            "seconds": math.ceil(getattr(fault, "wait", None) or 1)
        }
    if isinstance(fault, exceptions.UnsupportedMediaType):
        return _("The body has to be JSON; send Content-Type: application/json.")
    return str(fault.detail)


_CODES: Mapping[type[Exception], tuple[int, str]] = {
    exceptions.ParseError: (400, "malformed"),
    exceptions.NotAuthenticated: (401, "not_authenticated"),
    exceptions.AuthenticationFailed: (401, "not_authenticated"),
    exceptions.PermissionDenied: (403, "not_allowed"),
    exceptions.NotFound: (404, "not_found"),
    exceptions.MethodNotAllowed: (405, "method_not_allowed"),
    exceptions.NotAcceptable: (406, "not_acceptable"),
    exceptions.UnsupportedMediaType: (415, "unsupported_media_type"),
    exceptions.Throttled: (429, "throttled"),
}


def _flat(detail: Any, name: str = "") -> dict[str, str]:
    """DRF's nested details as one level of dotted names; what concerns no field stands under ''."""
    if isinstance(detail, Mapping):
        found: dict[str, str] = {}
        for key, inner in detail.items():
            is_own = key == api_settings.NON_FIELD_ERRORS_KEY
            found |= _flat(inner, name if is_own else f"{name}.{key}" if name else str(key))
        return found
    if isinstance(detail, list | tuple):
        if any(isinstance(inner, Mapping) for inner in detail):
            return _flat(dict(enumerate(detail)), name)
        return {name: " ".join(str(inner) for inner in detail)} if detail else {}
    return {name: str(detail)}


def _sentence(fields: Mapping[str, str]) -> str:
    told = [f"{name}: {text}" if name else text for name, text in fields.items()]
    more = len(told) - MOST_FIELDS_TOLD
    said = " ".join(told[:MOST_FIELDS_TOLD])
    return said if more <= 0 else _("%(said)s And %(more)s more.") % {"said": said, "more": more}
