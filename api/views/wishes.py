"""The wanted board: prompts people look for."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from api.idempotency import once_per_key
from api.schema import described, page_of
from api.serializers.community import (
    SupportShown,
    WishAnswer,
    WishQuery,
    WishSent,
    WishShown,
)
from api.views.base import Door
from kb.community import actions, queries

TAG = "Wishes"


class Wishes(Door):
    """The wanted board."""

    @described(
        "List wishes", tag=TAG, asks=WishQuery, answers={200: page_of(WishShown)}, is_paged=True
    )
    def get(self, request: Request) -> Response:
        """Open ones, the most wanted first; or the answered ones whose answer you may read."""
        is_open = self.asked(WishQuery)["state"] == "open"
        find = queries.open_wishes if is_open else queries.answered_wishes
        return self.page(WishShown, find(self.person))

    @described(
        "Make a wish",
        tag=TAG,
        sends=WishSent,
        answers={201: WishShown},
        is_once_per_key=True,
        example={"title": "Compare two supplier offers", "department": "purchasing"},
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """Ask for a prompt that does not exist yet."""
        sent = {"text": "", "department": None, "language": self.person.language}
        made = actions.make_wish(**(sent | self.sent(WishSent)), by=self.person, now=timezone.now())
        return _one(self, made.pk, status=201)


class OneWish(Door):
    """One wish."""

    @described("Read a wish", tag=TAG, answers={200: WishShown}, refuses=(404,))
    def get(self, request: Request, pk: int) -> Response:
        """What is looked for, and by how many."""
        return _one(self, pk)


class Support(Door):
    """Wanting the same."""

    @described("Support a wish", tag=TAG, answers={200: SupportShown}, refuses=(404,))
    def put(self, request: Request, pk: int) -> Response:
        """Want it too. Twice is once."""
        wish = queries.wish_by_id(self.person, pk)
        actions.support_wish(wish=wish, by=self.person, now=timezone.now())
        return self._counted(pk)

    @described("Withdraw support of a wish", tag=TAG, answers={200: SupportShown}, refuses=(404,))
    def delete(self, request: Request, pk: int) -> Response:
        """Want it no more."""
        actions.unsupport_wish(wish=queries.wish_by_id(self.person, pk), by=self.person)
        return self._counted(pk)

    def _counted(self, pk: int) -> Response:
        shown = self.shown(WishShown, queries.wish_by_id(self.person, pk))
        return Response({name: shown[name] for name in ("supports", "supported")})


class Answer(Door):
    """Answering a wish."""

    @described(
        "Answer a wish",
        tag=TAG,
        sends=WishAnswer,
        answers={200: WishShown},
        refuses=(404, 409),
        example={"prompt": "compare-offers"},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Say that a published prompt is what was asked for; those who asked are told."""
        wish = queries.wish_by_id(self.person, pk)
        prompt = self.sent(WishAnswer)["prompt"]
        actions.answer_wish(wish=wish, prompt=prompt, by=self.person, now=timezone.now())
        return _one(self, pk)


def _one(door: Door, pk: int, status: int = 200) -> Response:
    return Response(door.shown(WishShown, queries.wish_by_id(door.person, pk)), status=status)
