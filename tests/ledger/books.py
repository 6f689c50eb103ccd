"""A ledger on one file with everything that works on it, and short ways to say what happens to it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from freshd.ledger.beside import Behind, BesideLedger, GenerationChunks
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger, Waiting
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.generations import Generation, SqliteGenerations
from freshd.ledger.history import SqliteHistory
from freshd.ledger.proofs import Proofs
from freshd.ledger.quarantine import SqliteQuarantine
from freshd.ledger.sources import SqliteSources
from freshd.model import (
    Change,
    ChangeKind,
    ChunkId,
    Digest,
    DocumentId,
    DocumentRef,
    Fates,
    HeldChunk,
    Known,
    Outcome,
    OutcomeKind,
    Pending,
    Revision,
    SourceName,
)
from freshd.ports import Applied, Intent, SourceState

SOURCE, OTHER = SourceName("handbook"), SourceName("news")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=9)
"""When everything that was put off is due again."""

MINUTE = timedelta(minutes=1)
ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED
RECIPE, LABEL = Digest("aa" * 32), Digest("bb" * 32)
NEW_RECIPE = Digest("cc" * 32)


def digest(text: str) -> Digest:
    return Digest(text.encode().hex().ljust(64, "0")[:64])


def id_of(number: int) -> ChunkId:
    return ChunkId(str(UUID(int=number)))


def ids(*numbers: int) -> frozenset[ChunkId]:
    return frozenset(map(id_of, numbers))


def change(
    name: str,
    kind: ChangeKind = ADDED,
    version: str = "1",
    *,
    at: datetime = NOON,
    source: SourceName = SOURCE,
    identity: str | None = None,
) -> Change:
    """A change seen a second after it came to be."""
    document_id = DocumentId(name)
    ref = None if kind is DELETED else DocumentRef(document_id, version, at, identity)
    return Change(source, document_id, kind, ref, at, at + timedelta(seconds=1))


def applied(
    pending: Pending, *numbers: int, content: str = "text", kind: OutcomeKind | None = None, seconds: int = 5
) -> Applied:
    """What the pipeline says once the chunks with these numbers are in the store."""
    what = pending.change
    is_deleted = what.ref is None
    at = what.changed_at + timedelta(seconds=seconds)
    outcome = Outcome(what, kind or (OutcomeKind.DELETED if is_deleted else OutcomeKind.INDEXED), Fates(1), at, 10)
    chunks = tuple(HeldChunk(chunk_id, LABEL) for chunk_id in sorted(ids(*numbers)))
    described = (None, None, None) if is_deleted else (digest(content), RECIPE, LABEL)
    return Applied(pending, outcome, what.ref, *described, chunks, at)


class Books:
    """A ledger with the tables around it, open on one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database(path)
        self.ledger = SqliteLedger(self.database)
        self.sources = SqliteSources(self.database)
        self.history = SqliteHistory(self.database)
        self.forgetting = SqliteForgetting(self.database)
        self.generations = SqliteGenerations(self.database)
        self.beside = BesideLedger(self.database)
        self.proofs = Proofs(self.database)
        self.quarantine = SqliteQuarantine(self.database)

    def taken(self, now: datetime = LATER, **how: object) -> list[str]:
        return [p.change.document_id for p in self.ledger.take(now, 100, **how)]

    def pending(self, name: str, source: SourceName = SOURCE) -> Pending:
        (found,) = [p for p in self.ledger.take(LATER, 1000, sources=[source]) if p.change.document_id == name]
        return found

    def index(
        self, name: str, *numbers: int, content: str = "text", version: str = "1", source: SourceName = SOURCE
    ) -> None:
        """Take a document the whole way, as first index."""
        self.ledger.record([change(name, ADDED, version, source=source)], None)
        self.apply(name, *numbers, content=content, source=source)

    def apply(self, name: str, *numbers: int, content: str = "text", source: SourceName = SOURCE) -> None:
        pending = self.pending(name, source)
        self.begin(name, *numbers, source=source)
        self.ledger.commit([applied(pending, *numbers, content=content)])

    def begin(self, name: str, *numbers: int, source: SourceName = SOURCE) -> bool:
        version = self.revision(name, source).version
        return self.ledger.begin([Intent(source, DocumentId(name), version, ids(*numbers))])[0]

    def revision(self, name: str, source: SourceName = SOURCE) -> Revision:
        return self.ledger.revision(source, DocumentId(name))

    def waiting(self, name: str) -> Waiting | None:
        return self.ledger.pending_of(SOURCE, DocumentId(name))

    def known(self, scope: str | None = None, source: SourceName = SOURCE) -> dict[str, Known]:
        return {k.document_id: k for k in self.ledger.known(source, scope)}

    def state(self) -> SourceState:
        return self.sources.state(SOURCE)

    def mark(self, through: datetime, now: datetime | None = None) -> datetime | None:
        return self.sources.marker_out(SOURCE, through, None, now or through)

    def reopened(self) -> "Books":
        self.database.close()
        return Books(self.path)

    # The generation beside

    def fill(
        self,
        name: str,
        *numbers: int,
        content: str = "text",
        recipe: Digest = NEW_RECIPE,
        kind: ChangeKind = MODIFIED,
        source: SourceName = SOURCE,
    ) -> None:
        """Write a document into the generation beside the live one."""
        pending = Pending(0, change(name, kind, source=source), None)
        item = applied(pending, *numbers, content=content)
        self.beside.commit([item if item.ref is None else replace(item, recipe=recipe)])

    def behind(self, after: int = 0, through: int | None = None, limit: int = 100) -> list[Behind]:
        last = self.beside.last_doc() if through is None else through
        return self.beside.behind(NEW_RECIPE, after, last, limit)

    def names_behind(self) -> list[str]:
        return [one.document_id for one in self.behind()]

    def admitted(self, generation: str, numbers: Sequence[int]) -> set[ChunkId]:
        return GenerationChunks(self.database, generation).admitted([id_of(n) for n in numbers])

    def still_at(self, generation: str, **versions: int) -> set[str]:
        asked = {(SOURCE, name): version for name, version in versions.items()}
        return {name for _, name in GenerationChunks(self.database, generation).still_at(asked)}

    def around(self, generation: str, numbers: Sequence[int], reach: int) -> dict[int, tuple[int, ...]]:
        runs = GenerationChunks(self.database, generation).around([id_of(n) for n in numbers], reach)
        return {UUID(middle).int: tuple(UUID(one).int for one in run) for middle, run in runs.items()}

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self.database.read(sql, values)]


def made(name: str, *, since: datetime = NOON, dimension: int = 3) -> Generation:
    """A generation by its name."""
    return Generation(f"freshd-{name}", "freshd", digest(name), digest(f"model {name}"), name, dimension, since)


def expect_counts(path: Path) -> None:
    """Count what is pending anew: whoever asks is told what was counted as it came and went."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT source, is_held, is_quarantined, count(*) FROM pending GROUP BY 1, 2, 3")
        kept = database.execute("SELECT source, is_held, is_quarantined, n FROM pending_counts WHERE n != 0")
        assert sorted(kept) == sorted(found)


@contextmanager
def opened(path: Path) -> Iterator[Books]:
    """A ledger that is let go of at the end, once it is seen whether it knows how much is pending."""
    books = Books(path)
    with closing(books.database):
        yield books
    expect_counts(path)
