"""How the API describes itself: OpenAPI 3.1 from the views, with every refusal named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from api.errors import body
from api.idempotency import HEADER
from api.pagination import MOST_PER_PAGE, USUAL_SIZE
from kb.core.models import KEY_LENGTH

type Serializer = type[serializers.BaseSerializer[Any]]


class Refusal(serializers.Serializer[Any]):
    """Why a request was refused."""

    code = serializers.CharField(help_text="One of a fixed list, for programs.")
    message = serializers.CharField(help_text="A sentence for people, in the language asked for.")
    fields_ = serializers.DictField(
        child=serializers.CharField(),
        help_text="Names of wrong inputs, dotted where nested, to a sentence each.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `fields` is DRF's own name on a serializer, so it cannot be declared under it.
        return {name.rstrip("_"): field for name, field in super().get_fields().items()}


class Error(serializers.Serializer[Any]):
    """The one shape of every refusal."""

    error = Refusal()


_REFUSALS: Mapping[int, tuple[str, str, str]] = {
    400: ("Not readable: no JSON, no UTF-8, nested too deeply.", "malformed", "The body is not JSON: Expecting value at line 1, column 1."),
    401: ("No token or session, or one that is not valid.", "not_authenticated", "Send a token, made under Settings: Authorization: Bearer rtx_…"),
    403: ("The scope of the token or the role of its person does not allow it.", "not_allowed", "This needs a token with the scope “write”; yours has: read."),
    404: ("Not there, or not for you to see.", "not_found", "There is no prompt “nda” here."),
    409: ("It has changed, or is not in a state for this.", "conflict", "“Review an NDA” was changed by somebody else while you were editing it."),
    412: ("Not the edition named by If-Match.", "precondition_failed", "The edition is 4 by now; read it again, then send If-Match: \"4\"."),
    413: ("The body is larger than 2 MB.", "too_large", "The body is larger than 2 MB; send less at once."),
    415: ("The body is not application/json.", "unsupported_media_type", "The body has to be JSON; send Content-Type: application/json."),
    422: ("Understood, but it cannot be accepted; `fields` says what is wrong.", "invalid", "departments: “legl” is not known; known: legal, sales."),
    429: ("Too many requests of one person; `Retry-After` says when to go on.", "throttled", "Too many requests; go on in 12 seconds."),
    503: ("The database is away for a moment; `Retry-After` says when to try again.", "unavailable", "The service is away for a moment. Please try again in a few seconds."),
}  # fmt: skip
_ALWAYS = (401, 403, 429, 503)
_WITH_BODY = (400, 413, 415, 422)


def described(
    summary: str,
    *,
    tag: str,
    answers: Mapping[int, Any],
    sends: Serializer | None = None,
    asks: Serializer | None = None,
    refuses: Sequence[int] = (),
    is_paged: bool = False,
    usual_page_size: int = USUAL_SIZE,
    is_once_per_key: bool = False,
    has_etag: bool = False,
    takes_if_match: bool = False,
    example: Any = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Describe a handler: its docstring is the description, `summary` also makes the operation's id.

    `answers` maps statuses to serializers or None; `asks` are the parameters of the address; the
    refusals every such operation knows are added to those in `refuses`.
    """
    codes = {*_ALWAYS, *refuses}
    if sends is not None:
        codes |= set(_WITH_BODY)
    if asks is not None or is_paged:
        codes.add(422)
    if is_paged:
        codes.add(404)
    parameters: list[Any] = [asks] if asks is not None else []
    if is_paged:
        parameters += _of_pages(usual_page_size)
    if is_once_per_key:
        parameters.append(_KEY)
    if takes_if_match:
        parameters.append(_IF_MATCH)
    if has_etag:
        parameters.append(_etag([code for code in answers if code < 300]))
    examples = [OpenApiExample("Example", value=example, request_only=True)] if example else []
    return extend_schema(
        operation_id=_operation_id(summary),
        summary=summary,
        tags=[tag],
        request=sends,
        parameters=parameters,
        responses={**answers, **{code: _refusal(code) for code in sorted(codes)}},
        examples=examples,
    )


def page_of(row: Serializer, **more: serializers.Field[Any, Any, Any, Any]) -> Serializer:
    """The serializer of a page of rows, for the schema."""
    name = row.__name__.removesuffix("Shown")
    return type(
        f"{name}Page",
        (serializers.Serializer,),
        {
            "__doc__": "One page of a list.",
            "count": serializers.IntegerField(help_text="Rows on all pages."),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
            **more,
            "results": row(many=True),
        },
    )


def _operation_id(summary: str) -> str:
    first, *rest = "".join(s if s.isalnum() else " " for s in summary.replace("’", "")).split()
    return first.lower() + "".join(word[:1].upper() + word[1:] for word in rest)


_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "maxLength": KEY_LENGTH},
    OpenApiParameter.HEADER,
    description="The same key of the same person is done once in 24 hours.",
)
_IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description='The ETag last read, such as "3".',
)


def _of_pages(usual_size: int) -> list[OpenApiParameter]:
    number = {"type": "integer", "minimum": 1}
    size = {**number, "maximum": MOST_PER_PAGE, "default": usual_size}
    return [
        OpenApiParameter("page", {**number, "default": 1}),
        OpenApiParameter("page_size", size),
    ]


def _etag(codes: Sequence[int]) -> OpenApiParameter:
    return OpenApiParameter(
        "ETag",
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description="The edition, in quotes.",
        response=list(codes),
    )


def _refusal(code: int) -> OpenApiResponse:
    description, name, message = _REFUSALS[code]
    return OpenApiResponse(
        Error,
        description=description,
        examples=[OpenApiExample(name, value=body(name, message), status_codes=[str(code)])],
    )


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The bearer token, in the schema."""

    target_class = "api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "rtx_…",
            "description": "A token made under Settings, or with manage.py create_token.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The session cookie, in the schema."""

    target_class = "api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "retex_session",
            "description": "Being signed in in this browser; writes also need its CSRF token.",
        }


class OwnFields(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Our fields describe themselves; a list of words becomes a component under its own name."""

    target_class = "api.serializers.fields.SelfDescribed"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        schema: dict[str, Any] = self.target.describe()
        name: str = getattr(self.target, "enum_name", "")
        if not name:
            return schema
        component = ResolvedComponent(  # type: ignore[no-untyped-call]
            name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name
        )
        auto_schema.registry.register_on_missing(component)
        return dict(component.ref)
