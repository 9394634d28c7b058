"""Reads about the models that judge: which are in use, and which of their verdicts count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q

from kb.drift.assertions import MODEL_TYPES, Assertion
from kb.drift.grader_models import Grader
from kb.drift.grading import RUBRIC, SIMILAR
from kb.drift.models import Completion

TYPES: Mapping[str, str] = {Grader.Role.JUDGE: RUBRIC, Grader.Role.EMBEDDINGS: SIMILAR}
"""Role to the type of rule it judges by."""
LOOKS_A_YEAR = 500
"""Looks at a judge in a year: its nights, and those that alarms of prompts ask for."""
HELD_AT_MOST = timedelta(minutes=30)
"""How long a comparison waits for a look at the judge; then it goes without the judge's word."""


def in_use() -> dict[str, Grader]:
    """The graders of today by the type of rule they judge by (one query)."""
    rows = Grader.objects.filter(ended=None).select_related("target__connection", "chosen_by")
    return {TYPES[row.role]: row for row in rows}


def current(role: str) -> Grader | None:
    """The grader in use for a role."""
    return in_use().get(TYPES[role])


def judge_in_use() -> Grader | None:
    """The judge of today."""
    return current(Grader.Role.JUDGE)


def types_judged() -> frozenset[str]:
    """The types of rules, of MODEL_TYPES, that somebody has chosen a model for."""
    return frozenset(in_use())


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose verdicts count at this moment.

    ``names``: type of rule to the grader in use. ``judge_until``: what the judge said later is left
    aside, because it is in doubt or has changed (``doubt``, its status); None while nothing speaks
    against it. ``is_watched``: enough looks at its anchors lie behind it to notice a change.
    ``judge_looked``: the last look.
    """

    names: Mapping[str, str]
    judge_until: datetime | None = None
    doubt: str = ""
    is_watched: bool = False
    judge_looked: datetime | None = None

    def counts(self, rule: Assertion, row: Completion) -> bool:
        """Whether the verdict on an answer by a rule is one of today's graders and not in doubt."""
        if rule.type not in MODEL_TYPES:
            return True
        if row.graders.get(rule.type, "") != self.names.get(rule.type) or row.judged is None:
            return False
        return rule.type != RUBRIC or self.judge_until is None or row.judged <= self.judge_until

    def without_judge(self, since: datetime) -> Trust:
        """The same, with what the judge said after a moment left aside."""
        return replace(self, judge_until=since)


def trust() -> Trust:
    """Whose verdicts count now."""
    rows = in_use()
    judge = rows.get(RUBRIC)
    names = {type: row.name for type, row in rows.items()}
    if judge is None:
        return Trust(names)
    doubted = judge.status in (Grader.Status.SUSPECT, Grader.Status.CHANGED)
    return Trust(
        names=names,
        judge_until=judge.trusted if doubted else None,
        doubt=judge.status if doubted else "",
        is_watched=judge.status == Grader.Status.STABLE,
        judge_looked=judge.looked,
    )


def need_not_wait(now: datetime) -> Q:
    """Of finished runs, those whose comparison need not wait for a look at the judge (any longer)."""
    judge = judge_in_use()
    if judge is None or judge.status != Grader.Status.STABLE:
        return Q()
    free = Q(awaits_judge=False) | Q(finished__lte=now - HELD_AT_MOST)
    return free if judge.looked is None else free | Q(finished__lte=judge.looked)
