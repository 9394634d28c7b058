"""What a person enters to try a prompt: values for its blanks and the models to ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kb.core.words import clean_text
from kb.prompts.template import Variable

LONGEST_NUMBER = 9
"""Digits of an id somebody may send; longer ones are of nothing."""


@dataclass
class TrialDraft:
    """A trial as it is being filled in; `targets` are ids."""

    values: dict[str, str] = field(default_factory=dict)
    targets: list[int] = field(default_factory=list)

    @classmethod
    def typed(
        cls, data: Mapping[str, str], ticked: Sequence[str], variables: Sequence[Variable]
    ) -> TrialDraft:
        """What a person sent; what is no blank of the prompt and no number is left out."""
        given = {v.name: clean_text(data.get(f"v-{v.name}", "")) for v in variables}
        numbers = [number_of(text) for text in ticked]
        return cls(
            {name: value for name, value in given.items() if value},
            [pk for pk in dict.fromkeys(numbers) if pk is not None],
        )


def number_of(text: str) -> int | None:
    """A number out of an address or a form; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None
