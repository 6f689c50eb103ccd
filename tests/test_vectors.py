"""The vector cache may forget, never lies, and stays within its bound."""

import hashlib
import os
import resource
import sqlite3
import stat
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from freshd.errors import StateUnusable
from freshd.model import Digest, Vector
from freshd.vectors import SqliteVectorCache, VectorCacheView, row_bytes
from tests.kit.quota import used_up_quota

START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.instant = START

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return (self.instant - START).total_seconds()

    def move(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


def digest(thing: object) -> Digest:
    return Digest(hashlib.sha256(repr(thing).encode()).hexdigest())


def vector(value: float, dimension: int = 4) -> Vector:
    return Vector(struct.pack(f"<{dimension}f", *[value] * dimension))


EMBEDDER = digest("embedder")
OTHER = digest("other embedder")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors.db"


@pytest.fixture
def cache(path: Path, clock: ManualClock) -> Iterator[SqliteVectorCache]:
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        yield cache


def alter(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement, values).rowcount


def test_a_vector_is_given_back_as_it_was_put(cache):
    cache.put(EMBEDDER, {digest(1): vector(1), digest(2): vector(2)})
    assert cache.get(EMBEDDER, [digest(2), digest(1), digest(3)]) == {digest(1): vector(1), digest(2): vector(2)}


def test_vectors_of_two_embedders_never_mix(cache):
    cache.put(EMBEDDER, {digest(1): vector(1)})
    assert cache.get(OTHER, [digest(1)]) == {}
    cache.put(OTHER, {digest(1): vector(9)})
    assert cache.get(EMBEDDER, [digest(1)]) == {digest(1): vector(1)}


def test_vectors_outlive_the_process(path, clock):
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        cache.put(EMBEDDER, {digest(1): vector(1)})
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        assert cache.get(EMBEDDER, [digest(1)]) == {digest(1): vector(1)}


@pytest.mark.parametrize("is_open", [True, False], ids=["while its owner works", "alone"])
def test_a_view_gives_what_is_there_and_leaves_no_trace(path, clock, is_open):
    """Old rows would be marked as used, and damaged ones deleted, by the cache itself."""
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        cache.put(EMBEDDER, {digest(1): vector(1), digest(2): vector(2)})
        alter(path, "UPDATE vectors SET checksum = checksum + 1 WHERE digest = ?", bytes.fromhex(digest(2)))
        if is_open:
            assert VectorCacheView(path).get(EMBEDDER, [digest(1), digest(2), digest(3)]) == {digest(1): vector(1)}
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    clock.move(86_400)
    assert VectorCacheView(path).get(EMBEDDER, [digest(1), digest(2), digest(3)]) == {digest(1): vector(1)}
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == files


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 500], ids=["absent", "empty", "garbage"])
def test_a_view_of_what_is_no_cache_remembers_nothing(path, content):
    if content is not None:
        path.write_bytes(content)
    assert VectorCacheView(path).get(EMBEDDER, [digest(1)]) == {}


def test_more_digests_can_be_asked_than_sqlite_takes_variables(cache):
    wanted = {digest(n): vector(n) for n in range(0, 40_000, 100)}
    cache.put(EMBEDDER, wanted)
    assert cache.get(EMBEDDER, (digest(n) for n in range(40_000))) == wanted


@pytest.mark.parametrize("bad", [b"", b"123", b"12345"])
def test_what_is_no_row_of_floats_is_refused_whole(cache, bad):
    with pytest.raises(ValueError, match=f"got {len(bad)} bytes"):
        cache.put(EMBEDDER, {digest(1): vector(1), digest(2): Vector(bad)})
    assert cache.get(EMBEDDER, [digest(1)]) == {}


def test_only_the_owner_can_read_the_files(path, cache):
    """Vectors tell much of the text they were made from."""
    cache.put(EMBEDDER, {digest(1): vector(1)})
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["vectors.db", "vectors.db-shm", "vectors.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_left_open_to_all_is_closed_to_them(path, clock):
    path.touch(0o666)
    path.chmod(0o666)
    SqliteVectorCache(path, clock=clock).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# The bound


def test_what_was_used_least_recently_is_forgotten_first(path, clock):
    with closing(SqliteVectorCache(path, clock=clock, max_bytes=3 * row_bytes(16))) as cache:
        for n in (1, 2, 3):
            cache.put(EMBEDDER, {digest(n): vector(n)})
            clock.move(60)
        clock.move(3600)
        assert cache.get(EMBEDDER, [digest(1)])
        cache.put(EMBEDDER, {digest(4): vector(4)})
        assert set(cache.get(EMBEDDER, map(digest, (1, 2, 3, 4)))) == {digest(1), digest(3), digest(4)}


def test_reading_writes_nothing_within_the_hour(path, clock, cache):
    """A search or a rescan that hits the cache must not wear the disk."""
    cache.put(EMBEDDER, {digest(1): vector(1)})
    with closing(sqlite3.connect(path)) as other:

        def version() -> int:
            return other.execute("PRAGMA data_version").fetchone()[0]

        before = version()
        clock.move(3599)
        cache.get(EMBEDDER, [digest(1)])
        assert version() == before
        clock.move(1)
        cache.get(EMBEDDER, [digest(1)])
        assert version() != before


@pytest.mark.parametrize("dimension", [8, 384, 768, 1024, 8192])
def test_the_file_is_as_large_as_the_bound_says(path, clock, dimension):
    """The bound is meant for the disk, keys, indexes and half-full pages included."""
    max_bytes = 4 * 2**20
    batch = max(1, max_bytes // row_bytes(4 * dimension) // 8)
    with closing(SqliteVectorCache(path, clock=clock, max_bytes=max_bytes)) as cache:
        for start in range(0, 20 * batch, batch):
            cache.put(EMBEDDER, {digest(n): vector(n, dimension) for n in range(start, start + batch)})
    assert 0.75 * max_bytes < path.stat().st_size < 1.2 * max_bytes


def test_a_lowered_bound_gives_disk_back_step_by_step(path, clock):
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        cache.put(EMBEDDER, {digest(n): vector(n, 384) for n in range(6000)})
    before = path.stat().st_size
    with closing(SqliteVectorCache(path, clock=clock, max_bytes=2**20)) as cache:
        cache.put(EMBEDDER, {digest("new"): vector(1)})
        assert cache.get(EMBEDDER, [digest(5999)]), "one put must not pay for the whole reduction"
        for _ in range(8):
            cache.put(EMBEDDER, {digest("new"): vector(1)})
        assert cache.get(EMBEDDER, [digest("new")])
    assert path.stat().st_size < 2 * 2**20 < before


def test_a_full_disk_is_forgetting_not_failing(path, clock, cache):
    """Indexing can do without the cache; who cannot do without disk will say so."""
    cache.put(EMBEDDER, {digest(1): vector(1)})
    pages = cache._database.execute("PRAGMA page_count").fetchone()[0]
    cache._database.execute(f"PRAGMA max_page_count = {pages}")
    cache.put(EMBEDDER, {digest(n): vector(n, 384) for n in range(2, 500)})
    assert cache.get(EMBEDDER, map(digest, range(500))) == {digest(1): vector(1)}


@pytest.mark.parametrize("is_quota", [True, False])
def test_a_quota_that_is_used_up_is_forgetting_and_any_other_write_that_fails_is_told(cache, is_quota):
    """The limit of a process has a write fail for good; SQLite says of a quota what it says of that."""
    cache.put(EMBEDDER, {digest(1): vector(1)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, limits[1]))
    try:
        with used_up_quota() if is_quota else pytest.raises(StateUnusable, match="disk I/O error"):
            cache.put(EMBEDDER, {digest(n): vector(n, 384) for n in range(2, 500)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.get(EMBEDDER, map(digest, range(500))) == {digest(1): vector(1)}


def test_a_file_that_another_program_writes_for_long_is_forgetting_not_failing(path, clock, cache):
    cache.put(EMBEDDER, {digest(1): vector(1)})
    clock.move(7_200)  # so that a hit would be written down
    cache._database.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        cache.put(EMBEDDER, {digest(2): vector(2)})
        assert cache.get(EMBEDDER, [digest(1), digest(2)]) == {digest(1): vector(1)}
    cache.put(EMBEDDER, {digest(2): vector(2)})
    assert cache.get(EMBEDDER, [digest(2)]) == {digest(2): vector(2)}


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = x'00000000000000000000000000000000' WHERE digest = ?",
        "UPDATE vectors SET vector = substr(vector, 1, 12) WHERE digest = ?",
        "UPDATE vectors SET vector = (SELECT vector FROM vectors ORDER BY seq DESC LIMIT 1) WHERE digest = ?",
        "UPDATE vectors SET embedder = x'00' WHERE digest = ?",
    ],
    ids=["altered", "shortened", "another's", "of another embedder"],
)
def test_a_damaged_vector_is_forgotten_and_its_neighbours_stay(path, cache, damage):
    cache.put(EMBEDDER, {digest(1): vector(1), digest(2): vector(2)})
    alter(path, damage, bytes.fromhex(digest(1)))
    for _ in range(2):
        assert cache.get(EMBEDDER, [digest(1), digest(2)]) == {digest(2): vector(2)}
    cache.put(EMBEDDER, {digest(1): vector(1)})
    assert cache.get(EMBEDDER, [digest(1)]) == {digest(1): vector(1)}


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(100_000))


def without_its_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE vectors")


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten_inside(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(16_384)
        file.write(os.urandom(path.stat().st_size - 2 * 16_384))


@pytest.fixture(params=[garbage, without_its_table, cut_in_half, overwritten_inside], ids=lambda f: f.__name__)
def damaged_path(request, path, clock) -> Path:
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        cache.put(EMBEDDER, {digest(n): vector(n, 384) for n in range(500)})
    request.param(path)
    return path


def test_a_damaged_file_is_begun_anew_and_the_old_one_set_aside(damaged_path, clock):
    """Losing the cache costs time; refusing to start, or a wrong vector, would cost more."""
    wanted = {digest(n): vector(n, 384) for n in range(500)}
    with closing(SqliteVectorCache(damaged_path, clock=clock)) as cache:
        assert cache.get(EMBEDDER, wanted).items() <= wanted.items()
        cache.put(EMBEDDER, wanted)
        assert cache.get(EMBEDDER, wanted) == wanted
    assert damaged_path.with_name("vectors.db.damaged").exists()


def test_a_file_of_another_version_is_begun_anew(path, clock):
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        cache.put(EMBEDDER, {digest(1): vector(1)})
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with closing(SqliteVectorCache(path, clock=clock)) as cache:
        assert cache.get(EMBEDDER, [digest(1)]) == {}
        cache.put(EMBEDDER, {digest(1): vector(1)})
        assert cache.get(EMBEDDER, [digest(1)])


def test_a_place_that_cannot_hold_a_file_is_named(tmp_path, clock):
    with pytest.raises(StateUnusable, match=str(tmp_path)) as raised:
        SqliteVectorCache(tmp_path, clock=clock)
    assert raised.value.hint


def test_a_closed_cache_says_so_and_closes_twice(cache):
    cache.close()
    cache.close()
    with pytest.raises(StateUnusable, match="closed"):
        cache.get(EMBEDDER, [digest(1)])


def test_threads_share_one_cache(cache):
    def work(worker: int) -> bool:
        mine = {digest((worker, n)): vector(worker * 1000 + n) for n in range(50)}
        for key, value in mine.items():
            cache.put(EMBEDDER, {key: value})
        return cache.get(EMBEDDER, mine) == mine

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


class CacheAgainstADictionary(RuleBasedStateMachine):
    """Whatever happens, the cache holds what an exact least-recently-used dictionary of its size would."""

    ROOM = 6

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.clock = ManualClock()
        self.cache = self.opened()
        self.held: dict[tuple[Digest, Digest], Vector] = {}  # oldest put first
        self.used_at: dict[tuple[Digest, Digest], datetime] = {}

    def opened(self) -> SqliteVectorCache:
        max_bytes = self.ROOM * row_bytes(16)
        return SqliteVectorCache(Path(self.folder.name) / "vectors.db", clock=self.clock, max_bytes=max_bytes)

    @rule(embedder=st.sampled_from([EMBEDDER, OTHER]), values=st.dictionaries(st.integers(0, 9), st.integers(0, 99)))
    def put(self, embedder: Digest, values: dict[int, int]) -> None:
        vectors = {digest(key): vector(value) for key, value in values.items()}
        self.cache.put(embedder, vectors)
        for key, value in vectors.items():
            self.held.pop((embedder, key), None)
            self.held[embedder, key] = value
            self.used_at[embedder, key] = self.clock.now()
        while len(self.held) > self.ROOM and vectors:
            del self.held[min(self.held, key=lambda k: self.used_at[k])]  # of equals, min takes the first

    @rule(embedder=st.sampled_from([EMBEDDER, OTHER]), keys=st.sets(st.integers(0, 9)))
    def get(self, embedder: Digest, keys: set[int]) -> None:
        wanted = [(embedder, digest(key)) for key in keys]
        assert self.cache.get(embedder, [key for _, key in wanted]) == {
            k[1]: self.held[k] for k in wanted if k in self.held
        }
        for key in wanted:
            if key in self.held and abs(self.clock.now() - self.used_at[key]) >= timedelta(hours=1):
                self.used_at[key] = self.clock.now()

    @rule(minutes=st.sampled_from([1, 59, 60, 600, -60, -1]))
    def time_passes(self, minutes: int) -> None:
        self.clock.move(minutes * 60)

    @rule()
    def restart(self) -> None:
        self.cache.close()
        self.cache = self.opened()

    @invariant()
    def size_is_known_exactly(self) -> None:
        if hasattr(self, "cache"):
            assert self.cache._size() == len(self.held) * row_bytes(16)

    def teardown(self) -> None:
        if hasattr(self, "cache"):
            self.cache.close()
            self.folder.cleanup()


TestCacheAgainstADictionary = CacheAgainstADictionary.TestCase
TestCacheAgainstADictionary.settings = settings(max_examples=60, stateful_step_count=25)
