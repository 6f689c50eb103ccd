"""A model that costs nothing: the vector is the text's hash, BM25 is the real one."""

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from freshd.embedder.bm25 import Bm25Terms
from freshd.model import Digest, SparseVector, Vector
from freshd.stores.wire import pack_dense

_SPECIAL_TOKENS = 2
_UINT32_MIDDLE = 2**31


class HashEmbedder:
    """Equal texts have equal vectors, others point anywhere; implements `ports.Embedder`.

    A word is a token. Remembers what it was asked to embed.
    """

    def __init__(self, dimension: int = 32, max_tokens: int = 256) -> None:
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.identity = Digest(hashlib.sha256(f"hash/{dimension}/{max_tokens}".encode()).hexdigest())
        self.passages: list[str] = []
        self._bm25 = Bm25Terms()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text and two more."""
        return [len(text.split()) + _SPECIAL_TOKENS for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """Embed texts from the last to the first, as any order is allowed."""
        if max(self.count_tokens(texts), default=0) > self.max_tokens:
            raise ValueError("a text has more tokens than the model reads")
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for index in reversed(range(len(texts))):
            self.passages.append(texts[index])
            yield index, self.embed_query(texts[index])

    def embed_query(self, text: str) -> Vector:
        """Spread the text's hash over all directions."""
        raw = hashlib.shake_256(text.encode()).digest(4 * self.dimension)
        numbers = [int.from_bytes(raw[i : i + 4]) - _UINT32_MIDDLE + 0.5 for i in range(0, len(raw), 4)]
        norm = math.hypot(*numbers)
        return Vector(pack_dense([number / norm for number in numbers]))

    def sparse_passage(self, text: str) -> SparseVector:
        """Weigh the terms of a passage."""
        return self._bm25.passage(text)

    def sparse_query(self, text: str) -> SparseVector:
        """Weigh the terms of a query."""
        return self._bm25.query(text)


def in_place_of_models(open_embedder: Callable[..., Any]) -> None:
    """Have freshd in this process open nothing else any more, whatever of it is loaded already."""
    for name, module in list(sys.modules.items()):
        if name.startswith("freshd.") and hasattr(module, "open_embedder"):
            module.open_embedder = open_embedder
