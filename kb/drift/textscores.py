"""How near two texts are, by the characters and words they share. Pure.

All measures are of surface only: a wrong number in a long text hardly moves them, a good paraphrase
moves them a lot. Texts are bounded by their callers; time grows with the product of the lengths for
`edit_distance` (64 characters at a time) and with their sum for the others.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

LONGEST_PHRASE = 4
"""Words of the longest phrases BLEU looks at, as in its first description."""
_WORD = re.compile(r"\w+")


def edit_distance(one: str, other: str, most: int) -> int | None:
    """Characters to insert, delete or replace to make one text the other; None above `most`.

    Levenshtein 1966, "Binary codes capable of correcting deletions, insertions, and reversals".
    """
    distance = Levenshtein.distance(one, other, score_cutoff=most)
    return distance if distance <= most else None


def rouge_n(text: str, reference: str, n: int = 1) -> float:
    """The share of the reference's phrases of `n` words that the text has too, from 0 to 1.

    Recall over counted n-grams: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries",
    section 2. A reference with fewer than `n` words is met by any text: 1.
    """
    wanted = _phrases(words(reference), n)
    if not wanted:
        return 1.0
    return _shared(_phrases(words(text), n), wanted) / wanted.total()


def bleu(text: str, reference: str) -> float:
    """How much of the text's wording the reference has too, from 0 to 1.

    The geometric mean of the clipped precisions of phrases of one to four words, times the brevity
    penalty exp(1 - r/c) of a text shorter than the reference: Papineni et al. 2002, "BLEU: a method
    for automatic evaluation of machine translation". Phrases of two words and more are counted with
    one added above and below, so that a short text is not zero for want of long phrases: Lin & Och
    2004, "ORANGE: a method for evaluating automatic evaluation metrics". 0 without a common word.
    """
    ours, theirs = words(text), words(reference)
    if not ours or not theirs:
        return 1.0 if ours == theirs else 0.0
    logs = []
    for n in range(1, LONGEST_PHRASE + 1):
        phrases = _phrases(ours, n)
        added = 0 if n == 1 else 1
        shared = _shared(phrases, _phrases(theirs, n)) + added
        if not shared:
            return 0.0
        logs.append(math.log(shared / (phrases.total() + added)))
    penalty = min(0.0, 1 - len(theirs) / len(ours))
    return math.exp(penalty + math.fsum(logs) / LONGEST_PHRASE)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; letters and digits of any script."""
    return _WORD.findall(text.lower())


def cosine(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The cosine of the angle between two vectors, from -1 to 1.

    None when it does not exist: different or no dimensions, a zero vector, numbers beyond floats.
    """
    if len(one) != len(other):
        return None
    length = math.hypot(*one) * math.hypot(*other)
    product = math.sumprod(one, other)
    if not (length > 0 and math.isfinite(length) and math.isfinite(product)):
        return None
    return max(-1.0, min(1.0, product / length))


def _phrases(of: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(of[start:] for start in range(n)), strict=False))


def _shared(ours: Counter[tuple[str, ...]], theirs: Counter[tuple[str, ...]]) -> int:
    return (ours & theirs).total()
