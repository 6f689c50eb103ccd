"""The ledger held against the store, while nobody writes and while somebody does.

Real SQLite, Qdrant Edge, files and pipeline; what differs is made to differ behind freshd's back.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.errors import StoreUnavailable
from freshd.ledger.proofs import Proofs
from freshd.model import Change, ChangeKind, ChunkId, DocumentId, Point, Relabel
from freshd.ports import Intent, StoredPoint
from freshd.verify import Divergence, Kind, Verified, Verifier, findings, next_verify_at, verifier
from freshd.verify.proof import SHARED, TEXT
from tests.kit.clock import HandClock, ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import SOURCE, Index, Settings, WatchedStore

N_DOCUMENTS = 12
NOBODYS = ChunkId("00000000-0000-0000-0000-000000000000")
"""The lowest id there is: nothing can be asked for before it."""


class LookedAt(WatchedStore):
    """The embedded store; something may be done between two looks at it."""

    before_scroll: Callable[[], object] = staticmethod(lambda: None)
    before_retrieve: Callable[[], object] = staticmethod(lambda: None)
    n_looks = 0

    def scroll(self, after: ChunkId | None, limit: int, *, with_vectors: bool = False) -> list[StoredPoint]:
        self.before_scroll()
        self.n_looks += 1
        return super().scroll(after, limit, with_vectors=with_vectors)

    def retrieve(self, chunk_ids: Sequence[ChunkId], *, with_vectors: bool = False) -> list[StoredPoint]:
        self.before_retrieve()
        self.n_looks += 1
        return super().retrieve(chunk_ids, with_vectors=with_vectors)


class World:
    """Some documents, indexed."""

    def __init__(self, base: Path) -> None:
        self.docs, self.clock, embedder = base / "docs", ShiftedClock(), HashEmbedder()
        self.docs.mkdir()
        self.store = LookedAt(base / "state" / "index", embedder.dimension)
        self.index = Index(Settings(self.docs, self.clock, embedder), base / "state", self.store)
        for n in range(N_DOCUMENTS):
            self.write(f"{n:02}.md", f"Text of number {n}.")
        self.index.reindex()

    def write(self, name: str, *paragraphs: str) -> None:
        (self.docs / name).write_text("".join(f"# Part {n}\n\n{text}\n\n" for n, text in enumerate(paragraphs)))

    def reindex(self) -> None:
        self.index.reindex()

    def verify(self, **parts) -> Verified:
        proofs, clock = parts.pop("proofs", self.index.proofs), parts.pop("clock", self.clock)
        return Verifier(proofs=proofs, store=self.store, making=self.index.making, clock=clock, **parts).run()

    def points(self) -> list[Point]:
        found = self.store.scroll(None, 1000, with_vectors=True)
        return [Point(p.chunk_id, p.dense, p.sparse, p.payload) for p in found]

    def document_of(self, point: Point) -> str:
        return point.payload["metadata"]["document_id"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(verifier, "PAGE", 5)  # so that a dozen points are several pages
    world = World(tmp_path)
    yield world
    world.index.close()


def test_an_index_that_is_as_the_ledger_says_has_no_divergence(world: World):
    verified = world.verify()
    assert verified.checked == N_DOCUMENTS
    assert verified.divergent == {Kind.MISSING: 0, Kind.ORPHANED: 0, Kind.DAMAGED: 0}
    assert (verified.by_source, verified.examples) == ({}, ())


def test_an_empty_index_is_as_it_should_be(tmp_path: Path):
    clock, embedder = ShiftedClock(), HashEmbedder()
    index = Index(Settings(tmp_path / "docs", clock, embedder), tmp_path / "state")
    empty = Verifier(proofs=index.proofs, store=index.store, making=index.making, clock=clock)
    assert empty.run().checked == 0
    index.close()


def test_each_divergent_point_is_counted_and_named(world: World):
    first, second, third, fourth, *_, last = world.points()
    world.store.remove([first.chunk_id, last.chunk_id])
    stranger = replace(second, chunk_id=NOBODYS)
    emptied = replace(third, payload={k: v for k, v in third.payload.items() if k != "page_content"})
    world.store.upsert([stranger, emptied])
    world.store.relabel([Relabel((fourth.chunk_id,), {"content_sha256": "0" * 64})])
    verified = world.verify()
    assert verified.checked == N_DOCUMENTS + 1
    assert verified.divergent == {Kind.MISSING: 2, Kind.ORPHANED: 1, Kind.DAMAGED: 2}
    assert verified.by_source == {SOURCE: 5}
    assert set(verified.examples) == {
        Divergence(Kind.MISSING, first.chunk_id, SOURCE, world.document_of(first)),
        Divergence(Kind.MISSING, last.chunk_id, SOURCE, world.document_of(last)),
        Divergence(Kind.ORPHANED, NOBODYS, SOURCE, world.document_of(second)),
        Divergence(Kind.DAMAGED, third.chunk_id, SOURCE, world.document_of(third), TEXT),
        Divergence(Kind.DAMAGED, fourth.chunk_id, SOURCE, world.document_of(fourth), SHARED),
    }


@pytest.mark.parametrize(
    "payload",
    [
        {"source": "elsewhere"},
        {"freshd": {"document_id": "other.md"}},
        {"freshd": "nothing"},
        {"content_sha256": 7},
        {"page_content": ["no", "text"]},
    ],
    ids=lambda payload: next(iter(payload)),
)
def test_a_point_that_says_something_else_is_damaged(world: World, payload: dict):
    point = world.points()[3]
    world.store.upsert([replace(point, payload={**point.payload, **payload})])
    verified = world.verify()
    assert verified.divergent[Kind.DAMAGED] == 1
    assert verified.examples[0].document_id == world.document_of(point)


def test_a_point_that_names_no_source_is_counted_under_no_name(world: World):
    world.store.upsert([replace(world.points()[0], chunk_id=NOBODYS, payload={"freshd": None})])
    verified = world.verify()
    assert verified.examples == (Divergence(Kind.ORPHANED, NOBODYS, "", ""),)
    assert verified.by_source == {"": 1}


def test_a_point_that_freshd_never_wrote_is_foreign_and_no_divergence(world: World):
    world.store.upsert([replace(world.points()[0], chunk_id=NOBODYS, payload={"text": "somebody else's"})])
    verified = world.verify()
    assert (verified.foreign, verified.examples, verified.checked) == (1, (), N_DOCUMENTS + 1)


def test_a_store_that_lost_everything_is_told_point_by_point(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(findings, "MAX_EXAMPLES", 3)
    world.store.remove([point.chunk_id for point in world.points()])
    verified = world.verify()
    assert verified.divergent[Kind.MISSING] == N_DOCUMENTS
    assert len(verified.examples) == 3


def once(action: Callable[[], object]) -> Callable[[], None]:
    """Act the first time only."""
    left = [action]

    def act() -> None:
        if left:
            left.pop()()

    return act


def everything_changes(world: World) -> None:
    """Edits, additions and deletions, in every page."""
    for n in range(0, N_DOCUMENTS, 3):
        world.write(f"{n:02}.md", f"Text of number {n}.", "And more of it.")
        world.write(f"{n:02}-new.md", f"Something new, number {n}.")
        (world.docs / f"{n + 1:02}.md").unlink()
    world.reindex()


@pytest.mark.parametrize("moment", ["before_scroll", "before_retrieve"])
def test_what_changes_while_it_is_looked_at_is_no_divergence(world: World, moment: str):
    """The ledger's page was read before, the store's after."""
    world.store.remove([world.points()[0].chunk_id])  # so that something is looked at twice
    setattr(world.store, moment, once(lambda: everything_changes(world)))
    verified = world.verify()
    assert sum(verified.divergent.values()) <= 1
    world.store.before_scroll = world.store.before_retrieve = lambda: None
    assert world.verify().divergent == verified.divergent


def test_what_an_attempt_is_about_to_touch_is_no_divergence(world: World):
    """The ids are unknown from the intent on, until the attempt or its repetition is through."""
    point = world.points()[0]
    document = DocumentId(world.document_of(point))
    version = world.index.ledger.revision(SOURCE, document).version
    edit(world, document)
    world.index.ledger.begin([Intent(SOURCE, document, version, frozenset({point.chunk_id, NOBODYS}))])
    world.store.remove([point.chunk_id])
    world.store.upsert([replace(point, chunk_id=NOBODYS)])
    assert sum(world.verify().divergent.values()) == 0


def test_what_a_broken_attempt_left_and_nobody_takes_up_again_is_told(world: World):
    """A feed entry that rolled off stays so, for as long as its source does not show it again."""
    point = world.points()[0]
    document = DocumentId(world.document_of(point))
    world.store.remove([point.chunk_id])
    world.index.ledger.doubt([point.chunk_id], world.clock.now())
    assert sum(world.verify().divergent.values()) == 0
    (pending,) = world.index.ledger.take(world.clock.now(), 9)
    world.index.ledger.defer(pending, "rolled off", world.clock.now() + timedelta(hours=1), quarantine=True)
    assert world.verify().examples == (Divergence(Kind.MISSING, point.chunk_id, SOURCE, document),)


def test_a_kept_passage_that_is_relabelled_just_now_is_no_damage(world: World):
    """Only its document's digest changes, which the ledger learns of when the change is applied."""
    point = world.points()[0]
    world.store.relabel([Relabel((point.chunk_id,), {"content_sha256": "0" * 64})])
    edit(world, DocumentId(world.document_of(point)))
    assert world.verify().divergent[Kind.DAMAGED] == 0


def test_other_damage_is_told_while_an_edit_waits(world: World):
    point = world.points()[0]
    world.store.relabel([Relabel((point.chunk_id,), {"page_content": "Another text."})])
    edit(world, DocumentId(world.document_of(point)))
    assert world.verify().divergent[Kind.DAMAGED] == 1


def edit(world: World, document: DocumentId) -> None:
    """Have an edit of a document wait to be applied."""
    now = world.clock.now()
    ref = next(ref for ref in world.index.target.connector.list() if ref.document_id == document)
    change = Change(SOURCE, document, ChangeKind.MODIFIED, ref._replace(fingerprint="another"), now, now)
    world.index.ledger.record([change], timedelta(minutes=1))


class CommitsMeanwhile:
    """The real ledger; something happens between two questions to it."""

    def __init__(self, proofs: Proofs, before: dict[str, Callable[[], None]]) -> None:
        self._proofs, self._before = proofs, before

    def __getattr__(self, question: str) -> Callable[..., object]:
        self._before.get(question, lambda: None)()
        return getattr(self._proofs, question)


QUESTIONS = [
    ("claims", 1),
    ("claims", 2),
    ("claims_of", 1),
    ("claims_of", 2),
    ("unknown_among", 1),
    ("unknown_among", 2),
    ("in_hand_among", 1),
]


@pytest.mark.parametrize(("question", "nth"), QUESTIONS, ids=lambda value: str(value))
def test_whenever_changes_are_applied_nothing_is_told_that_is_not_so_afterwards(world: World, question: str, nth: int):
    """Between any two questions to the ledger; whoever asks in the wrong order sees one half of a change."""
    points = world.points()
    world.store.remove([point.chunk_id for point in points[::2]])
    world.store.relabel([Relabel(tuple(point.chunk_id for point in points[1::2]), {"content_sha256": "0" * 64})])
    asked = 0

    def change() -> None:
        nonlocal asked
        asked += 1
        if asked == nth:
            everything_changes(world)

    told = set(world.verify(proofs=CommitsMeanwhile(world.index.proofs, {question: change})).examples)
    assert asked >= nth
    assert told
    assert told <= set(world.verify().examples)


def test_a_run_ends_when_it_is_told_to(world: World):
    def stop() -> None:
        if world.store.n_looks > before + 1:
            raise KeyboardInterrupt

    before = world.store.n_looks
    with pytest.raises(KeyboardInterrupt):
        world.verify(go_on=stop)
    assert world.store.n_looks == before + 2


def test_a_store_that_does_not_answer_leaves_nothing_known(world: World):
    def fail() -> None:
        raise StoreUnavailable("store: silent")

    world.store.before_scroll = fail
    with pytest.raises(StoreUnavailable):
        world.verify()


def test_on_schedule_the_store_is_left_alone_most_of_the_time(world: World):
    clock, busy_s, paused_s = HandClock(), 0.0, 0.0

    def answer_slowly() -> None:
        nonlocal busy_s
        busy_s += 0.5
        clock.advance(timedelta(seconds=0.5))

    def pause(seconds: float) -> None:
        nonlocal paused_s
        paused_s += seconds
        clock.advance(timedelta(seconds=seconds))

    world.store.remove([world.points()[0].chunk_id])
    world.store.before_scroll = world.store.before_retrieve = answer_slowly
    verified = world.verify(clock=clock, pause=pause)
    assert busy_s / (busy_s + paused_s) == pytest.approx(verifier.STORE_SHARE)
    assert verified.elapsed.total_seconds() == pytest.approx(busy_s + paused_s)


def test_progress_is_told_page_by_page_and_ends_at_the_total(world: World):
    heard: list[tuple[int, int]] = []
    world.verify(on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(5, 12), (10, 12), (12, 12)]


AT = HandClock().now()


@pytest.mark.parametrize(
    ("took", "is_finished", "after"),
    [
        pytest.param(timedelta(seconds=2), True, timedelta(hours=1), id="quick: an hour later"),
        pytest.param(timedelta(hours=1), True, timedelta(hours=19), id="slow: a twentieth of all time at most"),
        pytest.param(timedelta(hours=1), False, timedelta(minutes=10), id="broke off: soon"),
    ],
)
def test_how_often_is_a_matter_of_how_long_it_takes(took: timedelta, is_finished: bool, after: timedelta):
    assert next_verify_at(AT, took, is_finished=is_finished) == AT + after
