from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError

from kb.drift import actions, queries
from kb.drift.assertions import TYPES, Facts, Reason
from kb.drift.models import Baseline, DriftReport, Monitor, Run
from kb.drift.suggest import NAMED_PATTERNS
from kb.forms import check_words
from kb.forms.drift import (
    CaseDraft,
    Draft,
    RuleDraft,
    Setup,
    cron_problem,
    draft_of_rule,
    item_of_rule,
)
from kb.llm import actions as llm
from kb.prompts import actions as prompts
from kb.prompts.template import Variable
from kb.tasks import drift as tasks
from kb.views import drift_words
from kb.views.charts import pass_rate_chart
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_report,
    make_target,
)
from tests.pages.reruns import (
    failure,
    monitored,
    nightly,
    play,
    reply,
    rerun,
    words,
    yes_cases,
)

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"), name="Ada Author")
    client.force_login(person)
    return person


@pytest.fixture
def prompt(author):
    return make_prompt(author, title="Primes", text="Is {{ n }} prime?")


@pytest.fixture
def colleague():
    return make_person("author", make_department("sales"), name="Carl Colleague")


def usable(kind):
    """An assertion of this kind with what it needs."""
    item = {
        "type": kind,
        "value": {
            "word-count": 3,
            "finish-reason": "stop",
            **dict.fromkeys(
                ("is-json", "contains-json", "is-xml", "is-refusal", "latency", "cost")
            ),
        }.get(kind, "a"),
        "threshold": {"latency": 5_000, "cost": 0.5}.get(kind),
    }
    return {name: value for name, value in item.items() if value is not None}


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def queries_of(client, path):
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def show(client, monitor):
    return client.get(reverse("monitor", args=[monitor.pk]))


def hidden_from(client, monitor, person):
    client.force_login(person)
    return [
        client.get(reverse("monitor", args=[monitor.pk])).status_code,
        client.post(reverse("monitor-baseline", args=[monitor.pk])).status_code,
    ]


class TestTheList:
    def test_trouble_comes_first_with_rates_and_counts(self, client, author, prompt):
        quiet = monitored(prompt=prompt)
        rerun(quiet, "yes", later(days=1))
        drifted = monitored(10, prompt=make_prompt(author, title="Sums", text="Is {{ n }} even?"))
        rerun(drifted, "no", later(days=1))
        fresh = make_monitor(make_prompt(author, title="New", text="{{ n }}?"))

        response = client.get(reverse("monitors"))

        assert [row.monitor for row in response.context["rows"]] == [drifted, fresh, quiet]
        assert response.context["counts"] == {
            "drifted": 1,
            "suspect": 0,
            "halted": 0,
            "new": 1,
            "learning": 0,
            "stable": 1,
            "incomplete": 0,
            "over_budget": 0,
        }
        assert response.context["total"] == 3
        assert "0% pass now, 100% usually" in words(response)

    def test_a_state_and_a_department_narrow_it_down(self, client, author):
        legal, sales = make_department("legal"), make_department("sales")
        rows = [
            make_monitor(make_prompt(author, text="{{ n }}", departments=[place]))
            for place in (legal, sales)
        ]

        found = [
            [row.monitor for row in client.get(reverse("monitors"), query).context["rows"]]
            for query in (
                {"department": "legal"},
                {"state": "new", "department": "sales"},
                {"state": "stable"},
                {"state": "nonsense", "department": "nowhere"},
            )
        ]

        assert found == [rows[:1], rows[1:], [], rows[::-1]]

    def test_a_model_narrows_it_down(self, client, author, prompt):
        account = make_connection()
        one, other = (
            make_monitor(prompt, make_target(account, model))
            for model in ("simulated-stable", "simulated-drifting")
        )

        found = [
            [
                row.monitor
                for row in client.get(reverse("monitors"), {"model": name}).context["rows"]
            ]
            for name in ("simulated-stable", "simulated-drifting", "unheard-of")
        ]

        assert found == [[one], [other], [other, one]]

    def test_what_could_not_be_checked_or_paid_is_counted_beside_the_states(
        self, client, author, prompt
    ):
        poor, once, often = (monitored(5, prompt=prompt) for _ in range(3))
        nightly(poor, failure("over_budget"), later(days=1))
        nightly(once, failure("server"), later(days=1))
        for day in (1, 2, 3):
            nightly(often, failure("auth"), later(days=day))

        pages = [
            client.get(reverse("monitors"), {"state": name})
            for name in ("incomplete", "over_budget")
        ]

        assert [[row.monitor for row in page.context["rows"]] for page in pages] == [
            [often, once],
            [poor],
        ]
        counts = pages[0].context["counts"]
        assert {name: count for name, count in counts.items() if count} == {
            "stable": 3,
            "incomplete": 2,
            "over_budget": 1,
        }
        text = words(pages[0])
        assert "Could not be checked" in text
        assert "Incomplete" in text
        assert "The provider refused the key." in text
        assert "Over budget" in words(pages[1])

    def test_a_learning_monitor_tells_how_far_it_has_come(self, client, author, prompt):
        monitor = make_monitor(prompt, cases=yes_cases(3))
        client.post(reverse("monitor-learn", args=[monitor.pk]))
        monitor.refresh_from_db()
        nightly(monitor, "yes", later(days=1))

        response = client.get(reverse("monitors"), {"state": "learning"})

        assert "1 of 5 nights learned" in words(response)

    def test_open_incidents_stand_on_top_and_the_yearly_budget_is_told(
        self, client, author, prompt
    ):
        drifted = monitored(10, prompt=prompt)
        rerun(drifted, "no", later(days=1))

        text = words(client.get(reverse("monitors")))

        assert "Open incidents All incidents A prompt changed on simulated-stable" in text
        assert "about 1 false alarm a year is to be expected at most" in text

    def test_a_halted_monitor_is_counted_as_halted_and_nothing_else(self, client, author, prompt):
        monitor = make_monitor(prompt)
        Monitor.objects.filter(pk=monitor.pk).update(halt="cases_do_not_fit")

        counts = client.get(reverse("monitors")).context["counts"]

        assert {state: count for state, count in counts.items() if count} == {"halted": 1}

    def test_what_one_may_not_read_is_not_counted(self, client, author, colleague):
        secret = make_prompt(
            author,
            text="{{ n }}",
            visibility="departments",
            departments=[make_department("legal")],
        )
        monitor = make_monitor(secret)
        client.force_login(colleague)

        response = client.get(reverse("monitors"))

        assert (response.context["total"], hidden_from(client, monitor, colleague)) == (
            0,
            [404, 404],
        )

    def test_without_a_model_an_administrator_is_led_to_add_one(self, client, author):
        pages = []
        for person in (author, make_admin()):
            client.force_login(person)
            pages.append(client.get(reverse("monitors")).content.decode())

        assert [reverse("connection-new") in page for page in pages] == [False, True]
        assert "An administrator has to connect a model first" in pages[0]

    def test_with_a_model_one_is_led_to_ones_own_prompts(self, client, author, prompt):
        make_target()

        page = client.get(reverse("monitors")).content.decode()

        assert reverse("monitor-new", args=[prompt.slug]) in page

    def test_a_part_is_given_to_a_script(self, client, author, prompt):
        make_monitor(prompt)

        page = client.get(reverse("monitors"), headers=FRAGMENT).content.decode()

        assert page.lstrip().startswith('<div id="monitors"')

    def test_three_monitors_take_as_many_queries_as_one(self, client, author, prompt):
        rerun(monitored(prompt=prompt), "no", later(days=1))
        client.get(reverse("monitors"))
        one = queries_of(client, reverse("monitors"))
        for number in range(2):
            other = monitored(prompt=make_prompt(author, text=f"{number} {{{{ n }}}}"))
            rerun(other, "no", later(days=1))

        assert queries_of(client, reverse("monitors")) == one


class TestThePageOfAMonitor:
    def test_a_new_one_has_one_action(self, client, author, prompt):
        page = show(client, make_monitor(prompt)).content.decode()

        assert [
            reverse(f"monitor-{name}", args=[Monitor.objects.get().pk]) in page
            for name in ("baseline", "run", "accept", "pause")
        ] == [True, False, False, False]

    def test_a_fresh_baseline_waits_for_its_first_comparison(self, client, author, prompt):
        text = words(show(client, monitored(prompt=prompt)))

        assert "The baseline is recorded" in text
        assert "The baseline comes from a single session." in text

    def test_what_it_would_notice_is_said_to_be_worked_out_and_then_told(
        self, client, author, prompt
    ):
        monitor = monitored(8, prompt=prompt)
        before = show(client, monitor)
        falls = [{"rate": 0.85, "nights": None}, {"rate": 0.6, "nights": 7}]
        Baseline.objects.update(power={"usual": 0.9, "falls": falls})

        part = client.get(
            reverse("monitor", args=[monitor.pk]), {"part": "power"}, headers=FRAGMENT
        )

        assert "is being worked out on the answers of the baseline" in words(before)
        assert "?part=power" in before.content.decode()
        assert part.content.decode().lstrip().startswith('<section id="power"')
        assert "?part=power" not in part.content.decode()
        assert (
            "A fall from 90% to 60% would be noticed within about 7 nights; a fall to 85% probably not."
            in words(part)
        )
        assert "A change of all answers would be told on the first night" in words(part)

    @pytest.mark.parametrize(
        ("schedule", "usual", "falls", "told"),
        [
            ("nightly", 1.0, {0.95: 1}, "Even a fall from 100% to 95% would be noticed on the"),
            ("weekly", 1.0, {0.95: 3}, "to 95% would be noticed within about 3 runs."),
            ("weekly", 1.0, {0.95: None, 0.9: 1}, "with the first run; a fall to 95% probably not"),
            ("nightly", 1.0, {0.5: None, 0.0: None}, "from 100% to 0% might go unnoticed for 21"),
            ("nightly", None, {}, "No check has judged the answers of the baseline"),
            ("nightly", 0.0, {}, "None of the baseline’s answers passes all its checks"),
        ],
    )
    def test_what_it_would_notice_is_told_in_its_own_runs(
        self, client, author, prompt, schedule, usual, falls, told
    ):
        monitor = monitored(2, prompt=prompt, schedule=schedule)
        kept = [{"rate": rate, "nights": nights} for rate, nights in falls.items()]
        Baseline.objects.update(power={"usual": usual, "falls": kept})

        assert told in words(show(client, monitor))

    def test_a_fall_is_told_with_its_numbers_and_its_chance(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        rerun(monitor, "no", later(days=1))

        text = words(show(client, monitor))

        begun = timezone.localtime(later(days=1)).strftime("%-d %B %Y")
        assert (
            f"The answers have become worse The answers changed on {begun}. Usually they are 100% "
            "alike from night to night, now 0%. 10 of 10 test cases changed. 0% of the answers pass "
            "all their checks (0 of 20); usually it is 100% (of 50 answers)."
        ) in text
        assert "Main difference: " in text
        assert (
            "Without any change, such a night would come up less than 1 in 1,000,000 times." in text
        )
        assert "Critical: look at it today" in text
        assert "noticed in one night" in text
        assert "The answer must contain “yes”. “yes” is missing." in text

    def test_a_rise_is_told_as_one(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt, answer="no")
        rerun(monitor, "yes", later(days=1))

        text = words(show(client, monitor))

        assert "The answers have become better" in text
        assert "100% of the answers pass" in text

    def test_a_suspicion_says_when_it_asks_again(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        run = nightly(monitor, "no", later(days=1))

        text = words(show(client, monitor))

        monitor.refresh_from_db()
        again = timezone.localtime(monitor.confirm_at).strftime("%H:%M")
        assert (monitor.status, run.report.verdict) == ("suspect", "suspect")
        assert "Something may have changed" in text
        assert f"we ask again at {again}, and tell you only then." in text
        assert "Enough to ask again before anybody is told" in text

    def test_the_usual_is_not_called_better_or_worse(self, client, author, prompt):
        monitor = monitored(prompt=prompt, answer=lambda text: "yes" if "Is 0" in text else "no")
        rerun(monitor, "no", later(days=1))

        text = words(show(client, monitor))

        assert "The answers are as they were 0% of the answers" in text
        assert "Far from an alarm" in text

    def test_too_few_cases_are_said_to_prove_nothing_in_one_night(self, client, author, prompt):
        monitor = monitored(count=2, prompt=prompt)
        rerun(monitor, "no", later(days=1))

        text = words(show(client, monitor))

        assert "The answers are as they were 0% of the answers" in text
        assert "A change of all answers would be told on night 5." in text
        assert "one night alone proves nothing, several have to add up" in text

    def test_learning_tells_how_far_it_has_come(self, client, author, prompt):
        monitor = make_monitor(prompt, cases=yes_cases(3))
        client.post(reverse("monitor-learn", args=[monitor.pk]))
        monitor.refresh_from_db()
        for day in (1, 2):
            nightly(monitor, "yes", later(days=day))

        text = words(show(client, monitor))

        assert "Learning: 2 of 5 nights" in text
        assert "Nothing is judged until there are enough." in text

    def test_a_small_change_is_a_calm_line(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        run = rerun(monitor, "yes", later(days=1))
        DriftReport.objects.filter(run=run).update(severity="notice", routes=["tonight"])

        page = show(client, monitor)

        text = words(page)
        assert "The answers are as they were" in text
        assert "did not repeat itself: a bad night of the service." in text
        assert "As usual; a small or passing change" in text
        assert page.context["verdict"].routes == ()

    def test_what_the_provider_says_is_a_hint(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        rerun(monitor, reply("yes", model="another-model"), later(days=1))

        text = words(show(client, monitor))

        assert "The answers are as they were" in text
        assert "The provider now answers as another-model, before as served-model." in text
        assert "This is a hint; the verdict rests on the answers alone." in text

    def test_both_charts_stand_in_one_table(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        rerun(monitor, "no", later(days=1))

        page = show(client, monitor)

        assert [night.likeness for night in page.context["nights"]] == [0.0, 1.0]
        assert page.context["likeness"].band is None
        assert "After five usual nights the range" in words(page)

    def test_five_usual_nights_make_a_band(self, client, author, prompt):
        monitor = make_monitor(prompt, cases=yes_cases(3))
        actions.learn_over_nights(monitor=monitor, by=author, now=NOW)
        monitor.refresh_from_db()
        for day in range(1, 6):
            nightly(monitor, "yes", later(days=day))

        page = show(client, monitor)

        assert page.context["likeness"].band == (1.0, 1.0)
        assert 'class="usual-band" x="46"' in page.content.decode()

    def test_then_and_now_stand_side_by_side_with_what_differs_marked(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt, answer="I would say yes to that.")
        rerun(monitor, "I would say no to that.", later(days=1))

        page = show(client, monitor).content.decode()

        assert '<del><span class="visually-hidden">removed: </span>yes</del>' in page
        assert '<ins><span class="visually-hidden">added: </span>no</ins>' in page

    def test_the_usual_answer_shown_is_the_one_most_like_it(self, client, author, prompt):
        said = iter(["yes, it is prime"] * 30 + ["Certainly: yes, that is so"] * 20)
        monitor = monitored(10, prompt=prompt, answer=lambda text: next(said))
        rerun(monitor, "Certainly not, that is not so", later(days=1))

        shown = show(client, monitor).context["changed"]

        usual = {
            one.change.baseline_answer.text for one in shown if "Is 9" not in one.change.case.name
        }
        assert "Certainly: yes, that is so" in usual

    def test_answers_with_nothing_in_common_are_shown_plain(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt, answer="yes indeed")
        rerun(monitor, "Votre demande reste sans suite.", later(days=1))

        page = show(client, monitor).content.decode()

        assert ("<del>" in page, "Votre demande reste sans suite." in page) == (False, True)

    def test_an_answer_never_becomes_markup(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt, answer="yes")
        rerun(monitor, "<script>alert(1)</script> no", later(days=1))

        page = show(client, monitor).content.decode()

        assert ("<script>alert" in page, "&lt;script&gt;alert" in page) == (False, True)

    def test_a_failed_run_says_what_to_do(self, client, author, prompt):
        monitor = monitored(prompt=prompt)
        rerun(monitor, failure("auth"), later(days=1))

        text = words(show(client, monitor))

        assert "The provider refused the key." in text
        assert "This is for an administrator." in text

    def test_halted_says_why_and_leads_to_the_test_cases(self, client, author, prompt):
        monitor = monitored(prompt=prompt)
        prompts.edit_prompt(
            prompt=prompt,
            fields=prompts.PromptFields(text="Is {{ n }} prime in base {{ base }}?"),
            by=author,
            now=later(hours=1),
            based_on=None,
        )
        actions.follow_new_versions(now=later(hours=2))

        page = show(client, monitor).content.decode()

        assert "the test cases no longer fill all its blanks" in page
        assert reverse("monitor-edit", args=[monitor.pk]) in page

    def test_simulated_is_said(self, client, author, prompt):
        text = words(show(client, monitored(prompt=prompt)))

        assert "simulated-stable simulated" in text

    def test_a_reader_sees_everything_and_changes_nothing(self, client, author, prompt, colleague):
        monitor = monitored(10, prompt=prompt)
        rerun(monitor, "no", later(days=1))
        client.force_login(colleague)

        page = show(client, monitor)

        assert "The answers have become worse" in words(page)
        assert [
            client.post(reverse(f"monitor-{name}", args=[monitor.pk])).status_code
            for name in ("baseline", "learn", "run", "accept", "pause", "delete", "edit")
        ] == [403] * 7
        assert 'method="post" action="/drift/' not in page.content.decode()

    def test_who_is_not_signed_in_is_asked_to(self, client, author, prompt):
        monitor = make_monitor(prompt)
        client.logout()

        assert show(client, monitor).status_code == 302

    def test_sixty_nights_take_as_many_queries_as_two(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        rerun(monitor, "no", later(days=1))
        rerun(monitor, "no", later(days=2))
        show(client, monitor)
        few = queries_of(client, reverse("monitor", args=[monitor.pk]))
        for day in range(3, 7):
            rerun(monitor, "no", later(days=day))

        assert queries_of(client, reverse("monitor", args=[monitor.pk])) == few

    def test_while_a_run_is_under_way_it_asks_again_and_then_renews_the_page(
        self, client, author, prompt
    ):
        monitor = monitored(prompt=prompt)
        run = actions.request_run(monitor=monitor, by=author, now=later(days=1))
        url = reverse("monitor", args=[monitor.pk])

        during = client.get(url, headers=FRAGMENT)
        play(run, "yes", later(days=1))
        after = client.get(url, headers=FRAGMENT)

        assert "0 of 3 answers are in." in words(during)
        assert 'hx-trigger="every 2s"' in during.content.decode()
        assert (after.status_code, after.headers["HX-Refresh"]) == (200, "true")


class TestActs:
    def test_recording_and_running_lead_to_the_run(self, client, author, prompt):
        monitor = make_monitor(prompt, cases=yes_cases(3))

        first = client.post(reverse("monitor-baseline", args=[monitor.pk]))
        play(Run.objects.get(), "yes")
        second = client.post(reverse("monitor-run", args=[monitor.pk]))

        kinds = list(Run.objects.order_by("pk").values_list("kind", "status", "requested_by"))
        assert kinds == [("baseline", "done", author.pk), ("manual", "queued", author.pk)]
        assert [first.url, second.url] == [
            reverse("run", args=[run.pk]) for run in Run.objects.order_by("pk")
        ]

    def test_a_worker_is_woken_once_the_run_is_written(
        self, client, author, prompt, monkeypatch, django_capture_on_commit_callbacks
    ):
        monitor, rung = make_monitor(prompt), []
        monkeypatch.setattr(
            tasks.run, "apply_async", lambda args, **options: rung.append((args, options))
        )

        with django_capture_on_commit_callbacks(execute=True):
            client.post(reverse("monitor-baseline", args=[monitor.pk]))

        assert rung == [([Run.objects.get().pk], {"retry": False})]

    def test_a_missing_broker_hinders_nobody(
        self, client, author, prompt, monkeypatch, django_capture_on_commit_callbacks
    ):
        monitor = make_monitor(prompt)

        def away(args, **options):
            raise OperationalError("nobody there")

        monkeypatch.setattr(tasks.run, "apply_async", away)
        with django_capture_on_commit_callbacks(execute=True):
            response = client.post(reverse("monitor-baseline", args=[monitor.pk]))

        assert (response.status_code, Run.objects.get().status) == (302, "queued")

    def test_two_runs_at_once_are_refused_in_words(self, client, author, prompt):
        monitor = make_monitor(prompt)
        client.post(reverse("monitor-baseline", args=[monitor.pk]))

        response = client.post(reverse("monitor-baseline", args=[monitor.pk]))

        assert response.status_code == 409
        assert "has not ended yet" in words(response)

    def test_accepting_begins_to_learn_from_the_new_answers(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        ended = rerun(monitor, "no", later(days=1))

        client.post(reverse("monitor-accept", args=[monitor.pk]), {"note": "  New\x00 style "})
        monitor.refresh_from_db()

        ended.refresh_from_db()
        assert (monitor.status, monitor.baseline_id, monitor.baseline.note, ended.kind) == (
            "learning",
            ended.baseline_id,
            "New style",
            "baseline",
        )
        assert "Learning: 2 of 5 nights" in words(show(client, monitor))

    def test_learning_anew_forgets_the_baseline_and_says_so(self, client, author, prompt):
        monitor = monitored(prompt=prompt)

        response = client.post(reverse("monitor-learn", args=[monitor.pk]))

        monitor.refresh_from_db()
        assert (monitor.status, response.url) == ("learning", reverse("monitor", args=[monitor.pk]))
        assert told(response) == [
            "Noted: the next 5 nights are the baseline; after them every night is judged."
        ]

    def test_a_retrospective_begins_with_the_prompt_that_drifted(self, client, author, prompt):
        monitor = monitored(10, prompt=prompt)
        rerun(monitor, "no", later(days=1))

        page = show(client, monitor).content.decode()

        address = f"{reverse('retrospective-new')}?prompt={prompt.slug}&amp;outcome=failed"
        assert address in page

    def test_pausing_keeps_everything_and_resuming_plans_the_next_run(self, client, author, prompt):
        monitor = monitored(prompt=prompt)
        url = reverse("monitor-pause", args=[monitor.pk])

        paused = client.post(url, {"on": "0"})
        monitor.refresh_from_db()
        state = (monitor.is_enabled, monitor.next_slot, monitor.baseline is not None)
        said = words(client.get(paused.url))
        client.post(url, {"on": "1"})
        monitor.refresh_from_db()

        assert state == (False, None, True)
        assert "Paused: no run comes by itself. Everything is kept." in said
        assert (monitor.is_enabled, monitor.next_slot is None) == (True, False)

    def test_deleting_first_says_what_goes_and_offers_to_pause(self, client, author, prompt):
        monitor = monitored(prompt=prompt)
        url = reverse("monitor-delete", args=[monitor.pk])

        asked = client.get(url)
        deleted = client.post(url)

        assert "1 run on simulated-stable would go for good" in words(asked)
        assert reverse("monitor-pause", args=[monitor.pk]) in asked.content.decode()
        assert deleted.url == reverse("prompt", args=[prompt.slug])
        assert not Monitor.objects.exists()


class TestThePageOfARun:
    def get(self, client, run, **query):
        return client.get(reverse("run", args=[run.pk]), query)

    def test_it_renews_itself_until_it_has_been_compared(self, client, author, prompt):
        monitor = monitored(prompt=prompt)
        run = actions.request_run(monitor=monitor, by=author, now=later(days=1))
        asks_again = []

        asks_again.append(self.get(client, run))
        Run.objects.filter(pk=run.pk).update(status="done", finished=NOW)
        asks_again.append(self.get(client, run))
        Run.objects.filter(pk=run.pk).update(assessed=NOW)
        asks_again.append(self.get(client, run))

        assert ['hx-trigger="every 2s"' in page.content.decode() for page in asks_again] == [
            True,
            True,
            False,
        ]

    def test_answers_come_with_checks_tokens_wait_and_cost(self, client, author, prompt):
        account = make_connection()
        llm.save_price(
            connection=account,
            model="simulated-stable",
            input_per_million=Decimal("2.5"),
            output_per_million=Decimal(10),
            currency="EUR",
            by=make_admin(),
        )
        monitor = monitored(prompt=prompt, target=make_target(account))

        text = words(self.get(client, rerun(monitor, "yes", later(days=1))))

        assert "The answer must contain “yes”." in text
        assert "1.4 s 1,200 tokens read, 50 written less than €0.01" in text.replace("\xa0", " ")
        assert "Tokens read 3,600 Tokens written 150 Typical wait 1.4 s Cost €0.01" in text.replace(
            "\xa0", " "
        )
        assert "Answered by served-model Fingerprint fp_1" in text

    @pytest.mark.parametrize(
        "kind",
        [
            *("auth", "not_found", "bad_request", "too_long", "rate_limit", "overloaded"),
            *("server", "timeout", "connect", "truncated", "bad_reply", "egress", "cancelled"),
        ],
    )
    def test_every_error_of_a_provider_has_words(self, client, author, prompt, kind):
        monitor = monitored(prompt=prompt)
        run = rerun(monitor, failure(kind, "Told by the provider."), later(days=1))

        text = words(self.get(client, run))

        trouble = drift_words.TROUBLES[kind]
        assert f"{trouble.what} {trouble.next_step}" in text
        assert "Told by the provider." in text

    @pytest.mark.parametrize(
        ("status", "reason", "said"),
        [
            ("skipped", "missed", "Skipped Retex was not running at that time."),
            ("skipped", "no_baseline", "Skipped There was no baseline to compare with."),
            ("skipped", "connection_off", "Skipped The connection to the provider was switched"),
            ("skipped", "still_running", "Skipped The run before it had not ended."),
            ("skipped", "cases_do_not_fit", "Skipped The prompt has changed and the test cases"),
            ("timeout", "worker_lost", "Out of time The program that carried out this run"),
            ("cancelled", "epoch_ended", "Stopped The prompt, the model or the test cases"),
            ("over_budget", "", "Over budget The budget for model calls was used up."),
            ("failed", "from_the_future", "Failed It ended for a reason we have no words for."),
        ],
    )
    def test_every_other_end_has_words(self, client, author, prompt, status, reason, said):
        run = Run.objects.create(
            monitor=make_monitor(prompt),
            slot=NOW,
            status=status,
            reason=reason,
            finished=NOW,
            assessed=NOW,
        )

        assert said in words(self.get(client, run))

    def test_what_the_provider_said_is_for_those_who_can_act(
        self, client, author, prompt, colleague
    ):
        monitor = monitored(prompt=prompt)
        run = rerun(monitor, failure("egress", "10.0.0.7 is closed."), later(days=1))
        pages = [self.get(client, run)]
        client.force_login(colleague)
        pages.append(self.get(client, run))

        assert ["10.0.0.7" in page.content.decode() for page in pages] == [True, False]

    def test_a_baseline_too_few_answered_says_so(self, client, author, prompt):
        monitor = make_monitor(prompt, cases=yes_cases(3))
        run = actions.record_baseline(monitor=monitor, by=author, now=NOW)

        ended = play(run, lambda text: "yes" if "Is 0" in text else failure("server"))

        assert (ended.status, Monitor.objects.get().status) == ("done", "new")
        assert "Too few test cases were answered" in words(self.get(client, ended))

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (reply("", "stop"), "An empty answer."),
            (reply("I cannot", "refusal"), "The model refused"),
            (reply("I begin", "length"), "Cut short at its length limit"),
        ],
    )
    def test_what_is_no_plain_answer_is_named(self, client, author, prompt, answer, said):
        monitor = monitored(prompt=prompt)

        assert said in words(self.get(client, rerun(monitor, answer, later(days=1))))

    def test_a_long_answer_is_shown_in_part_and_whole_when_asked_for(self, client, author, prompt):
        monitor = monitored(1, prompt=prompt)
        run = rerun(monitor, "yes" + "x" * 6_000 + "the end", later(days=1))
        case = monitor.cases.first()

        pages = [self.get(client, run), self.get(client, run, case=case.pk)]

        assert [page.content.decode().count("the end") for page in pages] == [0, 1]

    def test_stopping_keeps_what_was_answered(self, client, author, prompt):
        monitor = monitored(prompt=prompt)
        run = actions.request_run(monitor=monitor, by=author, now=later(days=1))

        response = client.post(reverse("run-cancel", args=[run.pk]))

        run.refresh_from_db()
        assert (run.status, response.url) == ("cancelled", reverse("run", args=[run.pk]))
        assert told(response) == ["The run is stopped. What was answered stays."]

    def test_a_colleague_cannot_stop_it_and_a_stranger_does_not_see_it(
        self, client, author, prompt, colleague
    ):
        run = actions.record_baseline(monitor=make_monitor(prompt), by=author, now=NOW)
        codes = []
        for person in (colleague, make_person(None)):
            client.force_login(person)
            codes += [
                self.get(client, run).status_code,
                client.post(reverse("run-cancel", args=[run.pk])).status_code,
            ]

        assert codes == [200, 403, 404, 404]


def typed(**more):
    """What the browser sends for one case with one check."""
    return {
        "target": str(make_target().pk),
        "schedule": "nightly",
        "cron": "",
        "follows": "yes",
        "case-0-name": "seven",
        "case-0-v-n": "7",
        "case-0-rule-0-kind": "contains",
        "case-0-rule-0-value": "yes",
        **more,
    }


class TestSettingUp:
    def url(self, prompt):
        return reverse("monitor-new", args=[prompt.slug])

    def test_one_page_is_enough(self, client, author, prompt):
        more = {
            "case-3-name": "",
            "case-3-v-n": "9",
            "case-3-rule-2-kind": "words-most",
            "case-3-rule-2-value": "80",
            "case-3-rule-7-kind": "is-json",
            "schedule": "custom",
            "cron": "30 6 * * mon-fri",
        }

        response = client.post(self.url(prompt), typed(**more))

        made = Monitor.objects.get()
        assert response.url == reverse("monitor", args=[made.pk])
        assert (made.schedule, made.owner, made.baseline_repeats, made.follows_current) == (
            "30 6 * * mon-fri",
            author,
            5,
            True,
        )
        assert list(made.cases.values_list("name", "variables", "assertions")) == [
            ("seven", {"n": "7"}, [{"type": "contains", "value": "yes"}]),
            (
                "Case 2",
                {"n": "9"},
                [{"type": "word-count", "value": {"max": 80}}, {"type": "is-json"}],
            ),
        ]

    def test_it_can_stay_with_the_version_of_today(self, client, author, prompt):
        client.post(self.url(prompt), typed(follows="no"))

        assert Monitor.objects.get().follows_current is False

    def test_mistakes_are_named_and_nothing_typed_is_lost(self, client, author, prompt):
        data = typed(
            **{
                "target": "",
                "schedule": "custom",
                "cron": "99 * * * *",
                "case-0-v-n": "",
                "case-0-rule-0-kind": "regex",
                "case-0-rule-0-value": "(open",
            }
        )

        response = client.post(self.url(prompt), data)

        assert response.status_code == 422
        assert [(goal, label) for goal, label, _ in response.context["setup"].problems] == [
            ("id_target_0", "Model"),
            ("id_cron", "Times, written as cron"),
            ("id_case-0-v-n", "Test case 1, n"),
            ("id_case-0-rule-0-value", "Test case 1, check 1"),
        ]
        page = response.content.decode()
        assert all(piece in page for piece in ('value="99 * * * *"', "(open", 'value="seven"'))
        assert not Monitor.objects.exists()

    def test_a_case_without_a_check_is_refused(self, client, author, prompt):
        data = typed()
        del data["case-0-rule-0-kind"], data["case-0-rule-0-value"]

        response = client.post(self.url(prompt), data)

        problems = [message for _goal, _label, message in response.context["setup"].problems]
        assert problems == [
            "Add at least one check: without it, a good answer cannot be told from a bad one."
        ]

    def test_without_any_case_it_is_refused(self, client, author, prompt):
        data = {name: value for name, value in typed().items() if not name.startswith("case-")}

        response = client.post(self.url(prompt), data)

        assert (response.status_code, "at least one test case" in words(response)) == (422, True)

    def test_what_the_action_refuses_stands_at_its_case(self, client, author, prompt):
        response = client.post(self.url(prompt), typed(**{"case-0-v-n": "7" * 200_001}))

        assert response.status_code == 422
        assert [goal for goal, _label, _message in response.context["setup"].problems] == ["case-0"]

    @pytest.mark.parametrize(
        ("pressed", "names"),
        [
            ("add-case", ["seven", ""]),
            ("remove-case-0", []),
            ("remove-case-7", ["seven"]),
            ("nonsense", ["seven"]),
        ],
    )
    def test_rows_come_and_go_without_a_script(self, client, author, prompt, pressed, names):
        response = client.post(self.url(prompt), typed(do=pressed))

        setup = response.context["setup"]
        assert (response.status_code, setup.problems) == (200, [])
        assert [case.name for case in setup.draft.cases] == names

    def test_a_script_gets_the_cases_and_the_new_count(self, client, author, prompt):
        response = client.post(self.url(prompt), typed(do="add-case"), headers=FRAGMENT)

        page = response.content.decode()
        assert page.lstrip().startswith('<div id="cases"')
        assert 'hx-swap-oob="innerHTML:#effort"' in page
        assert "2 calls a run" in words(response)

    @pytest.mark.parametrize(
        ("kind", "more", "stored"),
        [
            ("language-fr", {}, {"type": "regex", "value": NAMED_PATTERNS["language-fr"]}),
            ("not-is-refusal", {}, {"type": "not-is-refusal"}),
            ("latency", {"value": "2,5"}, {"type": "latency", "threshold": 2_500}),
            ("cost", {"value": ".02"}, {"type": "cost", "threshold": 0.02}),
            (
                "levenshtein",
                {"value": "yes", "nearness": "3"},
                {"type": "levenshtein", "value": "yes", "threshold": 3},
            ),
            ("bleu", {"value": "yes"}, {"type": "bleu", "value": "yes", "threshold": 0.5}),
            (
                "is-json-shape",
                {"value": '{"type": "array"}'},
                {"type": "is-json", "value": {"type": "array"}},
            ),
            ("is-xml", {"value": ""}, {"type": "is-xml"}),
            (
                "finish-reason",
                {"value": "Stop"},
                {"type": "finish-reason", "value": "stop"},
            ),
        ],
    )
    def test_what_is_chosen_in_words_is_stored_as_promptfoo_names_it(
        self, client, author, prompt, kind, more, stored
    ):
        sent = {"kind": kind, "value": "", **more}

        client.post(
            self.url(prompt),
            typed(**{f"case-0-rule-0-{name}": text for name, text in sent.items()}),
        )

        [case] = Monitor.objects.get().cases.all()
        assert case.assertions == [stored]

    @pytest.mark.parametrize(
        ("kind", "more", "field", "problem"),
        [
            ("latency", {"value": "soon"}, "value", "number of seconds, like 5"),
            ("latency", {"value": ""}, "value", "number of seconds, like 5"),
            ("cost", {"value": "-1"}, "value", "Write an amount"),
            ("bleu", {"value": "x", "nearness": "2"}, "nearness", "from 0 to 1"),
            ("levenshtein", {"value": "x", "nearness": "1.5"}, "nearness", "how many characters"),
            ("is-json-shape", {"value": ""}, "value", "cannot check this shape"),
            ("is-json-shape", {"value": '{"oneOf": []}'}, "value", "'oneOf' is not supported"),
            ("finish-reason", {"value": "x"}, "value", "Write one of: stop, length"),
            ("llm-rubric", {"value": "Is polite."}, "kind", "Nobody has chosen a model for this"),
        ],
    )
    def test_what_cannot_be_checked_is_explained_at_its_field(
        self, client, author, prompt, kind, more, field, problem
    ):
        sent = {"kind": kind, **more}

        response = client.post(
            self.url(prompt),
            typed(**{f"case-0-rule-0-{name}": text for name, text in sent.items()}),
        )

        [(goal, _label, message)] = response.context["setup"].problems
        assert (response.status_code, goal) == (422, f"id_case-0-rule-0-{field}")
        assert problem in message

    def test_checks_are_proposed_from_a_good_answer_and_taken_when_ticked(
        self, client, author, prompt
    ):
        answer = {"case-0-answer": "Total: 1,250.00 EUR\r\non 2026-03-12.\r\n"}
        data = typed(**{"case-0-rule-0-value": "", **answer})
        shown = client.post(self.url(prompt), data | {"do": "suggest-checks-0"}, headers=FRAGMENT)
        [case] = shown.context["setup"].cases
        picks = {box.name: box.value for box in case.proposals if "2026" in box.words}

        taken = client.post(self.url(prompt), data | picks | {"do": "take-checks-0"})

        assert [(box.words, box.is_ticked) for box in case.proposals] == [
            ("start with “Total: 1,250.00 EUR”", False),
            ("contain “1,250.00 EUR”", True),
            ("contain “2026-03-12”", True),
            ("not be a refusal", True),
        ]
        assert 'type="checkbox" id="id_case-0-pick-0"' in shown.content.decode()
        [after] = taken.context["setup"].draft.cases
        assert (after.rules, after.answer) == ([RuleDraft("contains", "2026-03-12")], "")

    @pytest.mark.parametrize(
        ("answer", "said"),
        [("", "There is nothing to propose"), ("x" * 50_001, "This is too long to propose")],
    )
    def test_an_answer_nothing_can_be_taken_from_says_so(
        self, client, author, prompt, answer, said
    ):
        data = typed(**{"case-0-answer": answer, "do": "suggest-checks-0"})

        assert said in words(client.post(self.url(prompt), data, headers=FRAGMENT))

    def test_ticks_that_were_never_proposed_are_not_taken(self, client, author, prompt):
        forged = '{"type": "contains", "value": "forged"}'
        data = {"case-0-answer": "Yes", "case-0-pick-0": forged, "do": "take-checks-0"}

        response = client.post(self.url(prompt), typed(**data))

        [case] = response.context["setup"].draft.cases
        assert case.rules == [RuleDraft("contains", "yes")]

    def test_a_pasted_answer_never_becomes_markup(self, client, author, prompt):
        data = typed(**{"case-0-answer": "</textarea><script>alert(1)</script>"})

        page = client.post(self.url(prompt), data | {"do": "suggest-checks-0"}).content.decode()

        assert ("<script>alert" in page, "&lt;script&gt;alert" in page) == (False, True)

    def test_a_price_tells_what_it_will_cost(self, client, author, prompt):
        target = make_target()
        llm.save_price(
            connection=target.connection,
            model=target.model,
            input_per_million=Decimal(0),
            output_per_million=Decimal(100),
            currency="EUR",
            by=make_admin(),
        )

        response = client.post(
            self.url(prompt), typed(target=str(target.pk), do="count"), headers=FRAGMENT
        )

        text = words(response)
        # 365.25 / 12 nights a month and 6 % of second looks, 400 tokens each at 100 € a million.
        assert "€1.29 a month €0.20 once, for the baseline Night 5" in text

    @pytest.mark.parametrize(
        ("cases", "schedule", "repeats", "figures", "says"),
        [
            (1, "nightly", "5", "5 calls once, for the baseline Night 5", "on night 5."),
            (3, "nightly", "5", "15 calls once, for the baseline Night 1", "on the first night"),
            (3, "weekly", "5", "15 calls once, for the baseline Run 1", "with the first run"),
            (2, "nightly", "10", "20 calls once, for the baseline Night 1", "on the first night"),
            (1, "nightly", "1", "1 call once, for the baseline Not soon", "unnoticed for 21 runs"),
            (1, "manual", "", "5 calls once, for the baseline Run 5", "none by itself"),
            (1, "custom", "900", "5 calls once, for the baseline Run 5", "none by itself"),
        ],
    )
    def test_cases_schedule_and_baseline_change_what_can_be_seen(
        self, client, author, prompt, cases, schedule, repeats, figures, says
    ):
        more = {f"case-{number}-name": "another" for number in range(1, cases)}

        response = client.post(
            self.url(prompt),
            typed(do="count", schedule=schedule, repeats=repeats, **more),
            headers=FRAGMENT,
        )

        text = words(response)
        assert figures in text
        assert says in text

    def test_the_baseline_has_as_many_answers_as_were_chosen(self, client, author, prompt):
        client.post(self.url(prompt), typed(repeats="8"))

        assert Monitor.objects.get().baseline_repeats == 8

    @pytest.mark.parametrize("repeats", ["0", "21", "five", ""])
    def test_a_number_of_answers_that_is_none_is_refused(self, client, author, prompt, repeats):
        response = client.post(self.url(prompt), typed(repeats=repeats))

        assert response.status_code == 422
        assert [goal for goal, *_ in response.context["setup"].problems] == ["id_repeats"]

    def test_it_begins_with_what_the_person_filled_in_last(self, client, author, prompt):
        make_target()
        prompts.remember_values(prompt=prompt, by=author, values={"n": "17077"}, now=NOW)

        response = client.get(self.url(prompt))

        assert response.context["setup"].draft.cases == [CaseDraft(values={"n": "17077"})]

    def test_a_second_model_begins_with_the_cases_of_the_first(self, client, author, prompt):
        first = make_monitor(prompt)
        second = make_target(first.target.connection, "simulated-drifting")

        draft = client.get(self.url(prompt)).context["setup"].draft

        assert (draft.target, [case.name for case in draft.cases]) == (
            str(second.pk),
            ["seven", "nine"],
        )

    def test_help_a_colleague_wrote_never_becomes_markup(self, client, author):
        make_target()
        prompt = make_prompt(
            author,
            text="{{ n }}",
            variables=[Variable("n", help="<script>alert(1)</script>")],
        )

        page = client.get(self.url(prompt)).content.decode()

        assert ("<script>alert" in page, "&lt;script&gt;alert" in page) == (False, True)

    def test_without_a_model_the_way_to_one_is_shown(self, client, author, prompt):
        pages = [words(client.get(self.url(prompt)))]
        client.force_login(make_admin())
        pages.append(client.get(self.url(prompt)).content.decode())

        assert "Please ask an administrator" in pages[0]
        assert reverse("connections") in pages[1]

    def test_only_who_may_edit_the_prompt_may_watch_it(self, client, author, prompt, colleague):
        curator = make_person("curator")
        stranger = make_person(None)
        data = typed()
        codes = []
        for person in (colleague, stranger, curator):
            client.force_login(person)
            codes += [
                client.get(self.url(prompt)).status_code,
                client.post(self.url(prompt), data).status_code,
            ]

        assert codes == [403, 403, 404, 404, 200, 302]


class TestFromARetrospective:
    def url(self, report, prompt):
        return f"{reverse('monitor-new', args=[prompt.slug])}?report={report.pk}"

    def test_a_good_use_becomes_the_first_case(self, client, author, prompt):
        make_target()
        prompts.remember_values(prompt=prompt, by=author, values={"n": "17077"}, now=NOW)
        report = make_report(prompt, author, outcome="worked", evidence="Yes, 17077 is prime.")

        response = client.get(self.url(report, prompt))

        draft = response.context["setup"].draft
        [case] = draft.cases
        assert (case.name, case.values, case.answer) == (
            report.title,
            {"n": "17077"},
            "Yes, 17077 is prime.",
        )
        assert [box.words for box in response.context["setup"].cases[0].proposals][:1] == [
            "contain “17077”"
        ]
        assert (draft.version, draft.follows) == ("", "yes")
        assert report.lesson in words(response)

    def test_a_bad_use_asks_for_a_check_that_would_have_caught_it(self, client, author, prompt):
        make_target()
        report = make_report(
            prompt, author, outcome="failed", incidents=["refusal"], evidence="I won't."
        )

        response = client.get(self.url(report, prompt))

        [case] = response.context["setup"].draft.cases
        assert (case.rules, case.answer) == ([RuleDraft("not-is-refusal")], "")
        assert "add a check that would have caught it" in words(response)

    def test_the_version_of_the_report_is_what_is_watched(self, client, author, prompt):
        report = make_report(prompt, author, outcome="worked")
        old = report.version
        prompts.edit_prompt(
            prompt=prompt,
            fields=prompts.PromptFields(text="Is {{ number }} prime?"),
            by=author,
            now=later(hours=1),
            based_on=None,
        )
        make_target()
        shown = client.get(self.url(report, prompt))

        client.post(reverse("monitor-new", args=[prompt.slug]), typed(version="1", follows="no"))

        draft = shown.context["setup"].draft
        assert (draft.version, draft.follows) == ("1", "no")
        assert "It is about version 1; the newest is 2." in words(shown)
        made = Monitor.objects.get()
        assert (made.version, made.follows_current) == (old, False)

    def test_confidential_data_are_warned_about(self, client, author, prompt):
        make_target()
        report = make_report(prompt, author, outcome="worked", data_class="confidential")

        assert "Put other, invented data" in words(client.get(self.url(report, prompt)))

    def test_a_report_on_something_else_is_not_found(self, client, author, prompt):
        make_target()
        other = make_report(make_prompt(author, text="Other"), author, outcome="worked")
        urls = [self.url(other, prompt), self.url(other, prompt).replace(f"={other.pk}", "=999999")]

        assert [client.get(url).status_code for url in urls] == [404, 404]

    @pytest.mark.parametrize("typed_id", ["", "x", "²", "-1", "9" * 40])
    def test_a_report_that_is_no_number_is_no_trouble(self, client, author, prompt, typed_id):
        make_target()

        url = f"{reverse('monitor-new', args=[prompt.slug])}?report={typed_id}"

        assert client.get(url).status_code in (200, 404)

    @pytest.mark.parametrize("number", ["7", "9" * 40, "x"])
    def test_a_version_that_is_not_there_is_no_trouble(self, client, author, prompt, number):
        url = reverse("monitor-new", args=[prompt.slug])

        assert client.post(url, typed(version=number)).status_code in (302, 404)

    def test_the_page_of_a_report_leads_here(self, client, author, prompt, colleague):
        report = make_report(prompt, author, outcome="worked")
        page = reverse("retrospective", args=[report.pk])
        link = self.url(report, prompt)
        found = []
        for person in (author, colleague):
            client.force_login(person)
            found.append(link in client.get(page).content.decode())

        assert found == [True, False]


class TestEditing:
    def url(self, monitor):
        return reverse("monitor-edit", args=[monitor.pk])

    def sent(self, monitor, **more):
        return typed(
            **{
                "target": str(monitor.target_id),
                "case-0-name": "number 0",
                "case-0-v-n": "0",
                "case-1-name": "number 1",
                "case-1-v-n": "1",
                "case-1-rule-0-kind": "contains",
                "case-1-rule-0-value": "yes",
                **more,
            }
        )

    def test_the_form_shows_what_is_stored(self, client, author, prompt):
        monitor = make_monitor(prompt, cases=yes_cases(1), schedule="0 6 * * *")

        draft = client.get(self.url(monitor)).context["setup"].draft

        assert draft == Draft(
            target=str(monitor.target_id),
            schedule="custom",
            cron="0 6 * * *",
            follows="yes",
            cases=[CaseDraft("number 0", {"n": "0"}, [RuleDraft("contains", "yes")])],
        )

    def test_another_rhythm_keeps_the_baseline(self, client, author, prompt):
        monitor = monitored(count=2, prompt=prompt)

        response = client.post(self.url(monitor), self.sent(monitor, schedule="weekly"))

        before = monitor.baseline_id
        monitor.refresh_from_db()
        assert (monitor.schedule, monitor.baseline_id, told(response)) == (
            "weekly",
            before,
            ["Saved."],
        )

    def test_another_question_asks_for_a_new_baseline(self, client, author, prompt):
        monitor = monitored(count=2, prompt=prompt)

        response = client.post(self.url(monitor), self.sent(monitor, **{"case-1-v-n": "11"}))

        monitor.refresh_from_db()
        assert (monitor.status, monitor.baseline_id) == ("new", None)
        assert "record a new one" in told(response)[0]

    def test_fitting_cases_end_the_halt(self, client, author, prompt):
        monitor = monitored(count=2, prompt=prompt)
        prompts.edit_prompt(
            prompt=prompt,
            fields=prompts.PromptFields(text="Is {{ n }} prime in base {{ base }}?"),
            by=author,
            now=later(hours=1),
            based_on=None,
        )
        actions.follow_new_versions(now=later(hours=2))
        bases = {"case-0-v-base": "10", "case-1-v-base": "2"}

        client.post(self.url(monitor), self.sent(monitor, **bases))

        monitor.refresh_from_db()
        assert (monitor.halt, [case.variables for case in queries.cases_in_use(monitor)]) == (
            "",
            [{"n": "0", "base": "10"}, {"n": "1", "base": "2"}],
        )

    def test_a_model_that_is_switched_off_can_stay(self, client, author, prompt):
        monitor = make_monitor(prompt)
        make_target(model="simulated-drifting")
        llm.save_connection(by=make_admin(), connection=monitor.target.connection, is_enabled=False)

        setup = client.get(self.url(monitor)).context["setup"]

        assert setup.target == monitor.target


class TestTheDraft:
    @pytest.mark.parametrize(
        "item",
        [
            *(usable(kind) for kind in TYPES),
            *(usable(kind) | {"type": f"not-{kind}"} for kind in TYPES),
            {"type": "is-json", "value": {"type": "object", "required": ["é"]}},
            {"type": "not-is-json", "value": {"type": "array"}},
            {"type": "contains-json", "value": {}},
            {"type": "is-xml", "value": ["a.b", "c, d"]},
            {"type": "latency", "threshold": 1_234},
            {"type": "not-cost", "threshold": 0.0001},
            {"type": "levenshtein", "value": "x", "threshold": 0},
            {"type": "not-similar", "value": "x", "threshold": 0.9},
            {"type": "bleu", "value": "x", "threshold": 0.123},
            *({"type": "regex", "value": pattern} for pattern in NAMED_PATTERNS.values()),
            {"type": "not-regex", "value": NAMED_PATTERNS["list"]},
            {"type": "contains-any", "value": ["a, b", 'say "yes"', " spaced ", "back\\slash"]},
            {"type": "word-count", "value": {"max": 80}},
            {"type": "word-count", "value": {"min": 20}},
            {"type": "word-count", "value": 50},
            {"type": "not-word-count", "value": {"min": 20, "max": 80}},
            {"type": "not-word-count", "value": {"max": 80}},
            {"type": "not-regex", "value": "^\\s*$"},
            {"type": "equals", "value": "two\nlines "},
        ],
    )
    def test_every_stored_check_survives_the_form(self, item):
        stored = drift_words.assertions.parse(item).to_dict()

        again = drift_words.assertions.parse(item_of_rule(draft_of_rule(stored))).to_dict()

        assert again == stored

    def test_checks_by_a_model_are_offered_where_there_is_one(self):
        rules = [RuleDraft("contains", "a"), RuleDraft("llm-rubric", "Is polite.")]
        draft = Draft(cases=[CaseDraft(rules=rules)])

        with_judge, without = (
            Setup(draft, targets=[], variables=[], is_judged=True, graders=graders)
            for graders in (("llm-rubric",), ())
        )

        offered = [
            [name for name, _ in setup.cases[0].rules[0].fields["kind"].choices]
            for setup in (with_judge, without)
        ]
        assert offered == [
            ["It must", "It must not", "A model judges", "More"],
            ["It must", "It must not", "More"],
        ]
        judged = [setup.cases[0].rules[1] for setup in (with_judge, without)]
        assert [rule.is_valid() for rule in judged] == [True, False]
        assert judged[0].item == {"type": "llm-rubric", "value": "Is polite."}
        assert with_judge.judged_rules == [("llm-rubric", 10)]

    def test_a_change_leads_to_its_field(self):
        draft = Draft(cases=[CaseDraft("a"), CaseDraft("b")])
        focus = []

        for what in ("add-case", "add-rule-1", "remove-rule-1-0", "remove-case-2", "remove-case-0"):
            assert draft.change(what)
            focus.append(draft.focus)

        assert focus == [
            "id_case-2-name",
            "id_case-1-rule-1-kind",
            "add-rule-1",
            "id_case-1-name",
            "add-case",
        ]
        assert [case.name for case in draft.cases] == ["b"]

    def test_there_is_an_end_to_rows(self):
        draft = Draft(cases=[CaseDraft() for _ in range(50)])
        draft.cases[0].rules = [RuleDraft() for _ in range(20)]

        assert (draft.change("add-case"), draft.change("add-rule-0")) == (False, False)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("30 6 * * mon-fri", ""),
            ("nightly", ""),
            ("", "Write the times"),
            ("61 * * * *", "“61” is not a minute"),
            ("0 25 * * *", "“25” is not an hour"),
            ("0 0 * * someday", "“someday” is not a day of the week"),
            ("0 0", "Write five parts"),
            ("0 0 30 2 *", "never comes"),
        ],
    )
    def test_times_that_cannot_be_are_explained(self, text, problem):
        found = cron_problem(text)

        assert (found == "") if not problem else (problem in found)


class TestWords:
    @pytest.mark.parametrize(
        ("chance", "said"),
        [
            (0.00077, "about 1 in 1,300"),
            (1 / 4_000, "about 1 in 4,000"),
            (0.005, "about 1 in 200"),
            (0.3, "about 1 in 3"),
            (1e-9, "less than 1 in 1,000,000"),
            (0.0, "less than 1 in 1,000,000"),
        ],
    )
    def test_a_chance_is_told_in_cases(self, chance, said):
        assert drift_words.odds(chance) == said

    @pytest.mark.parametrize(
        ("amount", "currency", "said"),
        [
            (None, "EUR", ""),
            (Decimal("1234.567"), "EUR", "€1,234.57"),
            (Decimal("0.0004"), "GBP", "less than £0.01"),
            (Decimal(0), "EUR", "€0.00"),
            (Decimal("0.5"), "SEK", "0.50\xa0SEK"),
        ],
    )
    def test_money_is_told_to_the_cent(self, amount, currency, said):
        assert drift_words.money(amount, currency) == said

    @pytest.mark.parametrize("kind", [*TYPES, *(f"not-{kind}" for kind in TYPES)])
    @pytest.mark.parametrize(
        "text", ["a", '{"a": 1}', "zebra", "<a/>", "<a>", "I can't help.", "x" * 2_000_000]
    )
    def test_every_check_and_what_it_sees_has_words(self, kind, text):
        rule = drift_words.assertions.parse(usable(kind.removeprefix("not-")) | {"type": kind})
        facts = Facts("stop", 900, Decimal("0.2"))

        found = [drift_words.assertions.check(rule, text, known) for known in (facts, Facts())]
        seen = [check_words.seen_words(verdict.reason) for verdict in found]

        assert len(check_words.rule_words(rule)) > 3
        assert [words.endswith(".") for words in seen] == [True, True]

    @pytest.mark.parametrize(
        ("item", "said"),
        [
            ({"type": "regex", "value": NAMED_PATTERNS["language-fr"]}, "be written in French"),
            ({"type": "not-regex", "value": NAMED_PATTERNS["list"]}, "contain no list"),
            ({"type": "not-is-refusal"}, "not be a refusal"),
            ({"type": "latency", "threshold": 2_500}, "come within 2.5 s"),
            ({"type": "cost", "threshold": 0.0001}, "cost at most 0.0001"),
            ({"type": "not-cost", "threshold": 100}, "cost more than 100"),
            (
                {"type": "levenshtein", "value": "oui"},
                "differ from “oui” in at most 5 characters",
            ),
            (
                {"type": "rouge-n", "value": "oui"},
                "have at least 75\xa0% of the words of “oui”",
            ),
            (
                {"type": "not-similar", "value": "oui", "threshold": 0.9},
                "not mean the same as “oui” (nearness below 0.9)",
            ),
            (
                {"type": "llm-rubric", "value": "Is polite."},
                "satisfy, in the judgement of a model: “Is polite.”",
            ),
            ({"type": "finish-reason", "value": "stop"}, "end by itself"),
            ({"type": "is-json"}, "be valid JSON"),
            ({"type": "is-json", "value": {"type": "array"}}, "be valid JSON of the given shape"),
            (
                {"type": "is-json", "value": {"required": list("abcdefg")}},
                "be valid JSON with the fields “a”, “b”, “c”, “d”, “e”, “f”, …",
            ),
            (
                {"type": "is-xml", "value": "a.b, c"},
                "be well-formed XML with the elements “a.b”, “c”",
            ),
        ],
    )
    def test_a_check_reads_as_the_end_of_a_sentence(self, item, said):
        assert check_words.rule_words(drift_words.assertions.parse(item)) == said

    @pytest.mark.parametrize(
        ("reason", "said"),
        [
            (Reason("took", {"milliseconds": 1_449, "most": 9}), "It took 1.45 s."),
            (Reason("cost", {"cost": Decimal("0.000310"), "most": 1}), "It cost 0.00031."),
            (Reason("score", {"score": 2 / 3, "least": 0.75}), "It reaches 0.67."),
            (
                Reason("distance", {"distance": None, "most": 5}),
                "It differs in more than 5 characters.",
            ),
            (
                Reason("finished", {"finish": "length", "wanted": "stop"}),
                "It ended at its length limit.",
            ),
            (
                Reason("schema_mismatch", {"path": "$.a", "keyword": "minimum", "wanted": "0"}),
                "$.a is not as asked: minimum 0.",
            ),
            (Reason("xml_lacks", {"missing": ("a",)}), "Missing: “a”."),
            (
                Reason("judges_disagree", {}),
                "The model was asked twice and disagreed with itself.",
            ),
            (
                Reason("judge_away", {"kind": "server"}),
                "The judging model could not be asked.",
            ),
            (
                Reason("judge_away", {"kind": "over_budget"}),
                "The budget left no room to ask the judging model.",
            ),
            (
                Reason("judge_unclear", {}),
                "What the judging model said could not be read.",
            ),
            (Reason("no_whole_answer", {}), "There is no whole answer to judge."),
            (Reason("judged", {}), "A model judged it."),
        ],
    )
    def test_what_was_seen_is_a_sentence(self, reason, said):
        assert check_words.seen_words(reason) == said


def night(number, rate, verdict="stable", kind="scheduled", usual=1.0):
    return queries.Night(
        run_id=number,
        slot=NOW + timedelta(days=number),
        kind=kind,
        status="done",
        verdict=verdict,
        pass_rate=rate,
        reason="",
        usual=usual,
    )


class TestTheChart:
    def test_every_kind_of_night_has_its_own_shape(self):
        nights = [
            night(0, 1.0, "", kind="baseline"),
            night(1, 1.0),
            night(2, 0.5, "drifted"),
            night(3, 0.8, "suspect"),
            night(4, 0.9, "not_judged"),
            night(5, None, "", usual=None),
        ]

        points = pass_rate_chart(nights, is_small=False).points

        assert [point.tone for point in points] == [
            *("base", "usual", "bad", "warn", "hollow", "none"),
        ]
        corners = [point.shape.count("L") for point in points]
        assert corners == [3, 0, 3, 2, 0, 0]

    def test_a_new_baseline_is_a_step_in_the_usual_level(self):
        nights = [night(0, 1.0), night(1, 1.0), night(2, 0.5, usual=0.5), night(3, 0.5, usual=0.5)]

        chart = pass_rate_chart(nights, is_small=False)

        assert (chart.usual_path.count("M"), chart.usual) == (2, 0.5)

    def test_neighbouring_drifted_nights_are_one_span(self):
        verdicts = ["stable", "drifted", "drifted", "stable", "drifted"]

        chart = pass_rate_chart(
            [night(n, 0.5, verdict) for n, verdict in enumerate(verdicts)], is_small=False
        )

        assert len(chart.spans) == 2

    @pytest.mark.parametrize("count", [0, 1])
    def test_few_nights_are_no_trouble(self, count):
        chart = pass_rate_chart([night(n, 1.0) for n in range(count)], is_small=False)

        assert len(chart.points) == count
