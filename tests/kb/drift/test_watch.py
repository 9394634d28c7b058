import itertools
import json
import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.drift.answers import Sample
from kb.drift.reading import Reader
from kb.drift.sequential import second_level
from kb.drift.watch import (
    CASE_STAGES,
    CONFIRMATION_LEVEL,
    FIRST_EXTRA_CALLS,
    FIRST_LEVEL,
    LEAST_LIBRARY,
    MOST_HISTORY,
    PROMPT_STAGES,
    SHARES,
    Event,
    Judgement,
    Memory,
    Night,
    Policy,
    Suspicion,
    accept,
    confirm,
    judge,
)

TEN = tuple(range(1, 11))
READER = Reader()


def usual(case):
    return f"The usual answer to case {case}."


def new(case):
    return f"{case}: no"


def only(*changed):
    """New answers in these cases, the usual ones in the others."""
    return lambda case: new(case) if case in changed else usual(case)


def failing(*changed):
    """The text stays, the only assertion fails in these cases."""
    return lambda case: Sample(usual(case), 0, (int(case not in changed),))


def noisy(seed, share=0.2):
    """The usual answer in most calls, something quite different in the others."""
    lot = random.Random(seed)
    others = ("Perhaps not.", "Ask again tomorrow!")
    return lambda case: lot.choice(others) if lot.random() < share else usual(case)


def ended(outcome, text=""):
    return lambda case: Sample(text, 0, outcome=outcome)


@dataclass
class Monitor:
    """A monitor and its answers; each night asks what the last judgement wanted."""

    cases: tuple[int, ...] = TEN
    policy: Policy = field(default_factory=Policy)
    memory: Memory = field(default_factory=Memory)
    pool: dict[int, list[Sample]] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)
    session: int = 0
    seed: int = 0
    calls: int = 0

    def __post_init__(self):
        self.pool = {case: [] for case in self.cases}
        self.asked = dict.fromkeys(self.cases, 1)

    def record(self, answers, answer=usual):
        """Baseline answers, each of a session of its own, that nobody judges."""
        for _ in range(answers):
            self.keep(self.answers(dict.fromkeys(self.cases, 1), answer))
        return self

    def night(self, answer=usual) -> Judgement:
        return self.judged(judge, self.answers(self.asked, answer))

    def later(self, answer=usual) -> Judgement:
        return self.judged(confirm, self.answers(self.asked, answer))

    def nights(self, count, answer=usual):
        return [self.night(answer) for _ in range(count)]

    def answers(self, asked, answer):
        self.session += 1
        return {
            case: [self.sample(answer(case)) for _ in range(count)] for case, count in asked.items()
        }

    def sample(self, answer):
        if isinstance(answer, Sample):
            return replace(answer, session=self.session)
        return Sample(answer, self.session)

    def keep(self, samples):
        for case, taken in samples.items():
            self.pool.setdefault(case, []).extend(taken)

    def judged(self, step, samples) -> Judgement:
        judgement = step(
            memory=self.memory,
            cases=self.cases,
            pool=self.pool,
            night=Night(self.session, samples),
            policy=self.policy,
            seed=self.seed + self.session,
            reader=READER,
        )
        self.calls += sum(map(len, samples.values()))
        self.keep(samples)
        self.memory = judgement.memory
        self.asked = dict(judgement.wanted.samples)
        return judgement

    def accept(self):
        self.memory = accept(
            memory=self.memory, cases=self.cases, pool=self.pool, policy=self.policy
        )
        self.asked = dict.fromkeys(self.cases, 1)


def watched(nights=0, **fields):
    """A monitor with a baseline of five answers and some nights after it."""
    monitor = Monitor(**fields).record(5)
    monitor.nights(nights)
    return monitor


def drifted(**fields):
    monitor = watched(**fields)
    monitor.night(new)
    assert monitor.later(new).verdict == "drifted"
    return monitor


def kinds(memory):
    return [(event.kind, event.route) for event in memory.history]


# --- learning ----------------------------------------------------------------------------------


def test_five_nights_are_learnt_before_any_is_judged():
    monitor = Monitor()

    verdicts = [(one.verdict, one.memory.phase) for one in monitor.nights(6)]

    assert verdicts == [("learning", "learning")] * 4 + [
        ("learning", "stable"),
        ("stable", "stable"),
    ]
    assert monitor.memory.looks == 1


def test_whatever_is_answered_while_learning_is_how_it_should_be():
    monitor = Monitor()

    monitor.nights(3)
    verdicts = [one.verdict for one in monitor.nights(2, new)]

    assert verdicts == ["learning", "learning"]
    assert (monitor.memory.phase, monitor.memory.suspicions) == ("stable", ())


def test_a_baseline_recorded_at_once_is_compared_with_from_the_first_night():
    monitor = watched()

    judgement = monitor.night()

    assert (judgement.verdict, judgement.p) == ("stable", 1.0)
    assert judgement.wanted.samples == dict.fromkeys(TEN, 1)
    assert judgement.wanted.when == "next_night"


def test_learning_ends_when_six_cases_of_ten_have_enough():
    monitor = watched()
    for case in (1, 2, 3, 4):
        monitor.pool[case] = []
    five = watched()
    for case in (1, 2, 3, 4, 5):
        five.pool[case] = []

    assert monitor.night().verdict == "stable"
    assert five.night().verdict == "learning"
    assert five.memory.phase == "learning"


# --- a night that is unusual -------------------------------------------------------------------


def test_an_unusual_night_raises_a_suspicion_and_no_alarm():
    monitor = watched()

    judgement = monitor.night(new)

    assert judgement.p == pytest.approx(6.0**-10)
    assert (judgement.verdict, judgement.routes) == ("suspect", ("tonight",))
    assert (judgement.wanted.when, judgement.wanted.samples) == ("soon", dict.fromkeys(TEN, 1))
    assert (judgement.evidence, judgement.effect, judgement.changed_cases) == (1.0, None, ())
    assert (monitor.memory.phase, monitor.memory.drift, monitor.memory.history) == (
        "suspect",
        None,
        (),
    )


def test_a_suspicion_that_is_seen_again_is_an_alarm():
    monitor = watched()
    monitor.night(new)

    judgement = monitor.later(new)

    assert (judgement.verdict, judgement.routes) == ("drifted", ("tonight",))
    assert judgement.p == pytest.approx(6.0**-10)
    # Both answers of each case are the last of seven, of which five are otherwise: 2 in 7.
    assert judgement.p_fresh == pytest.approx((2 / 7) ** 10)
    assert judgement.effect.severity == "major"
    assert sorted(judgement.changed_cases) == list(TEN)
    assert monitor.memory.phase == "drifted"
    assert kinds(monitor.memory) == [("drifted", "tonight")]
    assert monitor.memory.suspicions == ()
    assert judgement.wanted.samples == dict.fromkeys(TEN, 1)


@pytest.mark.parametrize("nights", [0, 10])
def test_a_suspicion_that_is_not_seen_again_is_a_notice_and_its_night_left_out(nights):
    monitor = watched(nights)
    monitor.night(new)
    odd = monitor.session

    judgement = monitor.later(usual)

    assert (judgement.verdict, judgement.routes) == ("notice", ("tonight",))
    assert judgement.effect is None
    assert (monitor.memory.phase, monitor.memory.without) == ("stable", (odd,))
    assert kinds(monitor.memory) == [("notice", "tonight")]
    assert monitor.night().verdict == "stable"


def test_a_suspicion_that_was_never_rare_enough_alone_is_dropped_without_a_notice():
    monitor = watched(cases=(1, 2, 3))
    suspicion = monitor.night(new)

    judgement = monitor.later(usual)

    assert suspicion.p == pytest.approx(1 / 216)
    assert (suspicion.verdict, judgement.verdict) == ("suspect", "stable")
    assert (monitor.memory.history, monitor.memory.without) == ((), ())


@pytest.mark.parametrize("outcome", ["empty", "cut", "refused"])
def test_one_bad_hour_of_the_service_is_no_drift_among_noisy_answers_either(outcome):
    """With five earlier answers of each case, the usual ones after an odd night are rare when the
    odd night is among those they are compared with."""
    after = []
    for seed in range(12):
        answer = noisy(seed)
        monitor = Monitor(cases=TEN[:6], seed=1_000 * seed).record(5, answer)

        wave = monitor.night(ended(outcome, "The" if outcome == "cut" else ""))
        after += [one.verdict for one in monitor.nights(5, answer)]

        assert wave.verdict == "suspect"

    assert "drifted" not in after
    assert after.count("notice") >= 10


def test_a_confirmation_that_cannot_be_had_waits_for_the_next_night():
    monitor = watched()
    monitor.night(new)
    before = monitor.memory

    judgement = monitor.later(lambda case: Sample("", 0, outcome="missing"))

    assert judgement.verdict == "incomplete"
    (waiting,) = monitor.memory.suspicions
    assert waiting.waits_for_night
    assert replace(monitor.memory, suspicions=(replace(waiting, waits_for_night=False),)) == before
    assert judgement.wanted.when == "next_night"
    assert monitor.night(new).verdict == "drifted"


def test_a_confirmation_nobody_wants_any_more_changes_nothing():
    stable, gone = watched(3), drifted()

    for monitor in (stable, gone):
        before = monitor.memory

        judgement = monitor.later(new)

        assert monitor.memory == before
        assert judgement.verdict == before.phase


def test_a_change_that_is_certain_and_too_small_to_matter_is_a_notice():
    def long(case):
        return f"Case {case}. " + "It was agreed by all that the matter should be closed. " * 20

    monitor = Monitor().record(5, long)
    monitor.night(lambda case: long(case) + "!")

    judgement = monitor.later(lambda case: long(case) + "!")

    assert (judgement.verdict, judgement.effect.severity) == ("notice", "notice")
    assert (monitor.memory.phase, monitor.memory.drift) == ("stable", None)
    assert kinds(monitor.memory) == [("notice", "tonight")]


def test_better_and_worse_are_said_of_an_alarm():
    monitor = Monitor().record(5, failing())
    monitor.night(failing(*TEN))

    judgement = monitor.later(failing(*TEN))

    assert (judgement.verdict, judgement.direction) == ("drifted", "worse")
    assert judgement.effect.severity == "critical"
    back = Monitor().record(5, failing(*TEN))
    back.night(failing())
    assert back.later(failing()).direction == "better"


# --- the service in trouble --------------------------------------------------------------------


ODD = {
    "empty": ended("empty"),
    "nothing said": ended("answered"),
    "cut": ended("cut", "The usual"),
    "refused": ended("refused"),
    "declined": ended("answered", "I'm sorry, but I can't help with that."),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
@pytest.mark.parametrize("nights", [0, 10])
def test_a_wave_of_odd_answers_is_looked_at_again_on_another_night(answer, nights):
    monitor = watched(nights)

    wave = monitor.night(answer)
    after = monitor.night(usual)

    assert (wave.verdict, wave.wanted.when) == ("suspect", "next_night")
    assert (after.verdict, monitor.memory.phase) == ("notice", "stable")
    assert monitor.night().verdict == "stable"


def test_a_wave_that_lasts_is_drift():
    monitor = watched()
    monitor.night(ended("empty"))

    judgement = monitor.night(ended("empty"))

    assert judgement.verdict == "drifted"
    assert judgement.effect.similarity_now == 0.0


def test_a_change_beside_some_odd_answers_is_confirmed_soon():
    monitor = watched()

    judgement = monitor.night(lambda case: ended("empty")(case) if case < 4 else new(case))

    assert (judgement.verdict, judgement.wanted.when) == ("suspect", "soon")


def test_refusals_that_were_always_there_are_not_odd():
    monitor = Monitor().record(5, ended("refused"))

    assert monitor.night(ended("refused")).verdict == "stable"
    judgement = monitor.night(new)
    assert (judgement.verdict, judgement.wanted.when) == ("suspect", "soon")


# --- nights that cannot be judged --------------------------------------------------------------


@pytest.mark.parametrize("phase", ["learning", "stable", "suspect", "drifted"])
def test_an_incomplete_night_leaves_the_memory_as_it_was_but_for_the_count(phase):
    monitor = Monitor()
    monitor.nights(3)
    if phase != "learning":
        monitor.nights(3)
    if phase == "suspect":
        monitor.night(only(3))
        monitor.night(only(3))
    if phase == "drifted":
        monitor.night(new)
        monitor.later(new)
    before = monitor.memory
    assert before.phase == phase

    # Four cases of ten do not answer: one too many.
    judgement = monitor.night(
        lambda case: Sample("", 0, outcome="missing") if case <= 5 else new(case)
    )

    assert judgement.verdict == "incomplete"
    assert judgement.p is None
    assert monitor.memory == replace(before, incomplete=1)
    assert monitor.asked == dict(judgement.wanted.samples)
    monitor.night(lambda case: Sample("", 0, outcome="missing"))
    assert monitor.memory == replace(before, incomplete=2)


def test_a_night_with_six_cases_of_ten_is_judged_and_ends_the_count():
    monitor = watched()
    monitor.night(lambda case: Sample("", 0, outcome="missing"))

    judgement = monitor.night(
        lambda case: Sample("", 0, outcome="missing") if case <= 4 else new(case)
    )

    assert judgement.p == pytest.approx(6.0**-6)
    assert (judgement.verdict, monitor.memory.incomplete) == ("suspect", 0)


def test_a_monitor_without_cases_can_only_be_incomplete():
    monitor = Monitor(cases=())

    judgement = monitor.night()

    assert (judgement.verdict, judgement.wanted.samples) == ("incomplete", {})


# --- one case ----------------------------------------------------------------------------------


def test_one_case_of_ten_that_flips_is_asked_more_often_and_then_named():
    monitor = watched(10)

    first = monitor.night(only(3))
    later = [monitor.night(only(3)) for _ in range(3)]

    assert (first.verdict, first.suspicious_cases) == ("stable", (3,))
    assert first.wanted.samples == dict.fromkeys(TEN, 1) | {3: CASE_STAGES[0]}
    assert [one.verdict for one in later] == ["suspect", "suspect", "drifted"]
    assert [one.wanted.samples[3] for one in later] == [CASE_STAGES[1], CASE_STAGES[2], 1]
    assert (later[-1].routes, later[-1].changed_cases) == (("one_case",), (3,))


def test_one_case_that_flips_among_noisy_ones_is_the_one_named():
    answer = noisy(4)
    monitor = Monitor().record(5, answer)
    monitor.nights(20, answer)

    for _ in range(14):
        judgement = monitor.night(lambda case: new(case) if case == 3 else answer(case))
        if judgement.verdict == "drifted":
            break

    assert judgement.verdict == "drifted"
    assert judgement.changed_cases == (3,)


@pytest.mark.parametrize(
    ("before", "changed"), [(failing(), failing(3)), (usual, only(3))], ids=["fails", "reads"]
)
def test_one_case_of_several_is_no_catastrophe(before, changed):
    monitor = Monitor().record(5, before)
    monitor.nights(10, before)

    for _ in range(8):
        judgement = monitor.night(changed)
        if judgement.verdict == "drifted":
            break

    assert (judgement.verdict, judgement.changed_cases) == ("drifted", (3,))
    assert judgement.effect.severity == "major"


def test_a_case_that_was_odd_once_is_forgotten():
    monitor = watched(10)
    monitor.night(only(3))

    judgement = monitor.night()

    assert (judgement.verdict, judgement.suspicious_cases) == ("stable", ())
    assert judgement.wanted.samples == dict.fromkeys(TEN, 1)
    assert monitor.memory.history == ()


def test_no_more_cases_are_asked_more_often_than_there_are_calls_for():
    monitor = watched()
    monitor.memory = replace(monitor.memory, extra_calls=1.2)

    judgement = monitor.night(only(3, 7))

    assert len(judgement.suspicious_cases) == 1
    assert monitor.memory.extra_calls == pytest.approx(1.2 + 0.05 * 10 - 1)


def test_the_chances_of_all_odd_cases_of_a_night_are_within_what_a_night_may_spend():
    """Two cases that never varied vary: the chance that one does is 1/6 for each of ten."""
    monitor = watched()
    allowed = monitor.policy.allowance("one_case").at(1)

    monitor.night(only(3, 7))

    assert [one.cases for one in monitor.memory.suspicions] == [(3,), (7,)]
    for suspicion in monitor.memory.suspicions:
        assert suspicion.p == pytest.approx(1 / 6)
        assert 10 * suspicion.p * suspicion.level == pytest.approx(allowed / 2)


# --- several nights that add up ----------------------------------------------------------------


def shifting(seed, before, after):
    """Answers of two kinds, in shares that change at night 20; a monitor and its server."""
    lot = random.Random(seed)
    monitor = Monitor(cases=(1, 2, 3))

    def answer(case):
        shares = before if monitor.memory.looks < 20 else after
        kind = lot.choices(("aaa is the answer", "bbbb is the answer"), shares)[0]
        return f"{case} {kind}"

    return monitor.record(5, answer), answer


def test_a_shift_that_no_night_shows_alone_is_found_by_adding_up():
    monitor, answer = shifting(1, (8, 2), (4, 6))

    rare = []
    while monitor.memory.looks < 60 and monitor.memory.phase != "drifted":
        judgement = monitor.night(answer)
        rare.append(judgement.p is not None and judgement.p <= FIRST_LEVEL)
        if judgement.wanted.when == "soon":
            judgement = monitor.later(answer)

    assert judgement.verdict == "drifted"
    assert judgement.routes in {("accumulated",), ("audit",)}
    assert not any(rare)


def test_the_meter_rises_with_rare_nights_and_is_emptied_by_a_suspicion():
    monitor = watched()
    evidence = [monitor.night(only(3, 7)).evidence]
    evidence.append(monitor.night().evidence)
    filled = monitor.memory

    monitor.asked = dict.fromkeys(TEN, 1)
    monitor.memory = replace(filled, suspicions=())
    monitor.night(new)

    assert 0.0 < evidence[1] < evidence[0] < 1.0
    assert filled.meter > filled.meter_sure > 0.0
    assert filled.meter_staked > filled.meter  # the first nights stake more
    assert (monitor.memory.meter, monitor.memory.meter_staked, monitor.memory.meter_sure) == (
        0.0,
        0.0,
        0.0,
    )


def test_a_change_in_many_small_steps_is_seen_against_the_first_month():
    """Half of the answers have moved within the last month, all of them in the last week."""
    monitor = Monitor(cases=(1, 2, 3)).record(30)
    for night in range(25):
        changed = [case for case in monitor.cases if (night + case) % 2]
        monitor.record(1, only(*changed))
    monitor.record(6, new)
    monitor.memory = Memory(phase="stable", looks=55)

    judgement = monitor.night(new)

    assert (judgement.verdict, judgement.routes) == ("suspect", ("audit",))
    assert judgement.p > FIRST_LEVEL
    (suspicion,) = monitor.memory.suspicions
    assert suspicion.reference_until == 30
    assert monitor.night(new).verdict == "drifted"


def test_an_audit_that_is_rare_enough_is_seen_again_against_what_was_before_it():
    """Nine nights in which four calls of ten are new: none is unlike the others."""
    monitor = Monitor().record(20)
    for night in range(8):
        monitor.record(1, only(*(case for case in TEN if (case + 3 * night) % 10 < 4)))
    monitor.memory = Memory(phase="stable", looks=11)

    judgement = monitor.night(only(1, 4, 6, 9))

    assert (judgement.verdict, judgement.routes) == ("suspect", ("audit",))
    (suspicion,) = monitor.memory.suspicions
    assert (suspicion.reference_until, suspicion.level) == (23, CONFIRMATION_LEVEL)  # six nights do
    assert monitor.night(only(2, 3, 7, 8)).verdict == "drifted"


# --- while an alarm stands ---------------------------------------------------------------------


def test_what_is_compared_with_is_frozen_while_an_alarm_stands():
    monitor = drifted(nights=3)
    first = monitor.night(new).effect

    for _ in range(15):
        judgement = monitor.night(lambda case: f"{new(case)} {monitor.session}")

        assert (judgement.verdict, judgement.has_returned) == ("drifted", False)
        assert judgement.effect.similarity_usual == first.similarity_usual
        assert judgement.effect.length_usual == first.length_usual
    assert monitor.memory.phase == "drifted"
    assert kinds(monitor.memory) == [("drifted", "tonight")]


def test_later_answers_in_the_pool_do_not_move_a_judgement():
    """Nor do those of the night itself, of before the epoch and of sessions that were odd."""
    monitor = watched(5)
    monitor.memory = replace(monitor.memory, epoch_from=2, without=(4,))
    samples = monitor.answers(monitor.asked, only(3))
    pool = {case: list(kept) for case, kept in monitor.pool.items()}
    for session in (1, 4, monitor.session, monitor.session + 1):
        for case in TEN:
            pool[case].append(Sample("from another time", session))

    def judged(pool):
        return judge(
            memory=monitor.memory,
            cases=TEN,
            pool=pool,
            night=Night(monitor.session, samples),
            policy=monitor.policy,
            seed=1,
        )

    assert judged(pool) == judged(monitor.pool)


def test_answers_that_are_as_before_again_have_returned_after_two_nights():
    monitor = drifted(nights=5)
    monitor.nights(3, new)

    first, second = monitor.nights(2)

    assert (first.verdict, first.has_returned) == ("drifted", False)
    assert (second.verdict, second.has_returned) == ("stable", True)
    assert (monitor.memory.phase, monitor.memory.drift) == ("stable", None)
    assert kinds(monitor.memory) == [("drifted", "tonight"), ("returned", "tonight")]
    # The night of the suspicion, its confirmation and three more.
    assert monitor.memory.without == (11, 12, 13, 14, 15)


def test_what_has_returned_can_drift_again():
    monitor = drifted(nights=5)
    monitor.nights(3, new)
    monitor.nights(4)

    again = monitor.night(new)

    assert again.verdict == "suspect"
    assert monitor.later(new).verdict == "drifted"


def test_answers_unlike_both_have_not_returned():
    monitor = drifted(nights=5)
    monitor.nights(3, new)

    verdicts = {one.verdict for one in monitor.nights(4, lambda case: f"Something else {case}!")}

    assert verdicts == {"drifted"}


def test_a_quarter_that_is_still_changed_has_not_returned():
    monitor = drifted(nights=5)
    monitor.nights(3, new)

    verdicts = {one.verdict for one in monitor.nights(4, only(1, 2, 3))}

    assert verdicts == {"drifted"}


# --- accepting ---------------------------------------------------------------------------------


def test_accepting_a_drift_begins_a_new_epoch_with_the_answers_after_the_suspicion():
    monitor = drifted(nights=4)
    monitor.nights(4, new)

    monitor.accept()

    assert monitor.memory == Memory(
        phase="stable",
        epoch_from=11,
        history=(
            Event("drifted", 11, "tonight", pytest.approx(10.0**-10)),
            Event("accepted", 15),
        ),
    )
    assert [one.verdict for one in monitor.nights(2, new)] == ["stable", "stable"]
    assert monitor.night(usual).verdict == "suspect"


def test_accepting_soon_after_an_alarm_leaves_something_to_learn():
    monitor = drifted()

    monitor.accept()

    assert (monitor.memory.phase, monitor.memory.epoch_from) == ("learning", 7)
    assert [one.verdict for one in monitor.nights(5, new)] == ["learning"] * 4 + ["stable"]


def test_accepting_without_a_drift_begins_with_the_latest_session():
    monitor = watched(3)
    monitor.night(only(3))

    monitor.accept()

    assert monitor.memory == Memory(phase="learning", epoch_from=9, history=(Event("accepted", 9),))


def test_accepting_before_there_is_any_answer_begins_at_the_beginning():
    monitor = Monitor()

    monitor.accept()

    assert monitor.memory == Memory(history=(Event("accepted", 0),))


def test_the_oldest_events_are_forgotten():
    monitor = watched()

    for _ in range(MOST_HISTORY + 5):
        monitor.accept()

    assert len(monitor.memory.history) == MOST_HISTORY


# --- the memory --------------------------------------------------------------------------------

NUMBERS = st.floats(0, 1e6, allow_nan=False)
SESSIONS = st.integers(0, 2**53)
ROUTES = st.sampled_from(sorted(SHARES))
SUSPICIONS = st.builds(
    Suspicion,
    route=ROUTES,
    cases=st.lists(SESSIONS, max_size=3).map(tuple),
    since=SESSIONS,
    reference_until=SESSIONS,
    level=NUMBERS,
    p=NUMBERS,
    stage=st.integers(0, 5),
    p_fresh=st.none() | NUMBERS,
    changed=st.integers(1, 12),
    is_direct=st.booleans(),
    waits_for_night=st.booleans(),
)
EVENTS = st.builds(
    Event,
    kind=st.sampled_from(("drifted", "notice", "returned", "accepted")),
    session=SESSIONS,
    route=st.none() | ROUTES,
    p=st.none() | NUMBERS,
)
MEMORIES = st.builds(
    Memory,
    phase=st.sampled_from(("learning", "stable", "suspect", "drifted")),
    looks=st.integers(0, 10_000),
    epoch_from=SESSIONS,
    meter=NUMBERS,
    meter_staked=NUMBERS,
    meter_sure=NUMBERS,
    suspicions=st.lists(SUSPICIONS, max_size=3).map(tuple),
    without=st.lists(SESSIONS, max_size=3).map(tuple),
    extra_calls=NUMBERS,
    incomplete=st.integers(0, 100),
    drift=st.none() | SUSPICIONS,
    history=st.lists(EVENTS, max_size=3).map(tuple),
)


@given(MEMORIES)
def test_a_memory_comes_back_from_json_as_it_was(memory):
    plain = memory.to_dict()

    assert Memory.from_dict(json.loads(json.dumps(plain, allow_nan=False))) == memory
    assert json.loads(json.dumps(plain)) == plain


@given(MEMORIES, st.dictionaries(st.text(min_size=1).map(lambda key: f"old_{key}"), st.text()))
def test_what_an_older_version_kept_is_passed_over_wherever_it_stands(memory, old):
    plain: Any = memory.to_dict()
    kept = [plain, *plain["suspicions"], *plain["history"]]
    for one in [*kept, plain["drift"]] if plain["drift"] else kept:
        one.update(old)

    assert Memory.from_dict(plain) == memory


def test_nothing_is_a_new_memory_and_what_is_missing_is_as_new():
    assert Memory.from_dict({}) == Memory()
    assert Memory.from_dict({"looks": 7}) == Memory(looks=7)
    assert Memory().extra_calls == FIRST_EXTRA_CALLS


# --- the budget --------------------------------------------------------------------------------


def spent(policy, looks):
    """What a monitor may spend on all routes in its first ``looks`` looks."""
    return math.fsum(
        policy.allowance(route).at(look) for route in SHARES for look in range(1, looks + 1)
    )


def test_the_shares_of_the_routes_are_the_whole_budget():
    assert math.fsum(SHARES.values()) == pytest.approx(1.0)


@given(
    schedules=st.lists(st.sampled_from((12, 52, 365, 730)), min_size=1, max_size=400),
    budget=st.floats(0.01, 20),
)
def test_a_year_of_a_whole_library_spends_at_most_its_budget(schedules, budget):
    together = float(sum(schedules))

    year = math.fsum(
        schedules.count(looks) * spent(Policy(budget, together, looks), looks)
        for looks in set(schedules)
    )

    assert year <= budget * (1 + 1e-9)


def test_a_nightly_monitor_spends_nearly_its_share_and_less_in_every_later_year():
    policy = Policy(looks_a_year=LEAST_LIBRARY)
    share = 365 / LEAST_LIBRARY

    first, second = spent(policy, 365), spent(policy, 730) - spent(policy, 365)

    assert 0.9 * share < first <= share * (1 + 1e-9)
    assert second < first / 2


def test_the_budget_is_shared_anew_when_monitors_come():
    few, many = Policy(looks_a_year=LEAST_LIBRARY), Policy(looks_a_year=4 * LEAST_LIBRARY)

    assert 4 * spent(many, 365) == pytest.approx(spent(few, 365))


def test_a_small_library_spends_as_if_it_were_one_of_three_hundred_prompts():
    alone = Policy(looks_a_year=365)

    assert spent(alone, 365) == spent(Policy(looks_a_year=LEAST_LIBRARY), 365)


def test_a_monitor_never_has_more_than_its_library():
    """One that looks every few minutes is a library of its own."""
    busy = Policy(looks_a_year=365, looks_a_year_here=10.0 * LEAST_LIBRARY)

    assert sum(busy.allowance(route).year for route in SHARES) == pytest.approx(1.0)


def test_the_rarer_a_night_the_less_is_asked_of_its_confirmation_within_the_allowance():
    monitor = watched(cases=(1, 2, 3, 4))
    allowed = monitor.policy.allowance("tonight").at(1)

    judgement = monitor.night(new)

    (suspicion,) = monitor.memory.suspicions
    assert suspicion.level == second_level(
        judgement.p, allowed=allowed, first=FIRST_LEVEL, most=CONFIRMATION_LEVEL
    )
    assert allowed < suspicion.level < CONFIRMATION_LEVEL


def test_a_suspicion_never_spends_more_than_it_was_given():
    """A case that answers now so, now so is asked again and again, each time for a part."""
    monitor = watched(10)
    monitor.night(only(3))
    (suspicion,) = monitor.memory.suspicions
    levels = [suspicion.level]
    turns = itertools.chain([new(3)] * 6, itertools.cycle([usual(3), new(3)]))

    for _ in CASE_STAGES[:-1]:
        monitor.night(lambda case: next(turns) if case == 3 else usual(case))
        levels.append(monitor.memory.suspicions[0].level)
    monitor.night(lambda case: next(turns) if case == 3 else usual(case))

    # Two answers and six more could not have shown anything: their part goes to the later ones.
    left = [1.0, 1.0, 1.0, 3 / 4, 2 / 4, 1 / 4]
    assert levels == pytest.approx([suspicion.level * share for share in left])
    assert monitor.memory.suspicions == ()


# --- what does not matter ----------------------------------------------------------------------


def story(ids, order):
    """Verdicts of a story whose cases have these ids and come in this order."""
    numbers = dict(zip(ids, TEN, strict=True))
    monitor = Monitor(cases=tuple(ids[place] for place in order)).record(
        5, lambda case: usual(numbers[case])
    )
    told = []
    for answer in (usual, only(3), only(3), new, new):
        judgement = monitor.night(lambda case, answer=answer: answer(numbers[case]))
        told.append(
            (
                judgement.verdict,
                judgement.routes,
                sorted(numbers[case] for case in judgement.suspicious_cases),
                pytest.approx(judgement.p, rel=1e-6),
            )
        )
    return told


@settings(max_examples=8)
@given(st.permutations(range(10)), st.permutations(range(10)))
def test_neither_the_ids_of_the_cases_nor_their_order_matter(ids, order):
    assert story([7 * one + 5 for one in ids], order) == story(TEN, range(10))


def test_the_same_arguments_give_the_same_judgement():
    def played():
        lot = random.Random(1)
        monitor = Monitor(cases=(1, 2, 3)).record(5, lambda case: lot.choice("ab"))
        return [monitor.night(lambda case: lot.choice("abc")) for _ in range(8)]

    assert played() == played()


ANSWERS = st.builds(
    Sample,
    text=st.sampled_from(("a", "b", "", "I can't help with that.", "\ud800", "x" * 100_000)),
    session=st.just(0),
    verdicts=st.lists(st.sampled_from((0, 1, None)), max_size=2).map(tuple),
    outcome=st.sampled_from(("answered", "answered", "empty", "refused", "cut", "missing")),
)


@settings(max_examples=40)
@given(
    cases=st.integers(0, 3),
    nights=st.lists(st.lists(st.lists(ANSWERS, max_size=3), min_size=4, max_size=4), max_size=9),
    baseline_samples=st.integers(1, 3),
)
def test_no_answers_make_it_fail(cases, nights, baseline_samples):
    """Whatever comes, the memory stays JSON, and every case is asked something within reason."""
    monitor = Monitor(
        cases=tuple(range(1, cases + 1)), policy=Policy(baseline_samples=baseline_samples)
    )
    for answers in nights:
        monitor.session += 1
        # The fourth case is not of this monitor: it was deleted, its answers were not.
        samples = {
            case: [monitor.sample(one) for one in taken]
            for case, taken in enumerate(answers, start=1)
        }
        soon = monitor.memory.phase == "suspect" and monitor.session % 2

        judgement = monitor.judged(confirm if soon else judge, samples)

        plain = json.loads(json.dumps(judgement.memory.to_dict(), allow_nan=False))
        assert Memory.from_dict(plain) == judgement.memory
        assert set(judgement.wanted.samples) == set(monitor.cases)
        most = max(*CASE_STAGES, *PROMPT_STAGES)
        assert all(1 <= count <= most for count in judgement.wanted.samples.values())
        assert 0.0 <= judgement.evidence <= 1.0
        assert judgement.p is None or 0.0 < judgement.p <= 1.0
        assert (judgement.memory.phase == "drifted") == (judgement.memory.drift is not None)


# --- nothing changes ---------------------------------------------------------------------------

UNCHANGED_MONITORS, UNCHANGED_NIGHTS = 50, 30


def varied(seed, cases):
    """Each case has up to three answers of its own, each with a chance of its own."""
    lot = random.Random(seed)
    texts = {
        case: [f"{lot.choice(('Yes', 'No', 'Perhaps'))}, {lot.random():.2f}." for _ in range(3)]
        for case in cases
    }
    weights = {case: [lot.random(), lot.random(), lot.choice((0.0, 0.3))] for case in cases}
    return lambda case: lot.choices(texts[case], weights[case])[0]


def test_fifteen_hundred_nights_of_noisy_answers_raise_no_alarm_and_cost_few_calls():
    """Small monitors, to take a few seconds; `tests/benchmarks/drift_simulation.py` plays large
    ones."""
    verdicts, calls, planned = [], 0, 0
    for seed in range(UNCHANGED_MONITORS):
        cases = tuple(range(1 + seed % 3))
        answer = varied(seed, cases)
        monitor = Monitor(cases=cases, seed=1_000 * seed).record(5, answer)
        for _ in range(UNCHANGED_NIGHTS):
            judgement = monitor.night(answer)
            verdicts.append(judgement.verdict)
            if judgement.wanted.when == "soon":
                verdicts.append(monitor.later(answer).verdict)
        calls += monitor.calls
        planned += len(cases) * UNCHANGED_NIGHTS

    assert len(verdicts) >= UNCHANGED_MONITORS * UNCHANGED_NIGHTS
    assert "drifted" not in verdicts
    assert 0 < verdicts.count("suspect") < 0.05 * len(verdicts)
    assert calls <= 1.10 * planned
