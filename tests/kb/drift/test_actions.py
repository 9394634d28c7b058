import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection

from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.drift import actions, assessing, queries, runs
from kb.drift.actions import CaseFields
from kb.drift.models import Completion, Monitor, Run
from kb.llm import actions as llm
from kb.llm.base import LLMError, Reply
from kb.llm.breaker import FAILURES
from kb.llm.models import Connection
from kb.llm.paced import traffic
from kb.notifications.models import Notification
from kb.prompts import actions as prompts
from kb.search.models import SearchEntry
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)

pytestmark = pytest.mark.django_db


class Scripted:
    """A provider that answers by rule and counts what it was asked."""

    def __init__(self, answer, seconds=0.0):
        self.answer, self.seconds = answer, seconds
        self.asked, self.at_once, self.most_at_once = [], 0, 0

    async def complete(self, request, *, deadline, gate=None):
        if gate:
            await gate(1)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        text = request.messages[-1].content
        self.asked.append(text)
        answer = self.answer(text) if callable(self.answer) else self.answer
        answer = await answer if asyncio.iscoroutine(answer) else answer
        if isinstance(answer, LLMError):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return reply(answer)


def reply(text, finish="stop"):
    return Reply(
        text=text,
        finish=finish,
        model="served",
        fingerprint="fp",
        input_tokens=10,
        output_tokens=5,
        request_id="req",
        latency_ms=12,
        raw_finish=finish,
    )


def error(kind, permanent=False):
    return LLMError(kind, f"{kind} happened", permanent=permanent, attempts=1)


def play(run, provider, now=NOW):
    """Claim, execute and assess one run with this provider; the run as it is afterwards."""
    claimed = runs.claim(run.pk, now=now)
    async_to_sync(runs.execute)(
        claimed,
        provider=provider,
        clock=lambda: now,
        confirm=assessing.confirmation_wanted,
    )
    assessing.assess(run.pk, now=now)
    return Run.objects.get(pk=run.pk)


def yes_cases(count):
    return [
        CaseFields(f"case {n}", {"n": str(n)}, [{"type": "contains", "value": "yes"}])
        for n in range(count)
    ]


def monitored(count=10, answer="yes", **fields):
    """A monitor with an accepted baseline of this answer."""
    monitor = make_monitor(cases=yes_cases(count), **fields)
    play(actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW), Scripted(answer))
    monitor.refresh_from_db()
    return monitor


def rerun(monitor, answer, now):
    run = actions.request_run(monitor=monitor, by=monitor.owner, now=now)
    provider = answer if isinstance(answer, Scripted) else Scripted(answer)
    ended = play(run, provider, now)
    monitor.refresh_from_db()
    return ended


class TestSettingUp:
    def test_a_monitor_knows_when_it_runs_next_and_waits_for_a_baseline(self):
        monitor = make_monitor()

        assert (monitor.status, monitor.baseline) == ("new", None)
        assert NOW < monitor.next_slot < later(days=1)

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"schedule": "every now and then"}, "schedule"),
            ({"time_zone": "Mars/Olympus"}, "time_zone"),
            ({"baseline_repeats": 0}, "baseline_repeats"),
            ({"cases": [CaseFields("a", {})]}, "cases.0"),
            ({"cases": [CaseFields("a", {"n": "1", "m": "2"})]}, "cases.0"),
            ({"cases": [CaseFields("a", {"n": "1"}, [{"type": "smells"}])]}, "cases.0"),
            (
                {"cases": [CaseFields("a", {"n": "1"}, [{"type": "regex", "value": "("}])]},
                "cases.0",
            ),
            ({"cases": yes_cases(51)}, "cases"),
        ],
    )
    def test_what_cannot_work_is_named(self, fields, name):
        with pytest.raises(Invalid) as refused:
            make_monitor(**fields)

        assert list(refused.value.fields) == [name]
        assert not Monitor.objects.exists()

    def test_a_monitor_needs_a_case(self):
        prompt, target = make_prompt(), make_target()

        with pytest.raises(Invalid):
            actions.create_monitor(
                prompt=prompt, target=target, cases=[], by=prompt.author, now=NOW
            )

    def test_only_who_may_edit_the_prompt_may_monitor_it(self):
        prompt = make_prompt()

        with pytest.raises(NotAllowed):
            actions.create_monitor(
                prompt=prompt,
                target=make_target(),
                cases=[CaseFields("a")],
                by=make_person(),
                now=NOW,
            )

    def test_a_time_zone_moves_the_night(self):
        paris = make_monitor(time_zone="Europe/Paris", schedule="0 3 * * *")
        tokyo = make_monitor(time_zone="Asia/Tokyo", schedule="0 3 * * *")

        assert paris.next_slot.hour == 2
        assert tokyo.next_slot.hour == 18


class TestRunning:
    def test_who_asks_now_has_a_connection_tried_that_is_left_alone(
        self, django_capture_on_commit_callbacks
    ):
        monitor = make_monitor()
        pk = monitor.target.connection_id
        breakers = traffic().breakers
        for _failure in range(3 * FAILURES):
            breakers.failed(pk, "it answered 503")
        waited = breakers.ask(pk)

        with django_capture_on_commit_callbacks(execute=True):
            actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)

        assert waited > 0
        assert breakers.ask(pk) == 0
        breakers.answered(pk)

    def test_the_baseline_asks_every_case_as_often_as_wanted_and_is_accepted(self):
        monitor = make_monitor(cases=yes_cases(3), baseline_repeats=4)
        provider = Scripted("yes")
        run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)
        monitor.refresh_from_db()
        learning = monitor.status

        ended = play(run, provider)

        monitor.refresh_from_db()
        assert (learning, monitor.status, ended.status, ended.calls) == (
            "learning",
            "stable",
            "done",
            12,
        )
        assert monitor.baseline.accepted_by == monitor.owner
        assert Counter(provider.asked) == {f"Is {n} a prime number?": 4 for n in range(3)}

    def test_only_one_worker_claims_a_run(self):
        run = actions.record_baseline(
            monitor=make_monitor(), by=Monitor.objects.get().owner, now=NOW
        )

        first, second = runs.claim(run.pk, now=NOW), runs.claim(run.pk, now=NOW)

        assert (first.pk, second) == (run.pk, None)

    def test_executing_again_after_a_crash_asks_only_what_is_missing(self):
        monitor = monitored(4)
        run = actions.request_run(monitor=monitor, by=monitor.owner, now=later(days=1))
        claimed = runs.claim(run.pk, now=NOW)
        case = monitor.cases.first()
        Completion.objects.create(
            run=run, case=case, outcome="answered", text="yes", verdicts=[True], is_passed=True
        )
        provider = Scripted("yes")

        async_to_sync(runs.execute)(claimed, provider=provider, clock=lambda: NOW)
        async_to_sync(runs.execute)(claimed, provider=provider, clock=lambda: NOW)

        assert len(provider.asked) == 3
        assert run.completions.count() == 4

    def test_no_more_calls_at_once_than_the_connection_allows(self):
        target = make_target()
        llm.save_connection(connection=target.connection, by=make_admin(), calls_at_once=3)
        monitor = make_monitor(cases=yes_cases(10), target=type(target).objects.get(pk=target.pk))
        provider = Scripted("yes", seconds=0.3)

        play(actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW), provider)

        assert provider.most_at_once == 3

    def test_an_answer_is_kept_with_all_that_is_known_of_it(self):
        monitor = monitored(1)

        [kept] = rerun(monitor, "yes", later(days=1)).completions.values(
            "outcome", "text", "verdicts", "is_passed", "served_model", "fingerprint", "finish",
            "input_tokens", "output_tokens", "latency_ms", "request_id", "calls",
        )  # fmt: skip

        assert kept == {
            "outcome": "answered",
            "text": "yes",
            "verdicts": [True],
            "is_passed": True,
            "served_model": "served",
            "fingerprint": "fp",
            "finish": "stop",
            "input_tokens": 10,
            "output_tokens": 5,
            "latency_ms": 12,
            "request_id": "req",
            "calls": 1,
        }

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (reply("", "stop"), "empty"),
            (reply("I cannot help with that.", "refusal"), "refused"),
            (reply("", "content_filter"), "refused"),
            (reply("ye", "length"), "cut"),
            (error("timeout"), "missing"),
            (error("truncated"), "missing"),
        ],
    )
    def test_what_is_no_full_answer_is_neither_pass_nor_failure(self, answer, outcome):
        monitor = monitored(10)

        run = rerun(monitor, lambda text: answer if "Is 0 " in text else "yes", later(days=1))

        odd = run.completions.get(case__variables={"n": "0"})
        assert (odd.outcome, odd.is_passed, odd.verdicts) == (outcome, None, [None])
        assert (run.status, run.report.verdict, run.report.pass_rate) == ("done", "stable", 1.0)

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            ("timeout", "timeout"),
            ("server", "failed"),
            ("rate_limit", "failed"),
            ("auth", "failed"),
        ],
    )
    def test_a_run_without_any_answer_ends_in_a_state_of_its_own(self, kind, status):
        monitor = monitored(10)

        run = rerun(monitor, error(kind, permanent=kind == "auth"), later(days=1))

        assert (run.status, run.reason) == (status, kind)
        assert (monitor.status, monitor.missed_runs) == ("stable", 1)
        assert not hasattr(run, "report")

    def test_after_a_refused_key_nobody_asks_again(self):
        monitor = monitored(10)
        llm.save_connection(connection=monitor.target.connection, by=make_admin(), calls_at_once=1)
        monitor.refresh_from_db()
        provider = Scripted(error("auth", permanent=True))

        run = rerun(Monitor.objects.get(pk=monitor.pk), provider, later(days=1))

        assert len(provider.asked) == 1
        assert run.completions.filter(error_kind="auth").count() == 10

    def test_a_switched_off_connection_stops_the_next_call(self):
        monitor = monitored(10)
        llm.save_connection(connection=monitor.target.connection, by=make_admin(), calls_at_once=1)
        asked = []

        async def switch_off(text):
            asked.append(text)
            if len(asked) == 3:
                await Connection.objects.aupdate(is_enabled=False)
            return "yes"

        rerun(Monitor.objects.get(pk=monitor.pk), switch_off, later(days=1))

        assert len(asked) == 3

    def test_a_worker_that_lost_its_run_writes_no_end(self):
        monitor = monitored(2)
        run = actions.request_run(monitor=monitor, by=monitor.owner, now=later(days=1))
        stale = runs.claim(run.pk, now=NOW)
        runs.reclaim_lost_runs(now=NOW + runs.LEASE * 2)
        fresh = runs.claim(run.pk, now=later(days=1))
        provider = Scripted("yes")

        async_to_sync(runs.execute)(stale, provider=provider, clock=lambda: NOW)

        run.refresh_from_db()
        assert (run.status, provider.asked, fresh.attempt) == ("running", [], 2)

    def test_runs_of_dead_workers_come_back_and_in_the_end_give_up(self):
        monitor = monitored(2)
        run = actions.request_run(monitor=monitor, by=monitor.owner, now=later(days=1))
        outcomes = []
        for attempt in range(1, runs.MOST_ATTEMPTS + 1):
            assert runs.claim(run.pk, now=later(days=attempt)).attempt == attempt
            outcomes.append(runs.reclaim_lost_runs(now=later(days=attempt, hours=1)))

        run.refresh_from_db()
        assert outcomes == [(1, 0), (1, 0), (0, 1)]
        assert (run.status, run.reason) == ("timeout", "worker_lost")
        assert runs.reclaim_lost_runs(now=later(days=30)) == (0, 0)

    def test_a_living_worker_keeps_its_run(self):
        monitor = monitored(2)
        run = actions.request_run(monitor=monitor, by=monitor.owner, now=later(days=1))
        runs.claim(run.pk, now=NOW)

        assert runs.reclaim_lost_runs(now=NOW + runs.LEASE - timedelta(seconds=1)) == (
            0,
            0,
        )

    def test_a_cancelled_run_stays_cancelled(self):
        monitor = monitored(2)
        run = actions.request_run(monitor=monitor, by=monitor.owner, now=later(days=1))

        assert actions.cancel_run(run=run, by=monitor.owner, now=NOW) is True
        assert actions.cancel_run(run=run, by=monitor.owner, now=NOW) is False
        assert runs.claim(run.pk, now=NOW) is None

    def test_the_cost_is_counted_when_a_price_is_known(self):
        monitor = monitored(2)
        unpriced = rerun(monitor, "yes", later(days=1))
        llm.save_price(
            connection=monitor.target.connection,
            model=monitor.target.model,
            input_per_million=3,
            output_per_million=15,
            currency="eur",
            by=make_admin(),
        )

        priced = rerun(monitor, "yes", later(days=2))

        assert unpriced.cost is None
        assert float(priced.cost) == pytest.approx(2 * (10 * 3 + 5 * 15) / 1e6)


class TestJudging:
    def test_the_same_answers_are_stable(self):
        monitor = monitored(10)

        report = rerun(monitor, "yes", later(days=1)).report

        assert (report.verdict, report.direction, report.pass_rate_baseline, report.pass_rate) == (
            "stable",
            "",
            1.0,
            1.0,
        )
        assert monitor.status == "stable"

    def test_worse_answers_drift_and_the_changed_cases_are_named(self):
        monitor = monitored(10)
        bad = {f"Is {n} a prime number?" for n in range(6)}

        report = rerun(monitor, lambda text: "no" if text in bad else "yes", later(days=1)).report

        assert (report.verdict, report.direction, report.pass_rate) == ("drifted", "worse", 0.4)
        assert sorted(report.changed_cases) == sorted(
            monitor.cases.values_list("pk", flat=True)[:6]
        )
        assert monitor.status == "drifted"
        assert SearchEntry.objects.get(object_id=monitor.prompt_id).drift == "drifted"
        assert report.p_worse < assessing.ALPHA

    def test_better_answers_are_told_as_better(self):
        monitor = monitored(10, answer="no")

        report = rerun(monitor, "yes", later(days=1)).report

        assert (report.verdict, report.direction) == ("drifted", "better")

    def test_author_and_followers_hear_once_of_a_drift_and_of_its_end(self):
        monitor = monitored(10)
        follower = make_person("reader")
        prompts.watch(prompt=monitor.prompt, by=follower)

        for day, answer in enumerate(["no", "no", "yes", "yes"], start=1):
            rerun(monitor, answer, later(days=day))
            assessing.assess(Run.objects.order_by("-slot").first().pk, now=NOW)

        told = Notification.objects.order_by("created", "pk").values_list("recipient", "kind")
        assert Counter(told) == Counter(
            (person.pk, kind)
            for person in (monitor.owner, follower)
            for kind in ("drifted", "recovered")
        )

    def test_assessing_twice_is_assessing_once(self):
        monitor = monitored(10)
        run = rerun(monitor, "no", later(days=1))

        assert assessing.assess(run.pk, now=NOW) is None
        assert Notification.objects.count() == 1

    def test_too_few_answers_are_not_judged_and_the_owner_hears_after_three(self):
        monitor = monitored(10)

        for day in range(1, 5):
            run = rerun(
                monitor, lambda text: "yes" if "Is 1 " in text else error("server"), later(days=day)
            )
            assert run.report.verdict == "not_judged"

        assert (monitor.status, monitor.missed_runs) == ("stable", 4)
        assert list(Notification.objects.values_list("recipient", "kind")) == [
            (monitor.owner.pk, "unchecked")
        ]

    def test_a_baseline_with_too_few_answers_is_not_accepted(self):
        monitor = make_monitor(cases=yes_cases(10))
        run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)

        play(run, Scripted(lambda text: "yes" if "Is 1 " in text else error("server")))

        monitor.refresh_from_db()
        assert (monitor.status, monitor.baseline) == ("new", None)

    def test_a_failed_new_baseline_leaves_the_old_one(self):
        monitor = monitored(10)
        old = monitor.baseline
        run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=later(days=1))

        play(run, Scripted(error("server")), later(days=1))

        monitor.refresh_from_db()
        assert (monitor.status, monitor.baseline) == ("stable", old)

    def test_accepting_the_new_normal_ends_the_drift(self):
        monitor = monitored(10)
        rerun(monitor, "no", later(days=1))

        actions.accept_as_normal(
            monitor=monitor, by=monitor.owner, now=later(days=1), note="Fine by us"
        )

        monitor.refresh_from_db()
        assert monitor.status == "learning"
        for day in range(2, 6):
            learnt = rerun(monitor, "no", later(days=day))
            assert learnt.kind == "baseline"
        assert monitor.status == "stable"
        report = rerun(monitor, "no", later(days=7)).report
        assert (report.verdict, report.pass_rate_baseline) == ("stable", 0.0)

    def test_an_edit_is_a_new_epoch_and_never_an_alarm(self):
        monitor = monitored(10)

        actions.change_monitor(monitor=monitor, by=monitor.owner, now=NOW, cases=yes_cases(5))

        monitor.refresh_from_db()
        assert (monitor.status, monitor.baseline) == ("new", None)
        with pytest.raises(Conflict):
            actions.request_run(monitor=monitor, by=monitor.owner, now=NOW)

    def test_the_same_cases_again_are_no_edit(self):
        monitor = monitored(10)

        actions.change_monitor(
            monitor=monitor, by=monitor.owner, now=NOW, cases=yes_cases(10), schedule="weekly"
        )

        monitor.refresh_from_db()
        assert (monitor.status, monitor.schedule) == ("stable", "weekly")

    def test_a_new_version_is_followed_with_a_new_baseline(self):
        monitor = monitored(3)
        prompts.edit_prompt(
            prompt=monitor.prompt,
            fields=prompts.PromptFields(text="Prime or not: {{ n }}?"),
            by=monitor.owner,
            now=later(hours=1),
            based_on=None,
        )

        [run_id] = actions.follow_new_versions(now=later(hours=2))
        again = actions.follow_new_versions(now=later(hours=2))

        play(Run.objects.get(pk=run_id), Scripted("yes"), later(hours=3))
        monitor.refresh_from_db()
        assert (monitor.version.number, monitor.status, again) == (2, "stable", [])
        assert not Notification.objects.exists()

    def test_cases_that_no_longer_fit_halt_the_monitor(self):
        monitor = monitored(3)
        prompts.edit_prompt(
            prompt=monitor.prompt,
            fields=prompts.PromptFields(text="Is {{ number }} prime?"),
            by=monitor.owner,
            now=later(hours=1),
            based_on=None,
        )

        assert actions.follow_new_versions(now=later(hours=2)) == []

        monitor.refresh_from_db()
        assert (monitor.halt, monitor.status) == ("cases_do_not_fit", "new")


class TestSlots:
    def test_a_due_slot_becomes_one_run(self):
        monitor = monitored(2)
        due = monitor.next_slot

        first = runs.queue_due_runs(now=due)
        second = runs.queue_due_runs(now=due)

        monitor.refresh_from_db()
        assert (len(first), second) == (1, [])
        assert Run.objects.get(pk=first[0]).slot == due
        assert due < monitor.next_slot < due + timedelta(days=2)

    def test_after_a_standstill_only_the_newest_slot_runs(self):
        monitor = monitored(2, schedule="0 3 * * *")

        [run_id] = runs.queue_due_runs(now=later(days=4))

        ended = (
            Run.objects.filter(kind="scheduled").order_by("slot").values_list("status", "reason")
        )
        assert list(ended) == [("skipped", "missed")] * 3 + [("queued", "")]
        assert Run.objects.get(pk=run_id).slot == max(Run.objects.values_list("slot", flat=True))
        assert monitor.runs.count() == 5

    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (lambda m: None, "no_baseline"),
            (
                lambda m: type(m.target.connection).objects.update(is_enabled=False),
                "connection_off",
            ),
        ],
    )
    def test_a_slot_that_cannot_run_is_written_down_as_skipped(self, spoil, reason):
        monitor = make_monitor() if reason == "no_baseline" else monitored(2)
        spoil(monitor)

        assert runs.queue_due_runs(now=monitor.next_slot) == []

        assert list(monitor.runs.filter(kind="scheduled").values_list("status", "reason")) == [
            ("skipped", reason)
        ]

    def test_a_paused_monitor_has_no_slots(self):
        monitor = monitored(2)
        actions.change_monitor(monitor=monitor, by=monitor.owner, now=NOW, is_enabled=False)

        assert runs.queue_due_runs(now=later(days=10)) == []
        assert monitor.runs.filter(kind="scheduled").count() == 0

    @pytest.mark.django_db(transaction=True)
    def test_many_beats_at_once_queue_one_run(self):
        monitor = monitored(2)
        due = monitor.next_slot

        def beat(_):
            try:
                return runs.queue_due_runs(now=due)
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            queued = [run for runs in pool.map(beat, range(12)) for run in runs]

        assert len(queued) == 1
        assert monitor.runs.filter(slot=due).count() == 1


def test_the_worst_monitor_speaks_for_the_prompt():
    first = monitored(10)
    second = make_monitor(first.prompt, cases=yes_cases(10))
    play(actions.record_baseline(monitor=second, by=second.owner, now=NOW), Scripted("yes"))
    rerun(second, "no", later(days=1))

    assert queries.states([first.prompt_id])[first.prompt_id].status == "drifted"


def test_changed_cases_come_first_with_both_answers():
    monitor = monitored(10)
    run = rerun(
        monitor,
        lambda text: "no" if "Is 4 " in text or "Is 7 " in text or "Is 8 " in text else "yes",
        later(days=1),
    )

    changes = queries.case_changes(run)

    changed = [c.case.variables["n"] for c in changes if c.is_changed]
    assert sorted(changed) == ["4", "7", "8"]
    assert [c.case.variables["n"] for c in changes[:3]] == changed
    assert (changes[0].baseline_answer.text, changes[0].answer.text) == ("yes", "no")
    assert (changes[0].baseline_passed, changes[0].passed) == (5, 0)
