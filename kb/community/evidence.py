"""What reports and signals prove, in figures that say how sure they are.

Every figure carries its n. Nothing here ranks people or adds minutes up to a total.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, fields

Z_95 = 1.959963984540054
"""Quantile of the standard normal distribution for a two-sided 95 % interval."""
FEWEST_PEOPLE = 5
"""Below five people a median of minutes says more about one of them than about the prompt."""
COMPARABLE_COUNTERFACTUALS = frozenset({"by_hand", "other_tool"})
"""What would have been done without AI, where 'minutes without AI' means something."""


@dataclass(frozen=True)
class Interval:
    """A range of probabilities, both ends included, 0 ≤ low ≤ high ≤ 1."""

    low: float
    high: float


def wilson(successes: int, total: int, z: float = Z_95) -> Interval:
    """The Wilson score interval of a proportion; 0 to 1 when nothing was tried.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22, 209–212. Unlike the textbook interval it
    stays sensible for few trials and for none or all of them successful. Raises ValueError unless
    0 ≤ successes ≤ total and z > 0.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total}: expected 0 ≤ successes ≤ total.")
    if not z > 0:
        raise ValueError(f"z is {z}: expected a positive number.")
    if total == 0:
        return Interval(0.0, 1.0)
    share = successes / total
    centre = share + z * z / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # The formula gives exactly 0 and 1 there; rounding would not.
    low = 0.0 if successes == 0 else max(0.0, (centre - reach) / scale)
    high = 1.0 if successes == total else min(1.0, (centre + reach) / scale)
    return Interval(low, high)


@dataclass(frozen=True)
class Worked:
    """How often something worked: counts of uses, by outcome. Raises ValueError below zero.

    'Worked in k of n' counts uses that worked as they were and those that worked after edits: a
    draft one corrects is what most people want from a prompt, and who needs it without a touch
    sees `worked` alone beside it. Partly working, failing and harmful uses are all `failed`.
    """

    worked: int = 0
    with_edits: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(
                    f"{field.name} is {getattr(self, field.name)}: a count is 0 or more."
                )

    def __add__(self, other: Worked) -> Worked:
        return Worked(
            self.worked + other.worked,
            self.with_edits + other.with_edits,
            self.failed + other.failed,
        )

    @property
    def n(self) -> int:
        """All uses."""
        return self.worked + self.with_edits + self.failed

    @property
    def k(self) -> int:
        """The uses that worked, as they were or after edits."""
        return self.worked + self.with_edits

    @property
    def interval(self) -> Interval:
        """The Wilson 95 % interval of k of n."""
        return wilson(self.k, self.n)

    @property
    def lower_bound(self) -> float:
        """What 'most proven' sorts by: 0 without any use, and 3 of 3 does not beat 40 of 50."""
        return self.interval.low


@dataclass(frozen=True)
class TimeReport:
    """The minutes of one report; None where the person did not say. `without` is without AI.

    `counterfactual` is what would have been done without AI: by_hand, other_tool, not_done or
    unknown. Raises ValueError for minutes that are negative or not finite.
    """

    without: float | None
    preparing: float | None
    waiting: float | None
    checking: float | None
    counterfactual: str = ""
    is_parallel_work: bool | None = None

    def __post_init__(self) -> None:
        for name in ("without", "preparing", "waiting", "checking"):
            minutes = getattr(self, name)
            if minutes is not None and not 0 <= minutes < math.inf:
                raise ValueError(f"{name} is {minutes}: minutes are 0 or more.")


def net_minutes(report: TimeReport) -> float | None:
    """Minutes without AI − (preparing + waiting + checking and fixing); a loss is negative.

    None when the report is not comparable: nothing would have been done otherwise or nobody knows,
    other work went on meanwhile or nobody says it did not, or one of the four figures is missing.
    """
    spent = (report.preparing, report.waiting, report.checking)
    is_comparable = (
        report.counterfactual in COMPARABLE_COUNTERFACTUALS and report.is_parallel_work is False
    )
    if not is_comparable or report.without is None or None in spent:
        return None
    return report.without - math.fsum(minutes for minutes in spent if minutes is not None)


@dataclass(frozen=True)
class MinutesSummary:
    """Net minutes of `n` comparable reports by `people`; half lie between the quartiles."""

    median: float
    lower_quartile: float
    upper_quartile: float
    n: int
    people: int


def summarise_minutes(
    reports: Collection[tuple[Hashable, TimeReport]],
) -> MinutesSummary | None:
    """Median and quartiles of net minutes over the comparable ones of (person_id, report).

    None below five distinct people with a comparable report: then the page lists the reports.
    Quartiles are type 7 of Hyndman, R. J. and Fan, Y. (1996), "Sample quantiles in statistical
    packages", The American Statistician 50, 361–365: linear between order statistics, as
    spreadsheets do.
    """
    comparable = [
        (person, net) for person, report in reports if (net := net_minutes(report)) is not None
    ]
    people = len({person for person, _net in comparable})
    if people < FEWEST_PEOPLE:
        return None
    lower, median, upper = statistics.quantiles(
        (net for _p, net in comparable), n=4, method="inclusive"
    )
    return MinutesSummary(median, lower, upper, n=len(comparable), people=people)


def decayed_activity(events: Iterable[tuple[float, float]], half_life_days: float) -> float:
    """Sum of the weights of (age_days, weight), each halved every `half_life_days`.

    An event from the future (clocks differ) counts in full. Raises ValueError unless the half-life
    is positive.
    """
    if not half_life_days > 0:
        raise ValueError(f"The half-life is {half_life_days} days: expected a positive number.")
    return math.fsum(
        weight * 0.5 ** (max(0.0, age_days) / half_life_days) for age_days, weight in events
    )
