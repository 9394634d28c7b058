"""Watching the judge: fixed answers it was sure about are judged anew each night.

A judge that changes would look like drift of every prompt it judges. So its own votes on the anchors
are looked at as the answers of a prompt are (kb.drift.watch): anchors are the cases, a vote is the
text and the verdict. An alarm suspends its verdicts until an administrator accepts the judge as it
is now, or chooses another one.

As with runs, rows are the truth: a look waits as a row, is claimed, keeps a lease alive, and every
vote is written down as it comes.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice, zip_longest
from statistics import fmean
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.queries import administrators
from kb.drift import assertions, assessing, grader_queries, judging, watch
from kb.drift.answers import Sample
from kb.drift.assertions import Assertion, Reason
from kb.drift.grader_models import Anchor, AnchorLook, AnchorVote, Grader
from kb.drift.grading import RUBRIC, VOTES, Asking, Question, Said, memory_key
from kb.drift.leases import LEASE, kept_alive
from kb.drift.models import Completion
from kb.llm.base import LLMError
from kb.notifications import actions as notifications

LEAST_ANCHORS, MOST_ANCHORS = 10, 20
"""Fixed answers a judge is watched by: fewer show too little, each costs two votes a night."""
LONGEST_ANCHOR = 8_000
"""Characters of an answer that is judged every night."""
MOST_CONSIDERED = 2_000
"""Of the latest answers, those that anchors are chosen from."""
LOOK_HOUR = 22
"""UTC: the judge is looked at before the nights of Europe and America begin."""
BASELINE_LOOKS = 5
"""Looks before the judge can be compared with itself; of different nights, as with prompts."""
MOST_LOOKS_COMPARED = 60
LOOKING_SECONDS = 12 * 60.0
"""How long the calls of one look may take together; below the soft limit of its task (15 min)."""
MOST_ATTEMPTS = 3
UNCLEAR = "unclear"
"""Kept for a reply that is no vote: a judge that begins to chat has changed, too."""
SPLIT = "split"


# --- From due to done -------------------------------------------------------------------------


@transaction.atomic
def queue_due_look(*, now: datetime) -> int | None:
    """Write a look down when one is due and there are anchors to look at; returns its id."""
    judge = (
        Grader.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("target__connection")
        .filter(role=Grader.Role.JUDGE, ended=None, look_due__lte=now)
        .exclude(status=Grader.Status.CHANGED)
        .first()
    )
    if judge is None or judge.looks.filter(finished=None).exists():
        return None
    anchors = _anchors(judge, now) if judge.target.connection.is_enabled else []
    if len(anchors) < LEAST_ANCHORS:
        judge.look_due = next_night(now)
        judge.save(update_fields=["look_due"])
        return None
    wanted = {str(anchor.pk): judge.wanted.get(str(anchor.pk), 1) for anchor in anchors}
    look = AnchorLook.objects.create(
        grader=judge,
        slot=now,
        is_confirmation=judge.is_confirming,
        wanted=wanted,
        created=now,
    )
    judge.look_due, judge.wanted, judge.is_confirming = None, {}, False
    judge.save(update_fields=["look_due", "wanted", "is_confirming"])
    return look.pk


def waiting_looks(*, now: datetime) -> list[int]:
    """Ids of looks nobody works on; those begun too often are ended instead."""
    free = AnchorLook.objects.filter(_is_free(now), finished=None)
    for lost in free.filter(attempt__gte=MOST_ATTEMPTS):
        _finish(lost, now=now)
    return list(free.filter(attempt__lt=MOST_ATTEMPTS).values_list("pk", flat=True))


def claim(look_id: int, *, now: datetime) -> AnchorLook | None:
    """Take a waiting look; None when another worker was first or it has ended."""
    free = AnchorLook.objects.filter(_is_free(now), pk=look_id, finished=None)
    if not free.update(lease_ends=now + LEASE, attempt=F("attempt") + 1):
        return None
    return AnchorLook.objects.select_related("grader__target__connection").get(pk=look_id)


async def execute(
    look: AnchorLook,
    *,
    access: judging.Access,
    clock: Callable[[], datetime],
    budget_seconds: float = LOOKING_SECONDS,
) -> None:
    """Take the votes of a claimed look and say what they show. Safe to call again after a crash."""
    deadline = asyncio.get_running_loop().time() + budget_seconds

    async def renew() -> bool:
        return await sync_to_async(_renew)(look, clock())

    async with kept_alive(renew) as lost:

        async def gate(_attempt: int) -> None:
            if lost.is_set() or not await sync_to_async(_is_ours)(look):
                raise LLMError("cancelled", "Taken over or ended.", permanent=True)

        payer = judging.Payer(None, f"anchors:{look.pk}{judging.JUDGING}")
        bench = await judging.bench_for(payer, access, clock=clock, deadline=deadline, gate=gate)
        questions = await sync_to_async(_questions)(look)
        # Nothing is taken from memory: what the judge says now is what is wanted.
        await asyncio.gather(
            *(
                bench.vote(one.rule, one.text, _Page(look, one.anchor_id, one.repeat))
                for one in questions
            )
        )
    if not lost.is_set():
        await sync_to_async(_finish)(look, now=clock())


def next_night(now: datetime) -> datetime:
    """The next time the judge is looked at by itself."""
    tonight = now.replace(hour=LOOK_HOUR, minute=0, second=0, microsecond=0)
    return tonight if tonight > now else tonight + timedelta(days=1)


def calls_of_a_look(anchors: int) -> int:
    """Calls of the judge that one look takes."""
    return anchors * VOTES


@dataclass(frozen=True, slots=True)
class _Page:
    """The votes on one anchor in one look, as a memory: a vote once taken is not taken again."""

    look: AnchorLook
    anchor_id: int
    repeat: int

    async def once(self, question: Question, ask: Asking) -> Said | Reason:
        """See kb.drift.grading.Memory.once."""
        place = {
            "look": self.look,
            "anchor_id": self.anchor_id,
            "repeat": self.repeat,
            "place": question.place,
        }
        known = AnchorVote.objects.filter(**place)
        if said := await known.values_list("said", flat=True).afirst():
            return Reason("judge_unclear", {}) if said == UNCLEAR else cast(Said, said)
        heard = await ask()
        kept = UNCLEAR if isinstance(heard, Reason) else heard
        row = AnchorVote(**place, said=kept)
        await AnchorVote.objects.abulk_create([row], ignore_conflicts=True)
        return heard


def _is_free(now: datetime) -> Q:
    return Q(lease_ends=None) | Q(lease_ends__lt=now)


def _mine(look: AnchorLook) -> QuerySet[AnchorLook]:
    return AnchorLook.objects.filter(pk=look.pk, attempt=look.attempt, finished=None)


def _renew(look: AnchorLook, now: datetime) -> bool:
    return _mine(look).update(lease_ends=now + LEASE) == 1


def _is_ours(look: AnchorLook) -> bool:
    return _mine(look).exists()


@dataclass(frozen=True, slots=True)
class _Asked:
    anchor_id: int
    repeat: int
    rule: Assertion
    text: str


def _questions(look: AnchorLook) -> list[_Asked]:
    """What the judge is asked, in an order that spreads the repeats of an anchor."""
    anchors = {anchor.pk: anchor for anchor in _stored(look.grader)}
    counts = {int(pk): count for pk, count in look.wanted.items() if int(pk) in anchors}
    return [
        _Asked(pk, repeat, _rule_of(anchors[pk]), anchors[pk].completion.text)
        for repeat in range(max(counts.values(), default=0))
        for pk, count in counts.items()
        if repeat < count
    ]


# --- Which answers ----------------------------------------------------------------------------


def _anchors(judge: Grader, now: datetime) -> list[Anchor]:
    """The anchors of the judge; chosen once, and again only where too few are left."""
    stored = _stored(judge)
    if len(stored) >= LEAST_ANCHORS:
        return stored
    known = {(anchor.completion_id, anchor.place) for anchor in stored}
    keys = {_key(judge, _rule_of(anchor), anchor.completion.text) for anchor in stored}
    found = [
        one
        for one in _candidates(judge)
        if one.key not in keys and (one.completion_id, one.place) not in known
    ]
    if len(stored) + len(found) < LEAST_ANCHORS:
        return stored
    Anchor.objects.bulk_create(
        Anchor(grader=judge, completion_id=one.completion_id, place=one.place, chosen=now)
        for one in islice(_spread(found), MOST_ANCHORS - len(stored))
    )
    return _stored(judge)


def _stored(judge: Grader) -> list[Anchor]:
    return list(judge.anchors.select_related("completion__case").order_by("pk"))


def _rule_of(anchor: Anchor) -> Assertion:
    return assertions.parse(anchor.completion.case.assertions[anchor.place])


def _key(judge: Grader, rule: Assertion, text: str) -> str:
    return memory_key(rule, text, judge.name)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A verdict of the judge on which both its votes agreed."""

    completion_id: int
    place: int
    rubric: str
    vote: bool
    key: str


def _candidates(judge: Grader) -> list[_Candidate]:
    """Latest answers the judge was sure about; of the same question and answer one."""
    rows = (
        Completion.objects.filter(judged__isnull=False, graders__contains={RUBRIC: judge.name})
        .filter(outcome=Completion.Outcome.ANSWERED)
        .select_related("case")
        .order_by("-judged", "-pk")
    )
    found: dict[str, _Candidate] = {}
    for row in rows[:MOST_CONSIDERED]:
        if len(row.text) > LONGEST_ANCHOR:
            continue
        for place, rule in enumerate(judging.rules_of(row.case)):
            verdict = row.verdicts[place] if place < len(row.verdicts) else None
            if rule.type != RUBRIC or verdict is None:
                continue
            key = _key(judge, rule, row.text)
            vote = verdict != rule.negated
            found.setdefault(key, _Candidate(row.pk, place, str(rule.value), vote, key))
    # By their keys, which are as good as drawn by lot and the same the next time.
    return sorted(found.values(), key=lambda one: one.key)


def _spread(candidates: Sequence[_Candidate]) -> Iterator[_Candidate]:
    """Yes and no in turn as long as there are both, and each of them over all rules in turn."""
    by_vote: dict[bool, dict[str, list[_Candidate]]] = {True: {}, False: {}}
    for one in candidates:
        by_vote[one.vote].setdefault(one.rubric, []).append(one)
    return _in_turn([list(_in_turn(rules.values())) for rules in by_vote.values()])


def _in_turn[Item](lists: Iterable[Sequence[Item]]) -> Iterator[Item]:
    rounds = zip_longest(*lists)
    return (one for one in chain.from_iterable(rounds) if one is not None)


# --- What the votes show ----------------------------------------------------------------------


@transaction.atomic
def _finish(look: AnchorLook, *, now: datetime) -> None:
    """End a look, once: compare it with those before, settle the state of the judge."""
    judge = (
        Grader.objects.select_for_update(of=("self",))
        .select_related("target__connection")
        .get(pk=look.grader_id)
    )
    if not _mine(look).update(finished=now, lease_ends=None):
        return
    if judge.ended is not None or judge.status == Grader.Status.CHANGED:
        _mine_ended(look).update(verdict=AnchorLook.Verdict.INCOMPLETE)
        return
    anchors = list(judge.anchors.values_list("pk", flat=True))
    earlier, tonight = _samples(judge, look, anchors)
    act = watch.confirm if look.is_confirmation else watch.judge
    session = _session(look)
    found = act(
        memory=watch.Memory.from_dict(judge.memory),
        cases=anchors,
        pool=earlier,
        night=watch.Night(session, tonight),
        policy=_policy(),
        seed=zlib.crc32(f"judge {judge.pk} {session}".encode()),
    )
    verdict = _VERDICTS[found.verdict]
    # A change is told against what was before it was suspected.
    since = found.memory.drift.since if found.memory.drift else session
    before = {pk: [one for one in rows if one.session < since] for pk, rows in earlier.items()}
    _mine_ended(look).update(verdict=verdict, p=found.p, facts=_facts(before, tonight))
    _settle(judge, look, verdict, found, now)


def _mine_ended(look: AnchorLook) -> QuerySet[AnchorLook]:
    return AnchorLook.objects.filter(pk=look.pk)


_VERDICTS: Mapping[str, str] = {
    "learning": AnchorLook.Verdict.LEARNING,
    "stable": AnchorLook.Verdict.STABLE,
    "notice": AnchorLook.Verdict.STABLE,
    "suspect": AnchorLook.Verdict.SUSPECT,
    "drifted": AnchorLook.Verdict.CHANGED,
    "incomplete": AnchorLook.Verdict.INCOMPLETE,
}
_FINDS_NOTHING = (AnchorLook.Verdict.LEARNING, AnchorLook.Verdict.STABLE)


def _policy() -> watch.Policy:
    """What a look at the judge may spend of the library's yearly budget of false alarms.

    One anchor alone raises no suspicion: of a judge that sees one answer in twenty otherwise,
    nobody would do without.
    """
    return watch.Policy(
        budget=settings.RETEX_FALSE_ALARMS_A_YEAR,
        looks_a_year=assessing.looks_a_year(),
        looks_a_year_here=grader_queries.LOOKS_A_YEAR,
        baseline_samples=BASELINE_LOOKS,
        heeds_single_cases=False,
    )


type _Pool = Mapping[int, list[Sample]]


def _samples(judge: Grader, look: AnchorLook, anchors: Sequence[int]) -> tuple[_Pool, _Pool]:
    """Anchor id to its votes in the looks before, and in this one."""
    before = judge.looks.filter(finished__isnull=False, slot__lt=look.slot).order_by("-slot")
    looks = [look, *before[:MOST_LOOKS_COMPARED]]
    votes: dict[tuple[int, int, int], list[str]] = defaultdict(list)
    rows = AnchorVote.objects.filter(look__in=looks, anchor__in=anchors).order_by("place")
    for row in rows:
        votes[row.look_id, row.anchor_id, row.repeat].append(row.said)
    earlier: dict[int, list[Sample]] = {pk: [] for pk in anchors}
    tonight: dict[int, list[Sample]] = {pk: [] for pk in anchors}
    sessions = {one.pk: _session(one) for one in looks}
    for (look_id, anchor, _repeat), said in sorted(
        votes.items(), key=lambda one: sessions[one[0][0]]
    ):
        if (came_to := _came_to(said)) is not None:
            side = tonight if look_id == look.pk else earlier
            side[anchor].append(_sample(came_to, sessions[look_id]))
    return earlier, tonight


def _came_to(said: Sequence[str]) -> str | None:
    """What the votes of one anchor came to; None while one of them is missing."""
    if UNCLEAR in said:
        return UNCLEAR
    if len(said) < VOTES:
        return None
    return said[0] if len(set(said)) == 1 else SPLIT


def _sample(came_to: str, session: int) -> Sample:
    """A vote as an answer: two judges differ in what they say, and in how often that is yes."""
    verdict = {"yes": 1, "no": 0}.get(came_to)
    return Sample(text=came_to, session=session, verdicts=(verdict,))


def _session(look: AnchorLook) -> int:
    return int(look.slot.timestamp() * 1000)


def _facts(earlier: _Pool, tonight: _Pool) -> dict[str, Any]:
    """Numbers for a page: shares of yes, and how many anchors are judged otherwise than mostly."""
    both = [pk for pk in tonight if tonight[pk] and earlier[pk]]
    return {
        "anchors": sum(bool(samples) for samples in tonight.values()),
        "moved": sum(_mostly(tonight[pk]) != _mostly(earlier[pk]) for pk in both),
        "yes_before": _share_of_yes([earlier[pk] for pk in both]),
        "yes_now": _share_of_yes([samples for samples in tonight.values() if samples]),
    }


def _mostly(samples: Sequence[Sample]) -> str:
    return Counter(one.text for one in samples).most_common(1)[0][0]


def _share_of_yes(samples: Sequence[Sequence[Sample]]) -> float | None:
    shares = [fmean(float(one.text == "yes") for one in group) for group in samples]
    return fmean(shares) if shares else None


def _settle(
    judge: Grader, look: AnchorLook, verdict: str, found: watch.Judgement, now: datetime
) -> None:
    wanted = found.wanted
    is_soon = wanted.when == "soon"
    judge.memory = found.memory.to_dict()
    judge.wanted = {str(pk): count for pk, count in wanted.samples.items() if count > 1}
    judge.is_confirming = is_soon
    due = now + assessing.CONFIRM_AFTER if is_soon else next_night(now)
    judge.look_due = min(due, judge.look_due or due)
    if verdict != AnchorLook.Verdict.INCOMPLETE:
        judge.looked = look.slot
        has_learned = verdict == AnchorLook.Verdict.LEARNING and found.memory.phase == "stable"
        status = Grader.Status.STABLE if has_learned else verdict
        if status != judge.status:
            judge.status, judge.status_since = status, now
    if verdict in _FINDS_NOTHING:
        judge.trusted = look.slot
    if verdict == AnchorLook.Verdict.CHANGED:
        judge.look_due = None
        _suspend(judge, now)
    judge.save()


def _suspend(judge: Grader, now: datetime) -> None:
    """Take back what the judge said since the last look that found nothing, and tell who can act."""
    rows = Completion.objects.filter(
        judged__gt=judge.trusted, graders__contains={RUBRIC: judge.name}
    ).select_related("case")
    for row in rows.iterator(chunk_size=500):
        rules = judging.rules_of(row.case)
        is_taken_back = [rule.type == RUBRIC for rule in rules]
        verdicts = [
            None if taken else verdict
            for taken, verdict in zip(is_taken_back, row.verdicts, strict=False)
        ]
        reasons = [*row.not_judged, *[None] * len(rules)]
        row.not_judged = [
            {"code": "judge_changed", "params": {}} if taken else reason
            for taken, reason in zip(is_taken_back, reasons, strict=False)
        ]
        row.verdicts, row.is_passed = verdicts, assertions.together(rules, verdicts)
        row.save(update_fields=["verdicts", "not_judged", "is_passed"])
    notifications.notify(
        recipients=administrators(),
        kind="judge_changed",
        context={"model": judge.target.model},
        path="/connections/graders/",
        key=f"judge:{judge.pk}",
        now=now,
    )
