"""Searchable means found: what was written is read back the way a search does, before the ledger calls it applied.

Real files, SQLite and Qdrant Edge; the store is made to lose what it was given, or to keep what it should let go.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.admission import Admission, Switch
from freshd.errors import StoreUnavailable
from freshd.model import ChunkId, Digest, Match, Outcome, OutcomeKind, Pending, Point, SearchFilter, Vector
from freshd.parsers import Parsers
from freshd.pipeline import Pipeline, Recipe
from freshd.pipeline.plan import PROVED_BACKFILL, PROVED_URGENT
from freshd.ports import StoredPoint
from freshd.ports.proof import Divergent, Expected, Proof
from freshd.search import Search, SearchProof
from freshd.search import proof as search_proof
from freshd.vectors import SqliteVectorCache
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import SOURCE, Index, Settings, WatchedStore

KEYS, TRAINS, LEAVE = (
    "A lost key is reported to the porter within one hour, also at night.",
    "Trains are booked by the office, flights need the consent of the team lead.",
    "Everybody has twenty-eight days of leave a year, and five more after ten years.",
)


class FaultyStore(WatchedStore):
    """The embedded store; loses what it took, keeps what it should remove, overlooks, remembers, falls silent."""

    loses: Callable[[Point], bool] = staticmethod(lambda _: False)
    overlooks: Callable[[StoredPoint], bool] = staticmethod(lambda _: False)
    ghosts: Sequence[Match] = ()
    is_silent = False
    keeps_everything = False

    def upsert(self, points: Sequence[Point]) -> None:
        super().upsert([point for point in points if not self.loses(point)])

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        super().remove([] if self.keeps_everything else chunk_ids)

    def search_dense(self, vector: Vector, limit: int, where: SearchFilter) -> list[Match]:
        if self.is_silent:
            raise StoreUnavailable("store: silent")
        found = super().search_dense(vector, limit + 10, where)
        hidden = {point.chunk_id for point in self.retrieve([one.chunk_id for one in found]) if self.overlooks(point)}
        return [*self.ghosts, *(match for match in found if match.chunk_id not in hidden)][:limit]


class Recording(Pipeline):
    """The pipeline; remembers what became of changes."""

    outcomes: Sequence[Outcome] = ()

    def run(self, batch: Sequence[Pending], *arguments, **bounds) -> list[Outcome]:
        found = super().run(batch, *arguments, **bounds)
        self.outcomes = [*self.outcomes, *found]
        return found


class Proved:
    """An index whose pipeline reads back what it wrote."""

    def __init__(self, base: Path, proof: Proof | None = None, admission: type[Admission] = Admission) -> None:
        self.docs = base / "docs"
        self.docs.mkdir()
        self.clock, self.embedder = ShiftedClock(), HashEmbedder()
        settings = Settings(self.docs, self.clock, self.embedder)
        self.store = FaultyStore(base / "state" / "index", self.embedder.dimension)
        self.index = Index(settings, base / "state", self.store)
        self.admission = admission(self.index.ledger)
        self.proof = SearchProof(self.store, self.admission, self.embedder.dimension)
        self.cache = SqliteVectorCache(base / "state" / "proved.db", clock=self.clock)
        self.index.pipeline = self.pipeline = Recording(
            connectors={SOURCE: self.index.target.connector},
            recipe=Recipe(Parsers(), settings.limits, self.embedder, Digest("ab" * 32)),
            cache=self.cache,
            store=self.store,
            ledger=self.index.ledger,
            admission=self.admission,
            clock=self.clock,
            proof=proof or self.proof,
        )
        self.index.search = Search(
            embedder=self.embedder,
            store=self.store,
            admission=self.admission,
            sources=[SOURCE],
            watermark=lambda _: None,
        )

    def write(self, name: str, *paragraphs: str) -> None:
        """Write each paragraph as a section of its own, so that it becomes a passage, equal to others of its text."""
        (self.docs / name).write_text("\n".join(f"# {text.split()[0]}\n\n{text}\n" for text in paragraphs))

    def run(self) -> list[str]:
        """Look and apply, as after a pause in which whatever was put off became due; give what failed and why."""
        self.clock.advance(timedelta(hours=2))
        self.pipeline.outcomes = ()
        self.index.reindex()
        return [str(outcome.error) for outcome in self.pipeline.outcomes if outcome.kind is OutcomeKind.FAILED]

    def n_applied(self) -> int:
        """How many changes of the last run came to a good end."""
        return sum(outcome.kind is not OutcomeKind.FAILED for outcome in self.pipeline.outcomes)

    def shown(self) -> set[tuple[str, str]]:
        """Every passage that search shows, with its document."""
        return {(document, text) for document, _, text, _ in self.index.hits("anything")}

    def counts(self) -> dict[str, int]:
        return {kind: number for (_, kind), number in self.proof.counts.items()}

    def close(self) -> None:
        self.cache.close()
        self.index.close()


@pytest.fixture
def proved(tmp_path: Path) -> Iterator[Proved]:
    """One document of two sections, indexed; what is done from now on is urgent."""
    proved = Proved(tmp_path)
    proved.write("a.md", KEYS, TRAINS)
    proved.run()
    assert proved.shown() == {("a.md", KEYS), ("a.md", TRAINS)}
    yield proved
    proved.close()


def test_every_kind_of_change_is_found_as_it_should_be(proved: Proved):
    proved.write("b.md", LEAVE)
    proved.write("empty.md")
    proved.run()
    (proved.docs / "b.md").rename(proved.docs / "c.md")
    proved.write("a.md", TRAINS)
    proved.run()
    (proved.docs / "c.md").unlink()
    proved.run()
    assert proved.shown() == {("a.md", TRAINS)}
    assert proved.counts() == {"found": 6}


def test_what_the_store_lost_is_a_failure_and_the_former_revision_stays_whole(proved: Proved):
    """Never half of the new revision, and nothing of the old one is removed before the new one is found."""
    proved.store.loses = lambda point: LEAVE in point.payload["page_content"]
    proved.write("a.md", KEYS, LEAVE)
    assert proved.run() == ["a.md: was written, but a search for its text does not find it"]
    assert proved.shown() == {("a.md", KEYS), ("a.md", TRAINS)}
    assert proved.counts() == {"found": 1, "missing": 1}


def test_what_was_not_found_is_written_again_until_it_is(proved: Proved):
    proved.store.loses = lambda _: True
    proved.write("a.md", KEYS, LEAVE)
    for _ in range(4):
        assert len(proved.run()) == 1
    proved.store.loses = lambda _: False
    assert proved.run() == []
    assert proved.shown() == {("a.md", KEYS), ("a.md", LEAVE)}
    assert proved.index.sources.state(SOURCE).pending == 0


def test_a_kept_passage_that_the_store_lost_is_missed_and_written_again(proved: Proved):
    """Nothing new has to be written for the edit; the whole document is, because none of it is trusted any more."""
    kept = next(hit for hit in proved.store.scroll(None, 10) if hit.payload["page_content"] == KEYS)
    proved.store.remove([kept.chunk_id])
    proved.write("a.md", KEYS)
    n_embedded = len(proved.embedder.passages)
    assert len(proved.run()) == 1
    assert proved.run() == []
    assert proved.shown() == {("a.md", KEYS)}
    assert len(proved.embedder.passages) == n_embedded


def test_a_deletion_that_the_store_did_not_do_is_no_success_and_yet_not_shown(proved: Proved):
    proved.store.keeps_everything = True
    (proved.docs / "a.md").unlink()
    assert proved.run() == ["a.md: what was removed of it is still found"]
    assert proved.n_applied() == 0
    assert proved.shown() == set()
    assert proved.index.sources.state(SOURCE).documents == 1
    proved.store.keeps_everything = False
    assert proved.run() == []
    assert proved.store.count() == 0
    assert proved.counts() == {"found": 2, "orphaned": 1}


def test_a_move_that_left_its_old_place_behind_is_no_success_and_shows_the_new_place_only(proved: Proved):
    """Once the move has failed, the deletion of the old place waits for its next attempt."""
    proved.store.keeps_everything = True
    (proved.docs / "a.md").rename(proved.docs / "b.md")
    assert proved.run() == ["b.md: what was removed of it is still found"]
    assert proved.shown() == {("b.md", KEYS), ("b.md", TRAINS)}
    proved.store.keeps_everything = False
    proved.run()
    assert proved.shown() == {("b.md", KEYS), ("b.md", TRAINS)}
    assert proved.store.count() == 2


def test_an_edit_whose_old_text_stays_in_the_store_is_no_success(proved: Proved):
    """Who opens Qdrant directly would find it."""
    proved.store.keeps_everything = True
    proved.write("a.md", KEYS, LEAVE)
    assert len(proved.run()) == 1
    assert proved.shown() == {("a.md", KEYS), ("a.md", LEAVE)}


def test_a_passage_that_is_there_but_not_found_is_a_failure(proved: Proved):
    """To be read by its id is not to be found."""
    proved.store.overlooks = lambda point: point.payload["page_content"] == LEAVE
    proved.write("a.md", KEYS, LEAVE, "Whoever is ill calls before nine.")
    for _ in range(2):  # what is written whole at the second time is still judged by what is new in it
        assert proved.run() == ["a.md: was written, but a search for its text does not find it"]
    proved.store.overlooks = lambda _: False
    assert proved.shown() == {("a.md", KEYS), ("a.md", TRAINS)}


def test_a_deleted_passage_that_is_still_found_is_a_failure(proved: Proved):
    """A search that remembers what is gone, although no id leads to it."""
    point = proved.store.scroll(None, 1)[0]
    proved.store.ghosts = [Match(point.chunk_id, 1.0)]
    (proved.docs / "a.md").unlink()
    assert proved.run() == ["a.md: what was removed of it is still found"]


class Unmoved(Admission):
    """Shows what the ledger applied and forgets every switch."""

    def switch(self, switches: Iterable[Switch]) -> None:
        """Do nothing."""


def test_a_passage_that_is_found_but_may_not_be_shown_is_a_failure(tmp_path: Path):
    proved = Proved(tmp_path, admission=Unmoved)
    proved.write("a.md", KEYS)
    assert proved.run() == ["a.md: was written, but search does not show it"]
    assert proved.counts() == {"hidden": 1}
    proved.close()


@pytest.mark.parametrize("n_edits", [1, 2 * PROVED_URGENT], ids=["read back", "not read back"])
def test_a_point_that_is_gone_from_the_store_stops_nothing(proved: Proved, n_edits: int):
    """The edit has to renew what the lost point says of its document, which no store does that does not hold it."""
    names = [f"b{n:02}.md" for n in range(n_edits)]
    for name in names:
        proved.write(name, KEYS, TRAINS)
    proved.run()
    lost = [
        point.chunk_id
        for point in proved.store.scroll(None, 1000)
        if (point.payload["metadata"]["document_id"], point.payload["page_content"]) == (names[-1], TRAINS)
    ]
    proved.store.remove(lost)
    for name in names:
        proved.write(name, KEYS, TRAINS, LEAVE)
    assert [error.split(":")[0] for error in proved.run()] == names[-1:]
    assert proved.n_applied() == n_edits - 1
    assert proved.run() == []
    assert {(names[-1], text) for text in (KEYS, TRAINS, LEAVE)} <= proved.shown()


def test_a_document_that_diverges_holds_up_no_other(proved: Proved):
    proved.store.loses = lambda point: point.payload["metadata"]["document_id"] == "b.md"
    for name in ("b.md", "c.md", "d.md"):
        proved.write(name, LEAVE)
    assert (len(proved.run()), proved.n_applied()) == (1, 2)
    assert {document for document, _ in proved.shown()} == {"a.md", "c.md", "d.md"}


@pytest.fixture
def alike(proved: Proved) -> Proved:
    """A document among two hundred passages of the same text, under ids that begin like its own."""
    for n in range(70):
        proved.write(f"b.md.{n}.md", *[LEAVE] * 3)
    assert (proved.run(), proved.n_applied()) == ([], 70)
    return proved


def test_equal_texts_under_ids_that_begin_alike_are_no_false_alarm(alike: Proved):
    alike.write("b.md", LEAVE)
    assert (alike.run(), alike.n_applied()) == ([], 1)


def test_equal_texts_under_ids_that_begin_alike_do_not_stand_for_one_another(alike: Proved):
    alike.store.overlooks = lambda point: point.payload["metadata"]["document_id"] == "b.md"
    alike.write("b.md", LEAVE)
    assert len(alike.run()) == 1


def test_where_no_search_can_single_a_passage_out_its_id_does(proved: Proved, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search_proof, "_DEPTHS", (1, 2))
    for n in range(8):
        proved.write("b.md" + f".{n}.md" * (n > 0), *[LEAVE] * 3)
    assert (proved.run(), proved.n_applied()) == ([], 8)
    proved.store.loses = lambda point: point.payload["metadata"]["document_id"] == "b.md"
    proved.write("b.md", *[LEAVE] * 4)
    assert len(proved.run()) == 1


def test_a_store_that_falls_silent_while_it_is_asked_leaves_the_change_pending(proved: Proved):
    proved.write("a.md", KEYS, LEAVE)
    proved.store.is_silent = True
    with pytest.raises(StoreUnavailable, match="silent"):
        proved.run()
    proved.store.is_silent = False
    assert proved.shown() == {("a.md", KEYS), ("a.md", TRAINS)}
    proved.run()
    assert proved.shown() == {("a.md", KEYS), ("a.md", LEAVE)}


class Asked:
    """Remembers what was to be proved and believes all of it."""

    def __init__(self) -> None:
        self.documents: list[str] = []

    def missing(self, expected: Sequence[Expected]) -> Divergent:
        self.documents += [one.document_id for one in expected]
        return {}

    def orphaned(self, expected: Sequence[Expected]) -> Divergent:
        return {}


def test_of_many_changes_at_once_so_many_are_proved_as_is_promised(tmp_path: Path):
    asked = Asked()
    proved = Proved(tmp_path, asked)
    names = [f"{n:02}.md" for n in range(2 * PROVED_BACKFILL + 1)]
    for name in names:
        proved.write(name, f"{KEYS} {name}")
    proved.run()
    assert asked.documents == names[::PROVED_BACKFILL]
    asked.documents.clear()
    for name in names[: 2 * PROVED_URGENT]:
        proved.write(name, f"{TRAINS} {name}")
    proved.run()
    assert sorted(asked.documents) == names[: 2 * PROVED_URGENT : 2]
    proved.close()
