"""The API about itself: its schema, its browsable documentation, and addresses that lead nowhere."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import JsonResponse
from django.urls import Resolver404, resolve, reverse
from django.utils import translation
from django.utils.translation import gettext as _
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api import errors
from api.views.base import Door
from kb.core.errors import NotFound

TAGS = {
    "Prompts": "Prompts, their versions, and filling them.",
    "Search": "Finding prompts and reports.",
    "Voices": "Recommendations, signals and comments on prompts.",
    "Retrospectives": "What real uses were like.",
    "Wishes": "Prompts people look for.",
    "Catalogue": "What prompts are found by.",
    "Monitors": "Re-running prompts to notice drift.",
    "Connections": "Provider accounts and targets, for administrators.",
    "You": "Who asks, and what they were told.",
}
"""In the order a newcomer reads them."""


class Root(Door):
    """Where things are."""

    schema = None

    def get(self, request: Request) -> Response:
        """The addresses of the lists."""
        names = (
            *("prompts", "search", "retrospectives", "wishes", "departments", "tools"),
            *("use-cases", "tags", "monitors", "targets", "connections", "notifications"),
            *("me", "schema"),
        )
        found = {name: request.build_absolute_uri(reverse(f"api:{name}")) for name in names}
        return Response({**found, "docs": request.build_absolute_uri(reverse("api-docs"))})


class Schema(Door):
    """The OpenAPI 3.1 description, as JSON, or as YAML when asked for."""

    schema = None
    renderer_classes = (JSONRenderer, OpenApiJsonRenderer, OpenApiYamlRenderer)

    def get(self, request: Request) -> Response:
        """The same for everybody."""
        return Response(openapi())


class Nothing(Door):
    """Whatever else is asked for below /api/v1/."""

    schema = None

    def get(self, request: Request, rest: str) -> Response:
        """404, with the address that was meant when only its last slash is missing."""
        nearby = f"{request.path_info}/"
        if not rest.endswith("/") and _leads_somewhere(nearby):
            raise NotFound(
                _("There is nothing at %(path)s; it ends in a slash: %(nearby)s.")
                % {"path": request.path_info, "nearby": nearby}
            )
        raise NotFound(_("There is nothing at this address; the schema lists what there is."))

    post = put = patch = delete = get


class _WhateverIsAccepted(DefaultContentNegotiation):
    """A page is a page, whatever the Accept header says."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


class Docs(SpectacularSwaggerSplitView):
    """The browsable documentation: Swagger UI from the installed package.

    It lives under the policy of every other page: no inline script or style, icons as data: images.
    """

    schema = None
    content_negotiation_class = _WhateverIsAccepted
    permission_classes = Door.permission_classes
    template_name = "api/docs.html"
    url_name = "api:schema"

    def handle_exception(self, exc: Exception) -> Any:
        """Strangers sign in first; other refusals are JSON, as everywhere below /api/."""
        if isinstance(exc, NotAuthenticated | AuthenticationFailed):
            return redirect_to_login(self.request.get_full_path())
        answer = errors.answer(exc, {})
        if answer is None:
            raise exc
        headers = {name: value for name, value in answer.items() if name != "Content-Type"}
        return JsonResponse(answer.data, status=answer.status_code, headers=headers)


@cache
def openapi() -> dict[str, Any]:
    """The description, made once per process: it depends on the code alone."""
    with translation.override("en"):
        generator = SchemaGenerator()  # type: ignore[no-untyped-call]
        made: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made | {"tags": [{"name": name, "description": text} for name, text in TAGS.items()]}


def _leads_somewhere(path: str) -> bool:
    try:
        return getattr(resolve(path).func, "view_class", None) is not Nothing
    except Resolver404:
        return False
