"""Who judges answers: choosing, removing and accepting the models, for administrators."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core import audit
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.drift.grader_models import Anchor, Grader
from kb.llm import rules as llm_rules
from kb.llm.models import Target


@transaction.atomic
def choose_grader(*, role: str, target: Target, by: User, now: datetime) -> Grader:
    """Let a model judge answers, company-wide, from now on; it takes the place of the one before.

    What the one before said no longer counts: usual answers are judged anew with the next run of
    each monitor. The one in use chosen again is left as it is. Raises NotAllowed, Invalid, Conflict
    when somebody else chose at the same moment.
    """
    _must_manage(by)
    wrong = _wrong_target(role, target)
    if wrong:
        raise Invalid(wrong, fields={"target": wrong})
    before = _locked(role)
    if before is not None and before.target_id == target.pk:
        return before
    if before is not None:
        _end(before, now)
    made = _begin(role, target, by, now)
    audit.record(action="grader.chosen", target=target, by=by, role=role)
    return made


@transaction.atomic
def remove_grader(*, role: str, by: User, now: datetime) -> bool:
    """Let no model judge by this kind of rule; such rules are not judged then. False without one."""
    _must_manage(by)
    found = _locked(role)
    if found is None:
        return False
    _end(found, now)
    audit.record(action="grader.removed", target=found.target, by=by, role=role)
    return True


@transaction.atomic
def accept_judge(*, by: User, now: datetime) -> Grader:
    """The judge as it judges now is right: it begins anew, with the same anchors.

    Usual answers are judged anew with the next run of each monitor, so that two ways of judging are
    never compared. Raises NotAllowed, Conflict when the judge has not changed.
    """
    _must_manage(by)
    before = _locked(Grader.Role.JUDGE)
    if before is None or before.status != Grader.Status.CHANGED:
        raise Conflict(_("The judge has not changed, so there is nothing to accept."))
    _end(before, now)
    made = _begin(Grader.Role.JUDGE, before.target, by, now)
    Anchor.objects.bulk_create(
        Anchor(grader=made, completion_id=anchor.completion_id, place=anchor.place, chosen=now)
        for anchor in before.anchors.all()
    )
    audit.record(action="judge.accepted", target=made.target, by=by)
    return made


def ask_for_look(*, now: datetime) -> None:
    """Have the judge looked at now instead of in the night to come; asked twice it is once."""
    judge = Grader.objects.filter(role=Grader.Role.JUDGE, ended=None, status=Grader.Status.STABLE)
    judge.filter(Q(look_due=None) | Q(look_due__gt=now)).update(look_due=now)


def _must_manage(by: User) -> None:
    if not llm_rules.can_manage(by):
        raise NotAllowed(
            _("Only a company-wide administrator can choose the models that judge answers.")
        )


def _wrong_target(role: str, target: Target) -> str:
    if role not in Grader.Role.values:
        return _("“%(value)s” is not known here; use one of: %(known)s.") % {
            "value": role,
            "known": ", ".join(Grader.Role.values),
        }
    if not target.connection.is_enabled:
        return _("The connection “%(name)s” is switched off.") % {"name": target.connection.name}
    if target.is_embedding and role == Grader.Role.JUDGE:
        return _("“%(model)s” makes vectors and answers nothing; choose a model that answers.") % {
            "model": target.model
        }
    if not target.is_embedding and role == Grader.Role.EMBEDDINGS:
        return _(
            "“%(model)s” is entered as a model that answers. Add an embeddings model to a connection, then choose it here."
        ) % {"model": target.model}
    return ""


def _locked(role: str) -> Grader | None:
    rows = Grader.objects.select_for_update(of=("self",)).select_related("target__connection")
    return rows.filter(role=role, ended=None).first()


def _end(grader: Grader, now: datetime) -> None:
    Grader.objects.filter(pk=grader.pk).update(ended=now, look_due=None)
    grader.looks.filter(finished=None).update(finished=now, lease_ends=None, verdict="incomplete")


def _begin(role: str, target: Target, by: User, now: datetime) -> Grader:
    is_watched = role == Grader.Role.JUDGE
    try:
        with transaction.atomic():
            return Grader.objects.create(
                role=role,
                target=target,
                chosen_by=by,
                chosen=now,
                status_since=now,
                trusted=now,
                look_due=now if is_watched else None,
            )
    except IntegrityError as error:
        raise Conflict(
            _("Somebody else has chosen a model for this just now; look at the page again.")
        ) from error
