"""The model that finds by meaning, chosen for the whole company. For administrators."""

from __future__ import annotations

from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from api.schema import described
from api.serializers.meaning import MeaningSent, MeaningShown
from api.views.connections import AdminDoor
from kb.core.errors import NotFound
from kb.finding import meaning

TAG = "Semantic search"


class SemanticSearch(AdminDoor):
    """The embeddings model that reads, so that things are found by meaning."""

    @described(
        "Read the model that finds by meaning",
        tag=TAG,
        answers={200: MeaningShown},
        refuses=(404,),
    )
    def get(self, request: Request) -> Response:
        """404 while nobody has chosen one: things are found by their words."""
        meaning.must_see(self.person)
        return Response(self.shown(MeaningShown, self._found()))

    @described(
        "Choose the model that finds by meaning",
        tag=TAG,
        sends=MeaningSent,
        answers={200: MeaningShown},
        example={"target": 3, "is_wide": False},
    )
    def put(self, request: Request) -> Response:
        """Its provider gets titles and the first 1,800 characters of what the company shares.

        The words of searches as well; drafts, private prompts and archives never. What another
        model has read is forgotten. The one in use chosen again is left as it is.
        """
        sent = self.sent(MeaningSent)
        meaning.choose_model(**sent, by=self.person, now=timezone.now())
        return Response(self.shown(MeaningShown, self._found()))

    @described(
        "Remove the model that finds by meaning", tag=TAG, answers={204: None}, refuses=(404,)
    )
    def delete(self, request: Request) -> Response:
        """Things are found by their words from now on, and all that was read is forgotten."""
        if not meaning.remove_model(by=self.person):
            raise self._nobody()
        return Response(status=204)

    def _found(self) -> meaning.State:
        found = meaning.state()
        if found is None:
            raise self._nobody()
        return found

    def _nobody(self) -> NotFound:
        return NotFound(_("Nobody has chosen a model for this yet."))
