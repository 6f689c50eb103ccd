"""The texts of the ledger's statements: a connection keeps what it made of each, and each takes memory."""

import pytest

from freshd.ledger.database import Database
from tests.ledger.books import LATER, NOON, SOURCE, Books, id_of


def _asked(books: Books, n: int) -> None:
    """Ask everything that is asked of any number of things."""
    ids = [id_of(i) for i in range(n)]
    books.ledger.admitted(ids)
    books.admitted("freshd-alpha", range(n))
    books.still_at("freshd-alpha", **{str(i): i for i in range(n)})
    books.proofs.claims_of(ids)
    books.proofs.unknown_among(ids)
    books.proofs.errors_of(ids)
    books.proofs.put_off_among(ids, NOON.replace(microsecond=n))
    books.ledger.spare(lambda: [(SOURCE, str(i)) for i in range(n)], LATER - NOON)
    books.ledger.take(NOON.replace(microsecond=n), 10, sources=[SOURCE], skip=range(n))
    books.ledger.is_through(SOURCE, n, due_by=LATER)


def test_however_many_things_are_asked_about_the_statements_are_the_same(books: Books, monkeypatch: pytest.MonkeyPatch):
    texts: set[str] = set()
    read = Database.read

    def heard(database: Database, sql: str, values: object = ()) -> object:
        texts.add(sql)
        return read(database, sql, values)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "read", heard)
    _asked(books, 1)
    of_one = set(texts)
    for n in (0, 2, 7, 600):
        _asked(books, n)
    assert texts == of_one


def test_any_number_of_chunks_is_found_by_id(books: Books):
    books.index("a", *range(1_000))
    for n in (0, 1, 2, 999, 1_000):
        asked = [id_of(i) for i in range(n)]
        assert books.ledger.admitted(asked) == set(asked)
    assert books.ledger.admitted([id_of(1_000), id_of(999), id_of(999)]) == {id_of(999)}
