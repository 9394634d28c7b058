"""An answer as drift sees it, apart from where it is stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kb.drift.refusals import refusal_in

type Outcome = Literal["answered", "empty", "refused", "cut", "missing"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to one case. ``session`` grows with time: answers taken together share it.

    ``verdicts`` has one entry for each assertion of the case: 1 holds, 0 does not, None not
    judged. A missing answer (an error of transport) has no text and is never evidence; an empty,
    refused or cut one is how the model behaved, and stays.
    """

    text: str
    session: int
    verdicts: tuple[int | None, ...] = ()
    outcome: Outcome = "answered"


def passed(sample: Sample) -> bool | None:
    """Whether every assertion holds; None when there are none or one was not judged."""
    if not sample.verdicts or sample.outcome == "missing":
        return None
    if None in sample.verdicts:
        return None
    return all(sample.verdicts)


def is_refused(sample: Sample) -> bool:
    """Whether the model declined, by its own account or in words."""
    return sample.outcome == "refused" or refusal_in(sample.text) != ""


def is_odd(sample: Sample) -> bool:
    """Whether the answer may owe its shape to the service instead of the model's manner.

    Services under load send nothing, cut answers short or refuse for an hour and then do not:
    such nights are looked at again on another day.
    """
    return sample.outcome != "answered" or not sample.text.strip() or is_refused(sample)
