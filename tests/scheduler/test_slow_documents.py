"""A document that takes long to parse delays itself: edits go on, and it is applied once its parser is through."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.errors import DocumentBusy
from freshd.model import Change, ChangeKind, Document, DocumentId, ParsedDocument, Vector
from freshd.parsers import Parsers
from freshd.pipeline import MAX_BATCH_CHUNKS
from freshd.scheduler import indexer as indexer_room
from tests.scheduler.parts import SOURCE, TARGET, Bench, Gate, eventually
from tests.scheduler.test_indexer import BOOK

SECONDS = timedelta(seconds=4)


class BusyParsers(Parsers):
    """Asks to come back for some documents until they are let go."""

    def __init__(self) -> None:
        self.slow: set[str] = set()
        self.is_at_it = True
        self.asked: list[str] = []

    def parse(self, document: Document) -> ParsedDocument:
        self.asked.append(document.ref.document_id)
        if document.ref.document_id in self.slow:
            raise DocumentBusy("is still being parsed", is_at_it=self.is_at_it)
        return super().parse(document)


@pytest.fixture
def parsers() -> BusyParsers:
    return BusyParsers()


@pytest.fixture
def bench(tmp_path: Path, parsers: BusyParsers) -> Iterator[Bench]:
    made = Bench(tmp_path, parsers)
    yield made
    made.close()


def edit(bench: Bench, *names: str) -> None:
    for name in names:
        bench.source.write(name, f"# New\n\nNew text of {name}.\n")
    bench.scanner.look(dict.fromkeys(names, bench.clock.now()))


def test_an_edit_is_applied_while_another_document_is_still_being_parsed(bench: Bench, parsers: BusyParsers):
    bench.index_all(["a.md", "slow.md"])
    parsers.slow.add("slow.md")
    edit(bench, "slow.md", "a.md")
    bench.apply()
    assert [outcome.change.document_id for outcome, _ in bench.outcomes] == ["a.md"]
    assert bench.pending() == {"slow.md": "modified"}
    assert not bench.sources.state(SOURCE).quarantined


def test_it_is_come_back_for_and_no_attempt_was_counted(bench: Bench, parsers: BusyParsers):
    bench.index_all(["slow.md"])
    parsers.slow.add("slow.md")
    edit(bench, "slow.md")
    with bench.running():
        for _ in range(5):  # more often than a failing document is tried
            n_asked = len(parsers.asked)
            eventually(lambda n=n_asked: bench.clock.advance(SECONDS) or len(parsers.asked) > n)
        parsers.slow.clear()
        eventually(lambda: bench.clock.advance(SECONDS) or not bench.pending())
    (outcome, pending) = bench.outcomes[-1]
    assert (outcome.change.document_id, outcome.error, pending.attempts) == ("slow.md", None, 0)


def test_a_first_index_waits_for_it_and_lets_edits_through(bench: Bench, parsers: BusyParsers):
    parsers.slow.add("slow.md")
    bench.source.write("slow.md")
    bench.scan()  # the first listing: backfill
    with bench.running() as indexer:
        eventually(lambda: len(parsers.asked) > 3)
        bench.marks.put(bench.scan())
        edit(bench, "edited.md")
        indexer.wake()
        eventually(lambda: "edited.md" in bench.store.documents())
        assert "slow.md" not in bench.store.documents()
        parsers.slow.clear()
        eventually(lambda: "slow.md" in bench.store.documents())


def test_it_does_not_wait_for_a_book_that_is_embedded_when_its_parser_is_through(
    bench: Bench, parsers: BusyParsers, monkeypatch: pytest.MonkeyPatch
):
    """The book is of a first index, and nothing else changes meanwhile."""
    monkeypatch.setattr(indexer_room, "_IDLE_S", 0.0)
    bench.index_all(["slow.md"])
    bench.source.write("book.md", BOOK)
    parsers.slow.add("slow.md")
    embed = bench.embedder.embed_passages

    def embed_meanwhile(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for n, embedded in enumerate(embed(texts)):
            if n == 10 and len(texts) > MAX_BATCH_CHUNKS:
                edit(bench, "slow.md")
                indexer.wake()
            elif n == 20:
                parsers.slow.clear()
                bench.clock.advance(SECONDS)
            yield embedded

    monkeypatch.setattr(bench.embedder, "embed_passages", embed_meanwhile)
    name, now = DocumentId("book.md"), bench.clock.now()
    with bench.running() as indexer:
        bench.ledger.record([Change(SOURCE, name, ChangeKind.ADDED, bench.source.ref(name), now, now)], None)
        indexer.wake()
        eventually(lambda: len(bench.outcomes) == 2)
    assert [outcome.change.document_id for outcome, _ in bench.outcomes] == ["slow.md", "book.md"]


def test_a_first_index_goes_on_while_the_parser_is_at_something_else(bench: Bench, parsers: BusyParsers):
    parsers.slow, parsers.is_at_it = {"slow.md"}, False
    bench.source.write("slow.md")
    bench.source.write("text.md")
    bench.scan()
    bench.apply()
    assert bench.store.documents() == {"text.md"}
    assert bench.pending() == {"slow.md": "added"}


def test_a_document_that_moved_stays_under_its_old_name_while_its_new_one_is_being_parsed(
    bench: Bench, parsers: BusyParsers
):
    """Otherwise search would miss it under both."""
    bench.index_all(["old.md", "other.md"])
    parsers.slow.add("new.md")
    bench.source.rename("old.md", "new.md")
    bench.source.delete("other.md")
    bench.scanner.look(dict.fromkeys(("old.md", "new.md"), bench.clock.now()))
    bench.scanner.look({"other.md": bench.clock.now()}, is_second=True)
    assert bench.pending() == {"new.md": "added", "old.md": "deleted", "other.md": "deleted"}
    bench.apply()
    assert bench.store.documents() == {"old.md"}
    parsers.slow.clear()
    bench.clock.advance(SECONDS)
    bench.apply()
    assert bench.store.documents() == {"new.md"}
    assert not bench.pending()


def rename_folder(bench: Bench, n_documents: int) -> None:
    """Index a folder and rename it, of which hints tell at once: a batch takes 64 of its changes."""
    bench.index_all([f"old/{n:02}.md" for n in range(n_documents)])
    bench.source.rename("old", "new")
    bench.scanner.look(dict.fromkeys(("new", "old"), bench.clock.now()))


def test_it_stays_when_its_deletion_comes_up_in_a_later_batch(bench: Bench, parsers: BusyParsers):
    parsers.slow.add("new/35.md")
    rename_folder(bench, 40)
    bench.apply()
    assert bench.store.documents() == {"old/35.md", *(f"new/{n:02}.md" for n in range(40) if n != 35)}
    parsers.slow.clear()
    bench.clock.advance(SECONDS)
    bench.apply()
    assert bench.store.documents() == {f"new/{n:02}.md" for n in range(40)}
    assert {outcome.change.kind for outcome, _ in bench.outcomes} == {ChangeKind.MOVED}


def test_it_stays_as_well_where_only_its_text_tells_that_it_moved(bench: Bench, parsers: BusyParsers):
    """`git pull` writes what was renamed anew, and file systems number that as they like."""
    names = [f"{n:02}.md" for n in range(40)]
    bench.index_all([*(f"old/{name}" for name in names), *(f"other/{n:03}.md" for n in range(200))])
    for name in names:
        bench.source.write(f"new/{name}", bench.source.documents[f"old/{name}"].text)
    bench.source.delete("old")
    bench.scan()
    assert len(bench.pending()) == 80
    parsers.slow.add("new/35.md")
    bench.apply()
    moved = {name for name in bench.store.documents() if not name.startswith("other/")}
    assert moved == {"old/35.md", *(f"new/{name}" for name in names if name != "35.md")}


def test_it_does_not_stay_beyond_the_freshness_target(bench: Bench, parsers: BusyParsers):
    """Whether it moved is known for sure only once the new document was read."""
    parsers.slow.add("new/35.md")
    rename_folder(bench, 40)
    bench.apply()
    bench.clock.advance(TARGET)
    parsers.slow.clear()
    (deletion,) = [one for one in bench.ledger.take(bench.clock.now(), 9) if one.change.ref is None]
    bench.pipeline.run([deletion])
    assert "old/35.md" not in bench.store.documents()


def test_what_a_batch_at_hand_renames_is_not_deleted_by_another_in_the_middle_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(indexer_room, "_LONG_S", 0.0)
    rename_folder(bench, 64)
    gate = Gate()
    bench.source.before_read = lambda ref: gate() if ref.document_id == "new/01.md" else None
    with bench.running() as indexer:
        assert gate.arrived.wait(60)
        indexer.wake()
        gate.opened.set()
        eventually(lambda: not bench.pending())
    assert {outcome.change.kind for outcome, _ in bench.outcomes} == {ChangeKind.MOVED}
    assert bench.store.documents() == {f"new/{n:02}.md" for n in range(64)}


def test_nor_by_one_that_comes_when_the_model_has_long_been_at_it(bench: Bench):
    """What `git pull` renamed: only its text tells that it is the same."""
    bench.index_all(["old.md", "other.md", *(f"{n:02}.md" for n in range(30))])
    bench.source.write("new.md", bench.source.documents["old.md"].text)
    bench.source.delete("old.md")
    bench.source.write("other.md", "# New\n\nNew text.\n")
    bench.scan()
    waiting = {one.change.document_id: one for one in bench.ledger.take(bench.clock.now(), 64)}
    found = []

    def between() -> None:
        bench.clock.advance(SECONDS)
        bench.pipeline.run([waiting["old.md"]])
        found.append({"old.md", "new.md"} & bench.store.documents())

    bench.pipeline.run([waiting["new.md"], waiting["other.md"]], between)
    bench.clock.advance(SECONDS)
    bench.apply()
    assert found == [{"old.md"}] * len(found) != []
    assert {"old.md", "new.md"} & bench.store.documents() == {"new.md"}


def test_a_document_renamed_and_edited_at_once_is_found_under_one_name(bench: Bench):
    bench.index_all(["old.md"])
    bench.source.rename("old.md", "new.md")
    edit(bench, "new.md")
    assert bench.pending() == {"new.md": "added", "old.md": "deleted"}
    bench.pipeline.run(bench.ledger.take(bench.clock.now(), 64))
    assert bench.store.documents() == {"new.md"}


def test_a_deletion_does_not_wait_for_a_new_document_that_cannot_be_read(bench: Bench):
    """A file system gives an inode out again."""
    bench.index_all(["old.md"])
    bench.source.rename("old.md", "new.md")
    edit(bench, "new.md")
    (arrival,) = [one for one in bench.ledger.take(bench.clock.now(), 9) if one.change.ref]
    bench.ledger.defer(arrival, "no text", bench.clock.now() + timedelta(hours=1), quarantine=True)
    bench.apply()
    assert bench.store.documents() == set()
