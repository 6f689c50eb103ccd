"""The nouns of freshd: plain, frozen, and free of any I/O, clock or project import.

Every other room speaks in these types.
Instants are aware UTC datetimes; a field says whose clock it follows.
Identifiers are text that can be printed, logged and typed on a command line.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, NewType, Protocol

SourceName = NewType("SourceName", str)
"""Name of a configured source, unique in a config."""

DocumentId = NewType("DocumentId", str)
"""The connector's key as printable text, unique in its source; order is by code point."""

ChunkId = NewType("ChunkId", str)
"""A UUID in canonical text form; also the id of the chunk's point in the store."""

Digest = NewType("Digest", str)
"""SHA-256 in lower-case hexadecimal."""

Vector = NewType("Vector", bytes)
"""A dense vector packed as little-endian float32; 4 × dimension bytes."""


class Coverage(StrEnum):
    """What absence from a complete listing means."""

    FULL = "full"
    """Absent = deleted at the source."""
    WINDOW = "window"
    """Absent means nothing: the source shows only its newest documents."""


class ChangeKind(StrEnum):
    """The ways a source can differ from the ledger."""

    ADDED = "added"
    MODIFIED = "modified"
    MOVED = "moved"
    DELETED = "deleted"


class BlockKind(StrEnum):
    """What a parser saw; the chunker treats headings apart and splits by kind."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"


class Sighting(Protocol):
    """What a listing shows of one document: a DocumentRef, or what becomes one only if it is asked for more.

    A million of them are seen in one look, and of almost all only id and fingerprint are asked.
    """

    @property
    def document_id(self) -> DocumentId:
        """As in DocumentRef."""

    @property
    def fingerprint(self) -> str:
        """As in DocumentRef."""

    @property
    def changed_at(self) -> datetime | None:
        """As in DocumentRef."""

    @property
    def identity(self) -> str | None:
        """As in DocumentRef."""

    @property
    def is_racy(self) -> bool:
        """As in DocumentRef."""


class DocumentRef(NamedTuple):
    """A document known to exist, not yet read.

    Attributes:
        fingerprint: A cheap claim about content, compared for equality only.
        changed_at: When this state came to be, according to the source; None if it does not say.
        identity: Equal for one document before and after a rename, where the source can tell.
        is_racy: Changed so shortly before it was looked at
            that an equal fingerprint next time proves nothing (git's racy rule).

    """

    document_id: DocumentId
    fingerprint: str
    changed_at: datetime | None = None
    identity: str | None = None
    is_racy: bool = False

    @classmethod
    def of(cls, seen: Sighting) -> "DocumentRef":
        """Write down all that a listing shows of a document."""
        return cls(seen.document_id, seen.fingerprint, seen.changed_at, seen.identity, seen.is_racy)


@dataclass(frozen=True, slots=True)
class ListingReport:
    """What a listing is worth, known only when it has been walked to its end.

    Attributes:
        is_complete: Everything in scope was seen, but for what `unreadable` names.
        unreadable: Scopes in which nothing is known; absence there is no deletion.
        cursor: What the next listing wants to be given back, opaque to everyone else;
            it is kept only once everything this listing showed is applied.
        suspicion: Why absence should not be believed without a person, such as another mount; None if none.
        not_before: The source asks not to be looked at earlier; None if it does not say.
        reason: Why it is not complete, with what was got and what was expected, in one line; None while it is.
        hint: What mends that; empty when nothing but waiting does.

    """

    is_complete: bool
    unreadable: tuple[str, ...] = ()
    cursor: str | None = None
    suspicion: str | None = None
    not_before: datetime | None = None
    reason: str | None = None
    hint: str = ""

    @property
    def shortfall(self) -> str | None:
        """Say in one line why not everything was seen; None when it was."""
        if not self.is_complete:
            return self.reason or "got a listing that broke off, expected one of everything"
        if self.unreadable:
            more = f", and {len(self.unreadable) - 1:,} more" if len(self.unreadable) > 1 else ""
            return f"{self.unreadable[0]}: cannot be read{more}"
        return None


class Listing:
    """All that one scan of a source saw: documents streamed in order of their ids, then a report.

    Iterate once; `report` is there afterwards. Holds one document at a time.
    """

    def __init__(self, seen: Generator[Sighting, None, ListingReport]) -> None:
        """Wrap a generator that yields refs, or the like, in rising order and returns the report."""
        self._seen = seen
        self._report: ListingReport | None = None

    def __iter__(self) -> Iterator[Sighting]:
        """Yield every document once; errors of the source as a whole are raised from here."""
        self._report = yield from self._seen

    @property
    def report(self) -> ListingReport:
        """What the listing is worth; an error before its end."""
        if self._report is None:
            raise RuntimeError("a listing has no report before it was walked to its end")
        return self._report


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may have changed; only a look at the source tells.

    Attributes:
        scope: A document id, or the folder above changed ones; None for anywhere.
        is_settled: The writer is done (close after write, rename); else it may still be writing.
        seen_at: By freshd's clock.

    """

    scope: str | None
    is_settled: bool
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer over HTTP.

    Attributes:
        status: 200 or 304; everything else is raised.
        url: Where the last hop ended.
        permanent_url: Where permanent redirects (301, 308) led before any other hop; None if nowhere.
        content: Decoded body; empty for a 304.
        media_type: Lower case, without parameters; None if not declared.
        encoding: Declared charset; None if not declared.
        not_before: The server's wish: Retry-After, or the end of Cache-Control's max-age; None if none.

    """

    status: int
    url: str
    content: bytes
    permanent_url: str | None = None
    media_type: str | None = None
    encoding: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read.

    Attributes:
        ref: What the source said of exactly these bytes.
        uri: Where a person finds it: `file:///…` or the entry's link.
        content: The bytes as they are at the source.
        media_type: As the source declares it, without parameters; None if it does not.
        encoding: As the source declares it; None if it does not.
        title: As the source declares it; a parser may find a better one.
        modified_at: When the author last changed it, according to the source; shown, never trusted.

    """

    ref: DocumentRef
    uri: str
    content: bytes
    media_type: str | None = None
    encoding: str | None = None
    title: str | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list, table, … of a parsed document.

    Attributes:
        start: Offset of the first character in the parsed text.
        end: Offset after the last character.
        start_line: Line of the first character in the source document; 1-based.
        end_line: Line of the last character in the source document; inclusive.
        heading_path: The headings above it, outermost first; for a heading, the ones above that.

    """

    kind: BlockKind
    start: int
    end: int
    start_line: int
    end_line: int
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of a document and the blocks that lie in it, in order, not overlapping."""

    text: str
    blocks: tuple[Block, ...]
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous piece of one document, ready to be embedded.

    Attributes:
        ordinal: Place among the document's chunks; 0-based.
        text: Exactly `parsed.text[start:end]`.
        embedded_text: Heading path and text: what the model sees.
        digest: SHA-256 of `embedded_text`.

    """

    chunk_id: ChunkId
    ordinal: int
    start: int
    end: int
    start_line: int
    end_line: int
    heading_path: tuple[str, ...]
    text: str
    embedded_text: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term weights: `values[i]` belongs to dimension `indices[i]`."""

    indices: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A chunk and its vectors, as the store holds it."""

    chunk_id: ChunkId
    dense: Vector
    sparse: SparseVector
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Relabel:
    """Payload fields to set on points that certainly exist.

    Attributes:
        payload: Fields that replace their namesakes; the others stay.
        key: Name of the nested object to set them in; None for the top level.

    """

    chunk_ids: tuple[ChunkId, ...]
    payload: Mapping[str, Any]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A point the store found, with the score of the one vector asked."""

    chunk_id: ChunkId
    score: float


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which points a search may find; empty means all.

    Attributes:
        sources: Names admitted; empty for every source.
        path_prefix: What the document id must start with.

    """

    sources: tuple[SourceName, ...] = ()
    path_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between a listing and the ledger.

    Attributes:
        ref: The document as the source shows it; None when it was deleted.
        previous_id: Where a moved document was; known only once its content was read.
        changed_at: Change instant, already clamped to what freshd itself can vouch for.
        first_seen_at: When freshd first knew, by its own clock.
        is_clamped: The source's own instant was not believable.
        is_doubted: Nobody saw it change: it looks as it is known, which was seen too soon after a change
            to prove anything, or the store was found not to hold what it should of it.

    """

    source: SourceName
    document_id: DocumentId
    kind: ChangeKind
    ref: DocumentRef | None
    changed_at: datetime
    first_seen_at: datetime
    previous_id: DocumentId | None = None
    is_clamped: bool = False
    is_doubted: bool = False


class Known(NamedTuple):
    """What the ledger remembers of one document, as a listing is compared with it; a tuple for the same reason.

    Attributes:
        fingerprint: Of the newest look that was recorded, applied or not; None after a deletion was recorded.
        is_applied: Whether the store holds a revision of it.
        absent_since: Since when a window has not shown it, where that is remembered; None while it does.
        is_kept: A person kept it when it was not shown; only a person lets it go.

    """

    document_id: DocumentId
    fingerprint: str | None
    identity: str | None = None
    is_racy: bool = False
    is_applied: bool = False
    absent_since: datetime | None = None
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """A recorded change that is not applied yet.

    Attributes:
        seq: Rises with every recording; tells this recording from a later one.
        target: The freshness target it has to meet; None for backfill, which has none.
        attempts: How often it failed so far.

    """

    seq: int
    change: Change
    target: timedelta | None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class HeldChunk:
    """A chunk of an applied revision, as the ledger holds it."""

    chunk_id: ChunkId
    label: Digest


@dataclass(frozen=True, slots=True)
class Revision:
    """A document as the index holds it.

    Attributes:
        version: Rises by one with every applied change; 0 when nothing was ever applied.
        digest: Of the document's bytes; None when nothing is applied.
        recipe: What made the chunks; None when nothing is applied.
        label: Of the document-level payload; None when nothing is applied.
        chunks: In document order.
        unknown: Ids that a broken attempt may or may not have left in the store.

    """

    version: int = 0
    digest: Digest | None = None
    recipe: Digest | None = None
    label: Digest | None = None
    chunks: tuple[HeldChunk, ...] = ()
    unknown: frozenset[ChunkId] = frozenset()


@dataclass(frozen=True, slots=True)
class Fates:
    """How many chunks met which fate."""

    embedded: int = 0
    reused: int = 0
    relabelled: int = 0
    kept: int = 0
    removed: int = 0

    def __add__(self, other: "Fates") -> "Fates":
        """Sum field by field."""
        return Fates(
            self.embedded + other.embedded,
            self.reused + other.reused,
            self.relabelled + other.relabelled,
            self.kept + other.kept,
            self.removed + other.removed,
        )


class OutcomeKind(StrEnum):
    """What became of one change."""

    INDEXED = "indexed"
    TOUCHED = "touched"
    DELETED = "deleted"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """The source or the ledger moved on meanwhile; a newer change takes its place."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change, with what it cost.

    Attributes:
        searchable_at: When search began to answer with it; None if it never did.
        embedded_characters: Characters given to the model for it.
        error: Why it failed, in one line.
        hint: What mends that; None when nothing but waiting does.

    """

    change: Change
    kind: OutcomeKind
    fates: Fates = Fates()
    searchable_at: datetime | None = None
    embedded_characters: int = 0
    error: str | None = None
    hint: str | None = None
