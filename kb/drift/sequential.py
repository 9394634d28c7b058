"""Looking every night without crying wolf: evidence that adds up, and chances of error that are spent.

Pure. A library may be wrong `budget` times a year. Each monitor owns the share of its looks, and
no look may spend more of it than it was given beforehand, whatever the answers are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

EARLY_SHARE = 0.8
"""This part of a year's allowance falls as 1/look and the rest is spread evenly: a change soon
after the baseline has few earlier answers to be seen against, a late one has hundreds."""
SMALLEST_P = 1e-300


def calibrated(p: float) -> float:
    """Evidence of one chance: (1 − p + p·ln p) / (p·ln²p), which is on average 1 for a uniform p.

    A mixture of the calibrators κ·p^(κ−1) over κ from 0 to 1 (Vovk & Wang 2021, "E-values:
    calibration, combination and applications"). From ½ at p = 1 without bound as p goes to 0.
    """
    if p >= 1.0 - 1e-6:
        return 0.5  # the limit; the formula divides 0 by 0 there
    p = max(p, SMALLEST_P)
    logarithm = math.log(p)
    return (1.0 - p + p * logarithm) / (p * logarithm * logarithm)


def accumulated(meter: float, p: float, stake: float = 1.0) -> float:
    """The Shiryaev–Roberts meter after one more look: (meter + stake) · evidence.

    Every look stakes ``stake`` on "the change begins now" and all earlier stakes play on. With
    independent uniform p the meter less the stakes so far is a martingale: summed over all times
    at which it is emptied, by whatever rule looks at the past alone, its expectation is at most
    the sum of the stakes (Shin, Ramdas & Rinaldo 2023, "E-detectors"; conformal p-values are
    independent and uniform: Vovk, Gammerman & Shafer 2005, "Algorithmic learning in a random
    world", ch. 8).
    """
    return (meter + stake) * calibrated(p)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one monitor may spend: expected false alarms in a year of ``looks`` looks."""

    year: float
    looks: float

    def at(self, look: int) -> float:
        """The part that belongs to one look, counted from 1 since the baseline.

        Adds up to at most ``year`` over the first year, and to less in every later one. Raises
        ValueError for a look before the first.
        """
        return self.year * self.weight(look) / max(1.0, self.looks)

    def weight(self, look: int) -> float:
        """What a look gets, relative to an even spread."""
        if look < 1:
            raise ValueError(f"Look {look} does not exist: they count from 1.")
        looks = max(1.0, self.looks)
        harmonic = math.log(looks) + 1.0  # at least 1 + 1/2 + … + 1/looks
        return (1.0 - EARLY_SHARE) + EARLY_SHARE * looks / (harmonic * look)


def second_level(p: float, *, allowed: float, first: float, most: float) -> float:
    """How small a second, independent chance must be after a first one of ``p``; 0 = never.

    Opens for p ≤ ``first``; then min(``most``, c/p). Averaged over a uniform p this is
    c·(1 + ln(most·first/c)), and c is chosen so that it equals ``allowed``: the rarer the first,
    the less is asked of the second (Fisher's product, cut off on both sides).
    """
    if p > first or allowed <= 0.0:
        return 0.0
    return min(most, _product_level(allowed, most * first) / p)


def _product_level(allowed: float, whole: float) -> float:
    """The c in (0, whole] with c·(1 + ln(whole/c)) = allowed; it grows with c, so halve."""
    if allowed >= whole:
        return whole
    low, high = 0.0, whole
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle > 0.0 and middle * (1.0 + math.log(whole / middle)) > allowed:
            high = middle
        else:
            low = middle
    return low


_HALVINGS: Final = 60
