"""Finding things by words and facets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.pagination import Pages
from api.schema import described, page_of
from api.search import to_query
from api.serializers.search import (
    CorrectionShown,
    FacetsShown,
    HitShown,
    KindsShown,
    SearchAsked,
    SuggestAsked,
    SuggestionsShown,
    UnderstoodShown,
)
from api.views.base import Door
from kb.finding import meaning
from kb.search import engine, suggesting

TAG = "Search"


class Search(Door):
    """The search."""

    @described(
        "Search",
        tag=TAG,
        asks=SearchAsked,
        answers={
            200: page_of(
                HitShown,
                total=serializers.IntegerField(help_text="The same as count."),
                total_is_capped=serializers.BooleanField(
                    help_text="There are more; those beyond `total` were not ranked."
                ),
                kinds=KindsShown(),
                understood=UnderstoodShown(many=True),
                corrections=CorrectionShown(many=True),
                is_relaxed=serializers.BooleanField(help_text="Not every word is in every result."),
                near=serializers.IntegerField(
                    help_text="How many of them have not the words, but a meaning near to them."
                ),
                facets=FacetsShown(),
            )
        },
        is_paged=True,
    )
    def get(self, request: Request) -> Response:
        """Prompts, reports (`kind=retrospective`) or both (`kind=everything`), in French or English.

        `q` understands "exact words", -not, OR, and fields such as `tool:chatgpt`. Too few results
        bring corrected words, then results that lack a word; `exact=1` does neither. Where an
        embeddings model is chosen for it, what is near in meaning is found as well.
        """
        asked = self.asked(SearchAsked)
        query = to_query(asked)
        pages = Pages()
        pages.read(request)
        results = engine.search(
            query,
            self.person,
            kind=asked.get("kind", "prompt"),
            sort=asked.get("sort", "relevance"),
            page=pages.number,
            page_size=pages.size,
            is_exact=asked["exact"],
            question=None if asked["exact"] else meaning.question(query, clock=timezone.now),
        )
        pages.settle(results.total, engine.DEEPEST)
        return pages.answer(
            self.shown(HitShown, [self._hit(hit) for hit in results.hits], is_many=True),
            total=results.total,
            total_is_capped=results.total_is_capped,
            kinds=results.kinds,
            understood=[asdict(piece) for piece in query.understood()],
            corrections=[asdict(correction) for correction in results.corrections],
            is_relaxed=results.is_relaxed,
            near=results.near,
            facets=_facets(results.facets),
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
            "is_near": hit.is_near,
            "url": self.request.build_absolute_uri(address),
        }


class Suggest(Door):
    """What may be meant by what has been typed so far."""

    @described("Suggest", tag=TAG, asks=SuggestAsked, answers={200: SuggestionsShown})
    def get(self, request: Request) -> Response:
        """Titles, tags, tools and departments that begin like `q`, small typos allowed."""
        found = suggesting.suggest(self.asked(SuggestAsked)["q"], self.person)
        results = [asdict(one) | {"url": self._url(one)} for one in found]
        return Response(self.shown(SuggestionsShown, {"results": results}))

    def _url(self, one: suggesting.Suggestion) -> str:
        if one.kind in engine.KINDS:
            address = reverse(one.kind, args=[one.value])
        else:
            address = reverse("prompts") + "?" + urlencode([(one.kind, one.value)])
        return self.request.build_absolute_uri(address)


def _facets(found: Mapping[str, Mapping[str, int]]) -> dict[str, list[dict[str, Any]]]:
    return {
        facet: [{"value": value, "count": count} for value, count in counts.items()]
        for facet, counts in found.items()
    }
