"""Answers read once: the same text comes back night after night and in several comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kb.drift import features, vectors


class Reader:
    """Features and vectors of texts, each text measured once in the life of the reader.

    It keeps some 5 kB and the text itself for each; make a new one for each monitor.
    """

    def __init__(self) -> None:
        self._features: dict[str, NDArray[np.float64]] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def read(self, texts: Iterable[str]) -> None:
        """Measure what is new among the texts, together, which is quicker than one by one."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, vectors.vectors(new), strict=True))
            self._features.update((text, features.measure(text)) for text in new)

    def features(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """float[len(texts), len(features.NAMES)]."""
        self.read(texts)
        return np.array([self._features[text] for text in texts]).reshape(
            len(texts), len(features.NAMES)
        )

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[len(texts), vectors.PLACES]."""
        self.read(texts)
        return np.array([self._vectors[text] for text in texts], np.float32).reshape(
            len(texts), vectors.PLACES
        )
