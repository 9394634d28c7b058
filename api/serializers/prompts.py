"""Prompts, their versions and filled texts, as JSON both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Department
from api.serializers.fields import (
    Choice,
    Flag,
    Language,
    Many,
    Moment,
    PersonShown,
    Sent,
    Slugs,
    Text,
    Values,
    Whole,
)
from kb.drift.models import Monitor
from kb.prompts.actions import MOST_DEPARTMENTS, MOST_TAGS, MOST_TOOLS, MOST_USE_CASES
from kb.prompts.models import (
    CHANGE_NOTE_LENGTH,
    SUMMARY_LENGTH,
    TEXT_LENGTH,
    TITLE_LENGTH,
    Prompt,
    Tool,
    UseCase,
)
from kb.prompts.template import (
    MOST_VARIABLES,
    VARIABLE_TYPES,
    InvalidVariable,
    Variable,
    variables_from,
)
from kb.prompts.writeup import SECTIONS, split
from kb.search.keys import EVIDENCE

SENT_TAGS = 5 * MOST_TAGS
"""Read before duplicates are left out; the feature says how many stay."""


class VariableShown(serializers.Serializer[Any]):
    """A hole `{{ name }}` of the text."""

    name = serializers.CharField()
    label = serializers.CharField(required=False)  # type: ignore[assignment]
    type = Choice(VARIABLE_TYPES, name="VariableType", required=False)
    default = serializers.CharField(required=False)
    help = serializers.CharField(required=False)
    required = serializers.BooleanField(required=False)  # type: ignore[assignment]
    options = serializers.ListField(child=serializers.CharField(), required=False)


@extend_schema_field(
    {
        "type": "array",
        "maxItems": MOST_VARIABLES,
        "items": {
            "oneOf": [
                {"type": "string", "description": "The name alone."},
                {"$ref": "#/components/schemas/VariableShown"},
            ]
        },
    }
)
class Variables(Many):
    """What is known of the holes: names alone, or objects. Holes nobody describes are plain texts."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "variable": _("“{name}”: {value}: {reason}"),
        "kind": _("A variable is a name, or an object with a name."),
    }

    def to_internal_value(self, data: Any) -> list[Variable]:
        found = []
        for number, item in enumerate(super().to_internal_value(data)):
            if not isinstance(item, str | dict):
                raise serializers.ValidationError({str(number): [str(self.error_messages["kind"])]})
            found.append({"name": item} if isinstance(item, str) else item)
        try:
            return list(variables_from(found))
        except InvalidVariable as error:
            self.fail(
                "variable", name=error.name[:64], value=repr(error.value)[:80], reason=error.reason
            )

    def to_representation(self, data: Any) -> Any:
        return data


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "description": "Markdown with a heading for each section."},
            {
                "type": "object",
                "properties": {section: {"type": "string"} for section in SECTIONS},
                "additionalProperties": False,
            },
        ]
    }
)
class StorySent(serializers.Field[Any, Any, Any, Any]):
    """A write-up: one Markdown text, or an object of sections. Clean, it is the sections given."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _("This is needed."),
        "null": _("This cannot be null; leave it out to keep what is there."),
        "kind": _("A write-up is one Markdown text, or an object with: {known}."),
        "section": _("“{name}” is no section; use: {known}."),
        "text": _("The section “{name}” is a text."),
    }

    def to_internal_value(self, data: Any) -> dict[str, str]:
        known = ", ".join(SECTIONS)
        if isinstance(data, str):
            told = split(data)
            return {section: getattr(told, section) for section in SECTIONS}
        if not isinstance(data, dict):
            self.fail("kind", known=known)
        for name, text in data.items():
            if name not in SECTIONS:
                self.fail("section", name=str(name)[:64], known=known)
            if not isinstance(text, str):
                self.fail("text", name=name)
        return dict(data)

    def to_representation(self, value: Any) -> Any:
        return value


class SectionsShown(serializers.Serializer[Any]):
    """The sections of a write-up, in Markdown."""

    purpose = serializers.CharField()
    worked = serializers.CharField()
    failed = serializers.CharField()
    limits = serializers.CharField()


class EvidenceShown(serializers.Serializer[Any]):
    """How often it worked: k = worked + with_edits of n uses, and the 95 % interval of that share."""

    worked = serializers.IntegerField()
    with_edits = serializers.IntegerField()
    failed = serializers.IntegerField()
    k = serializers.IntegerField()
    n = serializers.IntegerField()
    low = serializers.FloatField(help_text="Lower end of the Wilson interval, 0 to 1.")
    high = serializers.FloatField(help_text="Upper end, 0 to 1; 0 to 1 while n is 0.")
    of_current_version = serializers.BooleanField(
        help_text="False while all uses are of older versions."
    )


class DriftShown(serializers.Serializer[Any]):
    """The worst state among the monitors of a prompt."""

    status = Choice(Monitor.Status)
    since = Moment()
    model = serializers.CharField()
    is_simulated = serializers.BooleanField()
    monitor = serializers.IntegerField(source="monitor_id")
    last_run = Moment(allow_null=True)


class VersionBrief(serializers.Serializer[Any]):
    """A version without its texts."""

    number = serializers.IntegerField()
    created = Moment()
    change_note = serializers.CharField()
    restored_from = serializers.IntegerField(allow_null=True)
    author = PersonShown(allow_null=True)


class VersionShown(VersionBrief):
    """An immutable version: what is sent to a model."""

    text = serializers.CharField()
    system = serializers.CharField()
    variables = VariableShown(many=True)


class PromptRow(serializers.Serializer[Any]):
    """A prompt in a list: everything but its texts."""

    id = serializers.IntegerField()
    slug = serializers.CharField()
    url = serializers.SerializerMethodField()
    title = serializers.CharField()
    summary = serializers.CharField()
    variables = VariableShown(many=True)
    language = serializers.CharField()
    departments = serializers.ListField(child=serializers.CharField())
    tools = serializers.ListField(child=serializers.CharField())
    use_cases = serializers.ListField(child=serializers.CharField())
    tags = serializers.ListField(child=serializers.CharField())
    visibility = Choice(Prompt.Visibility)
    status = Choice(Prompt.Status)
    edition = serializers.IntegerField()
    version = VersionBrief(allow_null=True)
    author = PersonShown(allow_null=True)
    evidence = EvidenceShown()
    votes = serializers.IntegerField()
    voted = serializers.BooleanField(help_text="Whether you recommend it.")
    drift = DriftShown(allow_null=True)
    created = Moment()
    updated = Moment()
    published = Moment(allow_null=True)

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, prompt: Any) -> str:
        """The page of the prompt."""
        address: str = self.context["request"].build_absolute_uri(
            reverse("prompt", args=[prompt.slug])
        )
        return address


class PromptShown(PromptRow):
    """A prompt with its texts and its story."""

    text = serializers.CharField()
    system = serializers.CharField()
    write_up = serializers.CharField(help_text="Markdown with a heading for each section.")
    write_up_sections = SectionsShown()


class PromptSent(Sent):
    """What an author may set. What is only read may be sent along and is passed over."""

    title = Text(most=TITLE_LENGTH)
    summary = Text(required=False, allow_blank=True, most=SUMMARY_LENGTH)
    text = Text(most=TEXT_LENGTH)
    system = Text(required=False, allow_blank=True, most=TEXT_LENGTH)
    variables = Variables(required=False)
    language = Language(required=False)
    write_up = StorySent(required=False)
    departments = Slugs(Department, required=False, most=MOST_DEPARTMENTS)
    tools = Slugs(Tool, required=False, most=MOST_TOOLS)
    use_cases = Slugs(UseCase, required=False, most=MOST_USE_CASES)
    tags = Many(child=Text(), required=False, most=SENT_TAGS)
    visibility = Choice(Prompt.Visibility, required=False)
    status = Choice(Prompt.Status, required=False)
    change_note = Text(required=False, allow_blank=True, most=CHANGE_NOTE_LENGTH)
    edition = Whole(required=False, help_text="The edition the change is based on.")

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return PromptShown


class PromptQuery(Sent):
    """Which prompts, in which order. A filter that repeats, or has commas, takes any of its values."""

    q = Text(required=False, allow_blank=True, most=200)
    department = Slugs(Department, required=False)
    tool = Slugs(Tool, required=False)
    use_case = Slugs(UseCase, required=False)
    tag = Many(child=Text(), required=False)
    language = Many(child=Language(), required=False)
    status = Many(
        child=Choice(
            [*Prompt.Status.values, "drifted", "suspect", "stable", "learning"],
            name="PromptStatusFilter",
        ),
        required=False,
        help_text="published unless told otherwise.",
    )
    evidence = Many(child=Choice(EVIDENCE, name="EvidenceFilter"), required=False)
    ordering = Choice(
        ["relevance", "proven", "newest"],
        name="PromptOrdering",
        required=False,
        help_text="relevance with q, else newest.",
    )
    after = Text(
        required=False,
        most=80,
        help_text="Where a page begins that no number leads to; comes with `next`.",
    )
    full = Flag(required=False, default=False, help_text="With texts and write-ups.")


class RenderSent(Sent):
    """Values for the holes of a prompt."""

    values = Values(required=False)
    version = Whole(low=1, required=False, allow_null=True)
    partial = Flag(  # type: ignore[assignment]
        required=False, default=False, help_text="Leave holes without a value as they are."
    )


class RenderShown(serializers.Serializer[Any]):
    """The filled text."""

    text = serializers.CharField()
    system = serializers.CharField()
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="Names that still need a value."
    )
    unused = serializers.ListField(
        child=serializers.CharField(), help_text="Names sent that the version has no place for."
    )


class WatchShown(serializers.Serializer[Any]):
    """Whether you hear of what happens to the prompt."""

    watching = serializers.BooleanField()
