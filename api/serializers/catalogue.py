"""What prompts are found by, who one is, and what one was told."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import ApiToken, Membership, User
from api.serializers.fields import Choice, Flag, Many, Moment, Sent, Text, Whole
from kb.notifications.kinds import KINDS, sentence
from kb.prompts.catalogue_actions import HIGHEST_POSITION
from kb.prompts.models import Tool


class BilingualShown(serializers.Serializer[Any]):
    """Something with a name in both languages."""

    slug = serializers.CharField()
    name = serializers.CharField(source="__str__", help_text="In the language asked for.")
    name_en = serializers.CharField()
    name_fr = serializers.CharField()
    position = serializers.IntegerField()


class DepartmentShown(BilingualShown):
    """A part of the company."""


class UseCaseShown(BilingualShown):
    """What people want to get done."""

    help_en = serializers.CharField()
    help_fr = serializers.CharField()


class ToolShown(serializers.Serializer[Any]):
    """A product a person types into."""

    slug = serializers.CharField()
    name = serializers.CharField()
    kind = Choice(Tool.Kind)
    open_url = serializers.CharField(help_text="With {prompt} where the text goes, or empty.")
    position = serializers.IntegerField()
    is_retired = serializers.BooleanField()


class TagShown(serializers.Serializer[Any]):
    """A free word on prompts."""

    slug = serializers.CharField()
    name = serializers.CharField()
    uses = serializers.IntegerField(help_text="Published prompts you may read that bear it.")


class _Placed(Sent):
    """What every curated thing may be given."""

    slug = Text(required=False, help_text="Made of the name when it is left out; never changes.")
    position = Whole(high=HIGHEST_POSITION, required=False)


class DepartmentSent(_Placed):
    """A department. `name` stands for the language whose own name is left out; only when new."""

    name = Text(required=False)
    name_en = Text(required=False)
    name_fr = Text(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        own = super().get_fields()
        if self.partial:  # read in one language: sent back it must not overwrite both
            own.pop("name")
        return own

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return BilingualShown


class UseCaseSent(DepartmentSent):
    """A use case. `name` stands for the language whose own name is left out; only when new."""

    help_en = Text(required=False, allow_blank=True)
    help_fr = Text(required=False, allow_blank=True)


class ToolSent(_Placed):
    """A tool."""

    name = Text()
    kind = Choice(Tool.Kind, required=False)
    open_url = Text(required=False, allow_blank=True)
    is_retired = Flag(required=False)


class RoleShown(serializers.Serializer[Any]):
    """A role, in one department or, with null, in the whole company."""

    department = serializers.CharField(allow_null=True)
    role = Choice(Membership.Role)


class MeShown(serializers.Serializer[Any]):
    """Who asks."""

    id = serializers.IntegerField()
    email = serializers.EmailField()
    name = serializers.CharField()
    language = Choice(User.Language)
    time_zone = serializers.CharField()
    roles = RoleShown(many=True)
    departments = serializers.ListField(child=serializers.CharField())
    scopes = serializers.ListField(
        child=Choice(ApiToken.Scope), help_text="Of the token used, implied ones included."
    )


class NotificationShown(serializers.Serializer[Any]):
    """A message to you."""

    id = serializers.IntegerField()
    kind = Choice(list(KINDS), name="NotificationKind")
    text = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()
    created = Moment()
    read = Moment(allow_null=True)

    def get_text(self, message: Any) -> str:
        """One sentence, in the language asked for."""
        return sentence(message.kind, message.context)

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, message: Any) -> str:
        """The page it is about."""
        address: str = self.context["request"].build_absolute_uri(message.path)
        return address


class NotificationQuery(Sent):
    """Which messages."""

    unread = Flag(required=False, default=False)


class ReadSent(Sent):
    """Which messages have been read; all of them without `ids`."""

    ids = Many(child=Whole(low=1), required=False, allow_null=True, most=1_000)


class ReadShown(serializers.Serializer[Any]):
    """How many messages were unread until now."""

    read = serializers.IntegerField()
