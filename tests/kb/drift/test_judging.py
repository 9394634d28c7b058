"""Answers of runs, judged by the models chosen for it: who is asked, who pays, what is kept."""

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from asgiref.sync import async_to_sync

from kb.core.errors import Invalid
from kb.drift import actions, assessing, graders, judging, runs
from kb.drift.actions import CaseFields
from kb.drift.detector import Case, look
from kb.drift.grader_models import RememberedVote
from kb.drift.models import Completion, Run
from kb.llm import actions as llm
from kb.llm.models import Connection, Expense, Reservation, Tally
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
)
from tests.judges import (
    RUBRIC,
    SIMILAR,
    Embedder,
    Judge,
    access,
    chosen,
    execute,
    failure,
    monitored,
    play,
    rerun,
    rubric_cases,
    vote,
)
from tests.pages.reruns import reply

pytestmark = pytest.mark.django_db


def verdicts(run):
    return [
        (row.verdicts, row.is_passed, [why and why["code"] for why in row.not_judged])
        for row in run.completions.all()
    ]


def spent(run):
    return Expense.objects.filter(reference=judging.reference_of(run))


class TestVerdicts:
    def test_two_votes_that_agree_are_kept_with_the_name_of_the_judge(self):
        judge, grader = Judge(lambda rubric, text: "yes" if "yes" in text else "no"), chosen()
        monitor = monitored(2, way=access(judge=judge))

        run = rerun(
            monitor,
            lambda text: "yes 0" if "0" in text else "No.",
            way=access(judge=judge),
            now=later(days=1),
        )

        assert verdicts(run)[0] == ([True], True, [None])
        assert verdicts(run)[1] == ([False], False, [None])
        assert {tuple(row.graders.items()) for row in run.completions.all()} == {
            (("llm-rubric", grader.name),)
        }
        assert {row.judged for row in run.completions.all()} == {later(days=1)}
        assert Counter(judge.asked)[("Is polite.", "yes 0")] == 2

    def test_rules_on_the_text_and_rules_of_models_stand_side_by_side(self):
        chosen()
        rules = [{"type": "contains", "value": "yes"}, RUBRIC, {**RUBRIC, "type": "not-llm-rubric"}]
        monitor = monitored(1, *rules, way=access(judge=Judge("yes")))

        run = rerun(monitor, "yes", way=access(judge=Judge("yes")), now=later(days=1))

        assert verdicts(run) == [([True, True, False], False, [None, None, None])]

    def test_meanings_are_compared_by_the_embeddings_model(self):
        chosen("embeddings")
        near = Embedder(lambda text: (1.0, 0.0) if "yes" in text else (0.0, 1.0))
        monitor = monitored(2, SIMILAR, way=access(embedder=near))

        run = rerun(
            monitor,
            lambda text: "yes, sure" if "0" in text else "no",
            way=access(embedder=near),
            now=later(days=1),
        )

        assert [row[0] for row in verdicts(run)] == [[True], [False]]
        assert near.asked.count(("yes", "yes, sure")) == 1

    @pytest.mark.parametrize(
        ("says", "code", "params"),
        [
            (failure("timeout"), "judge_away", {"kind": "timeout"}),
            (failure("auth", permanent=True), "judge_away", {"kind": "auth"}),
            ("I think it is polite.", "judge_unclear", {}),
            (vote("yes", finish="length"), "judge_unclear", {}),
        ],
    )
    def test_a_judge_in_trouble_is_neither_a_failure_nor_drift(self, says, code, params):
        chosen()
        monitor = monitored(10, way=access(judge=Judge("yes")))

        run = rerun(monitor, "Yes indeed", way=access(judge=Judge(says)), now=later(days=1))

        assert {row.is_passed for row in run.completions.all()} == {None}
        assert run.completions.first().not_judged == [{"code": code, "params": params}]
        assert (run.status, run.report.pass_rate, run.report.direction) == ("done", None, "changed")

    def test_a_night_without_the_judge_is_stable_by_everything_else(self):
        chosen()
        monitor = monitored(10, way=access(judge=Judge("yes")))

        run = rerun(monitor, "yes", way=access(judge=Judge(failure("server"))), now=later(days=1))

        # The same answers were judged before, so nobody was asked.
        assert (run.report.verdict, run.report.pass_rate) == ("stable", 1.0)
        RememberedVote.objects.all().delete()
        run = rerun(monitor, "yes", way=access(judge=Judge(failure("server"))), now=later(days=2))
        assert (run.report.verdict, run.report.pass_rate, monitor.status) == (
            "stable",
            None,
            "stable",
        )

    def test_two_votes_that_disagree_are_no_verdict(self):
        chosen()
        votes = {}

        def fickle(rubric, text):
            votes[text] = votes.get(text, 0) + 1
            return "yes" if votes[text] == 1 else "no"

        monitor = monitored(1, way=access(judge=Judge(fickle)))

        [row] = Completion.objects.filter(run__monitor=monitor)[:1]
        assert (row.verdicts, row.is_passed) == ([None], None)
        assert row.not_judged == [{"code": "judges_disagree", "params": {}}]

    def test_without_a_whole_answer_no_model_is_asked(self):
        chosen()
        judge = Judge("yes")
        monitor = monitored(2, way=access(judge=judge))
        judge.asked.clear()

        run = rerun(monitor, reply("Cut sho", "length"), way=access(judge=judge), now=later(days=1))

        assert (judge.asked, {row.judged for row in run.completions.all()}) == ([], {None})

    def test_worse_answers_are_told_by_the_judge(self):
        chosen()
        judge = Judge(lambda rubric, text: "no" if "rude" in text else "yes")
        monitor = monitored(10, way=access(judge=judge))

        run = rerun(monitor, "rude", way=access(judge=judge), now=later(days=1))

        assert (run.report.verdict, run.report.direction, run.report.pass_rate) == (
            "drifted",
            "worse",
            0.0,
        )


class TestOnceOnly:
    def test_the_same_answer_is_judged_once_in_a_baseline_and_in_later_nights(self):
        chosen()
        judge = Judge("yes")
        monitor = monitored(3, way=access(judge=judge))
        in_baseline = len(judge.asked)

        run = rerun(monitor, "yes", way=access(judge=judge), now=later(days=1))

        assert (in_baseline, len(judge.asked)) == (2, 2)  # fifteen answers, all alike
        assert [row[0] for row in verdicts(run)] == [[True]] * 3
        assert not spent(run).exists()

    def test_a_killed_worker_repeats_at_most_the_vote_under_way(self):
        chosen()
        monitor = make_monitor(cases=rubric_cases(1), baseline_repeats=1)
        run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)
        votes = []

        def dies(rubric, text):
            votes.append(text)
            return asyncio.CancelledError() if len(votes) == 2 else "yes"

        with pytest.raises(asyncio.CancelledError):
            execute(run, way=access(judge=Judge(dies)))
        left = Completion.objects.get()
        runs.reclaim_lost_runs(now=later(hours=1))
        answered = []

        def never(text):
            answered.append(text)
            return "yes"

        again = Judge("yes")
        ended = play(run, never, way=access(judge=again), now=later(hours=1))

        assert (left.judged, left.is_passed) == (None, None)
        assert (answered, len(again.asked)) == ([], 1)
        assert (ended.status, Completion.objects.get().is_passed) == ("done", True)
        # What the dead worker had under way counts as spent.
        assert sum(spent(run).values_list("calls", flat=True)) == 3
        assert not Reservation.objects.exists()

    def test_a_worker_that_lost_its_run_writes_no_verdict(self):
        chosen()
        monitor = make_monitor(cases=rubric_cases(1), baseline_repeats=1)
        run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)
        stale = runs.claim(run.pk, now=NOW)
        runs.reclaim_lost_runs(now=NOW + timedelta(minutes=5))
        runs.claim(run.pk, now=later(minutes=5))
        Completion.objects.create(
            run=run, case=monitor.cases.get(), outcome="answered", text="yes", verdicts=[None]
        )
        judge = Judge("yes")

        async_to_sync(runs.execute)(
            stale, provider=judge, clock=lambda: NOW, access=access(judge=judge)
        )

        assert judge.asked == []

    def test_two_runs_of_one_worker_ask_about_the_same_answer_once(self):
        chosen()
        judge = Judge("yes")
        way = access(judge=judge)
        first, second = (make_monitor(cases=rubric_cases(1), baseline_repeats=1) for _ in range(2))
        claimed = [
            runs.claim(
                actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW).pk, now=NOW
            )
            for monitor in (first, second)
        ]

        class Yes:
            async def complete(self, request, *, deadline, gate=None):
                return reply("yes")

        async def both():
            await asyncio.gather(
                *(
                    runs.execute(run, provider=Yes(), clock=lambda: NOW, access=way)
                    for run in claimed
                )
            )

        async_to_sync(both)()

        assert len(judge.asked) == 2
        assert set(Completion.objects.values_list("is_passed", flat=True)) == {True}


class TestMoney:
    def test_judging_is_paid_by_the_department_under_the_name_of_the_run(self):
        legal = make_department("legal")
        grader = chosen()
        llm.save_price(
            connection=grader.target.connection,
            model=grader.target.model,
            input_per_million=Decimal(1_000),
            output_per_million=Decimal(2_000),
            currency="EUR",
            by=make_admin(),
        )
        author = make_person("author", legal)
        prompt = make_prompt(author, text="Is {{ n }} prime?", departments=[legal])
        monitor = make_monitor(prompt, cases=rubric_cases(1), baseline_repeats=1)
        run = actions.record_baseline(monitor=monitor, by=author, now=NOW)

        play(run, way=access(judge=Judge("yes")))

        expense = spent(run).get()
        assert (expense.model, expense.department_id, expense.currency) == (
            "judge",
            legal.pk,
            "EUR",
        )
        assert (expense.calls, expense.input_tokens, expense.output_tokens) == (2, 400, 20)
        assert expense.cost == Decimal("0.44")
        assert set(Tally.objects.filter(unit="EUR").values_list("spent", "reserved")) == {
            (Decimal("0.44"), 0)
        }

    def test_no_vote_is_taken_that_a_cap_does_not_cover(self):
        grader = chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        llm.save_cap(
            by=make_admin(),
            period="month",
            unit="calls",
            most=Decimal(2),
            connection=grader.target.connection,
        )
        judge = Judge("yes")

        run = rerun(monitor, "Something new", way=access(judge=judge), now=later(days=1))

        assert (judge.asked, run.status) == ([], "done")
        assert run.completions.first().not_judged == [
            {"code": "judge_away", "params": {"kind": "over_budget"}}
        ]
        assert not Reservation.objects.exists()

    def test_votes_are_reserved_by_what_votes_had_so_far(self):
        grader = chosen()
        before = judging.usual_vote_tokens(grader)

        monitored(2, way=access(judge=Judge("yes")))

        assert (before, judging.usual_vote_tokens(grader)) == (100, 10)

    def test_a_switched_off_judge_is_not_asked_again(self):
        grader = chosen()
        monitor = monitored(5, way=access(judge=Judge("yes")))
        Connection.objects.filter(pk=grader.target.connection_id).update(calls_at_once=1)

        def switch_off(rubric, text):
            Connection.objects.filter(pk=grader.target.connection_id).update(is_enabled=False)
            return "yes"

        class Off(Judge):
            async def complete(self, request, *, deadline, gate=None):
                reply = await super().complete(request, deadline=deadline, gate=gate)
                await Connection.objects.filter(pk=grader.target.connection_id).aupdate(
                    is_enabled=False
                )
                return reply

        judge = Off("yes")
        run = rerun(monitor, lambda text: f"new {text}", way=access(judge=judge), now=later(days=1))

        assert (len(judge.asked), run.status) == (1, "done")
        assert {row.not_judged[0]["params"]["kind"] for row in run.completions.all()} == {
            "cancelled"
        }

    def test_a_judge_whose_key_cannot_be_opened_is_away(self):
        chosen()
        monitor = monitored(1, way=access(judge=Judge("yes")))

        def refuse(connection):
            raise failure("auth", permanent=True)

        run = rerun(monitor, "new", way=access(opens=refuse), now=later(days=1))

        assert run.completions.get().not_judged == [
            {"code": "judge_away", "params": {"kind": "auth"}}
        ]


class TestAnotherGrader:
    def test_usual_answers_are_judged_anew_with_the_next_run(self):
        chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        second = chosen(now=later(hours=1), model="stricter")
        strict = Judge("no")

        run = rerun(monitor, "yes", way=access(judge=strict), now=later(days=1))

        assert set(Completion.objects.values_list("is_passed", flat=True)) == {False}
        assert {row.graders["llm-rubric"] for row in Completion.objects.all()} == {second.name}
        assert (run.report.verdict, run.report.pass_rate, run.report.pass_rate_baseline) == (
            "stable",
            0.0,
            0.0,
        )

    def test_what_another_judge_said_of_other_nights_is_left_aside(self):
        chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        night = rerun(monitor, "yes", way=access(judge=Judge("yes")), now=later(days=1))
        chosen(now=later(days=1, hours=1), model="stricter")

        run = rerun(monitor, "yes", way=access(judge=Judge("no")), now=later(days=2))

        assert {row.is_passed for row in night.completions.all()} == {True}
        assert run.report.pass_rate_baseline == 0.0

    def test_what_could_not_be_judged_in_the_baseline_is_judged_with_the_next_run(self):
        chosen()
        monitor = monitored(2, way=access(judge=Judge(failure("server"))))
        before = set(Completion.objects.values_list("is_passed", flat=True))

        run = rerun(monitor, "yes", way=access(judge=Judge("yes")), now=later(days=1))

        assert before == {None}
        assert (run.report.pass_rate_baseline, run.report.pass_rate) == (1.0, 1.0)

    def test_a_disagreement_in_the_baseline_is_not_asked_about_again(self):
        chosen()
        said = iter(["yes", "no"])
        monitor = monitored(1, way=access(judge=Judge(lambda rubric, text: next(said))))
        judge = Judge("yes")

        rerun(monitor, "yes", way=access(judge=judge), now=later(days=1))

        assert judge.asked == []

    def test_without_a_judge_its_rules_are_not_judged(self):
        grader = chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        graders.remove_grader(role="judge", by=make_admin(), now=later(hours=1))
        judge = Judge("yes")

        run = rerun(monitor, "yes", way=access(judge=judge), now=later(days=1))

        assert judge.asked == []
        assert run.completions.first().not_judged == [{"code": "needs_a_model", "params": {}}]
        assert (run.report.verdict, run.report.pass_rate_baseline) == ("stable", None)
        assert judging.forget_votes() == 2
        assert grader.role == "judge"


class TestSettingUp:
    @pytest.mark.parametrize(
        ("rule", "missing"), [(RUBRIC, "a model that judges"), (SIMILAR, "an embeddings model")]
    )
    def test_a_rule_nobody_can_judge_is_refused_with_who_can_help(self, rule, missing):
        with pytest.raises(Invalid) as refused:
            make_monitor(cases=rubric_cases(1, rule))

        assert list(refused.value.fields) == ["cases.0"]
        said = str(refused.value)
        assert missing in said
        assert "An administrator of the company chooses one under Connections" in said

    def test_rules_that_are_there_already_may_stay_when_the_judge_is_gone(self):
        chosen()
        monitor = make_monitor(cases=rubric_cases(2))
        graders.remove_grader(role="judge", by=make_admin(), now=NOW)

        changed = actions.change_monitor(
            monitor=monitor,
            by=monitor.owner,
            now=NOW,
            schedule="weekly",
            cases=[*rubric_cases(2), CaseFields("more", {"n": "7"}, [RUBRIC])],
        )

        assert (changed.schedule, changed.cases.filter(is_retired=False).count()) == ("weekly", 3)
        with pytest.raises(Invalid, match="embeddings model"):
            actions.change_monitor(
                monitor=monitor, by=monitor.owner, now=NOW, cases=rubric_cases(1, SIMILAR)
            )


class TestWhatItTakes:
    def test_a_run_asks_nothing_more_than_its_rules_need(self):
        """Monitors without such rules pay nothing, in calls or in time."""
        chosen()
        judge = Judge("yes")
        monitor = monitored(2, {"type": "contains", "value": "yes"}, way=access(judge=judge))

        run = rerun(monitor, "yes", way=access(judge=judge), now=later(days=1))

        assert (judge.asked, run.report.verdict) == ([], "stable")
        assert {row.judged for row in run.completions.all()} == {None}

        def never(connection):
            raise AssertionError("Nobody opens a judge that is not needed.")

        assert rerun(monitor, "yes", way=access(opens=never), now=later(days=2)).status == "done"

    def test_assessing_again_gives_the_same(self):
        chosen()
        monitor = monitored(3, way=access(judge=Judge("yes")))
        run = rerun(monitor, "yes", way=access(judge=Judge("yes")), now=later(days=1))

        assert assessing.assess(run.pk, now=later(days=2)) is None
        assert Run.objects.get(pk=run.pk).report == run.report

    @pytest.mark.parametrize("cases", [1, 2, 40])
    def test_answers_that_differ_in_missing_verdicts_alone_are_no_evidence(self, cases):
        verdicts = np.array([[1.0]] * 5 + [[np.nan]])

        found = look([Case(["yes"] * 6, 1, verdicts) for _ in range(cases)], seed=1)

        assert (found.p, found.cases, found.channels) == (1.0, (1.0,) * cases, {})
