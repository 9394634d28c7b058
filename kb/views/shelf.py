"""Prompts as lists show them: the card of a prompt with its evidence, votes and drift state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kb.community import queries as community
from kb.community.evidence import Worked
from kb.community.tally import tally
from kb.drift import queries as drift
from kb.prompts import queries as prompts
from kb.prompts.queries import Card


@dataclass(frozen=True)
class Shelved:
    """One row of a list."""

    card: Card
    worked: Worked
    is_old_evidence: bool
    votes: int
    reports: int
    drift: drift.State | None


def shelve(prompt_ids: Sequence[int]) -> list[Shelved]:
    """The rows of these prompts, in this order; six queries for any number of them.

    Does not check visibility: the ids come from a query that did.
    """
    if not prompt_ids:
        return []
    tallies = tally(prompt_ids)
    votes = community.vote_counts(prompt_ids)
    reports = community.report_counts(prompt_ids)
    states = drift.states(prompt_ids)
    return [
        Shelved(
            card=card,
            worked=tallies[card.pk].worked,
            is_old_evidence=tallies[card.pk].is_from_older_versions,
            votes=votes.get(card.pk, 0),
            reports=reports.get(card.pk, 0),
            drift=states.get(card.pk),
        )
        for card in prompts.cards(prompt_ids)
    ]
