"""Language and colours: remembered for the person, or in a cookie before sign-in."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from accounts.models import User

_YEAR_SECONDS = 365 * 24 * 3600
THEME_COOKIE = "retex_theme"
THEMES = ("auto", "light", "dark")


@login_not_required
@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Switch the language of the interface and return to the same page, filters and all."""
    language = request.POST.get("language", "")
    response = HttpResponseRedirect(_way_back(request))
    if language in User.Language.values:
        if isinstance(request.user, User):
            request.user.language = language
            request.user.save(update_fields=["language"])
        _remember(response, settings.LANGUAGE_COOKIE_NAME, language)
    return response


@login_not_required
@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Choose light, dark or the system's colours."""
    theme = request.POST.get("theme", "")
    if request.headers.get("X-Requested-With") == "fetch":
        response: HttpResponse = HttpResponse(status=204)
    else:
        response = HttpResponseRedirect(_way_back(request))
    if theme in THEMES:
        _remember(response, THEME_COOKIE, theme)
    return response


def _way_back(request: HttpRequest) -> str:
    target = request.POST.get("next", "/")
    is_ours = url_has_allowed_host_and_scheme(
        target, allowed_hosts=None, require_https=request.is_secure()
    )
    return target if is_ours else "/"


def _remember(response: HttpResponse, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=_YEAR_SECONDS,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
    )
