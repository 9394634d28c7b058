"""The models that judge answers, chosen for the whole company. For administrators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from api.schema import described
from api.serializers.graders import GraderSent, GraderShown, GradersShown
from api.views.connections import AdminDoor
from kb.core.errors import NotFound
from kb.drift import grader_queries, graders
from kb.drift.grader_models import Grader

TAG = "Models that judge"


class Graders(AdminDoor):
    """Who judges what no rule on a text can."""

    @described("Read the models that judge", tag=TAG, answers={200: GradersShown})
    def get(self, request: Request) -> Response:
        """The judge and the embeddings model; null where nobody has chosen one."""
        grader_queries.must_see(self.person)
        rows = grader_queries.in_use()
        by_role: Mapping[str, Any] = {
            str(role): rows.get(type) for role, type in grader_queries.TYPES.items()
        }
        return Response(self.shown(GradersShown, by_role))


class OneGrader(AdminDoor):
    """The model of one role: judge or embeddings."""

    @described("Read a model that judges", tag=TAG, answers={200: GraderShown}, refuses=(404,))
    def get(self, request: Request, role: str) -> Response:
        """404 while nobody has chosen one."""
        return Response(self.shown(GraderShown, self._found(role)))

    @described(
        "Choose a model that judges",
        tag=TAG,
        sends=GraderSent,
        answers={200: GraderShown},
        refuses=(404, 409),
        example={"target": 3},
    )
    def put(self, request: Request, role: str) -> Response:
        """From now on this target judges, for the whole company.

        Usual answers are judged anew with the next run of each monitor. The one in use chosen
        again is left as it is. `judge` takes a target that answers, `embeddings` one that makes
        vectors.
        """
        role = grader_queries.role_named(self.person, role)
        target = self.sent(GraderSent)["target"]
        graders.choose_grader(role=role, target=target, by=self.person, now=timezone.now())
        return Response(self.shown(GraderShown, self._found(role)))

    @described("Remove a model that judges", tag=TAG, answers={204: None}, refuses=(404,))
    def delete(self, request: Request, role: str) -> Response:
        """Rules that need it are not judged from now on: neither passed nor failed."""
        found = self._found(role)
        graders.remove_grader(role=found.role, by=self.person, now=timezone.now())
        return Response(status=204)

    def _found(self, role: str) -> Grader:
        found = grader_queries.current(grader_queries.role_named(self.person, role))
        if found is None:
            raise NotFound(_("Nobody has chosen a model for this yet."))
        return found


class AcceptJudge(AdminDoor):
    """Accepting a judge that has changed."""

    @described("Accept the judge", tag=TAG, answers={200: GraderShown}, refuses=(409,))
    def post(self, request: Request) -> Response:
        """The judge as it judges now is right: its verdicts count again. 409 unless it has changed."""
        made = graders.accept_judge(by=self.person, now=timezone.now())
        return Response(self.shown(GraderShown, made))
