"""The vector cache: computed vectors by (embedder, digest of text), in one SQLite file of bounded size.

It may forget, and it never lies: every vector is stored with a checksum over itself and its key,
one that does not fit is dropped, and a file that SQLite cannot read is moved aside and begun anew.
Nothing here is worth an fsync: what a power cut takes is embedded again.
"""

import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from freshd import quota
from freshd.errors import StateUnusable
from freshd.model import Digest, Vector
from freshd.ports import Clock

DEFAULT_MAX_BYTES = 2**30

PAGE_BYTES = 16_384
"""SQLite's default of 4,096 holds two 384-dimensional vectors and wastes a quarter of itself; this one holds ten."""

CELL_BYTES = 85
"""What a row holds beside its vector: embedder, digest, checksum, time."""

INDEX_BYTES = 105
"""What both indexes hold for a row, measured at 20,000 rows with their usual slack."""

TOUCH_AFTER_S = 3600
"""A hit is written down at most once an hour, so that reading stays reading; recency needs no more."""

EVICT_ROWS = 4096
"""Most rows that one `put` deletes on top of as many as it added, so that a lowered bound stalls nobody."""

_FREE_SHARE = 8
"""One page of so many may lie free before disk is given back: the next `put` would want it again."""

_SHRINK_PAGES = 512
_SCHEMA_VERSION = 1
_FLOAT32_BYTES = 4

_SCHEMA = """
CREATE TABLE vectors (
    seq INTEGER PRIMARY KEY,
    embedder BLOB NOT NULL, digest BLOB NOT NULL, vector BLOB NOT NULL,
    checksum INTEGER NOT NULL, used_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX vectors_by_key ON vectors (embedder, digest);
CREATE INDEX vectors_by_use ON vectors (used_at, seq);
CREATE TABLE size (bytes INTEGER NOT NULL);
INSERT INTO size VALUES (0);
"""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""The last one is SQLite's "no such table": the statements are fixed, so it is the file that is wrong."""

_HINDERED = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

T = TypeVar("T")


def row_bytes(vector_bytes: int) -> int:
    """Tell what disk a vector takes: its share of a page, and of the indexes.

    Files came out within 4 % of it, evictions included, for vectors of 384, 768 and 1,024 dimensions.
    """
    per_page = PAGE_BYTES // (vector_bytes + CELL_BYTES)
    return (PAGE_BYTES // per_page if per_page else vector_bytes + PAGE_BYTES) + INDEX_BYTES


class _Row(NamedTuple):
    """A remembered vector as it lies in the file."""

    seq: int
    digest: bytes
    vector: bytes
    checksum: int
    used_at: int

    def is_whole(self, embedder: bytes) -> bool:
        """Tell whether it is what was put."""
        return self.checksum == _checksum(embedder, self.digest, self.vector)


class SqliteVectorCache:
    """Remembers vectors on disk; implements `ports.VectorCache`. Safe to call from several threads.

    Bounded by what was used least recently; "recently" is known to the hour.
    """

    def __init__(self, path: Path, *, clock: Clock, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Open or create the file.

        Args:
            path: Of the database; `-wal` and `-shm` lie beside it while it is open.
            clock: Tells when a vector was last used.
            max_bytes: Disk that vectors, keys and indexes may take together.

        Raises:
            StateUnusable: The file can be neither read nor replaced.

        """
        self._path = path
        self._clock = clock
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        with self._explained():
            self._database = self._open()

    def get(self, embedder: Digest, digests: Iterable[Digest]) -> dict[Digest, Vector]:
        """Give those that are remembered, each exactly as it was put.

        Raises:
            StateUnusable: The file could not be used, for another reason than damage.

        """
        keys = [bytes.fromhex(digest) for digest in dict.fromkeys(digests)]
        return self._run(lambda: self._get(bytes.fromhex(embedder), keys))

    def put(self, embedder: Digest, vectors: Mapping[Digest, Vector]) -> None:
        """Remember; idempotent; the oldest unused are forgotten beyond the size bound, a bounded number at a time.

        Raises:
            ValueError: A vector is empty or is no row of float32; nothing was remembered.
            StateUnusable: The file could not be used, for another reason than damage, a lock or a full disk.

        """
        for digest, vector in vectors.items():
            if not vector or len(vector) % _FLOAT32_BYTES:
                raise ValueError(
                    f"vector of {digest}: got {len(vector)} bytes, expected a multiple of {_FLOAT32_BYTES}"
                )
        rows = [(bytes.fromhex(digest), bytes(vector)) for digest, vector in vectors.items()]
        if rows:
            self._run(lambda: self._put(bytes.fromhex(embedder), rows))

    def forget(self, digests: Iterable[Digest]) -> int:
        """Remember vectors of some texts no more, whatever model made them; give how many they were.

        Nothing of them is left in the file and its log, unless somebody else has it open.

        Raises:
            StateUnusable: The file could not be used, for another reason than damage.

        """
        keys = [bytes.fromhex(digest) for digest in dict.fromkeys(digests)]
        return self._run(lambda: self._forget(keys)) if keys else 0

    def close(self) -> None:
        """Let go of the file; idempotent."""
        with self._lock:
            self._database.close()

    # Reading

    def _get(self, embedder: bytes, keys: list[bytes]) -> dict[Digest, Vector]:
        now = self._now()
        found: dict[Digest, Vector] = {}
        damaged: list[_Row] = []
        stale: list[int] = []
        for row in _rows(self._database, embedder, keys):
            if not row.is_whole(embedder):
                damaged.append(row)
                continue
            found[Digest(row.digest.hex())] = Vector(row.vector)
            if abs(now - row.used_at) >= TOUCH_AFTER_S:  # also what a clock since set back put into the future
                stale.append(row.seq)
        if damaged or stale:
            with _unless_hindered(self._path), self._transaction():
                self._delete([(row.seq, len(row.vector)) for row in damaged])
                self._database.executemany("UPDATE vectors SET used_at = ? WHERE seq = ?", ((now, s) for s in stale))
        return found

    # Writing

    def _put(self, embedder: bytes, rows: list[tuple[bytes, bytes]]) -> None:
        with _unless_hindered(self._path):
            with self._transaction():
                known = _rows(self._database, embedder, [digest for digest, _ in rows])
                self._delete([(row.seq, len(row.vector)) for row in known])
                self._insert(embedder, rows)
                self._evict(len(rows) + EVICT_ROWS)
            self._shrink()

    def _forget(self, keys: list[bytes]) -> int:
        embedders = [row[0] for row in self._database.execute("SELECT DISTINCT embedder FROM vectors")]
        with self._transaction():
            rows = [row for embedder in embedders for row in _rows(self._database, embedder, keys)]
            self._delete([(row.seq, len(row.vector)) for row in rows])
        self._shrink()
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return len(rows)

    def _insert(self, embedder: bytes, rows: list[tuple[bytes, bytes]]) -> None:
        now = self._now()
        self._database.executemany(
            "INSERT INTO vectors (embedder, digest, vector, checksum, used_at) VALUES (?, ?, ?, ?, ?)",
            ((embedder, digest, vector, _checksum(embedder, digest, vector), now) for digest, vector in rows),
        )
        self._resize(sum(row_bytes(len(vector)) for _, vector in rows))

    def _evict(self, max_rows: int) -> None:
        excess = self._size() - self._max_bytes
        if excess <= 0:
            return
        oldest = self._database.execute(
            "SELECT seq, length(vector) FROM vectors ORDER BY used_at, seq LIMIT ?", (max_rows,)
        )
        leaving: list[tuple[int, int]] = []
        for seq, vector_bytes in oldest:
            if excess <= 0:
                break
            leaving.append((seq, vector_bytes))
            excess -= row_bytes(vector_bytes)
        self._delete(leaving)

    def _shrink(self) -> None:
        """Give disk back, a bounded number of pages at a time."""
        pages, free = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
        )
        if (spare := free - pages // _FREE_SHARE) > 0:
            # a script is stepped to its end; `execute` would give back a single page
            self._database.executescript(f"PRAGMA incremental_vacuum({min(spare, _SHRINK_PAGES)})")

    def _delete(self, rows: list[tuple[int, int]]) -> None:
        """Delete rows, given as sequence number and length of the vector."""
        self._database.executemany("DELETE FROM vectors WHERE seq = ?", ((seq,) for seq, _ in rows))
        self._resize(-sum(row_bytes(vector_bytes) for _, vector_bytes in rows))

    def _resize(self, by_bytes: int) -> None:
        self._database.execute("UPDATE size SET bytes = max(0, bytes + ?)", (by_bytes,))

    def _size(self) -> int:
        return int(self._database.execute("SELECT total(bytes) FROM size").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # a full disk may have ended it already
                self._database.execute("ROLLBACK")
            raise

    # The file

    def _run(self, action: Callable[[], T]) -> T:
        """Do something with the file; if that shows it is damaged, do it with a new one."""
        with self._lock, self._explained():
            try:
                return action()
            except sqlite3.DatabaseError as error:
                if _code(error) not in _DAMAGE:
                    raise
                self._database.close()
                self._set_aside()
                self._database = self._open()
                return action()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGE:
                raise
            self._set_aside()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path.chmod(0o600)  # its -wal and -shm take after it
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self) -> None:
        """Keep the damaged file for whoever wants to know why, the newest one only."""
        self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StateUnusable(
                f"vector cache {self._path}: {error}; expected a file that can be read and written",
                hint="free some disk space, make it writable, or remove it: vectors are computed again",
            ) from error

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


class VectorCacheView:
    """Reads a cache that may be somebody else's, and leaves no trace; implements `get` of `ports.VectorCache`."""

    def __init__(self, path: Path) -> None:
        """Name the file, which need not exist."""
        self._path = path

    def get(self, embedder: Digest, digests: Iterable[Digest]) -> dict[Digest, Vector]:
        """Give those that are remembered; none where the file cannot be read."""
        packed, keys = bytes.fromhex(embedder), [bytes.fromhex(digest) for digest in dict.fromkeys(digests)]
        # A file in WAL mode is read through its log; without one, only "it cannot change" keeps SQLite from making one.
        is_open = self._path.with_name(f"{self._path.name}-wal").exists()
        uri = f"{self._path.resolve().as_uri()}?{'mode=ro' if is_open else 'immutable=1'}"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as database:
                rows = [row for row in _rows(database, packed, keys) if row.is_whole(packed)]
        except sqlite3.Error:
            return {}
        return {Digest(row.digest.hex()): Vector(row.vector) for row in rows}


def _rows(database: sqlite3.Connection, embedder: bytes, keys: list[bytes]) -> Iterator[_Row]:
    query = "SELECT seq, digest, vector, checksum, used_at FROM vectors WHERE embedder = ? AND digest = ?"
    for key in keys:
        yield from map(_Row._make, database.execute(query, (embedder, key)))


@contextmanager
def _unless_hindered(path: Path) -> Iterator[None]:
    """Forget what there is no disk for, and what another program keeps locked: others, who cannot do without, tell."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _code(error) not in _HINDERED and not quota.is_reason(error, path.parent):
            raise


def _prepare(database: sqlite3.Connection) -> None:
    """Make the schema in a new file; one of another version is as good as damaged."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that a lowered bound gives disk back
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA secure_delete = ON")
    database.execute("PRAGMA journal_size_limit = 8388608")
    if version == 0:
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
    elif version != _SCHEMA_VERSION:
        raise _other_version(version)


def _other_version(version: int) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(f"schema version {version}, expected {_SCHEMA_VERSION}")
    error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
    return error


def _checksum(embedder: bytes, digest: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(digest, zlib.crc32(embedder)))


def _code(error: BaseException) -> int | None:
    """Give SQLite's primary result code; its extended ones carry more in the higher bits."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
