from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from kb.community import actions, queries
from kb.community.actions import FollowUpFields
from kb.community.evidence import Worked
from kb.community.models import Comment, RetrospectiveLink, UsageSignal, Vote
from kb.community.tally import tally
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.notifications.models import Notification
from kb.prompts import actions as prompts
from kb.prompts.actions import PromptFields
from kb.search.models import SearchEntry
from tests.factories import NOW, later, make_department, make_person, make_prompt, make_report

pytestmark = pytest.mark.django_db


def told():
    return list(Notification.objects.order_by("pk").values_list("recipient", "kind"))


class TestVotes:
    def test_twice_is_once_and_a_vote_can_be_taken_back(self):
        prompt, person = make_prompt(), make_person("reader")

        counts = [
            actions.cast_vote(prompt=prompt, by=person, now=NOW),
            actions.cast_vote(prompt=prompt, by=person, now=NOW),
            actions.withdraw_vote(prompt=prompt, by=person, now=NOW),
            actions.withdraw_vote(prompt=prompt, by=person, now=NOW),
        ]

        assert counts == [1, 1, 0, 0]

    def test_who_may_not_read_may_not_vote(self):
        prompt = make_prompt(visibility="private")

        with pytest.raises(NotAllowed):
            actions.cast_vote(prompt=prompt, by=make_person("reader"), now=NOW)
        with pytest.raises(NotAllowed):
            actions.cast_vote(prompt=make_prompt(), by=make_person(None), now=NOW)

    @pytest.mark.django_db(transaction=True)
    def test_one_vote_each_under_any_haste(self):
        prompt, people = make_prompt(), [make_person("reader") for _ in range(3)]

        def vote(person):
            try:
                actions.cast_vote(prompt=prompt, by=person, now=NOW)
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(vote, people * 4))

        assert Vote.objects.count() == 3
        assert SearchEntry.objects.get(kind="prompt").votes == 3


class TestSignals:
    def test_a_second_click_of_the_day_corrects_the_first(self):
        prompt, person = make_prompt(), make_person("reader")

        actions.signal(prompt=prompt, outcome="worked", by=person, now=NOW)
        actions.signal(prompt=prompt, outcome="failed", by=person, now=later(hours=3))
        actions.signal(prompt=prompt, outcome="with_edits", by=person, now=later(days=1))

        assert tally([prompt.pk])[prompt.pk].current == Worked(worked=0, with_edits=1, failed=1)
        assert UsageSignal.objects.order_by("day").first().created == NOW

    def test_the_day_is_that_of_the_person(self):
        prompt, person = make_prompt(), make_person("reader")
        person.time_zone = "Asia/Tokyo"

        actions.signal(prompt=prompt, outcome="worked", by=person, now=later(hours=5))
        actions.signal(prompt=prompt, outcome="worked", by=person, now=later(hours=7))

        assert UsageSignal.objects.count() == 2

    def test_todays_click_can_be_taken_back(self):
        prompt, person = make_prompt(), make_person("reader")
        actions.signal(prompt=prompt, outcome="worked", by=person, now=NOW)

        actions.withdraw_signal(prompt=prompt, by=person, now=NOW)

        assert not UsageSignal.objects.exists()

    def test_an_unknown_outcome_is_named(self):
        with pytest.raises(Invalid) as refused:
            actions.signal(prompt=make_prompt(), outcome="great", by=make_person("reader"), now=NOW)

        assert "great" in str(refused.value)

    def test_an_older_version_keeps_its_evidence_apart(self):
        author = make_person()
        prompt = make_prompt(author)
        actions.signal(prompt=prompt, outcome="worked", by=author, now=NOW)
        prompt = prompts.edit_prompt(
            prompt=prompt, fields=PromptFields(text="New."), by=author, now=NOW, based_on=None
        )

        found = tally([prompt.pk])[prompt.pk]

        assert (found.current, found.total, found.is_from_older_versions) == (
            Worked(),
            Worked(worked=1),
            True,
        )

    def test_a_version_of_another_prompt_is_refused(self):
        with pytest.raises(Invalid):
            actions.signal(
                prompt=make_prompt(),
                outcome="worked",
                by=make_person(),
                now=NOW,
                version=make_prompt().current,
            )


class TestComments:
    def test_followers_hear_and_who_is_answered_hears_that(self):
        author, asker = make_person(), make_person("reader")
        prompt = make_prompt(author)
        question = actions.comment(prompt=prompt, text="Which tool?", by=asker, now=NOW)

        actions.comment(prompt=prompt, text="Claude.", by=author, now=NOW, parent=question)

        assert told() == [(author.pk, "commented"), (asker.pk, "replied")]

    def test_threads_are_trees_and_stay_shallow(self):
        prompt, person = make_prompt(), make_person("reader")
        comment = None
        for number in range(8):
            comment = actions.comment(
                prompt=prompt,
                text=str(number),
                by=person,
                now=later(minutes=number),
                parent=comment,
            )

        depth, threads = 0, queries.threads(prompt)
        while threads:
            depth, threads = depth + 1, [reply for thread in threads for reply in thread.replies]

        assert depth == actions.DEEPEST_REPLY + 1

    def test_a_removed_comment_stays_as_a_place_only_while_answered(self):
        prompt, person = make_prompt(), make_person("reader")
        first = actions.comment(prompt=prompt, text="First", by=person, now=NOW)
        second = actions.comment(prompt=prompt, text="Second", by=person, now=NOW, parent=first)

        actions.withdraw_comment(comment=first, by=person, now=NOW)
        with_answer = [thread.comment.text for thread in queries.threads(prompt)]
        actions.withdraw_comment(comment=second, by=person, now=NOW)

        assert (with_answer, queries.threads(prompt)) == ([""], [])

    def test_only_the_author_or_a_curator_removes(self):
        prompt = make_prompt()
        comment = actions.comment(prompt=prompt, text="Hm", by=make_person("reader"), now=NOW)

        with pytest.raises(NotAllowed):
            actions.withdraw_comment(comment=comment, by=make_person("reader"), now=NOW)
        actions.withdraw_comment(comment=comment, by=make_person("curator"), now=NOW)

        assert Comment.objects.get().withdrawn == NOW

    def test_a_text_is_rendered_safely(self):
        comment = actions.comment(
            prompt=make_prompt(),
            text="**Yes** <img src=x onerror=alert(1)>",
            by=make_person(),
            now=NOW,
        )

        assert comment.html == "<p><strong>Yes</strong> &lt;img src=x onerror=alert(1)&gt;</p>"

    @pytest.mark.parametrize("text", ["", "  \n ", "x" * 5001])
    def test_nothing_and_too_much_are_refused(self, text):
        with pytest.raises(Invalid) as refused:
            actions.comment(prompt=make_prompt(), text=text, by=make_person(), now=NOW)

        assert list(refused.value.fields) == ["text"]


class TestRetrospectives:
    def test_a_report_and_the_click_of_the_day_are_one_use(self):
        prompt, person = make_prompt(), make_person("reader")
        actions.signal(prompt=prompt, outcome="worked", by=person, now=NOW)

        make_report(prompt, person, outcome="failed")

        assert tally([prompt.pk])[prompt.pk].current == Worked(failed=1)

    @pytest.mark.parametrize(
        ("outcome", "worked"),
        [
            ("worked", Worked(worked=1)),
            ("worked_with_edits", Worked(with_edits=1)),
            ("partly", Worked(failed=1)),
            ("failed", Worked(failed=1)),
            ("harmful", Worked(failed=1)),
        ],
    )
    def test_outcomes_count_as_evidence(self, outcome, worked):
        prompt = make_prompt()

        make_report(prompt, outcome=outcome)

        assert tally([prompt.pk])[prompt.pk].current == worked
        assert SearchEntry.objects.get(kind="prompt").proven == pytest.approx(worked.lower_bound)

    @pytest.mark.parametrize(
        ("fields", "names"),
        [
            ({"title": "", "lesson": ""}, {"title", "lesson"}),
            ({"lesson": "x" * 201}, {"lesson"}),
            ({"outcome": "fine"}, {"outcome"}),
            (
                {"minutes_checking": -1, "task_familiarity": 6},
                {"minutes_checking", "task_familiarity"},
            ),
            ({"incidents": ["fire"]}, {"incidents"}),
            ({"kept_share": 33}, {"kept_share"}),
            ({"quality": "superb"}, {"quality"}),
            ({"task_date": later(days=9).date()}, {"task_date"}),
        ],
    )
    def test_answers_that_cannot_be_kept_are_named(self, fields, names):
        with pytest.raises(Invalid) as refused:
            make_report(make_prompt(), **fields)

        assert set(refused.value.fields) == names

    def test_a_report_is_read_by_whoever_reads_its_prompt(self):
        legal = make_department("legal")
        author, outsider = make_person("author", legal), make_person("reader")
        prompt = make_prompt(author, departments=[legal])
        report = make_report(prompt, author)
        seen_before = queries.reports_visible_to(outsider).count()

        prompts.edit_prompt(
            prompt=prompt,
            fields=PromptFields(visibility="departments"),
            by=author,
            now=NOW,
            based_on=None,
        )

        assert (seen_before, queries.reports_visible_to(outsider).count()) == (1, 0)
        assert SearchEntry.objects.get(kind="retrospective", object_id=report.pk).audience == (
            SearchEntry.objects.get(kind="prompt").audience
        )

    def test_a_report_without_a_prompt_is_for_the_company(self):
        make_report(None, pasted_text="Summarise this.")

        assert queries.reports_visible_to(make_person("reader")).count() == 1
        assert queries.reports_visible_to(make_person(None)).count() == 0

    def test_an_anonymous_author_is_not_named_to_followers(self):
        author = make_person()
        reporter = make_person("reader", name="Claire Secret")

        make_report(
            make_prompt(author), reporter, is_anonymous=True, department=make_department("legal")
        )

        [notification] = Notification.objects.all()
        assert notification.context["by"] == "A colleague in Legal"
        assert SearchEntry.objects.get(kind="retrospective").author_id is None

    def test_a_report_can_be_corrected_for_a_week_and_then_added_to(self):
        person = make_person()
        report = make_report(make_prompt(), person)
        fields = actions.ReportFields(
            title="Better title", lesson="Same.", outcome="partly", version=report.version
        )

        edited = actions.edit_retrospective(
            report=report, fields=fields, by=person, now=later(days=6)
        )
        with pytest.raises(NotAllowed):
            actions.edit_retrospective(report=report, fields=fields, by=person, now=later(days=8))
        added = actions.add_to_retrospective(
            report=report, text="Still true.", by=person, now=later(days=40)
        )

        assert (edited.title, edited.edited, added.html) == (
            "Better title",
            later(days=6),
            "<p>Still true.</p>",
        )

    def test_only_its_author_touches_a_report(self):
        report, other = make_report(make_prompt()), make_person("admin")

        with pytest.raises(NotAllowed):
            actions.add_to_retrospective(report=report, text="Me too", by=other, now=NOW)
        with pytest.raises(NotAllowed):
            actions.link_retrospective(
                report=report, kind="confirms", by=other, prompt=make_prompt()
            )

    def test_the_owner_of_a_follow_up_hears_of_it_and_closes_it(self):
        reporter, owner = make_person(), make_person("reader")
        report = make_report(None, reporter)

        task = actions.add_follow_up(
            report=report,
            fields=FollowUpFields("Update the prompt", owner=owner),
            by=reporter,
            now=NOW,
        )
        actions.set_follow_up_state(follow_up=task, state="done", by=owner)

        assert told() == [(owner.pk, "follow_up")]
        assert list(queries.open_follow_ups(owner)) == []
        with pytest.raises(NotAllowed):
            actions.set_follow_up_state(follow_up=task, state="open", by=make_person())

    def test_a_link_leads_to_one_thing_once(self):
        person = make_person()
        report, other = make_report(None, person), make_report(None)

        for _ in range(2):
            actions.link_retrospective(report=report, kind="contradicts", by=person, other=other)

        assert RetrospectiveLink.objects.count() == 1
        with pytest.raises(Invalid):
            actions.link_retrospective(report=report, kind="confirms", by=person)

    def test_minutes_are_shown_from_five_people_on(self):
        prompt = make_prompt()
        times = {
            "counterfactual": "by_hand",
            "minutes_preparing": 5,
            "minutes_waiting": 0,
            "minutes_checking": 10,
        }
        for minutes in (10, 20, 30, 40):
            make_report(prompt, minutes_without=minutes, **times)
        make_report(prompt, minutes_without=500, **times, is_parallel_work=True)
        below = queries.minutes(prompt)

        make_report(prompt, minutes_without=50, **times)

        summary = queries.minutes(prompt)
        assert below is None
        assert (summary.median, summary.n, summary.people) == (15, 5, 5)


class TestWishes:
    def test_a_wish_is_supported_answered_and_everybody_who_asked_hears(self):
        asker, fan, author = make_person("reader"), make_person("reader"), make_person()
        wish = actions.make_wish(
            title="Bail", text="", language="fr", department=None, by=asker, now=NOW
        )
        actions.support_wish(wish=wish, by=fan, now=NOW)
        actions.support_wish(wish=wish, by=fan, now=NOW)
        count = queries.open_wishes(asker).get().support_count

        actions.answer_wish(wish=wish, prompt=make_prompt(author), by=author, now=NOW)

        assert count == 2
        assert sorted(told()) == sorted([(asker.pk, "wish_answered"), (fan.pk, "wish_answered")])
        assert list(queries.open_wishes(asker)) == []
        with pytest.raises(Conflict):
            actions.answer_wish(wish=wish, prompt=make_prompt(author), by=author, now=NOW)

    def test_a_draft_answers_nothing(self):
        author = make_person()
        wish = actions.make_wish(
            title="Bail", text="", language="fr", department=None, by=author, now=NOW
        )

        with pytest.raises(Invalid):
            actions.answer_wish(
                wish=wish, prompt=make_prompt(author, status="draft"), by=author, now=NOW
            )

    def test_an_answer_is_shown_to_those_who_may_read_it(self):
        legal = make_department("legal")
        author, outsider = make_person("author", legal), make_person("reader")
        wish = actions.make_wish(
            title="Bail", text="", language="fr", department=None, by=outsider, now=NOW
        )
        prompt = make_prompt(author, departments=[legal], visibility="departments")

        actions.answer_wish(wish=wish, prompt=prompt, by=author, now=NOW)

        assert (
            queries.answered_wishes(author).count(),
            queries.answered_wishes(outsider).count(),
        ) == (1, 0)
        assert told() == []
