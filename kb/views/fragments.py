"""Whether a request wants a piece of a page instead of the whole."""

from __future__ import annotations

from django.http import HttpRequest


def wants_fragment(request: HttpRequest) -> bool:
    """True for htmx swapping a part; false for plain links, and when htmx rebuilds a page for Back."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and not (
        headers.get("HX-History-Restore-Request") == "true" or headers.get("HX-Boosted") == "true"
    )
