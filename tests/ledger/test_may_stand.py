"""Where the text of what is gone may stand: told so that whoever reads on needs to ask nothing else."""

from dataclasses import replace

from freshd.ledger.whereabouts import Whereabouts
from freshd.model import DocumentId, DocumentRef
from tests.ledger.books import MINUTE, NOON, OTHER, SOURCE, Books, change, digest

GONE, UNHEARD = DocumentId("gone"), DocumentId("never heard of")


def test_an_unread_document_that_may_carry_the_text_is_told_as_it_was_last_seen(books: Books):
    seen = DocumentRef(DocumentId("other"), "7", NOON, "inode 7", is_racy=True)
    books.ledger.record([replace(change("other"), ref=seen)], MINUTE)
    books.ledger.record([change("gone", identity="inode 7")], MINUTE)
    books.apply("gone", 1, content="one")
    found = books.ledger.whereabouts(SOURCE, {GONE})
    ref = DocumentRef(DocumentId("other"), "7", identity="inode 7", is_racy=True)
    assert found == {GONE: Whereabouts(digest("one"), None, (ref,))}


def test_of_a_document_that_nobody_knows_nothing_is_told_and_still_there_is_an_answer(books: Books):
    books.index("gone", 1, content="one", source=OTHER)
    assert books.ledger.whereabouts(SOURCE, {GONE, UNHEARD}) == {GONE: Whereabouts(), UNHEARD: Whereabouts()}
    assert books.ledger.whereabouts(SOURCE, set()) == {}


def test_copies_that_are_gone_together_find_the_one_that_stays(books: Books):
    for number, name in enumerate(("stays", "gone", "gone too"), 1):
        books.index(name, number, content="same")
    gone = {GONE, DocumentId("gone too")}
    expected = Whereabouts(digest("same"), DocumentId("stays"), ())
    assert books.ledger.whereabouts(SOURCE, gone) == dict.fromkeys(gone, expected)
    everything = gone | {DocumentId("stays")}
    nowhere = Whereabouts(digest("same"), None, ())
    assert books.ledger.whereabouts(SOURCE, everything) == dict.fromkeys(everything, nowhere)
