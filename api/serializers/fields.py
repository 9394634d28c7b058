"""Fields with the words of this product: each error names the value and what would do instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, ClassVar

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.settings import api_settings

from accounts.models import Department
from kb.prompts.models import Tool, UseCase
from kb.prompts.queries import by_slugs

MOST_SLUGS = 100
"""Asked of the database at once; the features allow fewer."""
KNOWN_TOLD = 40
"""Known values listed in an error; a longer list helps nobody."""
SHOWN = 60
"""Characters of a wrong value repeated in an error."""
LARGEST = 2_147_483_647
"""What an integer column holds."""
_LANGUAGE = re.compile(r"[a-z]{2,3}")

_NEEDED = _("This is needed.")
_NOT_NULL = _("This cannot be null; leave it out to keep what is there.")


class Sent(serializers.Serializer[Any]):
    """A JSON object as programs send it. A name we do not know is refused: a typo must not be lost.

    Names that are only read may be sent along, so that what was read can be sent back changed.
    """

    def shown_as(self) -> type[serializers.Serializer[Any]] | None:
        """What programs read of the same thing; its names may be sent along and change nothing."""
        return None

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "invalid": _("This is a JSON object."),
        "unknown": _("“{name}” is not known here. Did you mean “{near}”?"),
        "unknown_of": _("“{name}” is not known here; known: {known}."),
    }

    def to_internal_value(self, data: Any) -> Any:
        wrong: dict[str, Any] = {}
        if isinstance(data, Mapping):
            shown = self.shown_as()
            read = shown._declared_fields if shown else ()
            for name in data:
                if name not in self.fields and name not in read:
                    wrong[str(name)[:SHOWN]] = [self._unknown(str(name)[:SHOWN])]
        else:
            raise serializers.ValidationError(
                {api_settings.NON_FIELD_ERRORS_KEY: [str(self.error_messages["invalid"])]}
            )
        try:
            clean = super().to_internal_value(data)
        except serializers.ValidationError as error:
            wrong |= error.detail if isinstance(error.detail, dict) else {}
            raise serializers.ValidationError(wrong) from error
        if wrong:
            raise serializers.ValidationError(wrong)
        return clean

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, list(self.fields), n=1)
        if near:
            return str(self.error_messages["unknown"]).format(name=name, near=near[0])
        return str(self.error_messages["unknown_of"]).format(
            name=name, known=", ".join(self.fields)
        )


class SelfDescribed:
    """A field that knows its own JSON Schema; api.schema asks it."""

    def describe(self) -> dict[str, Any]:
        """The schema of what programs send."""
        raise NotImplementedError


class Text(SelfDescribed, serializers.CharField):
    """A text, kept as it was sent; the features tidy it. `most` bounds its characters."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "blank": _NEEDED,
        "invalid": _("This is a text."),
        "long": _("{count} characters; at most {most} fit."),
    }

    def __init__(self, *, most: int | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)
        self.most = most

    def describe(self) -> dict[str, Any]:
        return {"type": "string"} | ({} if self.most is None else {"maxLength": self.most})

    def to_internal_value(self, data: Any) -> str:
        text = str(super().to_internal_value(data))
        if self.most is not None and len(text) > self.most:
            self.fail("long", count=len(text), most=self.most)
        return text


class Whole(SelfDescribed, serializers.IntegerField):
    """A whole number from `low` to `high`."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "invalid": _("This is a whole number."),
        "range": _("{value} is outside {low} to {high}."),
    }

    def __init__(self, *, low: int = 0, high: int = LARGEST, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def describe(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool):
            self.fail("invalid")
        number = int(super().to_internal_value(data))
        if not self.low <= number <= self.high:
            self.fail("range", value=str(number)[:SHOWN], low=self.low, high=self.high)
        return number


class Flag(serializers.BooleanField):
    """True or false."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "invalid": _("This is true or false."),
    }


class Moment(serializers.DateTimeField):
    """An instant in ISO 8601, told in UTC; without an offset it is UTC."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "invalid": _("This is no instant; write one like 2026-03-01T02:00:00Z."),
        "date": _("A day is no instant; write one like 2026-03-01T02:00:00Z."),
        "overflow": _("This instant is out of range."),
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)


class Day(serializers.DateField):
    """A calendar day."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "invalid": _("This is no day; write one like 2026-03-01."),
        "datetime": _("An instant is no day; write one like 2026-03-01."),
    }


class Choice(SelfDescribed, serializers.ChoiceField):
    """One of a fixed list of words. `name` is what the schema calls the list."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "invalid_choice": _("“{input}” is not known; use one of: {known}."),
    }

    def __init__(
        self, choices: type[TextChoices] | Sequence[str], *, name: str = "", **kwargs: Any
    ) -> None:
        if isinstance(choices, type):
            words, own_name = list(choices.values), choices.__qualname__.replace(".", "")
        else:
            words, own_name = list(choices), ""
        super().__init__(choices=words, **kwargs)
        self.enum_name = (name or own_name) + ("OrEmpty" if self.allow_blank else "")

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "enum": [*([""] if self.allow_blank else []), *self.choices]}

    def to_internal_value(self, data: Any) -> str:
        if data == "" and self.allow_blank:
            return ""
        if not isinstance(data, str) or data not in self.choices:
            self.fail(
                "invalid_choice", input=str(data)[:SHOWN], known=", ".join(map(str, self.choices))
            )
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class Language(Text):
    """A language code such as fr or en."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "code": _("“{value}” is not a language code; use fr, en, …")
    }

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[a-z]{2,3}$"}

    def to_internal_value(self, data: Any) -> str:
        code = super().to_internal_value(data)
        if not _LANGUAGE.fullmatch(code):
            self.fail("code", value=code[:SHOWN])
        return code


class Many(serializers.ListField):
    """A list of `child`, at most `most` of them."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "not_a_list": _("This is a list."),
        "empty": _NEEDED,
        "many": _("{count} entries; at most {most} are taken."),
    }

    def __init__(self, *, most: int = MOST_SLUGS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.most = most

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Sequence) and not isinstance(data, str) and len(data) > self.most:
            self.fail("many", count=len(data), most=self.most)
        return super().to_internal_value(data)


type Facet = Department | Tool | UseCase


class Slugs(SelfDescribed, Many):
    """Rows named by their slugs, in the order given. Read, it is their slugs."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "unknown": _("“{value}” is not known; known: {known}."),
    }

    def __init__(self, model: type[Facet], **kwargs: Any) -> None:
        super().__init__(child=Text(), **kwargs)
        self.model = model

    def describe(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "maxItems": self.most}

    def to_internal_value(self, data: Any) -> list[Facet]:
        rows, unknown = by_slugs(self.model, super().to_internal_value(data))
        if unknown:
            self.fail("unknown", value=", ".join(unknown)[:SHOWN], known=known_slugs(self.model))
        return rows

    def to_representation(self, data: Iterable[Any]) -> list[str]:
        return [item if isinstance(item, str) else item.slug for item in data]


class Slug(Text):
    """One row named by its slug. Read, it is its slug."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "unknown": _("“{value}” is not known; known: {known}."),
    }

    def __init__(self, model: type[Facet], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def to_internal_value(self, data: Any) -> Any:
        slug = super().to_internal_value(data)
        rows, _unknown = by_slugs(self.model, [slug])
        if not rows:
            self.fail("unknown", value=slug[:SHOWN], known=known_slugs(self.model))
        return rows[0]

    def to_representation(self, value: Any) -> str:
        return value if isinstance(value, str) else str(value.slug)


class Values(serializers.DictField):
    """Names to texts, such as the values of a prompt's variables. Numbers become texts."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "not_a_dict": _("This is a JSON object: names with their values."),
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=Text(allow_blank=True), **kwargs)


class FreeObject(serializers.DictField):
    """A JSON object whose names are not ours, such as the parameters of a model."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": _NEEDED,
        "null": _NOT_NULL,
        "not_a_dict": _("This is a JSON object."),
    }


def known_slugs(model: type[Facet]) -> str:
    """The slugs there are, for an error."""
    slugs = list(model.objects.values_list("slug", flat=True)[: KNOWN_TOLD + 1])
    return ", ".join(slugs[:KNOWN_TOLD]) + (", …" if len(slugs) > KNOWN_TOLD else "")


class PersonShown(serializers.Serializer[Any]):
    """A person, as others see one."""

    id = serializers.IntegerField(source="pk", help_text="Number of the person.")
    name = serializers.CharField()
