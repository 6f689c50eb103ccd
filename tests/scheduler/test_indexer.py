"""The one thread that writes: the most urgent first, nothing lost when store, model, disk or server fail."""

import gc
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.errors import EmbedderUnavailable, FreshdError, StoreUnavailable
from freshd.model import Change, ChangeKind, Chunk, DocumentId, DocumentRef, OutcomeKind, SourceName, Vector
from freshd.pipeline import MAX_BATCH_CHUNKS
from freshd.scheduler import ReadAhead, Trouble
from freshd.scheduler import indexer as indexer_room
from tests.scheduler.parts import SOURCE, TARGET, Bench, Gate, MemorySource, down, eventually, store_down

FEED = SourceName("news")


def book(title: str, parts: int) -> str:
    """Write something of so many chunks."""
    words = " ".join(f"word{i}" for i in range(60))
    return "\n\n".join(f"# Part {n}\n\nOf {title} {n}: {words}" for n in range(parts))


BOOK = book("the book", MAX_BATCH_CHUNKS + 4)
CHAPTER = book("the chapter", 70)
"""As many chunks as an urgent batch may have, and a few more."""


class RemoteSource(MemorySource):
    """Somebody else's server."""

    least_interval = timedelta(seconds=1)
    host = "example.org:80"


def edit(bench: Bench, name: str, text: str = "# New\n\nNew text.\n") -> None:
    """Edit a document, as a hint tells of it."""
    bench.source.write(name, text)
    bench.scanner.look({name: bench.clock.now()})


def edit_meanwhile(bench: Bench, gate: Gate, name: str, n_outcomes: int) -> None:
    """Edit a document while the indexer stands before the gate, and wait until so many are applied."""
    with bench.running() as indexer:
        assert gate.arrived.wait(60)
        edit(bench, name)
        indexer.wake()
        gate.opened.set()
        eventually(lambda: len(bench.outcomes) == n_outcomes)


def begin_backfill(bench: Bench) -> tuple[list[str], Gate]:
    """Have documents wait to be indexed for the first time; whoever reads them stands before a gate half-way."""
    names = [f"{n:03}.md" for n in range(60)]
    for name in names:
        bench.source.write(name)
    bench.ledger.record(_added(bench, names), None)
    gate = Gate()
    bench.source.before_read = lambda ref: gate() if ref.document_id == "030.md" else None
    return names, gate


def add_feed(
    bench: Bench, n_entries: int, parts: int = 1, *, name: SourceName = FEED, is_known: bool = False
) -> MemorySource:
    """Put a source read ahead beside the others; everything in it is pending, as changes if it was listed before."""
    feed = RemoteSource(bench.clock)
    bench.connectors[name] = ReadAhead(feed)
    if is_known:
        bench.scan(bench.scanner_of(name, feed))
    for n in range(n_entries):
        feed.write(f"entry{n:02}.md", book(f"entry {n}", parts))
    bench.scan(bench.scanner_of(name, feed))
    return feed


def readers(bench: Bench) -> dict[SourceName, ReadAhead]:
    return {name: one for name, one in bench.connectors.items() if isinstance(one, ReadAhead)}


def finished(bench: Bench) -> list[str]:
    return [outcome.change.document_id for outcome, _ in bench.outcomes]


# What goes first


def test_what_is_pending_when_it_begins_is_applied_without_being_told(bench: Bench):
    bench.source.write("a.md")
    bench.scan()
    with bench.running():
        eventually(lambda: bench.store.documents() == {"a.md"})


def test_urgent_work_runs_in_the_middle_of_a_backfill_batch(bench: Bench):
    """A million documents wait to be indexed for the first time, and somebody saves one."""
    bench.index_all(["live.md"])
    names, gate = begin_backfill(bench)
    edit_meanwhile(bench, gate, "live.md", n_outcomes=61)
    assert finished(bench)[0] == "live.md"
    assert bench.store.documents() == {"live.md", *names}


def test_a_live_edit_of_a_document_in_the_batch_at_hand_wins(bench: Bench):
    names = [f"{n:03}.md" for n in range(20)]
    for name in names:
        bench.source.write(name)
    bench.scan()
    gate = Gate()
    bench.source.before_read = lambda ref: gate() if ref.document_id == "010.md" and not gate.opened.is_set() else None
    with bench.running() as indexer:
        assert gate.arrived.wait(60)
        edit(bench, "005.md", "# Edited\n\nThe newest text.\n")
        indexer.wake()
        gate.opened.set()
        eventually(lambda: bench.pending() == {})
        eventually(lambda: len(bench.outcomes) == 21)
    kinds = {(o.change.document_id, o.kind) for o, _ in bench.outcomes}
    assert ("005.md", OutcomeKind.SUPERSEDED) in kinds
    texts = [p.payload["page_content"] for p in bench.store.points.values() if "005.md" in p.payload["doc_id"]]
    assert texts == ["The newest text."]


def test_what_was_planned_of_a_document_is_not_written_of_another_of_its_name(bench: Bench):
    """It was deleted and made anew, and both were applied, while the model was at it."""
    bench.index_all(["a.md", "b.md"])
    edit(bench, "a.md", "# Old\n\nAs it was edited.\n")
    batch = bench.ledger.take(bench.clock.now(), 64)
    is_done = False

    def between() -> None:
        nonlocal is_done
        if is_done or bench.source.reads[-1] != "a.md":
            return
        is_done = True
        bench.source.delete("a.md")
        for is_second in (False, True):
            bench.scanner.look({"a.md": bench.clock.now()}, is_second=is_second)
        bench.apply()
        edit(bench, "a.md", "# New\n\nAs it was made anew.\n")
        bench.apply()

    bench.pipeline.run(batch, between)
    bench.apply()
    texts = {point.payload["page_content"] for point in bench.store.points.values()}
    assert texts == {"As it was made anew.", "Text of b.md."}
    assert bench.admission.admits(sorted(bench.store.points)) == set(bench.store.points)


def test_an_edit_made_after_very_many_files_changed_at_once_does_not_wait_for_all_of_them(bench: Bench):
    """Somebody switches branches, and then saves a file."""
    names = [f"{n:03}.md" for n in range(300)]
    bench.index_all(["live.md", *names])
    for name in names:
        bench.source.write(name, f"# Of the other branch\n\n{name}\n")
    bench.scanner.look(dict.fromkeys(names, bench.clock.now()))
    gate = Gate()
    bench.source.before_read = lambda ref: gate() if not gate.opened.is_set() else None
    bench.clock.advance(timedelta(seconds=1))
    edit_meanwhile(bench, gate, "live.md", n_outcomes=301)
    assert finished(bench).index("live.md") < 150
    assert bench.store.documents() == {"live.md", *names}


def test_what_should_be_searchable_first_does_not_starve_while_newer_edits_come(bench: Bench):
    names = [f"{n:03}.md" for n in range(300)]
    bench.index_all(names)
    edit(bench, "000.md")
    for name in names[1:]:
        bench.clock.advance(timedelta(milliseconds=1))
        edit(bench, name, f"# Later\n\n{name}\n")
    with bench.running():
        eventually(lambda: len(bench.outcomes) == len(names))
    assert finished(bench).index("000.md") < 10


def test_what_should_be_searchable_first_does_not_starve_where_embedding_is_slow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """Each full batch takes so long there that others are let in before it is through."""
    monkeypatch.setattr(indexer_room, "_LONG_S", 60.0)
    names = [f"{n:03}.md" for n in range(300)]
    bench.index_all(names)
    edit(bench, "000.md")
    bench.clock.advance(timedelta(seconds=1))
    for name in names[1:]:
        bench.source.write(name, f"# Later\n\n{name}\n")
    bench.scanner.look(dict.fromkeys(names[1:], bench.clock.now()))
    embed = bench.embedder.embed_passages

    def embed_ever_slower(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """From the second batch on: the first one, of what changed last, is small."""
        monkeypatch.setattr(indexer_room, "_LONG_S", 0.1)
        for embedded in embed(texts):
            time.sleep(0.003)
            yield embedded

    monkeypatch.setattr(bench.embedder, "embed_passages", embed_ever_slower)
    with bench.running():
        eventually(lambda: len(bench.outcomes) == len(names))
    assert finished(bench).index("000.md") < 200


def test_a_deletion_whose_time_is_over_does_not_wait_for_all_that_changed_after_it(bench: Bench):
    """Somebody deletes a file, and then switches branches: each batch is full of what is to be embedded."""
    names = [f"{n:03}.md" for n in range(200)]
    bench.index_all(["gone.md", *names])
    bench.source.delete("gone.md")
    for is_second in (False, True):
        bench.scanner.look({"gone.md": bench.clock.now()}, is_second=is_second)
    bench.clock.advance(timedelta(seconds=1))
    for name in names:
        bench.source.write(name, book(name, 5))
    bench.scanner.look(dict.fromkeys(names, bench.clock.now()))
    bench.clock.advance(TARGET)
    with bench.running():
        eventually(lambda: len(bench.outcomes) == 201)
    assert finished(bench).index("gone.md") < 64


def test_what_failed_once_does_not_wait_for_all_that_changed_after_it(bench: Bench):
    """A file that was just being written when it was read."""
    names = [f"{n:03}.md" for n in range(200)]
    bench.index_all(["first.md", *names])
    edit(bench, "first.md")
    bench.clock.advance(timedelta(seconds=1))
    for name in names:
        bench.source.write(name, book(name, 5))
    bench.scanner.look(dict.fromkeys(names, bench.clock.now()))
    bench.ledger.defer(bench.ledger.take(bench.clock.now(), 1)[0], "changed", bench.clock.now(), quarantine=False)
    with bench.running():
        eventually(lambda: len(bench.outcomes) == 201)
    assert finished(bench).index("first.md") < 64


@pytest.mark.parametrize("does", ["is deleted", "failed once"])
def test_a_file_that_fills_each_batch_alone_keeps_back_nothing_that_is_due_before_it(bench: Bench, does: str):
    """An export that is written anew again and again, each time before the last one is through."""
    bench.index_all(["first.md", "export.md", *(f"{n:02}.md" for n in range(30))])
    if does == "is deleted":
        bench.source.delete("first.md")
        for is_second in (False, True):
            bench.scanner.look({"first.md": bench.clock.now()}, is_second=is_second)
    else:
        edit(bench, "first.md")
        (first,) = bench.ledger.take(bench.clock.now(), 1)
        bench.ledger.defer(first, "changed", bench.clock.now(), quarantine=False)
    bench.clock.advance(timedelta(seconds=1))
    edit(bench, "export.md", CHAPTER)
    bench.clock.advance(TARGET)
    outcomes = bench.pipeline.run(bench.ledger.take(bench.clock.now(), 64), max_chunks=64)
    assert {outcome.change.document_id for outcome in outcomes} == {"first.md", "export.md"}


def test_an_edit_is_not_bound_to_one_of_two_books_that_were_left_for_others(bench: Bench):
    """It would be searchable when all of that book is."""
    bench.index_all(["a.md", "b.md", "y.md", "z.md"])
    edit(bench, "b.md")
    bench.clock.advance(timedelta(seconds=1))
    for name in ("a.md", "y.md", "z.md"):
        edit(bench, name, "# New\n\nNew text.\n" if name == "a.md" else f"{BOOK}\n\n{name}\n")
    waiting = {one.change.document_id: one for one in bench.ledger.take(bench.clock.now(), 64)}

    def between() -> None:
        for name in ("y.md", "z.md"):
            bench.pipeline.run([waiting[name]], max_chunks=64)

    bench.pipeline.run([waiting["a.md"]], between, max_chunks=64)
    (book,) = bench.pipeline.run(bench.ledger.take(bench.clock.now(), 64), max_chunks=64)
    assert book.change.document_id == "y.md"


def test_of_books_that_wait_for_their_turn_no_text_is_kept(bench: Bench):
    """A folder of exports that are all written anew does not fit the memory."""
    names = [f"{n}.md" for n in range(4)]
    bench.index_all(names)
    for name in names:
        edit(bench, name, f"{BOOK}\n\n{name}\n")
    first, *others = bench.ledger.take(bench.clock.now(), 64)
    kept: list[int] = []

    def between() -> None:
        if not kept:
            kept.append(_chunks_in_memory())
            for book in others:
                assert bench.pipeline.run([book], max_chunks=64) == []
            kept.append(_chunks_in_memory())

    bench.pipeline.run([first], between, max_chunks=64)
    assert kept[0] >= MAX_BATCH_CHUNKS > kept[1] - kept[0]


def test_a_batch_of_what_failed_before_takes_no_more_than_another(bench: Bench):
    """A disk that failed for a moment costs many documents an attempt, some of them two."""
    names = [f"{n:02}.md" for n in range(20)]
    for name in names:
        bench.source.write(name, book(name, 200))
    bench.ledger.record(_added(bench, names), None)
    for failed in (names, names[:10]):
        for pending in bench.ledger.take(bench.clock.now(), 64):
            if pending.change.document_id in failed:
                bench.ledger.defer(pending, "input/output error", bench.clock.now(), quarantine=False)
    outcomes = bench.pipeline.run(bench.ledger.take(bench.clock.now(), 64))
    assert sum(outcome.fates.embedded for outcome in outcomes) < 3 * MAX_BATCH_CHUNKS


def test_the_first_of_many_urgent_changes_does_not_wait_for_the_last(bench: Bench):
    """Each adds as many chunks as an urgent batch may have."""
    bench.index_all(["a.md"])
    for name in ("1.md", "2.md", "3.md"):
        bench.source.write(name, f"{BOOK}\n\n{name}\n")
    bench.scanner.look(dict.fromkeys(("1.md", "2.md", "3.md"), bench.clock.now()))
    with bench.running():
        eventually(lambda: len(bench.outcomes) == 3)
    assert bench.store.calls.count("flush") >= 1 + 3


def test_an_edit_does_not_wait_for_a_book_that_was_saved_before_it(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexer_room, "_LONG_S", 0.0)
    bench.index_all(["book.md", "live.md"])
    gate, embed = Gate(), bench.embedder.embed_passages

    def embed_slowly(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for n, embedded in enumerate(embed(texts)):
            yield embedded
            if n == 1 and len(texts) > 10:
                gate()

    monkeypatch.setattr(bench.embedder, "embed_passages", embed_slowly)
    edit(bench, "book.md", BOOK)
    edit_meanwhile(bench, gate, "live.md", n_outcomes=2)
    assert finished(bench) == ["live.md", "book.md"]
    assert bench.store.documents() == {"book.md", "live.md"}


@pytest.mark.parametrize("is_edited", [True, False], ids=["edited", "of a first index"])
def test_another_source_is_not_called_stale_while_a_book_is_embedded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_edited: bool
):
    """Nothing changed there, as a look that came meanwhile has seen."""
    monkeypatch.setattr(indexer_room, "_LONG_S", 0.0)
    bench.connectors[FEED] = MemorySource(bench.clock)
    scanner = bench.scanner_of(FEED, bench.connectors[FEED])
    if is_edited:
        bench.index_all(["book.md"])
    bench.source.write("book.md", BOOK)
    bench.scan()
    embed, seen = bench.embedder.embed_passages, []

    def embed_while_it_is_looked(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for n, embedded in enumerate(embed(texts)):
            if n == 2:
                bench.marks.put(bench.scan(scanner))
            yield embedded
        seen.append(bench.sources.state(FEED).watermark)

    monkeypatch.setattr(bench.embedder, "embed_passages", embed_while_it_is_looked)
    with bench.running():
        eventually(lambda: finished(bench) == ["book.md"])
    assert seen[0] is not None


@pytest.mark.parametrize(
    ("books", "long_s"),
    [(["a.md"], 0.0), (["z.md"], 0.0), (["z.md"], 60.0), (["a.md", "b.md"], 0.0), (["y.md", "z.md"], 60.0)],
    ids=["first", "last of a slow batch", "last", "two first", "two last"],
)
def test_edits_that_were_saved_together_with_a_book_do_not_wait_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, books: list[str], long_s: float
):
    """`git pull` brings all of them at once, the book first or last."""
    monkeypatch.setattr(indexer_room, "_LONG_S", long_s)
    edits = [f"m{n}.md" for n in range(5)]
    bench.index_all([*books, *edits])
    gate, embed = Gate(), bench.embedder.embed_passages

    def embed_slowly(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for n, embedded in enumerate(embed(texts)):
            yield embedded
            if n == 1 and len(texts) > 10:
                eventually(lambda: {*finished(bench)} == {*edits})
                gate()

    monkeypatch.setattr(bench.embedder, "embed_passages", embed_slowly)
    names = sorted([*books, *edits])
    for name in names:
        bench.source.write(name, f"{BOOK}\n\n{name}\n" if name in books else f"# New\n\nNew text of {name}.\n")
    bench.scanner.look(dict.fromkeys(names, bench.clock.now()))
    bench.source.reads.clear()
    with bench.running():
        assert gate.arrived.wait(60)
        assert {*finished(bench)} == {*edits}
        gate.opened.set()
        eventually(lambda: len(bench.outcomes) == len(names))
    assert all(bench.source.reads.count(name) <= 2 for name in books)


def test_an_edit_that_was_saved_together_with_a_book_does_not_wait_for_a_first_index(bench: Bench):
    bench.index_all(["book.md", "live.md"])
    _, gate = begin_backfill(bench)
    with bench.running() as indexer:
        assert gate.arrived.wait(60)
        edit(bench, "book.md", BOOK)
        edit(bench, "live.md")
        indexer.wake()
        gate.opened.set()
        eventually(lambda: len(bench.outcomes) == 62)
    assert finished(bench)[0] == "live.md"
    assert finished(bench)[-1] == "book.md"


def test_a_chapter_does_not_wait_for_a_book_that_is_being_indexed(bench: Bench):
    """A second of embedding, beside minutes."""
    bench.index_all(["chapter.md"])
    _, gate = begin_backfill(bench)
    with bench.running() as indexer:
        assert gate.arrived.wait(60)
        edit(bench, "chapter.md", CHAPTER)
        indexer.wake()
        gate.opened.set()
        eventually(lambda: len(bench.outcomes) == 61)
    assert finished(bench)[0] == "chapter.md"


@pytest.mark.parametrize("text", [CHAPTER, BOOK], ids=["chapter", "book"])
def test_what_is_large_and_moved_is_found_under_one_name_while_others_go_first(bench: Bench, text: str):
    """`git pull` writes it anew under another name: only its text tells that it is the same."""
    bench.index_all(["old.md", "a.md", "b.md", *(f"{n:02}.md" for n in range(30))])
    edit(bench, "old.md", text)
    bench.apply()
    bench.clock.advance(timedelta(seconds=5))
    bench.source.write("new.md", text)
    bench.source.delete("old.md")
    for name in ("a.md", "b.md"):
        bench.source.write(name, f"# New\n\nNew text of {name}.\n")
    bench.scan()
    (first,) = [one for one in bench.ledger.take(bench.clock.now(), 64) if one.change.document_id == "a.md"]
    found = []

    def between() -> None:
        for _ in range(4):
            skip = [one.seq for one in bench.pipeline.in_hand]
            batch = bench.ledger.take(bench.clock.now(), 64, skip=skip)
            bench.pipeline.run(sorted(batch, key=lambda one: one.change.document_id), max_chunks=64)
            found.append({"old.md", "new.md"} & bench.store.documents())
            bench.clock.advance(timedelta(seconds=4))

    bench.pipeline.run([first], between, max_chunks=64)
    bench.apply()
    assert all(len(names) == 1 for names in found)
    assert {"old.md", "new.md"} & bench.store.documents() == {"new.md"}


def test_what_is_large_and_moved_and_gone_before_its_turn_is_found_no_more(bench: Bench):
    bench.index_all(["old.md", "a.md", *(f"{n:02}.md" for n in range(30))])
    edit(bench, "old.md", CHAPTER)
    bench.apply()
    bench.clock.advance(timedelta(seconds=5))
    bench.source.write("new.md", CHAPTER)
    bench.source.delete("old.md")
    bench.source.write("a.md", "# New\n\nNew text.\n")
    bench.scan()
    batch = sorted(bench.ledger.take(bench.clock.now(), 64), key=lambda one: one.change.document_id)
    (first,) = bench.pipeline.run(batch, max_chunks=64)
    assert first.change.document_id == "a.md"
    bench.source.delete("new.md")
    bench.scan()
    bench.clock.advance(timedelta(minutes=5))
    bench.apply()
    assert not {"old.md", "new.md"} & bench.store.documents()
    assert not bench.pending()


def test_a_book_is_left_for_others_once(bench: Bench):
    """Else it would never be searchable while edits keep coming."""
    bench.index_all(["book.md", "a.md"])
    edit(bench, "a.md")
    edit(bench, "book.md", BOOK)
    for expected in ("a.md", "book.md", "a.md"):
        batch = sorted(bench.ledger.take(bench.clock.now(), 64), key=lambda one: one.change.document_id)
        outcomes = bench.pipeline.run(batch, max_chunks=64)
        assert [outcome.change.document_id for outcome in outcomes] == [expected]
        edit(bench, "a.md", f"# After {expected}\n\nNew.\n")


def test_what_was_read_ahead_of_an_entry_that_is_gone_by_then_is_not_written(bench: Bench):
    feed = add_feed(bench, 2)
    bench.apply()
    bench.clock.advance(timedelta(seconds=5))
    scanner = bench.scanner_of(FEED, feed)
    feed.write("entry00.md", "# Newer\n\nAnother text.\n")
    scanner.look({"entry00.md": bench.clock.now()})
    indexer = bench.indexer(readers=readers(bench))
    indexer._take(is_urgent=True)
    reader = readers(bench)[FEED]
    eventually(lambda: reader.is_read(feed.ref("entry00.md")))
    feed.delete("entry00.md")
    for is_second in (False, True):
        scanner.look({"entry00.md": bench.clock.now()}, is_second=is_second)
    batch = indexer._take(is_urgent=True)
    assert [one.change.kind for one in batch] == [ChangeKind.DELETED]
    bench.pipeline.run(batch)
    assert bench.store.documents() == {"entry01.md"}


def test_a_deadline_is_kept_before_an_older_backfill(bench: Bench):
    bench.index_all(["a.md"])
    bench.source.write("old.md")
    bench.ledger.record(_added(bench, ["old.md"]), None)
    edit(bench, "a.md")
    with bench.running():
        eventually(lambda: len(bench.outcomes) == 2)
    assert finished(bench) == ["a.md", "old.md"]


# What fails


@pytest.mark.parametrize("call", ["upsert", "flush"])
def test_a_store_that_fails_costs_a_pause_and_the_batch_is_redone(bench: Bench, call: str):
    for n in range(5):
        bench.source.write(f"{n}.md")
    bench.marks.put(bench.scan())
    told: list[Trouble | None] = []
    bench.store.fails[call] = store_down()
    with bench.running(on_trouble=told.append) as indexer:
        eventually(lambda: bench.store.calls.count(call) >= 2)
        assert indexer.trouble is not None
        assert indexer.trouble.is_store
        assert bench.outcomes == []
        assert bench.sources.state(SOURCE).watermark is None
        assert len(bench.pending()) == 5
        del bench.store.fails[call]
        eventually(lambda: bench.sources.state(SOURCE).watermark)
        assert indexer.trouble is None
    assert bench.store.documents() == {f"{n}.md" for n in range(5)}
    assert [trouble is None for trouble in told] == [False, True]


def test_a_store_that_is_down_is_not_asked_without_pause(bench: Bench):
    bench.source.write("a.md")
    bench.scan()
    bench.store.fails["upsert"] = store_down()
    with bench.running():
        eventually(lambda: bench.store.calls.count("upsert") >= 3)
        threading.Event().wait(0.5)
    assert bench.store.calls.count("upsert") <= 15, "else it is thousands, as fast as it can"


def test_changes_found_while_the_store_is_away_do_not_end_its_pause(bench: Bench):
    bench.source.write("a.md")
    bench.scan()
    bench.store.fails["upsert"] = store_down()
    with bench.running() as indexer:
        for n in range(200):
            indexer.wake()
            threading.Event().wait(0.002)
            if n == 100:
                edit(bench, "b.md")
    assert bench.store.calls.count("upsert") <= 15, "fewer than it was woken"


def test_a_model_that_fails_is_no_fault_of_the_store(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    def fail(_: object) -> None:
        raise EmbedderUnavailable("the model does not answer")

    bench.source.write("a.md")
    bench.scan()
    monkeypatch.setattr(bench.embedder, "embed_passages", fail)
    with bench.running() as indexer:
        trouble = eventually(lambda: indexer.trouble)
        assert not trouble.is_store
        monkeypatch.undo()
        eventually(lambda: bench.store.documents())
        eventually(lambda: indexer.trouble is None)


def test_nothing_is_written_while_there_is_a_reason_not_to(bench: Bench):
    bench.source.write("a.md")
    bench.scan()
    reasons: list[FreshdError | None] = [StoreUnavailable("disk almost full")]
    with bench.running(cannot_write=lambda: reasons[0]) as indexer:
        eventually(lambda: indexer.trouble)
        assert bench.store.calls == []
        reasons[0] = None
        eventually(lambda: bench.store.documents())


def test_a_disk_that_fills_up_in_the_middle_of_a_first_index_is_written_to_no_more(bench: Bench):
    """The batch at hand lets very many edits through meanwhile; the embedded store dies of a write without room."""
    edited = [f"edited{n}.md" for n in range(100)]
    bench.index_all(edited)
    bench.store.calls.clear()
    _, gate = begin_backfill(bench)
    full = StoreUnavailable("disk almost full")
    with bench.running(cannot_write=lambda: full if "flush" in bench.store.calls else None) as indexer:
        assert gate.arrived.wait(10)
        for name in edited:
            bench.source.write(name, book(name, 5))
        bench.scanner.look(dict.fromkeys(edited, bench.clock.now()))
        indexer.wake()
        gate.opened.set()
        eventually(lambda: indexer.trouble)
    assert bench.store.calls.count("flush") == 1


def test_whether_anything_may_be_written_is_not_asked_after_each_vector(bench: Bench):
    """It may take as long as to embed one: a store is opened for it after it failed."""
    asked: list[None] = []
    bench.source.write("book.md", BOOK)
    bench.scan()
    with bench.running(cannot_write=lambda: asked.append(None)):
        eventually(lambda: finished(bench) == ["book.md"])
    assert len(asked) < MAX_BATCH_CHUNKS / 4


def test_trouble_that_is_over_is_over_although_nothing_waits(bench: Bench):
    """Nothing to apply and no mark on its way: the next scan may be hours away."""
    reasons: list[FreshdError | None] = [StoreUnavailable("disk almost full")]
    told: list[Trouble | None] = []
    with bench.running(cannot_write=lambda: reasons[0], on_trouble=told.append) as indexer:
        eventually(lambda: indexer.trouble)
        reasons[0] = None
        bench.store.fails["ping"] = store_down()
        eventually(lambda: bench.store.calls.count("ping") >= 1)
        assert indexer.trouble is not None
        del bench.store.fails["ping"]
        eventually(lambda: indexer.trouble is None)
        eventually(lambda: told[-1:] == [None])


def test_a_ledger_that_another_program_holds_costs_a_pause(bench: Bench, tmp_path: Path):
    """A backup program may hold it for longer than anybody waits."""
    bench.source.write("a.md")
    bench.scan()
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    try:
        holder.execute("BEGIN IMMEDIATE")
        with bench.running() as indexer:
            trouble = eventually(lambda: indexer.trouble)
            assert not trouble.is_store
            holder.execute("ROLLBACK")
            eventually(lambda: bench.store.documents())
            eventually(lambda: bench.pending() == {})
    finally:
        holder.close()


def test_a_document_that_fails_holds_up_no_other(bench: Bench):
    for n in range(5):
        bench.source.write(f"{n}.md", "\0" * 99 if n == 2 else None)
    bench.marks.put(bench.scan())
    with bench.running():
        eventually(lambda: len(bench.outcomes) == 5)
        eventually(lambda: bench.sources.state(SOURCE).watermark)
    assert bench.sources.state(SOURCE).quarantined == 1
    assert bench.store.documents() == {"0.md", "1.md", "3.md", "4.md"}


def test_a_source_that_stops_answering_keeps_its_changes_pending(bench: Bench):
    def refuse(_: DocumentRef) -> None:
        raise down()

    bench.source.write("a.md")
    bench.scan()
    bench.source.before_read = refuse
    with bench.running():
        eventually(lambda: bench.outcomes)
    assert bench.outcomes[0][0].kind is OutcomeKind.FAILED
    state = bench.sources.state(SOURCE)
    assert (state.pending, state.quarantined) == (1, 0)


def why_one_of_three_failed(bench: Bench, error: Exception) -> str | None:
    """Have the read of one raise, see the other two indexed, and give what is told of it."""

    def raises(ref: DocumentRef) -> None:
        if ref.document_id == "b.md":
            raise error

    for name in ("a.md", "b.md", "c.md"):
        bench.source.write(name)
    bench.scan()
    bench.source.before_read = raises
    bench.apply()
    assert bench.store.documents() == {"a.md", "c.md"}
    (failed,) = [outcome for outcome, _ in bench.outcomes if outcome.kind is OutcomeKind.FAILED]
    return failed.error


def test_a_fault_of_a_connector_costs_the_document_it_was_asked_about(bench: Bench):
    """Anybody may write one, and what it raises must not end the thread that writes."""
    told = why_one_of_three_failed(bench, KeyError("field"))
    assert told == "b.md: got KeyError ('field') from its connector, expected a document"
    bench.source.before_read = lambda _: None
    bench.clock.advance(timedelta(hours=1))
    bench.apply()
    assert bench.store.documents() == {"a.md", "b.md", "c.md"}


def test_a_document_for_which_memory_does_not_suffice_while_it_is_read_costs_itself_alone(bench: Bench):
    told = why_one_of_three_failed(bench, MemoryError())
    assert told == "b.md: got a need for more memory than there is, expected a smaller document"


def test_a_connector_that_cannot_tell_whether_a_document_is_gone_keeps_it(bench: Bench):
    def stumbles() -> None:
        raise KeyError("field")

    bench.index_all(["a.md", "b.md"])
    bench.source.delete("a.md")
    bench.scan()
    bench.source.before_is_gone = stumbles
    bench.apply()
    assert bench.store.documents() == {"a.md", "b.md"}
    bench.source.before_is_gone = lambda: None
    bench.clock.advance(timedelta(hours=1))
    bench.apply()
    assert bench.store.documents() == {"b.md"}


def test_of_a_source_that_stops_answering_one_document_is_asked_for_and_all_others_wait(bench: Bench):
    """A mount that goes away in the middle of a first index leaves thousands."""
    names = [f"page{n:03}.md" for n in range(300)]
    for name in names:
        bench.source.write(name)
    bench.scan()
    asked = []

    def away(ref: DocumentRef) -> None:
        asked.append(ref.document_id)
        raise down("not mounted")

    bench.source.before_read = away
    bench.apply()
    assert len(asked) == 1
    bench.clock.advance(timedelta(seconds=11))
    bench.apply()
    assert len(asked) == 2
    assert [outcome.change.document_id for outcome, _ in bench.outcomes] == asked
    bench.source.before_read = lambda _: None
    bench.clock.advance(timedelta(seconds=11))
    bench.apply()
    assert bench.store.documents() == set(names)


# How it ends


def test_the_batch_in_hand_is_finished_before_the_end(bench: Bench):
    bench.source.write("a.md")
    bench.scan()
    gate = Gate()
    bench.source.before_read = gate
    indexer = bench.indexer()
    thread = threading.Thread(target=indexer.run)
    thread.start()
    assert gate.arrived.wait(60)
    indexer.stop()
    gate.opened.set()
    thread.join(10)
    assert not thread.is_alive()
    assert bench.pending() == {}
    assert bench.store.calls == ["upsert", "flush"]


def test_a_batch_that_takes_too_long_is_given_up_and_stays_pending(bench: Bench):
    for n in range(3):
        bench.source.write(f"{n}.md")
    bench.scan()
    gate = Gate()
    bench.source.before_read = gate
    indexer = bench.indexer()
    thread = threading.Thread(target=indexer.run)
    thread.start()
    assert gate.arrived.wait(60)
    indexer.stop()
    bench.clock.advance(timedelta(seconds=9))
    gate.opened.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(bench.pending()) == 3
    assert bench.store.calls == []


# Servers


def test_a_server_that_hangs_in_read_holds_up_no_other_source(bench: Bench):
    feed = add_feed(bench, 3)
    gate = Gate()
    feed.before_read = gate
    with bench.running(readers=readers(bench)) as indexer:
        assert gate.arrived.wait(60)
        for n in range(5):
            bench.source.write(f"{n}.md")
            bench.scan()
            indexer.wake()
            eventually(lambda wanted=n + 1: len(bench.store.documents()) == wanted)
        assert len(bench.ledger.take(bench.clock.now(), 10, sources=(FEED,))) == 3
        gate.opened.set()
        eventually(lambda: len(bench.store.documents()) == 8)
    assert sorted(feed.reads) == sorted({*feed.reads})


def test_a_server_is_read_from_one_document_at_a_time_and_not_all_at_once(bench: Bench):
    feed = add_feed(bench, 100)
    reading = threading.Lock()

    def alone(_: DocumentRef) -> None:
        assert reading.acquire(blocking=False)
        threading.Event().wait(0.001)
        reading.release()

    feed.before_read = alone
    with bench.running(readers=readers(bench)):
        eventually(lambda: len(bench.store.documents()) == 100)
    assert len(feed.reads) == 100


def test_entries_too_many_for_one_batch_are_read_once_each_and_all_indexed(bench: Bench):
    feed = add_feed(bench, 64, parts=10)
    with bench.running(readers=readers(bench)):
        eventually(lambda: len(bench.store.documents()) == 64)
    assert len(feed.reads) == 64


def test_of_a_server_that_is_away_one_entry_fails_and_all_are_indexed_once_it_is_back(bench: Bench):
    """After a restart no text is known."""
    feed = add_feed(bench, 40)

    def refuse(_: DocumentRef) -> None:
        raise down()

    feed.before_read = refuse
    with bench.running(readers=readers(bench)) as indexer:
        eventually(lambda: bench.outcomes)
        feed.before_read = lambda _: None
        assert eventually(lambda: bench.connectors[FEED].has_room(may_wait=True))
        assert [outcome.kind for outcome, _ in bench.outcomes] == [OutcomeKind.FAILED]
        bench.clock.advance(timedelta(seconds=11))
        indexer.wake()
        eventually(lambda: len(bench.store.documents()) == 40)


def test_a_server_that_is_slow_with_very_many_entries_holds_up_no_file_behind_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """Only so many reads are begun; the others are due before the file, and wait."""
    monkeypatch.setattr(indexer_room, "_IDLE_S", 60.0)
    feed = add_feed(bench, 64)
    gate = Gate()
    feed.before_read = gate
    bench.source.write("a.md")
    bench.scan()
    with bench.running(readers=readers(bench)):
        eventually(lambda: bench.store.documents() == {"a.md"})
        gate.opened.set()
        eventually(lambda: len(bench.store.documents()) == 65)


def test_a_file_does_not_wait_for_all_that_many_feeds_brought_overnight(bench: Bench):
    bench.index_all(["live.md"])
    for n in range(20):
        add_feed(bench, 20, parts=5, name=SourceName(f"news{n}"), is_known=True)
    bench.clock.advance(timedelta(seconds=1))
    edit(bench, "live.md")
    with bench.running(readers=readers(bench)):
        eventually(lambda: len(bench.outcomes) == 20 * 20 + 1)
    assert finished(bench).index("live.md") < 100


def test_an_edit_among_very_many_does_not_wait_for_all_long_entries_that_were_read_ahead(bench: Bench):
    """Somebody switches branches, and then saves a file, while a feed brings pages that fill a batch each."""
    names = [f"{n:03}.md" for n in range(300)]
    bench.index_all([*names, "live.md"])
    add_feed(bench, 40, parts=70, is_known=True)
    for name in names:
        bench.source.write(name, book(name, 5))
    bench.scanner.look(dict.fromkeys(names, bench.clock.now()))
    with bench.running(readers=readers(bench)):
        eventually(lambda: any(name.startswith("entry") for name in finished(bench)))
        bench.clock.advance(timedelta(seconds=1))
        edit(bench, "live.md")
        n_before = len(bench.outcomes)
        eventually(lambda: "live.md" in finished(bench), within_s=60)
    assert finished(bench).index("live.md") - n_before < 20


def test_a_new_entry_does_not_wait_for_older_ones_that_were_read_ahead_and_wait_themselves(bench: Bench):
    """They are of a first index, which waits for all that changed at once in the files beside it."""
    names = [f"{n:03}.md" for n in range(300)]
    bench.index_all(names)
    feed = add_feed(bench, 40)
    feed.before_read = gate = Gate()
    with bench.running(readers=readers(bench)):
        assert gate.arrived.wait(60)
        for name in names:
            bench.source.write(name, book(name, 5))
        bench.scanner.look(dict.fromkeys(names, bench.clock.now()))
        feed.write("new.md")
        bench.scan(bench.scanner_of(FEED, feed))
        gate.opened.set()
        eventually(lambda: "new.md" in finished(bench), within_s=60)
    assert len(finished(bench)) < 200


def test_entries_that_change_while_they_are_read_are_indexed_as_they_ended(bench: Bench):
    """Every entry is edited again and again under a slow server; none may be forgotten, and the rest goes on."""
    feed = add_feed(bench, 20)
    scanner = bench.scanner_of(FEED, feed)
    gate = Gate()
    bench.source.before_read = gate
    bench.source.write("slow.md")
    bench.scan()
    with bench.running(readers=readers(bench)) as indexer:
        for _ in range(3):
            for n in range(20):
                feed.write(f"entry{n:02}.md")
            bench.scan(scanner)
            indexer.wake()
            threading.Event().wait(0.05)
        gate.opened.set()
        for n in range(20):
            feed.write(f"entry{n:02}.md", f"# Entry {n}\n\nLast text of {n}.\n")
        bench.scan(scanner)
        indexer.wake()
        eventually(lambda: bench.pending() == {})
    texts = {point.payload["page_content"] for point in bench.store.points.values()}
    assert {f"Last text of {n}." for n in range(20)} <= texts


def _chunks_in_memory() -> int:
    gc.collect()
    return sum(type(one) is Chunk for one in gc.get_objects())


def _added(bench: Bench, names: list[str]) -> list[Change]:
    now = bench.clock.now()
    return [Change(SOURCE, DocumentId(name), ChangeKind.ADDED, bench.source.ref(name), now, now) for name in names]


def test_a_model_that_takes_long_to_load_is_no_thread_that_hangs(bench: Bench):
    gate = Gate()
    with bench.running(cannot_write=gate) as indexer:
        indexer.pulse.patience_s = 0.0
        assert gate.arrived.wait(60)
        assert not indexer.pulse.is_late
        gate.opened.set()


def test_what_others_have_done_takes_as_long_as_it_takes(bench: Bench):
    gate = Gate()
    with bench.running() as indexer:
        asked = threading.Thread(target=indexer.between_batches, args=(gate,))
        asked.start()
        indexer.pulse.patience_s = 0.0
        assert gate.arrived.wait(60)
        assert not indexer.pulse.is_late
        gate.opened.set()
        asked.join()


def test_a_step_of_a_batch_that_never_ends_is_one(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.source.write("a.md")
    bench.scan()
    gate, embed = Gate(), bench.embedder.embed_passages
    monkeypatch.setattr(bench.embedder, "embed_passages", lambda texts: (gate(), embed(texts))[1])
    with bench.running() as indexer:
        assert gate.arrived.wait(60)
        indexer.pulse.patience_s = 0.0
        eventually(lambda: indexer.pulse.is_late)
        indexer.pulse.patience_s = 900.0
        gate.opened.set()
        eventually(lambda: not indexer.pulse.is_late)
