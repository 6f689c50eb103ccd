"""A source in memory, a real ledger, and the scheduler's parts over both, one of each for a test to take apart."""

import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from freshd.admission import Admission
from freshd.chunker import ChunkLimits
from freshd.dryrun import NullStore
from freshd.errors import DocumentGone, SourceUnavailable, StoreUnavailable
from freshd.guard import Guard
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import (
    ChunkId,
    Coverage,
    Digest,
    Document,
    DocumentId,
    DocumentRef,
    Listing,
    ListingReport,
    Outcome,
    Pending,
    Point,
    Relabel,
    SourceName,
)
from freshd.parsers import Parsers
from freshd.pipeline import Pipeline, Recipe
from freshd.ports import Clock, Connector, Parser
from freshd.scheduler import Marks, Scan, Scanner, Target
from freshd.scheduler.indexer import Indexer
from freshd.vectors import SqliteVectorCache
from tests.kit.clock import HandClock
from tests.kit.embedder import HashEmbedder

SOURCE = SourceName("docs")
TARGET = timedelta(minutes=1)


def eventually(question: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Ask until the answer is true; give it."""
    until = time.monotonic() + within_s
    while not (answer := question()):
        assert time.monotonic() < until, f"not within {within_s} s"
        time.sleep(0.005)
    return answer


@dataclass(frozen=True)
class Written:
    """A document as the source holds it; `identity` is what a rename keeps."""

    text: str
    identity: str
    version: int
    changed_at: datetime


@dataclass
class MemorySource:
    """A connector over a dictionary; can fail, hide places and be listed in one piece or not.

    Attributes:
        down: What a listing raises.
        unreadable: Places nothing is known of.
        suspicion: What the next reports carry.
        before_listing: Called when a listing begins.
        before_read: Called with each ref before it is read.
        before_is_gone: Called before it is told whether a document is gone.
        title: Of documents whose text has none.

    """

    clock: HandClock
    documents: dict[str, Written] = field(default_factory=dict)
    down: Exception | None = None
    unreadable: tuple[str, ...] = ()
    suspicion: str | None = None
    is_complete: bool = True
    before_listing: Callable[[], object] = lambda: None
    before_read: Callable[[DocumentRef], object] = lambda _: None
    before_is_gone: Callable[[], object] = lambda: None
    listed: list[str | None] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    coverage: Coverage = Coverage.FULL
    versions: int = 0
    title: str | None = None

    def write(self, name: str, text: str | None = None) -> None:
        self.versions += 1
        before = self.documents.get(name)
        identity = before.identity if before else f"inode {self.versions}"
        self.documents[name] = Written(
            f"# {name}\n\nText of {name}.\n" if text is None else text, identity, self.versions, self.clock.now()
        )

    def rename(self, old: str, new: str) -> None:
        """Rename a document, or every one in a folder."""
        for name in [name for name in self.documents if _lies_in(name, old)]:
            self.documents[new + name[len(old) :]] = self.documents.pop(name)

    def delete(self, place: str) -> None:
        for name in [name for name in self.documents if _lies_in(name, place)]:
            del self.documents[name]

    def ref(self, name: str) -> DocumentRef:
        held = self.documents[name]
        fingerprint = f"{held.identity}/{held.version}"
        return DocumentRef(DocumentId(name), fingerprint, held.changed_at, held.identity)

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        self.listed.append(scope)
        return Listing(self._walk(scope))

    def _walk(self, scope: str | None) -> Generator[DocumentRef, None, ListingReport]:
        self.before_listing()
        if self.down is not None:
            raise self.down
        for name in sorted(self.documents):
            hidden = any(_lies_in(name, place) for place in self.unreadable)
            if not hidden and (scope is None or _lies_in(name, scope)):
                yield self.ref(name)
        return ListingReport(self.is_complete, self.unreadable, cursor="after", suspicion=self.suspicion)

    def read(self, ref: DocumentRef) -> Document:
        self.before_read(ref)
        self.reads.append(ref.document_id)
        if ref.document_id not in self.documents:
            raise DocumentGone(f"{ref.document_id}: gone")
        text = self.documents[ref.document_id].text
        uri = f"memory:{ref.document_id}"
        return Document(self.ref(ref.document_id), uri, text.encode(), "text/markdown", title=self.title)

    def is_gone(self, document_id: DocumentId) -> bool:
        self.before_is_gone()
        return document_id not in self.documents

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryStore(NullStore):
    """Holds points in memory; fails when told to, by the call."""

    def __init__(self) -> None:
        self.points: dict[ChunkId, Point] = {}
        self.fails: dict[str, Exception] = {}
        self.calls: list[str] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            raise self.fails[name]

    def ping(self) -> None:
        self._called("ping")

    def upsert(self, points: Sequence[Point]) -> None:
        self._called("upsert")
        self.points.update({point.chunk_id: point for point in points})

    def relabel(self, labels: Sequence[Relabel]) -> None:
        for label in labels:
            for chunk_id in label.chunk_ids:
                payload = self.points[chunk_id].payload
                (payload[label.key] if label.key else payload).update(label.payload)

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        self._called("remove")
        for chunk_id in chunk_ids:
            self.points.pop(chunk_id, None)

    def flush(self) -> None:
        self._called("flush")

    def documents(self) -> set[str]:
        return {point.payload["doc_id"].partition("/")[2] for point in self.points.values()}


class Bench:
    """Everything open over one source in memory; indexing happens when it is asked for, or in `running`'s thread."""

    def __init__(self, folder: Path, parser: Parser | None = None) -> None:
        self.clock = HandClock()
        self.source = MemorySource(self.clock)
        self.database = Database(folder / "ledger.db", busy_timeout_s=0.05)
        self.ledger, self.sources = SqliteLedger(self.database), SqliteSources(self.database)
        self.store, self.embedder = MemoryStore(), HashEmbedder()
        self.cache = SqliteVectorCache(folder / "vectors.db", clock=self.clock)
        self.marks = Marks(ledger=self.ledger, sources=self.sources, store=self.store, clock=self.clock)
        self.outcomes: list[tuple[Outcome, Pending]] = []
        self.scanner = self.scanner_of(SOURCE, self.source)
        self.connectors: dict[SourceName, Connector] = {SOURCE: self.source}
        self.admission = Admission(self.ledger)
        self.pipeline = Pipeline(
            connectors=self.connectors,
            recipe=Recipe(parser or Parsers(), ChunkLimits(48, 256), self.embedder, Digest("ab" * 32)),
            cache=self.cache,
            store=self.store,
            ledger=self.ledger,
            admission=self.admission,
            clock=self.clock,
        )

    def scanner_of(self, name: SourceName, connector: Connector) -> Scanner:
        target = Target(name, connector, TARGET)
        return Scanner(target=target, ledger=self.ledger, sources=self.sources, guard=Guard(), clock=self.clock)

    def indexer(self, *, clock: Clock | None = None, **options: Any) -> Indexer:
        return Indexer(
            sources=list(self.connectors),
            ledger=self.ledger,
            pipeline=self.pipeline,
            marks=self.marks,
            clock=clock or self.clock,
            on_outcome=lambda outcome, pending: self.outcomes.append((outcome, pending)),
            **options,
        )

    @contextmanager
    def running(self, **options: Any) -> Iterator[Indexer]:
        """Run an indexer in a thread of its own: its pauses take real time, all else is by the bench's clock."""
        indexer = self.indexer(clock=_PausingClock(self.clock), **options)
        thread = threading.Thread(target=indexer.run)
        thread.start()
        try:
            yield indexer
            assert thread.is_alive(), "the indexer died"
        finally:
            indexer.stop()
            thread.join(20)
            assert not thread.is_alive()

    def scan(self, scanner: Scanner | None = None) -> Scan:
        self.clock.advance(timedelta(seconds=1))
        return (scanner or self.scanner).scan()

    def apply(self) -> None:
        """Apply everything that is due, and let marks out."""
        while batch := self.ledger.take(self.clock.now(), 64):
            by_document = {(p.change.source, p.change.document_id): p for p in batch}
            for outcome in self.pipeline.run(batch):
                pending = by_document[outcome.change.source, outcome.change.document_id]
                self.outcomes.append((outcome, pending))
        self.marks.release()

    def index_all(self, names: Collection[str]) -> None:
        """Have these documents in the source and in the index, as by a first run."""
        for name in names:
            self.source.write(name)
        self.marks.put(self.scan())
        self.apply()
        self.outcomes.clear()
        self.clock.advance(timedelta(seconds=1))

    def pending(self) -> dict[str, str]:
        """What waits, by document; held deletions too."""
        waiting = {p.change.document_id: p.change.kind.value for p in self.ledger.take(FAR, 1_000_000)}
        return waiting | dict.fromkeys(self.ledger.held(SOURCE), "held")

    def close(self) -> None:
        self.cache.close()
        self.database.close()


FAR = datetime(2100, 1, 1, tzinfo=UTC)


def down(reason: str = "no answer") -> SourceUnavailable:
    return SourceUnavailable(reason)


def store_down() -> StoreUnavailable:
    return StoreUnavailable("the store does not answer")


@dataclass(frozen=True)
class _PausingClock:
    wall: Clock

    def now(self) -> datetime:
        return self.wall.now()

    def monotonic(self) -> float:
        return time.monotonic()


def _lies_in(name: str, place: str) -> bool:
    return name == place or name.startswith(place + "/")


class Gate:
    """Something a thread arrives at and waits before, until a test opens it."""

    def __init__(self) -> None:
        self.arrived, self.opened = threading.Event(), threading.Event()

    def __call__(self, *_: object) -> None:
        self.arrived.set()
        assert self.opened.wait(100), "nobody opened the gate"
