from decimal import Decimal

import pytest

from kb.drift import actions, queries
from kb.llm import actions as llm
from tests.factories import later, make_admin, make_monitor, make_prompt, make_target
from tests.pages.reruns import monitored, rerun

pytestmark = pytest.mark.django_db


def test_histories_are_the_history_of_each():
    monitors = [monitored(count=1), monitored(count=1)]
    for day, monitor in enumerate([*monitors, monitors[0]], start=1):
        rerun(monitor, "no", later(days=day))

    found = queries.histories([monitor.pk for monitor in monitors], 2)

    assert found == {monitor.pk: queries.history(monitor, 2) for monitor in monitors}
    assert [len(nights) for nights in found.values()] == [2, 2]


def test_what_a_monitor_asks_of_a_model_is_counted_and_priced():
    target = make_target()
    llm.save_price(
        connection=target.connection,
        model=target.model,
        input_per_million=Decimal(4),
        output_per_million=Decimal(10),
        currency="EUR",
        by=make_admin(),
    )

    found = queries.effort(
        make_prompt(), target, lengths=[4_000, 8_000], schedule="monthly", repeats=5
    )

    # 3,000 tokens read at 4 € a million, twice 400 written at 10 €: 0.012 + 0.008 €, and 6 % more
    # a month for second looks.
    assert found == queries.Effort(
        calls_a_run=2,
        calls_a_month=2.12,
        calls_of_baseline=10,
        cost_a_month=Decimal("0.02120"),
        cost_of_baseline=Decimal("0.100"),
        currency="EUR",
        output_tokens=400,
        is_measured=False,
    )


@pytest.mark.parametrize(
    ("schedule", "calls"), [("manual", 0.0), ("soon", 0.0), ("hourly", 774.33)]
)
def test_what_is_never_due_asks_nothing(schedule, calls):
    found = queries.effort(make_prompt(), None, lengths=[10], schedule=schedule, repeats=5)

    assert (found.calls_a_month, found.cost_a_month) == (calls, None)


def test_answers_so_far_tell_how_long_the_next_will_be():
    monitor = monitored(count=1)

    found = queries.effort(monitor.prompt, None, lengths=[10], schedule="nightly", repeats=5)

    assert (found.output_tokens, found.is_measured) == (50, True)


def test_the_baseline_is_known_by_its_answers_and_sessions():
    facts = [queries.baseline_facts(monitor) for monitor in (monitored(count=2), make_monitor())]

    assert facts == [queries.BaselineFacts(10, 1, 5), queries.BaselineFacts(0, 0, 0)]


def test_an_accepted_run_starts_the_comparison_anew():
    monitor = monitored(count=10)
    rerun(monitor, "no", later(days=1))
    before = queries.latest_report(monitor)

    actions.accept_as_normal(monitor=monitor, by=monitor.owner, now=later(days=2))
    monitor.refresh_from_db()

    assert (before.verdict, queries.latest_report(monitor)) == ("drifted", None)
