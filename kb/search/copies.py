"""Near copies step back: the best of them stays in its place, the others follow what differs. Pure.

People copy a prompt and change a line; in a large library a page of results would show one thing ten
times. Results are compared by their sentences, because a copy keeps most of them as they are, and two
prompts that merely speak of the same matter share none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SHARED = 0.5
"""Of the sentences of the shorter text: two texts that share as many are near copies."""
SHORTEST_SENTENCE = 20
"""Characters; shorter ones ("Thank you.") say nothing about where a text comes from."""
_END = re.compile(r"(?<=[.!?:;])\s+|\n+")


def stepped_back(texts: Sequence[str]) -> list[int]:
    """Places of the texts, given best first, in a new order: what is no copy, then the first copy of
    each, then the second of each, and so on; each of these again best first."""
    originals: list[frozenset[str]] = []
    copies: list[int] = []
    order: list[tuple[int, int]] = []
    for place, text in enumerate(texts):
        sentences = _sentences(text)
        for number, other in enumerate(originals):
            if _is_copy(sentences, other):
                copies[number] += 1
                order.append((copies[number], place))
                break
        else:
            originals.append(sentences)
            copies.append(0)
            order.append((0, place))
    return [place for _copy, place in sorted(order)]


def _sentences(text: str) -> frozenset[str]:
    cut = (sentence.strip(" .!?:;").casefold() for sentence in _END.split(text))
    return frozenset(sentence for sentence in cut if len(sentence) >= SHORTEST_SENTENCE)


def _is_copy(sentences: frozenset[str], other: frozenset[str]) -> bool:
    shorter = min(len(sentences), len(other))
    return shorter > 0 and len(sentences & other) >= SHARED * shorter
