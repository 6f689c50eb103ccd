"""The file itself: opened, refused, locked, full, damaged, and scrubbed."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest

from freshd.errors import StateError, StateInUse, StateUnusable
from freshd.ledger.database import SCHEMA_VERSION, Database, from_us, to_us
from freshd.ledger.troubles import LedgerDiskFailed, LedgerDiskFull, LedgerLocked, LedgerNotWritable
from tests.kit.quota import used_up_quota
from tests.ledger.books import NOON, SOURCE, Books, change

REBUILD = "freshd ledger rebuild   (from the index; or restore a backup)"


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program keeps the file to itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield other


def held_open(path: Path) -> int:
    links = [Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(str(path)) for link in links)


def refused(path: Path, **how: bool) -> StateError:
    with pytest.raises(StateError) as refusal:
        Database(path, busy_timeout_s=0.05, **how)
    assert str(refusal.value).startswith(f"ledger {path}: ")
    return refusal.value


# Instants


@pytest.mark.parametrize(
    "instant",
    [
        None,
        NOON,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
    ids=["none", "noon", "epoch", "before the epoch", "another zone", "last"],
)
def test_instants_are_stored_to_the_microsecond(instant: datetime | None):
    packed = to_us(instant)
    assert from_us(packed) == instant
    assert packed is None or type(packed) is int


# Opening


def test_a_ledger_that_is_made_anew_has_an_identity_of_its_own_or_the_one_it_is_given(tmp_path: Path):
    with closing(Database(tmp_path / "a.db")) as a, closing(Database(tmp_path / "b.db")) as b:
        assert UUID(a.instance) != UUID(b.instance)
    with closing(Database(tmp_path / "c.db", instance="given")) as c:
        assert c.instance == c.recall("instance") == "given"
    with closing(Database(tmp_path / "c.db", instance="another")) as c:
        assert c.instance == "given", "one that is there keeps its own"


def test_beside_an_index_a_ledger_that_is_gone_or_empty_is_lost_and_not_made_anew(tmp_path: Path):
    path = tmp_path / "ledger.db"
    gone = refused(path, may_create=False)
    assert str(gone) == f"ledger {path}: is gone, expected that of the index beside it"
    assert gone.hint == REBUILD
    assert not path.exists()
    path.touch()
    empty = refused(path, may_create=False)
    assert str(empty) == f"ledger {path}: is empty, expected that of the index beside it"
    assert path.stat().st_size == 0


def test_beside_an_index_a_database_without_any_table_is_lost_too(tmp_path: Path):
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
        other.execute("DROP TABLE songs")
    lost = refused(path, may_create=False)
    assert str(lost) == f"ledger {path}: is empty, expected that of the index beside it"
    Database(path).close()


def test_beside_an_index_its_own_ledger_is_opened(tmp_path: Path):
    Database(tmp_path / "ledger.db", instance="given").close()
    with closing(Database(tmp_path / "ledger.db", may_create=False)) as database:
        assert database.instance == "given"


def test_a_ledger_of_another_time_says_what_to_do(tmp_path: Path):
    path = tmp_path / "ledger.db"
    Database(path).close()
    for version, hint in (
        (SCHEMA_VERSION + 1, "use the newer freshd that wrote it, or another state_dir"),
        (SCHEMA_VERSION - 1, "it is from before the first release: move the state directory away and index again"),
    ):
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"PRAGMA user_version = {version}")
        found = refused(path)
        assert str(found) == f"ledger {path}: got schema version {version}, expected {SCHEMA_VERSION}"
        assert found.hint == hint


def test_what_is_no_ledger_says_what_mends_it(tmp_path: Path):
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    found = refused(path)
    assert str(found) == f"ledger {path}: it holds another program's tables; expected an intact freshd ledger"
    assert found.hint == REBUILD
    path.unlink()
    Database(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("DELETE FROM meta")
        other.commit()
    assert str(refused(path)) == f"ledger {path}: it does not say whose it is; expected an intact freshd ledger"
    path.write_bytes(b"Dear all, " * 1000)
    assert str(refused(path)) == f"ledger {path}: file is not a database; expected an intact freshd ledger"


def test_a_place_where_nothing_may_be_written_is_not_called_damaged(tmp_path: Path):
    path = tmp_path / "missing" / "ledger.db"
    found = refused(path)
    assert isinstance(found, LedgerNotWritable)
    assert str(found) == (
        f"ledger {path}: got unable to open database file;"
        " expected that this user may write it and the folder it lies in"
    )
    assert found.hint == f"run as the user that runs freshd, or: chmod u+rwX {path.parent} {path}*"


def test_a_ledger_that_another_program_keeps_is_in_use(tmp_path: Path):
    path = tmp_path / "ledger.db"
    Database(path).close()
    with locked(path):
        found = refused(path)
    assert isinstance(found, LedgerLocked)
    assert str(found) == f"ledger {path}: got database is locked; expected that nobody but freshd works with it"
    assert found.hint == f"end what keeps it locked: fuser {path}   (tells which process)"
    Database(path).close()


def test_a_lock_that_is_let_go_of_in_time_is_waited_for(books: Books):
    with closing(sqlite3.connect(books.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.1, other.execute, ["ROLLBACK"])
        timer.start()
        books.index("a", 1)
        timer.join()
    assert books.state().documents == 1


# Transactions


def test_what_is_written_is_on_disk_when_it_is_said_to_be(books: Books):
    with books.database.write() as tx:
        assert tx.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert tx.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert books.rows("PRAGMA synchronous") == [(2,)]


def test_a_question_cannot_change_anything(books: Books):
    books.index("a", 1)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        books.database.read("DELETE FROM documents")
    assert list(books.known()) == ["a"]


def test_while_another_program_writes_a_change_is_refused_and_the_state_is_told_all_the_same(tmp_path: Path):
    with closing(Database(tmp_path / "ledger.db", busy_timeout_s=0.05)) as database:
        database.remember("fact", "told")
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerLocked):
                database.remember("fact", "changed")
            assert database.recall("fact") == "told"
            with pytest.raises(StateInUse):
                database.remember("fact", "changed")
            other.execute("ROLLBACK")
        database.remember("fact", "changed")
        assert database.recall("fact") == "changed"


def test_a_full_disk_is_told_as_what_it_is(books: Books):
    with books.database.write() as tx:
        pages = tx.execute("PRAGMA page_count").fetchone()[0]
        tx.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerDiskFull) as full:
        books.ledger.record([change(f"{n:0900}") for n in range(500)], None)
    assert str(full.value) == f"ledger {books.path}: got database or disk is full; expected a disk that takes it"
    assert full.value.hint == f"free some disk space: df {books.path.parent}   (tells how much there is)"
    assert isinstance(full.value, sqlite3.OperationalError), "whoever waits for room waits for this"


def said_by_sqlite(code: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, code), code
    return error


def fail(books: Books, code: str) -> None:
    with books.database.write() as tx:
        tx.execute("INSERT INTO meta VALUES ('fact', 'lost')")
        raise said_by_sqlite(code)


@pytest.mark.parametrize("code", ["SQLITE_IOERR_FSYNC", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_READ", "SQLITE_IOERR"])
def test_after_an_input_output_error_nothing_is_asked_of_a_ledger_before_it_is_opened_anew(books: Books, code: str):
    """What a failed sync left is unknown, and another one may call it written."""
    books.index("a", 1)
    with pytest.raises(LedgerDiskFailed) as failed:
        fail(books, code)
    assert str(failed.value) == (
        f"ledger {books.path}: got disk I/O error ({code}); expected a disk that takes it and gives it back"
    )
    assert "dmesg" in failed.value.hint
    assert failed.value.exit_code == 1, "12 would keep systemd from starting it again"
    for ask in (books.state, lambda: books.index("b", 1), books.database.damage, books.database.scrub):
        with pytest.raises(LedgerDiskFailed) as again:
            ask()
        assert str(again.value) == str(failed.value)
    reopened = books.reopened()
    assert reopened.database.recall("fact") is None
    reopened.index("b", 1)
    assert reopened.state().documents == 2


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("SQLITE_FULL", LedgerDiskFull),
        ("SQLITE_IOERR_SHMSIZE", LedgerDiskFull),
        ("SQLITE_IOERR_NOMEM", sqlite3.OperationalError),
        ("SQLITE_BUSY", LedgerLocked),
    ],
)
def test_no_room_no_memory_and_a_lock_are_waited_for_on_the_ledger_as_it_is_open(books: Books, code: str, told: type):
    with pytest.raises(told):
        fail(books, code)
    books.index("a", 1)
    assert books.database.recall("fact") is None


def test_a_quota_that_is_used_up_is_waited_for_on_the_ledger_as_it_is_open(books: Books):
    with used_up_quota(), pytest.raises(LedgerDiskFull) as full:
        fail(books, "SQLITE_IOERR_WRITE")
    assert str(full.value) == f"ledger {books.path}: got a quota that is used up; expected one that takes it"
    assert full.value.hint == "free some disk space: quota -s   (tells how much this user may have)"
    books.index("a", 1)
    assert books.database.recall("fact") is None


def test_a_sync_that_failed_is_not_tried_again_whatever_a_quota_says(books: Books):
    with used_up_quota(), pytest.raises(LedgerDiskFailed):
        fail(books, "SQLITE_IOERR_FSYNC")


def test_a_mistake_of_freshds_own_is_not_called_a_damaged_ledger(books: Books):
    with pytest.raises(sqlite3.IntegrityError) as mistake, books.database.write() as tx:
        tx.execute("INSERT INTO meta VALUES ('instance', 'twice')")
    assert not isinstance(mistake.value, StateUnusable)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        books.database.read("SELECT * FROM songs")
    books.index("a", 1)


def test_facts_are_remembered_until_they_are_told_anew(books: Books):
    assert books.database.recall("fact") is None
    books.database.remember("fact", "told")
    books.database.remember("fact", "told anew")
    assert books.database.recall("fact") == "told anew"
    assert books.rows("SELECT count(*) FROM meta WHERE key = 'fact'") == [(1,)]
    assert books.reopened().database.recall("fact") == "told anew"


def test_a_closed_ledger_keeps_no_file_open_and_answers_nobody(books: Books):
    books.index("a", 1)
    books.state()
    assert held_open(books.path) > 0
    with books.database._reader() as reader:
        books.database.close()
        assert reader.execute("SELECT count(*) FROM documents").fetchone()[0] == 1, "who is reading reads on"
    assert held_open(books.path) == 0
    with pytest.raises(sqlite3.ProgrammingError, match="the ledger is closed"):
        books.state()
    with pytest.raises(sqlite3.ProgrammingError):
        books.database.remember("fact", "told")


# Damage


def spoiled(books: Books) -> Books:
    """Overwrite the page in which the table of documents begins, while the ledger is not open."""
    books.index("a", 1)
    ((page,),) = books.rows("SELECT rootpage FROM sqlite_master WHERE name = 'documents'")
    books.database.close()
    assert isinstance(page, int)
    with books.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x5a" * 4096)
    return books


def test_a_whole_ledger_is_known_for_whole(books: Books):
    books.index("a", 1)
    assert books.database.damage() is None
    books.database.expect_whole()


def test_damage_anywhere_is_found_and_told_in_one_line(books: Books):
    path = spoiled(books).path
    with closing(Database(path)) as database:
        damage = database.damage()
        assert damage
        assert damage == " ".join(damage.split())
        with pytest.raises(StateUnusable) as refusal:
            database.expect_whole()
        assert str(refusal.value) == f"ledger {path}: is damaged: {damage}; expected an intact freshd ledger"
        assert refusal.value.hint == REBUILD


def test_a_question_that_meets_damage_says_what_mends_it(books: Books):
    path = spoiled(books).path
    with closing(Database(path)) as database:
        with pytest.raises(StateUnusable, match="malformed") as refusal:
            database.read("SELECT * FROM documents")
        assert refusal.value.hint == REBUILD
        with pytest.raises(StateUnusable, match="malformed"), database.write() as tx:
            tx.execute("DELETE FROM documents")


# Scrubbing


def test_of_what_was_deleted_no_text_is_left_in_the_file_or_its_log(books: Books):
    for number in range(5):
        books.index(f"zebulon quartermaine {number}", number)
    with books.database.write() as tx:
        for table in ("documents", "history"):
            tx.execute(f"DELETE FROM {table}")
    assert any(b"zebulon" in path.read_bytes() for path in books.path.parent.glob("ledger.db*"))
    assert books.database.scrub() is True
    assert not any(b"zebulon" in path.read_bytes() for path in books.path.parent.glob("ledger.db*"))
    assert books.path.with_name("ledger.db-wal").stat().st_size == 0
    assert books.sources.names() == [SOURCE]
    assert books.database.damage() is None


def test_while_another_program_writes_scrubbing_waits(tmp_path: Path):
    path = tmp_path / "ledger.db"
    with closing(Database(path, busy_timeout_s=0.05)) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert database.scrub() is False
            other.execute("ROLLBACK")
        assert database.scrub() is True
