"""What differs is found down to the vectors, and mended without touching anything else.

Real SQLite, Qdrant Edge, files and pipeline; the damage is done behind freshd's back.
"""

import math
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models

from freshd.compose import open_whole
from freshd.compose.verifying import Manner
from freshd.config import Secrets, load
from freshd.guard import Guard
from freshd.model import ChunkId, Point, SourceName, SparseVector, Vector
from freshd.stores.server import ServerStore
from freshd.stores.wire import pack_dense, unpack_dense
from freshd.verify import Divergence, Kind, Repair, Surroundings, Verified, Verifier, repair, verifier
from freshd.verify.proof import HIDDEN, PLACE, SHARED, TERMS, TEXT, VECTOR
from tests import qdrant_standin
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import SOURCE, Index, Settings, WatchedStore
from tests.scripted_server import Reply, ScriptedServer

N_DOCUMENTS = 12
ORPHAN = ChunkId("00000000-0000-0000-0000-000000000007")
FOREIGN = ChunkId("ffffffff-0000-0000-0000-000000000007")


class World:
    """Some documents of several passages, indexed."""

    def __init__(self, base: Path) -> None:
        self.base, self.docs, self.clock, self.embedder = base, base / "docs", ShiftedClock(), HashEmbedder()
        self.docs.mkdir()
        for n in range(N_DOCUMENTS):
            self.write(f"{n:02}.md", f"Text of number {n}.", f"More of {n}.")
        self.index = self.opened()
        self.index.reindex()
        self.embedder.passages.clear()

    def opened(self, name: str = "state") -> Index:
        store = WatchedStore(self.base / name / "index", self.embedder.dimension)
        return Index(Settings(self.docs, self.clock, self.embedder), self.base / name, store)

    def write(self, name: str, *paragraphs: str) -> None:
        text = "".join(f"# Part {n}\n\n{text}\n\n" for n, text in enumerate(paragraphs))
        (self.docs / name).write_text(f"---\ntitle: About {name}\n---\n\n{text}")

    def verifier(self, *, mends: bool = False, deep: bool = True, **parts: Any) -> Verifier:
        index = self.index
        return Verifier(
            proofs=index.proofs,
            store=index.store,
            making=index.making,
            clock=self.clock,
            is_deep=deep,
            is_to_mend=mends,
            **parts,
        )

    def verify(self, *, deep: bool = True) -> Verified:
        return self.verifier(deep=deep).run()

    def repair(
        self,
        *,
        deep: bool = True,
        sources: Sequence[SourceName] = (SOURCE,),
        is_guarded: bool = True,
        before: Callable[[], None] = lambda: None,
    ) -> Verified:
        """Repair as a process does that is alone; `before` each piece of work something may happen."""

        def between_batches(work: Callable[[], None]) -> None:
            before()
            work()

        def look_at(_: Sequence[SourceName]) -> None:
            before()
            self.index.reindex()

        return Repair(
            verifier=self.verifier(mends=True, deep=deep),
            ledger=self.index.ledger,
            proofs=self.index.proofs,
            store=self.index.store,
            guard=Guard(documents=5),
            clock=self.clock,
            surroundings=Surroundings(sources, between_batches, look_at),
            is_guarded=is_guarded,
        ).run()

    def points(self) -> list[Point]:
        found = self.index.store.scroll(None, 1000, with_vectors=True)
        return [Point(p.chunk_id, p.dense or Vector(b""), p.sparse or SparseVector(), p.payload) for p in found]

    def dump(self) -> dict[ChunkId, Point]:
        """Every point with all that is said of it, times included."""
        return {point.chunk_id: point for point in self.points()}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(verifier, "PAGE", 5)  # so that a dozen documents are several pages
    monkeypatch.setattr(repair, "PAGE", 5)
    world = World(tmp_path)
    yield world
    world.index.close()


def document_of(point: Point) -> str:
    return str(point.payload["metadata"]["document_id"])


# What is found


def turned(point: Point) -> Point:
    numbers = list(unpack_dense(point.dense))
    numbers[3] += 2e-3
    return replace(point, dense=Vector(pack_dense(numbers)))


def another_direction(point: Point) -> Point:
    return replace(point, dense=HashEmbedder().embed_query("something else"))


def without_a_term(point: Point) -> Point:
    return replace(point, sparse=SparseVector(point.sparse.indices[1:], point.sparse.values[1:]))


def with_another_weight(point: Point) -> Point:
    return replace(point, sparse=SparseVector(point.sparse.indices, (9.0, *point.sparse.values[1:])))


def with_field(*path: str, value: Any) -> Callable[[Point], Point]:
    def change(point: Point) -> Point:
        payload = dict(point.payload)
        if len(path) == 2:
            payload[path[0]] = {**payload[path[0]], path[1]: value}
        else:
            payload[path[0]] = value
        return replace(point, payload=payload)

    return change


DAMAGES: dict[str, tuple[Callable[[Point], Point], str]] = {
    "vector": (another_direction, VECTOR),
    "a number of the vector": (turned, VECTOR),
    "a term": (without_a_term, TERMS),
    "a weight": (with_another_weight, TERMS),
    "text": (with_field("page_content", value="Text of number 3!"), TEXT),
    "no text": (with_field("page_content", value=None), TEXT),
    "headings": (with_field("metadata", "heading_path", value=["Part 1"]), f"{TEXT}, {PLACE}"),
    "headings of another kind": (with_field("metadata", "heading_path", value=[7]), f"{TEXT}, {PLACE}"),
    "lines": (with_field("metadata", "end_line", value=99), PLACE),
    "ordinal": (with_field("freshd", "ordinal", value=10**9), PLACE),
    "title": (with_field("metadata", "title", value="About nothing"), SHARED),
    "address": (with_field("metadata", "uri", value="file:///etc/passwd"), SHARED),
    "time of the source": (with_field("last_modified", value="2001-01-01T00:00:00Z"), SHARED),
    "source": (with_field("source", value="elsewhere"), "source"),
    "cited source": (with_field("metadata", "source", value="elsewhere"), "metadata.source"),
    "document": (with_field("freshd", "document_id", value="other.md"), "freshd.document_id"),
    "cited document": (with_field("metadata", "document_id", value=""), "metadata.document_id"),
    "name for other tools": (with_field("doc_id", value=[]), "doc_id"),
    "digest": (with_field("freshd", "digest", value="0" * 64), "freshd.digest"),
    "no bookkeeping": (with_field("freshd", value=None), f"{PLACE}, freshd.document_id, freshd.digest"),
    "no citation": (with_field("metadata", value="none"), f"{TEXT}, {PLACE}, {SHARED}"),
    "no time of indexing": (with_field("metadata", "indexed_at", value="sometime"), "metadata.indexed_at"),
}


def test_every_damage_is_found_named_and_mended_and_nothing_else_is_touched(world: World, subtests: pytest.Subtests):
    before = world.dump()
    for n, (name, (damage, what)) in enumerate(DAMAGES.items()):
        with subtests.test(name):
            point = world.points()[n % (2 * N_DOCUMENTS)]
            world.index.store.upsert([damage(point)])
            assert world.index.hits(f"Part 0\nText of number {n}.")  # whatever a payload says, a search is answered
            (found,) = world.verify().examples
            assert found == Divergence(Kind.DAMAGED, point.chunk_id, SOURCE, document_of(point), what)
            mended = world.repair()
            assert (mended.divergent[Kind.DAMAGED], mended.repaired, mended.examples) == (1, 1, ())
            after = world.dump()
            assert without_time(after[point.chunk_id]) == without_time(before[point.chunk_id])
            assert {i: p for i, p in after.items() if i != point.chunk_id} == {
                i: p for i, p in before.items() if i != point.chunk_id
            }
            assert world.repair().repaired == 0
            before = after
    assert world.embedder.passages == []


class OtherProcessor(HashEmbedder):
    """The same model, whose vectors are turned by so much that their cosine with the former ones is less than 1."""

    def __init__(self, off_by: float) -> None:
        super().__init__()
        self._cosine = 1 - off_by

    def embed_query(self, text: str) -> Vector:
        vector, other = (unpack_dense(super(OtherProcessor, self).embed_query(one)) for one in (text, f"not {text}"))
        along = sum(a * b for a, b in zip(vector, other, strict=True))
        aside = [b - along * a for a, b in zip(vector, other, strict=True)]
        length = math.hypot(*aside)
        turn = math.sqrt(1 - self._cosine**2) / length
        return Vector(pack_dense([self._cosine * a + turn * b for a, b in zip(vector, aside, strict=True)]))


@pytest.mark.parametrize(("off_by", "n_damaged"), [(0.0, 0), (9e-4, 0), (1.1e-3, 2 * N_DOCUMENTS)])
def test_another_processor_s_vectors_are_no_damage_up_to_a_bound(world: World, off_by: float, n_damaged: int):
    """The cache is gone, so that every vector is computed anew: a little off as another processor's, or too much."""
    world.index.close()
    for path in (world.base / "state").glob("vectors.db*"):
        path.unlink()
    world.embedder = OtherProcessor(off_by)
    world.index = world.opened()
    before = world.dump()
    found = world.verify()
    assert found.divergent[Kind.DAMAGED] == n_damaged
    assert {one.what for one in found.examples} == ({VECTOR} if n_damaged else set())
    assert len(set(world.embedder.passages)) == 2 * N_DOCUMENTS
    assert world.repair().repaired == n_damaged
    assert (world.dump() == before) is (n_damaged == 0)
    assert world.verify().divergent[Kind.DAMAGED] == 0


def without_time(point: Point) -> Point:
    """A point but for when it was indexed, which is another moment where its text came from its source again."""
    cited = {name: value for name, value in point.payload["metadata"].items() if name != "indexed_at"}
    return replace(point, payload={**point.payload, "metadata": cited})


def test_vectors_are_proved_by_the_model_where_the_cache_forgot_them(world: World):
    world.index.close()
    (world.base / "state/vectors.db").unlink()
    world.index = world.opened()
    assert world.verify().examples == ()
    assert len(set(world.embedder.passages)) == 2 * N_DOCUMENTS
    point = world.points()[5]
    world.index.store.upsert([another_direction(point)])
    assert [one.what for one in world.verify().examples] == [VECTOR]
    assert world.repair().repaired == 1
    assert world.verify().examples == ()


def test_looking_at_vectors_keeps_none_of_them_from_being_forgotten(world: World):
    def used() -> list[tuple[int]]:
        with sqlite3.connect(world.base / "state/vectors.db") as database:
            return database.execute("SELECT used_at FROM vectors ORDER BY seq").fetchall()

    before = used()
    world.clock.advance(timedelta(hours=3))
    world.verify()
    assert used() == before


def test_without_deep_vectors_are_not_looked_at(world: World):
    world.index.store.upsert([another_direction(world.points()[0])])
    assert world.verify(deep=False).examples == ()


@pytest.mark.parametrize("how", ["search_dense", "search_sparse"])
def test_a_point_that_is_whole_but_found_by_no_search_is_damaged(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
):
    """As when the engine's index of payload fields is torn: every search goes through that."""
    hidden = world.points()[4]
    search = getattr(world.index.store, how)
    monkeypatch.setattr(
        world.index.store, how, lambda *asked: [m for m in search(*asked) if m.chunk_id != hidden.chunk_id]
    )
    assert world.verify(deep=False).examples == ()
    assert world.verify().examples == (Divergence(Kind.DAMAGED, hidden.chunk_id, SOURCE, document_of(hidden), HIDDEN),)


# What is mended


def wreck(world: World) -> None:
    """A bit of everything, in every page."""
    points = world.points()
    world.index.store.remove([point.chunk_id for point in points[::7]])
    world.index.store.upsert([replace(points[1], chunk_id=ORPHAN)])
    world.index.store.upsert([turned(points[2]), DAMAGES["text"][0](points[3]), DAMAGES["title"][0](points[10])])


@pytest.mark.parametrize("deep", [True, False], ids=["deep", "shallow"])
def test_a_repair_makes_the_index_what_it_was_and_a_second_one_finds_nothing(world: World, deep: bool):
    before = {chunk_id: without_time(point) for chunk_id, point in world.dump().items()}
    wreck(world)
    foreign = replace(world.points()[1], chunk_id=FOREIGN, payload={"text": "somebody else's"})
    world.index.store.upsert([foreign])
    mended = world.repair()
    assert mended.divergent == {Kind.MISSING: 4, Kind.ORPHANED: 1, Kind.DAMAGED: 3}
    assert (mended.repaired, mended.examples, mended.by_source, mended.foreign) == (8, (), {}, 1)
    after = world.dump()
    assert after.pop(FOREIGN).payload == foreign.payload
    assert {chunk_id: without_time(point) for chunk_id, point in after.items()} == before
    writes = world.index.store.writes
    again = world.repair(deep=deep)
    assert (sum(again.divergent.values()), again.repaired, again.foreign) == (0, 0, 1)
    assert world.index.store.writes == writes
    assert world.embedder.passages == []


def test_a_repair_without_deep_mends_what_it_sees(world: World):
    before = world.dump()
    points = world.points()
    world.index.store.remove([points[0].chunk_id])
    world.index.store.upsert([DAMAGES["digest"][0](points[5])])
    assert world.repair(deep=False).repaired == 2
    after = world.dump()
    assert {i: without_time(p) for i, p in after.items()} == {i: without_time(p) for i, p in before.items()}


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_repair_interrupted_at_any_step_is_finished_by_the_next(world: World, nth: int):
    before = {chunk_id: without_time(point) for chunk_id, point in world.dump().items()}
    wreck(world)
    steps = 0

    def interrupt() -> None:
        nonlocal steps
        steps += 1
        if steps == nth:
            raise KeyboardInterrupt

    try:
        world.repair(before=interrupt)
    except KeyboardInterrupt:
        assert steps == nth
    world.index.close()
    world.index = world.opened()
    world.index.reindex()  # what was doubted waits, for any run to put it back
    world.repair()
    assert world.verify().examples == ()
    assert {chunk_id: without_time(point) for chunk_id, point in world.dump().items()} == before
    assert world.embedder.passages == []


def test_a_point_is_not_written_again_if_it_changed_since_it_was_looked_at(world: World):
    point = next(point for point in world.points() if document_of(point) == "03.md")
    world.index.store.upsert([another_direction(point)])

    def edit() -> None:
        world.write("03.md", "Another text.")
        world.index.reindex()

    world.repair(before=edit)
    assert point.chunk_id not in world.dump()
    assert world.verify().examples == ()


def test_an_orphan_that_the_ledger_learns_of_meanwhile_stays(world: World):
    """The writer asks again: by then a new document may bear the id."""
    wanted = next(point for point in world.points() if document_of(point) == "03.md")
    (world.docs / "03.md").rename(world.base / "03.md")
    world.index.reindex()
    world.index.store.upsert([wanted])
    assert world.verify().divergent[Kind.ORPHANED] == 1

    def come_back() -> None:
        if not (world.docs / "03.md").exists():
            (world.base / "03.md").rename(world.docs / "03.md")
            world.index.reindex()

    assert world.repair(before=come_back).repaired == 1
    assert wanted.chunk_id in world.dump()
    assert world.verify().examples == ()


# What only a source can tell, and what none can


def test_a_document_of_no_configured_source_keeps_what_its_payload_proves(world: World):
    first, second, *_ = world.points()
    world.index.store.upsert([another_direction(first), DAMAGES["text"][0](second)])
    mended = world.repair(sources=())
    assert (mended.divergent[Kind.DAMAGED], mended.repaired) == (2, 1)
    (left,) = mended.examples
    assert left == Divergence(
        Kind.DAMAGED, second.chunk_id, SOURCE, document_of(second), f"{TEXT}: its source is not in the config"
    )
    assert [one.chunk_id for one in world.verify().examples] == [second.chunk_id]


def test_a_document_that_cannot_be_read_is_told_with_the_reason_until_it_can(world: World):
    point = next(point for point in world.points() if document_of(point) == "03.md")
    world.index.store.upsert([DAMAGES["text"][0](point)])
    text = (world.docs / "03.md").read_text()
    (world.docs / "03.md").write_bytes(b"\0\0\0binary")
    for _ in range(2):
        mended = world.repair()
        assert (mended.repaired, mended.by_source) == (0, {SOURCE: 1})
        assert mended.examples[0].what.startswith(f"{TEXT}: ")
        assert world.verify().divergent[Kind.DAMAGED] == 1
    (world.docs / "03.md").write_text(text)
    assert world.repair().repaired == 1
    assert world.verify().examples == ()


# A ledger that knows less than the store


def with_former_ledger(world: World, change: Callable[[], None]) -> None:
    """Change documents, index them, then bring back the ledger as it was before."""
    world.index.close()
    shutil.copy(world.base / "state/ledger.db", world.base / "ledger.db")
    world.index = world.opened()
    change()
    world.index.reindex()
    world.index.close()
    for file in (world.base / "state").glob("ledger.db*"):
        file.unlink()
    shutil.copy(world.base / "ledger.db", world.base / "state/ledger.db")
    world.index = world.opened()
    world.embedder.passages.clear()


def test_a_ledger_restored_from_an_old_backup_converges_to_an_index_made_from_scratch(world: World):
    def change() -> None:
        world.write("00.md", "Text of number 0.", "Something else.")
        world.write("new.md", "A new one.")
        (world.docs / "01.md").unlink()

    with_former_ledger(world, change)
    found = world.verify()
    assert found.divergent == {Kind.MISSING: 3, Kind.ORPHANED: 2, Kind.DAMAGED: 1}
    mended = world.repair()
    assert (mended.repaired, mended.held) == (6, 0)
    scratch = world.opened("scratch")
    scratch.reindex()
    assert scratch.contents() == world.index.contents()
    scratch.close()
    assert world.verify().examples == ()


def test_a_mass_of_orphans_is_adopted_by_a_look_at_the_source_not_deleted(world: World):
    """The ledger is from before the first index."""
    before = {chunk_id: without_time(point) for chunk_id, point in world.dump().items()}
    instance = world.index.ledger.instance
    forget_everything(world)
    assert world.index.ledger.instance == instance
    found = world.verify()
    assert found.divergent[Kind.ORPHANED] == 2 * N_DOCUMENTS
    mended = world.repair()
    assert (mended.repaired, mended.held) == (2 * N_DOCUMENTS, 0)
    assert {chunk_id: without_time(point) for chunk_id, point in world.dump().items()} == before
    assert world.embedder.passages == []


def test_what_no_source_shows_any_more_is_held_where_it_is_much_and_removed_when_approved(world: World):
    forget_everything(world)
    kept = world.docs / "00.md"
    for file in world.docs.iterdir():
        if file != kept:
            file.unlink()
    before = world.dump().keys()
    mended = world.repair()
    n_held = 2 * (N_DOCUMENTS - 1)
    assert (mended.repaired, mended.held, mended.left[Kind.ORPHANED]) == (2, n_held, n_held)
    assert mended.examples[0].what == repair.HELD
    assert world.dump().keys() == before
    approved = world.repair(is_guarded=False)
    assert (approved.repaired, approved.held) == (n_held, 0)
    assert {document_of(point) for point in world.points()} == {"00.md"}
    assert world.verify().examples == ()


def forget_everything(world: World) -> None:
    """Leave the ledger as it was before the first look, but for whose it is."""
    world.index.close()
    with sqlite3.connect(world.base / "state/ledger.db") as ledger:
        for table in ("documents", "chunks", "pending", "unknown", "sources", "trail", "history"):
            ledger.execute(f"DELETE FROM {table}")
    ledger.close()
    world.index = world.opened()
    world.embedder.passages.clear()


def test_orphans_are_counted_by_document(world: World):
    """Twenty orphans of one document are one lost document."""
    point = world.points()[0]
    strays = [replace(point, chunk_id=ChunkId(f"00000000-0000-0000-0000-{n:012}")) for n in range(20)]
    world.index.store.upsert(strays)
    mended = world.repair()
    assert (mended.repaired, mended.held) == (20, 0)
    assert world.verify().examples == ()


# What a window does not show any more


def entries(*numbers: int) -> Reply:
    items = "".join(f"<item><guid>{n}</guid><description>Text {n}.</description></item>" for n in numbers)
    feed = f'<rss version="2.0"><channel><title>News</title>{items}</channel></rss>'
    return Reply(200, feed.encode(), {"Content-Type": "application/rss+xml"})


def test_of_an_entry_that_rolled_off_is_mended_what_its_payload_proves_and_the_rest_is_told(tmp_path: Path):
    with ScriptedServer() as server:
        (tmp_path / "freshd.toml").write_text(
            f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
            f'allow_private_hosts = ["{server.host}"]\n'
        )
        server.on("/feed", entries(0, 1, 2))
        with open_whole(load(tmp_path / "freshd.toml"), Secrets()) as whole:
            whole.reindexer().run()
            server.on("/feed", entries(0))
            whole.reindexer().run()
            found = whole.store.scroll(None, 9, with_vectors=True)
            points = {p.payload["page_content"]: Point(p.chunk_id, p.dense, p.sparse, p.payload) for p in found}
            shown, proved, lost = (points[f"Text {n}."] for n in range(3))
            text = with_field("page_content", value="Nothing.")
            whole.store.upsert([text(shown), replace(proved, dense=shown.dense), text(lost)])
            for _ in range(2):
                mended = whole.repair(Manner(is_deep=True))
                (left,) = mended.examples
                assert (left.kind, left.chunk_id) == (Kind.DAMAGED, lost.chunk_id)
                assert left.what.startswith(f"{TEXT}: ")
                assert "rolled off" in left.what
            after = {p.chunk_id: p for p in whole.store.scroll(None, 9, with_vectors=True)}
            assert after[proved.chunk_id].dense == proved.dense
            assert after[proved.chunk_id].payload == proved.payload
            assert after[shown.chunk_id].payload["page_content"] == "Text 0."
            assert whole.sources.state(SourceName("news")).quarantined == 1
            assert sum(whole.verify(Manner(is_deep=True)).left.values()) == 1


# Whoever else writes into a collection


def test_points_of_somebody_else_that_bear_numbers_are_walked_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Numbers come before all other ids, and no page may end on one for good."""
    monkeypatch.setattr(verifier, "PAGE", 2)
    docs, clock, embedder = tmp_path / "docs", ShiftedClock(), HashEmbedder()
    docs.mkdir()
    for n in range(3):
        (docs / f"{n}.md").write_text(f"Text of number {n}.\n")
    with qdrant_standin.serving() as server:
        store = ServerStore(server.url, "knowledge", embedder.dimension)
        index = Index(Settings(docs, clock, embedder), tmp_path / "state", store)
        index.reindex()
        ours = [point.id for point in server.client.scroll("knowledge")[0]]
        vector = {"": [1.0] * embedder.dimension, "bm25": models.SparseVector(indices=[], values=[])}
        theirs = [models.PointStruct(id=n, vector=vector, payload={"text": "theirs"}) for n in range(5)]
        server.client.upsert("knowledge", theirs)
        verified = Verifier(proofs=index.proofs, store=store, making=index.making, clock=clock, is_deep=True).run()
        assert (verified.checked, verified.foreign, verified.examples) == (8, 5, ())
        assert {point.id for point in server.client.scroll("knowledge")[0]} == {*ours, *range(5)}
        index.close()


LEFT = {
    "no vector": {},
    "the dense one": {"": [1.0] + [0.0] * 31},
    "the terms": {"bm25": models.SparseVector(indices=[7], values=[1.0])},
}


@pytest.mark.parametrize("left", LEFT)
def test_a_point_that_has_not_all_its_vectors_is_looked_at_as_any_other(left: str, tmp_path: Path):
    """A server takes points so, and takes vectors away from others, whoever asks it to."""
    docs, clock, embedder = tmp_path / "docs", ShiftedClock(), HashEmbedder()
    docs.mkdir()
    (docs / "a.md").write_text("Some text.\n")
    with qdrant_standin.serving() as server:
        store = ServerStore(server.url, "knowledge", embedder.dimension)
        index = Index(Settings(docs, clock, embedder), tmp_path / "state", store)
        index.reindex()
        (ours,) = server.client.scroll("knowledge")[0]
        for id_, payload in ((7, {"text": "theirs"}), (ours.id, ours.payload)):
            server.client.upsert("knowledge", [models.PointStruct(id=id_, vector=LEFT[left], payload=payload)])
        found = Verifier(proofs=index.proofs, store=store, making=index.making, clock=clock, is_deep=True).run()
        assert (found.checked, found.foreign, found.divergent[Kind.DAMAGED]) == (2, 1, 1)
        index.close()
