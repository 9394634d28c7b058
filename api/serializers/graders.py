"""The models that judge, as JSON both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from api.serializers.fields import Choice, Moment, PersonShown, Sent, Whole
from kb.core.errors import NotFound
from kb.drift.grader_models import Grader
from kb.llm.models import Target
from kb.llm.queries import any_target_by_id


class TargetSent(Sent):
    """Which target does something for the whole company."""

    target = Whole(low=1, help_text="The id of a target.")

    default_error_messages: ClassVar[dict[str, Any]] = {
        "target": _("There is no target {value} in use."),
    }

    def validate_target(self, number: int) -> Target:
        try:
            return any_target_by_id(number)
        except NotFound:
            self.fail("target", value=number)


class GraderSent(TargetSent):
    """Which target judges."""

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return GraderShown


class GraderShown(serializers.Serializer[Any]):
    """A model that judges answers."""

    role = Choice(Grader.Role)
    target = serializers.IntegerField(source="target_id")
    model = serializers.CharField(source="target.model")
    connection_name = serializers.CharField(source="target.connection.name")
    is_simulated = serializers.SerializerMethodField()
    chosen = Moment()
    chosen_by = PersonShown(allow_null=True)
    status = Choice(
        Grader.Status,
        help_text="Of the judge: what its fixed answers tell. Changed: its verdicts do not count.",
    )
    status_since = Moment()
    anchors = serializers.SerializerMethodField(
        help_text="Fixed answers the judge is watched by; 0 until there are enough."
    )
    looked = Moment(allow_null=True, help_text="When it was last looked at.")
    look_due = Moment(allow_null=True, help_text="When it is looked at next.")

    def get_is_simulated(self, grader: Any) -> bool:
        return bool(grader.target.connection.provider == "simulated")

    def get_anchors(self, grader: Any) -> int:
        count: int = grader.anchors.count()
        return count


class GradersShown(serializers.Serializer[Any]):
    """Who judges what no rule on a text can."""

    judge = GraderShown(allow_null=True, help_text="Decides llm-rubric.")
    embeddings = GraderShown(allow_null=True, help_text="Decides similar.")
