"""The ceiling on the product's own server: a page with one trivial query.

What a request costs beyond it and its own SQL is ours.
"""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.urls import include, path

from kb.views.people import signed_in

handler400 = "kb.views.errors.bad_request"
handler403 = "kb.views.errors.permission_denied"
handler404 = "kb.views.errors.page_not_found"
handler500 = "kb.views.errors.server_error"

FLOOR = "/bench/floor/"
_ROWS = 20
"""As many as a page of results has."""
_PAGE = Engine().from_string(
    "<!doctype html><title>{{ person }}</title><ul>"
    "{% for number, title in rows %}<li><a href='/{{ number }}'>{{ title }}</a>{% endfor %}</ul>"
)


def floor(request: HttpRequest) -> HttpResponse:
    """Twenty titles by their numbers, behind the same middleware as every page."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, title FROM kb_prompt ORDER BY id LIMIT %s", [_ROWS])
        rows = cursor.fetchall()
    context = Context({"rows": rows, "person": signed_in(request)})
    return HttpResponse(_PAGE.render(context))


urlpatterns = [
    path(FLOOR.lstrip("/"), floor),
    path("", include("kb.urls")),
]
