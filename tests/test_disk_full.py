"""A disk that fills up under a running freshd: it stops writing, stays up, says so, and carries on by itself.

The embedded engine writes through sparse memory maps: on a full disk it ends by SIGBUS, which nothing can catch.
So what is tested is that it never comes so far; the state directory lies on a file system of its own for that.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from uuid import UUID

import pytest

from freshd.dryrun import NullStore, copy_ledger
from freshd.errors import StateUnusable, StoreUnavailable
from freshd.ledger.database import Database
from freshd.ledger.inspection import inspect
from freshd.model import ChunkId
from freshd.ports import StoredPoint
from freshd.rebuild import Survey
from tests.daemon.instance import FILES, Instance, eventually
from tests.kit import forked
from tests.kit.forked import Forked

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not running as root")

NAME = "handbook"
RESERVE = 24 * 2**20
SETTINGS = f"[disk]\nreserve_bytes = {RESERVE}\n"
SIZE = 192 * 2**20


@contextmanager
def file_system(at: Path, *options: str) -> Iterator[Path]:
    """Mount a file system in memory that has an end."""
    at.mkdir(mode=0o700)
    named = ",".join([f"size={SIZE}", "mode=0700", *options])
    subprocess.run(["mount", "-t", "tmpfs", "-o", named, "freshd-test", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


class Ballast:
    """A file that takes away room."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"
        self._disk = disk
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)

    def fill_to(self, percent: int) -> None:
        """Take so much that the disk is full to so many percent; what is there already is left alone."""
        own = os.fstat(self._descriptor).st_blocks * 512
        free = os.statvfs(self._disk).f_bavail * os.statvfs(self._disk).f_frsize
        wanted = max(0, own + free - SIZE * (100 - percent) // 100)
        if wanted < own:
            os.ftruncate(self._descriptor, wanted)
        elif wanted > own:
            os.posix_fallocate(self._descriptor, 0, wanted)

    def take_all(self) -> None:
        with open(self._disk / "rest", "ab") as rest:
            try:
                while True:
                    os.write(rest.fileno(), bytes(4096))
            except OSError:
                return

    def leave(self, n_bytes: int) -> None:
        """Give back a little of all that was taken."""
        os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - n_bytes)

    def give_back(self) -> None:
        (self._disk / "rest").unlink(missing_ok=True)
        os.ftruncate(self._descriptor, 0)


def shortage(instance: Instance) -> str | None:
    """Give why the daemon is not ready, if that is for want of room."""
    answer = instance.get("/readyz")
    return answer.text if answer.status_code == 503 and "free" in answer.text else None


def holds(instance: Instance, text: str) -> bool:
    answer = instance.get("/search", q=text, k=1)
    return answer.status_code == 200 and any(text in hit["text"] for hit in answer.json()["hits"])


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with file_system(tmp_path / ".freshd"):
        made = Instance(tmp_path, FILES, settings=SETTINGS)
        made.write("first.md", "# First\n\nThe kettle is blue.\n")
        try:
            yield made
        finally:
            made.close()


@pytest.mark.timeout(240)
def test_an_edit_at_every_fill_level_is_applied_or_waits_and_nothing_dies(instance: Instance, tmp_path: Path):
    instance.start()
    eventually(lambda: holds(instance, "kettle"))
    children = instance.children()
    ballast = Ballast(tmp_path / ".freshd")
    waited = applied = 0
    for percent in [*range(50, 101), *range(100, 49, -1)]:
        ballast.fill_to(percent)
        instance.write("edited.md", f"# Edited\n\nThe level is number {percent}, said once{waited + applied}.\n")
        told = eventually(lambda: holds(instance, f"once{waited + applied}.") or shortage(instance))  # noqa: B023
        waited, applied = (waited, applied + 1) if told is True else (waited + 1, applied)
        assert instance.get("/healthz").status_code == 200
    assert waited > 10
    assert applied > 30
    ballast.give_back()
    eventually(lambda: instance.get("/readyz").status_code == 200)
    eventually(lambda: instance.sources()[0]["status"] == "pass" and not instance.sources()[0]["pending"])
    assert instance.children() == children
    assert "SIGBUS" not in instance.log_text()
    assert instance.stop() == 0


def indexed(instance: Instance) -> None:
    """Have it index its document, and end."""
    instance.start()
    eventually(lambda: holds(instance, "kettle"))
    assert instance.stop() == 0


def test_a_disk_that_is_full_at_the_start_leaves_freshd_up_and_waiting(instance: Instance, tmp_path: Path):
    indexed(instance)
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(92)
    instance.write("second.md", "# Second\n\nThe samovar is green.\n")
    instance.start()
    assert eventually(lambda: shortage(instance))
    assert instance.get("/healthz").status_code == 200
    done = instance.command("verify")
    assert done.returncode == 3
    assert "try:   freshd status" in done.stderr, "nothing is wrong with the index"
    source = eventually(lambda: [one for one in instance.sources() if one["pending"]])[0]
    assert source["pending"] >= 1  # the other one may have been written just before it was looked at
    ballast.give_back()
    eventually(lambda: holds(instance, "samovar"))
    assert "SIGBUS" not in instance.log_text()


def launched_without_room(instance: Instance, root: Path) -> tuple[Forked, Ballast]:
    """A daemon that has an index and waits for a disk without a single free byte."""
    indexed(instance)
    ballast = Ballast(root / ".freshd")
    ballast.fill_to(100)
    ballast.take_all()
    process = instance.launch()
    eventually(lambda: "0 MiB free" in instance.log_text())
    return process, ballast


def test_a_disk_without_a_single_free_byte_at_the_start_is_waited_for(instance: Instance, tmp_path: Path):
    process, ballast = launched_without_room(instance, tmp_path)
    assert process.poll() is None
    ballast.give_back()
    instance.record = eventually(instance.state.read_daemon)
    eventually(lambda: holds(instance, "kettle"))
    assert "Traceback" not in instance.log_text()


def put_off(instance: Instance, n_documents: int) -> None:
    """Have its ledger remember what waits for a source that does not answer."""
    with closing(sqlite3.connect(instance.state.ledger_path)) as ledger, ledger:
        ledger.execute("INSERT INTO sources (name) VALUES ('away')")
        ledger.executemany(
            "INSERT INTO documents (doc, source, document_id, fingerprint) VALUES (?, 'away', ?, '1')",
            ((1_000 + n, f"{n}.md") for n in range(n_documents)),
        )
        ledger.execute(
            "INSERT INTO pending (doc, source, kind, fingerprint, changed_at, first_seen_at, is_clamped, due_at)"
            " SELECT doc, source, 'added', '1', 1, 1, 0, 1 FROM documents WHERE source = 'away'"
        )


def test_a_start_that_takes_more_room_than_was_asked_for_before_waits_for_it(instance: Instance, tmp_path: Path):
    """All that was put off is made due, which the ledger's log has to hold."""
    indexed(instance)
    put_off(instance, 300_000)
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(100)
    ballast.leave(9 * 2**20)
    process = instance.launch()
    eventually(lambda: process.poll() is not None or "disk is full" in instance.log_text())
    ballast.give_back()
    eventually(lambda: process.poll() is not None or instance.state.read_daemon())
    assert process.poll() is None
    instance.record = instance.state.read_daemon()
    eventually(lambda: holds(instance, "kettle"))
    assert instance.stop() == 0


def test_a_first_start_waits_for_the_room_that_the_model_takes(instance: Instance, tmp_path: Path):
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(92)
    process = instance.launch()
    eventually(lambda: "15 MiB free" in instance.log_text())
    assert process.poll() is None
    ballast.give_back()
    instance.record = eventually(instance.state.read_daemon)
    eventually(lambda: holds(instance, "kettle"))


def test_a_disk_that_is_full_at_the_start_is_waited_for_although_none_of_it_is_reserved(
    instance: Instance, tmp_path: Path
):
    indexed(instance)
    instance.configure(FILES, "[disk]\nreserve_bytes = 0\n")
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(100)
    ballast.take_all()
    process = instance.launch()
    eventually(lambda: process.poll() is not None or "0 MiB free" in instance.log_text())
    assert process.poll() is None
    ballast.give_back()
    instance.record = eventually(instance.state.read_daemon)
    eventually(lambda: holds(instance, "kettle"))


def test_a_config_that_is_read_again_on_a_full_disk_is_taken_up_once_there_is_room(instance: Instance, tmp_path: Path):
    """Not even the ledger can be opened anew; what runs goes on answering until it can."""
    instance.start()
    eventually(lambda: holds(instance, "kettle"))
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(100)
    ballast.take_all()
    instance.configure(FILES.replace("1m", "2m"), SETTINGS)
    instance.signal(signal.SIGHUP)
    eventually(lambda: instance.events("config_refused"))
    assert holds(instance, "kettle")
    assert "MiB free" in instance.status()["config_error"]
    assert instance.source()["freshness_target_seconds"] == 60
    ballast.give_back()
    eventually(lambda: len(instance.events("daemon_started")) == 2)
    eventually(lambda: holds(instance, "kettle"))
    assert instance.source()["freshness_target_seconds"] == 120
    assert instance.status()["config_error"] is None
    assert instance.stop() == 0


def test_a_config_that_takes_more_room_than_there_is_waits_for_it_under_the_old_one(instance: Instance, tmp_path: Path):
    instance.configure(FILES, "[disk]\nreserve_bytes = 0\n")
    instance.start()
    eventually(lambda: holds(instance, "kettle"))
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(100)
    ballast.leave(6 * 2**20)
    instance.configure(FILES, SETTINGS)
    instance.signal(signal.SIGHUP)
    (refused,) = eventually(lambda: instance.events("config_refused"))
    assert "MiB free" in refused["error"]
    assert holds(instance, "kettle")
    assert len(instance.events("daemon_started")) == 1
    ballast.give_back()
    eventually(lambda: len(instance.events("daemon_started")) == 2)
    eventually(lambda: holds(instance, "kettle"))
    assert instance.stop() == 0


def test_a_daemon_that_waits_for_room_takes_up_a_config_that_reserves_less(instance: Instance, tmp_path: Path):
    """As the reason that it tells says."""
    indexed(instance)
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(100)
    ballast.leave(4 * 2**20)
    instance.launch()
    eventually(lambda: "lower [disk] reserve_bytes" in instance.log_text())
    instance.configure("nonsense = [")
    instance.signal(signal.SIGHUP)
    eventually(lambda: instance.events("config_refused"))
    instance.configure(FILES, "[disk]\nreserve_bytes = 0\n")
    instance.signal(signal.SIGHUP)
    instance.record = eventually(instance.state.read_daemon)
    ballast.give_back()
    eventually(lambda: holds(instance, "kettle"))
    assert instance.stop() == 0


def test_a_bad_config_that_is_read_twice_while_there_is_no_room_falls_back_on_the_one_before(
    instance: Instance, tmp_path: Path
):
    """Whoever sees nothing come of a signal sends another one."""
    process, ballast = launched_without_room(instance, tmp_path)
    instance.configure(FILES, f'{SETTINGS}[embedding]\nmodel = "no-such-model"\n')
    for n in (1, 2):
        instance.signal(signal.SIGHUP)
        eventually(lambda n=n: len(instance.events("config_reloaded")) == n)
    ballast.give_back()
    eventually(lambda: process.poll() is not None or instance.state.read_daemon())
    assert process.poll() is None
    instance.record = instance.state.read_daemon()
    eventually(lambda: holds(instance, "kettle"))
    (refused,) = eventually(lambda: instance.events("config_refused"))
    assert "no-such-model" in refused["error"]
    assert instance.stop() == 0


def test_a_daemon_that_waits_for_room_can_be_told_to_end(instance: Instance, tmp_path: Path):
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(100)
    ballast.take_all()
    instance.launch()
    eventually(lambda: "0 MiB free" in instance.log_text())
    assert instance.stop() == 0


@pytest.mark.parametrize("left_bytes", [0, 16 << 10, 32 << 10, 64 << 10, 512 << 10])
def test_a_command_on_a_full_disk_says_that_it_is_full(instance: Instance, tmp_path: Path, left_bytes: int):
    """Each of the three files, ledger, vector cache and index, is the first one that finds no room."""
    indexed(instance)
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(100)
    ballast.take_all()
    ballast.leave(left_bytes)
    for command in (["reindex"], ["search", "kettle"], ["status"], ["verify"], ["forget", "--yes", f"{NAME}/first.md"]):
        done = instance.command(*command)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 1, 3, 12), done.stderr
        assert "SIGBUS" not in done.stderr
        if done.returncode:
            assert "free some disk space" in done.stderr, (command, done.stderr)


def test_what_is_forgotten_below_the_reserve_is_out_of_search_and_leaves_the_index_once_there_is_room(
    instance: Instance, tmp_path: Path
):
    def is_in_the_index(word: str) -> bool:
        files = [path for path in (tmp_path / ".freshd/index").rglob("*") if path.is_file()]
        return any(word.encode() in path.read_bytes() for path in files)

    instance.write("second.md", "# Second\n\nThe samovar is green.\n")
    assert instance.command("reindex").returncode == 0
    ballast = Ballast(tmp_path / ".freshd")
    ballast.fill_to(92)
    done = instance.command("forget", "--yes", f"{NAME}/first.md")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "what was to be forgotten is out of search" in done.stderr
    assert "free some disk space" in done.stderr
    assert "kettle" not in instance.command("search", "kettle").stdout
    assert is_in_the_index("kettle")
    ballast.give_back()
    assert instance.command("reindex").returncode == 0
    assert not is_in_the_index("kettle")
    assert "samovar" in instance.command("search", "samovar").stdout


def test_a_ledger_is_not_scrubbed_where_that_would_fill_the_disk(tmp_path: Path):
    """What is written anew stands in its log first, which would stay as large as the disk let it grow."""
    with file_system(tmp_path / "disk") as disk, closing(Database(disk / "ledger.db")) as ledger:
        with ledger.write() as tx:
            tx.execute("INSERT INTO meta VALUES ('much', ?)", ("x" * (SIZE // 8),))
        assert ledger.scrub() is True
        ballast = Ballast(disk)
        ballast.fill_to(95)
        before = os.statvfs(disk).f_bavail
        assert ledger.scrub() is False
        assert os.statvfs(disk).f_bavail == before
        ballast.give_back()
        assert ledger.scrub() is True


class Large(NullStore):
    """A store that others filled with more points than fit into SQLite's memory."""

    def scroll(self, after: ChunkId | None, limit: int, *, with_vectors: bool = False) -> list[StoredPoint]:
        first = 0 if after is None else UUID(after).int + 1
        return [self._point(n) for n in range(first, min(first + limit, 40_000))]

    def _point(self, n: int) -> StoredPoint:
        own = {"document_id": f"{n}.md", "ordinal": 0}
        return StoredPoint(ChunkId(str(UUID(int=n))), {"source": NAME, "freshd": own})


def test_an_index_is_read_for_its_ledger_where_temporary_files_have_no_room(tmp_path: Path):
    """As in a container whose /tmp is small, and in memory; beside the ledger is room."""
    opened: set[str] = set()

    def look(*_: int) -> None:
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.update(os.readlink(link) for link in Path("/proc/self/fd").iterdir())

    with closing(Survey(Large(), 256, tmp_path)) as survey:
        survey.read(look)
        assert sum(1 for _ in survey.documents()) == 40_000
    assert not [name for name in opened if "etilqs_" in name], "as SQLite calls its own temporary files"
    assert not list(tmp_path.iterdir())


def read_all(folder: Path) -> None:
    with closing(Survey(Large(), 256, folder)) as survey:
        survey.read()


def test_an_index_that_cannot_be_read_for_its_ledger_for_want_of_room_says_so(tmp_path: Path):
    with file_system(tmp_path / "full") as full:
        ballast = Ballast(full)
        ballast.fill_to(100)
        for left_bytes in (0, 2**20):
            ballast.leave(left_bytes)
            with pytest.raises(StoreUnavailable, match=r"full|No space") as told:
                read_all(full)
            assert "free some disk space" in told.value.hint


def test_a_ledger_that_was_left_open_is_looked_at_where_the_systems_temporary_folder_does_not_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whoever was killed left a log, which is read with a copy; what doctor and a rebuild see depends on it."""
    (tmp_path / "state").mkdir()
    ledger = tmp_path / "state" / "ledger.db"
    with closing(Database(tmp_path / "ledger.db")) as open_one:
        for n in range(3):
            open_one.remember(f"fact {n}", "x" * 2**20)
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copyfile(tmp_path / name, ledger.with_name(name))
    with file_system(tmp_path / "temporary", "size=1m") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        seen = inspect(ledger, is_in_use=False)
        assert not list(temporary.iterdir())
    assert (seen.damage, len(seen.facts["fact 2"])) == (None, 2**20)
    assert sorted(path.name for path in ledger.parent.iterdir()) == ["ledger.db", "ledger.db-wal"]


def test_a_config_that_a_full_disk_does_not_take_leaves_nothing_behind(tmp_path: Path):
    """Half of it would be in the way of the next try."""
    with file_system(tmp_path / "full", "size=1m") as full:
        Ballast(full).take_all()
        done = forked.run("init", folder=full)
        assert (done.returncode, "No space left" in done.stderr) == (2, True)
        assert not (full / "freshd.toml").exists()


def test_a_plan_that_finds_no_room_for_a_copy_of_the_ledger_says_where_it_needs_some(tmp_path: Path):
    """And nothing of the ledger, which is whole."""
    ledger = tmp_path / "ledger.db"
    with closing(Database(ledger)) as open_one:
        open_one.remember("fact", "x" * 2**21)
    with file_system(tmp_path / "temporary", "size=1m") as temporary:
        with pytest.raises(StateUnusable, match=f"{temporary}: got too little room for a copy of {ledger}") as refused:
            copy_ledger(ledger, temporary / "ledger.db")
        assert not list(temporary.iterdir())
    assert "TMPDIR=DIR" in refused.value.hint


def test_a_disk_without_room_for_more_files_is_waited_for_like_a_full_one(tmp_path: Path):
    with file_system(tmp_path / ".freshd", "nr_inodes=2000"):
        instance = Instance(tmp_path, FILES, settings=SETTINGS)
        instance.write("first.md", "# First\n\nThe kettle is blue.\n")
        try:
            instance.start()
            eventually(lambda: holds(instance, "kettle"))
            full = files_but(tmp_path / ".freshd", 50)
            instance.write("second.md", "# Second\n\nThe samovar is green.\n")
            assert "room for 50 more files" in eventually(lambda: room(instance))
            shutil.rmtree(full)
            eventually(lambda: holds(instance, "samovar"))
        finally:
            instance.close()


def test_a_command_on_a_disk_without_room_for_more_files_says_so(tmp_path: Path):
    """Whichever of them, those of ledger, cache and index, is the first one that cannot be made."""
    commands = ["search", "kettle"], ["verify"], ["status"], ["ledger", "rebuild", "--yes"]
    with file_system(tmp_path / ".freshd", "nr_inodes=2000"):
        instance = Instance(tmp_path, FILES, settings=SETTINGS)
        instance.write("first.md", "# First\n\nThe kettle is blue.\n")
        assert instance.command("reindex").returncode == 0
        for left in range(7):
            full = files_but(tmp_path / ".freshd", left)
            for command in commands:
                done = instance.command(*command)
                assert "Traceback" not in done.stderr, (left, command)
                assert "chmod" not in done.stderr, (left, command)
                assert "away, then: freshd reindex" not in done.stderr, (left, command)
            shutil.rmtree(full)
        assert "kettle" in instance.command("search", "kettle").stdout


@pytest.mark.parametrize("left", [0, 10])
def test_a_disk_without_room_for_more_files_at_the_start_is_waited_for(tmp_path: Path, left: int):
    with file_system(tmp_path / ".freshd", "nr_inodes=2000"):
        instance = Instance(tmp_path, FILES, settings=SETTINGS)
        instance.write("first.md", "# First\n\nThe kettle is blue.\n")
        try:
            full = files_but(tmp_path / ".freshd", left)
            process = instance.launch()
            eventually(lambda: f"room for {left} more files" in instance.log_text())
            assert process.poll() is None
            shutil.rmtree(full)
            instance.record = eventually(instance.state.read_daemon)
            eventually(lambda: holds(instance, "kettle"))
            assert "Traceback" not in instance.log_text()
        finally:
            instance.close()


def files_but(disk: Path, left: int) -> Path:
    """Make empty files in a folder until there is room for so many more; give the folder."""
    full = disk / "full"
    full.mkdir()
    for n in range(os.statvfs(full).f_favail - left):
        (full / str(n)).touch()
    return full


def room(instance: Instance) -> str | None:
    answer = instance.get("/readyz")
    return answer.text if answer.status_code == 503 and "more files" in answer.text else None
