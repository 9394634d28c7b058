"""Finding things by words and facets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from api.pagination import Pages
from api.schema import described, page_of
from api.search import to_query
from api.serializers.catalogue import FacetsShown, HitShown, SearchAsked
from api.views.base import Door
from kb.search import engine


class Search(Door):
    """The search."""

    @described(
        "Search",
        tag="Search",
        asks=SearchAsked,
        answers={200: page_of(HitShown, facets=FacetsShown())},
        is_paged=True,
    )
    def get(self, request: Request) -> Response:
        """Prompts, or with `kind=retrospective` reports, by words in French or English.

        `q` understands "exact words", -not, OR, and fields such as `tool:chatgpt`.
        """
        asked = self.asked(SearchAsked)
        pages = Pages()
        pages.read(request)
        results = engine.search(
            to_query(asked),
            self.person,
            kind=asked.get("kind", "prompt"),
            sort=asked.get("sort", "relevance"),
            page=pages.number,
            page_size=pages.size,
        )
        pages.settle(results.total)
        hits = [self._hit(hit) for hit in results.hits]
        return pages.answer(
            self.shown(HitShown, hits, is_many=True), facets=_facets(results.facets)
        )

    def _hit(self, hit: engine.Hit) -> dict[str, Any]:
        address = reverse(hit.kind, args=[hit.slug])  # kinds bear the names of their pages
        segments = [*hit.title, *hit.excerpt]
        return {
            "kind": hit.kind,
            "slug": hit.slug,
            "title": "".join(segment.text for segment in hit.title),
            "excerpt": "".join(segment.text for segment in hit.excerpt),
            "matches": list(dict.fromkeys(s.text for s in segments if s.is_match)),
            "language": hit.language,
            "dated": hit.dated,
            "url": self.request.build_absolute_uri(address),
        }


def _facets(found: Mapping[str, Mapping[str, int]]) -> dict[str, list[dict[str, Any]]]:
    return {
        facet: [{"value": value, "count": count} for value, count in counts.items()]
        for facet, counts in found.items()
    }
