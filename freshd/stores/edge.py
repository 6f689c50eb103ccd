"""The embedded store as the rest of freshd sees it: Qdrant Edge behind a child process with deadlines.

    EdgeStore ── turns ──▶ Child ── socket ──▶ edge_child.py ──▶ Qdrant Edge
       │ back-off            │ deadline, kill, reap
       └── start again, open again, never create again

The engine is never loaded here.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from freshd import faults
from freshd.children import Child, ChildFailed, Starter
from freshd.children.frames import pack
from freshd.errors import CollectionMismatch, StoreError, StoreUnavailable
from freshd.model import ChunkId, Match, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.portions import portions
from freshd.ports import StoredPoint
from freshd.stores import intake
from freshd.stores.pause import Pause
from freshd.stores.turns import Turns
from freshd.stores.wire import FRAME_BYTES, FRAME_POINTS, IDENTITY, LEAST_REMOVED, Verdict

_DISK_FULL = "free some disk space: a full disk is what ends the engine so; freshd carries on by itself then"


class EdgeStore:
    """Points in a directory of this machine; see `freshd.ports.Store` for the contract.

    A child that dies or falls silent costs the call in flight, which raises StoreUnavailable;
    a later call starts another one, after a pause that grows while failures follow one another.
    What was flushed is still there then, and so is what was not, unless the machine itself went down.
    """

    def __init__(
        self,
        path: Path,
        dimension: int,
        *,
        reserve_bytes: int = 0,
        least_removed: int = LEAST_REMOVED,
        open_deadline_s: float = 60.0,
        flush_deadline_s: float = 30.0,
        call_deadline_s: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Touch nothing yet.

        Args:
            path: Directory of the shard; made when it is absent.
            dimension: Length of every dense vector.
            reserve_bytes: Disk that a compaction leaves free.
            least_removed: Removed points that make a compaction worth its trouble.
            open_deadline_s: Loading a damaged shard can hang for ever.
            flush_deadline_s: Slow disks need seconds.
            call_deadline_s: Everything else takes milliseconds.
            monotonic: Clock of the pauses between restarts.

        """
        self._path = path
        self._dimension = dimension
        self._reserve_bytes, self._least_removed = reserve_bytes, least_removed
        self._deadlines_s = {"open": open_deadline_s} | dict.fromkeys(
            ("flush", "compact", "abandon", "close"), flush_deadline_s
        )
        self._call_deadline_s = call_deadline_s
        self._pause = Pause(monotonic)
        self._turns = Turns()
        self._starter: Starter | None = None
        self._child: Child | None = None
        self._instance = ""
        self._is_open = False
        self._is_worn = False
        self._expunging: str | None = None
        self._expunged: str | None = None
        self._openings = 0

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, for people who look; None while there is none."""
        child = self._child
        return None if child is None else child.pid

    @property
    def openings(self) -> int:
        """How often a child was started: one that comes back finds what is on disk."""
        return self._openings

    def open(self, instance: str) -> None:
        """Open the directory, creating the shard when it is absent; idempotent."""
        with self._turns:
            if self._child is None:
                # What this store has opened before is never made anew: it would be empty, and nobody would notice.
                self._start(instance, may_create=not self._instance)
            else:
                self._ask_open(instance, may_create=False)
            self._instance, self._is_open = instance, True

    def ping(self) -> None:
        """Prove that the child answers and that its directory is still the one that was opened."""
        self._call("ping")

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points whole, in portions between which a search may come."""
        packed = [pack(point) for point in intake.admit(points, self._dimension)]
        for portion in portions(packed, len, FRAME_POINTS, FRAME_BYTES):
            self._call("upsert", portion)
            faults.hit("mid_upsert")

    def relabel(self, labels: Sequence[Relabel]) -> None:
        """Set payload fields of points that certainly exist."""
        for label in intake.check_labels(labels, FRAME_POINTS):
            self._call("relabel", [label])

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        """Delete points by id, taking their terms out of BM25's statistics first."""
        intake.check_ids(chunk_ids)
        for ids in intake.in_runs(chunk_ids, FRAME_POINTS):
            self._call("remove", ids)

    def flush(self) -> None:
        """Make everything before this call durable: only this syncs to disk."""
        self._is_worn = self._call("flush")

    def compact(self) -> bool:
        """Do a bounded piece of giving back what removed points left, if that is much; tell whether there is more.

        In between everything may be asked and written.

        Raises:
            StoreUnavailable: It does not go on, and is not tried again before the next flush; no point is lost.

        """
        if not self._is_worn or self._expunging is not None:
            return False
        self._is_worn = False
        self._is_worn = bool(self._call("compact", self._reserve_bytes, False))
        return self._is_worn

    def expunge(self, occasion: str) -> int:
        """Do a bounded piece of having what was removed leave the files as well; give how many are left, about.

        It is a compaction, begun after the first call of an occasion and seen through by those that follow.
        """
        if occasion == self._expunged:
            return 0
        is_begun, self._expunging = occasion == self._expunging, None  # one that fails is begun anew
        if not is_begun:
            self._call("abandon")
        left: int = self._call("compact", self._reserve_bytes, True)
        if left:
            self._expunging = occasion
        else:
            self._expunged, self._is_worn = occasion, False
        return left

    def search_dense(self, vector: Vector, limit: int, where: SearchFilter) -> list[Match]:
        """Nearest points by cosine, best first."""
        intake.check_dense(vector, self._dimension)
        return _matches(self._call("search_dense", vector, limit, intake.check_search(limit, where)))

    def search_sparse(self, vector: SparseVector, limit: int, where: SearchFilter) -> list[Match]:
        """Best points by BM25, best first; none for an empty vector."""
        indices, values = intake.check_sparse(vector)
        conditions = intake.check_search(limit, where)
        if not indices:
            return []
        return _matches(self._call("search_sparse", indices, values, limit, conditions))

    def retrieve(self, chunk_ids: Sequence[ChunkId], *, with_vectors: bool = False) -> list[StoredPoint]:
        """Read points by id; absent ones are left out."""
        intake.check_ids(chunk_ids)
        found: list[StoredPoint] = []
        for ids in intake.in_runs(chunk_ids, FRAME_POINTS):
            found += _stored(self._call("retrieve", ids, with_vectors))
        return found

    def scroll(self, after: ChunkId | None, limit: int, *, with_vectors: bool = False) -> list[StoredPoint]:
        """Read a page in id order."""
        intake.check_limit(limit)
        intake.check_ids([] if after is None else [after])
        page: list[StoredPoint] = []
        while len(page) < limit:
            asked = min(limit - len(page), FRAME_POINTS)
            rows = _stored(self._call("scroll", page[-1].chunk_id if page else after, asked, with_vectors))
            page += rows
            if len(rows) < asked:
                break
        return page

    def count(self) -> int:
        """Exact number of points."""
        n_points: int = self._call("count")
        return n_points

    def close(self) -> None:
        """Flush, end the child and let go of the directory; idempotent.

        Raises:
            StoreUnavailable: The flush failed; the store is closed all the same.

        """
        with self._turns:
            self._is_open = self._is_worn = False
            try:
                if self._child is not None:
                    self._ask("close")
            finally:
                self._drop()
                if self._starter is not None:
                    self._starter.close()
                    self._starter = None

    def publish(self) -> None:
        """Do nothing: nobody else reads the directory."""

    def instead(self, instance: str) -> list[str]:
        """Name directories of an instance beside this one, where this one holds no shard."""
        if (self._path / IDENTITY).exists():
            return []
        there = sorted(path.parent for path in self._path.parent.glob(f"*/{IDENTITY}"))
        return [path.name for path in there if _owner(path) == instance]

    def discard(self, instance: str) -> None:
        """Delete the directory; an absent one is no error. What says whose it is goes last.

        Raises:
            CollectionMismatch: It is another instance's.
            StoreUnavailable: It cannot be deleted.

        """
        self.close()
        try:
            owner = _owner(self._path)
            if owner not in (None, instance):
                whose = f"belongs to instance {owner}, expected {instance}"
                raise CollectionMismatch(f"store {self._path}: {whose}", hint=f"move {self._path} away")
            for path in sorted(self._path.glob("*/")):
                shutil.rmtree(path)
                faults.hit("mid_discard")
            if self._path.exists():
                shutil.rmtree(self._path)
        except OSError as error:
            raise StoreUnavailable(f"store {self._path}: cannot be deleted: {error.strerror}") from error

    def _call(self, operation: str, *arguments: Any) -> Any:
        with self._turns:
            if not self._is_open:
                raise StoreUnavailable(f"store {self._path}: is not open", hint="freshd status   (tells why)")
            if self._child is None:
                self._start(self._instance, may_create=False)
            result = self._ask(operation, *arguments)
            self._pause.end()
            return result

    def _start(self, instance: str, *, may_create: bool) -> None:
        self._pause.check()
        if self._starter is None:
            self._starter = Starter("freshd.stores.edge_child", "store-child")
        try:
            self._child = self._starter.start()
        except OSError as error:
            raise self._failed(StoreUnavailable(f"store {self._path}: cannot start its process: {error}")) from error
        self._ask_open(instance, may_create=may_create)
        self._openings += 1

    def _ask_open(self, instance: str, *, may_create: bool) -> None:
        asked = str(self._path), instance, self._dimension, intake.INDEXES, self._least_removed, may_create
        self._is_worn = self._ask("open", *asked)

    def _ask(self, operation: str, *arguments: Any) -> Any:
        """Put one request to the running child; every failure that leaves it in doubt ends it."""
        assert self._child is not None  # noqa: S101 - holds in every caller
        deadline_s = self._deadlines_s.get(operation, self._call_deadline_s)
        try:
            verdict, *answer = self._child.ask([operation, *arguments], deadline_s)
        except ChildFailed as failure:
            hint = _DISK_FULL if failure.signal_name == "SIGBUS" else self._if_again if operation == "open" else ""
            raise self._failed(StoreUnavailable(f"store {self._path}: its process {failure}", hint=hint)) from failure
        except BaseException:
            self._drop()
            raise
        if verdict == Verdict.OK:
            return answer[0]
        error = _ERRORS[verdict](answer[0], hint=answer[1])
        # After a failed sync the kernel may forget what was not written: only a fresh start knows what is there.
        if verdict != Verdict.NO_ROOM and (verdict != Verdict.FAILED or operation in self._deadlines_s):
            self._failed(error)
        raise error

    @property
    def _if_again(self) -> str:
        """What to do about an index that cannot even be loaded: damage can hang or kill the engine."""
        anew = f"move {self._path} away, then: freshd reindex   (vectors come from the cache)"
        return f"freshd tries again by itself; if that does not help, stop it, {anew}"

    def _failed(self, error: StoreError) -> StoreError:
        self._drop()
        self._pause.begin(error)
        return error

    def _drop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


_ERRORS: dict[str, type[StoreError]] = {
    Verdict.MISMATCH: CollectionMismatch,
    Verdict.IN_USE: StoreUnavailable,
    Verdict.FAILED: StoreUnavailable,
    Verdict.NO_ROOM: StoreUnavailable,
    Verdict.PANICKED: StoreUnavailable,
}


def _owner(path: Path) -> object:
    """Give the instance that a directory says it belongs to; None where it says none."""
    try:
        said = json.loads((path / IDENTITY).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return said.get("instance") if isinstance(said, dict) else None


def _matches(rows: list[Any]) -> list[Match]:
    return [Match(ChunkId(id_), score) for id_, score in rows]


def _stored(rows: list[Any]) -> list[StoredPoint]:
    return [_stored_point(*row) for row in rows]


def _stored_point(
    id_: str, payload: dict[str, Any], dense: bytes | None, indices: list[int] | None, values: list[float] | None
) -> StoredPoint:
    if dense is None or indices is None or values is None:
        return StoredPoint(ChunkId(id_), payload)
    return StoredPoint(ChunkId(id_), payload, Vector(dense), SparseVector(tuple(indices), tuple(values)))
