"""The model that finds by meaning, as JSON both ways."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from api.serializers.fields import Flag, Moment, PersonShown, Whole
from api.serializers.graders import TargetSent
from kb.finding.meaning import State
from kb.llm.clients import SIMULATED


class MeaningSent(TargetSent):
    """Which target reads, and how much."""

    target = Whole(low=1, help_text="The id of a target that makes vectors.")
    is_wide = Flag(
        default=False,
        help_text="Whether to send also what only single departments may read.",
    )

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return MeaningShown


class MeaningShown(serializers.Serializer[Any]):
    """The model that finds by meaning, and how far it has read."""

    target = serializers.IntegerField(source="model.target_id")
    model = serializers.CharField(source="model.target.model")
    connection_name = serializers.CharField(source="model.target.connection.name")
    is_simulated = serializers.SerializerMethodField()
    is_wide = serializers.BooleanField(
        source="model.is_wide",
        help_text="Whether what only single departments may read is sent as well.",
    )
    chosen = Moment(source="model.chosen")
    chosen_by = PersonShown(source="model.chosen_by", allow_null=True)
    read = serializers.IntegerField(help_text="Prompts and reports it has read as they are now.")
    readable = serializers.IntegerField(help_text="Prompts and reports there are to read.")
    trouble = serializers.CharField(
        source="model.trouble",
        help_text="Why it could not be asked last time, such as timeout; empty when it could.",
    )
    troubled = Moment(source="model.troubled", allow_null=True, help_text="Since when.")

    def get_is_simulated(self, state: State) -> bool:
        return bool(state.model.target.connection.provider == SIMULATED)
