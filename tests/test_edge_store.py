"""What can happen to the embedded store's process and directory, and what its owner sees of it."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from freshd import faults
from freshd.children import Child, ChildFailed, Starter
from freshd.errors import CollectionMismatch, StoreUnavailable
from freshd.model import ChunkId, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.stores.edge import EdgeStore
from freshd.stores.turns import Turns
from freshd.stores.wire import cosine, pack_dense

ROOT = Path(__file__).parent.parent
DIMENSION = 4
INSTANCE = "owner"
VECTOR = Vector(pack_dense((1.0, 0.0, 0.0, 0.0)))


def point(number: int, text: str = "") -> Point:
    return Point(ChunkId(str(uuid.UUID(int=number))), VECTOR, SparseVector((1,), (1.0,)), {"text": text})


class Watch:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "shard-of-tests"


@pytest.fixture
def store(directory: Path, watch: Watch) -> Iterator[EdgeStore]:
    store = EdgeStore(directory, DIMENSION, call_deadline_s=20.0, monotonic=watch)
    store.open(INSTANCE)
    yield store
    store.close()


def opened(directory: Path, instance: str = INSTANCE) -> EdgeStore:
    store = EdgeStore(directory, DIMENSION)
    store.open(instance)
    return store


def test_a_search_finds_the_nearest_vectors_in_their_order_although_numbers_are_kept_in_two_bytes(directory: Path):
    chance, dimension = random.Random(5), 384
    vectors = [[chance.gauss(0, 1) for _ in range(dimension)] for _ in range(600)]
    with closing(EdgeStore(directory, dimension)) as store:
        store.open(INSTANCE)
        store.upsert(
            [
                Point(ChunkId(str(uuid.UUID(int=n))), Vector(pack_dense(vector)), SparseVector(), {})
                for n, vector in enumerate(vectors)
            ]
        )
        for asked in vectors[:5]:
            likeness = [cosine(pack_dense(asked), pack_dense(vector)) for vector in vectors]
            found = store.search_dense(Vector(pack_dense(asked)), 50, SearchFilter())
            assert [match.score for match in found] == pytest.approx(sorted(likeness)[:-51:-1], abs=1e-4)
            numbers = [uuid.UUID(match.chunk_id).int for match in found]
            assert [likeness[n] for n in numbers] == pytest.approx([match.score for match in found], abs=1e-4)


def child_of(store: EdgeStore) -> int:
    assert store.child_pid is not None
    return store.child_pid


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    ends_at = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < ends_at, f"process {pid} is still there"
        time.sleep(0.01)


# The process


def test_engine_is_never_loaded_into_our_own_process():
    """It holds the interpreter's lock in every call and takes the process with it when the disk is full."""
    code = "import sys, freshd.stores.edge; print(sorted({'qdrant_edge', 'numpy', 'qdrant_client'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_child_loads_nothing_heavy():
    """It is started anew after every failure, so what it loads is paid while searches wait."""
    code = (
        "import sys, freshd.stores.edge_child; "
        "print(sorted({'numpy', 'pydantic', 'asyncio', 'httpx', 'freshd.model'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_killed_child_costs_one_call_and_no_data(store: EdgeStore, watch: Watch):
    store.upsert([point(1), point(2)])
    store.flush()
    store.upsert([point(3)])
    os.kill(child_of(store), signal.SIGKILL)
    with pytest.raises(StoreUnavailable, match="SIGKILL") as died:
        store.upsert([point(4)])
    assert died.value.retryable
    watch.now_s += 1
    assert store.count() == 3
    store.upsert([point(4)])
    assert [found.chunk_id for found in store.scroll(None, 10)] == [point(number).chunk_id for number in (1, 2, 3, 4)]


def test_child_killed_by_a_full_disk_says_what_mends_it(store: EdgeStore):
    """SIGBUS is how Edge ends when the disk is full: it writes through sparse memory maps."""
    os.kill(child_of(store), signal.SIGBUS)
    with pytest.raises(StoreUnavailable, match="SIGBUS") as died:
        store.count()
    assert "disk space" in died.value.hint


def test_frozen_child_is_killed_at_its_deadline(directory: Path, watch: Watch):
    store = EdgeStore(directory, DIMENSION, call_deadline_s=2.0, monotonic=watch)
    store.open(INSTANCE)
    store.upsert([point(1)])
    frozen = child_of(store)
    os.kill(frozen, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable, match=r"'ping' within 2 s and was killed"):
        store.ping()
    assert not is_running(frozen)
    watch.now_s += 1
    assert store.count() == 1
    store.close()


def test_restarts_wait_longer_while_failures_follow_one_another(store: EdgeStore, watch: Watch):
    """Within the pause a call fails at once, with the cause; a call that works ends the series."""
    pauses = []
    for _ in range(8):
        os.kill(child_of(store), signal.SIGKILL)
        with pytest.raises(StoreUnavailable, match="SIGKILL"):
            store.count()
        with pytest.raises(StoreUnavailable, match=r"SIGKILL.*next try in") as soon:
            store.count()
        pauses.append(float(str(soon.value).rpartition("next try in ")[2].split()[0]))
        watch.now_s += pauses[-1] + 0.01
        store.open(INSTANCE)  # starts it, yet proves nothing
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    store.count()
    os.kill(child_of(store), signal.SIGKILL)
    with pytest.raises(StoreUnavailable):
        store.count()
    with pytest.raises(StoreUnavailable, match=r"next try in 0\.1 s"):
        store.count()


def test_polite_signals_do_not_end_the_child(store: EdgeStore):
    """Ctrl-C and a service manager's SIGTERM reach it too; when to stop is for its parent to decide."""
    for polite in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child_of(store), polite)
    store.upsert([point(1)])
    assert store.count() == 1
    assert os.getsid(child_of(store)) != os.getsid(0)


PARENT = """
import sys, time
from pathlib import Path
from freshd.stores.edge import EdgeStore
store = EdgeStore(Path(sys.argv[1]), 4)
store.open("owner")
print(store.child_pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["idle", "frozen"])
def test_child_does_not_outlive_a_killed_parent(directory: Path, state: str):
    """Idle it sees the stream end; in a call that never returns only the kernel can end it."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        if state == "frozen":
            os.kill(child, signal.SIGSTOP)
        parent.kill()
    wait_until_gone(child)
    opened(directory).close()


def test_child_outlives_the_thread_that_first_asked(directory: Path):
    """Linux ties a parent-death signal to the thread that started the child, and threads come and go."""
    store = EdgeStore(directory, DIMENSION)
    opening = threading.Thread(target=store.open, args=(INSTANCE,))
    opening.start()
    opening.join()
    store.ping()
    store.close()


def test_child_is_reaped_when_the_store_is_closed(directory: Path):
    store = opened(directory)
    child = child_of(store)
    store.close()
    assert not Path(f"/proc/{child}").exists()
    assert store.child_pid is None


def test_error_of_the_engine_is_reported_and_the_child_goes_on(store: EdgeStore):
    """Here: set_payload on a point that does not exist."""
    before = child_of(store)
    with pytest.raises(StoreUnavailable, match="No point with id"):
        store.relabel([Relabel((point(404).chunk_id,), {"title": "x"})])
    store.upsert([point(1)])
    assert child_of(store) == before


def test_fail_point_between_portions_leaves_the_first_ones_written(store: EdgeStore):
    """Redone by id, the whole batch is there: an upsert that broke is an upsert to do again."""
    many = [point(number) for number in range(1, 601)]
    faults.arm("mid_upsert:raise@2")
    try:
        with pytest.raises(OSError, match="injected"):
            store.upsert(many)
    finally:
        faults.arm("")
    assert store.count() == 512
    store.upsert(many)
    assert store.count() == 600


def test_searches_come_between_the_portions_of_one_large_upsert(store: EdgeStore):
    """A backfill of thousands of points is no reason for a search to wait for its end."""
    store.upsert([point(1)])
    many = [point(number, "x" * 1000) for number in range(1, 10_001)]
    answered = 0
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing = writer.submit(store.upsert, many)
        while not writing.done():
            store.search_dense(VECTOR, 1, SearchFilter())
            answered += 1
        writing.result()
    assert answered >= 20  # of the 40 pauses between portions


def test_waiting_thread_comes_before_one_that_was_just_there():
    turns, order = Turns(), []

    def wait_for_a_turn() -> None:
        with turns:
            order.append("waiter")

    waiter = threading.Thread(target=wait_for_a_turn)
    with turns:
        waiter.start()
        while not turns.is_awaited:
            time.sleep(0.001)
    with turns:
        order.append("again")
    waiter.join()
    assert order == ["waiter", "again"]


# The stream


@pytest.fixture
def starter() -> Iterator[Starter]:
    starter = Starter("freshd.stores.edge_child", "store-child")
    yield starter
    starter.close()


def test_child_answers_nonsense_with_an_error_not_with_its_end(starter: Starter):
    child = starter.start()
    verdict, message, _ = child.ask(["count"], 20.0)
    assert (verdict, message) == ("failed", "the store is not open")
    child.kill()


def test_reply_that_is_no_message_ends_the_child():
    """Two ends that lost step would take one call's reply for another's."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    theirs.sendall(b"\xff\xff\xff\xff")
    with theirs, pytest.raises(ChildFailed, match="frame"):
        Child(process, ours).ask(["ping"], 5.0)
    assert process.returncode == -signal.SIGKILL


# The directory


def test_second_process_is_told_that_the_directory_is_in_use(store: EdgeStore, directory: Path):
    second = EdgeStore(directory, DIMENSION)
    began_at = time.monotonic()
    with pytest.raises(StoreUnavailable, match="another process") as refused:
        second.open(INSTANCE)
    assert time.monotonic() - began_at < 50
    assert "stop the other" in refused.value.hint
    second.close()
    store.ping()


def test_shard_deleted_underneath_is_seen_by_every_call(store: EdgeStore, directory: Path, watch: Watch):
    """The engine by itself goes on writing into files without a name, and only a flush fails."""
    store.upsert([point(1)])
    store.flush()
    shutil.rmtree(directory / "shard")
    with pytest.raises(CollectionMismatch, match="deleted"):
        store.upsert([point(2)])
    with pytest.raises(CollectionMismatch, match=r"deleted.*next try"):
        store.ping()
    watch.now_s += 10
    with pytest.raises(CollectionMismatch, match=r"says that there is a shard, but it was deleted"):
        store.ping()
    assert not (directory / "shard").exists()


def test_shard_that_comes_back_is_used_again(store: EdgeStore, directory: Path, watch: Watch):
    store.upsert([point(1)])
    store.flush()
    shutil.copytree(directory / "shard", directory / "copy")
    shutil.rmtree(directory / "shard")
    with pytest.raises(CollectionMismatch):
        store.ping()
    (directory / "copy").rename(directory / "shard")
    watch.now_s += 10
    assert store.count() == 1


def test_shard_of_another_instance_in_the_place_of_ours_is_refused(store: EdgeStore, directory: Path, watch: Watch):
    opened(directory.with_name("other"), "someone-else").close()
    shutil.rmtree(directory / "shard")
    shutil.move(directory.with_name("other") / "shard", directory / "shard")
    with pytest.raises(CollectionMismatch):
        store.ping()
    watch.now_s += 10
    with pytest.raises(CollectionMismatch, match="another's, of instance someone-else"):
        store.ping()


def test_store_once_opened_is_never_made_anew(store: EdgeStore, directory: Path, watch: Watch):
    """Child and directory are both gone: an empty store in their place would look like nothing ever happened."""
    store.upsert([point(1)])
    os.kill(child_of(store), signal.SIGKILL)
    shutil.rmtree(directory)
    with pytest.raises(StoreUnavailable):
        store.count()
    for attempt in (store.count, lambda: store.open(INSTANCE)):
        watch.now_s += 10
        with pytest.raises(CollectionMismatch, match="gone"):
            attempt()
    directory.mkdir()
    watch.now_s += 10
    with pytest.raises(CollectionMismatch, match="gone"):
        store.open(INSTANCE)


def test_shard_deleted_while_nobody_looked_is_not_made_anew(directory: Path):
    opened(directory).close()
    shutil.rmtree(directory / "shard")
    with pytest.raises(CollectionMismatch, match="deleted"):
        opened(directory)
    assert not (directory / "shard").exists()


def crash_before_the_rename(directory: Path) -> None:
    (directory / "shard").rename(directory / "shard.new")
    (directory / "identity.json").unlink()


def crash_before_the_identity(directory: Path) -> None:
    (directory / "identity.json").unlink()


def crash_in_the_identity(directory: Path) -> None:
    (directory / "identity.json").rename(directory / "identity.json.new")


def crash_before_anything(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


def empty_shard_of_nobody(directory: Path) -> None:
    (directory / "identity.json").unlink()
    (directory / "shard" / "identity.json").unlink()


@pytest.mark.parametrize(
    "crash",
    [
        crash_before_anything,
        crash_before_the_rename,
        crash_before_the_identity,
        crash_in_the_identity,
        empty_shard_of_nobody,
    ],
)
def test_creation_that_was_cut_off_is_finished_by_the_next(directory: Path, crash: Any):
    opened(directory).close()
    crash(directory)
    store = opened(directory)
    store.upsert([point(1)])
    store.ping()
    store.close()
    assert json.loads((directory / "identity.json").read_text())["instance"] == INSTANCE
    assert not (directory / "shard.new").exists()


def test_shard_with_points_of_which_nothing_says_whose_they_are_is_left_alone(directory: Path):
    store = opened(directory)
    store.upsert([point(1)])
    store.close()
    empty_shard_of_nobody(directory)
    with pytest.raises(CollectionMismatch, match="1 points"):
        opened(directory)
    assert (directory / "shard").exists()


def test_damaged_identity_is_refused(directory: Path):
    opened(directory).close()
    (directory / "identity.json").write_text("{")
    with pytest.raises(CollectionMismatch, match="damaged"):
        opened(directory)


def test_damaged_shard_is_unavailable_and_does_not_end_us(directory: Path):
    """Every file of the engine cut to nothing: whatever it does about that, it does in the child."""
    store = opened(directory)
    store.upsert([point(1)])
    store.close()
    for file in (directory / "shard").rglob("*"):
        if file.is_file() and file.name != "identity.json":
            file.write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        opened(directory)


def test_an_engine_that_panics_is_told_and_opens_again_once_it_is_mended(directory: Path):
    """Half of the status of an index of absent fields: the engine reads past its end."""
    store = opened(directory)
    store.upsert([point(1)])
    store.close()
    (status,) = (directory / "shard").glob("segments/*/payload_index/*-doc_id-null/is_null/status.dat")
    whole = status.read_bytes()
    status.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreUnavailable, match="panicked in 'open'") as told:
        opened(directory)
    assert "freshd" in told.value.hint
    status.write_bytes(whole)
    with closing(opened(directory)) as mended:
        assert mended.count() == 1


def test_directory_is_for_its_owner_only(store: EdgeStore, directory: Path):
    assert directory.stat().st_mode & 0o777 == 0o700
