"""The ledger's SQLite file: schema, connections, transactions; knows nothing of what the rows mean.

One connection writes, under a lock and with `synchronous=FULL`: a transaction is on disk when it returns.
Reads go through other connections, so that nobody who asks for the status waits for a writer;
there are as many of them as there ever were reads at one time, however many threads come and go.
Instants are stored as whole microseconds since 1970, UTC.
"""

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from freshd.errors import StateError, StateUnusable
from freshd.ledger.troubles import DAMAGED, DENIED, DISK_FAILED, TOLD, LedgerDiskFailed, code_of, lost, unusable

SCHEMA_VERSION = 5

_MAKE_ANEW = "it is from before the first release: move the state directory away and index again"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
    name TEXT PRIMARY KEY,
    listed_through INTEGER, watermark INTEGER,
    last_scan_at INTEGER, last_complete_scan_at INTEGER, cursor TEXT,
    last_error TEXT, failing_since INTEGER, scan_us INTEGER,
    documents INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0,
    removed_at INTEGER, wants_everything INTEGER NOT NULL DEFAULT 0,
    away_until INTEGER, away_seq INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE documents (
    doc INTEGER PRIMARY KEY,
    source TEXT NOT NULL, document_id TEXT NOT NULL,
    fingerprint TEXT, identity TEXT, is_racy INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0, is_applied INTEGER NOT NULL DEFAULT 0,
    digest TEXT, recipe TEXT, label TEXT, absent_since INTEGER, is_kept INTEGER NOT NULL DEFAULT 0,
    UNIQUE (source, document_id)
);
CREATE INDEX documents_by_identity ON documents (source, identity) WHERE identity IS NOT NULL;
CREATE INDEX documents_by_digest ON documents (source, digest) WHERE digest IS NOT NULL;
CREATE TABLE chunks (
    doc INTEGER NOT NULL, ordinal INTEGER NOT NULL, chunk_id BLOB NOT NULL, label BLOB NOT NULL,
    PRIMARY KEY (doc, ordinal)
) WITHOUT ROWID;
CREATE INDEX chunks_by_id ON chunks (chunk_id);
CREATE TABLE unknown (doc INTEGER NOT NULL, chunk_id BLOB NOT NULL, PRIMARY KEY (doc, chunk_id)) WITHOUT ROWID;
CREATE TABLE documents_beside (
    doc INTEGER PRIMARY KEY, version INTEGER NOT NULL, digest TEXT NOT NULL, recipe TEXT NOT NULL, label TEXT NOT NULL
);
CREATE TABLE chunks_beside (
    doc INTEGER NOT NULL, ordinal INTEGER NOT NULL, chunk_id BLOB NOT NULL, label BLOB NOT NULL,
    PRIMARY KEY (doc, ordinal)
) WITHOUT ROWID;
CREATE INDEX chunks_beside_by_id ON chunks_beside (chunk_id);
CREATE TABLE unknown_beside (doc INTEGER NOT NULL, chunk_id BLOB NOT NULL, PRIMARY KEY (doc, chunk_id)) WITHOUT ROWID;
CREATE TABLE pending (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    doc INTEGER NOT NULL UNIQUE, source TEXT NOT NULL, kind TEXT NOT NULL,
    fingerprint TEXT, identity TEXT, ref_changed_at INTEGER, is_racy INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL, first_seen_at INTEGER NOT NULL, is_clamped INTEGER NOT NULL,
    target_us INTEGER, deadline INTEGER, due_at INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    is_held INTEGER NOT NULL DEFAULT 0, is_quarantined INTEGER NOT NULL DEFAULT 0,
    is_migration INTEGER NOT NULL DEFAULT 0, is_doubted INTEGER NOT NULL DEFAULT 0, error TEXT
);
CREATE INDEX pending_urgent ON pending (source, deadline, seq) WHERE deadline IS NOT NULL AND is_held = 0;
CREATE INDEX pending_backfill ON pending (source, seq) WHERE deadline IS NULL AND is_held = 0;
CREATE INDEX pending_by_source ON pending (source, is_held, is_quarantined, is_migration, changed_at);
CREATE INDEX pending_with_target ON pending (source, changed_at, target_us)
    WHERE target_us IS NOT NULL AND is_held = 0 AND is_quarantined = 0;
CREATE INDEX pending_deletions ON pending (source, changed_at) WHERE kind = 'deleted' AND is_held = 0;
CREATE TABLE pending_counts (
    source TEXT NOT NULL, is_held INTEGER NOT NULL, is_quarantined INTEGER NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (source, is_held, is_quarantined)
) WITHOUT ROWID;
CREATE TABLE history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL, document_id TEXT NOT NULL, kind TEXT NOT NULL, previous_id TEXT,
    changed_at INTEGER NOT NULL, searchable_at INTEGER, durable_at INTEGER NOT NULL,
    is_backfill INTEGER NOT NULL, is_clamped INTEGER NOT NULL, is_within_target INTEGER,
    embedded INTEGER NOT NULL, reused INTEGER NOT NULL, relabelled INTEGER NOT NULL,
    kept INTEGER NOT NULL, removed INTEGER NOT NULL, embedded_characters INTEGER NOT NULL
);
CREATE INDEX history_lags ON history (source, durable_at, kind, is_within_target, searchable_at, changed_at)
    WHERE is_backfill = 0;
CREATE INDEX history_deletions ON history (source, durable_at) WHERE kind = 'deleted';
CREATE INDEX history_arrivals ON history (source, changed_at) WHERE kind IN ('added', 'modified');
CREATE INDEX history_by_document ON history (source, document_id);
CREATE INDEX history_by_previous ON history (source, previous_id) WHERE previous_id IS NOT NULL;
CREATE TABLE trail (
    source TEXT NOT NULL, at INTEGER NOT NULL, watermark INTEGER NOT NULL, PRIMARY KEY (source, at)
) WITHOUT ROWID;
CREATE TABLE forgotten (tombstone BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE forgetting (doc INTEGER PRIMARY KEY);
"""

_COME = (
    "INSERT INTO pending_counts VALUES (new.source, new.is_held, new.is_quarantined, 1)"
    " ON CONFLICT DO UPDATE SET n = n + 1;"
)
_GONE = (
    "UPDATE pending_counts SET n = n - 1"
    " WHERE source = old.source AND is_held = old.is_held AND is_quarantined = old.is_quarantined;"
)
_COUNTING = (
    f"CREATE TRIGGER pending_came AFTER INSERT ON pending BEGIN {_COME} END",
    f"CREATE TRIGGER pending_went AFTER DELETE ON pending BEGIN {_GONE} END",
    f"CREATE TRIGGER pending_moved AFTER UPDATE OF is_held, is_quarantined ON pending BEGIN {_GONE} {_COME} END",
)
"""Every search asks how fresh its sources are, while a million documents may be pending: nobody counts them anew."""


def to_us(instant: datetime | None) -> int | None:
    """Pack an aware instant into whole microseconds since 1970."""
    return None if instant is None else (instant - _EPOCH) // timedelta(microseconds=1)


def from_us(value: int | None) -> datetime | None:
    """Unpack what `to_us` packed."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)


_MAGIC = b"SQLite format 3\0"

_READER_KIB = 256
"""Of pages that a reader keeps, in place of SQLite's 2,000: every commit makes them void."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Database:
    """The open ledger file."""

    def __init__(
        self, path: Path, *, busy_timeout_s: float = 5.0, may_create: bool = True, instance: str | None = None
    ) -> None:
        """Open or create the file.

        Args:
            path: Of the file.
            busy_timeout_s: How long it is waited for while another program has it locked.
            may_create: False where there is an index: one whose ledger is lost or empty is no new one.
            instance: Of a ledger made anew; a new identity if None.

        Raises:
            StateUnusable: It is corrupt, not a ledger, lost, or from a newer freshd; it is left as it was.
            LedgerNotWritable: It lies where this user may not write; so may everything do that is asked later.
            LedgerLocked: Another program does not let go of it; likewise.

        """
        if not may_create and not _size(path):  # asked before SQLite is, which makes what is not there
            raise lost(path, "is empty" if path.exists() else "is gone")
        if not _may_be_a_database(path):  # likewise: it would take the log of such a file for its own, and delete it
            raise unusable(path, "file is not a database")
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._idle_lock = threading.Lock()  # apart from the writer's, which is held for as long as a transaction
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False
        self.failure: LedgerDiskFailed | None = None
        """What the disk did; from then on every question and every change is refused with it."""
        try:
            self._writer = self._connect()
        except sqlite3.DatabaseError as error:
            raise unusable(path, error) from error
        try:
            self.instance = self._prepare((instance or str(uuid.uuid4())) if may_create else None)
        except BaseException as error:
            self._writer.close()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, StateError):
                raise unusable(path, error) from error
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            connection.close()  # else it is at some moment, by when another file may bear this name
            raise
        return connection

    def _prepare(self, new_instance: str | None) -> str:
        """Give the ledger's identity; nothing is written to a file before it is known for a ledger, or empty."""
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            is_newer = version > SCHEMA_VERSION
            raise StateUnusable(
                f"ledger {self._path}: got schema version {version}, expected {SCHEMA_VERSION}",
                hint="use the newer freshd that wrote it, or another state_dir" if is_newer else _MAKE_ANEW,
            )
        if version == 0:
            if self._writer.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
                raise unusable(self._path, "it holds another program's tables")
            if new_instance is None:
                raise lost(self._path, "is empty")
            self._create(new_instance)
        found = self._writer.execute("SELECT value FROM meta WHERE key = 'instance'").fetchone()
        if found is None:
            raise unusable(self._path, "it does not say whose it is")
        self._writer.execute("PRAGMA journal_mode = WAL")
        return str(found["value"])

    def _create(self, instance: str) -> None:
        with self.write() as tx:
            for statement in (*filter(str.strip, _SCHEMA.split(";")), *_COUNTING):
                tx.execute(statement)
            tx.execute("INSERT INTO meta VALUES ('instance', ?)", (instance,))
            tx.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run one durable transaction; an exception rolls it back."""
        with self._lock, self._permitted():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk ends it without being asked
                    self._writer.execute("ROLLBACK")
                raise

    def read(self, sql: str, parameters: tuple[Any, ...] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Fetch all rows of one query, as of the last commit.

        The connection keeps what it made of the text: write values as parameters, never into it.
        """
        with self._permitted(), self._reader() as reader:
            return reader.execute(sql, parameters).fetchall()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with self._idle_lock:
            if self._is_closed:
                raise sqlite3.ProgrammingError("the ledger is closed")
            reader = self._idle.pop() if self._idle else None
        if reader is None:
            reader = self._connect()
            reader.execute("PRAGMA query_only = ON")
            reader.execute(f"PRAGMA cache_size = -{_READER_KIB}")
        try:
            yield reader
        finally:
            with self._idle_lock:
                if self._is_closed:
                    reader.close()
                else:
                    self._idle.append(reader)

    @contextmanager
    def _permitted(self) -> Iterator[None]:
        """Say of SQLite's words for a lack of permission, a lock, a failing disk or damage what they mean."""
        if self.failure is not None:
            raise LedgerDiskFailed(str(self.failure), hint=self.failure.hint)
        try:
            yield
        except sqlite3.DatabaseError as error:
            if code_of(error) not in TOLD:
                raise
            told = unusable(self._path, error)
            if isinstance(told, LedgerDiskFailed):
                self.failure = told
            raise told from error

    def expect_whole(self) -> None:
        """Refuse a file that is damaged anywhere, before anything is done that it may not be fit for.

        Raises:
            StateUnusable: It is.

        """
        if (damage := self.damage()) is not None:
            raise unusable(self._path, f"is damaged: {damage}")

    def damage(self) -> str | None:
        """Read the whole file and tell what is wrong with it, in one line; None when it is whole.

        Measured: 0.6 s for a ledger of a million chunks.
        """
        with self._permitted(), self._reader() as reader:
            try:
                found = str(reader.execute("PRAGMA quick_check(1)").fetchone()[0])
            except sqlite3.DatabaseError as error:
                if code_of(error) not in DAMAGED:
                    raise
                found = str(error)
        return None if found == "ok" else " ".join(found.split())

    def remember(self, key: str, value: str) -> None:
        """Write a fact about the whole ledger, in place of what stood there."""
        with self.write() as tx:
            tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def recall(self, key: str) -> str | None:
        """Give what was remembered; None if nothing was."""
        found = self.read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(found[0]["value"]) if found else None

    def scrub(self) -> bool:
        """Write the file anew and empty its log, so that no former state is left in either.

        Zeroing what is deleted is not enough: SQLite leaves copies of rows in the free space of pages that it splits.

        Returns:
            False while somebody reads a former state, or while there is no room for it; then ask again.

        """
        with self._lock, self._permitted():
            if not self._may_be_written_anew():
                return False
            try:
                self._writer.execute("VACUUM")
            except sqlite3.OperationalError as error:
                if code_of(error) in DENIED | DISK_FAILED:
                    raise
                with suppress(sqlite3.OperationalError):
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else the log stays as large as it became
                return False
            return not self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    def _may_be_written_anew(self) -> bool:
        """Tell whether there is room for twice what the file holds: SQLite makes a copy, and puts that into its log."""
        pages, free_pages, page_bytes = (
            int(self._writer.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize >= 2 * (pages - free_pages) * page_bytes

    def close(self) -> None:
        """Close every connection; idempotent."""
        with self._lock, self._idle_lock:
            self._is_closed = True
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()


def _may_be_a_database(path: Path) -> bool:
    """Tell whether a file begins like one of SQLite's, or is empty or not there; one that cannot be read may be."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError:
        return True
    return start in (b"", _MAGIC)


def _size(path: Path) -> int:
    """Bytes in a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
