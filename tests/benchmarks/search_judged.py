"""Judged queries: what people would type, and the prompts they would be glad to find. Pure.

Kinds: `exact` (words as in title or text), `inflected` (plurals, conjugated), `accents` (missing,
added, ligatures, capitals), `typo` (one or two slips), `natural` (as one would ask a colleague),
`field` (filters and operators typed among the words), `half-remembered` (pieces of a title), `contested` (words that many prompts
share while few are meant: the kind that tells a good order from a bad one).
Languages: `en` and `fr` of the words typed; `cross` for words of one language towards a prompt of
the other; `other` for the rest of the corpus.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

JUDGED = Path(__file__).resolve().parent / "judged"
NEIGHBOURS = JUDGED / "neighbours.yaml"
DEV, TEST = "dev", "test"
SETS = (DEV, TEST)
"""A third to tune on and two thirds to measure with; no query is in both."""
KINDS = (
    "exact",
    "inflected",
    "accents",
    "typo",
    "natural",
    "field",
    "half-remembered",
    "contested",
)
LANGUAGES = ("en", "fr", "cross", "other")
DEPTH = 10
"""Results looked at: what is seen without turning a page."""


@dataclass(frozen=True)
class Judged:
    """One query and the titles that answer it, as `plain_title` writes them."""

    text: str
    kind: str
    language: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """What a search engine said to a query: at most DEPTH titles, best first."""

    judged: Judged
    titles: Sequence[str]

    @property
    def rank(self) -> int | None:
        """Position of the first relevant title, 1 for the top; None when there is none."""
        for position, title in enumerate(self.titles[:DEPTH], start=1):
            if plain_title(title) in self.judged.relevant:
                return position
        return None


@dataclass(frozen=True)
class Score:
    """How well a group of queries was answered.

    `choices` is the share of queries with more than one title to put in order: where it is low, the
    order is hardly tested and `first` says little more than `ten`. `first` and `ten` are the shares answered at the top and among the first ten; `mrr` is the mean
    of 1/rank, 0 for what was not found (Voorhees 1999, TREC-8 question answering track).
    """

    queries: int
    first: float
    ten: float
    mrr: float
    choices: float


def plain_title(title: str) -> str:
    """A title in small letters with plain spaces, for comparing across copies of a text."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())


def load(name: str) -> list[Judged]:
    """The queries of one set. Raises ValueError naming the first entry that is not well formed."""
    path = JUDGED / f"{name}.yaml"
    entries = yaml.safe_load(path.read_text("utf-8"))
    return [_judged(entry, f"{path.name}, entry {n}") for n, entry in enumerate(entries, start=1)]


def neighbours() -> frozenset[str]:
    """Plain titles of what any engine listed among its first DEPTH for a judged query.

    Some of it answers the query as well as what is judged to; nobody has looked at all of it. Written
    by `search_quality --write-neighbours` (the pool of TREC: Voorhees & Harman 2005, ch. 2).
    """
    return frozenset(map(plain_title, yaml.safe_load(NEIGHBOURS.read_text("utf-8"))))


def _judged(entry: Mapping[str, Any], place: str) -> Judged:
    if set(entry) != {"kind", "language", "query", "relevant"}:
        raise ValueError(f"{place} has the keys {sorted(entry)}; see the entries before it.")
    if entry["kind"] not in KINDS or entry["language"] not in LANGUAGES:
        raise ValueError(f"{place}: kind {entry['kind']!r} or language {entry['language']!r}.")
    relevant = frozenset(map(plain_title, entry["relevant"]))
    if not entry["query"].strip() or not relevant or len(relevant) < len(entry["relevant"]):
        raise ValueError(f"{place} needs a query and titles, each of them once.")
    return Judged(entry["query"], entry["kind"], entry["language"], relevant)


def score(answers: Iterable[Answer]) -> Score:
    """The score of these answers, of which there must be at least one."""
    answers = list(answers)
    ranks = [answer.rank for answer in answers]
    return Score(
        queries=len(ranks),
        first=fmean(rank == 1 for rank in ranks),
        ten=fmean(rank is not None for rank in ranks),
        mrr=fmean(1 / rank if rank else 0.0 for rank in ranks),
        choices=fmean(len(answer.titles) > 1 for answer in answers),
    )


def scores_by(answers: Sequence[Answer], group: Callable[[Judged], str]) -> dict[str, Score]:
    """A score for each group, in the order in which the groups first occur."""
    names = dict.fromkeys(group(answer.judged) for answer in answers)
    return {name: score(a for a in answers if group(a.judged) == name) for name in names}
