"""Many monitors on one night: which changed, and did a model change? Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping


def simes(chances: Mapping[Hashable, float]) -> float:
    """One chance for "something changed somewhere" from the chances of all monitors of a model.

    min over k of n·p₍ₖ₎/k (Simes 1986). It holds for independent and for positively dependent
    chances, such as those of prompts that share the mood of one provider; Fisher's product, which
    is stronger, does not. 1 for none.
    """
    ordered = sorted(chances.values())
    return min([1.0, *(len(ordered) * p / rank for rank, p in enumerate(ordered, start=1))])


def discoveries[Key: Hashable](chances: Mapping[Key, float], *, share: float) -> list[Key]:
    """The monitors that changed, of which at most ``share`` are expected to be called wrongly.

    Benjamini & Hochberg 1995; smallest chance first. To be wrong at most B times a year with
    nightly looks, use B / 365.
    """
    ordered = sorted(chances, key=lambda key: chances[key])
    most = 0
    for rank, key in enumerate(ordered, start=1):
        if chances[key] <= share * rank / len(ordered):
            most = rank
    return ordered[:most]
