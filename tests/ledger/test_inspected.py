"""A database is looked at without a trace, and the quarantined documents in it are told."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from freshd.ledger.database import SCHEMA_VERSION, Database
from freshd.ledger.inspection import Inspected, inspect
from freshd.ledger.quarantine import Quarantined
from freshd.model import DocumentId
from tests.ledger.books import DELETED, MINUTE, NOON, OTHER, SOURCE, Books, change


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_closed_ledger_is_looked_at_and_left_as_it_lies(tmp_path: Path):
    path = tmp_path / "a ledger?#.db"
    with closing(Database(path)) as database:
        database.remember("fact", "told")
        instance = database.instance
    before = contents(tmp_path)
    found = inspect(path, is_in_use=False)
    assert found == Inspected(SCHEMA_VERSION, {"instance": instance, "fact": "told"}, None)
    assert contents(tmp_path) == before


def test_a_ledger_that_somebody_works_with_is_read_with_what_is_still_in_its_log(books: Books):
    books.database.remember("fact", "told")
    assert books.path.with_name("ledger.db-wal").stat().st_size
    assert inspect(books.path, is_in_use=True).facts["fact"] == "told"


def test_a_log_that_a_killed_process_left_is_read_with_a_copy_and_left(books: Books, tmp_path: Path):
    books.database.remember("fact", "told")
    left = tmp_path / "left"
    left.mkdir()
    for end in ("", "-wal"):
        (left / f"ledger.db{end}").write_bytes(books.path.with_name(f"ledger.db{end}").read_bytes())
    before = contents(left)
    found = inspect(left / "ledger.db", is_in_use=False)
    assert (found.version, found.facts["fact"], found.damage) == (SCHEMA_VERSION, "told", None)
    assert contents(left) == before


def test_another_programs_database_has_no_facts(tmp_path: Path):
    path = tmp_path / "songs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.execute("PRAGMA user_version = 7")
    assert inspect(path, is_in_use=False) == Inspected(7, {}, None)


def test_damage_is_told_in_one_line(books: Books):
    books.index("a", 1)
    ((page,),) = books.rows("SELECT rootpage FROM sqlite_master WHERE name = 'documents'")
    books.database.close()
    assert isinstance(page, int)
    with books.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x5a" * 4096)
    damage = inspect(books.path, is_in_use=False).damage
    assert damage
    assert "\n" not in damage


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path):
    (tmp_path / "letter").write_bytes(b"Dear all, " * 1000)
    found = inspect(tmp_path / "letter", is_in_use=False)
    assert (found.version, found.facts) == (0, {})
    assert "not a database" in (found.damage or "")


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path):
    with pytest.raises(OSError, match="unable to open"):
        inspect(tmp_path / "nothing.db", is_in_use=False)


# Quarantine


def test_quarantined_documents_are_told_newest_failures_first(books: Books):
    books.index("stale", 1)
    books.index("gone", 2)
    books.ledger.record([change("stale", version="2"), change("new"), change("waiting")], MINUTE)
    books.ledger.record([change("elsewhere", source=OTHER)], MINUTE)
    books.ledger.record([change("gone", DELETED)], MINUTE)
    for _ in range(2):
        books.ledger.defer(books.pending("stale"), "no text", NOON + MINUTE, quarantine=True)
    books.ledger.defer(books.pending("new"), "too long", NOON, quarantine=True)
    books.ledger.defer(books.pending("waiting"), "store down", NOON + MINUTE, quarantine=False)
    books.ledger.defer(books.pending("elsewhere", OTHER), "no text", NOON, quarantine=True)
    stale = Quarantined(DocumentId("stale"), "no text", 2, NOON + MINUTE, is_applied=True)
    new = Quarantined(DocumentId("new"), "too long", 1, NOON, is_applied=False)
    assert books.quarantine.of(SOURCE, 10) == [new, stale]
    assert books.quarantine.of(SOURCE, 1) == [new]
    books.ledger.hurry(SOURCE)
    assert [one.next_try_at for one in books.quarantine.of(SOURCE, 10)] == [None, None]
    assert [one.next_try_at for one in books.quarantine.of(OTHER, 10)] == [NOON]


def test_of_many_documents_those_are_stale_whose_newest_state_cannot_be_read(books: Books):
    names = [f"{number:04}" for number in range(900)]
    books.ledger.record([change(name) for name in names], MINUTE)
    books.ledger.record([change(names[0], source=OTHER)], MINUTE)
    bad = {names[0], names[399], names[400], names[899]}
    for name in sorted(bad):
        books.ledger.defer(books.pending(name), "no text", NOON, quarantine=True)
    asked = [(SOURCE, DocumentId(name)) for name in names] + [(OTHER, DocumentId(names[0]))]
    assert books.quarantine.stale([*asked, *asked[:3]]) == {(SOURCE, DocumentId(name)) for name in bad}
    assert books.quarantine.stale(asked[1:2]) == books.quarantine.stale([]) == set()
