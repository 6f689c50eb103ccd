"""freshd by the same measure: what the others do in a process of theirs, it does in one of its own."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from freshd.embedder import open_embedder
from freshd.model import Digest, SparseVector, Vector
from freshd.ports import Embedder
from tests.bench.instance import Instance, reindex
from tests.bench.peers.contract import CountedEmbedder


class _Counted:
    """Tokens and terms of the bundled model; vectors of whatever is counted. Implements `ports.Embedder`."""

    def __init__(self, counted: CountedEmbedder, real: Embedder) -> None:
        self._counted, self._real = counted, real
        self.identity = Digest(hashlib.sha256(f"counted {real.identity} {counted.is_real}".encode()).hexdigest())
        self.dimension, self.max_tokens = real.dimension, real.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._real.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for index, vector in enumerate(self._counted.embed(texts)):
            yield index, _packed(vector)

    def embed_query(self, text: str) -> Vector:
        return _packed(self._counted.embed_query(text))

    def sparse_passage(self, text: str) -> SparseVector:
        return self._real.sparse_passage(text)

    def sparse_query(self, text: str) -> SparseVector:
        return self._real.sparse_query(text)


def _packed(vector: "np.ndarray") -> Vector:
    return Vector(np.asarray(vector, dtype="<f4").tobytes())


class Freshd:
    """One source, files, with all defaults."""

    def __init__(self, source: Path, state: Path, embedder: CountedEmbedder) -> None:
        self._open = ExitStack()
        real = open_embedder("bundled", state / "models", state)
        self._whole = self._open.enter_context(Instance(state, source).open(_Counted(embedder, real)))

    def sync(self) -> None:
        reindex(self._whole)

    def points(self) -> Iterable[tuple[str, str]]:
        last = None
        while page := self._whole.store.scroll(last, 1_000):
            yield from ((p.payload["doc_id"].partition("/")[2], p.payload["page_content"]) for p in page)
            last = page[-1].chunk_id

    def close(self) -> None:
        self._open.close()
