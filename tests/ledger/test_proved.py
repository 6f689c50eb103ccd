"""What the ledger can prove of single chunks, what it may doubt, and who works on what now."""

from dataclasses import replace

from freshd.ledger.proofs import Claim
from freshd.model import ChunkId, Digest, DocumentId, HeldChunk
from tests.ledger.books import (
    DELETED,
    LABEL,
    MINUTE,
    NOON,
    OTHER,
    SOURCE,
    Books,
    applied,
    change,
    digest,
    id_of,
    ids,
    made,
)

A, B = DocumentId("a"), DocumentId("b")
MANY = range(1, 1201)
"""More ids than fit one statement, and more than fit two."""


def asked(*numbers: int) -> list[ChunkId]:
    return [id_of(number) for number in numbers]


def test_of_every_applied_chunk_it_is_told_whose_it_is_and_what_it_says(books: Books):
    books.ledger.record([change("a")], None)
    item = applied(books.pending("a"), content="one")
    labels = (Digest("01" * 32), Digest("02" * 32))
    books.ledger.commit([replace(item, chunks=(HeldChunk(id_of(2), labels[1]), HeldChunk(id_of(1), labels[0])))])
    books.index("b", 3, source=OTHER)
    claims = [
        (id_of(1), Claim(SOURCE, A, digest("one"), LABEL, labels[0])),
        (id_of(2), Claim(SOURCE, A, digest("one"), LABEL, labels[1])),
        (id_of(3), Claim(OTHER, B, digest("text"), LABEL, LABEL)),
    ]
    assert books.proofs.claims(None, 10) == claims
    assert books.proofs.claims(None, 2) == claims[:2]
    assert books.proofs.claims(id_of(1), 10) == claims[1:]
    assert books.proofs.claims_of(asked(1, 3, 9)) == dict([claims[0], claims[2]])
    assert books.proofs.claims(id_of(1), 1) == claims[1:2]


def test_more_chunks_than_fit_one_statement_are_all_looked_up(books: Books):
    books.index("a", *MANY)
    books.ledger.record([change("a", version="2")], MINUTE)
    books.ledger.defer(books.pending("a"), "no text", NOON, quarantine=True)
    books.begin("a", *MANY)
    numbers = asked(*MANY)
    assert set(books.proofs.claims_of(numbers)) == set(numbers)
    assert books.proofs.unknown_among(numbers) == set(numbers)
    assert set(books.proofs.errors_of(numbers)) == set(numbers)
    assert books.proofs.claims_of([]) == {}


def test_what_an_attempt_may_have_left_is_unknown_until_it_is_applied(books: Books):
    books.index("a", 1, 2)
    books.begin("a", 2, 3)
    assert books.proofs.unknown_among(asked(1, 2, 3, 4)) == ids(2, 3)
    assert books.proofs.certain(id_of(0), 10) == [id_of(1)]
    books.ledger.record([change("a", version="2")], MINUTE)
    books.apply("a", 1, 2, 3)
    assert books.proofs.unknown_among(asked(1, 2, 3)) == set()
    assert books.proofs.certain(id_of(0), 10) == asked(1, 2, 3)
    assert books.proofs.certain(id_of(1), 1) == [id_of(2)]


def test_chunks_of_a_document_with_a_change_that_is_due_are_in_somebodys_hands(books: Books):
    for number, name in enumerate(("idle", "due", "put off", "held"), 1):
        books.index(name, number)
    books.ledger.record([change("due", version="2"), change("put off", version="2")], MINUTE)
    books.ledger.record([change("held", DELETED)], MINUTE, held=True)
    books.ledger.defer(books.pending("put off"), "store down", NOON + MINUTE, quarantine=False)
    every = asked(1, 2, 3, 4, 9)
    assert books.proofs.put_off_among(every, NOON) == ids(1, 3, 4)
    assert books.proofs.put_off_among(every, NOON + MINUTE) == ids(1, 4)
    documents = [(SOURCE, DocumentId(name)) for name in ("idle", "due", "put off", "held", "never heard of")]
    assert books.proofs.in_hand_among(documents, NOON) == {documents[1]}
    assert books.proofs.in_hand_among(documents, NOON + MINUTE) == {documents[1], documents[2]}
    assert books.proofs.in_hand_among([(OTHER, DocumentId("due"))], NOON) == set()


def test_the_error_is_told_of_chunks_whose_document_could_not_be_written(books: Books):
    for number, name in enumerate(("good", "bad", "waiting"), 1):
        books.index(name, number)
    books.ledger.record([change("bad", version="2"), change("waiting", version="2")], MINUTE)
    books.ledger.defer(books.pending("bad"), "no text", NOON, quarantine=True)
    assert books.proofs.errors_of(asked(1, 2, 3, 4)) == {id_of(2): "no text"}


def test_the_counts_are_those_of_applied_documents_and_of_certain_chunks(books: Books):
    assert (books.proofs.certain_chunks(), books.proofs.documents_of(SOURCE)) == (0, 0)
    books.index("a", 1, 2)
    books.index("b", 3)
    books.index("a", 4, source=OTHER)
    books.ledger.record([change("c")], None)
    assert books.proofs.certain_chunks() == 4
    assert [books.proofs.documents_of(name) for name in (SOURCE, OTHER)] == [2, 1]
    books.begin("a", 2, 99)
    assert books.proofs.certain_chunks() == 3


def test_it_is_told_which_generation_all_of_this_is_said_of(books: Books):
    assert books.proofs.generation() is None
    books.generations.adopt(made("old"))
    said = books.proofs.generation()
    books.generations.begin(made("new"))
    assert books.proofs.generation() == said
    books.generations.switch(NOON)
    assert said is not None
    assert books.proofs.generation() != said
