"""A monitor's test cases asked of its model and of another one, side by side: one trial for each case.

What is compared is the current version of the prompt, for that is what has to work on the successor.
The comparison is not stored: it is found again among the person's trials, by its version, its values
and its two models, so that a trial that is deleted is simply not compared any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import Conflict, Invalid
from kb.drift import assertions, trial_queries, trials
from kb.drift.assertions import Facts
from kb.drift.grading import grade_again
from kb.drift.models import Monitor, TestCase
from kb.drift.trial_models import Trial, TrialAnswer
from kb.llm.models import Target
from kb.prompts.models import PromptVersion

MOST_COMPARED = 12
"""Test cases of a comparison; more trials than `trial_queries.MOST_SHOWN` would not be kept."""


@dataclass(frozen=True)
class Side:
    """What one model answered to a case: `passed` of `judged` checks hold. None: not asked yet."""

    answer: TrialAnswer | None = None
    passed: int = 0
    judged: int = 0
    has_passed: bool | None = None
    """All checks together; None where nothing was judged."""
    verdicts: Sequence[bool | None] = ()
    """One for each check of the case."""

    @property
    def is_waiting(self) -> bool:
        """Whether its answer is still to come."""
        return self.answer is not None and self.answer.outcome == TrialAnswer.Outcome.WAITING


@dataclass(frozen=True)
class ComparedCase:
    """One case with its trial, if it has been asked, and what both models said."""

    case: TestCase
    trial: Trial | None
    present: Side
    other: Side


@transaction.atomic
def begin(*, monitor: Monitor, other: Target, by: User, now: datetime) -> list[Trial]:
    """Ask both models every case that is not compared yet, or all of them anew when all are.

    Raises NotAllowed, Invalid for cases the current version does not fit, and Conflict while
    trials of this person are under way.
    """
    version = _version(monitor)
    trials.must_try(by, monitor.prompt)
    if Trial.objects.filter(asked_by=by, status__in=Trial.UNDER_WAY).exists():
        raise Conflict(_("Trials of yours are still under way; wait for them or stop them."))
    rows = comparison(by, monitor, other)
    owed = [row.case for row in rows if row.trial is None] or [row.case for row in rows]
    return [
        trials.request(
            version=version,
            targets=[monitor.target, other],
            values=_values(case, version),
            by=by,
            now=now,
            most_under_way=MOST_COMPARED,
        )
        for case in owed
    ]


def comparison(person: User, monitor: Monitor, other: Target) -> list[ComparedCase]:
    """The cases of a monitor, at most MOST_COMPARED, with the newest own trial that asked both models."""
    version = _version(monitor)
    cases = list(monitor.cases.filter(is_retired=False)[:MOST_COMPARED])
    both = {monitor.target_id, other.pk}
    asked: list[tuple[Mapping[str, str], Trial]] = [
        (trial.values, trial)
        for trial in trial_queries.own(person).filter(version=version)
        if both <= {answer.target_id for answer in trial.answers.all()}
    ]
    found = []
    for case in cases:
        values = _values(case, version)
        trial = next((trial for given, trial in asked if given == values), None)
        answers = {answer.target_id: answer for answer in trial.answers.all()} if trial else {}
        found.append(
            ComparedCase(
                case=case,
                trial=trial,
                present=_side(case, answers.get(monitor.target_id)),
                other=_side(case, answers.get(other.pk)),
            )
        )
    return found


def _version(monitor: Monitor) -> PromptVersion:
    if monitor.prompt.current is None:
        raise Invalid(_("“%(title)s” has no version yet.") % {"title": monitor.prompt.title})
    return monitor.prompt.current


def _values(case: TestCase, version: PromptVersion) -> dict[str, str]:
    """What the case fills in, as far as this version has blanks for it."""
    known = {str(variable["name"]) for variable in version.variables}
    return {name: value for name, value in case.variables.items() if name in known}


def _side(case: TestCase, answer: TrialAnswer | None) -> Side:
    if answer is None or answer.outcome not in TrialAnswer.WITH_TEXT:
        return Side(answer)
    rules = [assertions.parse(item) for item in case.assertions]
    facts = Facts(finish=answer.finish or None, latency_ms=answer.latency_ms, cost=answer.cost)
    has_answer = answer.outcome == TrialAnswer.Outcome.ANSWERED
    verdicts = grade_again(rules, [None] * len(rules), answer.text, facts, has_answer=has_answer)
    judged = [verdict for verdict in verdicts if verdict is not None]
    return Side(
        answer=answer,
        passed=sum(judged),
        judged=len(judged),
        has_passed=assertions.together(rules, verdicts),
        verdicts=verdicts,
    )
