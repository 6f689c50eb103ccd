"""What turns documents into points, and what holds them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from freshd.model import (
    ChunkId,
    Digest,
    Document,
    Match,
    ParsedDocument,
    Point,
    Relabel,
    SearchFilter,
    SparseVector,
    Vector,
)


class Parser(Protocol):
    """Turns bytes into text and blocks. Pure but for the libraries it calls; deterministic."""

    @property
    def identity(self) -> str:
        """Changes whenever the same bytes could give other blocks; part of the recipe."""
        ...

    def parse(self, document: Document) -> ParsedDocument:
        """Parse one document.

        Raises:
            ParseError: The bytes are not text, or not what their type claims.

        """
        ...

    def may_take_long(self, document: Document) -> bool:
        """Tell, at once, whether parsing and cutting it may take longer than a moment.

        Raises:
            ParseError: It would be refused.

        """
        ...


class Embedder(Protocol):
    """Turns text into vectors. Deterministic on one machine; safe to call from several threads."""

    @property
    def identity(self) -> Digest:
        """Changes whenever the same text could give another vector space; part of the recipe."""
        ...

    @property
    def dimension(self) -> int:
        """Length of every dense vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens the model reads of one text, special tokens included."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model would read it, special tokens included, never cut."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """Embed texts, yielding (index into `texts`, unit vector) in any order, each index once.

        Bounded work happens between two yields, so that a caller may do something else in between.

        Raises:
            ValueError: A text has more than `max_tokens`; nothing is cut silently.
            EmbedderUnavailable: The model could not be loaded or failed; retryable.

        """
        ...

    def embed_query(self, text: str) -> Vector:
        """Embed one query; the longest start that fits the model is what counts."""
        ...

    def sparse_passage(self, text: str) -> SparseVector:
        """Give BM25 term weights of one passage; empty when it has no terms."""
        ...

    def sparse_query(self, text: str) -> SparseVector:
        """Give BM25 query terms."""
        ...


class VectorCache(Protocol):
    """Remembers computed vectors by (embedder, digest of text); may forget, never lies.

    Every method may raise StateError: then it cannot be used now.
    """

    def get(self, embedder: Digest, digests: Iterable[Digest]) -> dict[Digest, Vector]:
        """Give those that are remembered."""
        ...

    def put(self, embedder: Digest, vectors: Mapping[Digest, Vector]) -> None:
        """Remember; idempotent; the oldest unused are forgotten beyond the size bound."""
        ...

    def forget(self, digests: Iterable[Digest]) -> int:
        """Remember vectors of some texts no more, whatever model made them; give how many they were."""
        ...

    def close(self) -> None:
        """Let go of the file; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point read back; vectors only where they were asked for."""

    chunk_id: ChunkId
    payload: Mapping[str, Any]
    dense: Vector | None = None
    sparse: SparseVector | None = None


class Store(Protocol):
    """Where points live. Every method may raise StoreUnavailable: then what it did is unknown.

    Redoing any write by id is harmless. Nothing is durable before `flush` returns.
    Safe to call from several threads; calls of one thread take effect in order.
    """

    @property
    def openings(self) -> int:
        """How often what holds the points was started; where it rises, they may be fewer than they were."""
        ...

    def open(self, instance: str) -> None:
        """Open the collection, creating it when absent; idempotent.

        Args:
            instance: Identity of the ledger that owns the points; written into a new collection.

        Raises:
            CollectionMismatch: It exists with another instance, dimension or distance.

        """
        ...

    def ping(self) -> None:
        """Prove that the store answers and is still the collection that was opened.

        Raises:
            CollectionMismatch: The collection is gone or is another one.

        """
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points whole, replacing those of equal id; searchable when it returns.

        Raises:
            ValueError: A vector has a wrong length or a non-finite number; nothing was written.

        """
        ...

    def relabel(self, labels: Sequence[Relabel]) -> None:
        """Set payload fields of points that certainly exist; vectors stay. A field set to None may be removed."""
        ...

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        """Delete points by id; absent ones are no error."""
        ...

    def flush(self) -> None:
        """Make everything before this call durable."""
        ...

    def expunge(self, occasion: str) -> int:
        """Do a bounded piece of having what was removed leave the files as well; give how many are left, about.

        Called until there is none; in between everything may be asked and written.
        An embedded store rewrites its files, however little was removed. A server's files are its own:
        it is told to delete points, and rewrites what holds them when its optimiser sees fit; there is nothing to do.

        Args:
            occasion: Names what is to leave: all that was removed before the first call with this name.
                Known for as long as the store is open; a store opened again begins again.

        Raises:
            StoreUnavailable: It does not go on now, for want of room on the disk, say; no point is lost.

        """
        ...

    def search_dense(self, vector: Vector, limit: int, where: SearchFilter) -> list[Match]:
        """Nearest points by cosine, best first."""
        ...

    def search_sparse(self, vector: SparseVector, limit: int, where: SearchFilter) -> list[Match]:
        """Best points by BM25, best first; none for an empty vector."""
        ...

    def retrieve(self, chunk_ids: Sequence[ChunkId], *, with_vectors: bool = False) -> list[StoredPoint]:
        """Read points by id, in any order; absent ones are left out."""
        ...

    def scroll(self, after: ChunkId | None, limit: int, *, with_vectors: bool = False) -> list[StoredPoint]:
        """Read a page of all points in id order, those after the given id; an empty page is the end."""
        ...

    def count(self) -> int:
        """Exact number of points, bookkeeping points left out."""
        ...

    def close(self) -> None:
        """Flush and let go; idempotent."""
        ...
