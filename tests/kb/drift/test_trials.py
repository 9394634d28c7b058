import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from kb.celery import app
from kb.core.errors import Conflict, Invalid, NotAllowed, NotFound
from kb.drift import trial_queries, trials
from kb.drift.trial_models import Trial, TrialAnswer
from kb.llm import actions as llm
from kb.llm.base import LLMError, Reply
from kb.llm.models import Connection, Expense, Reservation
from kb.prompts import actions as prompts
from kb.prompts.template import Variable
from kb.tasks import trials as tasks
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_connection,
    make_person,
    make_prompt,
    make_target,
)

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """Stands for the death of a worker: no `except Exception` catches it."""


class Vendor:
    """Opens connections; answers by the model that is asked, and remembers who was asked what."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def __call__(self, connection):
        if connection.name in self.answers:
            raise self.answers[connection.name]
        return self

    async def complete(self, request, *, deadline, gate=None):
        if gate:
            await gate(1)
        self.asked.append((request.model, request.messages[-1].content))
        answer = self.answers.get(request.model, f"I am {request.model}.")
        answer = answer() if callable(answer) else answer
        answer = await answer if asyncio.iscoroutine(answer) else answer
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Reply) else reply(answer)


def reply(text, finish="stop"):
    return Reply(
        text=text,
        finish=finish,
        model="served",
        fingerprint="fp",
        input_tokens=1_000,
        output_tokens=500,
        request_id="req",
        latency_ms=1_200,
        raw_finish=finish,
    )


def error(kind, attempts=1, maybe_billed=0):
    return LLMError(
        kind, f"{kind} it is", permanent=True, attempts=attempts, maybe_billed=maybe_billed
    )


def play(trial, vendor, now=NOW):
    """Claim a trial and ask its models; the trial as it is afterwards."""
    claimed = trials.claim(trial.pk, now=now)
    async_to_sync(trials.execute)(claimed, open_provider=vendor, clock=lambda: now)
    return Trial.objects.get(pk=trial.pk)


def die(trial, vendor, now=NOW):
    """Claim a trial with a worker that dies while it asks."""
    claimed = trials.claim(trial.pk, now=now)
    with suppress(Killed):
        async_to_sync(trials.execute)(claimed, open_provider=vendor, clock=lambda: now)
    return Trial.objects.get(pk=trial.pk)


def answers(trial):
    """Model to what became of it: outcome and text or kind of error."""
    return {
        answer.model: (answer.outcome, answer.text or answer.error_kind)
        for answer in trial.answers.all()
    }


@pytest.fixture
def author():
    return make_person("author")


@pytest.fixture
def prompt(author):
    return make_prompt(author, text="Is {{ n }} prime?", title="Primes")


@pytest.fixture
def vendor_connection():
    return make_connection(
        "openai_compatible", name="Vendor", base_url="https://api.vendor.test/v1", api_key="sk-1"
    )


@pytest.fixture
def models(vendor_connection):
    return [make_target(vendor_connection, name) for name in ("small", "large")]


@pytest.fixture
def ask(author, prompt, models):
    """Request a trial of the prompt, by its author on both models unless told otherwise."""

    def requested(**changed):
        usual = {
            "version": prompt.current,
            "targets": models,
            "values": {"n": "7"},
            "by": author,
            "now": NOW,
        }
        return trials.request(**{**usual, **changed})

    return requested


class TestRequesting:
    def test_a_trial_has_an_empty_place_for_each_model(self, ask):
        trial = ask()

        assert (trial.status, trial.values) == ("queued", {"n": "7"})
        assert list(
            trial.answers.values_list("model", "connection_name", "is_simulated", "outcome")
        ) == [("small", "Vendor", False, "waiting"), ("large", "Vendor", False, "waiting")]

    def test_who_may_only_read_may_not_spend(self, ask):
        reader = make_person("reader")

        with pytest.raises(NotAllowed, match="author role"):
            ask(by=reader)

        assert not Trial.objects.exists()

    def test_what_one_cannot_read_one_cannot_try(self, ask, author):
        hidden = make_prompt(author, visibility="private")

        with pytest.raises(NotAllowed):
            ask(by=make_person("author"), version=hidden.current, values={})

    @pytest.mark.parametrize(
        ("values", "names"),
        [
            ({}, ["values.n"]),
            ({"n": ""}, ["values.n"]),
            ({"n": "7", "m": "9"}, ["values.m"]),
            ({"n": "7" * (trials.LONGEST_VALUES + 1)}, ["values.n"]),
        ],
    )
    def test_what_cannot_be_asked_is_named(self, ask, values, names):
        with pytest.raises(Invalid) as refused:
            ask(values=values)

        assert list(refused.value.fields) == names

    def test_every_blank_without_a_value_is_named_at_once(self, ask, author):
        prompt = make_prompt(
            author,
            text="{{ a }} {{ b }}",
            system="{{ c }} {{ d }}",
            variables=[Variable("a"), Variable("b", default="usual"), Variable("c"), Variable("d")],
        )

        with pytest.raises(Invalid) as refused:
            ask(version=prompt.current, values={"d": "given"})

        assert list(refused.value.fields) == ["values.a", "values.c"]

    def test_one_to_four_different_models_of_connections_in_use(
        self, ask, models, vendor_connection
    ):
        five = [*models, *(make_target(vendor_connection, f"model-{n}") for n in range(3))]
        off = make_target(make_connection(name="Off"), "simulated-stable")
        Connection.objects.filter(name="Off").update(is_enabled=False)
        off.refresh_from_db()

        for wrong in ([], five, [models[0], models[0]], [off]):
            with pytest.raises(Invalid) as refused:
                ask(targets=wrong)
            assert list(refused.value.fields) == ["targets"]
        assert ask(targets=five[:4]).answers.count() == 4

    def test_only_a_few_at_a_time(self, ask):
        for _ in range(trials.MOST_UNDER_WAY):
            ask()

        with pytest.raises(Conflict):
            ask()

    def test_older_ones_than_are_shown_are_forgotten_but_not_what_was_kept(
        self, ask, author, prompt
    ):
        first = play(ask(now=NOW), Vendor())
        trials.keep_as_example(answer=first.answers.first(), by=author, now=NOW)
        for minute in range(1, trial_queries.MOST_SHOWN + 2):
            play(ask(now=later(minutes=minute)), Vendor())

        kept = Trial.objects.order_by("created").values_list("created", flat=True)

        assert kept[0] == NOW
        assert kept[1] == later(minutes=2)
        assert len(trial_queries.history(author, prompt)) == trial_queries.MOST_SHOWN


class TestAsking:
    def test_every_model_is_asked_once_and_its_answer_kept(self, ask):
        vendor = Vendor(large="# Yes\n\n**Seven** is prime.")

        trial = play(ask(), vendor, later(seconds=5))

        assert sorted(vendor.asked) == [("large", "Is 7 prime?"), ("small", "Is 7 prime?")]
        assert (trial.status, trial.reason, trial.finished) == ("done", "", later(seconds=5))
        large = trial.answers.get(model="large")
        assert (large.text, large.html) == (
            "# Yes\n\n**Seven** is prime.",
            "<h3>Yes</h3>\n<p><strong>Seven</strong> is prime.</p>",
        )
        assert (large.served_model, large.latency_ms, large.calls, large.finished) == (
            "served",
            1_200,
            1,
            later(seconds=5),
        )

    def test_the_system_text_goes_first(self, ask, author):
        class Listening(Vendor):
            async def complete(self, request, *, deadline, gate=None):
                self.asked.append([(m.role, m.content) for m in request.messages])
                return reply("yes")

        prompt = make_prompt(author, text="Say {{ n }}.", system="You are {{ n }}.")
        vendor = Listening()

        play(ask(version=prompt.current), vendor)

        assert vendor.asked == [[("system", "You are 7."), ("user", "Say 7.")]] * 2

    def test_an_older_version_is_asked_as_it_was(self, ask, author, prompt):
        old = prompt.current
        prompts.edit_prompt(
            prompt=prompt,
            fields=prompts.PromptFields(text="New {{ n }}"),
            by=author,
            now=NOW,
            based_on=None,
        )
        vendor = Vendor()

        play(ask(version=old), vendor)

        assert {text for _model, text in vendor.asked} == {"Is 7 prime?"}

    def test_one_model_that_fails_leaves_the_others_their_answers(self, ask):
        trial = play(ask(), Vendor(small=error("overloaded")))

        assert trial.status == "done"
        assert answers(trial) == {
            "small": ("missing", "overloaded"),
            "large": ("answered", "I am large."),
        }

    def test_a_connection_that_cannot_be_opened_is_the_answer_of_its_models(self, ask, models):
        other = make_target()
        trial = play(ask(targets=[models[0], other]), Vendor(Vendor=error("auth", attempts=0)))

        assert answers(trial) == {
            "small": ("missing", "auth"),
            "simulated-stable": ("answered", "I am simulated-stable."),
        }

    @pytest.mark.parametrize(
        ("kind", "status"),
        [("auth", "failed"), ("timeout", "timeout"), ("cancelled", "cancelled")],
    )
    def test_a_trial_nobody_answered_says_why(self, ask, kind, status):
        trial = play(ask(), Vendor(small=error(kind), large=error(kind)))

        assert (trial.status, trial.reason) == (status, kind)

    @pytest.mark.parametrize(
        ("said", "outcome"),
        [
            (reply(""), "empty"),
            (reply("No.", "refusal"), "refused"),
            (reply("And th", "length"), "cut"),
        ],
    )
    def test_what_a_model_does_is_an_answer(self, ask, said, outcome):
        trial = play(ask(), Vendor(small=said, large=said))

        assert {found for found, _text in answers(trial).values()} == {outcome}
        assert trial.status == "done"

    def test_the_models_are_asked_at_the_same_time(self, ask):
        both = asyncio.Event()

        class Waiting(Vendor):
            async def complete(self, request, *, deadline, gate=None):
                self.asked.append(request.model)
                if len(self.asked) == 2:
                    both.set()
                await asyncio.wait_for(both.wait(), 5)
                return reply("yes")

        assert play(ask(), Waiting()).status == "done"

    def test_a_connection_switched_off_meanwhile_is_not_asked(self, ask, vendor_connection):
        trial, vendor = ask(), Vendor()
        llm.save_connection(connection=vendor_connection, by=make_admin(), is_enabled=False)

        ended = play(trial, vendor)

        assert (ended.status, vendor.asked) == ("cancelled", [])

    def test_a_target_that_is_gone_is_said_to_be_gone(self, ask, models):
        trial = ask()
        for model in models:
            model.delete()

        ended = play(trial, Vendor())

        assert (ended.status, ended.reason) == ("failed", "not_found")


class TestMoney:
    @pytest.fixture(autouse=True)
    def _prices(self, vendor_connection):
        for model, price in (("small", "1"), ("large", "10")):
            llm.save_price(
                connection=vendor_connection,
                model=model,
                input_per_million=Decimal(price),
                output_per_million=Decimal(price),
                currency="EUR",
                by=make_admin(),
            )

    def test_every_answer_is_booked_for_the_trial(self, ask):
        trial = play(ask(), Vendor(small=error("timeout", maybe_billed=1)))

        assert {(a.model, a.cost, a.currency) for a in trial.answers.all()} == {
            ("small", None, ""),
            ("large", Decimal("0.015"), "EUR"),
        }
        booked = {row.model: row for row in Expense.objects.filter(reference=f"trial:{trial.pk}")}
        assert (booked["large"].calls, booked["large"].cost) == (1, Decimal("0.015"))
        assert (booked["small"].calls, booked["small"].unknown_calls) == (1, 1)
        assert not Reservation.objects.exists()

    def test_a_spent_budget_is_kept_and_said(self, ask, vendor_connection):
        llm.save_cap(
            by=make_admin(),
            connection=vendor_connection,
            period="day",
            unit="calls",
            most=Decimal(0),
        )
        vendor = Vendor()

        trial = play(ask(), vendor)

        assert (trial.status, trial.reason, vendor.asked) == ("over_budget", "over_budget", [])

    def test_the_estimate_tells_tokens_money_and_a_spent_budget(
        self, models, prompt, vendor_connection
    ):
        llm.save_cap(
            by=make_admin(),
            connection=vendor_connection,
            period="day",
            unit="calls",
            most=Decimal(0),
        )
        free = make_target()

        found = trial_queries.estimates(
            prompt.current,
            {"n": "7" * 396},
            [*models, free],
            checked={models[0].pk},
            now=NOW,
        )

        assert [
            (e.target, e.input_tokens, e.output_tokens, e.money, e.is_free, e.refusal is not None)
            for e in found
        ] == [
            (models[0], 102, 500, Decimal("0.000602"), False, True),
            (models[1], 102, 500, Decimal("0.00602"), False, False),
            (free, 102, 500, None, True, False),
        ]
        assert found[0].lacks_price is False
        assert not Reservation.objects.exists()

    def test_the_estimate_goes_by_the_answers_so_far_and_their_limit(self, ask, prompt, models):
        play(ask(), Vendor())
        short = make_target(models[0].connection, "small", max_tokens=50)

        found = trial_queries.estimates(prompt.current, {}, [models[0], short], checked=(), now=NOW)

        assert [estimate.output_tokens for estimate in found] == [500, 50]

    def test_a_budget_in_money_needs_a_price(self, prompt, vendor_connection):
        nameless = make_target(vendor_connection, "unpriced")
        llm.save_cap(
            by=make_admin(), connection=vendor_connection, period="day", unit="EUR", most=Decimal(5)
        )

        (found,) = trial_queries.estimates(
            prompt.current, {}, [nameless], checked={nameless.pk}, now=NOW
        )

        assert (found.money, found.lacks_price) == (None, True)


class TestCrashes:
    def test_a_claimed_trial_is_claimed_by_nobody_else(self, ask):
        trial = ask()

        assert trials.claim(trial.pk, now=NOW) is not None
        assert trials.claim(trial.pk, now=NOW) is None

    def test_a_dead_workers_trial_goes_on_where_it_stopped(self, ask):
        trial, deaths = ask(), [Killed()]
        is_kept = TrialAnswer.objects.filter(model="small", outcome="answered").exists

        async def dies_once():
            while not await sync_to_async(is_kept)():
                await asyncio.sleep(0)
            if deaths:
                raise deaths.pop()
            return "At last."

        vendor = Vendor(small="At once.", large=dies_once)
        lost = die(trial, vendor)

        assert trials.reclaim(now=later(seconds=40)) == (0, 0)
        assert trials.reclaim(now=later(seconds=46)) == (1, 0)
        ended = play(lost, vendor, later(seconds=50))

        assert answers(ended) == {
            "small": ("answered", "At once."),
            "large": ("answered", "At last."),
        }
        asked = [model for model, _text in vendor.asked]
        assert (asked.count("small"), asked.count("large")) == (1, 2)
        assert (ended.status, ended.attempt) == ("done", 2)

    def test_a_trial_whose_workers_die_twice_ends(self, ask):
        trial = ask()
        vendor = Vendor(small=Killed(), large=Killed())
        for minute in range(trials.MOST_ATTEMPTS):
            die(trial, vendor, later(minutes=minute))
            trials.reclaim(now=later(minutes=minute, seconds=50))
        trial.refresh_from_db()

        assert (trial.status, trial.reason, trial.lease_ends) == ("timeout", "worker_lost", None)
        assert trials.claim(trial.pk, now=later(hours=1)) is None
        assert trials.reclaim(now=later(hours=1)) == (0, 0)

    def test_a_trial_no_worker_takes_ends_after_an_hour(self, ask):
        trial = ask()

        assert trials.reclaim(now=later(minutes=59)) == (0, 0)
        assert trials.reclaim(now=later(minutes=61)) == (0, 1)
        trial.refresh_from_db()
        assert (trial.status, trial.reason) == ("timeout", "no_worker")
        assert trials.waiting_trials() == []

    def test_a_worker_thought_dead_writes_over_nothing(self, ask):
        trial = ask()
        slow = trials.claim(trial.pk, now=NOW)
        trials.reclaim(now=later(minutes=1))
        ended = play(trial, Vendor(small="second", large="second"), later(minutes=1))

        late = Vendor(small="first", large="first")
        async_to_sync(trials.execute)(slow, open_provider=late, clock=lambda: later(minutes=2))

        ended.refresh_from_db()
        assert (late.asked, ended.finished) == ([], later(minutes=1))
        assert {text for _outcome, text in answers(ended).values()} == {"second"}

    def test_the_clock_finds_what_waits_the_oldest_first(self, ask):
        second, first = ask(now=later(minutes=1)), ask(now=NOW)
        play(ask(now=NOW), Vendor())

        assert trials.waiting_trials() == [first.pk, second.pk]

    def test_a_final_state_needs_an_end(self, ask):
        trial = ask()

        with pytest.raises(IntegrityError), transaction.atomic():
            Trial.objects.filter(pk=trial.pk).update(status="done")


class TestTheClock:
    def test_the_task_asks_and_a_second_message_does_nothing(self, ask):
        trial = ask(targets=[make_target()])

        tasks.run_trial(trial.pk)
        tasks.run_trial(trial.pk)

        trial.refresh_from_db()
        assert (trial.status, trial.attempt) == ("done", 1)
        assert trial.answers.get().text.startswith("This is a simulated answer.")

    def test_waking_rings_for_what_waits_and_mends_what_was_lost(self, ask, monkeypatch):
        rung = []
        bell = SimpleNamespace(delay=rung.append)
        monkeypatch.setattr(tasks, "run_trial", bell)
        now = timezone.now()
        waiting, lost = ask(now=now), ask(now=now - timedelta(minutes=2))
        trials.claim(lost.pk, now=now - timedelta(minutes=2))

        tasks.wake_waiting_trials()

        assert rung == [lost.pk, waiting.pk]

    def test_both_go_where_slow_calls_and_quick_ones_belong(self):
        assert app.conf.task_routes["kb.drift.run_trial"] == {"queue": "models"}
        assert app.conf.beat_schedule["wake-waiting-trials"]["task"] == (
            tasks.wake_waiting_trials.name
        )


class TestStoppingAndForgetting:
    def test_a_stopped_trial_asks_nobody_and_stays_stopped(self, ask, author):
        trial, vendor = ask(), Vendor()

        assert trials.cancel(trial=trial, by=author, now=NOW) is True
        assert trials.cancel(trial=trial, by=author, now=later(hours=1)) is False
        assert trials.claim(trial.pk, now=NOW) is None
        trial.refresh_from_db()
        assert (trial.status, trial.finished, vendor.asked) == ("cancelled", NOW, [])

    def test_what_was_on_its_way_when_a_trial_was_stopped_is_kept(self, ask, author, models):
        trial = ask(targets=models[1:])

        async def stopped_meanwhile():
            await sync_to_async(trials.cancel)(trial=trial, by=author, now=NOW)
            return "Paid for."

        ended = play(trial, Vendor(large=stopped_meanwhile), later(seconds=5))

        assert (ended.status, ended.finished) == ("cancelled", NOW)
        assert answers(ended) == {"large": ("answered", "Paid for.")}

    def test_an_error_after_the_end_is_no_answer(self, ask, author, models):
        trial = ask(targets=models[1:])

        async def stopped_meanwhile():
            await sync_to_async(trials.cancel)(trial=trial, by=author, now=NOW)
            return error("timeout")

        ended = play(trial, Vendor(large=stopped_meanwhile), later(seconds=5))

        assert (ended.status, answers(ended)) == ("cancelled", {"large": ("waiting", "")})

    def test_nobody_stops_or_deletes_what_is_somebody_elses(self, ask):
        trial, other = ask(), make_admin()

        for act in (
            lambda: trials.cancel(trial=trial, by=other, now=NOW),
            lambda: trials.delete(trial=trial, by=other),
        ):
            with pytest.raises(NotAllowed):
                act()

    def test_a_trial_is_deleted_when_it_has_ended_and_nothing_is_kept(self, ask, author):
        trial = ask()
        with pytest.raises(Conflict):
            trials.delete(trial=trial, by=author)
        ended = play(trial, Vendor())
        answer = ended.answers.first()
        trials.keep_as_example(answer=answer, by=author, now=NOW)
        with pytest.raises(Conflict):
            trials.delete(trial=ended, by=author)

        trials.remove_example(answer=answer, by=author)
        trials.delete(trial=ended, by=author)
        trials.delete(trial=ended, by=author)

        assert not TrialAnswer.objects.exists()


class TestExamples:
    def test_a_kept_answer_stands_on_the_prompt(self, ask, author, prompt):
        trial = play(ask(), Vendor())
        answer = trial.answers.get(model="large")

        trials.keep_as_example(answer=answer, by=author, now=later(hours=1))
        trials.keep_as_example(answer=answer, by=author, now=later(hours=2))

        assert [(e.model, e.kept) for e in trial_queries.examples(prompt)] == [
            ("large", later(hours=1))
        ]

    def test_a_place_without_a_text_is_not_kept(self, ask, author):
        trial = play(ask(), Vendor(small=error("timeout")))

        with pytest.raises(Invalid):
            trials.keep_as_example(answer=trial.answers.get(model="small"), by=author, now=NOW)

    def test_at_most_five(self, ask, author, prompt):
        for minute in range(3):
            trial = play(ask(now=later(minutes=minute)), Vendor())
            for answer in trial.answers.all()[: 2 if minute < 2 else 1]:
                trials.keep_as_example(answer=answer, by=author, now=NOW)

        with pytest.raises(Conflict, match="Primes"):
            trials.keep_as_example(answer=trial.answers.last(), by=author, now=NOW)

        assert trial_queries.examples(prompt).count() == trials.MOST_KEPT

    def test_the_keeper_the_author_and_a_curator_may_remove_one(self, ask):
        colleague, curator = make_person("author"), make_person("curator")
        trial = play(ask(by=colleague), Vendor())
        answer = trial.answers.first()
        author = answer.trial.version.prompt.author
        for person in (colleague, author, curator):
            trials.keep_as_example(answer=answer, by=colleague, now=NOW)
            answer.refresh_from_db()

            trials.remove_example(answer=answer, by=person)

            answer.refresh_from_db()
            assert answer.kept is None

    def test_others_may_not(self, ask, author):
        answer = play(ask(), Vendor()).answers.first()
        trials.keep_as_example(answer=answer, by=author, now=NOW)

        with pytest.raises(NotAllowed):
            trials.remove_example(answer=answer, by=make_person("author"))


class TestSeeing:
    def test_trials_are_seen_by_their_person_alone(self, ask, author, prompt):
        trial = play(ask(), Vendor())
        admin = make_admin()

        assert trial_queries.by_id(author, trial.pk) == trial
        assert trial_queries.history(admin, prompt) == []
        for look in (
            lambda: trial_queries.by_id(admin, trial.pk),
            lambda: trial_queries.answer_by_id(admin, trial.answers.first().pk),
            lambda: trial_queries.example_by_id(admin, trial.answers.first().pk),
        ):
            with pytest.raises(NotFound):
                look()

    def test_a_trial_is_hidden_with_its_prompt(self, ask, prompt):
        colleague = make_person("author")
        trial = play(ask(by=colleague), Vendor())
        answer = trial.answers.first()
        trials.keep_as_example(answer=answer, by=colleague, now=NOW)
        prompts.edit_prompt(
            prompt=prompt,
            fields=prompts.PromptFields(visibility="private"),
            by=prompt.author,
            now=NOW,
            based_on=None,
        )

        for look in (trial_queries.by_id, trial_queries.answer_by_id, trial_queries.example_by_id):
            with pytest.raises(NotFound):
                look(colleague, trial.pk if look is trial_queries.by_id else answer.pk)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_only_one_of_many_workers_claims_a_trial(self, ask):
        trial = ask()

        def claim(_number):
            try:
                return trials.claim(trial.pk, now=NOW) is not None
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            claimed = list(pool.map(claim, range(8)))

        assert claimed.count(True) == 1

    def test_clicks_at_once_pass_no_limit(self, ask):
        def request(_number):
            try:
                return ask().pk
            except Conflict:
                return None
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(request, range(8)))

        assert sum(pk is not None for pk in made) == trials.MOST_UNDER_WAY
        assert Trial.objects.count() == trials.MOST_UNDER_WAY
