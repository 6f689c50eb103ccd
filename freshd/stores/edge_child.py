"""What runs in the process that owns an embedded shard: `python -m freshd.stores.edge_child PARENT_PID`.

Qdrant Edge holds the interpreter's lock in every call, dies by SIGBUS on a full disk and can hang while loading;
here that costs a restart, not the daemon.
One request at a time comes over standard input, which is a socket, and its reply goes back the same way.
The process ends when the parent closes the stream or dies, and heeds no signal that asks politely.

Loads only what it needs: it is started anew after every failure.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from qdrant_edge import (
    EdgeShard,
    FieldCondition,
    Filter,
    MatchAny,
    MatchPrefix,
    Point,
    PointVectors,
    Query,
    QueryRequest,
    Record,
    ScrollRequest,
    SparseVector,
    UpdateOperation,
)

from freshd import faults
from freshd.children import serving
from freshd.children.frames import unpack
from freshd.memory import give_back_memory
from freshd.stores import edge_compaction
from freshd.stores.edge_compaction import Compaction
from freshd.stores.edge_files import DENSE, SPARSE, EdgeFiles, Refusal, delete_tree
from freshd.stores.wire import LEAST_REMOVED, Verdict, pack_dense, unpack_dense

_DAMAGED = (
    "freshd carries on by itself; if it happens again, stop it, move the store's directory away,"
    " then: freshd reindex   (vectors come from the cache)"
)


class Shard:
    """The shard and its directory; every public method is an operation that the parent may ask for."""

    def __init__(self) -> None:
        """Own nothing yet."""
        self._shard: EdgeShard | None = None
        self._files: EdgeFiles | None = None
        self._compaction: Compaction | None = None
        self._indexes: list[tuple[str, bool]] = []
        self._least_removed = LEAST_REMOVED

    def open(
        self,
        directory: str,
        instance: str,
        dimension: int,
        indexes: list[tuple[str, bool]],
        least_removed: int,
        may_create: bool,
    ) -> bool:
        """Open the shard, creating it where there is none and that is allowed; idempotent. Tells whether it is worn."""
        if self._files is not None:
            self._files.expect(instance, dimension)
            return self._is_worn()
        files = EdgeFiles(directory, instance, dimension)
        files.prepare(indexes if may_create else None)
        self._shard = files.load()
        delete_tree(files.other)  # what a compaction left that was cut off
        files.remember()
        self._files, self._indexes, self._least_removed = files, indexes, least_removed
        return self._is_worn()

    def ping(self) -> None:
        """Answer, having looked whether the directory is still ours."""
        self._checked()
        if self._files is not None:
            self._files.expect_twin()

    def _checked(self) -> EdgeShard:
        """Give the engine, but not when its directory is gone: it would go on writing into nothing."""
        if self._shard is None or self._files is None:
            raise Refusal(Verdict.FAILED, "the store is not open")
        self._files.expect_place()
        return self._shard

    @contextmanager
    def _writing(self) -> Iterator[list[EdgeShard]]:
        """Give the shards that are written: the one in use first, then the one that is to take its place, if any.

        A write that fails may have gone half way, another half in each: the one in use stays.
        """
        shards = [self._checked()]
        compaction = self._compaction
        if compaction is not None and compaction.fresh is not None and not compaction.is_switched:
            shards.append(compaction.fresh)
        try:
            yield shards
        except BaseException:
            self._let_go()
            raise

    def upsert(self, points: list[bytes]) -> None:
        """Write points whole."""
        operation = UpdateOperation.upsert_points([_point(*unpack(point)) for point in points])
        with self._writing() as shards:
            for shard in shards:
                shard.update(operation)

    def relabel(self, labels: list[tuple[list[Any], dict[str, Any], str | None]]) -> None:
        """Set payload fields; a missing id is an error, yet the others are set."""
        with self._writing() as (shard, *fresh):
            for ids, payload, key in labels:
                shard.update(UpdateOperation.set_payload(ids, payload, key))
                for one in fresh:  # which gets the others later, as they are then
                    one.update(UpdateOperation.set_payload(_there(one, ids), payload, key))

    def remove(self, ids: list[Any]) -> None:
        """Delete points, emptying their sparse vectors first.

        Edge's IDF counts the terms of deleted points until the shard is loaded again,
        but not those of a vector that was overwritten.
        Overwriting a missing point is an error, so only those that exist are.
        """
        empty = SparseVector([], [])
        with self._writing() as shards:
            for shard in shards:
                emptied = [PointVectors(id_, {SPARSE: empty}) for id_ in _there(shard, ids)]
                shard.update(UpdateOperation.update_vectors(emptied))
                shard.update(UpdateOperation.delete_points(ids))

    def flush(self) -> bool:
        """Make everything so far durable; tells whether the shard is worn."""
        self._checked().flush()
        return self._is_worn()

    def compact(self, reserve_bytes: int, is_owed: bool) -> int:
        """Do a bounded piece of making a worn shard anew; gives how many are left, about, and 0 for none.

        Where there is no room for another one, nothing is done. One that is owed is begun however little was removed,
        and want of room for it is refused.
        """
        self._checked()
        if self._compaction is None:
            self._compaction = self._begun(reserve_bytes, is_owed)
            return self._compaction.left if self._compaction is not None else 0
        left = self._compaction.step()
        if self._compaction.is_switched:
            self._shard = self._compaction.fresh
        if not left:
            self._compaction = None
            give_back_memory()
        return left

    def abandon(self) -> None:
        """End a compaction without its result, if one is under way: what it copied may have been removed since."""
        self._checked()
        self._let_go()

    def _begun(self, reserve_bytes: int, is_owed: bool) -> Compaction | None:
        if self._shard is None or self._files is None or not (is_owed or self._is_worn()):
            return None
        missing = edge_compaction.missing_bytes(self._files.shard, reserve_bytes)
        if missing <= 0:
            return Compaction(self._files, self._shard, self._indexes)
        if not is_owed:
            return None
        what = f"store {os.path.dirname(self._files.shard)}: got too little room to rewrite its files"
        expected = f"expected {(missing >> 20) + 1} MiB more beside the reserve"
        raise Refusal(Verdict.NO_ROOM, f"{what}, {expected}", "free some disk space, or lower [disk] reserve_bytes")

    def _is_worn(self) -> bool:
        if self._shard is None or self._files is None:
            return False
        if self._compaction is not None:
            return True
        return edge_compaction.is_worn(self._shard, self._files.shard, self._least_removed)

    def _let_go(self) -> None:
        """End a compaction without its result."""
        compaction, self._compaction = self._compaction, None
        if compaction is not None and self._files is not None:
            with suppress(Exception):  # what is left of it counts for nothing, and the next one begins with deleting it
                compaction.let_go()
                delete_tree(self._files.other)

    def search_dense(self, vector: bytes, limit: int, conditions: list[Any]) -> list[Any]:
        """Give `[id, score]` of the nearest points, best first."""
        return self._search(Query.Nearest(_numbers(vector), DENSE), limit, conditions)

    def search_sparse(self, indices: list[int], values: list[float], limit: int, conditions: list[Any]) -> list[Any]:
        """Give `[id, score]` of the best points by BM25, best first."""
        return self._search(Query.Nearest(SparseVector(indices, values), SPARSE), limit, conditions)

    def _search(self, query: Query, limit: int, conditions: list[Any]) -> list[Any]:
        request = QueryRequest(limit=limit, query=query, filter=_filter(conditions), with_payload=False)
        return [[str(hit.id), hit.score] for hit in self._checked().query(request)]

    def retrieve(self, ids: list[Any], with_vectors: bool) -> list[Any]:
        """Give `[id, payload, dense, indices, values]` of the points that exist."""
        return _rows(self._checked().retrieve(ids, True, with_vectors))

    def scroll(self, after: str | None, limit: int, with_vectors: bool) -> list[Any]:
        """Give the page after an id; Edge's own offset is inclusive, and may name a point that is gone."""
        request = ScrollRequest(offset=after, limit=limit + 1, with_payload=True, with_vector=with_vectors)
        records, _ = self._checked().scroll(request)
        return _rows([record for record in records if str(record.id) != after][:limit])

    def count(self) -> int:
        """Count exactly: to go over all ids came to the same after every kill and damage, and takes 0.1 s a million."""
        return self._checked().info().points_count

    def close(self) -> None:
        """Flush and let go."""
        self._let_go()
        if self._shard is not None:
            self._shard.flush()
            self._shard.close()
            self._shard = None


def _point(id_: Any, dense: bytes, indices: list[int], values: list[float], payload: dict[str, Any]) -> Point:
    return Point(id_, {DENSE: _numbers(dense), SPARSE: SparseVector(indices, values)}, payload)


def _there(shard: EdgeShard, ids: list[Any]) -> list[Any]:
    """Give those of some ids that exist."""
    return [record.id for record in shard.retrieve(ids, False, False)]


def _numbers(packed: bytes) -> list[float]:
    # Edge takes any sequence of floats, an array in half the time of a list; its stubs know lists only.
    return cast("list[float]", unpack_dense(packed))


def _rows(records: Iterable[Record]) -> list[Any]:
    return [[str(record.id), record.payload or {}, *_vectors(record.vector)] for record in records]


def _vectors(vectors: Any) -> tuple[bytes | None, list[int] | None, list[float] | None]:
    if vectors is None:
        return None, None, None
    sparse = vectors[SPARSE]
    return pack_dense(vectors[DENSE]), sparse.indices, sparse.values


def _filter(conditions: list[Any]) -> Filter | None:
    if not conditions:
        return None
    matches: dict[str, Any] = {"any": MatchAny, "prefix": MatchPrefix}
    return Filter(must=[FieldCondition(key, match=matches[how](what)) for key, how, what in conditions])


def answer(shard: Shard, request: list[Any]) -> list[Any]:
    """Do what is asked; every way to fail becomes a reply."""
    operation, *arguments = request
    perform: Callable[..., Any] = getattr(shard, operation)
    try:
        faults.hit(f"store_before_{operation}")
        result = perform(*arguments)
        faults.hit(f"store_after_{operation}")
        return [Verdict.OK, result]
    except Refusal as refusal:
        return list(refusal.args)
    except OSError as error:
        return [Verdict.FAILED, f"store: '{operation}' failed: {error}", "see that freshd may read and write there"]
    except Exception as error:  # noqa: BLE001 - Edge raises bare Exception for all it dislikes
        return [Verdict.FAILED, f"store: '{operation}' failed: {error}", ""]
    except BaseException as panic:  # noqa: BLE001 - pyo3's PanicException is no Exception
        return [Verdict.PANICKED, f"store: the engine panicked in '{operation}': {panic}", _DAMAGED]


def serve(stream: int) -> int:
    """Answer requests until the parent hangs up; gives the exit code."""
    shard = Shard()
    while True:
        request = serving.read(stream)
        if request is None:
            return 0
        reply = answer(shard, request)
        serving.write(stream, reply)
        if reply[0] == Verdict.PANICKED:
            return 3


def main() -> None:
    """Run until the parent is gone or done."""
    stream = serving.settle_in()
    # os._exit: leaving in order would flush, which nobody asked for and which keeps the lock for longer.
    os._exit(serve(stream))


if __name__ == "__main__":
    main()
