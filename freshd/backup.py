"""A copy of everything that freshd remembers, consistent although freshd goes on meanwhile.

    vector cache ──────────────copy──▶ DIR.partial/vectors.db
    writes held: flush · snapshot ───▶ DIR.partial/ledger.db   (copied afterwards: the snapshot stays as it was)
                 └─ shards ──copy────▶ DIR.partial/index/      (holes stay holes)
    fsync · backup.json · rename ────▶ DIR

While writes are held, search and detection go on.
What is cut off leaves DIR.partial, which nobody takes for a backup, and never DIR.
"""

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from freshd import __version__, faults
from freshd.config import Config
from freshd.errors import ConfigError, FreshdError, StateUnusable
from freshd.ledger import history, seal
from freshd.ledger.database import SCHEMA_VERSION, Database
from freshd.ledger.sources import SqliteSources
from freshd.payload import rfc3339
from freshd.ports import Clock
from freshd.redaction import printable
from freshd.shapes import BackupReport
from freshd.state import StateDirectory

T = TypeVar("T")

NOTE = "backup.json"
PARTIAL = ".partial"

_NEVER_COPIED = frozenset({"lock"})
"""Says that a process works there, which nobody does in a copy."""

_PIECE_BYTES = 1 << 20
_PAGES = 2048
"""Of a database copied between two questions whether to go on: 8 to 32 MiB."""

_BUSY_TIMEOUT_S = 5.0
_DAMAGED = "stop freshd, then: freshd ledger rebuild"
_ANOTHER = "name another folder: freshd backup DIR"


class Hold(Protocol):
    """Has some work done while nobody writes store and ledger at once, and waits for it."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """Give what the work gives, or raise what it raises."""
        ...


@dataclass(frozen=True, slots=True)
class Original:
    """What is copied.

    Attributes:
        state: Locked by this process.
        collection: As the config names it.
        is_embedded: Whether the points lie in the state directory; a server has snapshots of its own.
        reserve_bytes: Disk that has to stay free where the state directory lies.

    """

    state: StateDirectory
    collection: str
    is_embedded: bool
    reserve_bytes: int


def original_of(config: Config) -> Original:
    """Tell what a config's freshd remembers, and where."""
    is_embedded = config.store.url is None
    return Original(StateDirectory(config.state_dir), config.store.collection, is_embedded, config.disk.reserve_bytes)


def check_place(state: StateDirectory, into: Path) -> None:
    """Refuse a folder that a backup cannot become; nothing is made.

    Raises:
        ConfigError: It is not absolute, not empty, or in the state directory, or its parent is no folder.

    """
    name = f"backup {printable(str(into))}"
    if not into.is_absolute() or not into.name:
        raise ConfigError(f"{name}: got no absolute path, expected one", hint=_ANOTHER)
    parent = into.parent
    try:
        if not parent.is_dir():
            what = f"{name}: got no folder {printable(str(parent))}, expected one to put it into"
            raise ConfigError(what, hint=f"mkdir -p {printable(str(parent))}, as the user that runs freshd")
        inside = parent.resolve() / into.name
        own = state.path.resolve()
        if inside.is_relative_to(own) or own.is_relative_to(inside):
            what = f"{name}: got a folder in or around the state directory {printable(str(own))}, expected one apart"
            raise ConfigError(what, hint=_ANOTHER)
        if into.is_symlink() or (into.exists() and not into.is_dir()) or (into.is_dir() and any(into.iterdir())):
            what = f"{name}: got a folder that holds something, or no folder; expected an empty one, or none yet"
            raise ConfigError(what, hint=_ANOTHER)
        partial = _partial(into)
        if os.path.lexists(partial):
            shown = printable(str(partial))
            what = f"{name}: got {shown} beside it, expected none: another backup is being made, or was cut off"
            raise ConfigError(what, hint=f"if none is being made: rm -r {shown}")
    except (OSError, ValueError) as error:
        raise _unwritable(into, error) from error


def back_up(
    original: Original,
    into: Path,
    *,
    clock: Clock,
    hold: Hold,
    flush: Callable[[], None] = lambda: None,
    go_on: Callable[[], None] = lambda: None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> BackupReport:
    """Copy ledger, vector cache and embedded shards into a folder that is there only once all of it is whole.

    Args:
        original: What is copied.
        into: Absent or empty; its parent is there, and this user may write to it.
        clock: Dates and measures.
        hold: Keeps writes back while the shards are copied.
        flush: Makes durable what the store holds; called while writes are held.
        go_on: Called between bounded pieces of work; what it raises ends the backup and takes away what was copied.
        on_progress: Hears bytes copied, and bytes in all, about.

    Raises:
        ConfigError: The folder cannot become a backup; nothing was made.
        FreshdError: There is too little room, or it cannot be written.
        StateUnusable: The ledger is not whole.

    """
    check_place(original.state, into)
    partial = _partial(into)
    try:
        _check_room(original, into.parent)
        partial.mkdir(mode=0o700)
    except OSError as error:
        raise _unwritable(into, error) from error
    try:
        report = _Copying(original, partial, go_on, on_progress).run(clock, hold, flush)
        faults.hit("before_backup_rename")
        partial.rename(into)
        _sync(into.parent)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise _unwritable(into, error) from error
        if isinstance(error, sqlite3.Error):
            what = f"ledger {original.state.ledger_path}: {error}; expected an intact one that nobody keeps locked"
            raise StateUnusable(what, hint=_DAMAGED) from error
        raise
    return {**report, "directory": str(into)}


class _Copying:
    """One backup on its way."""

    def __init__(
        self,
        original: Original,
        partial: Path,
        go_on: Callable[[], None],
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._original = original
        self._partial = partial
        self._go_on = go_on
        self._on_progress = on_progress
        self._total = _bytes_to_copy(original)
        self._done = 0

    def run(self, clock: Clock, hold: Hold, flush: Callable[[], None]) -> BackupReport:
        """Copy all of it, make it durable, and say what it is."""
        state, began_s = self._original.state, clock.monotonic()
        with suppress(FileNotFoundError):
            self._copy_cache(state.vectors_path)
        faults.hit("mid_backup")
        with closing(_opened(state.ledger_path)) as ledger:

            def held() -> tuple[str, float]:
                """Fix one moment of ledger and shards; the ledger's stays fixed for as long as it is read."""
                at, held_s = rfc3339(clock.now()), clock.monotonic()
                flush()
                ledger.execute("BEGIN")
                ledger.execute("SELECT count(*) FROM meta").fetchone()
                if self._original.is_embedded and state.index_dir.is_dir():
                    self._copy_folder(state.index_dir, self._partial / state.index_dir.name)
                return at, clock.monotonic() - held_s

            at, held_s = hold(held)
            self._copy_database(ledger, StateDirectory(self._partial).ledger_path)
        report = self._described(at)
        faults.hit("before_backup_sync")
        for path in (*_files(self._partial), *_folders(self._partial)):
            self._go_on()
            _sync(path)
        report |= {
            "bytes": sum(path.stat().st_blocks * 512 for path in _files(self._partial)),
            "held_seconds": round(held_s, 3),
            "elapsed_seconds": round(clock.monotonic() - began_s, 3),
        }
        self._write_note(report)
        self._on_progress(self._total, self._total)
        return report

    def _copy_cache(self, path: Path) -> None:
        """Copy the cache, or leave it out where it cannot be read: it is a cache."""
        into = StateDirectory(self._partial).vectors_path
        try:
            with closing(_opened(path)) as cache:
                cache.execute("BEGIN")
                cache.execute("SELECT count(*) FROM sqlite_master").fetchone()
                self._copy_database(cache, into)
        except sqlite3.DatabaseError:  # damaged, or another's alone; what cannot be written is told otherwise
            into.unlink(missing_ok=True)

    def _copy_database(self, original: sqlite3.Connection, into: Path) -> None:
        """Copy what a connection sees in its transaction, whatever others write meanwhile."""
        os.close(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        page_bytes, begun = original.execute("PRAGMA page_size").fetchone()[0], self._done

        def hear(_: int, remaining: int, total: int) -> None:
            self._done = begun + (total - remaining) * page_bytes
            self._tell()

        try:
            with closing(sqlite3.connect(into)) as copy:
                original.backup(copy, pages=_PAGES, progress=hear)
        except sqlite3.OperationalError as error:
            raise OSError(f"{into.name}: {error}") from error

    def _copy_folder(self, folder: Path, into: Path) -> None:
        into.mkdir(mode=0o700)
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            if entry.is_dir(follow_symlinks=False):
                self._copy_folder(Path(entry), into / entry.name)
            elif entry.is_file(follow_symlinks=False) and entry.name not in _NEVER_COPIED:
                for n_bytes in copy_sparse(Path(entry), into / entry.name):
                    self._done += n_bytes
                    self._tell()

    def _described(self, at: str) -> BackupReport:
        """Prove that the copied ledger is whole, part it from the original, and say what it holds."""
        copy, ledger_path = StateDirectory(self._partial), self._original.state.ledger_path
        try:
            with closing(Database(copy.ledger_path)) as ledger:
                ledger.expect_whole()
                if self._original.is_embedded and seal.fits(ledger, copy.seal_path):
                    seal.renew(ledger, copy.seal_path)
                else:
                    seal.part(ledger)
                ledger.remember(history.COPIED, at)
                held = SqliteSources(ledger)
                states = [held.state(name) for name in held.names()]
                instance, live = ledger.instance, ledger.recall("generation.live")
        except StateUnusable as error:
            told = str(error).replace(str(copy.ledger_path), str(ledger_path))
            raise StateUnusable(told, hint=error.hint) from error
        return {
            "directory": "",
            "made_at": at,
            "version": __version__,
            "schema": SCHEMA_VERSION,
            "instance": instance,
            "generation": json.loads(live)["name"] if live else self._original.collection,
            "store": "embedded" if self._original.is_embedded else "server",
            "documents": sum(state.documents for state in states),
            "chunks": sum(state.chunks for state in states),
            "bytes": 0,
            "held_seconds": 0.0,
            "elapsed_seconds": 0.0,
        }

    def _write_note(self, report: BackupReport) -> None:
        note = {key: value for key, value in report.items() if key != "directory"}
        descriptor = os.open(self._partial / NOTE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(note, indent=2) + "\n")
            file.flush()
            os.fsync(descriptor)
        _sync(self._partial)

    def _tell(self) -> None:
        self._go_on()
        self._on_progress(min(self._done, self._total), self._total)


def copy_sparse(original: Path, into: Path) -> Iterator[int]:
    """Copy what a file holds and leave out its holes, piece by piece; yields the bytes of each.

    The engine's files are a thousand times larger than what is in them.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(original, "rb", buffering=0) as source, open(os.open(into, flags, 0o600), "wb", buffering=0) as target:
        reading, writing = source.fileno(), target.fileno()
        size = os.fstat(reading).st_size
        os.ftruncate(writing, size)
        at = 0
        while (start := _next_data(reading, at)) is not None:
            at = os.lseek(reading, start, os.SEEK_HOLE)
            while start < at:
                piece = os.pread(reading, min(_PIECE_BYTES, at - start), start)
                if not piece:
                    return
                start += os.pwrite(writing, piece, start)
                yield len(piece)


def _next_data(descriptor: int, offset: int) -> int | None:
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None  # nothing but a hole is left


def _opened(path: Path) -> sqlite3.Connection:
    """Open a database that somebody works with; never makes one."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: is not there")
    uri = f"{path.resolve().as_uri()}?mode=rw"  # not "ro": such a reader cannot recover a log that a killed one left
    database = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA query_only = ON")
    return database


def _check_room(original: Original, parent: Path) -> None:
    """Refuse where the copy would fill the disk, or take the reserve of the state directory's."""
    free, need = StateDirectory(parent).free_bytes(), _bytes_to_copy(original)
    if parent.stat().st_dev == original.state.path.stat().st_dev:
        need += original.reserve_bytes
    if free < need:
        raise FreshdError(
            f"backup in {printable(str(parent))}: {free >> 20:,} MiB free, expected at least {(need >> 20) + 1:,} MiB",
            hint="free some disk space there, or name a folder on another disk",
        )


def _bytes_to_copy(original: Original) -> int:
    """Disk that the copy will take: holes count for nothing."""
    state = original.state
    paths = [state.ledger_path, state.vectors_path]
    paths += _files(state.index_dir) if original.is_embedded else []
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):  # the engine removes files while it works
            total += path.stat().st_blocks * 512
    return total


def _files(folder: Path) -> list[Path]:
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names]


def _folders(folder: Path) -> list[Path]:
    return [Path(root) for root, _, _ in os.walk(folder, topdown=False)]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _partial(into: Path) -> Path:
    return into.with_name(into.name + PARTIAL)


def _unwritable(into: Path, error: Exception) -> FreshdError:
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return FreshdError(
        f"backup {printable(str(into))}: cannot be written: {printable(what)}",
        hint="name a folder on a local disk that the user that runs freshd can write to",
    )
