"""Vectors for a batch: remembered ones, else from the model; a document that the model cannot take fails alone.

all documents together ─▶ failed? ─▶ does the model answer at all? ─ no ─▶ everything waits for it
                                         │ yes
                                         ▼
                       half of them, and the other half … ─▶ one alone fails: it is the document
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from freshd import faults
from freshd.errors import EmbedderUnavailable, NotEmbeddable, StateError
from freshd.logs import Event, get_logger
from freshd.model import ChunkId, Digest, SourceName, Vector
from freshd.pipeline.plan import Plan
from freshd.ports import Embedder, VectorCache

_PROBE = "freshd"
"""A text that every model can embed."""

_Key = tuple[SourceName, str]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors for a batch.

    Attributes:
        computed: Of those that had to be computed, the first chunk each was computed for; others reuse it.
        failed: Why documents that the model cannot take are left out.

    """

    by_digest: Mapping[Digest, Vector]
    computed: Mapping[Digest, ChunkId]
    failed: Mapping[_Key, NotEmbeddable]


def embed(plans: Sequence[Plan], embedder: Embedder, cache: VectorCache, between: Callable[[], None]) -> Vectors:
    """Give a vector for every text that the plans add.

    Args:
        plans: What is to be written.
        embedder: Asked for what no cache remembers.
        cache: Asked first; told what was computed, also when this ends with an error. Done without if need be.
        between: Called after every vector.

    Raises:
        EmbedderUnavailable: The model does not answer at all.

    """
    first: dict[Digest, ChunkId] = {}
    for piece in (piece for plan in plans for piece in plan.added):
        first.setdefault(piece.digest, piece.chunk_id)
    remembered: Mapping[Digest, Vector] = {}
    with _spared():
        remembered = cache.get(embedder.identity, first)
    work = _Work(embedder, remembered, between)
    try:
        work.compute(plans)
    finally:
        if work.computed:
            with _spared():
                cache.put(embedder.identity, work.computed)
    computed = {digest: first[digest] for digest in work.computed}
    return Vectors({**remembered, **work.computed}, computed, work.failed)


@contextmanager
def _spared() -> Iterator[None]:
    """Do without a cache that cannot be used: that costs vectors, which are computed again."""
    try:
        yield
    except StateError as error:
        get_logger().warning(Event.CACHE_FAILED, error=str(error), hint=error.hint)


class _Work:
    """What the model is asked for one batch, and what came of it."""

    def __init__(self, embedder: Embedder, remembered: Mapping[Digest, Vector], between: Callable[[], None]) -> None:
        self.computed: dict[Digest, Vector] = {}
        self.failed: dict[_Key, NotEmbeddable] = {}
        self._embedder = embedder
        self._remembered = remembered
        self._between = between

    def compute(self, plans: Sequence[Plan]) -> None:
        """Embed what some plans lack, together if that is possible."""
        texts = {
            piece.digest: piece.embedded_text
            for plan in plans
            for piece in plan.added
            if piece.digest not in self._remembered and piece.digest not in self.computed
        }
        if not texts:
            return
        digests = list(texts)
        error = None
        for index, vector in self._vectors(list(texts.values())):
            if isinstance(vector, Exception):
                error = vector
                break
            faults.hit("mid_embed")
            self.computed[digests[index]] = vector
            self._between()  # what it raises is no fault of these texts
        if error is None:
            return
        self._expect_model(error)
        if len(plans) == 1:
            key = plans[0].key
            self.failed[key] = NotEmbeddable(f"{key[1]}: {_line(error)}", hint=getattr(error, "hint", ""))
            return
        middle = len(plans) // 2
        self.compute(plans[:middle])
        self.compute(plans[middle:])

    def _vectors(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector | Exception]]:
        """Give the vectors as they come, and at last the error if there is one."""
        try:
            for index, vector in self._embedder.embed_passages(texts):
                _expect_direction(vector)
                yield index, vector
        except (EmbedderUnavailable, MemoryError, ValueError) as error:
            yield -1, error

    def _expect_model(self, error: Exception) -> None:
        """Raise if the model does not even embed what every model can."""
        try:
            list(self._embedder.embed_passages([_PROBE]))
        except (EmbedderUnavailable, MemoryError) as down:
            if isinstance(error, EmbedderUnavailable):
                raise error from down
            raise EmbedderUnavailable(f"model: {_line(error)}", hint="give the process more memory") from down


def _expect_direction(vector: Vector) -> None:
    """Refuse what no store may hold: the engines take such vectors and find nonsense with them."""
    numbers = struct.unpack(f"<{len(vector) // 4}f", vector)
    if not (any(numbers) and all(map(math.isfinite, numbers))):
        raise ValueError("got a vector without direction from the model, expected finite numbers, not all 0")


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said or ("not enough memory to embed it" if isinstance(error, MemoryError) else type(error).__name__)
