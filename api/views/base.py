"""What every view of the API shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from api.pagination import Pages
from api.parsers import Body
from api.serializers.fields import Many
from kb.core.errors import NotAllowed

_OF_PAGES = ("page", "page_size")


class Door(APIView):
    """A view for programs: reads what was sent, asks a feature, answers."""

    parser_classes = (Body,)
    scopes: ClassVar[Mapping[str, str]] = {}
    """Method (or * for all) to the scope it needs, where that is not the usual one."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Addresses and JSON are UTF-8; a charset claimed in Content-Type could break their reading."""
        request.encoding = "utf-8"
        return super().initialize_request(request, *args, **kwargs)

    @property
    def person(self) -> User:
        """Who asks."""
        if not isinstance(self.request.user, User):
            raise NotAllowed("")
        return self.request.user

    def sent(
        self,
        serializer_class: type[serializers.Serializer[Any]],
        *,
        is_partial: bool = False,
        **context: Any,
    ) -> dict[str, Any]:
        """The body as clean data. Raises ValidationError naming every wrong input."""
        serializer = serializer_class(
            data=self.request.data, partial=is_partial, context=self._context() | context
        )
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def asked(self, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The parameters of the address as clean data; lists repeat or have commas."""
        serializer = serializer_class(context=self._context())
        given = _given(self.request.query_params, serializer)
        serializer = serializer_class(data=given, context=self._context())
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def shown(
        self,
        serializer_class: type[serializers.Serializer[Any]],
        thing: Any,
        *,
        is_many: bool = False,
        **context: Any,
    ) -> Any:
        """A thing, or a list of things, as JSON."""
        return serializer_class(thing, many=is_many, context=self._context() | context).data

    def page(
        self,
        serializer_class: type[serializers.Serializer[Any]],
        rows: Any,
        pages: Pages | None = None,
    ) -> Response:
        """One page of a queryset or list."""
        pages = pages or Pages()
        cut = pages.cut(rows, self.request)
        return pages.answer(self.shown(serializer_class, cut, is_many=True))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Nobody else's cache keeps what was for one person."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final.headers.setdefault("Cache-Control", "private, no-store")
        patch_vary_headers(final, ("Authorization", "Cookie", "Accept-Language"))
        return final

    def _context(self) -> dict[str, Any]:
        return {"request": self.request, "person": self.person, "now": timezone.now()}


def _given(query: QueryDict, serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name in query:
        if name in _OF_PAGES:
            continue
        if isinstance(serializer.fields.get(name), Many):
            values = [part.strip() for value in query.getlist(name) for part in value.split(",")]
            given[name] = [value for value in values if value]
        else:
            given[name] = query.get(name, "")
    return given
