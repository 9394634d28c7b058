"""Pages for what went wrong outside a view."""

from __future__ import annotations

import logging
import sys

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _
from psycopg_pool import PoolTimeout
from redis import ConnectionError as RedisConnectionError
from redis import TimeoutError as RedisTimeoutError

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "5"
SERVICE_FAULTS = (
    OperationalError,
    InterfaceError,
    PoolTimeout,
    RedisConnectionError,
    RedisTimeoutError,
)
"""A database or broker that is away; any other error is a bug of ours."""


@login_not_required
def server_error(request: HttpRequest) -> HttpResponse:
    """503 with Retry-After when a service is away, else 500; asks no service itself."""
    fault = sys.exc_info()[1]
    # It may have failed before anybody knew the person's language; this thread speaks the last one's.
    with translation.override(
        getattr(request, "LANGUAGE_CODE", None) or translation.get_language_from_request(request)
    ):
        return _of_fault(request, fault)


def _of_fault(request: HttpRequest, fault: BaseException | None) -> HttpResponse:
    if isinstance(fault, SERVICE_FAULTS):
        logger.error("service away: %s", type(fault).__name__)
        message = _("The service is away for a moment. Please try again in a few seconds.")
        return _answer(request, 503, "unavailable", message, {"Retry-After": RETRY_AFTER_SECONDS})
    return _answer(
        request, 500, "error", _("Something went wrong on our side. It has been noted."), {}
    )


def _answer(
    request: HttpRequest, status: int, code: str, message: str, headers: dict[str, str]
) -> HttpResponse:
    headers |= {"Cache-Control": "no-store"}
    if request.path.startswith("/api/"):
        error = {"code": code, "message": message, "fields": {}}
        return JsonResponse({"error": error}, status=status, headers=headers)
    page = render_to_string("errors/bare.html", {"status": status, "message": message})
    return HttpResponse(page, status=status, headers=headers)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, as a page or as JSON."""
    return _shown(request, 404, "not_found", _("There is nothing at this address."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403, as a page or as JSON."""
    return _shown(request, 403, "not_allowed", _("You may not do this."))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, as a page or as JSON."""
    return _shown(request, 400, "invalid", _("This request could not be understood."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form that was open too long or came from elsewhere."""
    message = _(
        "This form was open for too long, or your browser refuses cookies. Go back, reload the page and try again."
    )
    return _answer(request, 403, "not_allowed", message, {})


def _shown(request: HttpRequest, status: int, code: str, message: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return _answer(request, status, code, message, {})
    page = render_to_string("errors/refused.html", {"status": status, "message": message}, request)
    return HttpResponse(page, status=status)
