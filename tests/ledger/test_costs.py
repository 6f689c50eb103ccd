"""What is asked at every edit and every status costs the same however many documents there are."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.history import SqliteHistory
from freshd.ledger.sources import SqliteSources
from freshd.model import DocumentId, SourceName
from tests.ledger.books import LATER, MINUTE, NOON, OTHER, SOURCE, Books, applied, change

A = DocumentId("a")


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
    "how many wait, and how many there are": lambda database: SqliteSources(database).state(SOURCE),
    "whether a document is known": lambda database: SqliteForgetting(database).is_known(SOURCE, A),
    "whether one is that nobody knows": lambda database: SqliteForgetting(database).is_known(SOURCE, DocumentId("zz")),
    "what leaves with a document": lambda database: SqliteForgetting(database).withdraw([1]),
    "which sources left": lambda database: SqliteForgetting(database).removed([OTHER]),
}


@pytest.fixture
def count_steps(books: Books, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Database], object]], int]:
    """Counts the steps of SQLite's machine that a question takes, once it was asked before."""
    connect, steps = sqlite3.connect, 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def counted(*arguments: Any, **how: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **how)
        connection.set_progress_handler(step, 1)
        return connection

    def asked(question: Callable[[Database], object]) -> int:
        nonlocal steps
        monkeypatch.setattr("freshd.ledger.database.sqlite3.connect", counted)
        with closing(Database(books.path)) as database:
            question(database)  # opens the connection
            steps = 0
            question(database)
        monkeypatch.undo()
        return steps

    return asked


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_an_answer_costs_the_same_however_many_documents_there_are(
    books: Books, count_steps: Callable[[Callable[[Database], object]], int], question: Callable[[Database], object]
):
    for number, name in enumerate(("a", "folder/one", "folder/two")):
        books.index(name, number)
    books.index("a", 99, source=OTHER)
    seen = []
    for first, last in ((0, 5), (5, 500)):
        books.ledger.record([change(f"{n:04}") for n in range(first, last)], MINUTE)
        books.ledger.record([change(f"x{n:04}") for n in range(first, last)], None)
        seen.append(count_steps(question))
    assert 0 < seen[1] <= seen[0]


def test_a_source_that_does_not_answer_costs_the_same_however_much_of_it_waits(
    books: Books, count_steps: Callable[[Callable[[Database], object]], int]
):
    """Put off in the middle of its first index, it is passed over in one step for what is of another."""

    def away(database: Database) -> None:
        ledger = SqliteLedger(database)
        (asked,) = ledger.take(LATER, 1, sources=[SOURCE])
        ledger.put_off_source(asked, "unmounted", NOON + MINUTE)
        (found,) = ledger.take(NOON, 1)
        assert found.change.source == OTHER

    seen = []
    for first, last in ((0, 5), (5, 500)):
        books.ledger.record([change(f"{n:04}") for n in range(first, last)], None)
        books.ledger.record([change(f"{n:04}", source=OTHER) for n in range(first, last)], None)
        seen.append(count_steps(away))
    assert seen[1] <= seen[0]


def test_a_source_that_never_had_a_canary_pays_nothing_for_telling_them_apart(
    books: Books, count_steps: Callable[[Callable[[Database], object]], int]
):
    """What is read beside the index for each change of a month takes three times as long."""
    for number in range(50):
        books.ledger.record([change(f"{number}")], MINUTE)
        books.ledger.commit([applied(books.pending(f"{number}"), number)])

    def tried(*canaries: str) -> Callable[[Database], object]:
        return lambda database: SqliteHistory(database).tried(SOURCE, NOON - MINUTE, without=canaries)

    assert SqliteHistory(books.database).tried(SOURCE, NOON - MINUTE).total == 50
    assert count_steps(tried()) < count_steps(tried("canary.md")) - 2 * 50


@pytest.mark.parametrize("target", [MINUTE, None], ids=["edits", "a first index"])
def test_what_goes_next_of_many_feeds_costs_in_proportion_to_them(
    books: Books, count_steps: Callable[[Callable[[Database], object]], int], target: timedelta | None
):
    """Of each some entries are being read, and left out."""
    seen = []
    for first, last in ((0, 10), (10, 100)):
        for n in range(first, last):
            books.ledger.record([change(f"{m}", source=SourceName(f"feed{n}")) for m in range(4)], target)
        being_read = range(1, 4 * last, 2)

        def question(database: Database, last: int = last, skip: range = being_read) -> None:
            ledger = SqliteLedger(database)
            assert len(ledger.take(NOON, 5, skip=skip)) == 5
            if target is not None:
                feeds = [SourceName(f"feed{n}") for n in range(last)]
                assert len(ledger.latest(NOON, 8, sources=feeds, skip=skip)) == 2 * last

        seen.append(count_steps(question))
    assert seen[1] < 15 * seen[0]
