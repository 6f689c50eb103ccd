"""A dry run tells what a real run would do, and leaves everything as it was."""

import hashlib
import sqlite3
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from freshd import dryrun
from freshd.compose import open_dry_run, open_whole
from freshd.config import Secrets, load
from freshd.dryrun import MeasuringEmbedder, NullStore, ReadOnlyCache, copy_ledger
from freshd.errors import StateUnusable
from freshd.ledger.database import Database
from freshd.model import ChunkId, Digest, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.ports import Embedder, Store
from freshd.scheduler import Tally

CONFIG = """
[guard]
documents = 2
share = 0.1

[[sources]]
name = "handbook"
type = "files"
path = "docs"
"""
EMBEDDER = Digest("e" * 64)
LOAD_S, TOKEN_S = 3.0, 0.5


class ManualClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self):
        raise AssertionError("a measurement must not follow the wall clock")

    def monotonic(self) -> float:
        return self.seconds


class SlowEmbedder:
    """One token a word; takes 3 s to load and 0.5 s a token, by a clock of its own."""

    identity, dimension, max_tokens = EMBEDDER, 4, 5

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.embedded: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for index in reversed(range(len(texts))):
            self.clock.seconds += (0.0 if self.embedded else LOAD_S) + TOKEN_S * len(texts[index].split())
            self.embedded.append(texts[index])
            yield index, self.vector(texts[index])

    def vector(self, text: str) -> Vector:
        return Vector(struct.pack("<4f", 0, 0, 0, len(text)))

    def embed_query(self, text: str) -> Vector:
        return self.vector(text)

    def sparse_passage(self, text: str) -> SparseVector:
        return SparseVector((1,), (1.0,))

    def sparse_query(self, text: str) -> SparseVector:
        return SparseVector((1,), (1.0,))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def digest(text: str) -> Digest:
    return Digest(hashlib.sha256(text.encode()).hexdigest())


# The ledger


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def filled(path: Path) -> Database:
    database = Database(path)
    database.remember("colour", "red")
    return database


def colour(path: Path) -> str:
    with closing(Database(path)) as database:
        return database.recall("colour") or "none"


def test_an_absent_ledger_is_not_copied_and_not_created(tmp_path: Path):
    assert not copy_ledger(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("name", ["ledger.db", "100% ?#led ger.db"])
def test_a_ledger_nobody_works_on_is_copied_and_its_folder_left_as_it_was(tmp_path: Path, name: str):
    """A plain reader of a file in WAL mode would leave two files beside it."""
    state = tmp_path / "state"
    state.mkdir()
    filled(state / name).close()
    before = listing(state)
    assert copy_ledger(state / name, tmp_path / "copy.db")
    assert listing(state) == before
    assert colour(tmp_path / "copy.db") == "red"


def test_what_is_committed_but_only_in_the_log_is_in_the_copy(tmp_path: Path):
    with closing(filled(tmp_path / "ledger.db")):
        log = (tmp_path / "ledger.db-wal").read_bytes()
        assert copy_ledger(tmp_path / "ledger.db", tmp_path / "copy.db")
        assert (tmp_path / "ledger.db-wal").read_bytes() == log
    assert colour(tmp_path / "copy.db") == "red"


def test_a_transaction_under_way_is_not_in_the_copy_and_is_not_disturbed(tmp_path: Path):
    with closing(filled(tmp_path / "ledger.db")) as database:
        with database.write() as tx:
            tx.execute("UPDATE meta SET value = 'blue' WHERE key = 'colour'")
            assert copy_ledger(tmp_path / "ledger.db", tmp_path / "copy.db")
        assert database.recall("colour") == "blue"
    assert colour(tmp_path / "copy.db") == "red"


def test_a_copy_taken_while_somebody_writes_is_of_one_moment(tmp_path: Path):
    """Two rows that change together are equal in every copy."""
    with closing(filled(tmp_path / "ledger.db")) as database:
        database.remember("a", "0")
        database.remember("b", "0")
        stopping = threading.Event()

        def write() -> None:
            n = 0
            while not stopping.is_set():
                n += 1
                with database.write() as tx:
                    tx.execute("UPDATE meta SET value = ? WHERE key = 'a'", (str(n),))
                    tx.execute("UPDATE meta SET value = ? WHERE key = 'b'", (str(n),))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for n in range(20):
                copy_ledger(tmp_path / "ledger.db", tmp_path / f"{n}.db")
        finally:
            stopping.set()
            writer.join()
    for n in range(20):
        with closing(sqlite3.connect(tmp_path / f"{n}.db")) as copy:
            values = copy.execute("SELECT value FROM meta WHERE key IN ('a', 'b')").fetchall()
        assert values[0] == values[1]


def test_a_ledger_that_somebody_opens_while_it_is_copied_is_copied_again(tmp_path: Path, monkeypatch):
    """It was taken for one that cannot change; the writer is gone again before the copy is looked at."""
    filled(tmp_path / "ledger.db").close()
    backup, seen = dryrun._backup, []

    def overtaken(path: Path, into: Path, how: str) -> None:
        backup(path, into, how)
        if not seen:
            with closing(Database(path)) as database, database.write() as tx:
                tx.execute("UPDATE meta SET value = 'blue' WHERE key = 'colour'")
        seen.append(how)

    monkeypatch.setattr(dryrun, "_backup", overtaken)
    assert copy_ledger(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert colour(tmp_path / "copy.db") == "blue"
    assert seen == ["immutable=1", "immutable=1"]


def test_only_the_owner_can_read_the_copy(tmp_path: Path):
    filled(tmp_path / "ledger.db").close()
    copy_ledger(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


def test_a_copy_replaces_nothing(tmp_path: Path):
    filled(tmp_path / "ledger.db").close()
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(FileExistsError):
        copy_ledger(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_what_is_no_ledger_is_refused_and_leaves_no_copy(tmp_path: Path):
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StateUnusable, match=r"ledger\.db: file is not a database"):
        copy_ledger(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert list(listing(tmp_path)) == ["ledger.db"]


# The embedder


def test_the_estimate_is_the_time_that_embedding_everything_takes(clock: ManualClock):
    """The speed comes from the sample; loading the model counts once, however small the sample."""
    texts = [f"{'word ' * (n % 5)}end" for n in range(100)]
    measuring = MeasuringEmbedder(SlowEmbedder(clock), clock, sample_texts=10)
    list(measuring.embed_passages(texts[:70]))
    list(measuring.embed_passages(texts[70:]))
    real = SlowEmbedder(ManualClock())
    list(real.embed_passages(texts))
    assert measuring.estimated_seconds() == pytest.approx(real.clock.seconds)
    assert (measuring.texts, measuring.tokens) == (100, sum(real.count_tokens(texts)))


def test_only_a_first_sample_is_embedded_over_the_whole_run(clock: ManualClock):
    embedder = SlowEmbedder(clock)
    measuring = MeasuringEmbedder(embedder, clock, sample_texts=5)
    for start in range(0, 30, 3):
        list(measuring.embed_passages([f"text {n}" for n in range(start, start + 3)]))
    assert sorted(embedder.embedded) == [f"text {n}" for n in range(5)]


def test_every_text_gets_one_vector_of_the_right_length(clock: ManualClock):
    embedder = SlowEmbedder(clock)
    measuring = MeasuringEmbedder(embedder, clock, sample_texts=4)
    texts = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"]
    vectors = dict(measuring.embed_passages(texts))
    assert sorted(vectors) == list(range(6))
    assert [vectors[n] for n in range(4)] == [embedder.vector(text) for text in texts[:4]]
    assert all(sum(x * x for x in struct.unpack("<4f", vectors[n])) == 1.0 for n in (4, 5))


def test_what_the_caller_does_between_two_texts_is_not_measured(clock: ManualClock):
    measuring = MeasuringEmbedder(SlowEmbedder(clock), clock)
    for _ in measuring.embed_passages(["one", "two", "three"]):
        clock.seconds += 1000
    assert measuring.estimated_seconds() == pytest.approx(LOAD_S + 3 * TOKEN_S)


def test_nothing_to_embed_takes_no_time_and_loads_no_model(clock: ManualClock):
    embedder = SlowEmbedder(clock)
    measuring = MeasuringEmbedder(embedder, clock)
    assert list(measuring.embed_passages([])) == []
    assert (measuring.estimated_seconds(), embedder.embedded) == (0.0, [])


def test_a_text_too_long_for_the_model_is_refused_beyond_the_sample_too(clock: ManualClock):
    measuring = MeasuringEmbedder(SlowEmbedder(clock), clock, sample_texts=1)
    with pytest.raises(ValueError, match=r"texts\[1\]: got 6 tokens, expected at most 5"):
        measuring.embed_passages(["short", "a b c d e f"])


# Cache and store


class RememberingCache:
    def __init__(self) -> None:
        self.vectors: dict[tuple[Digest, Digest], Vector] = {}

    def get(self, embedder: Digest, digests) -> dict[Digest, Vector]:
        return {d: self.vectors[embedder, d] for d in digests if (embedder, d) in self.vectors}

    def put(self, embedder: Digest, vectors) -> None:
        self.vectors |= {(embedder, d): vector for d, vector in vectors.items()}

    def close(self) -> None:
        raise AssertionError("closing it is not ours")


OLD, NEW = digest("old"), digest("new")
OLD_VECTOR, NEW_VECTOR = Vector(b"old."), Vector(b"new.")


def test_a_new_vector_is_remembered_for_this_run_and_nowhere_else():
    real = RememberingCache()
    real.put(EMBEDDER, {OLD: OLD_VECTOR})
    cache = ReadOnlyCache(real.get)
    cache.put(EMBEDDER, {NEW: NEW_VECTOR})
    assert cache.get(EMBEDDER, iter([OLD, NEW, digest("none")])) == {OLD: OLD_VECTOR, NEW: NEW_VECTOR}
    cache.close()
    assert cache.get(EMBEDDER, [NEW]) == {}
    assert real.vectors == {(EMBEDDER, OLD): OLD_VECTOR}


def test_vectors_of_two_embedders_never_mix_in_a_dry_run():
    cache = ReadOnlyCache(RememberingCache().get)
    cache.put(EMBEDDER, {NEW: NEW_VECTOR})
    assert cache.get(Digest("f" * 64), [NEW]) == {}


def test_a_null_store_takes_everything_and_finds_nothing():
    store: Store = NullStore()
    store.open("instance")
    store.ping()
    chunk_id = ChunkId("5b1f6c2e-0000-4000-8000-000000000001")
    store.upsert([Point(chunk_id, OLD_VECTOR, SparseVector((1,), (1.0,)), {})])
    store.relabel([Relabel((chunk_id,), {"a": 1})])
    store.remove([chunk_id])
    store.flush()
    assert store.retrieve([chunk_id]) == store.scroll(None, 10) == []
    assert store.search_dense(OLD_VECTOR, 10, SearchFilter()) == []
    assert store.search_sparse(SparseVector((1,), (1.0,)), 10, SearchFilter()) == []
    assert store.count() == 0
    store.close()


# The whole


class World:
    def __init__(self, root: Path) -> None:
        self.docs = root / "docs"
        self.state = root / ".freshd"
        self.config = load(root / "freshd.toml")

    def write(self, name: str, *paragraphs: str) -> None:
        (self.docs / name).write_text("\n\n".join(paragraphs) + "\n")

    def reindex(self) -> Tally:
        with open_whole(self.config, Secrets()) as whole:
            return whole.reindexer().run()[0]

    def dry_run(self) -> tuple[Tally, MeasuringEmbedder]:
        with open_dry_run(self.config) as (whole, _):
            assert isinstance(whole.recipe.embedder, MeasuringEmbedder)
            return whole.reindexer().run()[0], whole.recipe.embedder

    def durable(self) -> dict[str, bytes]:
        """All that freshd remembers, byte for byte."""
        files = (path for path in self.state.rglob("*") if path.is_file())
        return {path.relative_to(self.state).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "docs").mkdir()
    (tmp_path / "freshd.toml").write_text(CONFIG)
    world = World(tmp_path)
    for n in range(6):
        world.write(f"{n}.md", f"# Page {n}", f"This is what page {n} says.", "## More", f"And a second thing, {n}.")
    return world


def first_index(world: World) -> None:
    """Nothing is indexed yet."""


def edits(world: World) -> None:
    world.reindex()
    world.write("0.md", "# Page 0", "This is what page 0 says now.", "## More", "And a second thing, 0.")
    world.write("copy.md", "# Page 1", "This is what page 1 says.", "## More", "And a second thing, 1.")
    world.write("new.md", "# New", "Never seen before.")
    world.write("twin.md", "# New", "Never seen before.")
    (world.docs / "2.md").rename(world.docs / "renamed.md")
    (world.docs / "3.md").unlink()


def too_many_deletions(world: World) -> None:
    world.reindex()
    for n in range(5):
        (world.docs / f"{n}.md").unlink()


@pytest.mark.parametrize("when", [first_index, edits, too_many_deletions], ids=lambda when: when.__name__)
def test_a_dry_run_says_what_the_real_run_then_does_and_changes_nothing(world: World, when):
    when(world)
    before = world.durable()
    said, embedder = world.dry_run()
    assert world.durable() == before
    done = world.reindex()
    assert (said.documents, said.fates, said.embedded_characters, said.errors) == (
        done.documents,
        done.fates,
        done.embedded_characters,
        done.errors,
    )
    assert embedder.texts == done.fates.embedded
    assert (embedder.estimated_seconds() > 0) == (done.fates.embedded > 0)


def test_what_is_not_measured_is_answered_by_the_embedder_itself(clock: ManualClock):
    embedder = SlowEmbedder(clock)
    measuring: Embedder = MeasuringEmbedder(embedder, clock)
    assert (measuring.identity, measuring.dimension, measuring.max_tokens) == (EMBEDDER, 4, 5)
    assert measuring.embed_query("query") == embedder.vector("query")
    assert measuring.sparse_query("query") == embedder.sparse_query("query")
    assert measuring.count_tokens(["one two"]) == [2]
