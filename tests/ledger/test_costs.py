"""What is asked at every edit and every status costs the same however many documents there are."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.history import SqliteHistory
from freshd.ledger.sources import SqliteSources
from freshd.model import DocumentId, Pending
from tests.ledger.books import LATER, MINUTE, NOON, OTHER, SOURCE, Books, applied, change

A = DocumentId("a")


def away(ledger: SqliteLedger) -> list[Pending]:
    """Put a source off; it is another one's turn, though all of the first came before."""
    asked = ledger.take(LATER, 1, sources=[SOURCE])
    ledger.put_off_source(asked[0], "unmounted", NOON + MINUTE)
    return ledger.take(NOON, 1)


QUESTIONS: dict[str, Callable[[Database], object]] = {
    "what stands at a place": lambda database: list(SqliteLedger(database).known(SOURCE, A)),
    "what stands in a folder": lambda database: list(SqliteLedger(database).known(SOURCE, "folder")),
    "what is held of a document": lambda database: SqliteLedger(database).revision(SOURCE, A),
    "what waits of a document": lambda database: SqliteLedger(database).pending_of(SOURCE, A),
    "where a text may stand now": lambda database: SqliteLedger(database).whereabouts(SOURCE, {A}),
    "who carries an identity": lambda database: list(SqliteLedger(database).holders(SOURCE, "a")),
    "where a document may have moved": lambda database: SqliteLedger(database).new_names(SOURCE, A),
    "which deletions wait": lambda database: SqliteLedger(database).leaving(SOURCE, NOON),
    "what goes next": lambda database: SqliteLedger(database).take(NOON, 1, sources=[SOURCE]),
    "what goes next of any source": lambda database: SqliteLedger(database).take(NOON, 1),
    "that a source does not answer, and what goes next": lambda database: away(SqliteLedger(database)),
    "how many wait, and how many there are": lambda database: SqliteSources(database).state(SOURCE),
    "whether a document is known": lambda database: SqliteForgetting(database).is_known(SOURCE, A),
    "whether one is that nobody knows": lambda database: SqliteForgetting(database).is_known(SOURCE, DocumentId("zz")),
    "what leaves with a document": lambda database: SqliteForgetting(database).withdraw([1]),
    "which sources left": lambda database: SqliteForgetting(database).removed([OTHER]),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_an_answer_costs_the_same_however_many_documents_there_are(
    books: Books, monkeypatch: pytest.MonkeyPatch, question: Callable[[Database], object]
):
    """Counted in steps of SQLite's machine."""
    connect, steps = sqlite3.connect, 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def counted(*arguments: Any, **how: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **how)
        connection.set_progress_handler(step, 1)
        return connection

    def asked() -> int:
        nonlocal steps
        monkeypatch.setattr("freshd.ledger.database.sqlite3.connect", counted)
        with closing(Database(books.path)) as database:
            question(database)  # opens the connection
            steps = 0
            question(database)
        monkeypatch.undo()
        return steps

    for number, name in enumerate(("a", "folder/one", "folder/two")):
        books.index(name, number)
    books.index("a", 99, source=OTHER)
    seen = []
    for first, last in ((0, 5), (5, 500)):
        books.ledger.record([change(f"{n:04}") for n in range(first, last)], MINUTE)
        books.ledger.record([change(f"x{n:04}") for n in range(first, last)], None)
        seen.append(asked())
    assert 0 < seen[1] <= seen[0]


def test_a_source_that_never_had_a_canary_pays_nothing_for_telling_them_apart(
    books: Books, monkeypatch: pytest.MonkeyPatch
):
    """What is read beside the index for each change of a month takes three times as long."""
    connect, steps = sqlite3.connect, 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def counted(*arguments: Any, **how: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **how)
        connection.set_progress_handler(step, 1)
        return connection

    def asked(canaries: list[str]) -> int:
        nonlocal steps
        history = SqliteHistory(database)
        history.tried(SOURCE, NOON - MINUTE, without=canaries)  # opens the connection
        steps = 0
        history.tried(SOURCE, NOON - MINUTE, without=canaries)
        return steps

    for number in range(50):
        books.ledger.record([change(f"{number}")], MINUTE)
        books.ledger.commit([applied(books.pending(f"{number}"), number)])
    monkeypatch.setattr("freshd.ledger.database.sqlite3.connect", counted)
    with closing(Database(books.path)) as database:
        assert SqliteHistory(database).tried(SOURCE, NOON - MINUTE).total == 50
        assert asked([]) < asked(["canary.md"]) - 2 * 50
