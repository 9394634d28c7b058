"""Who asks, and what they were told."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import held_scopes
from api.schema import described, page_of
from api.serializers.catalogue import (
    MeShown,
    NotificationQuery,
    NotificationShown,
    ReadSent,
    ReadShown,
)
from api.views.base import Door
from kb.notifications import actions, queries

TAG = "You"


class Me(Door):
    """Who asks."""

    @described("Read who you are", tag=TAG, answers={200: MeShown})
    def get(self, request: Request) -> Response:
        """The person behind the token or the session, their roles, and what the token may do."""
        person = self.person
        held = list(person.memberships.select_related("department").order_by("department", "pk"))
        roles = [
            {"department": row.department.slug if row.department else None, "role": row.role}
            for row in held
        ]
        me = {
            **{name: getattr(person, name) for name in ("email", "name", "language", "time_zone")},
            "id": person.pk,
            "roles": roles,
            "departments": [role["department"] for role in roles if role["department"]],
            "scopes": held_scopes(request),
        }
        return Response(self.shown(MeShown, me))


class Notifications(Door):
    """What one was told."""

    @described(
        "List notifications",
        tag=TAG,
        asks=NotificationQuery,
        answers={200: page_of(NotificationShown)},
        is_paged=True,
    )
    def get(self, request: Request) -> Response:
        """The newest first."""
        rows = queries.of_person(self.person)
        if self.asked(NotificationQuery)["unread"]:
            rows = rows.filter(read=None)
        return self.page(NotificationShown, rows)


class NotificationsRead(Door):
    """Having read messages."""

    @described(
        "Mark notifications as read",
        tag=TAG,
        sends=ReadSent,
        answers={200: ReadShown},
        example={"ids": [12, 13]},
    )
    def post(self, request: Request) -> Response:
        """Those of `ids`, or all of them; answers how many were unread."""
        ids = self.sent(ReadSent).get("ids")
        return Response({"read": actions.mark_read(by=self.person, now=timezone.now(), ids=ids)})
