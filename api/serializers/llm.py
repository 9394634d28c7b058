"""Provider accounts, their models and prices, and targets, as JSON both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api.serializers.fields import Flag, FreeObject, Moment, Sent, Text, Whole
from kb.llm.actions import MOST_CALLS_AT_ONCE
from kb.llm.models import Connection
from kb.llm.registry import FACTORIES

LONGEST_KEY = 4_000
LARGEST_LIMIT = 1_000_000_000
"""Requests or tokens a minute: more than any vendor grants."""
LARGEST_PRICE = 10_000_000


class ConnectionSent(Sent):
    """A provider account. The key goes in and never comes out again."""

    name = Text(most=80)
    provider = Text(most=40, help_text=f"One of: {', '.join(FACTORIES)}.")
    base_url = Text(required=False, allow_blank=True, most=300)
    api_key = Text(
        required=False,
        allow_blank=True,
        allow_null=True,
        most=LONGEST_KEY,
        write_only=True,
        help_text="Left out or null it stays; empty it is removed.",
    )
    quirks = FreeObject(required=False)
    requests_per_minute = Whole(
        high=LARGEST_LIMIT, required=False, allow_null=True, help_text="Null or 0: no limit."
    )
    tokens_per_minute = Whole(
        high=LARGEST_LIMIT, required=False, allow_null=True, help_text="Null or 0: no limit."
    )
    calls_at_once = Whole(low=1, high=MOST_CALLS_AT_ONCE, required=False)
    is_enabled = Flag(required=False)

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return ConnectionShown

    def validate(self, attrs: Any) -> Any:
        """None means 'as it is' to the feature; 0 takes a limit away."""
        for name in ("requests_per_minute", "tokens_per_minute"):
            if name in attrs and attrs[name] is None:
                attrs[name] = 0
        return attrs


class ConnectionShown(serializers.Serializer[Any]):
    """A provider account, without its key."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    provider = serializers.CharField()
    base_url = serializers.CharField()
    has_key = serializers.SerializerMethodField()
    key_hint = serializers.CharField(help_text="The last four characters of a long key.")
    key_host = serializers.CharField(help_text="The only host the key is ever sent to.")
    quirks = serializers.DictField()
    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    calls_at_once = serializers.IntegerField()
    is_enabled = serializers.BooleanField()
    created = Moment()

    def get_has_key(self, connection: Any) -> bool:
        return bool(connection.sealed_key)


class ModelShown(serializers.Serializer[Any]):
    """A model a provider offers."""

    id = serializers.CharField()
    name = serializers.CharField()
    created = serializers.DateField(allow_null=True)
    retires = serializers.DateField(allow_null=True)


class ModelsShown(serializers.Serializer[Any]):
    """The models a provider offers."""

    results = ModelShown(many=True)


class PriceSent(Sent):
    """What a model costs, per million tokens."""

    model = Text(most=120)
    input_per_million = serializers.DecimalField(
        max_digits=12, decimal_places=4, min_value=0, max_value=LARGEST_PRICE
    )
    output_per_million = serializers.DecimalField(
        max_digits=12, decimal_places=4, min_value=0, max_value=LARGEST_PRICE
    )
    currency = serializers.RegexField(
        r"^[A-Z]{3}$", required=False, default="EUR", help_text="ISO 4217, such as EUR."
    )


class PriceShown(serializers.Serializer[Any]):
    """What a model costs, per million tokens."""

    model = serializers.CharField()
    input_per_million = serializers.DecimalField(max_digits=12, decimal_places=4)
    output_per_million = serializers.DecimalField(max_digits=12, decimal_places=4)
    currency = serializers.CharField()


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
class ConnectionNamed(serializers.Field[Any, Any, Any, Any]):
    """A connection by its id or its name."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _("This is needed."),
        "null": _("This cannot be null."),
        "unknown": _("There is no connection “{value}”; known: {known}."),
    }

    def to_internal_value(self, data: Any) -> Connection:
        found = None
        if isinstance(data, str):
            found = Connection.objects.filter(name=data).first()
        if found is None and str(data).isdecimal() and not isinstance(data, bool):
            found = Connection.objects.filter(pk=int(str(data)[:18])).first()
        if found is None:
            known = ", ".join(Connection.objects.values_list("name", flat=True)[:40])
            self.fail("unknown", value=str(data)[:60], known=known or "–")
        return found


class TargetSent(Sent):
    """A model of a connection, with the parameters it is asked with."""

    connection = ConnectionNamed()
    model = Text(most=120)
    parameters = FreeObject(required=False)
    is_embedding = Flag(
        required=False, help_text="It makes vectors and answers no prompt. Left out: it answers."
    )

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return TargetShown


class TargetBrief(serializers.Serializer[Any]):
    """What a monitor can be pointed at."""

    id = serializers.IntegerField()
    model = serializers.CharField()
    connection_name = serializers.CharField(source="connection.name")
    is_simulated = serializers.SerializerMethodField()

    def get_is_simulated(self, target: Any) -> bool:
        return bool(target.connection.provider == "simulated")


class TargetShown(TargetBrief):
    """A model of a connection, with the parameters it is asked with."""

    connection = serializers.IntegerField(source="connection_id")
    parameters = serializers.DictField()
    is_embedding = serializers.BooleanField(help_text="It makes vectors and answers no prompt.")
    created = Moment()
