"""Trying prompts on models."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from api.idempotency import once_per_key
from api.schema import described
from api.serializers.trials import TrialSent, TrialShown
from api.views.base import Door
from api.views.prompts import version_asked
from kb.core.errors import Invalid
from kb.drift import trial_queries, trials
from kb.llm.models import Target
from kb.llm.queries import targets
from kb.prompts.queries import by_slug
from kb.tasks.trials import ring

TAG = "Trials"


class Trials(Door):
    """Asking models a version of a prompt."""

    @described(
        "Try a prompt",
        tag=TAG,
        sends=TrialSent,
        answers={202: TrialShown},
        refuses=(404, 409),
        is_once_per_key=True,
        example={"targets": [1, 2], "values": {"party": "ACME", "agreement": "…"}},
    )
    @once_per_key
    def post(self, request: Request, slug: str) -> Response:
        """Ask one to four models once each, which may cost money; needs the author role.

        Poll the trial while its status is queued or running. Only you can read it.
        """
        prompt = by_slug(self.person, slug)
        trials.must_try(self.person, prompt)
        sent = self.sent(TrialSent)
        made = trials.request(
            version=version_asked(prompt, sent.get("version")),
            targets=_targets(sent["targets"]),
            values=sent.get("values", {}),
            by=self.person,
            now=timezone.now(),
        )
        ring(made.pk)
        response = _one(self, made.pk, status=202)
        response["Location"] = request.build_absolute_uri(reverse("api:trial", args=[made.pk]))
        return response


class OneTrial(Door):
    """One trial."""

    @described("Read a trial", tag=TAG, answers={200: TrialShown}, refuses=(404,))
    def get(self, request: Request, pk: int) -> Response:
        """One of your own trials with what has been answered so far."""
        return _one(self, pk)


def _one(door: Door, pk: int, status: int = 200) -> Response:
    return Response(door.shown(TrialShown, trial_queries.by_id(door.person, pk)), status=status)


def _targets(numbers: Sequence[int]) -> list[Target]:
    """The targets in use with these ids, in their order. Raises Invalid naming an unknown one."""
    known = {target.pk: target for target in targets().filter(pk__in=numbers)}
    unknown = next((number for number in numbers if number not in known), None)
    if unknown is not None:
        message = _("There is no target %(pk)s in use.") % {"pk": unknown}
        raise Invalid(message, fields={"targets": message})
    return [known[number] for number in numbers]
