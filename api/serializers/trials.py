"""Trials, as JSON both ways."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from api.serializers.fields import Choice, Many, Moment, Sent, Values, Whole
from kb.drift.trial_models import Trial, TrialAnswer
from kb.drift.trials import MOST_TARGETS


class TrialSent(Sent):
    """What to ask of whom."""

    version = Whole(
        low=1, required=False, allow_null=True, help_text="Null or left out: the current."
    )
    targets = Many(
        child=Whole(low=1),
        most=MOST_TARGETS,
        help_text="Ids of targets, as monitors/targets/ lists them.",
    )
    values = Values(required=False)


class TrialAnswerShown(serializers.Serializer[Any]):
    """The place of one model's answer."""

    id = serializers.IntegerField()
    target = serializers.IntegerField(source="target_id", allow_null=True)
    model = serializers.CharField()
    connection_name = serializers.CharField()
    is_simulated = serializers.BooleanField()
    outcome = Choice(
        TrialAnswer.Outcome, help_text="waiting until it is answered or the trial ends."
    )
    text = serializers.CharField()
    served_model = serializers.CharField(help_text="The model the vendor says it used.")
    finish = serializers.CharField()
    input_tokens = serializers.IntegerField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)
    cost = serializers.FloatField(allow_null=True)
    currency = serializers.CharField()
    error_kind = serializers.CharField()
    is_example = serializers.SerializerMethodField()

    def get_is_example(self, answer: Any) -> bool:
        """Whether it stands on the page of the prompt as an example."""
        return answer.kept is not None


class TrialShown(serializers.Serializer[Any]):
    """One asking of a version with chosen values."""

    id = serializers.IntegerField()
    prompt = serializers.CharField(source="version.prompt.slug")
    version = serializers.IntegerField(source="version.number")
    values = serializers.DictField(child=serializers.CharField())
    status = Choice(Trial.Status)
    reason = serializers.CharField(help_text="Why it ended otherwise than done.")
    created = Moment()
    started = Moment(allow_null=True)
    finished = Moment(allow_null=True)
    answers = TrialAnswerShown(many=True, source="answers.all")
