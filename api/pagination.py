"""Long lists in pages: `?page=` and `?page_size=`, answered with count, next and previous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from kb.core.errors import Invalid, NotFound

USUAL_SIZE = 20
MOST_PER_PAGE = 100
HIGHEST_PAGE = 100_000
"""Beyond it nothing is: ten million rows."""


class Pages(BasePagination):
    """One page of a list. `read` what is asked, `settle` how many there are, then answer."""

    def __init__(self, usual_size: int = USUAL_SIZE) -> None:
        self.number, self.size, self.count = 1, usual_size, 0
        self.reachable: int | None = None

    def read(self, request: Request) -> None:
        """Take page and size from the address. Raises NotFound, Invalid for a size we do not serve."""
        self.request = request
        asked = request.query_params.get("page_size", "")
        if asked:
            if not (_is_number(asked) and 1 <= int(asked) <= MOST_PER_PAGE):
                message = _("“%(value)s” is outside 1 to %(most)s.") % {
                    "value": asked[:20],
                    "most": MOST_PER_PAGE,
                }
                raise Invalid(f"page_size: {message}", fields={"page_size": message})
            self.size = int(asked)
        page = request.query_params.get("page", "1")
        if not (_is_number(page) and 1 <= int(page) <= HIGHEST_PAGE):
            raise NotFound(_("There is no page “%(page)s”.") % {"page": page[:20]})
        self.number = int(page)

    def settle(self, count: int, reachable: int | None = None) -> None:
        """Say how many rows there are in all, and how many of them pages lead to.

        Raises NotFound when the page lies beyond them.
        """
        self.count, self.reachable = count, reachable
        if self.number > self.last:
            raise NotFound(
                _("There is no page %(page)s; the last one is %(last)s.")
                % {"page": self.number, "last": self.last}
            )

    def cut(self, rows: QuerySet[Any] | Sequence[Any], request: Request) -> list[Any]:
        """The rows of the page asked for."""
        self.read(request)
        self.settle(rows.count() if isinstance(rows, QuerySet) else len(rows))
        start = (self.number - 1) * self.size
        return list(rows[start : start + self.size])

    def answer(self, results: Any, *, goes_on: str | None = None, **more: Any) -> Response:
        """The page as JSON: `results`, and whatever else belongs to it.

        Where numbers do not lead, `goes_on` says where the next page begins; '' when it is the last.
        """
        by_number = self._link(self.number + 1) if self.number < self.last else None
        return Response(
            {
                "count": self.count,
                "next": by_number if goes_on is None else self._behind(goes_on),
                "previous": self._link(self.number - 1) if self.number > 1 else None,
                **more,
                "results": results,
            }
        )

    @property
    def last(self) -> int:
        """The number of the last page that can be asked for; an empty list has one."""
        rows = self.count if self.reachable is None else min(self.count, self.reachable)
        return max(1, -(-rows // self.size))

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Request, view: Any = None
    ) -> list[Any]:
        return self.cut(queryset, request)

    def get_paginated_response(self, data: Any) -> Response:
        return self.answer(data)

    def get_paginated_response_schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": {"type": "integer"},
                "next": link,
                "previous": link,
                "results": schema,
            },
        }

    def _behind(self, place: str) -> str | None:
        url = self.request.build_absolute_uri()
        following = replace_query_param(remove_query_param(url, "page"), "after", place)
        return str(following) if place else None

    def _link(self, number: int) -> str:
        url = self.request.build_absolute_uri()
        if number == 1:
            return str(remove_query_param(url, "page"))
        return str(replace_query_param(url, "page", number))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(HIGHEST_PAGE))
