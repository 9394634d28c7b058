"""What a monitor would notice: measured once by a worker, kept with its baseline."""

from datetime import timedelta

import pytest

from kb.drift import actions, planner, power, queries
from kb.drift.models import Baseline, Run
from kb.drift.planner import Fall
from kb.tasks import drift as tasks
from tests.factories import NOW, later, make_monitor
from tests.pages.reruns import monitored, nightly, yes_cases

pytestmark = pytest.mark.django_db
QUIET = later(days=3)
"""When the runs of these tests have long ended."""


@pytest.fixture
def ladder(monkeypatch):
    """Falls that are found at once, in place of minutes of made-up nights; what was asked is kept."""
    asked = []

    def played(baseline, *, policy, seed):
        asked.append((list(baseline), seed))
        yield Fall(0.9, None)
        yield Fall(0.6, 7)

    monkeypatch.setattr(planner, "falls", played)
    return asked


def test_a_baseline_in_use_is_measured_once(ladder):
    monitor = monitored(count=2)

    tasks.measure_power()
    tasks.measure_power()

    monitor.baseline.refresh_from_db()
    assert monitor.baseline.power == {
        "usual": 1.0,
        "falls": [{"rate": 0.9, "nights": None}, {"rate": 0.6, "nights": 7}],
    }
    assert monitor.baseline.power_lease_ends is None
    assert [(len(counts), seed) for counts, seed in ladder] == [(2, monitor.baseline_id)]


def test_what_was_measured_is_read_with_the_plan(ladder):
    monitor = monitored(count=2)
    before = queries.power_of(monitor)

    tasks.measure_power()

    plan = {"smallest_p": 6.0**-2, "nights_to_full_change": 5}
    monitor.refresh_from_db()
    assert before == queries.Power(False, None, None, None, **plan)
    assert queries.power_of(monitor) == queries.Power(
        True, 1.0, Fall(0.6, 7), Fall(0.9, None), **plan
    )


def test_the_newest_baseline_comes_first_and_one_at_a_time():
    monitored(count=1)
    newest = monitored(count=1)

    first, second = power.claim(now=QUIET), power.claim(now=QUIET)

    assert (first, second) == (newest.baseline, None)


def test_a_dead_worker_is_succeeded_when_its_lease_is_over():
    monitor = monitored(count=1)
    power.claim(now=QUIET)

    taken = power.claim(now=QUIET + power.LEASE + timedelta(seconds=1))

    assert taken == monitor.baseline


@pytest.mark.parametrize(
    "busy",
    [
        {"status": Run.Status.RUNNING, "finished": None},
        {"status": Run.Status.QUEUED, "finished": None},
        {"finished": QUIET - power.QUIET},
    ],
)
def test_it_waits_until_no_run_has_been_under_way_for_a_while(busy):
    monitor = monitored(count=1)
    Run.objects.update(**busy)
    early = power.claim(now=QUIET)

    Run.objects.update(status=Run.Status.DONE, finished=QUIET - power.QUIET - timedelta(seconds=1))

    assert (early, power.claim(now=QUIET)) == (None, monitor.baseline)


def test_a_run_that_comes_meanwhile_goes_first(ladder):
    monitor = monitored(count=1)
    claimed = power.claim(now=QUIET)

    power.measure(claimed, is_unwelcome=lambda: True)

    assert Baseline.objects.get().power is None
    assert power.claim(now=QUIET) == monitor.baseline


def test_a_monitor_that_learns_is_measured_when_it_has_learnt(ladder):
    monitor = make_monitor(cases=yes_cases(2), baseline_repeats=2)
    actions.learn_over_nights(monitor=monitor, by=monitor.owner, now=NOW)
    monitor.refresh_from_db()
    nightly(monitor, "yes", later(days=1))
    early = (power.claim(now=QUIET), queries.power_of(monitor))

    nightly(monitor, "yes", later(days=2))

    assert early == (None, None)
    assert power.claim(now=QUIET) == monitor.baseline


@pytest.mark.parametrize("change", [{"schedule": "weekly"}, {"baseline_repeats": 6}])
def test_another_schedule_is_measured_anew(ladder, change):
    monitor = monitored(count=1)
    tasks.measure_power()

    actions.change_monitor(monitor=monitor, by=monitor.owner, now=NOW, **change)

    assert list(power.owed()) == [monitor.baseline]


def test_a_change_that_means_nothing_to_it_keeps_it(ladder):
    monitor = monitored(count=1)
    tasks.measure_power()

    actions.change_monitor(monitor=monitor, by=monitor.owner, now=NOW, is_enabled=False)

    assert list(power.owed()) == []


def test_what_was_measured_under_an_older_schedule_is_not_kept(ladder, monkeypatch):
    monitor = monitored(count=1)
    claimed = power.claim(now=QUIET)
    played = planner.falls

    def changed_meanwhile(*args, **kwargs):
        actions.change_monitor(monitor=monitor, by=monitor.owner, now=NOW, schedule="weekly")
        return played(*args, **kwargs)

    monkeypatch.setattr(planner, "falls", changed_meanwhile)
    power.measure(claimed)

    assert Baseline.objects.get().power is None


def test_a_monitor_that_was_deleted_meanwhile_owes_nothing(ladder):
    monitor = monitored(count=1)
    claimed = power.claim(now=QUIET)
    actions.delete_monitor(monitor=monitor, by=monitor.owner, now=NOW)

    power.measure(claimed)

    assert (ladder, Baseline.objects.count()) == ([], 0)


def test_patience_ends_and_keeps_what_is_known(ladder):
    monitor = monitored(count=1)
    ticks = iter([0.0, 10_000.0])

    power.measure(monitor.baseline, clock=lambda: next(ticks))

    assert Baseline.objects.get().power["falls"] == [{"rate": 0.9, "nights": None}]


def test_answers_that_are_not_judged_tell_of_no_fall():
    monitor = monitored(count=1, answer="no")

    power.measure(monitor.baseline)

    assert Baseline.objects.get().power == {"usual": 0.0, "falls": []}


def test_it_really_plays_the_nights():
    monitor = monitored(count=3)

    tasks.measure_power()

    monitor.refresh_from_db()
    found = queries.power_of(monitor)
    assert found.usual == 1.0
    assert found.noticed.rate < found.missed.rate
    assert 1 <= found.noticed.nights <= planner.LONGEST_LOOK_AHEAD
