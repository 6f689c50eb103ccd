"""A shard made anew beside the one in use, so that what removed points left behind is given back.

    shard in use ──── its points, a portion at a time ────▶ fresh shard ── all there ──▶ takes its place;
         ▲                                                      ▲                        the worn one is deleted
         └───────────────────── every write ────────────────────┘

The engine keeps a place for every point that it ever held, in memory and on the disk, and indexes that only grow.
The worn shard is the truth until identity.json names the fresh one, which is the truth from then on:
whatever a crash leaves of the other, the next opening deletes.

Loaded by the child process only, like the engine itself.
"""

import os
from collections.abc import Generator, Iterator

from qdrant_edge import CountRequest, EdgeShard, Point, ScrollRequest, UpdateOperation

from freshd import faults
from freshd.stores.edge_files import EdgeFiles, Indexes, Refusal, sync_tree
from freshd.stores.wire import Verdict

_PORTION = 64
"""Points copied at once: some 10 ms of work, so that nobody waits longer for their turn."""

_SLOT_BYTES = 8
_SLOTS = "mutable_id_tracker.versions"
"""The engine's file of a segment with a number for every point that was ever put there."""


class Compaction:
    """One shard on its way to take another's place, piece by piece.

    Attributes:
        fresh: Takes every write from now on; None before it is made.
        is_switched: Whether it has taken the place.
        left: Pieces still to be done, about.

    """

    def __init__(self, files: EdgeFiles, worn: EdgeShard, indexes: Indexes) -> None:
        """Touch nothing yet."""
        self.fresh: EdgeShard | None = None
        self.is_switched = False
        self.left = 2 * worn.info().points_count // _PORTION + 1
        self._pieces = self._all(files, worn, indexes)

    def step(self) -> int:
        """Do one bounded piece; give how many are left, about, and 0 for none."""
        has_more = next(self._pieces, False)
        self.left = max(1, self.left - 1) if has_more else 0
        return self.left

    def let_go(self) -> None:
        """Leave it at that: what was not switched to counts for nothing."""
        self._pieces.close()
        if self.fresh is not None and not self.is_switched:
            self.fresh.close()

    def _all(self, files: EdgeFiles, worn: EdgeShard, indexes: Indexes) -> Generator[bool]:
        fresh = self.fresh = files.make(files.other, indexes)
        faults.hit("compaction_begun")
        yield True
        for points in _portions(worn):
            fresh.update(UpdateOperation.upsert_points(points))
            faults.hit("mid_compaction")
            yield True
            fresh.flush()
            yield True
        sync_tree(files.other)
        yield True
        fresh.flush()
        _expect_as_many(worn, fresh)
        files.switch()
        self.is_switched = True
        yield True
        worn.close()
        yield True
        yield from _deleted(files.other)


def is_worn(shard: EdgeShard, place: str, least_removed: int) -> bool:
    """Tell whether so many points were removed since a shard was made that it is worth making anew.

    Each of them pays for two that are copied, at most.
    """
    n_slots = sum(os.path.getsize(os.path.join(path, _SLOTS)) for path in _segments(place)) // _SLOT_BYTES
    if n_slots < least_removed:
        return False
    n_points = shard.info().points_count  # a hundred times cheaper than to count exactly
    return n_slots - n_points >= max(least_removed, n_points // 2)


def missing_bytes(place: str, reserve_bytes: int) -> int:
    """Tell how much disk is missing for another shard as large as this one beside the reserve; 0 or less for none."""
    disk = os.statvfs(place)
    n_blocks = sum(
        os.lstat(os.path.join(folder, name)).st_blocks for folder, _, names in os.walk(place) for name in names
    )
    return n_blocks * 512 + reserve_bytes - disk.f_bavail * disk.f_frsize


def count(shard: EdgeShard) -> int:
    """Count its points exactly."""
    return shard.count(CountRequest(exact=True))


def _segments(place: str) -> Iterator[str]:
    for entry in os.scandir(os.path.join(place, "segments")):
        if os.path.exists(os.path.join(entry, _SLOTS)):
            yield entry.path


def _portions(shard: EdgeShard) -> Iterator[list[Point]]:
    """Give all points in id order, though some may come and go meanwhile."""
    offset = None
    while True:
        request = ScrollRequest(offset=offset, limit=_PORTION, with_payload=True, with_vector=True)
        records, offset = shard.scroll(request)
        if records:
            yield [Point(record.id, record.vector or {}, record.payload) for record in records]
        if offset is None:
            return


def _expect_as_many(worn: EdgeShard, fresh: EdgeShard) -> None:
    expected, got = count(worn), count(fresh)
    if got != expected:
        raise Refusal(Verdict.FAILED, f"store: a shard made anew holds {got} points, expected {expected}")


def _deleted(place: str) -> Iterator[bool]:
    """Delete a folder, a file at a time: a large one takes a while."""
    for folder, _, names in os.walk(place, topdown=False):
        for name in names:
            os.unlink(os.path.join(folder, name))
            faults.hit("mid_compaction_sweep")
            yield True
        os.rmdir(folder)
