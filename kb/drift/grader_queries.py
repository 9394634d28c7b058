"""Reads about the models that judge: which are in use, and which of their verdicts count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotAllowed, NotFound
from kb.drift.assertions import MODEL_TYPES, NEGATION, Assertion
from kb.drift.grader_models import AnchorLook, Grader
from kb.drift.grading import RUBRIC, SIMILAR
from kb.drift.models import Completion, Monitor, Run, TestCase
from kb.llm import rules as llm_rules
from kb.llm.models import Expense, Target
from kb.llm.queries import embedding_targets, targets

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


# --- For those who choose ---------------------------------------------------------------------


def role_named(person: User, role: str) -> str:
    """A role out of an address. Raises NotAllowed for who may not choose, NotFound."""
    must_see(person)
    if role not in TYPES:
        raise NotFound(_("There is no “%(role)s” here.") % {"role": role})
    return role


def must_see(person: User) -> None:
    """Refuse who may not choose the models that judge. Raises NotAllowed."""
    if not llm_rules.can_manage(person):
        raise NotAllowed(
            _("Only a company-wide administrator can choose the models that judge answers.")
        )


def candidates(role: str) -> QuerySet[Target]:
    """The targets that can be chosen for a role."""
    return targets() if role == Grader.Role.JUDGE else embedding_targets()


def monitors_with(type: str) -> int:
    """How many monitors have a rule of this type, negated or not."""
    has_rule = Q(assertions__contains=[{"type": type}]) | Q(
        assertions__contains=[{"type": f"{NEGATION}{type}"}]
    )
    cases = TestCase.objects.filter(has_rule, is_retired=False)
    return Monitor.objects.filter(pk__in=cases.values("monitor")).count()


MOST_LOOKS_SHOWN = 30


@dataclass(frozen=True)
class Watched:
    """How the judge is watched: its anchors, the looks at them, and how far it has learned."""

    judge: Grader
    anchors: int
    prompts: int
    """Prompts its anchors are answers to."""
    looks: Sequence[AnchorLook]
    """The latest first; those under way left out."""
    learned: int


def watched(judge: Grader) -> Watched:
    """The state of the watch over a judge (three queries)."""
    looks = list(judge.looks.filter(finished__isnull=False)[:MOST_LOOKS_SHOWN])
    anchors = list(judge.anchors.values_list("completion__case__monitor__prompt", flat=True))
    told = [look for look in looks if look.verdict != AnchorLook.Verdict.INCOMPLETE]
    return Watched(judge, len(anchors), len(set(anchors)), looks, len(told))


# --- For those who read a run -----------------------------------------------------------------


def judges_of(run: Run) -> list[Target]:
    """The models that judged answers of a run."""
    names = {
        name
        for graders in run.completions.exclude(judged=None).values_list("graders", flat=True)
        for name in graders.values()
    }
    ids = {int(name.partition(".")[0]) for name in names}
    return list(
        Target.objects.filter(graders__in=ids)
        .select_related("connection")
        .distinct()
        .order_by("pk")
    )


def spent(reference: str) -> list[Expense]:
    """What was booked under a reference."""
    return list(Expense.objects.filter(reference=reference).order_by("pk"))


@dataclass(frozen=True)
class Tally:
    """Of the checks that a model decides in one run: how many were judged, and why others were not.

    ``reasons`` counts by the code of kb.drift.assertions.Reason and, for a model that could not be
    asked, the kind of the error.
    """

    judged: int
    reasons: Mapping[tuple[str, str], int]

    @property
    def total(self) -> int:
        """All of them."""
        return self.judged + sum(self.reasons.values())


def tally(run: Run) -> Tally:
    """How the checks by a model went in a run; answers that were none are left out."""
    judged, reasons = 0, Counter[tuple[str, str]]()
    rows = run.completions.filter(outcome=Completion.Outcome.ANSWERED)
    for items, verdicts, why in rows.values_list("case__assertions", "verdicts", "not_judged"):
        for place, item in enumerate(items):
            if str(item.get("type")).removeprefix(NEGATION) not in MODEL_TYPES:
                continue
            if place < len(verdicts) and verdicts[place] is not None:
                judged += 1
                continue
            reason = (why[place] if place < len(why) else None) or {}
            kind = str(reason.get("params", {}).get("kind", ""))
            reasons[str(reason.get("code", "")), kind] += 1
    return Tally(judged, reasons)
