"""freshd over a folder: the parts that `freshd.compose` connects, all real but for the model's vectors.

docs/ ─▶ FilesConnector ─▶ Scanner ─▶ Pipeline ─▶ EdgeStore ─▶ points, answers
                              └──▶ SqliteLedger ◀──┘
"""

import contextlib
import math
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.files import FilesConnector, FilesOptions
from freshd.admission import Admission
from freshd.chunker import ChunkLimits
from freshd.errors import StoreUnavailable
from freshd.guard import Guard
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.proofs import Proofs
from freshd.ledger.sources import SqliteSources
from freshd.model import ChunkId, Digest, Point, Relabel, SearchFilter, SourceName
from freshd.parsers import Parsers
from freshd.pipeline import Pipeline, Recipe
from freshd.ports import Clock, ConnectorContext, Embedder, Store
from freshd.scheduler import Drain, Marks, Reindexer, Scan, Scanner, Tally, Target
from freshd.search import MAX_HITS, Search
from freshd.stores.edge import EdgeStore
from freshd.stores.wire import unpack_dense
from freshd.vectors import SqliteVectorCache, VectorCacheView
from freshd.verify import Making

SOURCE = SourceName("docs")
WIDE_GUARD = Guard(documents=100_000, share=1.0, everything_from=100_000)
"""Lets every deletion pass."""

LIMITS = ChunkLimits(48, 256)

CLOSE = 1e-5
"""Vectors and scores nearer than this are equal."""

_PAGE = 500


class WatchedStore(EdgeStore):
    """The embedded store; counts what is written to it, and tells when it has flushed."""

    writes = 0
    on_flush: Callable[[], None] = staticmethod(lambda: None)

    def upsert(self, points: Sequence[Point]) -> None:
        self.writes += 1
        super().upsert(points)

    def relabel(self, labels: Sequence[Relabel]) -> None:
        self.writes += 1
        super().relabel(labels)

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        self.writes += 1
        super().remove(chunk_ids)

    def flush(self) -> None:
        self.writes += 1
        super().flush()
        self.on_flush()


@dataclass(frozen=True)
class Settings:
    """What all indexes of one world share.

    Attributes:
        docs: The folder they index.

    """

    docs: Path
    clock: Clock
    embedder: Embedder
    limits: ChunkLimits = LIMITS
    guard: Guard = WIDE_GUARD


class Index:
    """freshd, open in one state directory."""

    def __init__(self, settings: Settings, state: Path, store: Store | None = None) -> None:
        """Open a state directory, and the embedded store in it unless another one is given."""
        state.mkdir(parents=True, exist_ok=True)
        clock, embedder = settings.clock, settings.embedder
        self.state = state
        self._settings = settings
        self._database = Database(state / "ledger.db")
        self.ledger, self.sources = SqliteLedger(self._database), SqliteSources(self._database)
        self._cache = SqliteVectorCache(state / "vectors.db", clock=clock)
        self.proofs = Proofs(self._database)
        self.making = Making(embedder, settings.limits.max_tokens, VectorCacheView(state / "vectors.db").get)
        self.store = store or WatchedStore(state / "index", embedder.dimension)
        self.store.open(self.ledger.instance)
        admission = Admission(self.ledger)
        self.target = Target(SOURCE, _connector(settings), timedelta(minutes=1))
        self.pipeline = Pipeline(
            connectors={SOURCE: self.target.connector},
            recipe=Recipe(Parsers(), settings.limits, embedder, Digest("ab" * 32)),
            cache=self._cache,
            store=self.store,
            ledger=self.ledger,
            admission=admission,
            clock=clock,
        )
        self.search = Search(
            embedder=embedder,
            store=self.store,
            admission=admission,
            sources=[SOURCE],
            watermark=lambda name: self.sources.state(name).watermark_at(clock.now()),
        )

    def reindex(self) -> Tally:
        """Look at the folder once and apply what changed."""
        clock = self._settings.clock
        marks = Marks(ledger=self.ledger, sources=self.sources, store=self.store, clock=clock)

        def mark(scan: Scan) -> None:
            marks.put(scan)
            marks.release()

        scanner = Scanner(
            target=self.target, ledger=self.ledger, sources=self.sources, guard=self._settings.guard, clock=clock
        )
        drain = Drain(
            ledger=self.ledger, sources=self.sources, pipeline=self.pipeline, clock=clock, on_progress=lambda *_: None
        )
        reindexer = Reindexer(
            scanners=[scanner], ledger=self.ledger, sources=self.sources, see_through=drain, on_scan=mark, clock=clock
        )
        (tally,) = reindexer.run()
        return tally

    def contents(self) -> dict[ChunkId, tuple[Any, list[float], dict[int, float]]]:
        """Every point: payload without times, dense vector, BM25 weights."""
        found: dict[ChunkId, tuple[Any, list[float], dict[int, float]]] = {}
        while page := self.store.scroll(max(found, default=None), _PAGE, with_vectors=True):
            for point in page:
                sparse = dict(zip(point.sparse.indices, point.sparse.values, strict=True))
                found[point.chunk_id] = without_times(point.payload), list(unpack_dense(point.dense)), sparse
        return found

    def answers(self, queries: Sequence[str], limit: int) -> list[tuple[dict[ChunkId, float], dict[ChunkId, float]]]:
        """Chunks with their scores for each query, by vector and by BM25."""
        embedder, everything = self._settings.embedder, SearchFilter()
        return [
            (
                scores(self.store.search_dense(embedder.embed_query(query), limit, everything)),
                scores(self.store.search_sparse(embedder.sparse_query(query), limit, everything)),
            )
            for query in queries
        ]

    def hits(self, query: str) -> list[tuple[str, int, str, float]]:
        """What a search shows, best first: document, line, text and score."""
        found = self.search.search(query, MAX_HITS).hits
        return [(hit.citation.document_id, hit.citation.start_line, hit.citation.text, hit.score) for hit in found]

    def close(self) -> None:
        """Leave in order."""
        self.store.close()
        self._let_go()

    def abandon(self) -> None:
        """Leave as a killed process does: nothing is flushed, nothing is said."""
        if self.store.child_pid is not None:
            os.kill(self.store.child_pid, signal.SIGKILL)
        with contextlib.suppress(StoreUnavailable):
            self.store.close()
        self._let_go()

    def remember_flushed(self) -> None:
        """From now on keep a copy of the index as it was at the last flush."""
        self._copy_index()
        self.store.on_flush = self._copy_index

    def lose_power(self) -> None:
        """Leave as when the power fails: whatever was not flushed since `remember_flushed` is gone."""
        self.abandon()
        shutil.rmtree(self.state / "index")
        (self.state / "index.flushed").rename(self.state / "index")

    def _copy_index(self) -> None:
        shutil.rmtree(self.state / "index.flushed", ignore_errors=True)
        shutil.copytree(self.state / "index", self.state / "index.flushed", copy_function=copy_sparse)

    def _let_go(self) -> None:
        self.target.connector.close()
        self._cache.close()
        self._database.close()


def _connector(settings: Settings) -> FilesConnector:
    def no_fetcher(*_: object) -> Any:
        raise AssertionError("files need no network")

    context = ConnectorContext(SOURCE, settings.docs.parent, settings.clock, no_fetcher)
    return FilesConnector(FilesOptions(path=str(settings.docs), watch=False), context)


def copy_sparse(source: str, target: str) -> None:
    """Copy what a file holds and leave out its holes: the engine's files are a thousand times larger than full."""
    with open(source, "rb") as original, open(target, "wb") as copy:
        size = os.fstat(original.fileno()).st_size
        end = 0
        while (start := _next_data(original.fileno(), end)) is not None:
            end = os.lseek(original.fileno(), start, os.SEEK_HOLE)
            os.pwrite(copy.fileno(), os.pread(original.fileno(), end - start, start), start)
        copy.truncate(size)


def _next_data(fd: int, offset: int) -> int | None:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError:  # nothing but a hole is left
        return None


def scores(matches: Sequence[Any]) -> dict[ChunkId, float]:
    return {match.chunk_id: match.score for match in matches}


def without_times(value: Any) -> Any:
    """Leave out what differs between two runs over equal files."""
    if isinstance(value, Mapping):
        return {k: without_times(v) for k, v in value.items() if not k.endswith("_at") and k != "last_modified"}
    return value


def assert_same_index(kept_up: Index, scratch: Index, queries: Sequence[str], limit: int | None = None) -> None:
    """Points, vectors, answers and the ledger's own counts.

    Args:
        kept_up: What is in question.
        scratch: Made anew from the same files.
        queries: Asked of both.
        limit: Best hits that are compared; None for all.

    """
    mine, theirs = kept_up.contents(), scratch.contents()
    assert {i: payload for i, (payload, _, _) in mine.items()} == {i: payload for i, (payload, _, _) in theirs.items()}
    for chunk_id, (_, *vectors) in mine.items():
        if vectors != [*theirs[chunk_id][1:]]:
            assert vectors[0] == pytest.approx(theirs[chunk_id][1], abs=CLOSE)
            assert vectors[1] == pytest.approx(theirs[chunk_id][2], abs=CLOSE)
    n_hits = limit or len(mine) + 1
    answers = zip(queries, kept_up.answers(queries, n_hits), scratch.answers(queries, n_hits), strict=True)
    for query, ours, fresh in answers:
        assert_same_answer(ours[0], fresh[0], n_hits, f"by vector: {query}")
        assert_same_answer(ours[1], fresh[1], n_hits, f"by BM25: {query}")
        if limit is None:
            shown, expected = kept_up.hits(query), scratch.hits(query)
            assert [hit[:-1] for hit in shown] == [hit[:-1] for hit in expected], f"fused: {query}"
            assert [hit[-1] for hit in shown] == pytest.approx([hit[-1] for hit in expected], abs=CLOSE)
    state, fresh_state = kept_up.sources.state(SOURCE), scratch.sources.state(SOURCE)
    assert (state.documents, state.chunks, state.pending) == (fresh_state.documents, fresh_state.chunks, 0)
    assert state.chunks == len(mine)
    assert kept_up.ledger.admitted(list(mine)) == set(mine)


def assert_same_answer(ours: Mapping[ChunkId, float], fresh: Mapping[ChunkId, float], n_hits: int, says: str) -> None:
    """Equal scores for equal chunks; where there may be more, those as good as the last one stand for one another."""
    assert sorted(ours.values()) == pytest.approx(sorted(fresh.values()), abs=CLOSE), says
    lowest = min(fresh.values(), default=0.0) + CLOSE if len(fresh) == n_hits else -math.inf
    above = {chunk_id: score for chunk_id, score in fresh.items() if score > lowest}
    assert {chunk_id: score for chunk_id, score in ours.items() if score > lowest} == pytest.approx(above, abs=CLOSE), (
        says
    )
