"""A canary's round through a real source, index and search; the clock and the waiting are the test's own."""

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from connectors.files.writing import MARK
from freshd.admission import Admission
from freshd.canary import Canary, Round, next_round_at
from freshd.errors import DocumentRefused, SourceUnavailable, StoreUnavailable
from freshd.model import DocumentId, SearchFilter, SourceName
from freshd.search import Search
from tests.kit.clock import HandClock, ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import SOURCE, Index, Settings

CANARY = DocumentId("canary.md")
TARGET = timedelta(minutes=1)
ELSEWHERE = SourceName("elsewhere")


class World:
    """Documents, their index, a search that hides the canary, and somebody who reindexes while the canary waits."""

    def __init__(self, base: Path) -> None:
        self.docs = base / "docs"
        self.docs.mkdir()
        (self.docs / "a.md").write_text("Somebody's own text.\n")
        self.clock = HandClock()
        embedder = HashEmbedder()
        self.index = Index(Settings(self.docs, ShiftedClock(), embedder), base / "state")
        self.index.reindex()
        self.search = Search(
            embedder=embedder,
            store=self.index.store,
            admission=Admission(self.index.ledger),
            sources=[SOURCE, ELSEWHERE],
            watermark=lambda _: None,
            canaries=[(SOURCE, CANARY)],
        )
        self.meanwhile: Callable[[], object] = self.index.reindex
        self.texts: Callable[[str], Collection[str]] = self.found
        self.waited: list[float] = []

    def found(self, query: str, where: SearchFilter | None = None) -> list[str]:
        where = where or SearchFilter((SOURCE,), CANARY)
        return [hit.citation.text for hit in self.search.search(query, where=where).hits]

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))
        self.meanwhile()

    def run(self, source: object = None, document_id: DocumentId = CANARY, texts=None) -> Round:
        numbers = count()
        return Canary(
            document_id=document_id,
            source=source or self.index.target.connector,  # type: ignore[arg-type]
            texts=lambda query: (texts or self.texts)(query),
            target=TARGET,
            clock=self.clock,
            wait=self.wait,
            token=lambda: f"word{next(numbers)}",
        ).run()

    def files(self) -> set[str]:
        return {path.name for path in self.docs.iterdir()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.index.close()


def test_a_round_times_writing_editing_and_deleting_and_leaves_nothing(world: World):
    """Here every look is followed by a scan, so each step is seen at the second look."""
    began_at = world.clock.now()
    seen = world.run()
    second = pytest.approx(0.05)
    assert seen == Round(CANARY, began_at, found_s=second, edited_s=second, gone_s=second)
    assert world.files() == {"a.md"}
    assert world.index.store.count() == 1


def test_what_is_timed_ends_when_search_follows_and_not_before(world: World):
    """An index that looks only every third of a minute."""
    due = iter(range(20, 1000, 20))
    next_s = next(due)

    def look_seldom() -> None:
        nonlocal next_s
        if world.clock.monotonic() >= next_s:
            next_s = next(due)
            world.index.reindex()

    world.meanwhile = look_seldom
    seen = world.run()
    assert seen.error is None
    times = (seen.found_s, seen.edited_s, seen.gone_s)
    assert times == (pytest.approx(20, abs=1.1), pytest.approx(20, abs=1.1), pytest.approx(20, abs=1.1))
    assert len(world.waited) < 200


@pytest.mark.parametrize("name", ["canary.md", "canary.rst", "canary.txt", "canary.html"])
def test_every_kind_of_text_will_do(world: World, name: str):
    document = DocumentId(name)
    seen = world.run(document_id=document, texts=lambda query: world.found(query, SearchFilter((SOURCE,), document)))
    assert (seen.error, seen.gone_s) == (None, pytest.approx(0.05))


def test_an_index_that_does_not_follow_is_told_and_the_document_is_taken_away(world: World):
    world.meanwhile = lambda: None
    seen = world.run()
    assert seen.error == "written, but search did not follow within 600 s"
    assert (seen.found_s, seen.edited_s, seen.gone_s) == (None, None, None)
    assert world.files() == {"a.md"}


def test_an_old_text_that_is_still_found_is_no_edit(world: World):
    stale: list[str] = []

    def remembering(query: str) -> list[str]:
        stale.extend(text for text in world.found(query) if "word0" in text)
        return [*world.found(query), *stale]

    world.texts = remembering
    seen = world.run()
    assert seen.error is not None
    assert seen.error.startswith("edited, but search did not follow within")
    assert (seen.found_s, seen.edited_s, seen.gone_s) == (0.05, None, None)


def test_a_deleted_text_that_is_still_found_is_not_gone(world: World):
    frozen: list[str] = []

    def freezing(query: str) -> list[str]:
        frozen[:] = frozen or [text for text in world.found(query) if "word1" in text]
        return frozen or world.found(query)

    world.texts = freezing
    seen = world.run()
    assert seen.error is not None
    assert seen.error.startswith("deleted, but search did not follow within")
    assert seen.edited_s is not None


def test_a_search_that_fails_for_a_while_is_asked_again(world: World):
    def failing(query: str) -> list[str]:
        if world.clock.monotonic() < 30:
            raise StoreUnavailable("store: silent")
        return world.found(query)

    world.texts = failing
    seen = world.run()
    assert seen.error is None
    assert seen.found_s == pytest.approx(30, abs=1)


def test_a_search_that_fails_to_the_end_is_told_as_the_cause(world: World):
    def failing(_: str) -> list[str]:
        raise StoreUnavailable("store: silent")

    world.texts = failing
    assert world.run().error == "written, but search did not follow within 600 s: store: silent"


def test_a_round_that_is_told_to_end_leaves_nothing(world: World):
    def end() -> None:
        raise KeyboardInterrupt

    world.meanwhile = end
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert world.files() == {"a.md"}


def test_what_a_killed_run_left_is_taken_over(world: World):
    (world.docs / CANARY).write_text(f"{MARK}\nOf an earlier run.\n")
    world.index.reindex()
    assert world.run().error is None
    assert world.files() == {"a.md"}
    assert world.index.store.count() == 1


def test_somebody_elses_document_is_left_alone_and_told(world: World):
    (world.docs / CANARY).write_text("Somebody's.\n")
    seen = world.run()
    assert seen.error == "canary.md: is there already and was not written by freshd, which leaves it alone"
    assert (world.docs / CANARY).read_text() == "Somebody's.\n"


class Stubborn:
    """A source that takes a document and lets nobody delete it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, document_id: DocumentId, text: str) -> None:
        """Take it."""

    def delete(self, document_id: DocumentId) -> None:
        raise self._error


@pytest.mark.parametrize("error", [SourceUnavailable("read-only"), DocumentRefused("not ours")], ids=lambda e: str(e))
def test_a_document_that_cannot_be_taken_away_is_told(world: World, error: Exception):
    """Beside what else went wrong."""
    seen = world.run(Stubborn(error))
    assert seen.error == f"written, but search did not follow within 600 s; {error}"


def test_a_fault_of_a_connector_is_told_and_ends_no_thread(world: World):
    seen = world.run(Stubborn(KeyError("no such field")))
    assert str(seen.error).endswith("; got KeyError ('no such field'), expected no error of a connector")


# What users of search see of it


@pytest.fixture
def hatched(world: World) -> World:
    (world.docs / CANARY).write_text(f"{MARK}\nOf this word: xyzzy.\n")
    (world.docs / "canary.md.txt").write_text("Begins alike.\n")
    world.index.reindex()
    return world


@pytest.mark.parametrize(
    "where",
    [
        SearchFilter(),
        SearchFilter((SOURCE,)),
        SearchFilter((SOURCE,), "can"),
        SearchFilter((SOURCE, ELSEWHERE), CANARY),
        SearchFilter((), CANARY),
    ],
    ids=["anywhere", "its source", "the start of its id", "two sources", "every source"],
)
def test_nobody_is_shown_a_canary_who_did_not_ask_for_it(hatched: World, where: SearchFilter):
    found = hatched.found("xyzzy", where)
    assert found
    assert not any("xyzzy" in text for text in found)


def test_who_asks_for_exactly_the_canary_is_shown_it(hatched: World):
    assert any("xyzzy" in text for text in hatched.found("xyzzy", SearchFilter((SOURCE,), CANARY)))


def test_a_document_of_the_same_name_in_another_source_is_no_canary(hatched: World):
    point = next(p for p in hatched.index.store.scroll(None, 9) if "xyzzy" in p.payload["page_content"])
    search = Search(
        embedder=HashEmbedder(),
        store=hatched.index.store,
        admission=Admission(hatched.index.ledger),
        sources=[SOURCE],
        watermark=lambda _: None,
        canaries=[(ELSEWHERE, CANARY)],
    )
    assert point.payload["page_content"] in [hit.citation.text for hit in search.search("xyzzy").hits]


AT = HandClock().now()


@pytest.mark.parametrize(
    ("target", "after"),
    [(timedelta(minutes=1), timedelta(minutes=5)), (timedelta(hours=1), timedelta(hours=1))],
    ids=["a short target", "a long target"],
)
def test_rounds_come_every_five_minutes_or_once_a_target(target: timedelta, after: timedelta):
    assert next_round_at(AT, target) == AT + after
