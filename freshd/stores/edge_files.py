"""The directory of an embedded shard: whose points it holds, and that only one process touches them.

    DIRECTORY/
    ├── lock              held while a process may write here
    ├── identity.json     whose points these are, and which shard holds them; written last, durably
    └── shard/            Qdrant Edge's own files, and a twin of identity.json; shard-2/ and back with every compaction

The outer file says that there is a shard, so that a deleted one does not read as one never made;
the twin says whose it is, so that another's put in its place is noticed.
A shard that the outer file does not name is one that was being made, or that was left: it counts for nothing.
A new shard is built as `shard.new`, which never holds a point, and renamed once it is whole:
a crash at any moment leaves either nothing, or something that the next opening finishes.

Loaded by the child process only, like the engine itself.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    KeywordIndexParams,
    Modifier,
    UpdateOperation,
    VectorStorageDatatype,
)

from freshd import faults
from freshd.stores.wire import IDENTITY, SHARDS, Verdict

DENSE = ""
"""The dense vector has no name, which is what LangChain looks for."""

SPARSE = "bm25"

_LOCK_PATIENCE_S = 1.0
"""A process that was just killed needs a moment to let go of the lock."""

_DISTANCE = "cosine"
_DATATYPE = VectorStorageDatatype.Turbo16
"""Two bytes a number, since a search reads every vector.

Measured with 60,000 of 384 numbers, beside four bytes: a scan takes 0.53 × the time, the disk 0.7 × the room;
a number is off by 7e-6 at most, and of the best 200 none is missed.
"""

_FREE = "free some disk space; freshd carries on by itself then"
_LOAD_BYTES = 1 << 20
"""With less room the engine may end by SIGBUS while it loads a shard that is whole; seen with 64 KiB.

On a file system in memory reading takes room as well, some 14 MiB for a small shard: there its process may end so
with more than this, which costs that call.
"""

_PUT_BACK = "freshd reindex   (vectors come from the cache)"

Identity = dict[str, Any]
Indexes = Sequence[tuple[str, bool]]


class Refusal(Exception):
    """A request that is answered with a reason instead of a result."""

    def __init__(self, verdict: str, message: str, hint: str = "") -> None:
        """Keep what the reply will say."""
        super().__init__(verdict, message, hint)


class EdgeFiles:
    """A directory as one instance expects it; every method that finds it otherwise raises Refusal."""

    def __init__(self, directory: str, instance: str, dimension: int) -> None:
        """Say what is expected; nothing is looked at yet."""
        self.shard, self.other = (os.path.join(directory, name) for name in SHARDS)
        self._directory = directory
        self._identity = _identity(instance, dimension)
        self._place: tuple[int, int] | None = None

    def _choose(self, name: object) -> None:
        """Take one of the two shards for the one that counts."""
        if name not in SHARDS:
            raise self._mismatch(f"its {IDENTITY} is damaged: names the shard {name!r:.40}")
        if name != os.path.basename(self.shard):
            self.shard, self.other = self.other, self.shard

    def prepare(self, indexes: Indexes | None) -> None:
        """Lock the directory and make sure that it holds a whole shard of this instance.

        Args:
            indexes: Of a shard made anew; None if none may be made.

        """
        if indexes is not None:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        self._lock()
        if self._is_whole():
            return
        if indexes is None:
            raise self._mismatch("its files are gone")
        self._create(indexes)

    def expect(self, instance: str, dimension: int) -> None:
        """Refuse another instance or dimension than the one that is open."""
        self._expect(self._identity, _identity(instance, dimension))

    def remember(self) -> None:
        """Note which directory was opened, since its name may come to mean another."""
        self._place = _place(self.shard)

    def expect_place(self) -> None:
        """Refuse when the directory that was opened is gone or replaced."""
        if _place(self.shard) != self._place:
            raise self._mismatch("its shard was deleted or replaced underneath")

    def expect_twin(self) -> None:
        """Refuse when the shard is not ours."""
        inner = self._said(self.shard)
        if inner == self._identity:
            return
        what = "was deleted underneath" if inner is None else f"is another's, of instance {inner.get('instance')}"
        raise self._mismatch(f"{IDENTITY} says that there is a shard, but it {what}")

    def _is_whole(self) -> bool:
        """Tell whether a whole shard of ours is there, finishing what a crash left half done."""
        outer = self._said(self._directory)
        if outer is not None:
            self._choose(outer.pop("shard", SHARDS[0]))
            self._expect(outer, self._identity)
            self.expect_twin()
            return True
        there = [place for place in (self.shard, self.other) if os.path.isdir(place)]
        if not there:
            return False
        if len(there) > 1:
            raise self._mismatch(f"holds two shards, but no {IDENTITY} that says which one counts")
        self._choose(os.path.basename(there[0]))
        if self._said(self.shard) == self._identity:
            self._say(self.shard)
            return True
        self._discard_if_empty()
        return False

    def _discard_if_empty(self) -> None:
        """Delete a shard of which nothing says that it is ours, if it certainly holds no point."""
        shard = self.load()
        n_points = shard.count(CountRequest(exact=True))
        shard.close()
        if n_points:
            raise self._mismatch(f"holds a shard of {n_points} points, but no {IDENTITY} that says whose they are")
        delete_tree(self.shard)

    def _create(self, indexes: Indexes) -> None:
        """Build an empty shard beside its place, move it there whole, then say that it is there."""
        new = self.shard + ".new"
        self.make(new, indexes).close()
        _write(new, self._identity)
        os.rename(new, self.shard)
        self._say(self.shard)

    def make(self, place: str, indexes: Indexes) -> EdgeShard:
        """Make an empty shard, in place of whatever stands there."""
        delete_tree(place)
        shard = EdgeShard.create(place, _config(self._identity["dimension"]))
        for key, has_prefixes in indexes:
            shard.update(UpdateOperation.create_field_index(key, KeywordIndexParams(prefix=has_prefixes)))
        shard.flush()
        return shard

    def switch(self) -> None:
        """Have the other shard count, which is whole and on the disk: from one moment to the next, whatever happens."""
        _write(self.other, self._identity)
        faults.hit("before_compaction_switch")
        self._say(self.other)
        self.shard, self.other = self.other, self.shard
        self.remember()
        faults.hit("after_compaction_switch")

    def _say(self, shard: str) -> None:
        _write(self._directory, {**self._identity, "shard": os.path.basename(shard)})

    def _lock(self) -> None:
        """Hold the directory until this process ends; the descriptor stays open on purpose."""
        try:
            lock = os.open(os.path.join(self._directory, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            raise self._mismatch("the directory is gone") from None
        ends_at = time.monotonic() + _LOCK_PATIENCE_S
        while not _try_lock(lock):
            if time.monotonic() > ends_at:
                message = f"store {self._directory}: another process has it open"
                raise Refusal(Verdict.IN_USE, message, "stop the other freshd that uses this state directory")
            time.sleep(0.02)

    def _expect(self, got: Identity, expected: Identity) -> None:
        if got.get("instance") != expected["instance"]:
            raise self._mismatch(f"belongs to instance {got.get('instance')}, expected {expected['instance']}")
        if got != expected:
            raise Refusal(
                Verdict.MISMATCH,
                f"store {self._directory}: holds {got.get('dimension')}-dimensional vectors ({got.get('distance')}), "
                f"expected {expected['dimension']} ({expected['distance']})",
                f"name the former [embedding] model again; or {self._anew()}",
            )

    def _mismatch(self, what: str) -> Refusal:
        return Refusal(
            Verdict.MISMATCH,
            f"store {self._directory}: {what}",
            f"bring it back from where it went or from a backup; or {self._anew()}",
        )

    def _anew(self) -> str:
        return f"stop freshd, move {self._directory} away, then: {_PUT_BACK}"

    def load(self) -> EdgeShard:
        """Load the shard, which may be damaged in ways that only the engine knows.

        What a killed process left in memory alone is put on the disk first. The engine takes what it reads for durable:
        its log would keep a hole there when the power fails, and it ignores writes that it counts below what it holds.
        """
        disk = os.statvfs(self.shard)
        if (free_bytes := disk.f_bavail * disk.f_frsize) < _LOAD_BYTES:
            what = f"got {free_bytes >> 10:,} KiB of free disk, expected {_LOAD_BYTES >> 10:,} KiB to load its shard"
            raise Refusal(Verdict.FAILED, f"store {self._directory}: {what}", _FREE)
        sync_tree(self.shard)
        try:
            return EdgeShard.load(self.shard)
        except Exception as error:  # all that Edge raises is bare
            what = f"store {self._directory}: the engine cannot load its shard: {' '.join(str(error).split())}"
            hint = _FREE if os.strerror(errno.ENOSPC) in what else self._anew()
            raise Refusal(Verdict.FAILED, what, hint) from error

    def _said(self, directory: str) -> Identity | None:
        """Give what a directory says of itself; None if nothing."""
        try:
            return _read(directory)
        except ValueError as error:
            name = os.path.relpath(os.path.join(directory, IDENTITY), self._directory)
            raise self._mismatch(f"its {name} is damaged: {error}") from error


def _identity(instance: str, dimension: int) -> Identity:
    return {"instance": instance, "dimension": dimension, "distance": _DISTANCE}


def _config(dimension: int) -> EdgeConfig:
    return EdgeConfig(
        vectors={DENSE: EdgeVectorParams(size=dimension, distance=Distance.Cosine, datatype=_DATATYPE)},
        sparse_vectors={SPARSE: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        wal_enabled=True,  # without it a killed process loses all that was not flushed; fixed at creation
    )


def _place(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def delete_tree(path: str) -> None:
    """Delete a folder with all that is in it; an absent one is no error."""
    import shutil  # slow to load, and rarely needed

    if os.path.isdir(path):
        shutil.rmtree(path)


def sync_tree(path: str) -> None:
    """Make a folder durable with all that is in it."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in (*names, ""):
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _read(directory: str) -> Identity | None:
    try:
        with open(os.path.join(directory, IDENTITY), encoding="utf-8") as file:
            identity = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return identity if isinstance(identity, dict) else {}


def _write(directory: str, identity: Identity) -> None:
    """Write durably: whoever finds the file finds all of it, also after a power cut."""
    path = os.path.join(directory, IDENTITY)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(identity, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
