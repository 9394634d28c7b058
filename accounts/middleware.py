"""The language and time zone of a request: the person's, else the cookie's, else the browser's."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers

from accounts.models import User

NOBODY_ELSES = "private, no-cache"
"""No shared cache keeps a page, and the browser's own asks again; Back still shows it at once."""


class LanguageMiddleware:
    """Stands behind authentication, because a person's own choice wins.

    What it answers is for one person in one language, and says so to caches.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        person = request.user
        if isinstance(person, User):
            language = person.language
            timezone.activate(_zone(person.time_zone))
        else:
            language = translation.get_language_from_request(request)
            timezone.deactivate()
        translation.activate(language)
        request.LANGUAGE_CODE = language
        response = self.get_response(request)
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        response.headers.setdefault("Content-Language", language)
        response.headers.setdefault("Cache-Control", NOBODY_ELSES)
        return response


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return zoneinfo.ZoneInfo(settings.TIME_ZONE)
