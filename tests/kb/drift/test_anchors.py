"""The judge is watched by fixed answers it was sure about, judged anew each night."""

import asyncio
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, transaction

from accounts.models import AuditEntry
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.drift import actions, anchors, grader_queries, graders
from kb.drift.grader_models import Anchor, AnchorLook, AnchorVote, Grader
from kb.llm.models import Connection, Expense, Reservation
from tests.factories import NOW, later, make_admin, make_connection, make_person, make_target
from tests.judges import Judge, access, by_length, chosen, failure, look, monitored, numbered

pytestmark = pytest.mark.django_db


def begun(says=by_length, *, count=12, nights=1):
    """A judge whose anchors were looked at so many nights; (judge, monitor, the last night)."""
    grader = chosen()
    judge = Judge(says)
    monitor = monitored(count, answer=numbered, way=access(judge=judge), baseline_repeats=1)
    for night in range(1, nights + 1):
        look(access(judge=judge), now=NOW + timedelta(days=night))
    grader.refresh_from_db()
    return grader, monitor, NOW + timedelta(days=nights)


def state(grader):
    grader.refresh_from_db()
    return grader.status


class TestChoosing:
    def test_anchors_are_answers_the_judge_was_sure_about(self):
        grader, _monitor, _now = begun()

        rows = Anchor.objects.select_related("completion")

        votes = [row.completion.verdicts[row.place] for row in rows]
        assert (rows.count(), votes.count(True), votes.count(False)) == (12, 6, 6)
        assert {row.grader for row in rows} == {grader}
        assert len({row.completion.text for row in rows}) == 12

    def test_at_most_twenty_are_chosen_and_as_many_of_each_verdict_as_can_be(self):
        begun(lambda rubric, text: "yes" if len(text) > 12 else "no", count=40)

        votes = [row.completion.verdicts[row.place] for row in Anchor.objects.all()]

        assert (len(votes), votes.count(False)) == (20, 6)

    def test_with_too_few_answers_the_judge_is_not_watched_yet(self):
        grader, _monitor, now = begun(count=9)

        assert (Anchor.objects.count(), AnchorLook.objects.count(), state(grader)) == (0, 0, "new")
        assert grader.look_due == anchors.next_night(now)

    def test_disagreements_and_very_long_answers_are_no_anchors(self):
        chosen()
        asked = []

        def fickle(rubric, text):
            asked.append(text)
            return "yes" if asked.count(text) == 1 and len(text) % 2 else "no"

        long = "x" * (anchors.LONGEST_ANCHOR + 1)
        judge = Judge(fickle)
        monitored(
            30,
            answer=lambda text: long if " 28 " in text else numbered(text),
            way=access(judge=judge),
        )

        look(access(judge=Judge("no")), now=later(days=1))

        found = Anchor.objects.select_related("completion")
        assert {row.completion.verdicts[0] for row in found} == {False}
        assert max(len(row.completion.text) for row in found) < 100

    def test_anchors_are_chosen_once(self):
        begun()
        before = list(Anchor.objects.values_list("pk", flat=True))
        judge = Judge(by_length)
        monitored(12, answer=lambda text: numbered(text) + "!!", way=access(judge=judge))

        look(access(judge=judge), now=later(days=3))

        assert list(Anchor.objects.values_list("pk", flat=True)) == before

    def test_anchors_go_with_their_prompt_and_are_chosen_anew_when_too_few_are_left(self):
        grader, monitor, _now = begun(nights=2)
        judge = Judge(by_length)
        monitored(11, answer=lambda text: numbered(text) + "!!", way=access(judge=judge))

        actions.delete_monitor(monitor=monitor, by=monitor.owner, now=NOW)
        gone = (Anchor.objects.count(), AnchorVote.objects.count())
        found = look(access(judge=judge), now=later(days=9))

        assert (gone, Anchor.objects.count()) == ((0, 0), 11)
        assert (found.verdict, state(grader)) == ("learning", "learning")


class TestLooking:
    def test_five_nights_are_learned_and_then_the_judge_is_as_usual(self):
        grader, _monitor, _now = begun(nights=7)

        verdicts = list(AnchorLook.objects.order_by("slot").values_list("verdict", flat=True))

        assert verdicts == ["learning"] * 5 + ["stable"] * 2
        assert (state(grader), grader.looked, grader.trusted) == (
            "stable",
            later(days=7),
            later(days=7),
        )
        last = AnchorLook.objects.first()
        assert last.facts == {"anchors": 12, "moved": 0, "yes_before": 0.5, "yes_now": 0.5}

    def test_every_night_each_anchor_is_judged_anew_by_two_votes(self):
        begun(nights=2)
        judge = Judge(by_length)

        look(access(judge=judge), now=later(days=5))

        assert (len(judge.asked), len(set(judge.asked))) == (24, 12)
        assert AnchorVote.objects.count() == 3 * 24

    def test_looks_cost_the_company_under_their_own_name(self):
        begun()

        expense = Expense.objects.get(reference__startswith="anchors:")

        assert (expense.calls, expense.department_id, expense.model) == (24, None, "judge")
        assert not Reservation.objects.exists()

    def test_a_night_without_the_judge_tells_nothing(self):
        grader, _monitor, now = begun()

        found = look(access(judge=Judge(failure("server"))), now=now + timedelta(days=1))

        assert (found.verdict, state(grader)) == ("incomplete", "learning")
        assert grader.looked == now
        assert grader.look_due == anchors.next_night(now + timedelta(days=1))

    def test_a_killed_worker_repeats_at_most_the_vote_under_way(self):
        begun()
        Connection.objects.update(calls_at_once=1)
        votes = []

        def dies(rubric, text):
            votes.append(text)
            return asyncio.CancelledError() if len(votes) == 9 else by_length(rubric, text)

        pk = anchors.queue_due_look(now=later(days=2))
        claimed = anchors.claim(pk, now=later(days=2))
        with pytest.raises(asyncio.CancelledError):
            async_to_sync(anchors.execute)(
                claimed, access=access(judge=Judge(dies)), clock=lambda: later(days=2)
            )
        kept = AnchorVote.objects.filter(look=pk).count()
        soon, much_later = later(days=2, seconds=30), later(days=2, seconds=60)
        waiting = [anchors.waiting_looks(now=now) for now in (soon, much_later)]
        again = Judge(by_length)
        async_to_sync(anchors.execute)(
            anchors.claim(pk, now=much_later), access=access(judge=again), clock=lambda: much_later
        )

        assert (waiting, kept + len(again.asked)) == ([[], [pk]], 24)
        assert AnchorLook.objects.get(pk=pk).verdict == "learning"

    def test_only_one_worker_takes_a_look_and_one_look_is_under_way(self):
        grader, _monitor, _now = begun()
        pk = anchors.queue_due_look(now=later(days=2))
        Grader.objects.update(look_due=later(days=2))

        first, second = (anchors.claim(pk, now=later(days=2)) for _ in range(2))

        assert (first.pk, second, anchors.queue_due_look(now=later(days=2))) == (pk, None, None)
        with pytest.raises(IntegrityError), transaction.atomic():
            AnchorLook.objects.create(grader=grader, slot=later(days=3))

    def test_a_look_whose_workers_keep_dying_ends(self):
        begun()
        pk = anchors.queue_due_look(now=later(days=2))
        for attempt in range(anchors.MOST_ATTEMPTS):
            anchors.claim(pk, now=later(days=2, hours=attempt))

        assert anchors.waiting_looks(now=later(days=3)) == []
        assert AnchorLook.objects.get(pk=pk).verdict == "incomplete"

    def test_a_switched_off_connection_is_not_looked_at(self):
        grader, _monitor, _now = begun()
        Connection.objects.filter(pk=grader.target.connection_id).update(is_enabled=False)

        assert anchors.queue_due_look(now=later(days=2)) is None

    @pytest.mark.parametrize(
        ("now", "night"),
        [
            (NOW, NOW.replace(hour=22)),
            (NOW.replace(hour=22), NOW.replace(day=3, hour=22)),
            (NOW.replace(hour=23), NOW.replace(day=3, hour=22)),
        ],
    )
    def test_nights_come_at_ten_in_the_evening(self, now, night):
        assert anchors.next_night(now) == night


class TestWhoMay:
    def test_only_administrators_of_the_company_choose_remove_and_accept(self):
        target = make_target(make_connection("openai_compatible"), "judge")
        for person in (make_person("curator"), make_person(None)):
            for act in (
                lambda person=person: graders.choose_grader(
                    role="judge", target=target, by=person, now=NOW
                ),
                lambda person=person: graders.remove_grader(role="judge", by=person, now=NOW),
                lambda person=person: graders.accept_judge(by=person, now=NOW),
            ):
                with pytest.raises(NotAllowed):
                    act()

        assert not Grader.objects.exists()

    def test_choosing_again_changes_nothing_and_another_ends_the_one_before(self):
        admin = make_admin()
        first = chosen(by=admin)
        again = graders.choose_grader(
            role="judge", target=first.target, by=admin, now=later(days=1)
        )
        second = chosen(by=admin, now=later(days=2), model="other")

        first.refresh_from_db()
        assert (again.pk, first.ended, second.ended) == (first.pk, later(days=2), None)
        assert list(
            AuditEntry.objects.filter(action="grader.chosen").values_list(
                "details__role", flat=True
            )
        ) == ["judge", "judge"]

    def test_one_grader_is_in_use_for_each_role(self):
        grader = chosen()

        with pytest.raises(IntegrityError), transaction.atomic():
            Grader.objects.create(role="judge", target=grader.target)

    @pytest.mark.parametrize(
        ("role", "fields", "said"),
        [
            ("referee", {}, "use one of: judge, embeddings"),
            ("judge", {"is_embedding": True}, "makes vectors and answers nothing"),
            ("embeddings", {}, "entered as a model that answers"),
        ],
    )
    def test_what_cannot_judge_is_refused(self, role, fields, said):
        target = make_target(make_connection("openai_compatible"), "model", **fields)

        with pytest.raises(Invalid, match=said):
            graders.choose_grader(role=role, target=target, by=make_admin(), now=NOW)

    def test_a_switched_off_connection_cannot_be_chosen(self):
        target = make_target(make_connection("openai_compatible"), "model")
        Connection.objects.update(is_enabled=False)
        target.connection.refresh_from_db()

        with pytest.raises(Invalid, match="switched off"):
            graders.choose_grader(role="judge", target=target, by=make_admin(), now=NOW)

    def test_there_is_nothing_to_accept_while_the_judge_is_as_it_was(self):
        chosen()

        with pytest.raises(Conflict, match="has not changed"):
            graders.accept_judge(by=make_admin(), now=NOW)

    def test_a_grader_that_ends_takes_its_look_along(self):
        begun()
        pk = anchors.queue_due_look(now=later(days=2))
        claimed = anchors.claim(pk, now=later(days=2))
        graders.remove_grader(role="judge", by=make_admin(), now=later(days=2))
        judge = Judge("yes")

        async_to_sync(anchors.execute)(claimed, access=access(judge=judge), clock=lambda: NOW)

        assert (judge.asked, grader_queries.judge_in_use()) == ([], None)
        assert AnchorLook.objects.get(pk=pk).verdict == "incomplete"
