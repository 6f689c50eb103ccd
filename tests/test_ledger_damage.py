"""A ledger that is damaged, lost, somebody else's or from another time: refused as it is, or caught up; never empty."""

import os
import resource
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from freshd import compose
from freshd.cli import app
from freshd.compose.recovering import open_ledger
from freshd.daemon.live import Live
from freshd.errors import FreshdError, StateInUse, StateUnusable, StoreError, StoreUnavailable
from freshd.ledger import seal
from freshd.ledger.database import SCHEMA_VERSION, Database
from freshd.ledger.history import SqliteHistory
from freshd.ledger.troubles import LedgerLocked, LedgerNotWritable
from freshd.model import SourceName
from freshd.state import StateDirectory
from freshd.stores import server
from freshd.verify import NotVerified
from tests.kit.home import Home, files
from tests.kit.world import copy_sparse
from tests.qdrant_standin import Standin, serving
from tests.scheduler.parts import eventually

N_DOCUMENTS = 12
NOBODY = 65534
REBUILD = "freshd ledger rebuild"
LOADING_S = 5.0
"""For what a command imports, on a busy machine; the lock itself is given up after half a second."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index and its ledger, closed."""
    home = Home(tmp_path_factory.mktemp("made"), files("docs", "docs"))
    for n in range(N_DOCUMENTS):
        home.write(f"docs/{n:02}.md")
    home.reindex()
    home.close()
    return home.root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "root", copy_function=copy_sparse)
    return tmp_path / "root"


@pytest.fixture
def home(root: Path) -> Iterator[Home]:
    home = Home(root, files("docs", "docs"))
    yield home
    home.close()


def overwritten(at: int, n: int = 64) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = bytearray(path.read_bytes())
        start = at if at >= 0 else len(content) + at
        content[start : start + n] = bytes(byte ^ 0x5A for byte in content[start : start + n])
        path.write_bytes(content)

    return spoil


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10_000])


def another_programs(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE songs (name TEXT)")


def a_text(path: Path) -> None:
    path.write_text("It was a dark and stormy night. " * 200)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def without_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 0")
        database.execute("VACUUM")


SPOILT = {
    "the header": (overwritten(0, 16), REBUILD),
    "the page size": (overwritten(16, 4), REBUILD),
    "the schema": (overwritten(100, 200), REBUILD),
    "the second page": (overwritten(4096), REBUILD),
    "the third page": (overwritten(8192, 512), REBUILD),
    "cut short": (truncated, REBUILD),
    "empty": (emptied, REBUILD),
    "a text": (a_text, REBUILD),
    "another program's": (another_programs, REBUILD),
    "no table in it": (without_tables, REBUILD),
    "of a newer freshd": (newer, "use the newer freshd"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_no_whole_ledger_is_refused_with_what_mends_it_and_left_as_it_was(root: Path, how: str):
    spoil, hint = SPOILT[how]
    path = root / ".freshd" / "ledger.db"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(StateUnusable) as refused, open_ledger(StateDirectory(root / ".freshd")):
        pass
    assert refused.value.exit_code == 12
    assert hint in refused.value.hint
    assert str(path) in str(refused.value)
    assert path.read_bytes() == before


def test_every_page_of_a_ledger_is_looked_at_before_anything_is_done(root: Path):
    """Damage deep in the file would come up in the middle of a batch, or never."""
    path = root / ".freshd" / "ledger.db"
    whole = path.read_bytes()
    for page in range(4096, len(whole), 4096):
        path.write_bytes(whole[:page] + b"\xff" * 4096 + whole[page + 4096 :])
        with pytest.raises(StateUnusable), open_ledger(StateDirectory(root / ".freshd")):
            pytest.fail(f"page at {page} is not looked at")


COMMANDS: tuple[list[str], ...] = (
    ["status"],
    ["history"],
    ["search", "anything"],
    ["reindex"],
    ["reindex", "--dry-run"],
    ["verify"],
    ["run"],
    ["deletions", "list", "docs"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "empty"])
def test_no_command_takes_a_ledger_lost_beside_an_index_for_a_new_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], is_gone: bool
):
    path = root / ".freshd" / "ledger.db"
    path.unlink() if is_gone else emptied(path)
    (root / "freshd.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n' + files("docs", "docs"))
    monkeypatch.chdir(root)
    with pytest.raises(FreshdError) as refused:
        app(command, standalone_mode=False)
    assert refused.value.exit_code == 12
    assert REBUILD in refused.value.hint
    assert ("is gone" if is_gone else "is empty") in str(refused.value)
    assert not path.exists() if is_gone else path.read_bytes() == b""


def test_a_state_directory_without_an_index_begins_with_a_new_ledger(tmp_path: Path):
    """A crash right after the file was made leaves it empty."""
    state = StateDirectory(tmp_path / "state")
    with state.lock():
        state.ledger_path.touch()
        with open_ledger(state) as database:
            assert database.instance


def test_a_ledger_that_becomes_damaged_while_it_is_open_says_what_mends_it(root: Path):
    """Not every page is in memory: what is read anew may be another file by now."""
    with closing(Database(root / ".freshd" / "ledger.db")) as database:
        overwritten(4096, 8192)(root / ".freshd" / "ledger.db")
        tables = ("documents", "chunks", "sources", "history", "pending")
        with pytest.raises(StateUnusable) as refused:
            _ = [database.read(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    assert REBUILD in refused.value.hint


@contextmanager
def as_ordinary_user(*paths: Path) -> Iterator[None]:
    """Be somebody to whom things can be forbidden, and own the paths."""
    if os.geteuid() != 0:
        yield
        return
    for path in paths:
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_ledger_that_may_not_be_written_is_told_so_and_not_called_damaged(root: Path):
    # Not below tmp_path: its parents are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        shutil.copy(root / ".freshd" / "ledger.db", path)
        path.chmod(0o400)
        os.chmod(folder, 0o500)
        before = path.read_bytes()
        with as_ordinary_user(Path(folder), path), pytest.raises(LedgerNotWritable) as refused:
            Database(path)
        os.chmod(folder, 0o700)
        assert (refused.value.exit_code, path.read_bytes()) == (12, before)
        assert "chmod u+rwX" in refused.value.hint


@pytest.fixture
def locked(root: Path) -> Iterator[Path]:
    """A ledger that another program does not let go of."""
    path = root / ".freshd" / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE meta SET value = value")
        yield path


def test_a_ledger_that_another_program_keeps_is_in_use_and_not_damaged(locked: Path):
    with pytest.raises(StateInUse, match="nobody but freshd works with it") as refused:
        Database(locked, busy_timeout_s=0.1)
    assert (refused.value.exit_code, refused.value.retryable) == (11, True)
    assert "fuser" in refused.value.hint


def test_a_lock_taken_while_freshd_works_is_waited_for_and_then_told(root: Path):
    path = root / ".freshd" / "ledger.db"
    with closing(Database(path, busy_timeout_s=0.1)) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerLocked) as refused:
                database.remember("a", "fact")
            other.execute("ROLLBACK")
        assert isinstance(refused.value, sqlite3.OperationalError)  # whoever waits for a lock waits for this one
        database.remember("a", "fact")
        assert database.recall("a") == "fact"


OPENING: tuple[list[str], ...] = (
    ["run"],
    ["reindex"],
    ["verify"],
    ["backup", "copy"],
    ["ledger", "rebuild", "--yes"],
    ["deletions", "list", "docs"],
)


@pytest.mark.parametrize("command", OPENING, ids=" ".join)
def test_a_second_opening_of_a_state_directory_is_told_who_is_there_and_touches_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
):
    (root / "freshd.toml").write_text('[http]\nlisten = "127.0.0.1:0"\n' + files("docs", "docs"))
    monkeypatch.chdir(root)
    with StateDirectory(root / ".freshd").lock():
        before = sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))
        began_s = time.monotonic()
        with pytest.raises(StateInUse, match=f"process {os.getpid()}") as refused:
            app(command, standalone_mode=False)
        assert time.monotonic() - began_s < 30 + LOADING_S
        assert sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*")) == before
    assert refused.value.exit_code == 11
    assert refused.value.hint


# Ledger and index of two moments


def contents(home: Home) -> dict[str, Any]:
    return {point.chunk_id: dict(point.payload) for point in home.whole.store.scroll(None, 500)}


def texts(home: Home) -> dict[str, str]:
    return {chunk_id: payload["page_content"] for chunk_id, payload in contents(home).items()}


def keep_ledger(home: Home) -> Path:
    """Copy the ledger as it is, while freshd runs."""
    copy = home.root / "ledger.kept"
    with closing(sqlite3.connect(home.state / "ledger.db")) as original, closing(sqlite3.connect(copy)) as target:
        original.backup(target)
    return copy


def bring_back(home: Home, ledger: Path) -> None:
    home.close()
    for path in home.state.glob("ledger.db*"):
        path.unlink()
    shutil.copy(ledger, home.state / "ledger.db")


def change_much(home: Home) -> None:
    """Every kind of change that a ledger can have missed."""
    home.write("docs/00.md", "# Another\n\nAnother text.\n")
    home.write("docs/01.md", "# docs/01.md\n\nText of docs/01.md.\n\n# More\n\nAnd more.\n")
    home.write("docs/new.md")
    home.write("docs/copy.md", "# docs/05.md\n\nText of docs/05.md.\n")
    (home.root / "docs/02.md").unlink()
    (home.root / "docs/03.md").rename(home.root / "docs/moved.md")


def test_a_ledger_that_is_older_than_its_index_catches_up_and_embeds_nothing(home: Home):
    home.reindex()
    old = keep_ledger(home)
    change_much(home)
    home.reindex()
    expected, shown = texts(home), home.documents()
    bring_back(home, old)
    assert home.embedded_by() == 0
    assert (texts(home), home.documents()) == (expected, shown)
    assert home.divergent() == 0
    home.restart()
    assert home.embedded_by() == 0
    assert home.divergent() == 0


def test_who_follows_the_changes_hears_of_a_gap_once_an_older_ledger_is_brought_back(home: Home):
    home.reindex()
    old = keep_ledger(home)
    change_much(home)
    home.reindex()
    newest = SqliteHistory(home.whole.database).last_seq()
    bring_back(home, old)
    for n in range(newest):
        home.write(f"docs/later/{n:02}.md")
    home.reindex()
    history = SqliteHistory(home.whole.database)
    assert history.last_seq() > newest
    assert not history.is_gapless(newest)
    assert history.is_gapless(history.entries(newest, 1)[0].seq)


def test_a_text_that_was_put_back_meanwhile_is_not_missed(home: Home):
    """The old ledger is right about the source and wrong about the store: nothing would look changed."""
    home.reindex()
    old = keep_ledger(home)
    before = home.write("docs/00.md").read_text()
    home.write("docs/00.md", "# Another\n\nAnother text.\n")
    home.reindex()
    (home.root / "docs/00.md").write_text(before)
    bring_back(home, old)
    assert home.embedded_by() == 0
    assert "Text of docs/00.md." in texts(home).values()
    assert "Another text." not in texts(home).values()
    assert home.divergent() == 0


def test_an_old_ledger_deletes_nothing_that_the_guard_would_hold(home: Home):
    home.reindex()
    old = keep_ledger(home)
    for n in range(40):
        home.write(f"docs/later/{n:02}.md")
    home.reindex()
    shutil.rmtree(home.root / "docs/later")
    bring_back(home, old)
    home.reindex()
    assert len(home.documents()) == N_DOCUMENTS + 40
    assert len(home.whole.ledger.held("docs")) == 40


def test_a_repair_before_any_start_removes_nothing_that_a_start_would_have_believed(home: Home):
    home.reindex()
    old = keep_ledger(home)
    home.write("docs/new.md")
    home.reindex()
    bring_back(home, old)
    (home.root / "docs/new.md").unlink()
    verify(home, "--repair")
    assert "docs/new.md" in home.documents()
    assert home.divergent() == 0


def test_a_verify_before_any_start_changes_nothing_and_does_not_name_a_repair(home: Home):
    home.reindex()
    old = keep_ledger(home)
    home.write("docs/new.md")
    home.reindex()
    bring_back(home, old)
    for _ in range(2):
        with pytest.raises(StoreError, match="differ in 1 point") as told:
            verify(home)
        assert told.value.hint.startswith("freshd reindex ")
    assert home.embedded_by() == 0
    assert home.divergent() == 0


def test_a_repair_of_a_lost_index_before_any_start_says_what_puts_it_back(home: Home):
    home.reindex()
    home.close()
    shutil.rmtree(home.state / "index")
    with pytest.raises(NotVerified) as told:
        verify(home, "--repair")
    assert told.value.hint.startswith("freshd reindex ")
    assert home.embedded_by() == 0
    assert home.divergent() == 0


def test_what_an_index_lost_beside_its_own_ledger_is_told_with_the_repair(home: Home):
    home.reindex()
    home.whole.store.remove([next(iter(texts(home)))])
    home.whole.store.flush()
    home.close()
    with pytest.raises(StoreError, match="differ in 1 point") as told:
        verify(home)
    assert told.value.hint == "freshd verify --repair"


def verify(home: Home, *options: str) -> None:
    """In this process, as the first command after whatever happened; with the model that the home has."""
    home.close()
    with mock.patch.object(compose, "open_embedder", return_value=home.embedder):
        app(["verify", *options, "--config", str(home.root / "freshd.toml")], standalone_mode=False)


def test_an_index_that_is_older_than_its_ledger_is_brought_up_to_date_and_embeds_nothing(home: Home):
    home.reindex()
    home.close()
    shutil.copytree(home.state / "index", home.root / "index.kept", copy_function=copy_sparse)
    change_much(home)
    home.reindex()
    expected, shown = texts(home), home.documents()
    home.close()
    shutil.rmtree(home.state / "index")
    (home.root / "index.kept").rename(home.state / "index")
    assert home.embedded_by() == 0
    assert (texts(home), home.documents()) == (expected, shown)
    assert home.divergent() == 0


def test_an_index_that_is_gone_is_put_back_and_embeds_nothing(home: Home):
    home.reindex()
    expected = texts(home)
    home.close()
    (home.state / "index").rename(home.root / "index.away")
    assert home.embedded_by() == 0
    assert texts(home) == expected
    assert home.divergent() == 0


def test_ledger_and_index_that_stayed_together_are_believed_without_a_look(home: Home, monkeypatch: pytest.MonkeyPatch):
    home.reindex()
    home.close()
    monkeypatch.setattr("freshd.compose.recovering.Survey", lambda *_: pytest.fail("every point is read"))
    home.reindex()
    home.restart()


def test_a_seal_that_is_renewed_while_another_program_holds_the_ledger_stays_as_it_is(tmp_path: Path):
    """Else the next start would take the two for strangers, read every point, and tell of a gap."""
    seal_path = tmp_path / "index" / "seal"
    with (
        closing(Database(tmp_path / "ledger.db", busy_timeout_s=0.05)) as ledger,
        closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other,
    ):
        seal.renew(ledger, seal_path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerLocked):
            seal.renew(ledger, seal_path)
        assert seal.fits(ledger, seal_path)
        other.execute("ROLLBACK")
        before = seal_path.read_bytes()
        seal.renew(ledger, seal_path)
        assert seal.fits(ledger, seal_path)
        assert seal_path.read_bytes() != before


def test_a_ledger_copied_while_a_daemon_ran_believes_the_index_although_that_daemon_was_killed(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    """It may have run for months, and have opened nothing since."""
    monkeypatch.setattr("freshd.daemon.live._SEAL_EVERY_S", 0.0)
    killed = home.root.parent / "killed"
    live = Live(home.whole)
    live.start()
    try:
        live.reindex([SourceName("docs")], full=False)
        eventually(lambda: live.not_ready() is None and not home.whole.sources.state(SourceName("docs")).pending)
        old = keep_ledger(home)
        home.write("docs/new.md")
        live.reindex([SourceName("docs")], full=False)
        eventually(lambda: "docs/new.md" in home.documents())
        shutil.copytree(home.root, killed, copy_function=copy_sparse)  # nothing in it was closed
    finally:
        live.stop()
    (killed / "docs/new.md").unlink()
    with closing(Home(killed, files("docs", "docs"))) as again:
        bring_back(again, old)
        assert "docs/new.md" in again.documents()
        assert again.divergent() == 0


@pytest.mark.parametrize("is_one", [True, False])
def test_while_no_file_can_be_opened_the_store_is_unavailable_and_nothing_breaks(home: Home, is_one: bool):
    """What a daemon waits for, and a command says, is an error of ours."""
    home.reindex()
    if not is_one:
        (home.state / "index" / "seal").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(StoreUnavailable, match="Too many open files") as told:
            home.whole.open_store()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "index/seal" in str(told.value)
    assert told.value.hint
    home.whole.open_store()
    assert home.divergent() == 0


def test_a_process_that_was_killed_leaves_ledger_and_index_together(home: Home, monkeypatch: pytest.MonkeyPatch):
    home.reindex()
    shutil.copytree(home.root, home.root.parent / "killed", copy_function=copy_sparse)  # nothing in it was closed
    monkeypatch.setattr("freshd.compose.recovering.Survey", lambda *_: pytest.fail("every point is read"))
    killed = Home(home.root.parent / "killed", files("docs", "docs"))
    killed.reindex()
    killed.close()


# On a server


@pytest.fixture
def standin() -> Iterator[Standin]:
    with serving() as made:
        yield made


def test_a_server_whose_collection_is_another_ledgers_refuses_and_says_how_to_take_it_over(
    root: Path, tmp_path: Path, standin: Standin
):
    """That may be a ledger that was lost here; or the collection may be somebody else's."""
    on_server = f'[store]\nurl = "{standin.url}"\n' + files("docs", "docs")
    home = Home(root, on_server)
    shutil.rmtree(home.state)
    home.reindex()
    home.close()
    shutil.rmtree(home.state)
    n_requests = len(standin.requests)
    with pytest.raises(server.AnothersCollection) as refused:
        _ = home.whole
    home.close()
    assert refused.value.exit_code == 12
    assert REBUILD in refused.value.hint
    assert not [path for method, path in standin.requests[n_requests:] if method in ("PUT", "DELETE")]


def test_two_openings_of_one_ledger_take_turns(root: Path):
    """Nobody has to: the state directory's lock keeps a second one out; but nothing breaks."""
    path, errors = root / ".freshd" / "ledger.db", []

    def write(name: str) -> None:
        try:
            with closing(Database(path)) as database:
                for n in range(20):
                    database.remember(f"{name}-{n}", "x")
        except Exception as error:  # noqa: BLE001 - the test's finding
            errors.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
