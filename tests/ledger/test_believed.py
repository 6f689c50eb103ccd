"""The ledger believes the store, where it was lost or is older; what both say alike is left as it is."""

from dataclasses import replace

from freshd.ledger.takeover import Found, Taken, count_anew, take_over
from freshd.model import Digest, DocumentId, HeldChunk, SourceName
from tests.ledger.books import (
    ADDED,
    DELETED,
    LABEL,
    MINUTE,
    MODIFIED,
    NOON,
    OTHER,
    SOURCE,
    Books,
    change,
    digest,
    id_of,
    ids,
)

NEW_LABEL = Digest("dd" * 32)


def found(name: str, *numbers: int, content: str | None = "text", label: Digest = LABEL) -> Found:
    """What the store holds of a document; no content for one that is not whole."""
    chunks = tuple(HeldChunk(id_of(number), LABEL) for number in numbers)
    described = (None, None) if content is None else (digest(content), label)
    return Found(SOURCE, DocumentId(name), chunks, *described)


def take(books: Books, *what: Found) -> list[Taken]:
    taken = take_over(books.database, what, NOON)
    count_anew(books.database)
    return taken


def listed(books: Books) -> Books:
    """A ledger of one applied document of each of two sources, both proved fresh."""
    books.index("a", 1, 2)
    books.index("a", 7, source=OTHER)
    books.mark(NOON)
    books.sources.marker_out(OTHER, NOON, None, NOON)
    return books


def test_a_document_that_the_ledger_never_heard_of_is_applied_and_seen_afresh(books: Books):
    assert take(books, found("a", 2, 1, content="one"), found("b", 3)) == [Taken.APPLIED, Taken.APPLIED]
    revision = books.revision("a")
    assert (revision.digest, revision.label, revision.recipe, revision.unknown) == (digest("one"), LABEL, "", ids())
    assert [chunk.chunk_id for chunk in revision.chunks] == [id_of(2), id_of(1)], "in the order of the document"
    assert {chunk.label for chunk in revision.chunks} == {LABEL}
    known = books.known()["a"]
    assert (known.fingerprint, known.is_applied, known.is_racy) == ("", True, False)
    state = books.state()
    assert (state.documents, state.chunks, state.wants_everything, state.watermark) == (2, 3, True, None)


def test_what_both_say_alike_is_left_as_it_is(books: Books):
    listed(books)
    before = (books.state(), books.revision("a"), books.known())
    assert take(books, found("a", 1, 2)) == [Taken.AGREED]
    assert (books.state(), books.revision("a"), books.known()) == before
    assert len(books.sources.trail(SOURCE)) == 1


def test_where_the_store_holds_another_revision_it_is_believed_and_the_source_proves_nothing(books: Books):
    listed(books)
    three = found("a", 1, 3), found("a", 1, 3, content="new"), found("a", 1, 3, content="new", label=NEW_LABEL)
    for differs in three:
        books.mark(NOON)
        version = books.revision("a").version
        assert take(books, differs) == [Taken.APPLIED]
        revision = books.revision("a")
        assert (revision.digest, revision.label, revision.chunks) == (differs.digest, differs.label, differs.chunks)
        assert (revision.version > version, revision.recipe) == (True, "")
        assert books.known()["a"].fingerprint == ""
        state = books.state()
        assert (state.watermark, state.listed_through, state.wants_everything) == (None, None, True)
        assert books.sources.trail(SOURCE) == []
    other = books.sources.state(OTHER)
    assert (other.watermark, other.wants_everything, len(books.sources.trail(OTHER))) == (NOON, False, 1)


def test_a_deletion_that_was_recorded_stays_recorded(books: Books):
    listed(books)
    books.ledger.record([change("a", DELETED)], MINUTE)
    assert take(books, found("a", 1)) == [Taken.APPLIED]
    assert books.known()["a"].fingerprint is None
    assert books.pending("a").change.kind is DELETED


def test_what_was_found_new_and_is_in_the_store_already_is_a_modification(books: Books):
    books.ledger.record([change("a"), change("b")], MINUTE)
    assert books.pending("a").change.kind is ADDED
    take(books, found("a", 1))
    assert books.pending("a").change.kind is MODIFIED
    assert books.pending("b").change.kind is ADDED


def test_of_a_document_that_is_not_whole_every_id_is_unknown(books: Books):
    listed(books)
    assert take(books, found("a", 2, 3, content=None)) == [Taken.UNKNOWN]
    revision = books.revision("a")
    assert revision.unknown == ids(1, 2, 3), "what the ledger said of it is doubted too"
    assert [chunk.chunk_id for chunk in revision.chunks] == [id_of(1), id_of(2)]
    assert books.pending("a").target is None
    assert books.state().watermark is None
    assert books.revision("a", OTHER).unknown == frozenset()


def test_pieces_of_a_document_that_nobody_heard_of_are_unknown_until_a_look(books: Books):
    assert take(books, found("a", 1, 2, content=None)) == [Taken.UNKNOWN]
    assert books.revision("a").unknown == ids(1, 2)
    known = books.known()["a"]
    assert (known.fingerprint, known.is_applied) == ("", False)
    assert (books.state().documents, books.state().chunks, books.state().wants_everything) == (0, 0, True)


def test_what_was_forgotten_is_being_forgotten_and_not_believed(books: Books):
    books.forgetting.forget(SOURCE, [DocumentId("a")])
    assert take(books, found("a", 1, 2), found("b", 3)) == [Taken.FORGOTTEN, Taken.APPLIED]
    assert take(books, found("a", 1, 2)) == [Taken.FORGOTTEN]
    assert list(books.known()) == ["b"]
    (leaving,) = books.forgetting.being_forgotten(10, 100)
    assert books.forgetting.withdraw([leaving]) == ids(1, 2)
    assert books.state().documents == 1


def test_the_totals_are_counted_anew_for_every_source(books: Books):
    listed(books)
    books.ledger.record([change("never applied")], None)
    with books.database.write() as tx:
        tx.execute("UPDATE sources SET documents = 99, chunks = 99")
    count_anew(books.database)
    assert (books.state().documents, books.state().chunks) == (1, 2)
    other = books.sources.state(OTHER)
    assert (other.documents, other.chunks) == (1, 1)


def test_documents_of_several_sources_are_taken_in_one_go(books: Books):
    other = replace(found("a", 2), source=SourceName("third"))
    assert take(books, found("a", 1), other) == [Taken.APPLIED, Taken.APPLIED]
    assert books.sources.names() == [SOURCE, "third"]
    assert books.sources.state(SourceName("third")).documents == 1
