from datetime import UTC, datetime

import pytest
from asgiref.sync import async_to_sync
from kombu.exceptions import OperationalError as BrokerAway

from kb.drift import actions, assessing, runs
from kb.drift.models import Baseline, Monitor, Run
from kb.llm.base import Reply
from kb.prompts import actions as prompts
from tests.api.conftest import Caller, told
from tests.factories import (
    NOW,
    make_admin,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)

pytestmark = pytest.mark.django_db


class Scripted:
    """A provider that answers everything with one text."""

    def __init__(self, text):
        self.text = text

    async def complete(self, request, *, deadline, gate=None):
        await gate(1)
        return Reply(
            text=self.text,
            finish="stop",
            model="served-1",
            fingerprint="fp",
            input_tokens=10,
            output_tokens=5,
            request_id="r",
            latency_ms=12,
            raw_finish="stop",
        )


def play(run_id, text):
    """Claim, execute and assess a run whose every answer is `text`."""
    claimed = runs.claim(run_id, now=NOW)
    async_to_sync(runs.execute)(claimed, provider=Scripted(text), clock=lambda: NOW)
    assessing.assess(run_id, now=NOW)


@pytest.fixture
def bell(monkeypatch):
    """Ids of the runs a worker was told of."""
    rung = []
    monkeypatch.setattr(
        "api.views.monitors.app.send_task",
        lambda name, args, **options: rung.append((name, args, options)),
    )
    return rung


@pytest.fixture
def author():
    return Caller(make_person(name="Ada"))


@pytest.fixture
def sent(author):
    """What a program sends to have a prompt watched."""
    prompt = make_prompt(author.person, title="Prime", text="Is {{ n }} a prime number?")
    return {
        "prompt": prompt.slug,
        "target": make_target().pk,
        "schedule": "nightly",
        "time_zone": "Europe/London",
        "baseline_repeats": 3,
        "cases": [
            {
                "name": "seven",
                "variables": {"n": "7"},
                "assertions": [{"type": "icontains", "value": "yes"}],
            },
            {
                "name": "nine",
                "variables": {"n": "9"},
                "assertions": [{"type": "not-equals", "value": ""}],
            },
        ],
    }


class TestSettingUp:
    def test_a_monitor_is_read_as_it_was_made(self, author, sent):
        made = author.post("monitors/", sent)

        monitor = Monitor.objects.get()
        assert made.status_code == 201
        assert made["Location"] == f"http://testserver/api/v1/monitors/{monitor.pk}/"
        shown = dict(made.json())
        assert author.get(f"monitors/{monitor.pk}/").json() == shown
        assert shown.pop("power") is None
        assert author.get("monitors/").json()["results"] == [shown]
        assert {shown.pop("created"), shown.pop("status_since")}
        assert shown.pop("next_slot")[11:13] in ("00", "01", "02", "03", "04", "05")
        cases = list(monitor.cases.all())
        assert shown == {
            **sent,
            "id": monitor.pk,
            "version": 1,
            "follows_current": True,
            "model": "simulated-stable",
            "connection_name": monitor.target.connection.name,
            "is_simulated": True,
            "owner": {"id": author.person.pk, "name": "Ada"},
            "is_enabled": True,
            "status": "new",
            "halt": "",
            "missed_runs": 0,
            "baseline": None,
            "last_run": None,
            "cases": [
                {"id": row.pk, **case} for row, case in zip(cases, sent["cases"], strict=True)
            ],
        }

    def test_a_named_version_is_kept(self, author, sent):
        made = author.post("monitors/", {**sent, "version": 1}).json()

        assert (made["version"], made["follows_current"]) == (1, False)

    def test_what_was_read_of_one_makes_another(self, author, sent):
        read = author.post("monitors/", sent).json()

        copy = author.post("monitors/", {**read, "is_enabled": False})

        assert copy.status_code == 201
        assert (copy.json()["follows_current"], copy.json()["next_slot"]) == (True, None)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"prompt": "none"}, "prompt"),
            ({"prompt": None}, "prompt"),
            ({"version": 2}, "version"),
            ({"target": 999_999}, "target"),
            ({"target": "gpt"}, "target"),
            ({"schedule": "sometimes"}, "schedule"),
            ({"schedule": "x" * 101}, "schedule"),
            ({"time_zone": "Mars/Base"}, "time_zone"),
            ({"baseline_repeats": 21}, "baseline_repeats"),
            ({"baseline_repeats": 0}, "baseline_repeats"),
            ({"cases": []}, "cases"),
            ({"cases": {}}, "cases"),
            ({"cases": ["x"]}, "cases.0"),
            ({"cases": [{"variables": {"n": "7"}}] * 51}, "cases"),
            ({"cases": [{"name": "x", "variables": {}}]}, "cases.0"),
            ({"cases": [{"name": "x", "variables": {"m": "7"}}]}, "cases.0"),
            ({"cases": [{"name": "x", "variables": {"n": []}}]}, "cases.0.variables.n"),
            ({"cases": [{"name": "x", "variables": []}]}, "cases.0.variables"),
            (
                {"cases": [{"variables": {"n": "7"}, "assertions": [{"type": "likes"}]}]},
                "cases.0",
            ),
            (
                {"cases": [{"variables": {"n": "7"}, "assertions": ["contains"]}]},
                "cases.0.assertions.0",
            ),
            (
                {"cases": [{"variables": {"n": "7"}, "assertions": [{"type": "contains"}]}]},
                "cases.0",
            ),
            (
                {"cases": [{"variables": {"n": "7"}, "assertions": [{}] * 21}]},
                "cases.0.assertions",
            ),
            ({"case": []}, "case"),
        ],
    )
    def test_what_is_wrong_is_named(self, author, sent, change, field):
        assert told(author.post("monitors/", {**sent, **change})) == (422, "invalid", [field])
        assert Monitor.objects.count() == 0

    def test_a_prompt_filled_beyond_measure_is_refused_before_anything_runs(self, author, sent):
        prompt = make_prompt(author.person, text="{{ n }}" * 20_000)
        cases = [{"name": "long", "variables": {"n": "7" * 100_000}}]

        refused = author.post("monitors/", {**sent, "prompt": prompt.slug, "cases": cases})

        assert told(refused) == (422, "invalid", ["cases.0"])
        assert "2000000000" in refused.json()["error"]["message"]

    def test_only_who_may_edit_the_prompt_may_watch_it_for_drift(self, sent):
        refused = Caller(make_person()).post("monitors/", sent)

        assert told(refused) == (403, "not_allowed", [])

    def test_authors_see_what_they_can_point_it_at(self, author):
        target = make_target()

        assert author.get("monitors/targets/").json()["results"] == [
            {
                "id": target.pk,
                "model": "simulated-stable",
                "connection_name": target.connection.name,
                "is_simulated": True,
            }
        ]


class TestReading:
    def test_monitors_of_hidden_prompts_do_not_exist(self):
        legal = make_department("legal")
        author = make_person("author", legal)
        prompt = make_prompt(author, text="{{ n }}", departments=[legal], visibility="departments")
        monitor = make_monitor(prompt)
        run = actions.record_baseline(monitor=monitor, by=author, now=NOW)
        stranger = Caller(make_person())

        assert Caller(author).get(f"runs/{run.pk}/").status_code == 200
        assert stranger.get("monitors/").json()["count"] == 0
        for method, path, data in [
            ("GET", f"monitors/{monitor.pk}/", None),
            ("PATCH", f"monitors/{monitor.pk}/", {}),
            ("DELETE", f"monitors/{monitor.pk}/", None),
            ("POST", f"monitors/{monitor.pk}/baseline/", None),
            ("POST", f"monitors/{monitor.pk}/run/", None),
            ("POST", f"monitors/{monitor.pk}/accept/", None),
            ("GET", f"monitors/{monitor.pk}/runs/", None),
            ("GET", f"runs/{run.pk}/", None),
            ("POST", f"runs/{run.pk}/cancel/", None),
        ]:
            assert told(stranger(method, path, data)) == (404, "not_found", [])

    def test_colleagues_read_but_do_not_touch(self, bell):
        monitor = make_monitor()
        run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)
        colleague = Caller(make_person())

        for path in (
            f"monitors/{monitor.pk}/",
            f"monitors/{monitor.pk}/runs/",
            f"runs/{run.pk}/",
        ):
            assert colleague.get(path).status_code == 200
        for method, path, data in [
            ("PATCH", f"monitors/{monitor.pk}/", {"schedule": "manual"}),
            ("DELETE", f"monitors/{monitor.pk}/", None),
            ("POST", f"monitors/{monitor.pk}/baseline/", None),
            ("POST", f"monitors/{monitor.pk}/run/", None),
            ("POST", f"monitors/{monitor.pk}/accept/", None),
            ("POST", f"runs/{run.pk}/cancel/", None),
        ]:
            assert told(colleague(method, path, data)) == (403, "not_allowed", [])

    def test_filters_narrow_the_list(self, author):
        first, second = make_monitor(), make_monitor()
        Monitor.objects.filter(pk=second.pk).update(status="learning")

        def found(query):
            return [row["id"] for row in author.get(f"monitors/?{query}").json()["results"]]

        assert found("") == [first.pk, second.pk]
        assert found(f"prompt={first.prompt.slug}") == [first.pk]
        assert found("status=learning,drifted") == [second.pk]
        assert told(author.get("monitors/?status=odd")) == (422, "invalid", ["status.0"])

    def test_one_and_five_take_the_same_queries(self, author, django_assert_num_queries):
        def make():
            monitor = make_monitor()
            actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)

        make()
        author.get("monitors/")  # the use of the token is noted once a minute
        with django_assert_num_queries(6):
            author.get("monitors/")
        for _ in range(4):
            make()

        with django_assert_num_queries(6):
            assert len(author.get("monitors/").json()["results"]) == 5


class TestChanging:
    def test_what_was_read_can_be_sent_back_changed(self, author, sent):
        read = author.post("monitors/", sent).json()

        changed = author.patch(
            f"monitors/{read['id']}/", {**read, "schedule": "manual", "baseline_repeats": 4}
        )

        assert changed.status_code == 200
        assert changed.json() == {
            **read,
            "schedule": "manual",
            "next_slot": None,
            "baseline_repeats": 4,
        }

    def test_another_version_pins_it_and_null_lets_it_follow_again(self, author, sent):
        pk = author.post("monitors/", sent).json()["id"]
        path = f"monitors/{pk}/"
        author.patch("prompts/prime/", {"text": "Is {{ n }} prime?"})
        pairs = []

        for change in (
            {"version": 2},
            {"version": 1},
            {"version": None},
            {"follows_current": False},
        ):
            shown = author.patch(path, change).json()
            pairs.append((shown["version"], shown["follows_current"]))

        assert pairs == [(2, False), (1, False), (2, True), (2, False)]
        assert told(author.patch(path, {"version": 3})) == (422, "invalid", ["version"])

    def test_a_pinned_monitor_is_not_moved_by_the_clock(self, author, sent):
        pk = author.post("monitors/", sent).json()["id"]
        author.patch("prompts/prime/", {"text": "Is {{ n }} prime?"})
        author.patch(f"monitors/{pk}/", {"version": 2})
        author.patch(f"monitors/{pk}/", {"version": 1})

        actions.follow_new_versions(now=NOW)

        assert author.get(f"monitors/{pk}/").json()["version"] == 1

    def test_cases_that_fit_again_end_the_halt(self, author, sent):
        pk = author.post("monitors/", sent).json()["id"]
        author.patch("prompts/prime/", {"text": "Is {{ n }} prime in base {{ base }}?"})
        actions.follow_new_versions(now=NOW)
        halted = author.get(f"monitors/{pk}/").json()

        mended = author.patch(
            f"monitors/{pk}/", {"cases": [{"name": "x", "variables": {"n": 7, "base": 10}}]}
        ).json()

        assert (halted["halt"], mended["halt"]) == ("cases_do_not_fit", "")

    def test_a_version_the_cases_do_not_fit_halts_it(self, author, sent):
        pk = author.post("monitors/", {**sent, "version": 1}).json()["id"]
        author.patch("prompts/prime/", {"text": "Is {{ n }} prime in base {{ base }}?"})

        assert author.patch(f"monitors/{pk}/", {"version": 2}).json()["halt"] == "cases_do_not_fit"

    def test_it_can_be_deleted_even_with_a_baseline(self, author, sent, bell):
        pk = author.post("monitors/", sent).json()["id"]
        play(author.post(f"monitors/{pk}/baseline/").json()["run"], "Yes")

        assert author.delete(f"monitors/{pk}/").status_code == 204
        assert told(author.get(f"monitors/{pk}/")) == (404, "not_found", [])


class TestRunning:
    @pytest.fixture
    def monitor(self, author, sent):
        return author.post("monitors/", sent).json()["id"]

    def test_a_baseline_is_queued_and_a_worker_is_told_after_the_commit(
        self, author, monitor, bell, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            answer = author.post(f"monitors/{monitor}/baseline/")
            assert bell == []

        run = Run.objects.get()
        assert (answer.status_code, answer.json()) == (202, {"run": run.pk})
        assert bell == [("kb.drift.run", (run.pk,), {"retry": False})]
        assert (run.kind, run.repeats) == ("baseline", 3)
        assert author.get(f"monitors/{monitor}/").json()["status"] == "learning"

    @pytest.mark.parametrize("fault", [BrokerAway("away"), OSError("gone")])
    def test_a_broker_that_is_away_changes_nothing(
        self, author, monitor, monkeypatch, django_capture_on_commit_callbacks, fault
    ):
        def away(*args, **options):
            raise fault

        monkeypatch.setattr("api.views.monitors.app.send_task", away)

        with django_capture_on_commit_callbacks(execute=True) as callbacks:
            answer = author.post(f"monitors/{monitor}/baseline/")

        assert len(callbacks) == 2  # the connection is tried, the workers are told
        assert answer.status_code == 202
        assert runs.waiting_runs(now=NOW) == [answer.json()["run"]]

    def test_a_run_tells_everything_once_it_is_judged(self, author, monitor, bell):
        play(author.post(f"monitors/{monitor}/baseline/").json()["run"], "Yes, it is.")
        pk = author.post(f"monitors/{monitor}/run/").json()["run"]
        waiting = author.get(f"runs/{pk}/").json()
        play(pk, "It is not.")

        run = author.get(f"runs/{pk}/").json()

        names = ("status", "verdict", "direction", "pass_rate", "completions", "changed_cases")
        assert {name: waiting[name] for name in names} == {
            "status": "queued",
            "verdict": None,
            "direction": None,
            "pass_rate": None,
            "completions": [],
            "changed_cases": [],
        }
        report = Run.objects.get(pk=pk).report
        seven = Monitor.objects.get().cases.get(name="seven").pk
        dates = [run.pop(name) for name in ("slot", "created", "started", "finished")]
        assert all(date.endswith("Z") for date in dates)
        answers = run.pop("completions")
        assert run == {
            "id": pk,
            "monitor": monitor,
            "kind": "manual",
            "status": "done",
            "verdict": report.verdict,
            "direction": report.direction or None,
            "pass_rate_baseline": 1.0,
            "pass_rate": 0.5,
            "p_worse": report.p_worse,
            "p_better": report.p_better,
            "p": report.p,
            "severity": report.severity or None,
            "routes": report.routes,
            "evidence": report.evidence,
            "incident": None,
            "facts": report.facts,
            "calls": 2,
            "cost": None,
            "awaits_judge": False,
            "judging": [],
            "reason": report.reason,
            "changed_cases": [
                {
                    "id": seven,
                    "name": "seven",
                    "pass_rate_baseline": None,
                    "pass_rate": None,
                    "similarity_baseline": None,
                    "similarity": None,
                }
            ],
        }
        assert answers[0] == {
            "case": seven,
            "case_name": "seven",
            "session": 0,
            "repeat": 0,
            "outcome": "answered",
            "text": "It is not.",
            "passed": False,
            "verdicts": [False],
            "not_judged": [],
            "model": "served-1",
            "fingerprint": "fp",
            "finish": "stop",
            "input_tokens": 10,
            "output_tokens": 5,
            "latency_ms": 12,
            "cost": None,
            "error_kind": "",
            "error": "",
        }
        assert [(a["case_name"], a["passed"]) for a in answers] == [
            ("seven", False),
            ("nine", True),
        ]

    def test_a_baseline_run_has_a_pass_rate_but_no_verdict(self, author, monitor, bell):
        pk = author.post(f"monitors/{monitor}/baseline/").json()["run"]
        play(pk, "Yes, it is.")

        run, shown = author.get(f"runs/{pk}/").json(), author.get(f"monitors/{monitor}/").json()

        assert (run["verdict"], run["pass_rate"], len(run["completions"])) == (None, 1.0, 6)
        assert (shown["status"], shown["last_run"]["id"]) == ("stable", pk)
        assert shown["baseline"]["accepted_by"]["name"] == "Ada"
        assert author.get(f"monitors/{monitor}/runs/").json()["results"] == [shown["last_run"]]

    def test_what_a_monitor_would_notice_is_told_once_it_is_measured(self, author, monitor, bell):
        play(author.post(f"monitors/{monitor}/baseline/").json()["run"], "Yes")
        before = author.get(f"monitors/{monitor}/").json()["power"]
        Baseline.objects.update(
            power={
                "usual": 0.9,
                "falls": [{"rate": 0.85, "nights": None}, {"rate": 0.6, "nights": 7}],
            }
        )

        after = author.get(f"monitors/{monitor}/").json()["power"]

        plan = {"smallest_p": 4.0**-2, "nights_to_full_change": 12}
        unknown = {"usual": None, "noticed": None, "missed": None}
        assert before == {"is_known": False, **unknown, **plan}
        assert after == {
            "is_known": True,
            "usual": 0.9,
            "noticed": {"rate": 0.6, "nights": 7},
            "missed": {"rate": 0.85, "nights": None},
            **plan,
        }

    def test_without_a_baseline_there_is_nothing_to_compare_with(self, author, monitor):
        assert told(author.post(f"monitors/{monitor}/run/")) == (409, "conflict", [])
        assert told(author.post(f"monitors/{monitor}/accept/")) == (409, "conflict", [])

    def test_one_run_at_a_time(self, author, monitor, bell):
        author.post(f"monitors/{monitor}/baseline/")

        assert told(author.post(f"monitors/{monitor}/baseline/")) == (409, "conflict", [])

    def test_a_change_is_accepted_as_the_new_normal(self, author, monitor, bell):
        play(author.post(f"monitors/{monitor}/baseline/").json()["run"], "Yes")
        play(author.post(f"monitors/{monitor}/run/").json()["run"], "No")

        accepted = author.post(f"monitors/{monitor}/accept/", {"note": "Fine"}).json()

        assert (accepted["status"], accepted["baseline"]["note"]) == ("learning", "Fine")
        assert told(author.post(f"monitors/{monitor}/accept/", {"note": "x" * 301})) == (
            422,
            "invalid",
            ["note"],
        )

    def test_a_baseline_over_nights_is_learnt_one_answer_at_a_time(self, author, monitor, bell):
        first = author.post(f"monitors/{monitor}/baseline/", {"over_nights": True}).json()["run"]
        play(first, "Yes")
        learnt = [author.get(f"runs/{first}/").json()]
        for _night in range(2):
            pk = author.post(f"monitors/{monitor}/run/").json()["run"]
            play(pk, "Yes")
            learnt.append(author.get(f"runs/{pk}/").json())

        assert [(run["kind"], run["verdict"], run["calls"]) for run in learnt] == [
            ("baseline", None, 2)
        ] * 3
        assert author.get(f"monitors/{monitor}/").json()["status"] == "stable"

    def test_a_run_is_running_until_it_has_been_compared(self, author, monitor, bell):
        pk = author.post(f"monitors/{monitor}/baseline/").json()["run"]
        Run.objects.filter(pk=pk).update(status="done")

        assert author.get(f"runs/{pk}/").json()["status"] == "running"

    def test_a_waiting_run_is_cancelled_and_an_ended_one_stays(self, author, monitor, bell):
        pk = author.post(f"monitors/{monitor}/baseline/").json()["run"]

        cancelled = [author.post(f"runs/{pk}/cancel/") for _ in range(2)]

        assert [answer.status_code for answer in cancelled] == [200, 200]
        assert cancelled[0].json() == cancelled[1].json()
        assert cancelled[0].json()["status"] == "cancelled"
        assert author.get(f"monitors/{monitor}/").json()["status"] == "new"

    @pytest.mark.parametrize("path", ["baseline", "run"])
    def test_choosing_the_moment_needs_a_setting(self, author, monitor, path):
        refused = author.post(f"monitors/{monitor}/{path}/", {"as_of": "2026-01-05T02:00:00Z"})

        assert told(refused) == (422, "invalid", ["as_of"])
        assert "RETEX_ALLOW_CLOCK" in refused.json()["error"]["message"]

    @pytest.mark.parametrize(
        "as_of", ["2026-01-05T02:00:00Z", "2026-01-05T03:00:00+01:00", "2026-01-05T02:00:00"]
    )
    def test_with_the_setting_the_moment_is_the_slot(self, author, monitor, bell, settings, as_of):
        settings.RETEX_ALLOW_CLOCK = True

        run = author.post(f"monitors/{monitor}/baseline/", {"as_of": as_of})

        assert Run.objects.get().slot == datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
        play(run.json()["run"], "Yes")
        again = author.post(f"monitors/{monitor}/run/", {"as_of": as_of})
        assert told(again) == (409, "conflict", [])

    @pytest.mark.parametrize(
        "as_of", ["yesterday", "2026-01", 5, "0001-01-01T00:00:00+14:00", None, "2026-13-01T00:00Z"]
    )  # fmt: skip
    def test_a_moment_is_a_moment(self, author, monitor, settings, as_of):
        settings.RETEX_ALLOW_CLOCK = True

        refused = author.post(f"monitors/{monitor}/baseline/", {"as_of": as_of})

        assert told(refused) == (422, "invalid", ["as_of"])


def test_an_archived_prompt_keeps_its_monitors_readable(author):
    monitor = make_monitor()
    prompts.archive(prompt=monitor.prompt, by=make_admin(), now=NOW)

    assert author.get(f"monitors/{monitor.pk}/").status_code == 200
