"""Reads about provider accounts and targets."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotAllowed, NotFound
from kb.llm import rules
from kb.llm.models import Connection, Price, Target


def connections(person: User) -> QuerySet[Connection]:
    """All provider accounts. Raises NotAllowed for who may not handle them."""
    if not rules.can_manage(person):
        raise NotAllowed(_("Only a company-wide administrator can handle provider accounts."))
    return Connection.objects.all()


def connection_by_id(person: User, pk: int) -> Connection:
    """One account. Raises NotAllowed, NotFound."""
    found = connections(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no connection %(pk)s.") % {"pk": pk})
    return found


def targets() -> QuerySet[Target]:
    """What prompts can be re-run against: the targets of connections in use."""
    return Target.objects.select_related("connection").filter(connection__is_enabled=True)


def target_by_id(pk: int) -> Target:
    """One target in use. Raises NotFound."""
    found = targets().filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no target %(pk)s in use.") % {"pk": pk})
    return found


def price_of(target: Target) -> Price | None:
    """The price entered for the target's model, if any."""
    return Price.objects.filter(connection=target.connection_id, model=target.model).first()
