"""The contracts between rooms, as Protocols: counts, order and idempotence are part of each.

A pure step needs none of them; an adapter implements one; the pipeline is handed them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from freshd.model import (
    Change,
    ChunkId,
    Coverage,
    Digest,
    Document,
    DocumentId,
    DocumentRef,
    Fetched,
    HeldChunk,
    Hint,
    Known,
    Listing,
    Match,
    Outcome,
    ParsedDocument,
    Pending,
    Point,
    Relabel,
    Revision,
    SearchFilter,
    SourceName,
    SparseVector,
    Vector,
)
from freshd.shapes import JobReport, SearchAnswer, StatusReport


class Clock(Protocol):
    """Where time comes from, so that tests can own it."""

    def now(self) -> datetime:
        """Wall-clock instant, aware, UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...


class Connector(Protocol):
    """Reads one source. Lists, reads, decides nothing, keeps no record of what was indexed.

    Calls may come from several threads, but `list` never runs twice at once.
    """

    coverage: Coverage

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        """Show what the source holds now, in rising order of document id.

        Args:
            scope: Only this document id and those that begin with it and a `/`; None for everything.
            cursor: What the last fully applied listing of everything returned; None at first.

        Returns:
            Lazily walked; each document once; a place that cannot be read is reported, not skipped.

        Raises:
            SourceUnavailable: While walking; nothing may be concluded from what was not seen.

        """
        ...

    def read(self, ref: DocumentRef) -> Document:
        """Read one document once; the result's `ref` describes exactly the bytes returned.

        Raises:
            DocumentGone: It is certainly not there any more.
            DocumentChanging: It changed while it was read; retryable.
            DocumentUnreadable: It is there but cannot be read; retryable.
            DocumentRefused: It breaks a limit; not retryable until it changes.
            SourceUnavailable: The source as a whole does not answer.

        """
        ...

    def is_gone(self, document_id: DocumentId) -> bool:
        """Tell whether the document is certainly absent now; any doubt is False."""
        ...

    def close(self) -> None:
        """Let go of everything; idempotent."""
        ...


class Watch(Protocol):
    """A running watch over a source."""

    @property
    def degraded(self) -> str | None:
        """Why hints may be missing, in one line; None while all is well."""
        ...

    def close(self) -> None:
        """Stop; no hint is given after this returns; idempotent."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A connector that can tell early where to look. Hints may be lost, late or doubled."""

    def watch(self, on_hint: Callable[[Hint], None]) -> Watch:
        """Begin to watch before returning; `on_hint` is called from a thread of the watch and must not block."""
        ...


@runtime_checkable
class Remote(Protocol):
    """A connector that asks somebody else's server: reads may take long, and asking has its manners."""

    least_interval: timedelta
    """Between two listings, at least."""


class Fetcher(Protocol):
    """Guarded HTTP: bounded in size, time and redirects, and only to addresses a source may reach."""

    def fetch(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
        max_bytes: int | None = None,
    ) -> Fetched:
        """GET one resource, conditionally where validators are given.

        Args:
            url: http or https.
            headers: Sent to this URL's own origin only, never to another one it redirects to.
            etag: From the last answer.
            last_modified: From the last answer.
            max_bytes: Largest body, packed and unpacked; None for the fetcher's own bound.

        Raises:
            SourceUnavailable: Refused, unreachable, too slow, too large or not 200/304;
                its `not_before` tells when to ask again, if the server said.
            DocumentGone: The server answered 404 or 410.

        """
        ...

    def close(self) -> None:
        """Close pooled connections; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """What freshd hands to a connector when it opens one.

    Attributes:
        base: Folder of the config file; relative paths in options start there.
        fetcher: Builds the guarded HTTP client for this source;
            `allow_private_hosts` names the `host:port` pairs on private or loopback addresses it may reach.

    """

    source: SourceName
    base: Path
    clock: Clock
    fetcher: Callable[[Sequence[str]], Fetcher]


class ConnectorType(Protocol):
    """A class named in the entry-point group `freshd.connectors`.

    `Options` is a pydantic model of the source's own config keys, unknown ones forbidden;
    freshd's common keys (`name`, `type`, `freshness_target`, …) never reach it.
    """

    Options: ClassVar[type[Any]]

    def __call__(self, options: Any, context: ConnectorContext) -> Connector:
        """Open a source; cheap, no I/O: a source that is down must not stop the others from opening."""
        ...


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
    """Remembers computed vectors by (embedder, digest of text); may forget, never lies."""

    def get(self, embedder: Digest, digests: Iterable[Digest]) -> dict[Digest, Vector]:
        """Give those that are remembered."""
        ...

    def put(self, embedder: Digest, vectors: Mapping[Digest, Vector]) -> None:
        """Remember; idempotent; the oldest unused are forgotten beyond the size bound."""
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
        """Set payload fields of points that certainly exist; vectors stay."""
        ...

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        """Delete points by id; absent ones are no error."""
        ...

    def flush(self) -> None:
        """Make everything before this call durable."""
        ...

    def search_dense(self, vector: Vector, limit: int, where: SearchFilter) -> list[Match]:
        """Nearest points by cosine, best first, with payload."""
        ...

    def search_sparse(self, vector: SparseVector, limit: int, where: SearchFilter) -> list[Match]:
        """Best points by BM25, best first, with payload; none for an empty vector."""
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


@dataclass(frozen=True, slots=True)
class Intent:
    """What an attempt is about to touch in the store, for one document.

    Attributes:
        version: Of the revision the attempt was planned against.
        touched: Every chunk id it will add, relabel or remove.

    """

    source: SourceName
    document_id: DocumentId
    version: int
    touched: frozenset[ChunkId]


@dataclass(frozen=True, slots=True)
class Applied:
    """A finished change: what the store now holds for sure.

    Attributes:
        pending: The recording it finishes.
        outcome: With the kind the change turned out to be.
        ref: As the document was read; None when it was deleted.
        digest: Of its bytes; None when it was deleted.
        label: Of its document-level payload; None when it was deleted.
        chunks: In document order; for a touched document those it had.
        durable_at: When the store said that all of it is safe.

    """

    pending: Pending
    outcome: Outcome
    ref: DocumentRef | None
    digest: Digest | None
    recipe: Digest | None
    label: Digest | None
    chunks: tuple[HeldChunk, ...]
    durable_at: datetime


@dataclass(frozen=True, slots=True)
class SourceState:
    """What the ledger remembers of a source as a whole; instants by freshd's clock.

    Attributes:
        listed_through: Start of the newest complete listing whose marker came out; None before the first.
        watermark: As last shown; never goes back.
        last_scan_at: Start of the newest scan.
        last_complete_scan_at: Start of the newest complete one.
        failing_since: When it stopped answering; None while it answers.
        scan_s: How long the newest complete scan took.
        documents: Applied ones.
        chunks: Of the applied documents.
        pending: Neither held nor quarantined.
        oldest_unapplied_at: Oldest change instant among pending and held.

    """

    name: SourceName
    listed_through: datetime | None = None
    watermark: datetime | None = None
    last_scan_at: datetime | None = None
    last_complete_scan_at: datetime | None = None
    cursor: str | None = None
    last_error: str | None = None
    failing_since: datetime | None = None
    scan_s: float | None = None
    documents: int = 0
    chunks: int = 0
    pending: int = 0
    held: int = 0
    quarantined: int = 0
    oldest_unapplied_at: datetime | None = None


class Ledger(Protocol):
    """What the store holds for sure, what is about to change it, and what broken attempts left unknown.

    Every method is one transaction, durable when it returns. Safe to call from several threads.
    Order of one change: `record` → `begin` → (store) → `commit`.
    """

    @property
    def instance(self) -> str:
        """Identity of this ledger; the points it owns carry it."""
        ...

    def known(self, source: SourceName, scope: str | None = None) -> Iterator[Known]:
        """Stream what is remembered of a source's documents, in rising order of document id."""
        ...

    def record(self, changes: Sequence[Change], target: timedelta | None, *, held: bool = False) -> None:
        """Make changes pending; of two recordings of a document the newer says what, the older says since when.

        Args:
            changes: Added, modified or deleted; a move shows as one added and one deleted.
            target: Added to the change instant for the deadline; None for backfill, which has no deadline.
            held: Wait for a person's approval.

        """
        ...

    def successor(self, source: SourceName, document_id: DocumentId) -> DocumentId | None:
        """Tell which other document of the source carries this one's identity or content, if any."""
        ...

    def vanished_twin(self, source: SourceName, digest: Digest) -> DocumentId | None:
        """Find an applied document with this content whose deletion is pending: where a moved one came from."""
        ...

    def take(
        self,
        now: datetime,
        limit: int,
        *,
        urgent: bool = False,
        sources: Sequence[SourceName] | None = None,
        skip: Collection[int] = (),
    ) -> list[Pending]:
        """Give pending changes that are due, earliest deadline first, backfill last; takes nothing away.

        Args:
            now: Changes put off until later are left out.
            limit: At most so many.
            urgent: Only those with a deadline.
            sources: Only of these; None for all.
            skip: Sequence numbers to leave out, because they are being worked on.

        """
        ...

    def revision(self, source: SourceName, document_id: DocumentId) -> Revision:
        """Give the applied revision of a document, or version 0."""
        ...

    def begin(self, intents: Sequence[Intent]) -> list[bool]:
        """Note what an attempt will touch; from here on these ids are unknown until `commit`.

        Returns:
            For each intent whether it stands; False when the document's version has moved on.

        """
        ...

    def commit(self, applied: Sequence[Applied]) -> None:
        """Note what the store now holds; a newer recording of a document stays pending."""
        ...

    def defer(self, pending: Pending, error: str, until: datetime, *, quarantine: bool) -> None:
        """Put a failed change off; a newer recording of the document is left alone."""
        ...

    def drop(self, pending: Pending) -> None:
        """Forget a recording that turned out to be none; the next look sees the document afresh."""
        ...

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that belong to an applied revision."""
        ...

    def last_seq(self) -> int:
        """Give the highest sequence number that a recording ever got, in any source; 0 before the first."""
        ...

    def is_through(self, source: SourceName, seq: int, due_by: datetime | None = None) -> bool:
        """Tell whether every recording of the source up to a number is applied, held, quarantined or replaced.

        Args:
            source: Whose changes.
            seq: Newest recording that counts.
            due_by: With it, changes put off until later count as through.

        """
        ...

    def close(self) -> None:
        """Let go of the file; idempotent."""
        ...


class Control(Protocol):
    """What the endpoint may ask of the daemon. Safe to call from several threads; nothing here waits for work."""

    def is_alive(self) -> bool:
        """Tell whether every thread the daemon lives by still does its rounds."""
        ...

    def not_ready(self) -> str | None:
        """Say in one line why answers may be missing: store not open, a source not listed yet; None when ready."""
        ...

    def status(self) -> StatusReport:
        """Give how fresh each source is known to be, computed at this moment."""
        ...

    def metrics(self) -> bytes:
        """Give every metric in Prometheus' text format 0.0.4."""
        ...

    def search(self, query: str, k: int, where: SearchFilter) -> SearchAnswer:
        """Find passages.

        Raises:
            ValueError: `k` is out of range, or a source is not configured.
            StoreUnavailable: The store does not answer.

        """
        ...

    def reindex(self, sources: Sequence[SourceName], *, full: bool) -> str:
        """Begin to look at sources now, all of them for none named; give the id of the job.

        Args:
            sources: Names of configured sources.
            full: Read and parse every document again, whatever its fingerprint says.

        Raises:
            ValueError: A source is not configured.

        """
        ...

    def wait(self, documents: Sequence[tuple[SourceName, DocumentId]], timeout_s: float) -> str:
        """Begin to wait until documents are searchable as they are now, everything for none; give the job's id.

        Raises:
            ValueError: A source is not configured.

        """
        ...

    def job(self, job_id: str) -> JobReport | None:
        """Tell how a job stands; None for one that never was or is forgotten."""
        ...
