"""What is promised before a monitor is saved, and what its own baseline can show."""

import pytest

from kb.drift import planner
from kb.drift.planner import Fall, falls, nights_to_notice, plan, usual_rate
from kb.drift.verdict import CaseCounts
from kb.drift.watch import Policy


def baseline(*passed):
    """Cases with five answers each, so many of them passes."""
    return [CaseCounts(number, count, 5) for number, count in enumerate(passed)]


class TestPlan:
    @pytest.mark.parametrize(
        ("cases", "repeats", "nights"),
        [(0, 5, None), (1, 5, 5), (2, 5, 5), (3, 5, 1), (50, 5, 1), (3, 1, None), (2, 10, 1)],
    )
    def test_few_cases_or_few_answers_need_several_nights(self, cases, repeats, nights):
        found = plan(cases=cases, policy=Policy(baseline_samples=repeats))

        assert found.nights_to_full_change == nights

    def test_the_clearest_night_is_as_rare_as_its_relabellings(self):
        assert plan(cases=3, policy=Policy(baseline_samples=5)).smallest_p == pytest.approx(6**-3)

    def test_a_month_of_calls_counts_second_looks(self):
        found = plan(cases=10, policy=Policy(baseline_samples=5))

        assert found.calls_for_baseline == 50
        assert found.calls_a_month == pytest.approx(10 * 365 / 12 * planner.SPARE_CALLS, rel=0.01)

    def test_a_library_that_grows_below_the_least_changes_no_plan(self):
        small, larger = (Policy(looks_a_year=count * 365.0) for count in (1, 200))

        assert plan(cases=2, policy=small) == plan(cases=2, policy=larger)


class TestNightsToNotice:
    def test_a_fall_to_nothing_is_noticed_on_the_first_night(self):
        assert nights_to_notice(baseline(5, 5, 5, 5, 5), rate=0.0, policy=Policy(), seed=1) == 1

    def test_a_small_fall_of_few_cases_might_not_be(self):
        counts = baseline(5, 4)

        assert nights_to_notice(counts, rate=0.85, policy=Policy(), seed=1) is None

    def test_the_same_seed_gives_the_same_night(self):
        counts = baseline(5, 5, 5, 5, 5)

        found = {nights_to_notice(counts, rate=0.5, policy=Policy(), seed=7) for _ in range(2)}

        assert len(found) == 1

    def test_cases_nobody_judged_do_not_count(self):
        counts = [*baseline(5, 5, 5, 5, 5), CaseCounts(9, 0, 0)]

        assert usual_rate(counts) == 1.0
        assert nights_to_notice(counts, rate=0.0, policy=Policy(), seed=1) == 1

    def test_what_cannot_be_asked_is_refused(self):
        with pytest.raises(ValueError, match="has been judged"):
            nights_to_notice([CaseCounts(0, 0, 0)], rate=0.5, policy=Policy(), seed=1)
        with pytest.raises(ValueError, match="cannot fall to"):
            nights_to_notice(baseline(4), rate=0.9, policy=Policy(), seed=1)


class TestFalls:
    def played(self, monkeypatch, nights):
        """The ladder, with the nights that each rate takes decided here."""
        monkeypatch.setattr(
            planner, "nights_to_notice", lambda _baseline, *, rate, **_more: nights.get(rate)
        )

    def test_they_grow_up_to_the_first_that_is_noticed(self, monkeypatch):
        self.played(monkeypatch, {0.7: 6, 0.6: 3, 0.4: 1, 0.0: 1})

        found = list(falls(baseline(5, 4), policy=Policy(), seed=1))

        assert found == [Fall(0.85, None), Fall(0.8, None), Fall(0.7, 6)]

    def test_a_rate_never_falls_below_nothing(self, monkeypatch):
        self.played(monkeypatch, {})

        found = list(falls(baseline(1, 1), policy=Policy(), seed=1))

        assert [fall.rate for fall in found] == [0.15, 0.1, 0.0]

    @pytest.mark.parametrize("counts", [[], [CaseCounts(0, 0, 0)], baseline(0, 0)])
    def test_where_nothing_passes_nothing_can_fall(self, counts):
        assert list(falls(counts, policy=Policy(), seed=1)) == []
