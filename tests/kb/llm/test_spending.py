import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.db import connection as database

from accounts.models import AuditEntry
from kb.core.errors import Invalid, NotAllowed, NotFound
from kb.llm import actions, queries, spending
from kb.llm.base import EmbeddingRequest, Embeddings, LLMError, Message, Reply, Request
from kb.llm.models import CALLS, Cap, Expense, Reservation, Tally
from kb.llm.queries import CapUse, ExpenseSum
from kb.llm.spending import Estimate, Metered, OverBudget, Purse, Usage
from tests.factories import NOW, later, make_admin, make_department, make_person, make_target

pytestmark = pytest.mark.django_db

REQUEST = Request((Message("user", "x" * 400),), "model-a", {"max_tokens": 900})
"""100 tokens in, and 900 out at most."""


def purse(department=None, *, currency="EUR", price="1000", connection_id=7, **fields):
    """A purse whose every token costs a thousandth, unless told otherwise."""
    known = Decimal(price) if currency else None
    return Purse(
        connection_id=connection_id,
        connection_name="Vendor",
        department_id=department.pk if department else None,
        model="model-a",
        reference="run:1",
        input_price=known,
        output_price=known,
        currency=currency,
        **fields,
    )


def cap(most, *, unit="EUR", period="month", **scope):
    return actions.save_cap(by=make_admin(), period=period, unit=unit, most=Decimal(most), **scope)


def reserve(payer, money="1", now=NOW, calls=1):
    return spending.reserve(payer, Estimate(Decimal(money), calls), now=now)


def tally(unit="EUR", scope="company", period="month"):
    row = Tally.objects.get(unit=unit, scope=scope, period=period)
    return (row.spent, row.reserved)


class TestReserving:
    def test_a_reservation_moves_every_scope_and_period_and_leaves_nothing_at_rest(self):
        legal = make_department("legal")
        kept = reserve(purse(legal), "2.5")
        under_way = set(Tally.objects.values_list("scope", "period", "unit", "reserved"))

        spending.settle(kept, Usage(Decimal("1.25"), 1, 0, 300, 200))

        scopes = ("company", "connection", "department")
        assert under_way == {
            (scope, period, unit, amount)
            for scope in scopes
            for period in ("day", "month")
            for unit, amount in (("EUR", Decimal("2.5")), (CALLS, Decimal(1)))
        }
        assert set(Tally.objects.values_list("unit", "spent", "reserved")) == {
            ("EUR", Decimal("1.25"), 0),
            (CALLS, 1, 0),
        }
        assert not Reservation.objects.exists()

    def test_the_cap_itself_may_be_reached_but_not_passed(self):
        cap("10")
        reserve(purse(), "10")

        with pytest.raises(OverBudget):
            reserve(purse(), "0.000001")

        assert tally() == (0, 10)

    def test_a_refusal_names_the_cap_the_values_and_the_day_it_frees(self):
        legal = make_department("legal")
        cap("10", department=legal)
        spending.settle(reserve(purse(legal), "8"), Usage(Decimal("7.50"), 1))
        reserve(purse(legal), "1")

        with pytest.raises(OverBudget) as refused:
            reserve(purse(legal), "3")

        assert (refused.value.kind, refused.value.permanent) == ("over_budget", True)
        assert (refused.value.spent, refused.value.reserved, refused.value.may_free) == (
            Decimal("7.5"),
            Decimal(1),
            False,
        )
        assert refused.value.message == (
            "The cap of 10 EUR a month for the department legal leaves no room: 7.5 EUR spent, "
            "1 EUR reserved, 3 EUR asked for. It frees on 2026-04-01."
        )

    def test_a_refusal_moves_no_tally(self):
        cap("1")

        with pytest.raises(OverBudget):
            reserve(purse(), "2")

        assert (list(Tally.objects.all()), list(Reservation.objects.all())) == ([], [])

    def test_it_tells_when_only_calls_under_way_stand_in_the_way(self):
        cap("10")
        reserve(purse(), "9")

        with pytest.raises(OverBudget) as refused:
            reserve(purse(), "2")

        assert refused.value.may_free is True

    @pytest.mark.parametrize("scope", ["company", "connection", "department"])
    @pytest.mark.parametrize("period", ["day", "month"])
    @pytest.mark.parametrize("unit", ["EUR", CALLS])
    def test_each_kind_of_cap_binds_whom_it_names_and_nobody_else(self, scope, period, unit):
        target, legal, other = make_target(), make_department("legal"), make_department("other")
        own = {"connection": target.connection} if scope == "connection" else {}
        own |= {"department": legal} if scope == "department" else {}
        cap("1", unit=unit, period=period, **own)
        mine = purse(legal, connection_id=target.connection.pk)
        reserve(mine)

        with pytest.raises(OverBudget):
            reserve(mine)

        theirs = purse(other, connection_id=target.connection.pk + 1)
        assert isinstance(spending.refusal(theirs, Estimate(), now=NOW), OverBudget) == (
            scope == "company" and unit == CALLS
        )
        assert bool(spending.refusal(theirs, Estimate(Decimal(1)), now=NOW)) == (scope == "company")

    def test_a_day_ends_where_the_installation_is(self):
        cap("1", period="day")
        before_midnight_in_paris = datetime(2026, 3, 2, 22, 59, tzinfo=UTC)
        reserve(purse(), now=before_midnight_in_paris)

        assert spending.refusal(purse(), Estimate(Decimal(1)), now=before_midnight_in_paris)
        reserve(purse(), now=before_midnight_in_paris + timedelta(minutes=2))

        assert [row.starts.day for row in Tally.objects.filter(period="day", unit="EUR", scope="company").order_by("starts")] == [2, 3]  # fmt: skip

    def test_december_frees_in_january(self):
        assert spending.period_end("month", date(2026, 12, 31)) == date(2027, 1, 1)

    def test_a_cap_made_later_knows_what_the_month_has_cost_already(self):
        spending.settle(reserve(purse(), "5"), Usage(Decimal(5), 1))
        cap("5")

        assert spending.refusal(purse(), Estimate(Decimal("0.01")), now=NOW) is not None

    def test_asking_whether_there_is_room_keeps_nothing(self):
        cap("1")

        assert spending.refusal(purse(), Estimate(Decimal(1)), now=NOW) is None
        assert (list(Tally.objects.all()), list(Reservation.objects.all())) == ([], [])


class TestWithoutAPrice:
    def test_a_call_nobody_can_price_is_refused_under_a_cap_in_money(self):
        cap("50")

        with pytest.raises(OverBudget) as refused:
            reserve(purse(currency=""))

        assert refused.value.message == (
            "The price of model-a is not known, so the cap of 50 EUR a month for the whole company "
            "cannot be kept. Enter its price in EUR (0 if it is free), or cap the calls."
        )

    def test_a_price_in_another_currency_cannot_keep_the_cap_either(self):
        cap("50")

        with pytest.raises(OverBudget, match="price of model-a is in USD"):
            reserve(purse(currency="USD"))

    def test_a_cap_in_calls_bounds_what_has_no_price(self):
        cap("50")
        cap("1", unit=CALLS)
        reserve(purse(currency=""))

        with pytest.raises(OverBudget, match="0 calls spent, 1 calls reserved"):
            reserve(purse(currency=""))

    def test_a_simulated_model_is_free(self):
        cap("0")
        target = make_target()
        free = spending.purse_for(target, department_id=None, reference="trial", price=None)

        kept = reserve(free, "0")

        assert (kept.money, kept.currency) == (0, "")


class TestSettling:
    def test_a_reservation_is_settled_once(self):
        kept = reserve(purse(), "3")

        twice = [spending.settle(kept, Usage(Decimal(2), 1)) for _time in range(2)]

        assert (twice, tally()) == ([True, False], (2, 0))

    def test_what_a_dead_worker_reserved_counts_as_spent_when_its_lease_ends(self):
        reserve(purse(), "3")
        early = spending.settle_lost(now=NOW + spending.LEASE)

        late = spending.settle_lost(now=NOW + spending.LEASE + timedelta(seconds=1))

        assert (early, late, tally()) == (0, 1, (3, 0))
        row = Expense.objects.get()
        assert (row.calls, row.unknown_calls, row.cost) == (1, 1, 3)

    def test_a_worker_that_comes_back_after_the_sweep_changes_nothing(self):
        kept = reserve(purse(), "3")
        spending.settle_lost(now=later(hours=1))

        assert (spending.settle(kept, Usage(Decimal(1), 1)), tally()) == (False, (3, 0))

    def test_expenses_of_one_purpose_and_day_are_one_row(self):
        for _call in range(3):
            kept = reserve(purse(), "1")
            spending.settle(kept, Usage(Decimal("0.5"), 2, 1, 10, 20))

        row = Expense.objects.get()
        assert (row.day, row.connection_name, row.department_id, row.model, row.reference) == (
            NOW.date(),
            "Vendor",
            None,
            "model-a",
            "run:1",
        )
        assert (row.calls, row.unknown_calls, row.input_tokens, row.output_tokens, row.cost) == (
            6,
            3,
            30,
            60,
            Decimal("1.5"),
        )

    def test_what_never_left_leaves_no_expense(self):
        spending.settle(reserve(purse()), Usage())

        assert (list(Expense.objects.all()), tally()) == ([], (0, 0))

    def test_a_reservation_of_yesterday_is_settled_on_its_own_day(self):
        kept = reserve(purse(), "2", now=NOW)
        reserve(purse(), "1", now=later(days=1))

        spending.settle(kept, Usage(Decimal(2), 1))

        days = Tally.objects.filter(scope="company", period="day", unit="EUR").order_by("starts")
        assert [(row.spent, row.reserved) for row in days] == [(2, 0), (0, 1)]


@pytest.mark.django_db(transaction=True)
class TestManyWorkers:
    def test_spent_and_reserved_together_never_pass_a_cap_under_eight_workers(self):
        """CALL-BUDGET."""
        legal, other = make_department("legal"), make_department("other")
        cap("20", department=legal)
        cap("30")
        cap("35", unit=CALLS)
        seen = []

        def worker(number):
            try:
                return [one_call(number, turn) for turn in range(12)]
            finally:
                database.close()

        def one_call(number, turn):
            payer = purse(legal if (number + turn) % 2 else other, connection_id=number % 3 + 1)
            try:
                kept = reserve(payer, "1")
            except OverBudget:
                return False
            seen.extend(Tally.objects.values_list("scope", "period", "unit", "spent", "reserved"))
            # One call in four never left, so that its room is used again.
            usage = Usage(Decimal("0.9"), 1) if turn % 4 else Usage()
            return spending.settle(kept, usage)

        with ThreadPoolExecutor(8) as pool:
            results = [made for worker_made in pool.map(worker, range(8)) for made in worker_made]

        most = {("company", "month", "EUR"): 30, ("company", "month", CALLS): 35}
        totals = [
            (spent + reserved, most[scope, period, unit])
            for scope, period, unit, spent, reserved in seen
            if (scope, period, unit) in most
        ]
        assert max(total - limit for total, limit in totals) <= 0
        assert set(Tally.objects.values_list("reserved", flat=True)) == {0}
        assert not Reservation.objects.exists()
        assert any(results)
        assert not all(results)
        assert Tally.objects.get(scope="department", scope_id=legal.pk, period="month", unit="EUR").spent <= 20  # fmt: skip

    def test_eight_workers_on_the_last_place_and_one_gets_it(self):
        cap("1", unit=CALLS, period="day")

        def worker(_number):
            try:
                reserve(purse(), "0")
            except OverBudget:
                return False
            finally:
                database.close()
            return True

        with ThreadPoolExecutor(8) as pool:
            got = sorted(pool.map(worker, range(8)))

        assert got == [False] * 7 + [True]

    def test_two_sweeps_at_once_count_a_lost_call_once(self):
        for _call in range(10):
            reserve(purse(), "1")

        def sweep(_number):
            try:
                return spending.settle_lost(now=later(hours=1))
            finally:
                database.close()

        with ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(sweep, range(4)))
        spending.settle_lost(now=later(hours=1))

        assert (sum(counts) <= 10, tally()) == (True, (10, 0))


class Scripted:
    """A provider that passes the gate once for each outcome in its script."""

    def __init__(self, *script):
        self.script = script

    async def complete(self, request, *, deadline, gate=None):
        for attempt, outcome in enumerate(self.script, start=1):
            await gate(attempt)
            if outcome != "again":
                if isinstance(outcome, BaseException):
                    raise outcome
                return outcome
        raise AssertionError("The script is too short.")

    async def models(self):
        return []


def reply(input_tokens=100, output_tokens=50, **fields):
    usual = {"finish": "stop", "model": "m", "fingerprint": None, "request_id": None}
    usual |= {"latency_ms": 1, "raw_finish": "stop", "text": "Yes"}
    return Reply(input_tokens=input_tokens, output_tokens=output_tokens, **{**usual, **fields})


def failed(kind, attempts, maybe_billed):
    return LLMError(kind, kind, permanent=False, attempts=attempts, maybe_billed=maybe_billed)


def metered(*script, payer=None, **fields):
    return Metered(Scripted(*script), payer or purse(), lambda: NOW, **fields)


class Vectors:
    """A provider that makes vectors of texts with 140 tokens."""

    async def embed(self, request, *, deadline, gate=None):
        await gate(1)
        return Embeddings(((1.0,), (0.5,)), "model-a", 140)


def vectors(provider, request):
    return async_to_sync(provider.embed)(request, deadline=time.monotonic() + 100)


def ask(provider, gate=None, deadline=None):
    deadline = time.monotonic() + 100 if deadline is None else deadline
    return async_to_sync(provider.complete)(REQUEST, deadline=deadline, gate=gate)


class TestMetered:
    def test_money_is_reserved_before_the_call_and_replaced_by_its_cost(self):
        held = []

        class Watching(Scripted):
            async def complete(self, request, *, deadline, gate=None):
                answer = await super().complete(request, deadline=deadline, gate=gate)
                held.append(await Reservation.objects.aget())
                return answer

        ask(Metered(Watching(reply()), purse(), lambda: NOW))

        assert [(row.money, row.calls) for row in held] == [(1, 1)]  # 100 + 900 tokens
        assert tally() == (Decimal("0.15"), 0)

    def test_vectors_are_paid_for_by_what_is_read_alone(self):
        cap("0.15")  # exactly what 600 characters are taken for
        texts = EmbeddingRequest(("x" * 400, "y" * 200), "model-a")
        vectors(Metered(Vectors(), purse(), lambda: NOW), texts)

        assert tally() == (Decimal("0.14"), 0)
        expense = Expense.objects.get()
        assert (expense.calls, expense.input_tokens, expense.output_tokens) == (1, 140, 0)

    def test_no_vectors_are_made_that_the_budget_does_not_cover(self):
        cap("0.01")
        texts = EmbeddingRequest(("x" * 400,), "model-a")

        with pytest.raises(OverBudget):
            vectors(Metered(Vectors(), purse(), lambda: NOW), texts)

        assert list(Expense.objects.all()) == []

    def test_no_call_starts_that_the_budget_does_not_cover(self):
        cap("0.99")

        with pytest.raises(OverBudget):
            ask(metered(reply()))

        assert list(Expense.objects.all()) == []

    def test_an_answer_without_counts_costs_what_was_reserved(self):
        ask(metered(reply(None, None)))

        assert tally() == (1, 0)

    def test_every_attempt_has_money_of_its_own(self):
        cap("1.5")

        with pytest.raises(OverBudget):
            ask(metered("again", reply(attempts=2)))

        assert tally() == (0, 0)

    @pytest.mark.parametrize(
        ("script", "spent", "calls", "unknown"),
        [
            (["again", reply(attempts=2)], "0.15", 2, 0),
            (["again", reply(attempts=2, maybe_billed=1)], "1.15", 2, 1),
            ([failed("server", 1, 0)], "0", 1, 0),
            ([failed("timeout", 1, 1)], "1", 1, 1),
            (["again", failed("timeout", 2, 1)], "1", 2, 1),
            ([failed("bad_header", 0, 0)], "0", 0, 0),
            ([ValueError("a fault of ours")], "1", 1, 1),
        ],
    )
    def test_an_unknown_outcome_counts_as_spent_and_a_known_failure_does_not(
        self, script, spent, calls, unknown
    ):
        try:
            ask(metered(*script))
        except (LLMError, ValueError):
            pass

        row = Expense.objects.first()
        seen = (row.cost, row.calls, row.unknown_calls) if row else (0, 0, 0)
        assert seen == (Decimal(spent), calls, unknown)
        assert tally() == (Decimal(spent), 0)

    def test_what_is_switched_off_reserves_nothing(self):
        async def gate(_attempt):
            raise failed("cancelled", 0, 0)

        with pytest.raises(LLMError, match="cancelled"):
            ask(metered(reply()), gate)

        assert not Tally.objects.exists()

    def test_a_call_waits_for_others_that_hold_more_than_they_will_need(self):
        cap("1.5")
        kept, slept = [reserve(purse(), "1")], []

        async def sleep(seconds):
            slept.append(seconds)
            if len(slept) == 2:
                await asyncio.to_thread(lambda: None)
                await spending.sync_to_async(spending.settle)(kept[0], Usage(Decimal("0.1"), 1))

        answer = ask(metered(reply(), sleep=sleep))

        assert (answer.text, slept, tally()) == ("Yes", [1.0, 1.0], (Decimal("0.25"), 0))

    def test_it_does_not_wait_beyond_its_deadline(self):
        cap("1.5")
        reserve(purse(), "1")

        with pytest.raises(OverBudget):
            ask(metered(reply()), deadline=time.monotonic())

    def test_a_cancelled_call_counts_as_spent(self):
        class Endless(Scripted):
            async def complete(self, request, *, deadline, gate=None):
                await gate(1)
                started.set()
                await asyncio.sleep(60)

        async def go():
            task = asyncio.create_task(
                Metered(Endless(), purse(), lambda: NOW).complete(REQUEST, deadline=1e12)
            )
            await started.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        started = asyncio.Event()
        async_to_sync(go)()

        row = Expense.objects.get()
        assert (row.cost, row.unknown_calls, tally()) == (1, 1, (1, 0))

    def test_reserving_and_settling_cost_few_queries(self, django_assert_num_queries):
        payer = purse(make_department("legal"))
        reserve(payer)

        with django_assert_num_queries(5):  # two of them begin and end the savepoint
            kept = reserve(payer)
        with django_assert_num_queries(5):
            spending.settle(kept, Usage(Decimal(1), 1))


class TestCaps:
    def test_only_administrators_of_the_company_handle_caps(self):
        made = cap("1")
        author = make_person("author")

        for forbidden in (
            lambda: actions.save_cap(by=author, period="day", unit="EUR", most=Decimal(1)),
            lambda: actions.delete_cap(cap=made, by=author),
            lambda: queries.caps(author, now=NOW),
            lambda: queries.cap_by_id(author, made.pk),
            lambda: queries.expenses(author, since=NOW.date(), until=NOW.date()),
        ):
            with pytest.raises(NotAllowed):
                forbidden()

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"period": "year"}, "period"),
            ({"unit": "euros"}, "unit"),
            ({"most": Decimal(-1)}, "most"),
            ({"most": Decimal("NaN")}, "most"),
            ({"most": Decimal("1e30")}, "most"),
            ({"most": Decimal("1.5"), "unit": CALLS}, "most"),
        ],
    )
    def test_what_cannot_be_a_cap_is_named(self, fields, name):
        with pytest.raises(Invalid) as refused:
            actions.save_cap(
                **{"by": make_admin(), "period": "day", "unit": "EUR", "most": Decimal(1)} | fields
            )

        assert list(refused.value.fields) == [name]

    def test_a_cap_has_one_scope(self):
        with pytest.raises(Invalid) as refused:
            cap("1", connection=make_target().connection, department=make_department("legal"))

        assert list(refused.value.fields) == ["department"]

    def test_a_second_cap_of_the_same_kind_changes_the_first_and_both_acts_are_on_record(self):
        first, second = cap("1", unit="eur"), cap("2")

        assert (first.pk, second.most) == (second.pk, 2)
        acts = AuditEntry.objects.filter(action__startswith="cap.").order_by("pk")
        assert [(act.action, act.details["most"]) for act in acts] == [
            ("cap.created", "1"),
            ("cap.changed", "2"),
        ]

    def test_the_list_tells_what_each_period_has_cost(self):
        made = cap("10")
        spending.settle(reserve(purse(), "4"), Usage(Decimal(3), 1))
        reserve(purse(), "2")

        found = queries.caps(make_admin(), now=NOW)

        assert found == [CapUse(made, Decimal(3), Decimal(2), date(2026, 4, 1))]
        assert (found[0].left, queries.caps(make_admin(), now=later(days=31))[0].left) == (5, 10)

    def test_a_deleted_cap_binds_nobody(self):
        made = cap("0")
        actions.delete_cap(cap=made, by=make_admin())

        assert spending.refusal(purse(), Estimate(Decimal(1)), now=NOW) is None
        assert not Cap.objects.exists()
        with pytest.raises(NotFound):
            queries.cap_by_id(make_admin(), made.pk)

    def test_the_spending_page_sums_by_whatever_it_is_asked(self):
        legal = make_department("legal")
        for payer, cost, day in (
            (purse(legal), "2", 0),
            (purse(), "3", 0),
            (purse(legal), "4", 1),
            (purse(currency=""), "0", 1),
            (purse(legal), "9", 40),
        ):
            kept = reserve(payer, cost, now=later(days=day))
            spending.settle(kept, Usage(Decimal(cost), 1, 0, 10, 5))

        rows = queries.expenses(make_admin(), since=NOW.date(), until=later(days=1).date())

        def line(group, cost, calls, currency="EUR"):
            return ExpenseSum(group, currency, calls, 0, 10 * calls, 5 * calls, Decimal(cost))

        assert queries.expense_sums(rows, by="department") == [
            line(legal.pk, "6", 2),
            line(None, "3", 1),
            line(None, "0", 1, ""),
        ]
        by_day = queries.expense_sums(rows, by="day")
        assert sorted(by_day, key=lambda s: (s.group, s.currency)) == [
            line(NOW.date(), "5", 2),
            line(later(days=1).date(), "0", 1, ""),
            line(later(days=1).date(), "4", 1),
        ]
