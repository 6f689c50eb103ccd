"""The generation beside the live one: what is behind there, what stands there, and what may be shown of either."""

from dataclasses import replace

import pytest

from freshd.ledger.beside import Behind
from freshd.model import DocumentId, DocumentRef, HeldChunk, Pending, Revision
from freshd.ports import Intent
from tests.ledger.books import (
    DELETED,
    LABEL,
    MINUTE,
    MODIFIED,
    NEW_RECIPE,
    NOON,
    OTHER,
    RECIPE,
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


def beside(books: Books, name: str) -> Revision:
    return books.beside.revision(SOURCE, DocumentId(name))


def began(books: Books, name: str, version: int, *numbers: int) -> bool:
    (stands,) = books.beside.begin([Intent(SOURCE, DocumentId(name), version, ids(*numbers))])
    return stands


# What is behind


def test_an_applied_document_is_behind_until_it_stands_beside_too(books: Books):
    books.index("a", 1, content="one")
    books.index("b", 2, content="two")
    books.ledger.record([change("never applied")], None)
    assert books.names_behind() == ["a", "b"]
    books.fill("a", 11, content="one")
    assert books.names_behind() == ["b"]
    books.fill("b", 12, content="two")
    assert books.names_behind() == []


@pytest.mark.parametrize("is_filled", [True, False], ids=["filled in", "under way"])
def test_a_document_is_behind_again_when_more_than_its_digest_tells_changed(books: Books, is_filled: bool):
    """A feed's headline; and what is under way for it beside, with the former one, is given up."""
    books.generations.adopt(made("old"))
    books.generations.begin(made("new"))
    books.index("a", 1)
    if is_filled:
        books.fill("a", 11)
    planned = beside(books, "a").version
    books.ledger.record([change("a", MODIFIED, "2")], MINUTE)
    books.ledger.commit([replace(applied(books.pending("a"), 1), label=digest("another headline"))])
    assert not began(books, "a", planned, 11)
    assert books.names_behind() == ["a"]
    books.fill("a", 11)
    assert books.names_behind() == []
    books.ledger.invalidate(None, NOON, [SOURCE])
    books.ledger.commit([replace(applied(books.pending("a"), 1), label=digest("another headline"))])
    assert books.names_behind() == [], "it was only written anew"


@pytest.mark.parametrize("is_filled", [True, False], ids=["filled in", "under way"])
def test_a_document_whose_text_is_again_what_it_was_is_behind_for_what_else_changed(books: Books, is_filled: bool):
    """An entry that a feed edited, and took back under another headline, while the other generation fills."""
    books.generations.adopt(made("old"))
    books.generations.begin(made("new"))
    books.index("a", 1, content="one")
    if is_filled:
        books.fill("a", 11, content="one")
    planned = beside(books, "a").version
    for version, content, headline in (("2", "two", LABEL), ("3", "one", digest("another headline"))):
        books.ledger.record([change("a", MODIFIED, version)], MINUTE)
        books.ledger.commit([replace(applied(books.pending("a"), 1, content=content), label=headline)])
    assert not began(books, "a", planned, 11), "with the former headline, while a book was embedded"
    assert books.names_behind() == ["a"]
    books.fill("a", 11, content="one")
    assert books.names_behind() == []


def test_a_document_that_was_left_behind_before_it_stood_beside_does_not_count_as_standing_there(books: Books):
    books.generations.adopt(made("old"))
    books.generations.begin(made("new"))
    books.index("a", 1)
    books.index("b", 2)
    books.fill("b", 12)
    assert books.generations.progress()[:2] == (1, 2)


def test_a_document_that_came_and_went_beside_a_generation_that_is_only_kept_leaves_no_name(books: Books):
    """Where many come and go, such names would grow for as long as it is kept, and every look would walk them."""
    books.generations.adopt(made("old"))
    books.generations.begin(made("new"))
    books.generations.retire(NOON)
    books.index("a", 1)
    planned = beside(books, "a").version
    books.ledger.record([change("a", DELETED)], MINUTE)
    books.ledger.commit([applied(books.pending("a"))])
    assert list(books.ledger.known(SOURCE)) == []
    books.index("a", 1)
    assert not began(books, "a", planned, 11), "what was planned of the former one"
    assert books.names_behind() == ["a"]


def test_what_is_behind_is_told_with_all_that_filling_needs(books: Books):
    seen = DocumentRef(A, "1", NOON, "inode 7", is_racy=True)
    books.ledger.record([replace(change("a"), ref=seen)], None)
    books.apply("a", 1, content="one")
    (found,) = books.behind()
    ref = DocumentRef(A, "1", identity="inode 7", is_racy=True)
    assert found == Behind(books.beside.last_doc(), SOURCE, A, ref, digest("one"), RECIPE, is_unsure=False)


def test_another_content_another_recipe_and_a_broken_attempt_are_behind(books: Books):
    for number, name in enumerate(("content", "recipe", "broken", "equal"), 1):
        books.index(name, number, content="one")
        books.fill(name, number + 10, content="one")
    books.fill("recipe", 12, content="one", recipe=RECIPE)
    books.fill("content", 11, content="older")
    assert began(books, "broken", 1, 13)
    assert books.names_behind() == ["content", "recipe", "broken"]


def test_what_was_deleted_since_it_was_filled_is_behind_with_nothing_to_fill(books: Books):
    books.index("a", 1)
    books.fill("a", 11)
    books.ledger.record([change("a", DELETED)], MINUTE)
    books.apply("a")
    doc = books.beside.last_doc()
    assert books.behind() == [Behind(doc, SOURCE, A, None, None, None, is_unsure=False)]
    books.fill("a", kind=DELETED)
    assert books.behind() == []
    assert books.rows("SELECT document_id FROM documents") == [], "nothing but the name was left of it"


def test_a_document_whose_live_chunks_are_unsure_is_behind_and_says_so(books: Books):
    books.index("a", 1)
    books.index("b", 2)
    books.begin("b", 2, 3)
    assert [(one.document_id, one.is_unsure) for one in books.behind()] == [("a", False), ("b", True)]


def test_what_is_behind_is_given_page_by_page(books: Books):
    assert books.beside.last_doc() == 0
    for number in range(5):
        books.index(f"{number}", number)
    docs = [one.doc for one in books.behind()]
    assert docs == sorted(docs)
    assert books.beside.last_doc() == docs[-1]
    assert [one.doc for one in books.behind(limit=2)] == docs[:2]
    assert [one.doc for one in books.behind(after=docs[1])] == docs[2:]
    assert [one.doc for one in books.behind(after=docs[1], through=docs[3])] == docs[2:4]


def test_a_document_has_one_number_in_both_generations(books: Books):
    books.index("a", 1, source=OTHER)
    books.index("a", 2)
    numbers = {one.source: one.doc for one in books.behind()}
    assert books.beside.doc_of(SOURCE, "a") == numbers[SOURCE] != numbers[OTHER] == books.beside.doc_of(OTHER, "a")
    assert books.beside.doc_of(SOURCE, "b") is None


# What stands there


def test_what_stands_beside_is_told_apart_from_what_is_live(books: Books):
    books.index("a", 1, 2, content="one")
    books.index("b", 3)
    assert beside(books, "a") == beside(books, "never heard of") == Revision()
    books.fill("a", 12, 11, content="other")
    books.fill("b", 13)
    assert began(books, "a", 1, 15, 14)
    chunks = (HeldChunk(id_of(11), LABEL), HeldChunk(id_of(12), LABEL))
    assert beside(books, "a") == Revision(1, digest("other"), NEW_RECIPE, LABEL, chunks, ids(14, 15))
    assert (books.revision("a").version, books.revision("a").recipe) == (1, RECIPE)
    assert {chunk.chunk_id for chunk in books.revision("a").chunks} == ids(1, 2)
    assert books.beside.revision(OTHER, A) == Revision()


def test_chunks_beside_keep_the_order_of_the_document(books: Books):
    books.index("a", 1)
    item = applied(Pending(0, change("a", MODIFIED), None))
    order = tuple(HeldChunk(id_of(number), LABEL) for number in (13, 11, 12))
    books.beside.commit([replace(item, chunks=order)])
    assert beside(books, "a").chunks == order


def test_each_time_it_is_filled_it_is_another_version_and_nothing_of_the_former_is_left(books: Books):
    books.index("a", 1)
    for version, number in enumerate((11, 12, 13), 1):
        assert began(books, "a", version - 1, number)
        books.fill("a", number, content=str(version))
        revision = beside(books, "a")
        assert (revision.version, revision.digest, revision.unknown) == (version, digest(str(version)), frozenset())
        assert {chunk.chunk_id for chunk in revision.chunks} == ids(number)


def test_an_attempt_beside_that_was_planned_against_an_older_version_does_not_begin(books: Books):
    books.index("a", 1)
    books.index("b", 2)
    books.fill("a", 11)
    old = Intent(SOURCE, A, 0, ids(21))
    unheard = Intent(SOURCE, DocumentId("c"), 0, ids(22))
    current, first = Intent(SOURCE, A, 1, ids(23)), Intent(SOURCE, B, 0, ids(24))
    assert books.beside.begin([old, unheard, current, first]) == [False, False, True, True]
    assert (beside(books, "a").unknown, beside(books, "b").unknown) == (ids(23), ids(24))
    assert books.beside.begin([current]) == [True], "an attempt may be made again"


def test_filling_a_document_that_is_not_known_any_more_leaves_nothing(books: Books):
    books.index("b", 2)
    books.fill("a", 11)
    books.fill("b", 12)
    assert books.rows("SELECT chunk_id FROM chunks_beside") == [(bytes(15) + b"\x0c",)]
    assert beside(books, "a") == Revision()


def test_a_document_that_is_deleted_beside_keeps_its_live_chunks(books: Books):
    books.index("a", 1)
    books.fill("a", 11)
    began(books, "a", 1, 12)
    books.fill("a", kind=DELETED)
    assert beside(books, "a") == Revision()
    assert {chunk.chunk_id for chunk in books.revision("a").chunks} == ids(1)


def test_only_what_is_certain_must_be_in_the_store_beside(books: Books):
    assert books.beside.certain_chunks() == 0
    books.index("a", 1)
    books.fill("a", 13, 11, 12)
    assert books.beside.certain_chunks() == 3
    assert books.beside.certain(None, 10) == [id_of(11), id_of(12), id_of(13)]
    assert books.beside.certain(None, 2) == [id_of(11), id_of(12)]
    assert books.beside.certain(id_of(11), 10) == [id_of(12), id_of(13)]
    began(books, "a", 1, 12, 99)
    assert books.beside.certain_chunks() == 2


def test_documents_of_chunks_that_the_store_beside_lost_are_behind_again(books: Books):
    for number, name in enumerate("ab", 1):
        books.index(name, number)
        books.fill(name, number + 10)
    books.beside.doubt([id_of(12), id_of(99)])
    books.beside.doubt([id_of(12)])
    assert books.names_behind() == ["b"]
    assert (beside(books, "a").unknown, beside(books, "b").unknown) == (frozenset(), ids(12))
    assert books.beside.certain_chunks() == 1


# What may be shown of a generation


def test_a_generation_shows_its_own_chunks_before_and_after_the_switch(books: Books):
    books.generations.adopt(made("old"))
    books.index("a", 1, 2)
    books.generations.begin(made("new"))
    books.fill("a", 11, 12)
    everything = (1, 2, 3, 11, 12)
    for _ in range(2):
        assert books.admitted("freshd-old", everything) == ids(1, 2)
        assert books.admitted("freshd-new", everything) == ids(11, 12)
        assert books.admitted("freshd-other", everything) == books.admitted("freshd-new", ()) == set()
        books.generations.switch(NOON)


def test_of_more_ids_than_fit_one_statement_every_one_is_looked_up(books: Books):
    books.generations.adopt(made("old"))
    books.index("a", *range(1200))
    books.generations.begin(made("new"))
    books.fill("a", *range(2000, 3200))
    asked = range(600, 2600)
    assert books.admitted("freshd-old", asked) == ids(*range(600, 1200))
    assert books.admitted("freshd-new", asked) == ids(*range(2000, 2600))


def test_a_chunk_stands_amid_those_of_its_own_document_and_generation(books: Books):
    books.generations.adopt(made("old"))
    books.index("a", 1, 2, 3, 5)
    books.index("b", 7)
    books.generations.begin(made("new"))
    books.fill("a", 11, 13)
    for _ in range(2):
        assert books.around("freshd-old", (1, 2, 7, 9, 11), 1) == {1: (1, 2), 2: (1, 2, 3), 7: (7,)}
        assert books.around("freshd-old", (2,), 2) == {2: (1, 2, 3, 5)}
        assert books.around("freshd-new", (1, 11), 1) == {11: (11, 13)}
        assert books.around("freshd-other", (1, 11), 1) == books.around("freshd-new", (), 1) == {}
        books.generations.switch(NOON)


def test_of_what_is_being_forgotten_no_generation_shows_anything(books: Books):
    books.generations.adopt(made("old"))
    for number, name in enumerate("ab", 1):
        books.index(name, number)
    books.generations.begin(made("new"))
    for number, name in enumerate("ab", 11):
        books.fill(name, number)
    books.forgetting.forget(SOURCE, [A])
    assert books.admitted("freshd-old", (1, 2, 11, 12)) == ids(2)
    assert books.admitted("freshd-new", (1, 2, 11, 12)) == ids(12)
    assert books.around("freshd-old", (1, 2), 1) == {2: (2,)}
    live = {name: books.revision(name).version for name in "ab"}
    assert books.still_at("freshd-old", **live) == books.still_at("freshd-new", a=1, b=1) == {"b"}


def test_a_document_moves_on_in_the_generation_in_which_something_was_applied_and_in_both_that_are_exchanged(
    books: Books,
):
    """So whatever was planned for a generation before it became the live one is known to be over."""
    books.generations.adopt(made("old"))
    books.index("a", 1)
    books.generations.begin(made("new"))
    assert books.still_at("freshd-old", a=1, b=0) == {"a"}
    assert books.still_at("freshd-new", a=0) == {"a"}
    for number in range(11, 14):
        books.fill("a", number)
    assert books.still_at("freshd-old", a=1) == books.still_at("freshd-new", a=3) == {"a"}
    books.generations.switch(NOON)
    assert books.still_at("freshd-old", a=1) == {"a"}
    assert [version for version in range(9) if books.still_at("freshd-new", a=version)] == [4]
    assert books.still_at("freshd-other", a=4) == set()
