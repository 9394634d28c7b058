"""A judge that changes is suspended until somebody accepts it, and no prompt is blamed for it."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import translation

from accounts.models import AuditEntry
from kb.core.errors import Conflict
from kb.drift import actions, anchors, assessing, graders, judging, queries, runs
from kb.drift.grader_models import Grader
from kb.drift.models import Monitor, Run
from kb.notifications.models import Notification
from tests.factories import NOW, make_admin, make_person
from tests.judges import (
    Judge,
    access,
    by_length,
    chosen,
    failure,
    look,
    monitored,
    numbered,
    rerun,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def learned(django_db_setup, django_db_blocker):
    """A judge that has been looked at for five nights, and a monitor it judges for: made once."""
    with django_db_blocker.unblock(), transaction.atomic(), translation.override("en"):
        grader = chosen()
        judge = Judge(by_length)
        monitor = monitored(10, answer=numbered, way=access(judge=judge))
        for night in range(1, anchors.BASELINE_LOOKS + 1):
            look(access(judge=judge), now=NOW + timedelta(days=night))
        yield grader.pk, monitor.pk
        transaction.set_rollback(True)


@pytest.fixture
def watched(learned):
    """The judge, the monitor, and the last night it was looked at."""
    grader, monitor = learned
    return (
        Grader.objects.select_related("target__connection").get(pk=grader),
        Monitor.objects.select_related("owner", "prompt", "target__connection").get(pk=monitor),
        NOW + timedelta(days=anchors.BASELINE_LOOKS),
    )


def state(grader):
    grader.refresh_from_db()
    return grader.status


class TestAChangedJudge:
    @pytest.fixture
    def change(self, watched):
        """Lets the judge change; gives the judge, the monitor, and when."""
        return lambda says="no": self.changed(watched, says)

    def changed(self, watched, says):
        grader, monitor, now = watched
        first = look(access(judge=Judge(says)), now=now + timedelta(days=1))
        second = look(access(judge=Judge(says)), now=now + timedelta(days=1, hours=2))
        assert (first.verdict, second.verdict, second.is_confirmation) == (
            "suspect",
            "changed",
            True,
        )
        return grader, monitor, now + timedelta(days=1, hours=2)

    def test_it_is_suspected_asked_again_and_suspended(self, change):
        grader, _monitor, now = change()

        assert (state(grader), grader.look_due) == ("changed", None)
        assert grader.status_since == now

    @pytest.mark.parametrize(
        "says",
        [
            lambda rubric, text: "no" if by_length(rubric, text) == "yes" else "yes",
            "Certainly! The text is polite.",
        ],
    )
    def test_votes_the_other_way_round_and_chatter_are_changes_too(self, change, says):
        grader, _monitor, _now = change(says)

        assert state(grader) == "changed"

    def test_who_can_act_is_told_once(self, change):
        admin, _other = make_admin(), make_person("curator")
        admins = set(Notification.objects.none()) | {admin.pk}

        grader, _monitor, now = change()
        graders.ask_for_look(now=now)
        assert look(access(judge=Judge("no")), now=now + timedelta(days=1)) is None

        told = Notification.objects.filter(kind="judge_changed")
        assert admins <= set(told.values_list("recipient", flat=True))
        assert {row.recipient.memberships.get().role for row in told} == {"admin"}
        assert {(row.path, row.key) for row in told} == {
            ("/connections/graders/", f"judge:{grader.pk}")
        }
        assert len(set(told.values_list("recipient", flat=True))) == told.count()

    def test_what_it_said_since_it_was_last_beyond_doubt_is_taken_back(self, watched):
        grader, monitor, now = watched
        kept = rerun(monitor, numbered, way=access(judge=Judge(by_length)), now=now)
        strict = access(judge=Judge("no"))
        night = rerun(
            monitor, lambda text: numbered(text) + "!!", way=strict, now=now + timedelta(hours=1)
        )
        before = {row.is_passed for row in night.completions.filter(session=0)}

        look(strict, now=now + timedelta(days=1))
        look(strict, now=now + timedelta(days=1, hours=2))

        rows = night.completions.filter(session=0)
        assert (before, {row.is_passed for row in rows}) == ({False}, {None})
        assert rows[0].not_judged == [{"code": "judge_changed", "params": {}}]
        assert {row.is_passed for row in kept.completions.all()} == {True, False}
        assert state(grader) == "changed"

    def test_it_is_not_asked_any_more_and_its_rules_are_not_judged(self, change):
        _grader, monitor, now = change()
        judge = Judge("no")

        run = rerun(monitor, numbered, way=access(judge=judge), now=now + timedelta(hours=1))

        assert judge.asked == []
        assert run.completions.first().not_judged == [{"code": "judge_changed", "params": {}}]
        assert (run.report.verdict, run.report.pass_rate) == ("stable", None)
        assert run.report.facts["without_judge"] == "changed"

    def test_accepted_it_begins_anew_with_the_same_anchors_and_usual_answers_are_judged_anew(
        self, change
    ):
        before, monitor, now = change()
        admin = make_admin()
        answers = set(before.anchors.values_list("completion", flat=True))

        after = graders.accept_judge(by=admin, now=now + timedelta(hours=1))
        run = rerun(monitor, numbered, way=access(judge=Judge("no")), now=now + timedelta(hours=2))
        first = look(access(judge=Judge("no")), now=now + timedelta(hours=3))

        assert (
            after.target,
            after.status,
            set(after.anchors.values_list("completion", flat=True)),
        ) == (
            before.target,
            "new",
            answers,
        )
        assert (run.report.verdict, run.report.pass_rate_baseline, run.report.pass_rate) == (
            "stable",
            0.0,
            0.0,
        )
        assert first.verdict == "learning"
        assert AuditEntry.objects.filter(action="judge.accepted", actor=admin).exists()

    def test_a_suspicion_that_is_not_seen_again_was_chance(self, watched):
        grader, _monitor, now = watched
        look(access(judge=Judge("no")), now=now + timedelta(days=1))
        doubted = state(grader)

        look(access(judge=Judge(by_length)), now=now + timedelta(days=1, hours=2))

        assert (doubted, state(grader)) == ("suspect", "stable")
        assert not Notification.objects.filter(kind="judge_changed").exists()

    def test_while_it_is_in_doubt_what_it_says_is_left_aside(self, watched):
        _grader, monitor, now = watched
        strict = access(judge=Judge("no"))
        look(strict, now=now + timedelta(days=1))

        run = rerun(
            monitor,
            lambda text: numbered(text) + ".",
            way=strict,
            now=now + timedelta(days=1, hours=1),
        )

        assert run.report.facts["without_judge"] == "suspect"
        assert run.report.pass_rate is None
        assert (queries.pass_rate(run), queries.history(monitor, 1)[0].pass_rate) == (None, None)
        assert {(c.passed, c.judged) for c in queries.case_changes(run)} == {(0, 0)}


class TestPromptsAreNotBlamed:
    """An alarm that only the judge sees waits for a look at the judge."""

    @pytest.fixture
    def alarmed(self, watched):
        """A prompt whose answers are as ever, judged otherwise: judge, monitor, run, when."""
        grader, monitor, now = watched
        now += timedelta(hours=1)
        # The same texts are remembered; other texts of the same kind are judged anew.
        run = rerun(
            monitor,
            numbered,
            way=access(judge=Judge("no")),
            now=now,
        )
        return grader, monitor, run, now

    @pytest.fixture(autouse=True)
    def _nothing_remembered(self, monkeypatch):
        """As if every answer were worded anew, while its texts stay what they were."""
        monkeypatch.setattr(judging.Remembered, "once", lambda self, question, ask: ask())

    def test_the_comparison_waits_and_the_judge_is_looked_at(self, alarmed):
        grader, monitor, run, now = alarmed

        grader.refresh_from_db()
        assert (run.status, run.assessed, run.awaits_judge) == ("done", None, True)
        assert (monitor.status, grader.look_due) == ("stable", now)
        assert runs.unassessed_runs(now=now + timedelta(minutes=1)) == []

    def test_the_next_night_waits_for_its_turn(self, alarmed):
        _grader, monitor, run, now = alarmed

        with pytest.raises(Conflict, match=f"Run {run.pk} of this monitor has not ended yet"):
            actions.request_run(monitor=monitor, by=monitor.owner, now=now + timedelta(minutes=5))

        Monitor.objects.filter(pk=monitor.pk).update(next_slot=now + timedelta(minutes=1))
        assert runs.queue_due_runs(now=now + timedelta(minutes=5)) == []
        assert monitor.runs.order_by("-slot").first().reason == "still_running"

    def test_a_judge_that_has_changed_is_in_doubt_and_the_prompt_is_as_it_was(self, alarmed):
        grader, monitor, _run, now = alarmed
        look(access(judge=Judge("no")), now=now + timedelta(minutes=1))

        [waiting] = runs.unassessed_runs(now=now + timedelta(minutes=2))
        report = assessing.assess(waiting, now=now + timedelta(minutes=2))

        monitor.refresh_from_db()
        assert (state(grader), report.verdict, monitor.status) == ("suspect", "stable", "stable")
        assert report.facts["without_judge"] == "suspect"
        assert not Notification.objects.filter(kind="drifted").exists()

    def test_a_judge_as_usual_is_believed_and_the_drift_is_told(self, alarmed):
        grader, monitor, run, now = alarmed
        look(access(judge=Judge(by_length)), now=now + timedelta(minutes=1))

        [waiting] = runs.unassessed_runs(now=now + timedelta(minutes=2))
        report = assessing.assess(waiting, now=now + timedelta(minutes=2))

        monitor.refresh_from_db()
        assert (state(grader), report.verdict, monitor.status) == ("stable", "drifted", "drifted")
        assert Run.objects.get(pk=run.pk).awaits_judge is False

    def test_a_judge_that_cannot_be_looked_at_is_not_believed(self, alarmed):
        _grader, _monitor, _run, now = alarmed
        look(access(judge=Judge(failure("server"))), now=now + timedelta(minutes=1))
        too_soon = runs.unassessed_runs(now=now + timedelta(minutes=29))

        [waiting] = runs.unassessed_runs(now=now + timedelta(minutes=31))
        report = assessing.assess(waiting, now=now + timedelta(minutes=31))

        assert (too_soon, report.verdict) == ([], "stable")
        assert report.facts["without_judge"] == "unchecked"

    def test_what_the_texts_say_by_themselves_waits_for_nobody(self, watched):
        _grader, monitor, now = watched

        run = rerun(
            monitor,
            "Something else entirely.",
            way=access(judge=Judge("no")),
            now=now + timedelta(hours=1),
        )

        assert (run.report.verdict, monitor.status) == ("drifted", "drifted")

    def test_a_judge_that_was_just_looked_at_is_not_looked_at_again(self, alarmed):
        grader, _monitor, run, now = alarmed
        look(access(judge=Judge(by_length)), now=now + timedelta(minutes=1))
        assessing.assess(run.pk, now=now + timedelta(minutes=2))

        grader.refresh_from_db()
        assert grader.look_due == anchors.next_night(now)
