"""Votes, signals and comments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from api import shelf
from api.idempotency import once_per_key
from api.schema import described, page_of
from api.serializers.community import (
    CommentChanged,
    CommentSent,
    CommentShown,
    SignalSent,
    SignalShown,
    VoteShown,
)
from api.views.base import Door
from api.views.prompts import version_asked
from kb.community import actions, queries
from kb.community.models import Comment
from kb.community.queries import Thread
from kb.community.tally import tally
from kb.core.errors import Invalid
from kb.prompts import queries as prompts
from kb.prompts.models import Prompt

TAG = "Voices"


class Vote(Door):
    """One's recommendation of a prompt."""

    @described("Recommend a prompt", tag=TAG, answers={200: VoteShown}, refuses=(404,))
    def put(self, request: Request, slug: str) -> Response:
        """One vote per person; twice is once."""
        votes = actions.cast_vote(
            prompt=prompts.by_slug(self.person, slug), by=self.person, now=timezone.now()
        )
        return Response({"votes": votes, "voted": True})

    @described("Withdraw a recommendation", tag=TAG, answers={200: VoteShown}, refuses=(404,))
    def delete(self, request: Request, slug: str) -> Response:
        """Take the vote back."""
        votes = actions.withdraw_vote(
            prompt=prompts.by_slug(self.person, slug), by=self.person, now=timezone.now()
        )
        return Response({"votes": votes, "voted": False})


class Signals(Door):
    """What people said in one click of how a use went."""

    @described("Read signals", tag=TAG, answers={200: SignalShown}, refuses=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """Counts of uses with their interval; reports count as the use they tell of."""
        return self._counted(prompts.by_slug(self.person, slug))

    @described(
        "Send a signal",
        tag=TAG,
        sends=SignalSent,
        answers={201: SignalShown},
        refuses=(404,),
        is_once_per_key=True,
        example={"outcome": "worked"},
    )
    @once_per_key
    def post(self, request: Request, slug: str) -> Response:
        """Say how a use went; a second signal of the same day and version corrects the first."""
        prompt = prompts.by_slug(self.person, slug)
        sent = self.sent(SignalSent)
        actions.signal(
            prompt=prompt,
            outcome=sent["outcome"],
            version=version_asked(prompt, sent.get("version")),
            by=self.person,
            now=timezone.now(),
        )
        return self._counted(prompt, status=201)

    @described("Withdraw today’s signal", tag=TAG, answers={200: SignalShown}, refuses=(404,))
    def delete(self, request: Request, slug: str) -> Response:
        """Take back what you said today."""
        prompt = prompts.by_slug(self.person, slug)
        actions.withdraw_signal(prompt=prompt, by=self.person, now=timezone.now())
        return self._counted(prompt)

    def _counted(self, prompt: Prompt, status: int = 200) -> Response:
        counted = tally([prompt.pk])[prompt.pk]
        mine = queries.signal_today(self.person, prompt, timezone.now())
        shown = {
            **shelf.evidence(counted).__dict__,
            "all_versions": shelf.interval(counted.total, of_current_version=False),
            "today": mine.outcome if mine else None,
        }
        return Response(self.shown(SignalShown, shown), status=status)


class Comments(Door):
    """The remarks on a prompt."""

    @described(
        "List comments",
        tag=TAG,
        answers={200: page_of(CommentShown)},
        refuses=(404,),
        is_paged=True,
    )
    def get(self, request: Request, slug: str) -> Response:
        """Flat, each thread in its order: an answer follows what it answers and names its `parent`."""
        prompt = prompts.by_slug(self.person, slug)
        return self.page(CommentShown, list(_flat(queries.threads(prompt))))

    @described(
        "Comment on a prompt",
        tag=TAG,
        sends=CommentSent,
        answers={201: CommentShown},
        refuses=(404,),
        is_once_per_key=True,
        example={"text": "Works with the 2025 template as well.", "parent": None},
    )
    @once_per_key
    def post(self, request: Request, slug: str) -> Response:
        """Remark on a prompt, or answer a remark with `parent`. Deep answers join the last level."""
        prompt = prompts.by_slug(self.person, slug)
        sent = self.sent(CommentSent)
        made = actions.comment(
            prompt=prompt,
            text=sent["text"],
            parent=_parent(prompt, sent.get("parent")),
            by=self.person,
            now=timezone.now(),
        )
        return Response(self.shown(CommentShown, made), status=201)


class OneComment(Door):
    """One remark."""

    @described(
        "Change a comment",
        tag=TAG,
        sends=CommentChanged,
        answers={200: CommentShown},
        refuses=(404,),
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Its author may change the words."""
        found = self._found(pk)
        sent = self.sent(CommentChanged)
        changed = actions.edit_comment(
            comment=found, text=sent["text"], by=self.person, now=timezone.now()
        )
        return Response(self.shown(CommentShown, changed))

    @described("Withdraw a comment", tag=TAG, answers={204: None}, refuses=(404,))
    def delete(self, request: Request, pk: int) -> Response:
        """Its author or a curator may take the words back; answers to it stay."""
        actions.withdraw_comment(comment=self._found(pk), by=self.person, now=timezone.now())
        return Response(status=204)

    def _found(self, pk: int) -> Comment:
        readable = prompts.visible_to(self.person)
        found = (
            Comment.objects.select_related("prompt", "author")
            .filter(pk=pk, prompt__in=readable, withdrawn=None)
            .first()
        )
        if found is None:
            raise Http404
        return found


def _parent(prompt: Prompt, number: int | None) -> Comment | None:
    if number is None:
        return None
    found = prompt.comments.filter(pk=number).first()
    if found is None:
        message = _("There is no comment %(number)s on this prompt.") % {"number": number}
        raise Invalid(f"parent: {message}", fields={"parent": message})
    return found


def _flat(threads: Sequence[Thread]) -> Iterator[Comment]:
    for thread in threads:
        yield thread.comment
        yield from _flat(thread.replies)
