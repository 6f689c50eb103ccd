"""What is taken out on purpose: tombstones, what is being forgotten, and sources that left, in the ledger alone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from freshd.ledger.forgetting import Removed, tombstone
from freshd.ledger.history import Entry, SqliteHistory
from freshd.model import ChangeKind, DocumentId, DocumentRef
from freshd.report.answers import changes_answer
from tests.ledger.books import (
    DELETED,
    MINUTE,
    NOON,
    OTHER,
    SOURCE,
    Books,
    applied,
    change,
    ids,
    made,
)

A, B, C = DocumentId("a"), DocumentId("b"), DocumentId("c")


def three(books: Books) -> Books:
    """Three documents of one source, with 1, 2 and 3 chunks, and one of another."""
    books.index("a", 1)
    books.index("b", 2, 3)
    books.index("c", 4, 5, 6)
    books.index("a", 7, source=OTHER)
    return books


def docs(books: Books, *names: str) -> list[int]:
    found = [books.beside.doc_of(SOURCE, name) for name in names]
    return [doc for doc in found if doc is not None]


def shown(books: Books, *names: str) -> list[str]:
    refs = [DocumentRef(DocumentId(name), "1") for name in names]
    return [ref.document_id for ref in books.ledger.without_forgotten(SOURCE, refs)]


# Forgetting


def test_a_tombstone_does_not_tell_the_name_and_tells_source_from_document():
    assert len(tombstone(SOURCE, A)) == 32
    assert b"handbook" not in tombstone(SOURCE, A)
    assert tombstone(SOURCE, A) == tombstone(SOURCE, A)
    assert len({tombstone(SOURCE, A), tombstone(SOURCE, B), tombstone(OTHER, A)}) == 3
    assert tombstone(SOURCE, DocumentId("caf\udce9")), "a file name need not be text"


def test_forgetting_keeps_documents_out_and_tells_how_many_were_known(books: Books):
    three(books)
    assert books.forgetting.forget(SOURCE, [A, C, DocumentId("never seen")]) == 2
    assert books.forgetting.forget(SOURCE, [A]) == 0, "it is being forgotten already"
    out = [books.forgetting.is_forgotten(SOURCE, DocumentId(name)) for name in ("a", "b", "c", "never seen")]
    assert out == [True, False, True, True]
    assert not books.forgetting.is_forgotten(OTHER, A)
    assert books.forgetting.being_forgotten(10, 100) == docs(books, "a", "c")


def test_nothing_is_recorded_of_a_forgotten_document(books: Books):
    books.forgetting.forget(SOURCE, [A])
    books.ledger.record([change("a"), change("b")], None)
    assert books.taken() == list(books.known()) == ["b"]


def test_what_is_pending_for_a_forgotten_document_is_given_up(books: Books):
    three(books)
    books.ledger.record([change("a", DELETED), change("b", DELETED)], MINUTE)
    version = books.revision("a").version
    books.forgetting.forget(SOURCE, [A])
    assert books.taken() == ["b"]
    assert books.revision("a").version > version, "what is under way for it does not begin"
    assert list(books.known()) == ["b", "c"]
    assert books.ledger.admitted(sorted(ids(1, 2))) == ids(2)


def test_the_history_does_not_tell_of_a_forgotten_document(books: Books):
    three(books)
    books.ledger.record([change("new")], MINUTE)
    done = applied(books.pending("new"), 9)
    moved = replace(done.outcome.change, kind=ChangeKind.MOVED, previous_id=A)
    books.ledger.commit([replace(done, outcome=replace(done.outcome, change=moved))])
    books.forgetting.forget(SOURCE, [A])
    told = [(entry.source, entry.document_id, entry.previous_id) for entry in books.history.entries()]
    assert told == [(SOURCE, "b", None), (SOURCE, "c", None), (OTHER, "a", None), (SOURCE, "new", None)]


def test_whoever_follows_the_history_hears_that_some_of_it_is_gone(books: Books):
    three(books)
    newest = books.history.last_seq()
    assert books.history.is_gapless(newest)
    books.forgetting.forget(SOURCE, [A])
    assert not books.history.is_gapless(newest)
    assert books.history.is_gapless(books.history.last_seq())
    books.index("d", 8)
    assert not books.history.is_gapless(newest)
    assert books.history.is_gapless(books.history.last_seq() - 1)


class Follower:
    """An application that keeps what it hears, and lets go of it when it is told to."""

    def __init__(self, after: int = 0) -> None:
        self.after, self.gap = after, 0
        self.kept: list[str] = []
        self.n_gaps = 0

    def follow(self, history: SqliteHistory) -> None:
        while True:
            page = changes_answer(history, self.after, 2, SOURCE, None, self.gap)
            if not page["is_gapless"]:
                self.kept.clear()
                self.n_gaps += 1
            self.kept += [one["document_id"] for one in page["changes"]]
            self.after, self.gap = page["last_seq"], page["gap_seq"]
            if len(page["changes"]) < 2:
                return


def test_who_begins_after_something_was_forgotten_is_told_once_and_keeps_all_that_is_left(books: Books):
    for n, name in enumerate("abcdefg"):
        books.index(name, n)
    books.forgetting.forget(SOURCE, [B])
    follower = Follower()
    follower.follow(books.history)
    follower.follow(books.history)
    assert (follower.kept, follower.n_gaps) == ([*"acdefg"], 1)


def test_who_stood_before_what_was_forgotten_is_told_once_and_hears_what_it_had_not(books: Books):
    for n, name in enumerate("abcdefg"):
        books.index(name, n)
    follower, late = Follower(), Follower(after=3)
    follower.follow(books.history)
    assert (follower.kept, follower.n_gaps) == ([*"abcdefg"], 0)
    books.forgetting.forget(SOURCE, [B])
    books.index("h", 8)
    for one, kept in ((follower, "h"), (late, "defgh")):
        one.follow(books.history)
        one.follow(books.history)
        assert (one.kept, one.n_gaps) == ([*kept], 1)
    books.forgetting.forget(SOURCE, [DocumentId("h")])
    late.follow(books.history)
    assert (late.kept, late.n_gaps) == ([], 2), "another one is told of as well"


@pytest.mark.parametrize("is_page_read", [False, True], ids=["before the page", "after the page"])
def test_what_is_forgotten_while_a_page_is_read_is_not_in_it(
    books: Books, monkeypatch: pytest.MonkeyPatch, is_page_read: bool
):
    """Who heard of it only along with the page would take in what it had just let go of."""
    for n, name in enumerate("abcdefg"):
        books.index(name, n)
    entries = books.history.entries

    def read(*asked: Any) -> list[Entry]:
        monkeypatch.undo()
        before = entries(*asked)
        books.forgetting.forget(SOURCE, [B])
        books.index("h", 8)
        return before if is_page_read else entries(*asked)

    monkeypatch.setattr(books.history, "entries", read)
    follower = Follower()
    follower.follow(books.history)
    assert (follower.kept, follower.n_gaps) == ([*"acdefgh"], 1)


def test_a_source_is_forgotten_but_for_the_document_that_is_spared(books: Books):
    three(books)
    books.sources.scan_failed(SOURCE, NOON, "/home/zebulon: no such folder")
    assert books.forgetting.forget_source(SOURCE, spare=B) == 2
    assert list(books.known()) == ["b"]
    out = [books.forgetting.is_forgotten(SOURCE, name) for name in (A, B, C)]
    assert out == [True, False, True]
    assert {entry.source for entry in books.history.entries()} == {OTHER}
    assert books.state().last_error is None
    assert list(books.known(source=OTHER)) == ["a"]
    assert not books.forgetting.is_forgotten(OTHER, A)
    assert books.forgetting.forget_source(SOURCE) == 1


def test_a_document_that_is_let_in_again_needs_a_listing_that_shows_everything(books: Books):
    three(books)
    books.forgetting.forget(SOURCE, [A])
    assert not books.state().wants_everything
    assert books.forgetting.undo(SOURCE, B) is False
    assert not books.state().wants_everything
    assert books.forgetting.undo(SOURCE, A) is True
    assert books.state().wants_everything
    assert not books.sources.state(OTHER).wants_everything
    assert not books.forgetting.is_forgotten(SOURCE, A)
    assert books.forgetting.undo(SOURCE, A) is False


def test_what_is_known_is_known_by_documents_or_by_the_history(books: Books):
    books.index("a", 1)
    books.ledger.record([change("b")], None)
    books.ledger.record([change("a", DELETED)], MINUTE)
    books.apply("a")
    assert [books.forgetting.is_known(SOURCE, name) for name in (A, B, C)] == [True, True, False]
    assert books.forgetting.is_known(SOURCE)
    assert not books.forgetting.is_known(OTHER)
    assert not books.forgetting.is_known(OTHER, A)


# A listing


def test_a_listing_is_passed_on_without_what_is_forgotten(books: Books):
    assert shown(books, "a", "b", "c") == ["a", "b", "c"]
    books.forgetting.forget(SOURCE, [B])
    assert shown(books, "a", "b", "c") == ["a", "c"]
    assert shown(books) == []
    books.forgetting.undo(SOURCE, B)
    assert shown(books, "a", "b", "c") == ["a", "b", "c"]


def test_a_long_listing_is_passed_on_whole_in_order_and_while_it_is_walked(books: Books):
    names = [f"{number:05}" for number in range(1200)]
    out = {names[0], names[499], names[500], names[1199]}
    books.forgetting.forget(SOURCE, [DocumentId(name) for name in sorted(out)])
    assert shown(books, *names) == [name for name in names if name not in out]
    walked: list[str] = []

    def listing() -> Iterator[DocumentRef]:
        for name in names:
            walked.append(name)
            yield DocumentRef(DocumentId(name), "1")

    assert next(books.forgetting.without_forgotten(SOURCE, listing())).document_id == names[1]
    assert len(walked) == 500, "a million refs are not held in memory"


# Leaving


def test_what_is_to_leave_is_given_in_pages_that_hold_about_so_many_chunks(books: Books):
    three(books)
    a, b, c = docs(books, "a", "b", "c")
    assert books.forgetting.of_source(SOURCE, 10, 100) == [a, b, c]
    assert books.forgetting.of_source(SOURCE, 2, 100) == [a, b]
    assert books.forgetting.of_source(SOURCE, 10, 3) == [a, b]
    assert books.forgetting.of_source(SOURCE, 10, 2) == [a]
    assert books.forgetting.of_source(SOURCE, 10, 0) == [a], "one at least, or nothing would ever leave"
    assert books.forgetting.being_forgotten(10, 100) == []
    books.forgetting.forget(SOURCE, [C, A])
    assert books.forgetting.being_forgotten(10, 100) == [a, c]
    assert books.forgetting.being_forgotten(1, 100) == [a]
    assert books.forgetting.being_forgotten(10, 3) == [a]


def test_of_withdrawn_documents_nothing_is_shown_and_every_id_is_unknown(books: Books):
    three(books)
    books.generations.adopt(made("old"))
    books.generations.begin(made("new"))
    books.fill("a", 11)
    books.fill("c", 14, 15)
    books.begin("a", 21)
    books.ledger.record([change("a", version="2"), change("b", version="2")], MINUTE)
    version = books.revision("a").version
    assert books.forgetting.withdraw(docs(books, "a", "c")) == ids(1, 4, 5, 6, 11, 14, 15, 21)
    assert books.ledger.admitted(sorted(ids(1, 2, 3, 4))) == ids(2, 3)
    assert books.admitted("freshd-new", (11, 14)) == set()
    assert books.taken() == ["b"]
    state = books.state()
    assert (state.documents, state.chunks, state.wants_everything) == (1, 2, True)
    other = books.sources.state(OTHER)
    assert (other.documents, other.chunks, other.wants_everything) == (1, 1, False)
    known = books.known()["a"]
    assert (known.fingerprint, known.is_applied) == ("", False), "should its source come back, it is seen afresh"
    revision = books.revision("a")
    assert (revision.chunks, revision.digest, revision.recipe, revision.label) == ((), None, None, None)
    assert (revision.unknown, revision.version > version) == (ids(1, 21), True)
    assert books.beside.certain_chunks() == 0


def test_a_withdrawal_that_is_done_twice_counts_once(books: Books):
    three(books)
    leaving = docs(books, "c")
    assert books.forgetting.withdraw(leaving) == books.forgetting.withdraw(leaving) == ids(4, 5, 6)
    assert (books.state().documents, books.state().chunks) == (2, 3)


def test_of_dropped_documents_no_row_is_left(books: Books):
    three(books)
    books.generations.adopt(made("old"))
    books.generations.begin(made("new"))
    for number, name in enumerate("abc", 11):
        books.fill(name, number)
    books.forgetting.forget(SOURCE, [A])
    leaving = docs(books, "a", "c")
    books.ledger.record([change("c", version="2")], MINUTE)
    books.forgetting.withdraw(leaving)
    books.forgetting.drop(leaving)
    (stays,) = docs(books, "b")
    for table in ("pending", "unknown", "chunks", "unknown_beside", "chunks_beside", "documents_beside", "forgetting"):
        left = {doc for (doc,) in books.rows(f"SELECT doc FROM {table}")}
        assert left <= {stays, books.beside.doc_of(OTHER, "a")}, table
    assert docs(books, "a", "c") == []
    assert books.beside.revision(SOURCE, B).version == 1
    assert books.forgetting.is_forgotten(SOURCE, A), "it stays out all the same"


def test_a_document_that_is_deleted_while_it_is_being_forgotten_is_forgotten_and_no_other(books: Books):
    """Who deletes a file may well forget it in the same moment: a new document would be given its number."""
    three(books)
    books.ledger.record([change("c", DELETED)], MINUTE)
    deletion = books.pending("c")
    books.forgetting.forget(SOURCE, [C])
    books.begin("c", 4, 5, 6)
    books.ledger.commit([applied(deletion)])
    books.index("new", 9)
    assert books.ledger.admitted(sorted(ids(9))) == ids(9)
    leaving = books.forgetting.being_forgotten(10, 100)
    books.forgetting.withdraw(leaving)
    books.forgetting.drop(leaving)
    assert books.rows("SELECT doc FROM forgetting") == []
    assert set(books.known()) == {"a", "b", "new"}


def test_what_was_under_way_tells_nothing_of_a_forgotten_document_once_it_is_dropped(books: Books):
    three(books)
    books.ledger.record([change("a", version="2"), change("b", version="2")], MINUTE)
    done = [applied(books.pending(name), number, content="new") for number, name in ((1, "a"), (2, "b"))]
    books.forgetting.forget(SOURCE, [A])
    books.ledger.commit(done)
    leaving = docs(books, "a")
    books.forgetting.withdraw(leaving)
    books.forgetting.drop(leaving)
    assert {(entry.source, entry.document_id) for entry in books.history.entries()} == {
        (SOURCE, "b"),
        (SOURCE, "c"),
        (OTHER, "a"),
    }


def test_who_heard_of_a_forgotten_document_from_what_was_under_way_hears_that_copies_are_to_go(books: Books):
    three(books)
    books.ledger.record([change("a", version="2")], MINUTE)
    done = applied(books.pending("a"), 9, content="new")
    books.forgetting.forget(SOURCE, [A])
    books.ledger.commit([done])
    heard = books.history.last_seq()
    assert books.history.is_gapless(heard)
    leaving = docs(books, "a")
    books.forgetting.withdraw(leaving)
    books.forgetting.drop(leaving)
    assert not books.history.is_gapless(heard)
    assert books.history.is_gapless(books.history.last_seq())


def test_a_forgotten_document_of_which_nothing_was_under_way_makes_one_gap(books: Books):
    three(books)
    books.forgetting.forget(SOURCE, [A])
    newest = books.history.last_seq()
    leaving = docs(books, "a")
    books.forgetting.withdraw(leaving)
    books.forgetting.drop(leaving)
    assert books.history.is_gapless(newest)
    assert books.history.last_seq() == newest


def test_a_document_that_leaves_with_its_source_keeps_its_history(books: Books):
    three(books)
    leaving = docs(books, "a", "b", "c")
    books.forgetting.withdraw(leaving)
    books.forgetting.drop(leaving)
    assert len(books.history.entries(source=SOURCE)) == 3


def test_what_was_forgotten_is_scrubbed_from_the_file_once(books: Books):
    three(books)
    assert not books.forgetting.must_scrub
    books.forgetting.forget(SOURCE, [A])
    assert books.forgetting.must_scrub
    assert books.reopened().forgetting.must_scrub
    books = Books(books.path)
    books.forgetting.drop(docs(books, "a"))
    assert books.forgetting.scrub() is True
    assert not books.forgetting.must_scrub
    books.forgetting.forget_source(OTHER)
    assert books.forgetting.must_scrub
    books.database.close()


def test_scrubbing_waits_for_whoever_reads_a_former_state(books: Books):
    three(books)
    books.forgetting.forget(SOURCE, [A])
    with books.database._reader() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM documents").fetchone()
        books.index("d", 9)
        books.database._writer.execute("PRAGMA busy_timeout = 50")
        assert books.forgetting.scrub() is False
        assert books.forgetting.must_scrub
        reader.execute("COMMIT")
    assert books.forgetting.scrub() is True


def test_what_the_stores_files_may_hold_is_noted_until_it_is_gone_from_them(books: Books):
    three(books)
    assert books.forgetting.occasion is None
    books.forgetting.forget(SOURCE, [DocumentId("nobody knows")])
    first = books.forgetting.occasion
    assert first is not None
    assert books.reopened().forgetting.occasion == first
    books = Books(books.path)
    books.forgetting.forget_source(OTHER)
    second = books.forgetting.occasion
    assert second not in (None, first)
    books.forgetting.expunged(first)
    assert books.forgetting.occasion == second, "of which nothing is said by that"
    books.forgetting.expunged(second)
    assert books.forgetting.occasion == second, "a document is still to be taken out"
    books.forgetting.drop(books.forgetting.being_forgotten(64, 1_000))
    books.forgetting.expunged(second)
    assert books.forgetting.occasion is None
    books.database.close()


def test_what_is_scrubbed_before_it_is_taken_out_is_scrubbed_again(books: Books):
    three(books)
    books.forgetting.forget(SOURCE, [A])
    assert books.forgetting.scrub()
    assert books.forgetting.must_scrub
    books.forgetting.drop(books.forgetting.being_forgotten(64, 1_000))
    assert books.forgetting.scrub()
    assert not books.forgetting.must_scrub


# Sources that left


def test_a_source_that_left_is_told_since_when_until_it_is_back(books: Books):
    three(books)
    assert books.forgetting.removed([SOURCE, OTHER]) == []
    assert books.forgetting.removed([OTHER]) == [Removed(SOURCE, 3, 6, None)]
    assert [one.name for one in books.forgetting.removed([])] == [SOURCE, OTHER]
    books.forgetting.note_configured([OTHER], NOON)
    books.forgetting.note_configured([OTHER], NOON + MINUTE)
    assert books.forgetting.removed([OTHER]) == [Removed(SOURCE, 3, 6, NOON)], "since the first time"
    books.forgetting.note_configured([SOURCE, OTHER], NOON + 2 * MINUTE)
    assert books.forgetting.removed([OTHER]) == [Removed(SOURCE, 3, 6, None)]
    books.forgetting.note_configured([OTHER], NOON + 3 * MINUTE)
    assert books.forgetting.removed([OTHER]) == [Removed(SOURCE, 3, 6, NOON + 3 * MINUTE)]


def test_a_source_that_left_with_nothing_is_not_known_any_more(books: Books):
    books.index("a", 1, source=OTHER)
    books.mark(NOON)
    books.sources.marker_out(OTHER, NOON, None, NOON)
    books.forgetting.note_configured([SOURCE, OTHER], NOON)
    assert books.sources.names() == [SOURCE, OTHER], "a configured one may be empty"
    books.forgetting.note_configured([], NOON)
    assert books.sources.names() == [OTHER]
    assert (books.sources.trail(SOURCE), len(books.sources.trail(OTHER))) == ([], 1)


def test_a_source_that_left_is_not_known_any_more_once_the_last_of_it_is_dropped(books: Books):
    three(books)
    books.mark(NOON)
    books.forgetting.note_configured([OTHER], NOON + timedelta(days=1))
    leaving = docs(books, "a", "b", "c")
    books.forgetting.withdraw(leaving)
    books.forgetting.drop(leaving[:2])
    assert books.sources.names() == [SOURCE, OTHER]
    books.forgetting.drop(leaving[2:])
    assert books.sources.names() == [OTHER]
    assert books.sources.trail(SOURCE) == []
