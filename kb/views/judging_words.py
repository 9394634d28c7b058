"""Why checks by a model were not judged, in the words of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from kb.drift import grader_queries, judging, queries
from kb.drift.actions import types_used
from kb.drift.assertions import Reason
from kb.drift.grader_models import Grader
from kb.drift.grading import RUBRIC, SIMILAR
from kb.drift.models import Monitor, Run
from kb.forms.check_words import seen_words, whole
from kb.views.drift_words import money


@dataclass(frozen=True)
class Note:
    """What is not judged, and what to do; `is_for_admins`: on the page of the models that judge."""

    what: str
    next_step: str | Promise = ""
    is_for_admins: bool = False


_CHOOSE = gettext_lazy(
    "An administrator of the company can choose one; what was not judged in the baseline is then judged with the next run."
)
_NOBODY: Mapping[str, tuple[str | Promise, str | Promise]] = {
    RUBRIC: (
        gettext_lazy("Checks that a model decides are not judged: nobody has chosen a judge."),
        _CHOOSE,
    ),
    SIMILAR: (
        gettext_lazy(
            "Checks of the meaning are not judged: nobody has chosen an embeddings model."
        ),
        _CHOOSE,
    ),
}
_SAID_BY_THE_STATE = ("needs_a_model", "judge_changed")
"""Reasons that the state of the graders tells by itself."""


def notes_on(monitor: Monitor) -> list[Note]:
    """What a reader of a monitor has to know about its checks by models; nothing in most cases."""
    used = types_used(monitor)
    if not used:
        return []
    in_use = grader_queries.in_use()
    found = [
        Note(str(_NOBODY[type][0]), _NOBODY[type][1], True) for type in sorted(used - in_use.keys())
    ]
    if RUBRIC in used and (judge := in_use.get(RUBRIC)) is not None:
        found += _on_the_judge(judge)
    last = queries.last_done(monitor)
    return [*found, *(_on_run(last) if last else ())]


def _on_the_judge(judge: Grader) -> Iterator[Note]:
    if judge.status == Grader.Status.CHANGED:
        day = formats.date_format(timezone.localtime(judge.status_since), "j F Y")
        yield Note(
            _(
                "The model that judges has changed, noticed on %(day)s: its word does not count, and this prompt is not blamed for it."
            )
            % {"day": day},
            _("An administrator of the company accepts it as it is now, or chooses another."),
            is_for_admins=True,
        )
    elif judge.status == Grader.Status.SUSPECT:
        yield Note(
            _(
                "The model that judges is in doubt: what it says is left aside until it has been asked again."
            ),
            _("Nothing to do: that takes an hour, or until the next night."),
        )


def _on_run(run: Run) -> Iterator[Note]:
    """How many checks of a run were not judged, and why, where its graders' state does not say so."""
    counted = grader_queries.tally(run)
    for (code, kind), count in counted.reasons.items():
        if code in _SAID_BY_THE_STATE or not code:
            continue
        said = seen_words(Reason(code, {"kind": kind, "characters": 0}))
        yield Note(
            ngettext(
                "In the last run %(n)s of %(total)s check by a model was not judged.",
                "In the last run %(n)s of %(total)s checks by a model were not judged.",
                counted.total,
            )
            % {"n": whole(count), "total": whole(counted.total)},
            said,
        )
    if queries.doubt_of(run) == "unchecked":
        yield Note(
            _(
                "The last run was compared without the word of the judge: it saw a change, and could not be looked at itself in time."
            ),
            _("The next run decides."),
        )


_DOUBTS: Mapping[str, str | Promise] = {
    "suspect": gettext_lazy(
        "The model that judges was in doubt at that time, so this run was compared without its word."
    ),
    "changed": gettext_lazy(
        "The model that judges had changed, so this run was compared without its word."
    ),
    "unchecked": gettext_lazy(
        "The model that judges saw a change and could not be looked at itself in time, so this run was compared without its word."
    ),
}


@dataclass(frozen=True)
class Judged:
    """What judging took in one run: by which models, how many calls, and what they cost."""

    models: list[str]
    calls: int
    cost: str
    doubt: str | Promise


def judged(run: Run) -> Judged:
    """What the page of a run says about the models that judged its answers."""
    spent = grader_queries.spent(judging.reference_of(run))
    costs = [money(one.cost, one.currency) for one in spent if one.currency]
    return Judged(
        models=[target.model for target in grader_queries.judges_of(run)],
        calls=sum(one.calls for one in spent),
        cost=" + ".join(costs),
        doubt=_DOUBTS.get(queries.doubt_of(run), ""),
    )
