"""Substitutes for a dry run: the real run over them tells what a real run would do, and what it would cost.

    real ledger ──copy──▶ scratch ledger ─┐
    real cache ──▶ ReadOnlyCache ─────────┤
    real embedder ──▶ MeasuringEmbedder ──┼─▶ Reindexer, Pipeline ─▶ the same guard, moves and fates
                      NullStore ──────────┘

Nothing here writes to what it stands in for.
"""

import os
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from freshd.errors import StateUnusable
from freshd.model import ChunkId, Digest, Match, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.ports import Clock, Embedder, StoredPoint

SAMPLE_TEXTS = 24
"""Texts embedded for real: three full batches of the bundled model, about a second on two cores.

Measured: on a machine whose load changes meanwhile the estimate is within a factor of two of the real run.
"""

_BUSY_TIMEOUT_S = 5.0
_COPY_ATTEMPTS = 5


def copy_ledger(path: Path, into: Path) -> bool:
    """Copy a ledger as of its last commit, even while another process writes it.

    The ledger and its log stay as they are, and beside a ledger nobody works on no file is left.

    Args:
        path: The ledger's file; where there is none, nothing is copied.
        into: A file that does not exist yet; it will be its owner's only.

    Returns:
        Whether there was a ledger.

    Raises:
        FileExistsError: `into` is there already.
        StateUnusable: The ledger cannot be read.

    """
    if not path.exists():
        return False
    into.touch(mode=0o600, exist_ok=False)
    try:
        _copy(path, into)
    except (sqlite3.Error, OSError) as error:
        into.unlink(missing_ok=True)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StateUnusable(
                f"{into.parent}: got too little room for a copy of {path}, which a plan is made over",
                hint="free some disk space there, or name another folder: TMPDIR=DIR freshd reindex --dry-run",
            ) from error
        raise StateUnusable(
            f"ledger {path}: {error}; expected an intact freshd ledger that can be read",
            hint="run as the user that runs freshd; a damaged ledger is restored from a backup",
        ) from error
    return True


def _copy(path: Path, into: Path) -> None:
    """Copy through the log where somebody keeps one; without a log there is nothing but the file.

    A reader of a file in WAL mode creates log and index beside it, unless it is told that the file cannot change.
    That may be said while there is no log: a writer begins one before it changes anything.
    """
    for _ in range(_COPY_ATTEMPTS):
        if _is_written(path):
            break
        before = path.stat()
        try:
            _backup(path, into, "immutable=1")
        except sqlite3.DatabaseError:
            if not _has_changed(path, before):  # else it was read while it was written, after all
                raise
            continue
        if not _has_changed(path, before):
            return
    _backup(path, into, "mode=ro")


def _is_written(path: Path) -> bool:
    return path.with_name(f"{path.name}-wal").exists()


def _has_changed(path: Path, before: os.stat_result) -> bool:
    now = path.stat()
    stamps = [(status.st_ino, status.st_size, status.st_mtime_ns) for status in (before, now)]
    return stamps[0] != stamps[1] or _is_written(path)


def _backup(path: Path, into: Path, how: str) -> None:
    uri = f"{path.resolve().as_uri()}?{how}"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S)) as original,
        closing(sqlite3.connect(into)) as copy,
    ):
        original.backup(copy)


class NullStore:
    """Takes every write and remembers nothing; implements `ports.Store`."""

    openings = 0

    def open(self, instance: str) -> None:
        """Accept any ledger as the owner."""

    def publish(self) -> None:
        """Stay unknown to everybody."""

    def compact(self) -> bool:
        """Have nothing to give back."""
        return False

    def instead(self, instance: str) -> list[str]:
        """Know of no other."""
        return []

    def discard(self, instance: str) -> None:
        """Have nothing to delete."""

    def ping(self) -> None:
        """Answer."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Let the points go."""

    def relabel(self, labels: Sequence[Relabel]) -> None:
        """Let the labels go."""

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        """Let the ids go."""

    def flush(self) -> None:
        """Be done at once."""

    def expunge(self, occasion: str) -> int:
        """Have no files."""
        return 0

    def search_dense(self, vector: Vector, limit: int, where: SearchFilter) -> list[Match]:
        """Find nothing."""
        return []

    def search_sparse(self, vector: SparseVector, limit: int, where: SearchFilter) -> list[Match]:
        """Find nothing."""
        return []

    def retrieve(self, chunk_ids: Sequence[ChunkId], *, with_vectors: bool = False) -> list[StoredPoint]:
        """Give nothing: every id is absent."""
        return []

    def scroll(self, after: ChunkId | None, limit: int, *, with_vectors: bool = False) -> list[StoredPoint]:
        """Be at the end."""
        return []

    def count(self) -> int:
        """Give 0."""
        return 0

    def close(self) -> None:
        """Have nothing to let go of."""


class MeasuringEmbedder:
    """Counts what would be embedded and embeds only a first sample, for the speed; implements `ports.Embedder`.

    Vectors beyond the sample are a placeholder of the right length: fit to be counted, not to be searched.

    Attributes:
        texts: How many were given to be embedded.
        tokens: Of all of them, special tokens included.

    """

    def __init__(self, embedder: Embedder, clock: Clock, *, sample_texts: int = SAMPLE_TEXTS) -> None:
        """Wrap an embedder.

        Args:
            embedder: Answers everything, and embeds the sample.
            clock: Times the sample.
            sample_texts: How many texts are embedded for real, over the whole run.

        """
        self._embedder = embedder
        self._clock = clock
        self._sample_left = sample_texts
        self._lock = threading.Lock()
        self._placeholder: Vector | None = None
        self._start_s: float | None = None
        self._start_tokens = 0
        self._timed_s = 0.0
        self._timed_tokens = 0
        self.texts = 0
        self.tokens = 0

    @property
    def identity(self) -> Digest:
        """As the embedder says, so that its cached vectors are found."""
        return self._embedder.identity

    @property
    def dimension(self) -> int:
        """Length of every dense vector."""
        return self._embedder.dimension

    @property
    def max_tokens(self) -> int:
        """Most tokens the model reads of one text, special tokens included."""
        return self._embedder.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model would read it."""
        return self._embedder.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """Count texts; yield true vectors for what is still in the sample, and the placeholder for the others.

        Raises:
            ValueError: At once, as in the real run: a text has more than `max_tokens`.
            EmbedderUnavailable: While iterating over the sample.

        """
        counts = self._embedder.count_tokens(texts)
        for index, count in enumerate(counts):
            if count > self.max_tokens:
                raise ValueError(f"texts[{index}]: got {count} tokens, expected at most {self.max_tokens}")
        with self._lock:
            sampled = min(self._sample_left, len(texts))
            self._sample_left -= sampled
            self.texts += len(texts)
            self.tokens += sum(counts)
        return self._embed(texts, counts, sampled)

    def embed_query(self, text: str) -> Vector:
        """Embed one query for real; it is not counted."""
        return self._embedder.embed_query(text)

    def sparse_passage(self, text: str) -> SparseVector:
        """Give no terms: nobody will search."""
        return SparseVector()

    def sparse_query(self, text: str) -> SparseVector:
        """Give BM25 query terms."""
        return self._embedder.sparse_query(text)

    def estimated_seconds(self) -> float:
        """How long embedding all that was counted would take here, loading the model included; 0 for nothing."""
        with self._lock:
            start_s = self._start_s or 0.0
            if not self._timed_tokens:
                return start_s
            return start_s + (self.tokens - self._start_tokens) * self._timed_s / self._timed_tokens

    def _embed(self, texts: Sequence[str], counts: Sequence[int], sampled: int) -> Iterator[tuple[int, Vector]]:
        first = 0
        if sampled and self._start_s is None:
            # The first text waits for the model to load; counted by the token it would spoil the speed.
            first, began_s = 1, self._clock.monotonic()
            start = list(self._embedder.embed_passages(texts[:1]))
            self._start_s, self._start_tokens = self._clock.monotonic() - began_s, counts[0]
            yield from start
        yield from self._timed(texts, counts, first, sampled)
        if sampled < len(texts):
            placeholder = self._unit_vector()
            for index in range(sampled, len(texts)):
                yield index, placeholder

    def _timed(self, texts: Sequence[str], counts: Sequence[int], first: int, end: int) -> Iterator[tuple[int, Vector]]:
        """Embed a slice, with the time that the caller spends between two yields left out."""
        if first >= end:
            return
        results = iter(self._embedder.embed_passages(texts[first:end]))
        while True:
            began_s = self._clock.monotonic()
            result = next(results, None)
            with self._lock:
                self._timed_s += self._clock.monotonic() - began_s
                self._timed_tokens += counts[first + result[0]] if result else 0
            if result is None:
                return
            yield first + result[0], result[1]

    def _unit_vector(self) -> Vector:
        if self._placeholder is None:
            self._placeholder = Vector(struct.pack("<f", 1.0) + bytes(4 * (self.dimension - 1)))
        return self._placeholder


class ReadOnlyCache:
    """Reads a vector cache and keeps new vectors to itself, in memory; implements `ports.VectorCache`.

    So a text that comes twice in a run is embedded once, as in the real run.
    """

    def __init__(self, remembered: Callable[[Digest, Iterable[Digest]], dict[Digest, Vector]]) -> None:
        """Read through a cache's `get`, or that of a view of it."""
        self._remembered = remembered
        self._added: dict[tuple[Digest, Digest], Vector] = {}

    def get(self, embedder: Digest, digests: Iterable[Digest]) -> dict[Digest, Vector]:
        """Give what this run put, else what the cache remembers."""
        asked = list(digests)
        found = {digest: self._added[embedder, digest] for digest in asked if (embedder, digest) in self._added}
        missing = [digest for digest in asked if digest not in found]
        return found | self._remembered(embedder, missing) if missing else found

    def put(self, embedder: Digest, vectors: Mapping[Digest, Vector]) -> None:
        """Remember for this run only."""
        self._added |= {(embedder, digest): vector for digest, vector in vectors.items()}

    def forget(self, digests: Iterable[Digest]) -> int:
        """Nothing: what is only tried out forgets nothing."""
        return 0

    def close(self) -> None:
        """Forget what this run put."""
        self._added.clear()
