"""What stands around every request: services that are away, and refusals of the domain."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from psycopg_pool import PoolTimeout
from redis import ConnectionError as RedisConnectionError
from redis import TimeoutError as RedisTimeoutError

from kb.core.errors import Conflict, DomainError, Invalid, NotAllowed, NotFound, Unavailable

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "5"
SERVICE_FAULTS = (OperationalError, InterfaceError, PoolTimeout, RedisConnectionError, RedisTimeoutError)
"""A database or broker that is away; other database errors are bugs."""
STATUSES: dict[type[DomainError], int] = {
    Invalid: 422,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
}


class ServiceGuard:
    """Answers 503 with Retry-After when the database or the broker does not answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, SERVICE_FAULTS):
            return None
        return away(request, exception)


def away(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The 503 of this request, as a page or as JSON; asks neither database nor cache."""
    logger.error("service away: %s", type(exception).__name__)
    headers = {"Retry-After": RETRY_AFTER_SECONDS, "Cache-Control": "no-store"}
    if request.path.startswith("/api/"):
        message = _("The service is away for a moment. Please try again in a few seconds.")
        error = {"code": "unavailable", "message": message, "fields": {}}
        return JsonResponse({"error": error}, status=503, headers=headers)
    return render(None, "errors/503.html", status=503, headers=headers)  # type: ignore[arg-type]


class DomainErrorMiddleware:
    """Turns a refusal of the domain that no view wanted to show itself into a page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, DomainError):
            return None
        status = STATUSES.get(type(exception), 400)
        return render(request, "errors/refused.html", {"error": exception, "status": status}, status=status)
