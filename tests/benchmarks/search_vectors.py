"""Vectors that stand in for those of an embeddings model, of which none can be had here.

Latent semantic analysis (Deerwester et al., 1990) of the texts in the index: which words go together
is learned from these alone. A real model knows far more; what this one shows is what hybrid ranking
does to a good ranking by words when the meaning is no better than so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kb.search.text import fold

DIMENSIONS = 300
ROUNDS = 3
"""Of the subspace iteration; more change nothing that could be seen."""
ROOT = 6
"""Letters of a word that are kept, in place of a stemmer for every language."""
FEWEST = 2
"""Texts a word must stand in."""
_WORD = re.compile(r"[a-z0-9]{3,}")


class Space:
    """Learned from texts; `of` places any text in it."""

    def __init__(self, texts: Sequence[str], dimensions: int = DIMENSIONS) -> None:
        counted = [_words(text) for text in texts]
        spread = Counter(word for words in counted for word in words)
        known = [word for word, times in spread.items() if times >= FEWEST]
        self._places = {word: place for place, word in enumerate(known)}
        self._rarity = np.log(len(texts) / np.array([spread[word] for word in known]))
        rows = np.stack([self._row(words) for words in counted])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12
        self._axes = np.random.default_rng(0).normal(size=(len(known), dimensions))
        for _round in range(ROUNDS):
            left, _ = np.linalg.qr(rows @ self._axes)
            self._axes, _ = np.linalg.qr(rows.T @ left)

    def of(self, text: str) -> NDArray[np.float64]:
        """The vector of a text; all 0 when no word of it is known."""
        vector: NDArray[np.float64] = self._row(_words(text)) @ self._axes
        return vector

    def _row(self, words: Counter[str]) -> NDArray[np.float64]:
        row = np.zeros(len(self._places))
        for word, times in words.items():
            if (place := self._places.get(word)) is not None:
                row[place] = (1 + np.log(times)) * self._rarity[place]
        return row


def _words(text: str) -> Counter[str]:
    return Counter(word[:ROOT] for word in _WORD.findall(fold(text)))
