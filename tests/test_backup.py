"""A backup: of one moment, whole or not there, and an index of its own once it is put back."""

import errno
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from freshd import backup, faults
from freshd.backup import NOTE, PARTIAL, Original, back_up, check_place
from freshd.cli import app
from freshd.clock import SystemClock
from freshd.errors import ConfigError, FreshdError, StateUnusable, StoreUnavailable
from freshd.ledger import seal
from freshd.ledger.database import SCHEMA_VERSION, Database
from freshd.ledger.history import SqliteHistory
from freshd.state import StateDirectory
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.kit import forked
from tests.kit.home import Home, files
from tests.qdrant_standin import Standin, serving

N_DOCUMENTS = 12
DEPLOY = (Path(__file__).parent.parent / "deploy/README.md").read_text()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = indexed(tmp_path / "home")
    yield home
    faults.arm("")
    home.close()


def indexed(root: Path) -> Home:
    home = Home(root, files("docs", "docs"))
    for n in range(N_DOCUMENTS):
        home.write(f"docs/{n:02}.md")
    home.reindex()
    return home


def original(home: Home, **changes: Any) -> Original:
    return Original(
        **{"state": StateDirectory(home.state), "collection": "knowledge", "is_embedded": True, "reserve_bytes": 0}
        | changes
    )


def take(home: Home, into: Path, **parts: Any) -> dict[str, Any]:
    chosen = parts.pop("original", None) or original(home)
    parts = {"hold": lambda work: work(), "flush": home.whole.store.flush} | parts
    return dict(back_up(chosen, into, clock=SystemClock(), **parts))


def restore(home: Home, copy: Path) -> None:
    """Put it in the place of the state directory, as deploy/README.md says."""
    home.close()
    shutil.rmtree(home.state)
    subprocess.run(["cp", "-a", "--sparse=always", str(copy), str(home.state)], check=True)


def contents(home: Home) -> dict[str, Any]:
    points, page = {}, home.whole.store.scroll(None, 500, with_vectors=True)
    for point in page:
        points[point.chunk_id] = (dict(point.payload), point.dense, point.sparse)
    return points


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_backup_that_is_put_back_is_the_index_it_was_and_embeds_nothing(home: Home, tmp_path: Path):
    before, instance = contents(home), home.whole.ledger.instance
    report = take(home, tmp_path / "copy")
    restore(home, tmp_path / "copy")
    assert contents(home) == before
    assert home.whole.ledger.instance == instance
    assert home.embedded_by() == 0
    assert home.divergent() == 0
    assert (report["documents"], report["chunks"]) == (N_DOCUMENTS, len(before))


def test_it_says_what_it_is_a_copy_of(home: Home, tmp_path: Path):
    report = take(home, tmp_path / "copy")
    note = json.loads((tmp_path / "copy" / NOTE).read_text())
    assert note == {key: value for key, value in report.items() if key != "directory"}
    assert note["instance"] == home.whole.ledger.instance
    assert note["generation"] == home.whole.generations.current.record.name
    assert (note["schema"], note["store"]) == (SCHEMA_VERSION, "embedded")
    assert 0 <= note["held_seconds"] <= note["elapsed_seconds"]


def test_it_is_its_owners_only_and_holds_no_lock_no_token_and_no_address(home: Home, tmp_path: Path):
    StateDirectory(home.state).publish_daemon("127.0.0.1:1", "secret-of-the-daemon")
    take(home, tmp_path / "copy")
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "copy").rglob("*")}
    assert modes == {(True, 0o700), (False, 0o600)}
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    assert not [name for name in names_in(tmp_path / "copy") if name.rpartition("/")[2] in ("lock", "daemon.json")]
    small = [path for path in (tmp_path / "copy").rglob("*.*") if path.stat().st_size < 1 << 20]
    assert {"ledger.db", NOTE} <= {path.name for path in small}
    assert not [path for path in small if b"secret-of-the-daemon" in path.read_bytes()]
    generation = home.whole.generations.current.record.name
    of_state = {f"index/{name}" for name in names_in(home.state / "index")} - {f"index/{generation}/lock"}
    assert names_in(tmp_path / "copy") >= {"ledger.db", "vectors.db", NOTE} | of_state


def test_holes_stay_holes():
    """The engine's files are a thousand times larger than what is in them."""
    # Not below tmp_path: that may lie in memory, where to read a hole is to fill it.
    with tempfile.TemporaryDirectory() as folder, closing(indexed(Path(folder) / "home")) as home:
        copy = Path(folder) / "copy"
        report = take(home, copy)
        apparent = sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())
        taken = sum(path.stat().st_blocks * 512 for path in copy.rglob("*") if path.is_file())
        assert taken < apparent / 20
        assert report["bytes"] == pytest.approx(taken, abs=64 * 1024)


@pytest.mark.parametrize(
    "pieces",
    [[], [(0, b"a")], [(5_000_000, b"b" * 70_000)], [(0, b"c" * 4096), (9_000_000, b"d" * 3_000_000)]],
    ids=["nothing", "a byte", "behind a hole", "before and behind one"],
)
def test_a_file_with_holes_is_copied_byte_by_byte(tmp_path: Path, pieces: list[tuple[int, bytes]]):
    with (tmp_path / "original").open("wb") as file:
        for at, piece in pieces:
            file.seek(at)
            file.write(piece)
        file.truncate(13_000_000)
    copied = sum(backup.copy_sparse(tmp_path / "original", tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "original").read_bytes()
    assert copied <= sum(len(piece) for _, piece in pieces) + 8 * 4096


def test_a_disk_that_fails_where_holes_are_looked_for_makes_no_empty_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "original").write_bytes(b"a" * 4096)

    def fails(*_: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(backup.os, "lseek", fails)
    with pytest.raises(OSError, match="Input/output error"):
        sum(backup.copy_sparse(tmp_path / "original", tmp_path / "copy"))


def test_what_is_written_once_writes_are_let_go_is_not_in_it(home: Home, tmp_path: Path):
    """The ledger is copied after that, and is still of the moment in which the shards were."""

    def hold(work: Callable[[], Any]) -> Any:
        result = work()
        home.write("docs/later.md")
        home.reindex()
        return result

    report = take(home, tmp_path / "copy", hold=hold)
    assert "docs/later.md" in home.documents()
    restore(home, tmp_path / "copy")
    assert report["documents"] == N_DOCUMENTS
    assert "docs/later.md" not in home.documents()
    assert home.divergent() == 0


def test_everything_is_flushed_before_it_is_copied_and_only_while_writes_are_held(home: Home, tmp_path: Path):
    heard: list[str] = []

    def hold(work: Callable[[], Any]) -> Any:
        heard.append("held")
        result = work()
        heard.append("let go")
        return result

    def flush() -> None:
        heard.append("flushed")
        assert not (tmp_path / f"copy{PARTIAL}" / "index").exists()
        home.whole.store.flush()

    take(home, tmp_path / "copy", hold=hold, flush=flush)
    assert heard == ["held", "flushed", "let go"]


def test_what_changed_since_the_backup_is_found_once_it_is_put_back(home: Home, tmp_path: Path):
    take(home, tmp_path / "copy")
    home.write("docs/00.md", "# Another\n\nAnother text.\n")
    home.write("docs/new.md")
    (home.root / "docs/01.md").unlink()
    home.reindex()
    now = contents(home)
    restore(home, tmp_path / "copy")
    assert home.embedded_by() == 2  # the backup's cache knows neither
    assert {key: payload["page_content"] for key, (payload, *_) in contents(home).items()} == {
        key: payload["page_content"] for key, (payload, *_) in now.items()
    }
    assert home.documents() == {f"docs/{n:02}.md" for n in range(N_DOCUMENTS) if n != 1} | {"docs/new.md"}
    assert home.divergent() == 0


def test_who_follows_the_changes_hears_of_a_gap_each_time_a_backup_is_put_back(home: Home, tmp_path: Path):
    take(home, tmp_path / "copy")
    for n in range(3):
        home.write(f"docs/{n}.md", f"# Since\n\nSince the backup: {n}.\n")
        home.reindex()
        newest = SqliteHistory(home.whole.database).last_seq()
        restore(home, tmp_path / "copy")
        home.write("docs/one more.md")
        home.reindex()
        history = SqliteHistory(home.whole.database)
        assert not history.is_gapless(newest)
        assert len(history.entries(newest)) == n + 2, "all of it is told"
        at = history.last_seq()
        home.restart()
        home.write("docs/one more.md", "# More\n")
        home.reindex()
        assert SqliteHistory(home.whole.database).is_gapless(at), "once is enough"


def test_many_deletions_since_the_backup_are_held_once_it_is_put_back(home: Home, tmp_path: Path):
    take(home, tmp_path / "copy")
    for path in (home.root / "docs").iterdir():
        path.unlink()
    restore(home, tmp_path / "copy")
    home.reindex()
    assert len(home.documents()) == N_DOCUMENTS
    assert len(home.whole.ledger.held("docs")) == N_DOCUMENTS


def test_of_a_server_only_ledger_and_cache_are_copied(home: Home, tmp_path: Path):
    report = take(home, tmp_path / "copy", original=original(home, is_embedded=False))
    assert report["store"] == "server"
    assert names_in(tmp_path / "copy") == {"ledger.db", "vectors.db", NOTE}


def test_a_ledger_put_back_without_its_servers_points_believes_what_was_indexed_since(tmp_path: Path):
    with serving() as standin, closing(Home(tmp_path / "home", hosted(standin))) as home:
        home.write("docs/before.md")
        home.reindex()
        take(home, tmp_path / "copy", original=original(home, is_embedded=False))
        home.write("docs/since.md")
        home.reindex()
        restore(home, tmp_path / "copy")
        assert home.divergent() == 0
        assert home.documents() == {"docs/before.md", "docs/since.md"}
        assert home.embedded_by() == 0


def test_the_ledger_of_such_a_backup_does_not_fit_where_it_was_taken_either(home: Home, tmp_path: Path):
    """A process that is killed there leaves the seal as it was."""
    take(home, tmp_path / "copy", original=original(home, is_embedded=False))
    with closing(Database(tmp_path / "copy" / "ledger.db")) as ledger:
        assert not seal.fits(ledger, StateDirectory(home.state).seal_path)


def test_a_backup_of_a_ledger_that_was_brought_back_without_its_index_does_not_fit_either(home: Home, tmp_path: Path):
    """Taken before any start: once it is put back, the index is believed, as it would have been."""
    take(home, tmp_path / "old")
    home.write("docs/since.md")
    home.reindex()
    home.close()
    shutil.copy(tmp_path / "old" / "ledger.db", home.state / "ledger.db")
    back_up(original(home), tmp_path / "copy", clock=SystemClock(), hold=lambda work: work())
    restore(home, tmp_path / "copy")
    assert "docs/since.md" in home.documents()
    assert home.divergent() == 0


def hosted(standin: Standin) -> str:
    return f'[store]\nurl = "{standin.url}"\n' + files("docs", "docs")


# Where it may go


def something_in_it(into: Path) -> None:
    into.mkdir()
    (into / "somebody's").touch()


def a_file(into: Path) -> None:
    into.touch()


def a_link(into: Path) -> None:
    (into.parent / "elsewhere").mkdir()
    into.symlink_to("elsewhere")


def a_cut_off_one(into: Path) -> None:
    into.with_name(into.name + PARTIAL).mkdir()


def no_parent(into: Path) -> None:
    into.parent.rmdir()


@pytest.mark.parametrize("spoil", [something_in_it, a_file, a_link, a_cut_off_one, no_parent], ids=lambda s: s.__name__)
def test_a_place_that_is_taken_is_refused_and_left_as_it_was(home: Home, tmp_path: Path, spoil: Callable[[Path], None]):
    (tmp_path / "backups").mkdir()
    spoil(tmp_path / "backups" / "copy")
    before = names_in(tmp_path)
    with pytest.raises(ConfigError) as refused:
        take(home, tmp_path / "backups" / "copy")
    assert refused.value.hint
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("into", [".freshd", ".freshd/copy", ".freshd/index/copy", "through/copy"])
def test_the_state_directory_is_no_place_for_it(home: Home, into: str):
    (home.root / "through").symlink_to(home.state)
    before = names_in(home.state)
    with pytest.raises(ConfigError, match="expected"):
        take(home, home.root / into)
    assert names_in(home.state) == before


def test_a_relative_place_is_refused(home: Home):
    with pytest.raises(ConfigError, match="absolute"):
        check_place(StateDirectory(home.state), Path("copy"))


def test_where_the_ledger_is_lost_the_hint_names_what_makes_another(home: Home, tmp_path: Path):
    home.close()
    for path in home.state.glob("ledger.db*"):
        path.unlink()
    done = CliRunner().invoke(app, ["backup", str(tmp_path / "copy"), "--config", str(home.root / "freshd.toml")])
    assert isinstance(done.exception, StateUnusable)
    assert "ledger rebuild" in done.exception.hint


def test_an_empty_folder_becomes_the_backup(home: Home, tmp_path: Path):
    (tmp_path / "copy").mkdir()
    take(home, tmp_path / "copy")
    assert (tmp_path / "copy" / NOTE).exists()


def test_too_little_room_is_told_before_anything_is_made(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(StateDirectory, "free_bytes", lambda self: 100_000)
    with pytest.raises(FreshdError, match="MiB free, expected at least"):
        take(home, tmp_path / "copy")
    assert not names_in(tmp_path) & {"copy", f"copy{PARTIAL}"}


def test_the_reserve_of_the_state_directorys_disk_stays_free(home: Home, tmp_path: Path):
    with pytest.raises(FreshdError, match="MiB free, expected at least"):
        take(home, tmp_path / "copy", original=original(home, reserve_bytes=1 << 60))


# What comes in the way


@pytest.mark.parametrize("moment", ["mid_backup", "before_backup_sync", "before_backup_rename"])
def test_a_backup_that_fails_leaves_nothing(home: Home, tmp_path: Path, moment: str):
    faults.arm(f"{moment}:enospc")
    with pytest.raises(FreshdError, match="cannot be written"):
        take(home, tmp_path / "copy")
    assert not names_in(tmp_path) & {"copy", f"copy{PARTIAL}"}
    take(home, tmp_path / "copy")


def test_a_backup_that_is_told_to_end_leaves_nothing(home: Home, tmp_path: Path):
    def go_on() -> None:
        raise StoreUnavailable("freshd is stopping")

    with pytest.raises(StoreUnavailable):
        take(home, tmp_path / "copy", go_on=go_on)
    assert not names_in(tmp_path) & {"copy", f"copy{PARTIAL}"}


def test_a_damaged_cache_is_left_out(home: Home, tmp_path: Path):
    home.close()
    (home.state / "vectors.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    back_up(original(home), tmp_path / "copy", clock=SystemClock(), hold=lambda work: work())
    assert not (tmp_path / "copy" / "vectors.db").exists()


def test_a_cache_that_cannot_even_be_opened_is_left_out(home: Home, tmp_path: Path):
    """As one that another user owns; it was told as a ledger to be rebuilt."""
    home.close()
    (home.state / "vectors.db").unlink()
    (home.state / "vectors.db").mkdir()
    back_up(original(home), tmp_path / "copy", clock=SystemClock(), hold=lambda work: work())
    assert (tmp_path / "copy" / "ledger.db").exists()
    assert not (tmp_path / "copy" / "vectors.db").exists()


def test_a_cache_that_another_program_keeps_to_itself_is_left_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home.close()
    monkeypatch.setattr(backup, "_BUSY_TIMEOUT_S", 0.05)
    with closing(sqlite3.connect(home.state / "vectors.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        back_up(original(home), tmp_path / "copy", clock=SystemClock(), hold=lambda work: work())
    assert (tmp_path / "copy" / "ledger.db").exists()
    assert not (tmp_path / "copy" / "vectors.db").exists()


def test_a_damaged_ledger_is_no_backup(home: Home, tmp_path: Path):
    home.close()
    path = home.state / "ledger.db"
    page_bytes = 4096
    path.write_bytes(path.read_bytes()[:page_bytes] + b"\x5a" * page_bytes * 3)
    with pytest.raises(StateUnusable) as refused:
        back_up(original(home), tmp_path / "copy", clock=SystemClock(), hold=lambda work: work())
    assert "freshd ledger rebuild" in refused.value.hint
    assert not names_in(tmp_path) & {"copy", f"copy{PARTIAL}"}


@pytest.mark.parametrize("moment", [pytest.param("mid_backup", marks=pytest.mark.slow), "before_backup_rename"])
def test_a_backup_that_is_killed_is_known_for_none(home: Home, tmp_path: Path, moment: str):
    home.configure(f'[embedding]\nmodel = "alpha-32"\n{files("docs", "docs")}')
    command = ("backup", str(tmp_path / "copy"))
    how = {"folder": home.root, "module": "tests.kit.models"}
    killed = forked.run(*command, **how, environment={"FRESHD_FAULTS": f"{moment}:kill"})
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / f"copy{PARTIAL}" / NOTE).exists() or moment == "before_backup_rename"
    again = forked.run(*command, **how)
    assert again.returncode == 2
    assert f"rm -r {tmp_path / f'copy{PARTIAL}'}" in again.stderr


# Through the daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    one = Instance(tmp_path_factory.mktemp("backup"))
    for n in range(5):
        one.write(f"{n}.md", f"# Part {n}\n\nA text about number {n}.\n")
    one.start()
    one.settled()
    yield one
    one.close()


def test_the_daemon_makes_a_backup_while_it_goes_on_and_that_is_put_back_by_the_book(daemon: Instance, tmp_path: Path):
    done = daemon.command("backup", str(tmp_path / "copy"), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["documents"], report["store"]) == (5, "embedded")
    daemon.write("0.md", "# Part 0\n\nA text that was changed after the backup.\n")
    daemon.write("5.md", "# Part 5\n\nA text that was added after the backup.\n")
    (daemon.docs / "1.md").unlink()
    eventually(lambda: daemon.places("that was added after the backup"))
    assert daemon.stop() == 0
    daemon.state.path.rename(daemon.root / "former")
    subprocess.run(["cp", "-a", "--sparse=always", str(tmp_path / "copy"), str(daemon.state.path)], check=True)
    daemon.start()
    eventually(lambda: daemon.places("that was changed after the backup") == {"0.md"})
    eventually(lambda: daemon.places("that was added after the backup") == {"5.md"})
    eventually(lambda: not daemon.places("A text about number 1"))
    assert daemon.source()["documents"] == 5
    assert daemon.command("verify").returncode == 0


AWAY = '[[sources]]\nname = "away"\ntype = "files"\npath = "away"\n'

# In place of the program that moves the state directory: it tells as well who still works there.
MOVE = """#!/bin/sh
kill -0 {pid} 2>/dev/null && echo "the former daemon still works there"
exec /bin/mv "$@"
"""


@pytest.mark.parametrize("sources", [FILES, FILES + AWAY], ids=["an unreadable document", "a source that is away"])
def test_the_commands_that_restore_a_backup_come_to_an_end_and_begin_where_nobody_works_any_more(
    sources: str, tmp_path: Path
):
    """As they stand in deploy/README.md; the daemon that they end and the one that they begin are real."""
    (block,) = re.findall(r"^## Restoring it\n.*?^```sh\n(.*?)^```", DEPLOY, re.DOTALL | re.MULTILINE)
    with instance(tmp_path, sources) as one:
        one.write("0.md", "# Part 0\n\nA text about number 0.\n")
        one.write("broken.pdf", "no PDF")
        one.start()
        one.settled()
        assert one.command("backup", "copy").returncode == 0
        assert one.process is not None
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "mv").write_text(MOVE.format(pid=one.process.pid))
        (tmp_path / "bin" / "mv").chmod(0o755)
        script = block.replace("PID_OF_FRESHD", str(one.process.pid)).replace("backups/2026-11-27", "copy")
        script = script.replace("freshd wait --all", "freshd wait --all --timeout 3s")
        path = {"PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
        with (tmp_path / "shown").open("wb") as shown:
            run = subprocess.Popen(
                ["bash", "-c", script], cwd=tmp_path, env=os.environ | path, stdout=shown, start_new_session=True
            )
            try:
                assert run.wait(60) == 0
            finally:
                os.killpg(run.pid, signal.SIGTERM)  # the daemon is of its group; so is what hangs
                run.wait()
                eventually(lambda: one.state.read_daemon() is None)
        shown_text = (tmp_path / "shown").read_text()
        assert "1 point checked" in shown_text
        assert "still works there" not in shown_text


def test_only_who_may_order_may_have_a_backup_made_and_only_into_an_absolute_place(daemon: Instance, tmp_path: Path):
    with daemon.http() as client:
        bare = client.post("/backup", json={"directory": str(tmp_path / "copy")}, headers={"authorization": ""})
        assert bare.status_code == 401
        for directory in ("copy", "", "/a\0b", 7):
            assert client.post("/backup", json={"directory": directory}).status_code == 422, directory
    assert not (tmp_path / "copy").exists()


def test_the_daemon_refuses_a_place_in_its_own_words_and_goes_on(daemon: Instance):
    refused = daemon.command("backup", str(daemon.state.path / "copy"))
    assert refused.returncode == 2
    assert "in or around the state directory" in refused.stderr
    missing = daemon.command("backup", str(daemon.root / "no" / "where"))
    assert missing.returncode == 2
    assert f"mkdir -p {daemon.root / 'no'}" in missing.stderr
    assert daemon.get("/healthz").is_success


def test_no_ledger_is_rebuilt_beside_the_daemon(daemon: Instance):
    refused = daemon.command("ledger", "rebuild", "--yes")
    assert refused.returncode == 11
    assert daemon.process is not None
    assert f"process {daemon.process.pid}" in refused.stderr
    assert "stop that process" in refused.stderr


def test_a_relative_place_is_that_of_whoever_asks(daemon: Instance):
    done = daemon.command("backup", "copy")
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(daemon.root / "copy" / "ledger.db") as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
