"""A shard that many points were removed from is made anew: nothing is lost, nobody waits, the room is given back."""

import json
import os
import random
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from freshd.errors import CollectionMismatch, StoreUnavailable
from freshd.model import ChunkId, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.stores.edge import EdgeStore
from freshd.stores.wire import SHARDS, pack_dense, shard_of, unpack_dense
from tests.kit.histories import memory
from tests.torture.disk import Disk, cannot_mount

DIMENSION = 4
INSTANCE = "owner"
LEAST = 60
LIVE = 100
ANYWHERE = SearchFilter()

Held = dict[ChunkId, Point]


def some_point(rng: random.Random) -> Point:
    """A point like freshd's, of odd numbers; some texts have no terms."""
    terms = sorted(rng.sample(range(500), rng.randrange(6)))
    document = f"d{rng.randrange(40)}.md"
    payload = {"doc_id": f"docs/{document}", "source": "docs", "freshd": {"document_id": document}}
    payload |= {"metadata": {"n": rng.randrange(2**63), "none": None, "list": [1.5, "ä", {}]}}
    return Point(
        ChunkId(str(uuid.UUID(int=rng.getrandbits(128)))),
        Vector(pack_dense(rng.gauss(0, 1) for _ in range(DIMENSION))),
        SparseVector(tuple(terms), tuple(rng.random() for _ in terms)),
        payload,
    )


def put(store: EdgeStore, held: Held, points: list[Point]) -> None:
    store.upsert(points)
    held |= {point.chunk_id: point for point in points}


def drop(store: EdgeStore, held: Held, ids: list[ChunkId]) -> None:
    store.remove(ids)
    for id_ in ids:
        held.pop(id_, None)


def wear(store: EdgeStore, held: Held, rng: random.Random, times: int = LEAST // 10) -> None:
    """Replace points by others, ten at a time."""
    for _ in range(times):
        put(store, held, [some_point(rng) for _ in range(10)])
        drop(store, held, rng.sample(sorted(held), 10))
        store.flush()


def opened(directory: Path, **options: Any) -> EdgeStore:
    options = {"least_removed": LEAST, "call_deadline_s": 60.0, "flush_deadline_s": 60.0} | options
    store = EdgeStore(directory, DIMENSION, **options)
    store.open(INSTANCE)
    return store


def compact(store: EdgeStore) -> int:
    """See a compaction through; give its pieces."""
    return next(n for n in count() if not store.compact())


def slots(directory: Path) -> int:
    """How many points the engine keeps a place for."""
    files = Path(shard_of(directory)).glob("segments/*/mutable_id_tracker.versions")
    return sum(file.stat().st_size for file in files) // 8


def disk_bytes(directory: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))


def rows(store: EdgeStore) -> dict[ChunkId, Any]:
    return {
        found.chunk_id: (found.payload, found.dense, found.sparse)
        for found in store.scroll(None, 10_000, with_vectors=True)
    }


def expect_exactly(store: EdgeStore, held: Held) -> None:
    """Ids, payloads and terms are equal; of directions the store keeps the unit vector."""
    found = rows(store)
    assert store.count() == len(held)
    assert found.keys() == held.keys()
    for id_, point in held.items():
        payload, dense, sparse = found[id_]
        assert payload == point.payload
        assert dict(zip(sparse.indices, sparse.values, strict=True)) == pytest.approx(
            dict(zip(point.sparse.indices, point.sparse.values, strict=True))
        )
        wanted = unpack_dense(point.dense)
        length = sum(number * number for number in wanted) ** 0.5
        assert unpack_dense(dense).tolist() == pytest.approx([number / length for number in wanted], abs=3e-5)


@pytest.fixture
def rng() -> random.Random:
    return random.Random(20_261_127)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def held() -> Held:
    return {}


@pytest.fixture
def store(directory: Path, held: Held, rng: random.Random) -> Iterator[EdgeStore]:
    """Filled, and worn enough to be compacted."""
    store = opened(directory)
    put(store, held, [some_point(rng) for _ in range(LIVE)])
    wear(store, held, rng)
    yield store
    store.close()


# What is given back, and what stays


def test_what_removed_points_left_is_given_back_and_nothing_else_changes(store: EdgeStore, directory: Path, held: Held):
    before = rows(store)
    assert slots(directory) == LIVE + LEAST
    pid, openings = store.child_pid, store.openings
    assert compact(store) > 3
    assert slots(directory) == LIVE
    assert rows(store) == before
    expect_exactly(store, held)
    assert (store.child_pid, store.openings) == (pid, openings), "nobody has to wait for another process"
    assert len([name for name in SHARDS if (directory / name).exists()]) == 1
    store.ping()
    assert not store.compact()


def test_searches_find_afterwards_what_a_store_finds_that_never_held_anything_else(
    store: EdgeStore, tmp_path: Path, held: Held
):
    compact(store)
    other = opened(tmp_path / "another")
    other.upsert(list(held.values()))
    for point in held.values():
        for where in (ANYWHERE, SearchFilter(sources=("docs",)), SearchFilter(path_prefix="d1")):
            ours, theirs = (one.search_dense(point.dense, 10, where) for one in (store, other))
            assert {hit.chunk_id: hit.score for hit in ours} == pytest.approx({h.chunk_id: h.score for h in theirs})
            ours, theirs = (one.search_sparse(point.sparse, 200, where) for one in (store, other))
            assert {hit.chunk_id: hit.score for hit in ours} == pytest.approx({h.chunk_id: h.score for h in theirs})
    other.close()


def test_places_and_disk_stay_as_many_however_often_points_are_replaced(
    store: EdgeStore, directory: Path, held: Held, rng: random.Random
):
    """Without, each round would add sixty."""
    compact(store)
    seen, disk = [], []
    for _ in range(6):
        wear(store, held, rng)
        seen.append(slots(directory))
        compact(store)
        disk.append(disk_bytes(directory))
    assert seen == [LIVE + LEAST] * 6
    assert max(disk) < 1.1 * disk[0]
    expect_exactly(store, held)


def test_few_removed_points_are_not_worth_it(directory: Path, held: Held, rng: random.Random):
    """Neither fewer than the least, nor fewer than half as many as there are."""
    store = opened(directory, least_removed=10)
    put(store, held, [some_point(rng) for _ in range(LIVE)])
    assert not store.compact()
    wear(store, held, rng, times=4)
    assert not store.compact()
    wear(store, held, rng, times=1)
    assert store.compact()
    store.close()


def test_points_that_were_removed_before_the_last_opening_count_as_well(directory: Path, store: EdgeStore, held: Held):
    store.close()
    store.open(INSTANCE)
    compact(store)
    assert slots(directory) == LIVE
    expect_exactly(store, held)


def test_where_there_is_no_room_for_another_one_nothing_is_done(directory: Path, store: EdgeStore, held: Held):
    store.close()
    disk = os.statvfs(directory)
    cramped = opened(directory, reserve_bytes=disk.f_blocks * disk.f_frsize)
    assert not cramped.compact()
    expect_exactly(cramped, held)
    cramped.close()
    assert slots(directory) == LIVE + LEAST


# What goes on meanwhile


def test_what_is_written_and_asked_between_any_two_pieces_is_as_if_there_was_no_compaction(
    store: EdgeStore, directory: Path, held: Held, rng: random.Random
):
    """Points come, are overwritten, relabelled and removed, on both sides of where the copying is."""
    put(store, held, [some_point(rng) for _ in range(4 * LIVE)])
    wear(store, held, rng, times=25)
    worn = slots(directory)
    for n in count():
        if not store.compact():
            break
        put(store, held, [some_point(rng)])
        again = some_point(rng)
        old = rng.choice(sorted(held))
        put(store, held, [Point(old, again.dense, again.sparse, again.payload)])
        ids = tuple(rng.sample(sorted(held), 5))
        store.relabel([Relabel(ids, {"label": n}, None)])
        for id_ in ids:
            held[id_] = Point(id_, held[id_].dense, held[id_].sparse, {**held[id_].payload, "label": n})
        drop(store, held, [rng.choice(sorted(held)), ChunkId(str(uuid.UUID(int=rng.getrandbits(128))))])
        store.flush()
        some = held[rng.choice(sorted(held))]
        assert store.search_dense(some.dense, 1, ANYWHERE)[0].score == pytest.approx(1, abs=1e-5)
        assert store.count() == len(held)
    assert n > 10
    assert slots(directory) < worn
    expect_exactly(store, held)
    store.close()
    store.open(INSTANCE)
    expect_exactly(store, held)


def test_a_write_that_fails_ends_the_compaction_and_another_one_is_begun(store: EdgeStore, directory: Path, held: Held):
    """It may have gone half way, and another half in each of the two."""
    for _ in range(4):
        assert store.compact()
    there = next(iter(held))
    with pytest.raises(StoreUnavailable):
        store.relabel([Relabel((there, ChunkId(str(uuid.UUID(int=7)))), {"label": 1}, None)])
    held[there] = Point(there, held[there].dense, held[there].sparse, {**held[there].payload, "label": 1})
    expect_exactly(store, held)
    assert len([name for name in SHARDS if (directory / name).exists()]) == 1
    store.flush()
    compact(store)
    assert slots(directory) == LIVE
    expect_exactly(store, held)


def test_a_store_closed_in_the_middle_leaves_one_shard(store: EdgeStore, directory: Path, held: Held):
    for _ in range(4):
        assert store.compact()
    store.close()
    assert shard_of(directory) == str(directory / "shard")
    assert not (directory / "shard-2").exists()
    store.open(INSTANCE)
    expect_exactly(store, held)


# What breaks it off

BREAKS = [
    *("store_before_compact", "store_before_compact@3", "compaction_begun", "mid_compaction", "mid_compaction@2"),
    *("before_compaction_switch", "after_compaction_switch", "mid_compaction_sweep", "mid_compaction_sweep@9"),
]


@pytest.mark.parametrize("way", ["kill", "raise"])
@pytest.mark.parametrize("where", BREAKS)
def test_broken_off_anywhere_everything_is_there_and_the_next_one_finishes(
    store: EdgeStore, directory: Path, held: Held, monkeypatch: pytest.MonkeyPatch, where: str, way: str
):
    store.close()
    name, _, nth = where.partition("@")
    monkeypatch.setenv("FRESHD_FAULTS", f"{name}:{way}" + (f"@{nth}" if nth else ""))
    broken = opened(directory)
    with pytest.raises(StoreUnavailable):
        compact(broken)
    assert broken.child_pid is None
    monkeypatch.delenv("FRESHD_FAULTS")
    again = opened(directory)
    expect_exactly(again, held)
    assert len([one for one in SHARDS if (directory / one).exists()]) == 1
    compact(again)
    assert slots(directory) == LIVE
    expect_exactly(again, held)
    again.close()
    broken.close()


def test_a_process_killed_in_the_middle_comes_back_by_itself(store: EdgeStore, held: Held, rng: random.Random):
    for _ in range(4):
        assert store.compact()
    put(store, held, [some_point(rng)])
    assert store.child_pid is not None
    os.kill(store.child_pid, signal.SIGKILL)
    with pytest.raises(StoreUnavailable):
        store.compact()
    assert not store.compact(), "it is left alone until something is written"


def test_the_power_fails_after_any_piece_and_everything_flushed_is_there(rng: random.Random):
    """What the disk has of either shard is looked at, not what is in memory."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        if (reason := cannot_mount(Path(folder))) is not None:
            pytest.skip(reason)
        with Disk(Path(folder)) as disk:
            held: Held = {}
            store = opened(disk.root / "index")
            put(store, held, [some_point(rng) for _ in range(LIVE)])
            wear(store, held, rng)
            for n in count():
                has_more = store.compact()
                put(store, held, [some_point(rng)])
                drop(store, held, [rng.choice(sorted(held))])
                store.flush()
                if n < 10 or n % 20 == 0 or not has_more:
                    with disk.after_power_failed() as root:
                        found = opened(root / "index")
                        expect_exactly(found, held)
                        found.close()
                if not has_more:
                    break
            assert shard_of(disk.root / "index").endswith("shard-2")
            store.close()


# What must leave the files


def unworn(directory: Path, held: Held, rng: random.Random) -> tuple[EdgeStore, str]:
    """A store from which too little was removed to be worth it, and a text of what was."""
    store = opened(directory, least_removed=10_000)
    secret = some_point(rng)
    secret.payload["page_content"] = text = "Lavender Row 7"
    put(store, held, [secret, *(some_point(rng) for _ in range(LIVE))])
    store.flush()
    drop(store, held, [secret.chunk_id])
    store.flush()
    assert files_with(directory, text), "else nothing could fail here"
    assert not store.compact()
    return store, text


def files_with(directory: Path, text: str) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def expunge(store: EdgeStore, occasion: str) -> int:
    return next(n for n in count() if not store.expunge(occasion))


def test_what_was_removed_is_in_no_file_once_it_is_expunged(directory: Path, held: Held, rng: random.Random):
    store, text = unworn(directory, held, rng)
    assert expunge(store, "first") > 3
    assert not files_with(directory, text)
    assert expunge(store, "first") == 0, "it is done"
    expect_exactly(store, held)
    store.close()
    assert not files_with(directory, text)


def test_what_is_removed_in_the_midst_of_it_leaves_with_the_next_occasion(
    directory: Path, held: Held, rng: random.Random
):
    store, text = unworn(directory, held, rng)
    late = some_point(rng)
    late.payload["page_content"] = "Nightingale Steps"
    put(store, held, [late])
    for _ in range(5):
        assert store.expunge("first")
    drop(store, held, [late.chunk_id])
    expunge(store, "second")
    assert not files_with(directory, "Nightingale Steps")
    assert not files_with(directory, text)
    expect_exactly(store, held)
    store.close()


def test_a_compaction_that_was_under_way_before_does_not_count(
    store: EdgeStore, directory: Path, held: Held, rng: random.Random
):
    secret = some_point(rng)
    secret.payload["page_content"] = "Lavender Row 7"
    put(store, held, [secret])
    store.flush()
    for _ in range(5):
        assert store.compact()
    drop(store, held, [secret.chunk_id])
    expunge(store, "first")
    assert not files_with(directory, "Lavender Row 7")
    expect_exactly(store, held)


@pytest.mark.parametrize("where", BREAKS[2:])
def test_expunging_that_is_broken_off_anywhere_is_begun_again(
    directory: Path, held: Held, rng: random.Random, monkeypatch: pytest.MonkeyPatch, where: str
):
    store, text = unworn(directory, held, rng)
    store.close()
    name, _, nth = where.partition("@")
    monkeypatch.setenv("FRESHD_FAULTS", f"{name}:kill" + (f"@{nth}" if nth else ""))
    broken = opened(directory, least_removed=10_000)
    with pytest.raises(StoreUnavailable):
        expunge(broken, "first")
    monkeypatch.delenv("FRESHD_FAULTS")
    again = opened(directory, least_removed=10_000)
    expunge(again, "first")
    assert not files_with(directory, text)
    expect_exactly(again, held)
    again.close()
    broken.close()


def test_want_of_room_is_told_and_costs_nothing_else(directory: Path, held: Held, rng: random.Random):
    store, text = unworn(directory, held, rng)
    store.close()
    cramped = opened(directory, reserve_bytes=2**60)
    pid = cramped.child_pid
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"too little room to rewrite its files, expected [\d]+ MiB more"):
            cramped.expunge("first")
    assert cramped.child_pid == pid
    expect_exactly(cramped, held)
    assert files_with(directory, text)
    cramped.close()


# The directory


def test_a_shard_that_the_identity_does_not_name_is_never_taken_for_the_one(store: EdgeStore, directory: Path):
    compact(store)
    store.close()
    assert shard_of(directory) == str(directory / "shard-2")
    (directory / "shard-2").rename(directory / "shard")
    with pytest.raises(CollectionMismatch, match="deleted"):
        opened(directory)
    assert (directory / "shard").exists()


def test_an_identity_that_is_lost_is_written_again_where_one_shard_is_there(
    store: EdgeStore, directory: Path, held: Held
):
    compact(store)
    store.close()
    (directory / "identity.json").unlink()
    again = opened(directory)
    expect_exactly(again, held)
    again.close()
    assert json.loads((directory / "identity.json").read_text())["shard"] == "shard-2"


def test_two_shards_of_which_nothing_says_which_one_counts_are_left_alone(store: EdgeStore, directory: Path):
    store.close()
    (directory / "identity.json").unlink()
    shutil.copytree(directory / "shard", directory / "shard-2")
    with pytest.raises(CollectionMismatch, match="two shards"):
        opened(directory)
    assert all((directory / name).exists() for name in SHARDS)


def test_an_identity_that_names_no_shard_of_ours_is_refused(store: EdgeStore, directory: Path):
    store.close()
    said = json.loads((directory / "identity.json").read_text())
    (directory / "identity.json").write_text(json.dumps(said | {"shard": "../shard"}))
    with pytest.raises(CollectionMismatch, match="damaged"):
        opened(directory)
