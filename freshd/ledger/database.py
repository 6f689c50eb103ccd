"""The ledger's SQLite file: schema, connections, transactions; knows nothing of what the rows mean.

One connection writes, under a lock and with `synchronous=FULL`: a transaction is on disk when it returns.
Reads go through other connections, so that nobody who asks for the status waits for a writer;
there are as many of them as there ever were reads at one time, however many threads come and go.
Instants are stored as whole microseconds since 1970, UTC.
"""

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from freshd.errors import StateUnusable

SCHEMA_VERSION = 2

_MAKE_ANEW = "it is from before the first release: move the state directory away and index again"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
    name TEXT PRIMARY KEY,
    listed_through INTEGER, watermark INTEGER,
    last_scan_at INTEGER, last_complete_scan_at INTEGER, cursor TEXT,
    last_error TEXT, failing_since INTEGER, scan_us INTEGER,
    documents INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE documents (
    doc INTEGER PRIMARY KEY,
    source TEXT NOT NULL, document_id TEXT NOT NULL,
    fingerprint TEXT, identity TEXT, is_racy INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0, is_applied INTEGER NOT NULL DEFAULT 0,
    digest TEXT, recipe TEXT, label TEXT, absent_since INTEGER,
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
CREATE TABLE pending (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    doc INTEGER NOT NULL UNIQUE, source TEXT NOT NULL, kind TEXT NOT NULL,
    fingerprint TEXT, identity TEXT, ref_changed_at INTEGER, is_racy INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL, first_seen_at INTEGER NOT NULL, is_clamped INTEGER NOT NULL,
    target_us INTEGER, deadline INTEGER, due_at INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    is_held INTEGER NOT NULL DEFAULT 0, is_quarantined INTEGER NOT NULL DEFAULT 0,
    is_migration INTEGER NOT NULL DEFAULT 0, is_doubted INTEGER NOT NULL DEFAULT 0, error TEXT
);
CREATE INDEX pending_urgent ON pending (deadline, seq) WHERE deadline IS NOT NULL AND is_held = 0;
CREATE INDEX pending_backfill ON pending (seq) WHERE deadline IS NULL AND is_held = 0;
CREATE INDEX pending_by_source ON pending (source, is_held, is_quarantined, changed_at, is_migration, target_us);
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
CREATE INDEX history_by_document ON history (source, document_id);
CREATE TABLE trail (
    source TEXT NOT NULL, at INTEGER NOT NULL, watermark INTEGER NOT NULL, PRIMARY KEY (source, at)
) WITHOUT ROWID;
"""


def to_us(instant: datetime | None) -> int | None:
    """Pack an aware instant into whole microseconds since 1970."""
    return None if instant is None else (instant - _EPOCH) // timedelta(microseconds=1)


def from_us(value: int | None) -> datetime | None:
    """Unpack what `to_us` packed."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LedgerNotWritable(StateUnusable, sqlite3.OperationalError):
    """This user may not write the ledger, or the folder it lies in.

    Whoever waits until a lock is given up or room is made waits for this as well: permission may come back.
    """


_DENIED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_PRIMARY = 0xFF
"""Bits of SQLite's error codes that tell the kind; the others tell where it came up."""


class Database:
    """The open ledger file."""

    def __init__(self, path: Path, *, busy_timeout_s: float = 5.0) -> None:
        """Open or create the file.

        Raises:
            StateUnusable: It is corrupt, not a ledger, or from a newer freshd; it is left as it was.
            LedgerNotWritable: It lies where this user may not write; so may everything do that is asked later.

        """
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._idle_lock = threading.Lock()  # apart from the writer's, which is held for as long as a transaction
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False
        try:
            self._writer = self._connect()
        except sqlite3.DatabaseError as error:
            raise _unusable(path, error) from error
        try:
            self.instance = self._prepare()
        except BaseException as error:
            self._writer.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise _unusable(path, error) from error
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _prepare(self) -> str:
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
                raise _unusable(self._path, "it holds another program's tables")
            self._create()
        found = self._writer.execute("SELECT value FROM meta WHERE key = 'instance'").fetchone()
        if found is None:
            raise _unusable(self._path, "it does not say whose it is")
        self._writer.execute("PRAGMA journal_mode = WAL")
        return str(found["value"])

    def _create(self) -> None:
        with self.write() as tx:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                tx.execute(statement)
            tx.execute("INSERT INTO meta VALUES ('instance', ?)", (str(uuid.uuid4()),))
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

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Fetch all rows of one query, as of the last commit."""
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
        """Say of SQLite's words for a lack of permission what they mean."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is_denied(error):
                raise _unusable(self._path, error) from error
            raise

    def claim(self, key: str, value: str) -> str:
        """Write a fact about the whole ledger once and for all; give what stands there."""
        if self.recall(key) is None:
            with self.write() as tx:
                tx.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))
        return self.recall(key) or value

    def remember(self, key: str, value: str) -> None:
        """Write a fact about the whole ledger, in place of what stood there."""
        with self.write() as tx:
            tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def recall(self, key: str) -> str | None:
        """Give what was remembered; None if nothing was."""
        found = self.read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(found[0]["value"]) if found else None

    def close(self) -> None:
        """Close every connection; idempotent."""
        with self._lock, self._idle_lock:
            self._is_closed = True
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()


def _is_denied(error: object) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # only SQLite's own errors have one
    return code is not None and code & _PRIMARY in _DENIED


def _unusable(path: Path, reason: object) -> StateUnusable:
    if _is_denied(reason):
        return LedgerNotWritable(
            f"ledger {path}: got {reason}; expected that this user may write it and the folder it lies in",
            hint=f"run as the user that runs freshd, or: chmod u+rwX {path.parent} {path}*",
        )
    return StateUnusable(
        f"ledger {path}: {reason}; expected an intact freshd ledger",
        hint="restore the state directory from a backup, or move it away and index again",
    )
