"""Provider accounts, their models and prices, and targets. For administrators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from asgiref.sync import async_to_sync
from django.urls import reverse
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiToken
from api.errors import ProviderFailed
from api.idempotency import once_per_key
from api.schema import described, page_of
from api.serializers.llm import (
    ConnectionSent,
    ConnectionShown,
    ModelsShown,
    PriceSent,
    PriceShown,
    TargetSent,
    TargetShown,
)
from api.views.base import Door
from kb.core.http import HttpClient, policy_from_settings
from kb.llm import actions, queries
from kb.llm.models import Connection
from kb.llm.queries import Trial

TAG = "Connections"


class AdminDoor(Door):
    """A view for tokens with the scope admin, used by administrators of the company."""

    scopes: ClassVar[Mapping[str, str]] = {"*": ApiToken.Scope.ADMIN}


class Connections(AdminDoor):
    """The provider accounts."""

    @described("List connections", tag=TAG, answers={200: page_of(ConnectionShown)}, is_paged=True)
    def get(self, request: Request) -> Response:
        """All provider accounts, without their keys."""
        return self.page(ConnectionShown, queries.connections(self.person))

    @described(
        "Create a connection",
        tag=TAG,
        sends=ConnectionSent,
        answers={201: ConnectionShown},
        example={
            "name": "Mistral",
            "provider": "openai-compatible",
            "base_url": "https://api.mistral.ai/v1",
            "api_key": "…",
        },
    )
    def post(self, request: Request) -> Response:
        """The key is kept encrypted and only ever sent to the host it was entered for."""
        made = actions.save_connection(by=self.person, **self.sent(ConnectionSent))
        address = request.build_absolute_uri(reverse("api:connection", args=[made.pk]))
        return Response(
            self.shown(ConnectionShown, made), status=201, headers={"Location": address}
        )


class OneConnection(AdminDoor):
    """One provider account."""

    @described("Read a connection", tag=TAG, answers={200: ConnectionShown}, refuses=(404,))
    def get(self, request: Request, pk: int) -> Response:
        """The account, without its key."""
        return Response(self.shown(ConnectionShown, queries.connection_by_id(self.person, pk)))

    @described(
        "Change a connection",
        tag=TAG,
        sends=ConnectionSent,
        answers={200: ConnectionShown},
        refuses=(404,),
        example={"is_enabled": False},
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Only what is sent changes. Another host needs the key again."""
        found = queries.connection_by_id(self.person, pk)
        sent = self.sent(ConnectionSent, is_partial=True)
        changed = actions.save_connection(by=self.person, connection=found, **sent)
        return Response(self.shown(ConnectionShown, changed))

    @described("Delete a connection", tag=TAG, answers={204: None}, refuses=(404, 409))
    def delete(self, request: Request, pk: int) -> Response:
        """Refused while monitors use it; switch it off instead."""
        found = queries.connection_by_id(self.person, pk)
        actions.delete_connection(connection=found, by=self.person)
        return Response(status=204)


class Models(AdminDoor):
    """What a provider offers."""

    @described("List models", tag=TAG, answers={200: ModelsShown}, refuses=(404, 422))
    def get(self, request: Request, pk: int) -> Response:
        """Asks the provider. When it does not answer as it should: 422, code `provider_error`."""
        tried = async_to_sync(_try)(queries.connection_by_id(self.person, pk))
        if tried.error is not None:
            raise ProviderFailed(
                _("The provider did not tell its models (%(kind)s): %(detail)s")
                % {"kind": tried.error.kind, "detail": tried.error.message},
                fields={"kind": tried.error.kind},
            )
        return Response(self.shown(ModelsShown, {"results": tried.models}))


class Prices(AdminDoor):
    """What the models of a connection cost."""

    @described(
        "List prices",
        tag=TAG,
        answers={200: page_of(PriceShown)},
        refuses=(404,),
        is_paged=True,
    )
    def get(self, request: Request, pk: int) -> Response:
        """The prices entered for this connection."""
        found = queries.connection_by_id(self.person, pk)
        return self.page(PriceShown, list(queries.prices_of(found).values()))

    @described(
        "Set a price",
        tag=TAG,
        sends=PriceSent,
        answers={200: PriceShown},
        refuses=(404,),
        example={
            "model": "mistral-large-latest",
            "input_per_million": "1.80",
            "output_per_million": "5.40",
            "currency": "EUR",
        },
    )
    def put(self, request: Request, pk: int) -> Response:
        """What a model costs from now on."""
        found = queries.connection_by_id(self.person, pk)
        made = actions.save_price(connection=found, by=self.person, **self.sent(PriceSent))
        return Response(self.shown(PriceShown, made))


class Targets(AdminDoor):
    """Models that prompts are re-run against, or that judge what came of it."""

    @described("List targets", tag=TAG, answers={200: page_of(TargetShown)}, is_paged=True)
    def get(self, request: Request) -> Response:
        """The targets of connections in use."""
        queries.connections(self.person)
        return self.page(TargetShown, queries.targets_in_use())

    @described(
        "Create a target",
        tag=TAG,
        sends=TargetSent,
        answers={201: TargetShown},
        is_once_per_key=True,
        example={"connection": "Mistral", "model": "mistral-large-latest", "parameters": {}},
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """The same connection, model and parameters are the same target."""
        queries.connections(self.person)
        made = actions.save_target(by=self.person, **self.sent(TargetSent))
        address = request.build_absolute_uri(reverse("api:target", args=[made.pk]))
        return Response(self.shown(TargetShown, made), status=201, headers={"Location": address})


class OneTarget(AdminDoor):
    """One target."""

    @described("Read a target", tag=TAG, answers={200: TargetShown}, refuses=(404,))
    def get(self, request: Request, pk: int) -> Response:
        """A model of a connection, with the parameters it is asked with."""
        queries.connections(self.person)
        return Response(self.shown(TargetShown, queries.any_target_by_id(pk)))


async def _try(connection: Connection) -> Trial:
    async with HttpClient(policy_from_settings()) as http:
        return await queries.try_connection(connection, http)
