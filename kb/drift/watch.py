"""The nightly state machine of one monitor: what new answers change in what is believed of it.

Pure. `judge` and `confirm` take everything they look at and return everything they changed; the
caller keeps the memory and the answers, and takes as many answers next as the judgement asks for.

A suspicion never becomes an alarm by the answers that raised it. It is raised by

- tonight: the answers of one night over all cases,
- accumulated: several nights that add up (a roll-out to a part of the calls),
- one case: an answer of a case unlike all it gave before, or three nights unlike the others,
- an audit: the last nights together against all before them, and the last week against the first
  month (a change in many small steps),

and then decided on answers taken after it, in other sessions, against the earlier ones, those of
the night that raised it included. That is why the number of false alarms is bounded. (That a change
of the whole prompt must show without that night, too, only takes alarms away: a service that was odd
for an hour is no drift.)

Had nothing changed, the answers of a case could have come in any order. Which of them are the
later ones is then independent of everything the order of the earlier ones decides (the backward
argument of conformal prediction: Vovk, Gammerman & Shafer 2005, ch. 8). A suspicion that has
chance at most u given the *set* of answers up to then, followed by a comparison with chance at
most v, is a false alarm with chance at most u·v; this also holds when the suspicion looks at the
answers themselves, for only their order is left to chance. For tonight, u is its p, and v follows
from it (`sequential.second_level`). For the accumulated evidence, v is proportional to the
meter, whose sum over all times it is emptied is at most the number of looks
(`sequential.accumulated`). For one case among n answers, being the most unusual has chance
at most 1/n, and for its last nights being unlike the others it is the chance found. The weekly audit, and half of
what the others may spend, is for alarms by themselves that are only looked at again, against what
was before their nights. What is spent on each is a part of what the monitor was given for the year
(`sequential.Allowance`), so the expected number of false alarms of the whole library is at most
the budget of the policy, however many prompts there are and however much they depend on each
other. Beyond the theorem: how many answers are taken next may depend on the answers themselves,
and a p from relabellings drawn by lot stops drawing when it is clear; both were measured, not
proved.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from kb.drift.answers import Sample, is_odd, passed
from kb.drift.detector import MOST_CELLS, Channel, Look, look, look_at_cases
from kb.drift.reading import Reader
from kb.drift.sequential import SMALLEST_P, Allowance, accumulated, second_level
from kb.drift.severity import Direction, Effect, effect
from kb.drift.vectors import normalised
from kb.drift.verdict import LEAST_JUDGED_SHARE
from kb.drift.windows import Pool, between, compared, comparison, shortened

type Phase = Literal["learning", "stable", "suspect", "drifted"]
type Verdict = Literal["learning", "stable", "suspect", "drifted", "notice", "incomplete"]
type Route = Literal["tonight", "accumulated", "one_case", "audit"]
type When = Literal["soon", "next_night"]

SHARES: Final[Mapping[Route, float]] = {
    "tonight": 0.20,
    "accumulated": 0.15,
    "one_case": 0.30,
    "audit": 0.35,
}
"""How the budget is divided. A change of everything is seen with the smallest part; single cases
and roll-outs to a part of the calls are what is hard to see."""
LEAST_LIBRARY = 300 * 365
"""Looks a year that a library is taken to have at least. With one monitor of its own the same
budget would allow 2.7 wrong suspicions in a thousand nights; nobody would believe the third. The
price is about one more night until a small change is found."""
FIRST_LEVEL = 0.01
"""A night rarer than one in 100 is looked at again: four times a year for a prompt."""
CONFIRMATION_LEVEL = 0.05
"""However rare a night was, it must be seen again at this level."""
METER_TO_SUSPECT = 60.0
"""Accumulated evidence at which more answers are taken; reached by chance once in 60 nights at
most."""
SURE_PART = 0.25
"""Of that evidence, what must be left when ties are counted as nothing instead of drawn by lot."""
AUDITS: Final = (6, 9, 12)
"""Nights that are taken together and set against all before them, AUDIT_EVERY nights."""
AUDIT_EVERY = 3
AUDIT_FIRST_LEVEL = 0.005
AUDIT_CELLS = 4 * MOST_CELLS
"""An audit may be an alarm by itself: it must tell chances of a few in a million apart."""
CREEP_EVERY, CREEP_WINDOW, CREEP_REFERENCE = 7, 7, 30
"""Nights: each week the last week is set against the first month, to see change in small steps."""
CREEP_SHARE = 0.2
CONCENTRATED = 5.0
"""An audit is about one case when this case alone is as rare, up to this factor."""
MOST_UNUSUAL = 1.5
"""Of n answers, one with a chance below this part of n is the most unusual, with no second."""
WINDOWS: Final = {3: 1, 6: 3, 12: 6}
"""Nights after which a case that answers otherwise than before is noticed among its own noise,
and how many nights pass between two such looks."""
WINDOW_LEVEL = 0.01
LEAST_BEFORE_WINDOW = 4
CASE_STAGES: Final = (2, 6, 10, 10, 12, 12)
"""Answers a case is asked for on the nights after it became suspicious: few at first, because
most such cases turn out to be nothing."""
CASE_FUTILE: Final = (0.2, 0.1, 0.05, 0.03, 0.02, 0.0)
RARE_CASE_FUTILE: Final = (0.5, 0.2, 0.1, 0.05, 0.03, 0.0)
PROMPT_FUTILE: Final = (0.4, 0.25, 0.15, 0.08, 0.05, 0.0)
"""Where the new answers are more usual than this after so many sessions, a suspicion is dropped.
A roll-out to a fifth of the calls shows slowly; a case that was rare to begin with
(WINDOW_LEVEL) may give a usual answer once."""
CASE_SPENDING: Final = (0.1, 0.1, 0.2, 0.2, 0.2, 0.2)
PROMPT_SPENDING: Final = (0.2, 0.1, 0.1, 0.15, 0.2, 0.25)
"""Part of the level that each comparison of a suspicion may spend. What it does not need because
nothing could have been seen yet goes to the next ones. A change of everything is clear at once
with the smallest part; a roll-out to a fifth of the calls needs all the answers."""
PROMPT_STAGES: Final = (3, 3, 5, 5, 5, 5)
"""Answers of each case in the sessions after a suspicion. A night that is merely to be seen again
takes as few as can decide."""
EXTRA_SHARE, FIRST_EXTRA_CALLS = 0.05, 2.0
"""Of the planned calls, what may be spent on second looks at single cases that look odd; and what
there is for it in the beginning."""
MOST_SUSPICIOUS_CASES = 3
"""More cases at once are a matter of the whole prompt."""
CLEARLY = 20.0
"""How much smaller than needed a chance should be able to get."""
RETURNED_NIGHTS = 2
RETURNED_LIKE_BEFORE, RETURNED_UNLIKE_DRIFT = 0.2, 0.01
MOST_HISTORY = 50


@dataclass(frozen=True, slots=True)
class Policy:
    """How much may be spent on being wrong.

    ``budget``: false alarms expected in a year over the whole library, at most. ``looks_a_year``:
    nights a year of all its monitors together; at least LEAST_LIBRARY is reckoned with.
    ``looks_a_year_here``: those of this monitor. ``baseline_samples``: answers a case needs before
    it is compared. ``heeds_single_cases``: whether one case alone can raise a suspicion.
    """

    budget: float = 1.0
    looks_a_year: float = float(LEAST_LIBRARY)
    looks_a_year_here: float = 365.0
    baseline_samples: int = 5
    heeds_single_cases: bool = True

    def allowance(self, route: Route) -> Allowance:
        """What this monitor may spend on one way of raising an alarm."""
        library = max(self.looks_a_year, self.looks_a_year_here, float(LEAST_LIBRARY))
        year = SHARES[route] * self.budget * self.looks_a_year_here / library
        return Allowance(year, self.looks_a_year_here)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something that is to be seen again before anybody is told.

    ``cases`` is empty for the whole prompt. ``since`` is the session that raised it with the
    chance ``p``; answers up to session ``reference_until`` are what later ones are compared with.
    ``level`` is what the comparisons to come may still spend, ``stage`` how many there were, the
    last with ``p_fresh``. ``changed``: how many of the earlier answers of a case would have changed
    already. ``is_direct``: rare enough to be an alarm if it is merely seen again.
    ``waits_for_night``: not before another night, because services recover from such things.
    """

    route: Route
    cases: tuple[int, ...]
    since: int
    reference_until: int
    level: float
    p: float
    stage: int = 0
    p_fresh: float | None = None
    changed: int = 1
    is_direct: bool = False
    waits_for_night: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the monitor's history: drifted, notice, returned or accepted."""

    kind: Literal["drifted", "notice", "returned", "accepted"]
    session: int
    route: Route | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept between two sessions; JSON through `to_dict` and `from_dict`.

    ``looks``: nights compared in this epoch. ``epoch_from``: first session that counts.
    ``meter``: accumulated evidence; ``meter_staked`` the same with larger stakes on early nights,
    ``meter_sure`` the same without counting ties. ``without``: sessions that turned out to be odd nights of
    the service. ``extra_calls``: what is left for looking at single cases. ``incomplete``: nights
    in a row that could not be compared. ``drift``: what the alarm rests on, while it stands.
    """

    phase: Phase = "learning"
    looks: int = 0
    epoch_from: int = 0
    meter: float = 0.0
    meter_staked: float = 0.0
    meter_sure: float = 0.0
    suspicions: tuple[Suspicion, ...] = ()
    without: tuple[int, ...] = ()
    extra_calls: float = FIRST_EXTRA_CALLS
    incomplete: int = 0
    drift: Suspicion | None = None
    history: tuple[Event, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Lists, dicts, texts and numbers alone."""
        plain = dataclasses.asdict(self)
        plain["suspicions"] = [_suspicion_dict(one) for one in self.suspicions]
        plain["drift"] = None if self.drift is None else _suspicion_dict(self.drift)
        plain["without"] = list(self.without)
        plain["history"] = [dataclasses.asdict(event) for event in self.history]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Memory:
        """Read what `to_dict` gave; an empty mapping is a new memory.

        What an older version kept and this one does not know is passed over.
        """
        fields = _known(cls, plain)
        if "suspicions" in fields:
            fields["suspicions"] = tuple(map(_suspicion, fields["suspicions"]))
        if fields.get("drift") is not None:
            fields["drift"] = _suspicion(fields["drift"])
        if "without" in fields:
            fields["without"] = tuple(fields["without"])
        if "history" in fields:
            fields["history"] = tuple(Event(**_known(Event, event)) for event in fields["history"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Night:
    """New answers by case, all of one session, which is later than any before."""

    session: int
    samples: Mapping[int, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Answers to take next, by case.

    ``when`` is "next_night", in place of the planned one answer each; or "soon": a confirmation,
    an hour or more later, in a session of its own that goes to `confirm` and leaves the next
    night as planned (one answer each) if it cannot be had.
    """

    samples: Mapping[int, int]
    when: When = "next_night"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What can be said after a session, with the figures behind it, and what to do next.

    ``verdict``: "notice" is a change too small to matter or a night that was not repeated; nobody
    is notified. "incomplete": too few cases answered, nothing was learnt. ``routes``: what raised
    the alarm, the notice or the open suspicions. ``p``, ``p_smooth``, ``channels``: of tonight's
    look over all cases, None and empty when there was none. ``p_fresh``: of the answers taken
    after a suspicion. ``evidence``: accumulated evidence from 0 to 1, where more answers are
    taken. ``effect``: with an alarm, a notice or while drifted; ``changed_cases`` worst first.
    ``suspicious_cases``: those asked more often for the time being. ``has_returned``: the answers
    are again like before the drift.
    """

    memory: Memory
    verdict: Verdict
    wanted: Wanted
    routes: tuple[Route, ...] = ()
    direction: Direction | None = None
    p: float | None = None
    p_smooth: float | None = None
    p_fresh: float | None = None
    channels: Mapping[Channel, float] = dataclasses.field(default_factory=dict)
    evidence: float = 0.0
    effect: Effect | None = None
    changed_cases: tuple[int, ...] = ()
    suspicious_cases: tuple[int, ...] = ()
    has_returned: bool = False


def judge(
    *,
    memory: Memory,
    cases: Sequence[int],
    pool: Pool,
    night: Night,
    policy: Policy,
    seed: int,
    reader: Reader | None = None,
) -> Judgement:
    """Judge one scheduled night.

    ``cases``: all test cases of the monitor. ``pool``: their earlier answers, oldest first; those
    of this session or before the epoch are passed over. ``seed``: the same gives the same result.
    Never raises on answers.
    """
    state = _Session(memory, cases, pool, night, policy, seed, reader or Reader())
    if len(state.answered) < LEAST_JUDGED_SHARE * len(cases) or not cases:
        return _incomplete(state)
    state.memory = replace(
        memory,
        incomplete=0,
        extra_calls=min(
            memory.extra_calls + EXTRA_SHARE * sum(map(len, state.new.values())),
            float(MOST_SUSPICIOUS_CASES * CASE_STAGES[0]),
        ),
    )
    if memory.phase == "drifted":
        return _still_drifted(state)
    if len(state.ready()) < LEAST_JUDGED_SHARE * len(cases):
        return _learning(state)
    return _watch(state, is_night=True)


def confirm(
    *,
    memory: Memory,
    cases: Sequence[int],
    pool: Pool,
    night: Night,
    policy: Policy,
    seed: int,
    reader: Reader | None = None,
) -> Judgement:
    """Judge the answers of a confirmation that was wanted "soon". Arguments as in `judge`.

    With too few answers, or when nothing is suspected any more, the memory comes back as it was
    and the next night decides.
    """
    state = _Session(memory, cases, pool, night, policy, seed, reader or Reader())
    scope = {case for one in memory.suspicions for case in one.cases or cases}
    if memory.phase == "drifted" or not scope:
        return Judgement(memory, memory.phase, _wanted(memory, cases))
    if len(scope.intersection(state.answered)) < LEAST_JUDGED_SHARE * len(scope):
        waiting = tuple(replace(one, waits_for_night=True) for one in memory.suspicions)
        state.memory = replace(memory, suspicions=waiting)
        return Judgement(state.memory, "incomplete", state.wanted())
    return _watch(state, is_night=False)


def accept(*, memory: Memory, cases: Sequence[int], pool: Pool, policy: Policy) -> Memory:
    """What the model answers now is how it should be: a new epoch begins with the new answers.

    While drifted these are all answers since the suspicion that became the alarm; else those of
    the latest session. The monitor learns until each case has enough of them.
    """
    latest = max((one.session for samples in pool.values() for one in samples), default=0)
    begin = latest if memory.drift is None else min(memory.drift.since + 1, latest)
    answers = between(pool, begin, latest)
    enough = [case for case in cases if len(answers.get(case, ())) >= policy.baseline_samples]
    is_learnt = bool(cases) and len(enough) >= LEAST_JUDGED_SHARE * len(cases)
    return Memory(
        phase="stable" if is_learnt else "learning",
        epoch_from=begin,
        history=_remembered(memory, Event("accepted", latest)),
    )


# --- inside -----------------------------------------------------------------------------------


class _Session:
    """One session while it is judged: its answers beside the earlier ones."""

    def __init__(
        self,
        memory: Memory,
        cases: Sequence[int],
        pool: Pool,
        night: Night,
        policy: Policy,
        seed: int,
        reader: Reader,
    ) -> None:
        self.memory = memory
        self.cases = tuple(cases)
        self.policy = policy
        self.seed = seed
        self.reader = reader
        self.number = night.session
        known = {case: pool.get(case, ()) for case in cases}
        self.earlier = between(known, memory.epoch_from, night.session - 1, memory.without)
        tonight = {case: night.samples.get(case, ()) for case in cases}
        self.new = between(tonight, night.session, night.session)
        self.all = self._together()
        self.answered = [case for case in cases if self.new[case]]

    def _together(self) -> dict[int, list[Sample]]:
        return {case: [*self.earlier[case], *self.new[case]] for case in self.cases}

    def leave_out(self, sessions: Sequence[int]) -> None:
        """Compare with the earlier answers of other sessions only."""
        self.earlier = between(self.earlier, self.memory.epoch_from, self.number - 1, sessions)
        self.all = self._together()

    def ready(self) -> list[int]:
        """Cases with enough earlier answers to be compared."""
        enough = max(1, self.policy.baseline_samples)
        return [case for case in self.cases if len(self.earlier[case]) >= enough]

    def look(
        self,
        cases: Sequence[int],
        earlier: Pool,
        new: Pool,
        alpha: float,
        most_cells: int = MOST_CELLS,
        *,
        with_cases: bool = False,
    ) -> Look:
        return look(
            comparison(cases, earlier, new),
            seed=self.seed,
            alpha=alpha,
            most_cells=most_cells,
            reader=self.reader,
            with_cases=with_cases,
        )

    def look_at_cases(
        self, cases: Sequence[int], earlier: Pool, new: Pool, alpha: float
    ) -> dict[int, float]:
        """The chance of each case on its own."""
        found = look_at_cases(
            comparison(cases, earlier, new), seed=self.seed, alpha=alpha, reader=self.reader
        )
        return dict(zip(cases, found, strict=True))

    def wanted(self) -> Wanted:
        return _wanted(self.memory, self.cases, self.all)


def _incomplete(state: _Session) -> Judgement:
    state.memory = replace(state.memory, incomplete=state.memory.incomplete + 1)
    return Judgement(state.memory, "incomplete", state.wanted())


def _learning(state: _Session) -> Judgement:
    enough = [case for case in state.cases if len(state.all[case]) >= state.policy.baseline_samples]
    is_learnt = len(enough) >= LEAST_JUDGED_SHARE * len(state.cases)
    state.memory = replace(state.memory, phase="stable" if is_learnt else "learning")
    return Judgement(state.memory, "learning", state.wanted())


def _watch(state: _Session, *, is_night: bool) -> Judgement:
    """Settle what was suspected before, then ask whether tonight raises anything new."""
    kept: list[Suspicion] = []
    dropped: list[Suspicion] = []
    for suspicion in state.memory.suspicions:
        if not any(state.new[case] for case in suspicion.cases or state.cases):
            kept.append(suspicion)
            continue
        tested, outcome = _tested(state, suspicion)
        if outcome == "alarm":
            return _alarm(state, tested)
        (kept if outcome == "open" else dropped).append(tested)
    memory = replace(
        state.memory,
        suspicions=tuple(kept),
        extra_calls=state.memory.extra_calls - _extra_calls(kept, state.new),
    )
    once = [one for one in dropped if one.is_direct and one.route == "tonight"]
    if once:
        odd = [one.since for one in once]
        state.leave_out(odd)
        memory = replace(
            memory,
            without=(*memory.without, *odd),
            history=_remembered(
                memory, *(Event("notice", one.since, one.route, one.p) for one in once)
            ),
        )
    state.memory = memory
    found = None
    if is_night and not _of_prompt(memory.suspicions):
        found = _look(state)
    return _judgement(state, found, once, dropped)


def _extra_calls(suspicions: Sequence[Suspicion], new: Pool) -> int:
    """Calls that single cases cost beyond the planned ones and beyond their first look."""
    return sum(max(0, len(new[case]) - CASE_STAGES[0]) for one in suspicions for case in one.cases)


def _of_prompt(suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    return [one for one in suspicions if not one.cases]


def _tested(
    state: _Session, suspicion: Suspicion
) -> tuple[Suspicion, Literal["alarm", "open", "dropped"]]:
    """Compare the answers since a suspicion with those before, and what becomes of it."""
    cases = suspicion.cases or state.ready()
    before = between(state.all, state.memory.epoch_from, suspicion.reference_until)
    after = between(state.all, suspicion.since + 1, state.number)
    single = bool(suspicion.cases)
    parts = CASE_SPENDING if single else PROMPT_SPENDING
    # Of what is left: parts that were not spent so far are spread over the ones to come.
    level = suspicion.level * parts[suspicion.stage] / sum(parts[suspicion.stage :])
    found = state.look(cases, before, after, alpha=max(level / 2, 1e-7))
    # An odd night among few earlier ones makes the usual answers after it look rare: they must be
    # rare without it, too. What asks for more before an alarm costs nothing of the budget.
    is_without = suspicion.reference_until < suspicion.since
    usual = between(before, 0, suspicion.since - 1)
    apart = found if single or is_without else state.look(cases, usual, after, alpha=FIRST_LEVEL)
    # What even a full change could not reach yet is kept for when there are more answers.
    clearest = _clearest(
        [
            (compared(len(before[case])), compared(len(after[case])))
            for case in cases
            if before[case] and after[case]
        ],
        suspicion.changed,
    )
    spent = level if clearest <= level else 0.0
    tested = replace(
        suspicion,
        stage=suspicion.stage + 1,
        p_fresh=found.p,
        level=suspicion.level - spent,
        waits_for_night=True,
    )
    if spent > 0.0 and found.p <= level and (single or apart.p <= FIRST_LEVEL):
        return tested, "alarm"
    limits = PROMPT_FUTILE
    if single:
        limits = RARE_CASE_FUTILE if suspicion.p <= WINDOW_LEVEL else CASE_FUTILE
    limit = max(limits[suspicion.stage], 2 * clearest)
    if tested.stage >= len(parts) or max(found.p, apart.p) > limit:
        return tested, "dropped"
    return tested, "open"


def _alarm(state: _Session, suspicion: Suspicion) -> Judgement:
    cases = suspicion.cases or state.cases
    size = _effect_since(state, suspicion)
    is_notice = size is None or size.severity == "notice"
    memory = replace(
        state.memory,
        phase="stable" if is_notice else "drifted",
        drift=None if is_notice else suspicion,
        suspicions=(),
        meter=0.0,
        meter_staked=0.0,
        meter_sure=0.0,
        history=_remembered(
            state.memory,
            Event("notice" if is_notice else "drifted", state.number, suspicion.route, suspicion.p),
        ),
    )
    return Judgement(
        memory=memory,
        verdict="notice" if is_notice else "drifted",
        wanted=_wanted(memory, state.cases),
        routes=(suspicion.route,),
        direction=size.direction if size else None,
        p=suspicion.p,
        p_fresh=suspicion.p_fresh,
        evidence=1.0,
        effect=size,
        changed_cases=_changed(size, cases),
    )


def _effect_since(state: _Session, suspicion: Suspicion) -> Effect | None:
    """The change in the cases concerned; one case of several is no catastrophe of the prompt."""
    cases = suspicion.cases or state.cases
    until = min(suspicion.reference_until, suspicion.since - 1)
    before = between(state.all, state.memory.epoch_from, until)
    after = between(state.all, suspicion.since + 1, state.number)
    size = effect(
        {case: shortened(before[case]) for case in cases},
        {case: shortened(after[case]) for case in cases},
        state.reader,
    )
    if size is not None and len(cases) < len(state.cases) and size.severity == "critical":
        return replace(size, severity="major")
    return size


def _changed(size: Effect | None, cases: Sequence[int]) -> tuple[int, ...]:
    if size is None:
        return ()
    # An alarm has at least one case behind it, even where none moved far.
    return size.changed_cases or tuple(one.case for one in size.cases[:1])


def _look(state: _Session) -> Look:
    """Tonight's look, and the suspicions it raises."""
    memory, policy = state.memory, state.policy
    asked_more = {case for one in memory.suspicions for case in one.cases}
    ready = [case for case in state.ready() if case not in asked_more]
    number = memory.looks + 1
    allowed = policy.allowance("tonight").at(number)
    alpha = max(allowed / 4, 1e-6)
    found = state.look(ready, state.earlier, state.new, alpha, with_cases=True)
    chances = dict(zip(ready, found.cases, strict=True))
    single = {case: p for case, p in chances.items() if len(state.new[case]) == 1}
    raised = _tonight(state, found, number) or _accumulated(state, found, number)
    if raised is None:
        raised = _audit(state, ready, number)
    more: tuple[Suspicion, ...] = (raised,) if raised else ()
    if raised is None and policy.heeds_single_cases:
        more = _single_cases(state, single, number)
    suspicions = memory.suspicions + more
    state.memory = replace(state.memory, looks=number, suspicions=suspicions)
    if raised:
        state.memory = replace(state.memory, meter=0.0, meter_staked=0.0, meter_sure=0.0)
    return found


def _tonight(state: _Session, found: Look, number: int) -> Suspicion | None:
    allowed = state.policy.allowance("tonight").at(number)
    level = second_level(found.p, allowed=allowed, first=FIRST_LEVEL, most=CONFIRMATION_LEVEL)
    if level == 0.0:
        return None
    return Suspicion(
        route="tonight",
        cases=(),
        since=state.number,
        reference_until=state.number,
        level=level,
        p=found.p,
        is_direct=level >= CONFIRMATION_LEVEL,
        waits_for_night=_is_odd_night(state),
    )


def _is_odd_night(state: _Session) -> bool:
    """Whether the night is unusual only through empty, cut or refused answers."""
    plain = {
        case: [sample for sample in samples if not is_odd(sample)]
        for case, samples in state.new.items()
    }
    if plain == state.new:
        return False
    return state.look(state.ready(), state.earlier, plain, alpha=FIRST_LEVEL).p > FIRST_LEVEL


def _accumulated(state: _Session, found: Look, number: int) -> Suspicion | None:
    """Move the meters; a suspicion when they are full, and empty again."""
    memory = state.memory
    allowance = state.policy.allowance("accumulated")
    meter = accumulated(memory.meter, found.p_smooth)
    staked = accumulated(memory.meter_staked, found.p_smooth, allowance.weight(number))
    sure = accumulated(memory.meter_sure, found.p)
    is_full = meter >= METER_TO_SUSPECT
    state.memory = replace(
        memory,
        meter=0.0 if is_full else meter,
        meter_staked=0.0 if is_full else staked,
        meter_sure=0.0 if is_full else sure,
    )
    if not is_full or sure < SURE_PART * METER_TO_SUSPECT:
        return None
    return Suspicion(
        route="accumulated",
        cases=(),
        since=state.number,
        reference_until=state.number,
        level=min(CONFIRMATION_LEVEL, allowance.year / allowance.looks * staked),
        p=found.p,
        waits_for_night=True,
    )


def _audit(state: _Session, cases: Sequence[int], number: int) -> Suspicion | None:
    """Several nights together: the last ones against all before, the last week against the first
    month."""
    allowed = state.policy.allowance("audit").at(number)
    sessions = sorted({one.session for samples in state.all.values() for one in samples})
    if number % CREEP_EVERY == 0 and len(sessions) > CREEP_REFERENCE + CREEP_WINDOW:
        until, begin = sessions[CREEP_REFERENCE - 1], sessions[-CREEP_WINDOW]
        part = CREEP_EVERY * CREEP_SHARE * allowed
        found = _audited(state, cases, until, begin, alpha=part)
        if found.p <= part:
            return _of_audit(state, found, cases, CONFIRMATION_LEVEL, until=until)
    if number % AUDIT_EVERY != 0:
        return None
    # Half of it for alarms by the audit itself, half for those that rest on a second look as much.
    part = AUDIT_EVERY * (1 - CREEP_SHARE) * allowed / len(AUDITS) / 2
    best = None
    for window in (window for window in AUDITS if window <= number and window < len(sessions)):
        until = sessions[-window - 1]
        found = _audited(state, cases, until, sessions[-window], alpha=part)
        if found.p <= part:
            return _of_audit(state, found, cases, CONFIRMATION_LEVEL, until=until)
        level = second_level(
            found.p, allowed=part, first=AUDIT_FIRST_LEVEL, most=CONFIRMATION_LEVEL
        )
        if level > 0.0 and (best is None or level > best.level):
            best = _of_audit(state, found, cases, level, until=state.number)
    return best


@dataclass(frozen=True, slots=True)
class _Audited:
    """How unusual some nights together are, and what was compared."""

    p: float
    before: Pool
    after: Pool
    alpha: float


def _audited(
    state: _Session, cases: Sequence[int], until: int, begin: int, *, alpha: float
) -> _Audited:
    """The sessions since ``begin`` against those up to ``until``."""
    before = between(state.all, state.memory.epoch_from, until)
    after = between(state.all, begin, state.number)
    alpha = max(alpha, 1e-6)
    found = state.look(cases, before, after, alpha, AUDIT_CELLS)
    return _Audited(found.p, before, after, alpha)


def _of_audit(
    state: _Session, found: _Audited, cases: Sequence[int], level: float, *, until: int
) -> Suspicion:
    alone = state.look_at_cases(cases, found.before, found.after, found.alpha)
    p_of_case, case = min((p, case) for case, p in alone.items())
    is_one_case = (
        state.policy.heeds_single_cases
        and len(cases) > 1
        and p_of_case * len(cases) <= CONCENTRATED * found.p
    )
    return Suspicion(
        route="audit",
        # What is asked of the answers to come may follow from those seen so far.
        cases=(case,) if is_one_case else (),
        since=state.number,
        reference_until=until,
        level=level,
        p=found.p,
        is_direct=level >= CONFIRMATION_LEVEL,
        waits_for_night=True,
    )


def _single_cases(
    state: _Session, tonight: Mapping[int, float], number: int
) -> tuple[Suspicion, ...]:
    """Cases to ask more often, as far as the calls set aside for it reach.

    ``tonight`` is the chance of tonight's answer of each case. The rarest come first, and what is
    least like anything the case answered before.
    """
    memory = state.memory
    allowed = state.policy.allowance("one_case").at(number)
    raised = _unprecedented(state, tonight, allowed / 2)
    for window, every in WINDOWS.items():
        if number % every == 0:
            part = every * allowed / 2 / len(WINDOWS)
            raised += _lasting(state, list(tonight), window, part)
    room = MOST_SUSPICIOUS_CASES - len({case for one in memory.suspicions for case in one.cases})
    room = min(room, int(memory.extra_calls / (CASE_STAGES[0] - 1)))
    raised.sort(key=lambda one: (one.changed == 1, _likeness(state, one.cases[0]), one.p))
    first = {one.cases[0]: one for one in reversed(raised)}
    chosen = [one for one in raised if first[one.cases[0]] is one][: max(0, room)]
    state.memory = replace(
        memory, extra_calls=memory.extra_calls - len(chosen) * (CASE_STAGES[0] - 1)
    )
    return tuple(chosen)


def _unprecedented(
    state: _Session, tonight: Mapping[int, float], allowed: float
) -> list[Suspicion]:
    """Cases that never varied and do so now. Among n answers this happens by chance once in n."""
    rarest = {case: 1.0 / (compared(len(state.earlier[case])) + 1) for case in tonight}
    level = allowed / max(sum(rarest.values()), SMALLEST_P)
    return [
        _of_case(state, case, p, level, changed=1)
        for case, p in tonight.items()
        if p < MOST_UNUSUAL * rarest[case] and _is_unprecedented(state, case)
    ]


def _lasting(state: _Session, cases: Sequence[int], window: int, allowed: float) -> list[Suspicion]:
    """Cases whose last answers, as many as ``window``, are unlike all before."""
    usable = [case for case in cases if len(state.all[case]) >= window + LEAST_BEFORE_WINDOW]
    before = {case: state.all[case][:-window] for case in usable}
    after = {case: state.all[case][-window:] for case in usable}
    found = state.look_at_cases(usable, before, after, alpha=WINDOW_LEVEL)
    raised = []
    for case, p in found.items():
        rarest = 1.0 / math.comb(compared(len(before[case])) + window, window)
        level = second_level(
            p,
            allowed=allowed / len(usable),
            first=max(WINDOW_LEVEL, MOST_UNUSUAL * rarest),
            most=CONFIRMATION_LEVEL,
        )
        if level > 0.0:
            raised.append(_of_case(state, case, p, level, changed=window))
    return raised


def _of_case(state: _Session, case: int, p: float, level: float, *, changed: int) -> Suspicion:
    return Suspicion(
        route="one_case",
        cases=(case,),
        since=state.number,
        reference_until=state.number,
        level=min(CONFIRMATION_LEVEL, level),
        p=p,
        changed=changed,
        waits_for_night=True,
    )


def _likeness(state: _Session, case: int) -> float:
    """Similarity of tonight's answer to the earlier one that is most like it."""
    texts = [one.text for one in (*state.new[case], *shortened(state.earlier[case]))]
    vectors = state.reader.vectors(texts)
    return float((vectors[1:] @ vectors[0]).max())


def _is_unprecedented(state: _Session, case: int) -> bool:
    """Whether a case that never varied varies tonight, in its text or in a rule it met."""
    earlier, tonight = state.earlier[case], state.new[case][0]
    spelled = {(normalised(one.text), one.outcome) for one in earlier}
    if len(spelled) == 1 and (normalised(tonight.text), tonight.outcome) not in spelled:
        return True
    results = {result for one in earlier if (result := passed(one)) is not None}
    result = passed(tonight)
    return len(results) == 1 and result is not None and result not in results


def _judgement(
    state: _Session, found: Look | None, once: Sequence[Suspicion], dropped: Sequence[Suspicion]
) -> Judgement:
    memory = state.memory
    serious = [one for one in memory.suspicions if not one.cases or one.stage > 0]
    phase: Phase = "suspect" if serious else "stable"
    state.memory = memory = replace(memory, phase=phase)
    verdict: Verdict = "suspect" if serious else "notice" if once else "stable"
    tested = [one.p_fresh for one in (*memory.suspicions, *dropped) if one.p_fresh is not None]
    return Judgement(
        memory=memory,
        verdict=verdict,
        wanted=state.wanted(),
        routes=tuple(dict.fromkeys(one.route for one in (serious or once))),
        p=found.p if found else None,
        p_smooth=found.p_smooth if found else None,
        p_fresh=min(tested, default=None),
        channels=found.channels if found else {},
        evidence=1.0 if serious else _evidence(memory),
        suspicious_cases=tuple(case for one in memory.suspicions for case in one.cases),
    )


def _evidence(memory: Memory) -> float:
    return min(1.0, math.log1p(memory.meter_sure) / math.log1p(METER_TO_SUSPECT))


def _still_drifted(state: _Session) -> Judgement:
    """While an alarm stands, only ask whether the answers are again as they were before."""
    drift = state.memory.drift
    assert drift is not None  # noqa: S101 - the phase says so
    cases = drift.cases or state.ready()
    size = _effect_since(state, drift)
    if _has_returned(state, drift, cases):
        memory = replace(
            state.memory,
            phase="stable",
            drift=None,
            without=(*state.memory.without, *_drifted_sessions(state, drift)),
            history=_remembered(state.memory, Event("returned", state.number, drift.route)),
        )
        return Judgement(memory, "stable", _wanted(memory, state.cases), has_returned=True)
    return Judgement(
        memory=state.memory,
        verdict="drifted",
        wanted=_wanted(state.memory, state.cases),
        routes=(drift.route,),
        direction=size.direction if size else None,
        p=drift.p,
        p_fresh=drift.p_fresh,
        evidence=1.0,
        effect=size,
        changed_cases=_changed(size, drift.cases or state.cases),
    )


def _recent(state: _Session, drift: Suspicion) -> list[int]:
    sessions = {
        one.session
        for samples in state.all.values()
        for one in samples
        if one.session > drift.since
    }
    return sorted(sessions)[-RETURNED_NIGHTS:]


def _has_returned(state: _Session, drift: Suspicion, cases: Sequence[int]) -> bool:
    """Like the answers before the drift, and clearly unlike those that were called drift."""
    recent = _recent(state, drift)
    if len(recent) < RETURNED_NIGHTS:
        return False
    after = between(state.all, recent[0], state.number)
    drifted = between(state.all, drift.since, recent[0] - 1)
    if state.look(cases, drifted, after, alpha=RETURNED_UNLIKE_DRIFT).p > RETURNED_UNLIKE_DRIFT:
        return False
    until = min(drift.reference_until, drift.since - 1)
    before = between(state.all, state.memory.epoch_from, until)
    return state.look(cases, before, after, alpha=RETURNED_UNLIKE_DRIFT).p > RETURNED_LIKE_BEFORE


def _drifted_sessions(state: _Session, drift: Suspicion) -> list[int]:
    recent = _recent(state, drift)[0]
    return sorted(
        {
            one.session
            for samples in state.all.values()
            for one in samples
            if drift.since <= one.session < recent
        }
    )


def _wanted(memory: Memory, cases: Sequence[int], answers: Pool | None = None) -> Wanted:
    """One answer for each case, more where something is suspected."""
    samples = dict.fromkeys(cases, 1)
    if memory.phase in ("drifted", "learning"):
        return Wanted(samples)
    for suspicion in memory.suspicions:
        if suspicion.cases:
            count = CASE_STAGES[suspicion.stage]
            samples.update(dict.fromkeys(suspicion.cases, count))
    for suspicion in _of_prompt(memory.suspicions):
        count = _answers_to_decide(suspicion, cases, answers or {})
        samples = {case: max(count, asked) for case, asked in samples.items()}
        if not suspicion.waits_for_night:
            return Wanted(samples, "soon")
    return Wanted(samples)


def _clearest(sizes: Sequence[tuple[int, int]], changed: int) -> float:
    """Chance of a full change where each case has n answers before and m after.

    As many of the earlier ones as raised the suspicion have changed already: C(changed + m, m) of
    C(n + m, m) ways are as clear.
    """
    return math.prod(
        min(1.0, math.comb(changed + after, after) / math.comb(before + after, after))
        for before, after in sizes
    )


def _answers_to_decide(suspicion: Suspicion, cases: Sequence[int], answers: Pool) -> int:
    """The fewest answers for each case with which a full change would clearly reach the level."""
    sizes = [
        count
        for case in cases
        if (
            count := compared(
                sum(one.session <= suspicion.reference_until for one in answers.get(case, ()))
            )
        )
    ]
    for count in (1, 2, 3) if suspicion.is_direct and suspicion.stage == 0 else ():
        clearest = _clearest([(size, count) for size in sizes], suspicion.changed)
        if clearest <= suspicion.level * PROMPT_SPENDING[0] / CLEARLY:
            return count
    return PROMPT_STAGES[suspicion.stage]


def _remembered(memory: Memory, *events: Event) -> tuple[Event, ...]:
    return (*memory.history, *events)[-MOST_HISTORY:]


def _suspicion_dict(suspicion: Suspicion) -> dict[str, Any]:
    return {**dataclasses.asdict(suspicion), "cases": list(suspicion.cases)}


def _suspicion(plain: Mapping[str, Any]) -> Suspicion:
    return Suspicion(**{**_known(Suspicion, plain), "cases": tuple(plain["cases"])})


def _known(kind: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What a dataclass has a field for."""
    names = {one.name for one in dataclasses.fields(kind)}
    return {name: value for name, value in plain.items() if name in names}
