"""What every page shows around its content."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def chrome(request: HttpRequest) -> dict[str, Any]:
    """Context of the frame: nothing yet that the request itself does not carry."""
    return {}
