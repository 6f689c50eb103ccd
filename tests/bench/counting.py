"""An embedder that counts what it is asked for, where vectors do not matter."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from freshd.model import Digest, SparseVector, Vector
from freshd.ports import Embedder


class CountingEmbedder:
    """Counts tokens and terms as the real one does; its vectors are hashes. Implements `ports.Embedder`.

    Attributes:
        texts: Given to it since it was built.
        characters: Of those texts.

    """

    def __init__(self, real: Embedder) -> None:
        """Stand in for another embedder."""
        self._real = real
        self.texts = 0
        self.characters = 0

    @property
    def identity(self) -> Digest:
        """The real one's, marked: such vectors must never be taken for it."""
        return Digest(hashlib.sha256(f"counting {self._real.identity}".encode()).hexdigest())

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._real.dimension

    @property
    def max_tokens(self) -> int:
        """Most tokens of one text."""
        return self._real.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count as the real one does."""
        return self._real.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """Count the texts and give each a unit vector of its own."""
        self.texts += len(texts)
        self.characters += sum(map(len, texts))
        for index, text in enumerate(texts):
            yield index, self.embed_query(text)

    def embed_query(self, text: str) -> Vector:
        """Give the vector of a text."""
        noise = np.frombuffer(hashlib.shake_256(text.encode()).digest(self.dimension), dtype=np.uint8) - 127.5
        return Vector((noise / np.linalg.norm(noise)).astype("<f4").tobytes())

    def sparse_passage(self, text: str) -> SparseVector:
        """Weigh terms as the real one does."""
        return self._real.sparse_passage(text)

    def sparse_query(self, text: str) -> SparseVector:
        """Give query terms as the real one does."""
        return self._real.sparse_query(text)
