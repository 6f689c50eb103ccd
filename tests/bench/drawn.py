"""Vectors that cost nothing: drawn, the same ones for the same text."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from freshd.embedder.bm25 import Bm25Terms
from freshd.model import Digest, SparseVector, Vector

DIMENSION = 384


def drawn(text: str) -> NDArray[np.float32]:
    """Give the unit vector of a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(DIMENSION, dtype=np.float32)
    return vector / np.linalg.norm(vector)


class DrawnEmbedder:
    """A vector for each text, drawn by its hash; words are tokens. Implements `ports.Embedder`."""

    dimension = DIMENSION
    max_tokens = 256
    identity = Digest(hashlib.sha256(b"drawn/384").hexdigest())

    def __init__(self) -> None:
        self._bm25 = Bm25Terms()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text and two more."""
        return [len(text.split()) + 2 for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """Draw a vector for each."""
        return ((index, self.embed_query(text)) for index, text in enumerate(texts))

    def embed_query(self, text: str) -> Vector:
        """Draw the vector of a text."""
        return Vector(drawn(text).tobytes())

    def sparse_passage(self, text: str) -> SparseVector:
        """Weigh the terms of a passage."""
        return self._bm25.passage(text)

    def sparse_query(self, text: str) -> SparseVector:
        """Weigh the terms of a query."""
        return self._bm25.query(text)
