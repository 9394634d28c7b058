"""Refusals of the domain that no view wanted to show itself become pages."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from kb.core.errors import Conflict, DomainError, Invalid, NotAllowed, NotFound, Unavailable

STATUSES: dict[type[DomainError], int] = {
    Invalid: 422,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
}


class DomainErrorMiddleware:
    """One page for every refusal, with its status and its own words."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, DomainError):
            return None
        status = STATUSES.get(type(exception), 400)
        context = {"status": status, "message": exception.message, "fields": exception.fields}
        return render(request, "errors/refused.html", context, status=status)
