"""What freshd depends on, looked at without a trace: what is wrong is told with what mends it, and nothing else is."""

import errno
import json
import os
import resource
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from connectors.files import FilesConnector
from freshd import state
from freshd.cli import app
from freshd.doctor import examine, machine, remembered
from freshd.embedder import bundled
from freshd.embedder.inspecting import ModelSeen
from freshd.errors import StateUnusable
from freshd.ledger.database import SCHEMA_VERSION, Database
from freshd.ledger.forgetting import EXPUNGE
from freshd.model import Digest
from freshd.state import StateDirectory
from freshd.stores import server
from tests.kit.home import Home
from tests.kit.world import copy_sparse
from tests.qdrant_standin import Failure, serving

CONFIG = (
    '[http]\nlisten = "127.0.0.1:0"\n[disk]\nreserve_bytes = 0\n'
    '[[sources]]\nname = "docs"\ntype = "files"\npath = "docs"\n'
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index and its ledger, closed."""
    home = Home(tmp_path_factory.mktemp("made"), CONFIG)
    for n in range(3):
        home.write(f"docs/{n}.md")
    home.reindex()
    home.close()
    return home.root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "root", copy_function=copy_sparse)
    return tmp_path / "root"


def look(root: Path, **answers: Any) -> dict[str, dict[str, Any]]:
    """Examine a folder; give what was told of each thing, the worst where there are several."""
    report = examine(root / "freshd.toml", lambda _: answers.get("status"))
    told: dict[str, dict[str, Any]] = {}
    for one in sorted(report["checks"], key=lambda one: ("pass", "warn", "error").index(one["status"])):
        told[one["name"]] = dict(one)
    assert report["status"] == max(
        (one["status"] for one in told.values()), key=("pass", "warn", "error").index, default="pass"
    )
    return told


def wrong(root: Path, **answers: Any) -> dict[str, dict[str, Any]]:
    return {name: one for name, one in look(root, **answers).items() if one["status"] != "pass"}


def trace(root: Path) -> dict[str, tuple[int, int, int]]:
    """What would show that somebody was there."""
    found = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


def test_where_all_is_well_nothing_is_wrong_and_everything_is_named(root: Path):
    told = look(root)
    assert {name for name, one in told.items() if one["status"] != "pass"} == set()
    assert set(told) == {
        *("clock", "open files", "config", "file system", "state directory", "disk", "inodes", "daemon", "ledger"),
        *("vector cache", "index", "model", "watches", "listen", "source docs"),
    }
    assert all(one["expected"] is None and one["try"] is None for one in told.values())


def test_before_the_first_run_nothing_is_wrong_and_nothing_is_made(root: Path):
    shutil.rmtree(root / ".freshd")
    before = trace(root)
    assert wrong(root) == {}
    assert trace(root) == before


def test_nothing_is_changed_where_nobody_works(root: Path):
    before = trace(root)
    assert wrong(root) == {}
    assert trace(root) == before


def test_nothing_is_changed_where_a_process_was_killed(root: Path):
    """It left a log, and reading a log begins with mending it."""
    _leave_a_log(root / ".freshd" / "ledger.db")
    before = trace(root)
    assert wrong(root) == {}
    assert trace(root) == before


def test_nothing_is_changed_while_somebody_works_there(root: Path):
    directory = StateDirectory(root / ".freshd")
    with directory.lock(), closing(Database(directory.ledger_path)) as database:
        database.remember("left", "in the log")
        before = trace(root)
        told = look(root)
        assert trace(root) == before
    assert told["ledger"]["status"] == "pass"
    assert told["daemon"]["got"].endswith(f"process {os.getpid()} works in the state directory")


def _leave_a_log(path: Path) -> None:
    """Leave a ledger as `kill -9` does."""
    kept = path.with_name("kept")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("INSERT OR REPLACE INTO meta VALUES ('left', 'in the log')")
        shutil.copy(f"{path}-wal", kept)
        main = path.read_bytes()
    path.write_bytes(main)
    kept.rename(f"{path}-wal")


def gone_ledger(root: Path) -> None:
    (root / ".freshd/ledger.db").unlink()


def emptied_ledger(root: Path) -> None:
    (root / ".freshd/ledger.db").write_bytes(b"")


def damaged_ledger(root: Path) -> None:
    content = (root / ".freshd/ledger.db").read_bytes()
    (root / ".freshd/ledger.db").write_bytes(content[:4096] + b"\xff" * 4096 + content[8192:])


def newer_ledger(root: Path) -> None:
    with closing(sqlite3.connect(root / ".freshd/ledger.db")) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def another_programs_ledger(root: Path) -> None:
    gone_ledger(root)
    with closing(sqlite3.connect(root / ".freshd/ledger.db")) as database:
        database.execute("CREATE TABLE songs (name TEXT)")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def damaged_cache(root: Path) -> None:
    (root / ".freshd/vectors.db").write_bytes(b"no database" * 1000)


def others_index(root: Path) -> None:
    for path in (root / ".freshd/index").rglob("identity.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "instance": "another's"}))


def nobodys_index(root: Path) -> None:
    next((root / ".freshd/index").rglob("shard/identity.json")).unlink()


def forgotten_in_the_index(root: Path) -> None:
    with closing(sqlite3.connect(root / ".freshd/ledger.db")) as database:
        database.execute(f"INSERT INTO meta VALUES ('{EXPUNGE}', 'once')")
        database.commit()


def gone_index(root: Path) -> None:
    shutil.rmtree(root / ".freshd/index")


def open_to_others(root: Path) -> None:
    (root / ".freshd").chmod(0o755)


def writable_for_others(root: Path) -> None:
    (root / ".freshd").chmod(0o777)


def a_link_for_state(root: Path) -> None:
    (root / ".freshd").rename(root / "elsewhere")
    (root / ".freshd").symlink_to("elsewhere")
    if os.geteuid() == 0:
        os.lchown(root / ".freshd", 65534, 65534)  # one that root made is followed


def no_source(root: Path) -> None:
    shutil.rmtree(root / "docs")


def an_empty_source(root: Path) -> None:
    for path in (root / "docs").iterdir():
        path.unlink()


def a_huge_reserve(root: Path) -> None:
    (root / "freshd.toml").write_text(CONFIG.replace("reserve_bytes = 0", "reserve_bytes = 9_000_000_000_000_000"))


def a_bad_config(root: Path) -> None:
    (root / "freshd.toml").write_text(CONFIG + "colour = 3\n")


def an_open_address(root: Path) -> None:
    (root / "freshd.toml").write_text(CONFIG.replace("127.0.0.1:0", "0.0.0.0:0"))


def no_model(root: Path) -> None:
    (root / "freshd.toml").write_text('[embedding]\nmodel = "./nowhere"\n' + CONFIG)


def a_home_of_nobody(root: Path) -> None:
    (root / "freshd.toml").write_text(CONFIG.replace('path = "docs"', 'path = "~nobody-here/docs"'))


REBUILD = "freshd ledger rebuild"


@pytest.mark.parametrize(
    ("spoil", "name", "status", "mend"),
    [
        (gone_ledger, "ledger", "error", REBUILD),
        (emptied_ledger, "ledger", "error", REBUILD),
        (damaged_ledger, "ledger", "error", REBUILD),
        (newer_ledger, "ledger", "error", "newer freshd"),
        (another_programs_ledger, "ledger", "error", REBUILD),
        (damaged_cache, "vector cache", "warn", "nothing"),
        (others_index, "index", "error", "restore a backup"),
        (nobodys_index, "index", "error", "restore a backup"),
        (gone_index, "index", "error", "freshd reindex"),
        (forgotten_in_the_index, "forgotten", "warn", "freshd reindex"),
        (open_to_others, "state directory", "warn", "chmod 700"),
        (writable_for_others, "state directory", "error", "chmod 700"),
        (a_link_for_state, "state directory", "error", "state_dir"),
        (no_source, "source docs", "error", ""),
        (an_empty_source, "source docs", "warn", "path"),
        (a_huge_reserve, "disk", "error", "reserve_bytes"),
        (a_bad_config, "config", "error", "correct"),
        (an_open_address, "listen", "error", "FRESHD_TOKEN"),
        (a_home_of_nobody, "source docs", "error", "`path`"),
        (no_model, "model", "error", "embedding.model"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_wrong_is_told_with_what_mends_it(
    root: Path, spoil: Callable[[Path], None], name: str, status: str, mend: str
):
    spoil(root)
    before = trace(root)
    found = wrong(root)
    assert set(found) == {name}
    assert found[name]["status"] == status
    assert found[name]["got"]
    assert found[name]["expected"]
    assert "expected" not in found[name]["got"], "what it got and what it expected are told once each"
    assert mend in (found[name]["try"] or "")
    assert trace(root) == before


def test_a_taken_address_is_told_unless_it_is_the_daemons_own(root: Path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        (root / "freshd.toml").write_text(CONFIG.replace("127.0.0.1:0", address))
        assert wrong(root)["listen"]["status"] == "error"
        directory = StateDirectory(root / ".freshd")
        with directory.lock():
            directory.publish_daemon(address, "a token")
            told = look(root, status={"store": {"error": None}})
        assert told["listen"]["status"] == "pass"
        assert told["daemon"]["got"] == f"process {os.getpid()} answers"


def test_a_daemon_whose_store_is_down_is_told(root: Path):
    with StateDirectory(root / ".freshd").lock():
        found = wrong(root, status={"store": {"error": "store: is gone"}})
    assert found["daemon"]["got"].endswith("store: is gone")


def test_what_a_refusal_expected_is_told_once_of_daemon_and_secrets_as_well(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    with StateDirectory(root / ".freshd").lock():
        daemon = wrong(root, status={"store": {"error": "disk: got 3 MiB free, expected 256"}})["daemon"]
    assert (daemon["got"], daemon["expected"]) == (f"process {os.getpid()}: disk: got 3 MiB free", "256")
    monkeypatch.setenv("FRESHD_TOKEN", "short")
    secrets = wrong(root)["secrets"]
    assert (secrets["got"], secrets["expected"]) == ("FRESHD_TOKEN: got 5 characters", "at least 16")
    assert secrets["try"]


def test_a_clock_that_was_never_set_is_told():
    (finding,) = machine.clock(datetime(1970, 1, 2, tzinfo=UTC))
    assert (finding.verdict, finding.got) == ("error", "1970-01-02 00:00:00 UTC")
    assert [one.verdict for one in machine.clock(machine.BUILT)] == ["pass"]


@pytest.mark.parametrize(
    ("soft", "verdict"), [(64, "error"), (512, "warn"), (4_096, "pass"), (resource.RLIM_INFINITY, "pass")]
)
def test_a_low_limit_of_open_files_is_told(monkeypatch: pytest.MonkeyPatch, soft: int, verdict: str):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (soft, soft))
    assert [one.verdict for one in machine.open_files()] == [verdict]


@pytest.mark.parametrize(
    ("watches", "instances", "hint"),
    [(1, 128, "max_user_watches"), (8_192, 2, "max_user_instances"), (8_192, 128, None)],
    ids=["few watches", "few instances", "enough"],
)
def test_folders_that_cannot_all_be_watched_are_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watches: int, instances: int, hint: str | None
):
    (root / "docs" / "below").mkdir()
    (tmp_path / "max_user_watches").write_text(f"{watches}\n")
    (tmp_path / "max_user_instances").write_text(f"{instances}\n")
    monkeypatch.setattr(machine, "_INOTIFY", tmp_path)
    found = wrong(root)
    assert set(found) == ({"watches"} if hint else set())
    if hint:
        assert hint in found["watches"]["try"]


@pytest.mark.parametrize(
    ("n", "status"), [(99, "error"), (100, "warn"), (999, "warn"), (1_000, "pass"), (None, "pass")]
)
def test_that_inodes_run_out_is_told_and_how_badly(
    root: Path, monkeypatch: pytest.MonkeyPatch, n: int | None, status: str
):
    """It is an error once freshd writes nothing any more."""
    monkeypatch.setattr(StateDirectory, "free_inodes", lambda self: n)
    assert look(root)["inodes"]["status"] == status


@pytest.fixture
def on_nfs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the kernel's table say that the disk is another machine's."""
    device = root.stat().st_dev
    mounts = f"1 0 {os.major(device)}:{os.minor(device)} / {tmp_path} rw - nfs4 server:/export rw\n"
    (tmp_path / "mountinfo").write_text(mounts)
    monkeypatch.setattr(state, "_MOUNTS", tmp_path / "mountinfo")


@pytest.mark.usefixtures("on_nfs")
def test_a_state_directory_on_another_machine_is_told_and_refused(root: Path):
    found = wrong(root)
    assert (found["file system"]["got"], found["file system"]["status"]) == ("nfs4", "error")
    with pytest.raises(StateUnusable, match="got a folder on nfs4") as refused, StateDirectory(root / ".freshd").lock():
        pass
    assert "local disk" in refused.value.hint


def test_a_bundled_model_that_was_altered_is_told(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bundled, "sha256_of", lambda path: "0" * 64)
    found = wrong(root)
    assert set(found) == {"model"}
    assert "pip install" in found["model"]["try"]


def test_a_model_that_did_not_make_the_index_is_told(root: Path, monkeypatch: pytest.MonkeyPatch):
    seen = ModelSeen("bundled, as pinned", Digest("e" * 64))
    monkeypatch.setattr(remembered, "inspect_model", lambda *_: seen)
    found = wrong(root)
    assert set(found) == {"model"}
    assert "freshd reindex --dry-run" in found["model"]["try"]


def test_a_home_of_nobody_is_a_folder_that_is_not_there_like_any_other(root: Path):
    """In a container a user need not have one."""
    docs = CONFIG.replace('path = "docs"', 'path = "~of-nobody/docs"')
    (root / "freshd.toml").write_text(f'[embedding]\nmodel = "~of-nobody/model"\n{docs}')
    found = wrong(root)
    assert found.keys() >= {"model", "source docs"}
    assert all("~of-nobody" in str(found[name]) for name in ("model", "source docs"))


def test_a_server_is_asked_and_what_it_holds_is_told(root: Path):
    with serving() as standin:
        (root / "freshd.toml").write_text(f'[store]\nurl = "{standin.url}"\n{CONFIG}')
        assert "not there yet" in look(root)["server"]["got"]
        standin.failures.append(Failure(status=500))
        assert wrong(root)["store"]["status"] == "error"
    assert wrong(root)["store"]["status"] == "error"


def test_no_key_is_sent_where_others_could_read_it(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FRESHD_QDRANT_API_KEY", "a-key-of-mine")
    monkeypatch.setattr(server, "ServerStore", lambda *_, **__: pytest.fail("somebody was asked"))
    (root / "freshd.toml").write_text(f'[store]\nurl = "http://qdrant.example.org:6333"\n{CONFIG}')
    told = wrong(root)["store"]
    assert told["expected"].startswith("https")
    assert "plain_http" in told["try"]


def test_what_cannot_be_looked_at_is_told_like_everything_else(root: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: StateDirectory) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(StateDirectory, "free_bytes", refuse)
    assert wrong(root)["disk"]["got"] == "Permission denied"


def test_a_fault_of_a_connector_is_told_and_the_other_checks_as_well(root: Path, monkeypatch: pytest.MonkeyPatch):
    def stumbles(*_: object) -> None:
        raise KeyError("field")

    monkeypatch.setattr(FilesConnector, "list", stumbles)
    found = wrong(root)
    assert found.keys() == {"source docs"}
    assert found["source docs"]["got"] == "KeyError ('field') from its connector"


@pytest.mark.parametrize(("spoil", "code"), [(None, 0), (open_to_others, 0), (damaged_ledger, 1)])
def test_the_command_ends_with_1_only_where_something_is_broken(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None] | None,
    code: int,
):
    if spoil:
        spoil(root)
    monkeypatch.chdir(root)
    assert _run(["doctor", "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert {tuple(sorted(one)) for one in report["checks"]} == {("expected", "got", "name", "status", "try")}
    assert _run(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= len(report["checks"])
    assert any("try: " in line for line in lines) == bool(spoil)


def _run(command: list[str]) -> int:
    try:
        return app(command, standalone_mode=False) or 0
    except typer.Exit as end:
        return end.exit_code


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FRESHD_TOKEN", "FRESHD_QDRANT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
