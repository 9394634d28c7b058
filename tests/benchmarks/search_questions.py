"""What is asked of a big library: kinds of requests, drawn from its words by how common they are. Pure.

The words are counted in the first thousands of straws, which every library holds, so that libraries
of all sizes are asked the same.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from tests.benchmarks.search_hay import TAGS, TOOLS, Straw, straws

SEED = 7
EACH = 24
"""Requests of each kind; enough that the slowest twentieth is more than one request when repeated."""
SAMPLE = 5_000
"""Straws whose words are counted."""
COMMON, MIDDLING, RARE = (0.05, 1.0), (0.005, 0.02), (0.0002, 0.001)
"""Shares of the straws that hold the word, from and to."""
LEAST_LENGTH = 5
"""Letters of a word that is asked: shorter ones are mostly stop words."""
LIST, SUGGEST = "/prompts/", "/search/suggest/"
DEPARTMENTS = ("legal", "human-resources", "finance", "marketing", "sales", "engineering")
_WORD = re.compile(rf"[a-zà-ÿœ]{{{LEAST_LENGTH},14}}")
_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_NO_DEPARTMENT = ("none",)
_CONSONANTS = "bcdfghjklmnpqrstvwxz"


@dataclass(frozen=True)
class Question:
    """A request: its kind, and its address with the query string."""

    kind: str
    address: str


def questions() -> list[Question]:
    """All requests, kind by kind; always the same."""
    chance = random.Random(SEED)
    sample = list(straws(SAMPLE, _NO_DEPARTMENT, _DAY))
    bags = [frozenset(_WORD.findall(f"{one.title} {one.text}".lower())) for one in sample]
    counted = Counter(word for bag in bags for word in bag)
    common, middling, rare = (_between(counted, *shares) for shares in (COMMON, MIDDLING, RARE))
    words: dict[str, list[str]] = {
        "common word": _drawn(common, chance),
        "middling word": _drawn(middling, chance),
        "rare word": _drawn(rare, chance),
        "two words": _together(bags, {*common, *middling}, 2, chance),
        "three words": _together(bags, {*common, *middling}, 3, chance),
        "typo": [_slip(word, chance) for word in _drawn(middling, chance)],
        "no result": ["".join(chance.choices(_CONSONANTS, k=9)) for _n in range(EACH)],
    }
    found = [Question("browse", address) for address in _browsing(chance)]
    found += [Question("facets combined", address) for address in _combined(chance)]
    found += [
        Question(kind, f"{LIST}?{urlencode({'q': text})}")
        for kind, texts in words.items()
        for text in texts
    ]
    return found + [Question("suggestions", address) for address in _prefixes(sample, chance)]


def _between(counted: Mapping[str, int], least: float, most: float) -> list[str]:
    return sorted(word for word, n in counted.items() if least * SAMPLE <= n <= most * SAMPLE)


def _drawn(words: Sequence[str], chance: random.Random) -> list[str]:
    return chance.sample(words, EACH)


def _together(
    bags: Sequence[frozenset[str]], known: set[str], number: int, chance: random.Random
) -> list[str]:
    """Words that stand in one straw, so that something is found."""
    rich = [sorted(bag & known) for bag in bags if len(bag & known) >= number]
    return [" ".join(chance.sample(chance.choice(rich), number)) for _n in range(EACH)]


def _slip(word: str, chance: random.Random) -> str:
    """One letter left out, doubled or swapped with the next; never the first, which people get right."""
    place = chance.randrange(1, len(word) - 1)
    left, letter, following, right = word[:place], word[place], word[place + 1], word[place + 2 :]
    return left + chance.choice((following, letter * 2 + following, following + letter)) + right


def _browsing(chance: random.Random) -> list[str]:
    """The list without words: its first pages, in each order, and with one facet."""
    asked: list[dict[str, str | int]] = [{}, {"sort": "newest"}, {"sort": "proven"}]
    asked += [{"page": page} for page in (2, 3, 5)]
    asked += [{"department": slug} for slug in DEPARTMENTS]
    asked += [{"tool": slug} for slug in TOOLS]
    asked += [{"tag": tag} for tag in chance.sample(TAGS, EACH - len(asked))]
    return [f"{LIST}?{urlencode(one)}" for one in asked]


def _combined(chance: random.Random) -> list[str]:
    return [
        f"{LIST}?"
        + urlencode(
            {
                "department": chance.choice(DEPARTMENTS),
                "tool": chance.choice(TOOLS),
                "language": chance.choice(("fr", "en")),
                **({"tag": chance.choice(TAGS)} if chance.random() < 0.5 else {}),
            }
        )
        for _n in range(EACH)
    ]


def _prefixes(sample: Sequence[Straw], chance: random.Random) -> list[str]:
    """What stands in the search box while a title is being typed."""
    titles = [chance.choice(sample).title.lower() for _n in range(EACH)]
    return [f"{SUGGEST}?{urlencode({'q': title[: chance.randint(3, 12)]})}" for title in titles]
