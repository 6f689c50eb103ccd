"""What a hurried or unlucky user gets wrong: one line that says where, what and what else; one that mends; a code."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.files import FilesConnector
from freshd.compose import open_whole
from freshd.config import load, load_secrets
from freshd.errors import ConfigError
from freshd.ledger.database import SCHEMA_VERSION
from freshd.state import StateDirectory
from tests.kit import forked

ROOT = Path(__file__).parent.parent
CONFIG = '[[sources]]\nname = "handbook"\ntype = "files"\npath = "docs"\nfreshness_target = "1m"\n'
QUIET = '[http]\nlisten = "127.0.0.1:0"\n'


class Folder:
    """A config and some documents, indexed once where a case needs it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docs = root / "docs"
        self.docs.mkdir()
        (self.docs / "leave.md").write_text("# Leave\n\n28 days of leave.\n")
        self.configure(QUIET + CONFIG)
        self.state = StateDirectory(root / ".freshd")

    def configure(self, text: str) -> None:
        (self.root / "freshd.toml").write_text(text)

    def freshd(self, *arguments: str | bytes, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command; started afresh where it is given something that Python itself reads."""
        if not environment:
            return forked.run(*arguments, folder=self.root)
        return subprocess.run(
            [sys.executable, "-m", "freshd", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=60,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@dataclass(frozen=True)
class Case:
    """A mistake, and how it has to be answered.

    Attributes:
        make: Makes it.
        says: What the first line of stderr holds, as patterns: the place, what was got, what was expected.
        mends: What a `try:` line holds; None where nothing but thinking helps.

    """

    name: str
    arguments: tuple[str, ...]
    code: int
    says: tuple[str, ...]
    mends: str | None = None
    make: Callable[[Folder], object] = lambda _: None


def config(text: str) -> Callable[[Folder], object]:
    return lambda folder: folder.configure(QUIET + text)


CASES = [
    Case("no config", ("reindex",), 2, ("freshd.toml",), "freshd init", lambda f: (f.root / "freshd.toml").unlink()),
    Case(
        "config is a folder",
        ("reindex", "--config", "docs"),
        2,
        ("docs",),
    ),
    Case("config is no TOML", ("run",), 2, ("freshd.toml", "line 3"), None, config("oops = = 1\n")),
    Case(
        "config is no text",
        ("run",),
        2,
        ("freshd.toml", "not UTF-8"),
        "save freshd.toml as UTF-8",
        lambda f: (f.root / "freshd.toml").write_bytes(b"\xff\xfe"),
    ),
    Case(
        "unknown key",
        ("run",),
        2,
        (r"freshd\.toml", r"sources\[0\]", "freshnes_target"),
        None,
        config(CONFIG.replace("freshness", "freshnes")),
    ),
    Case(
        "wrong type",
        ("reindex",),
        2,
        (r"sources\[0\]", "freshness_target", "15", "expected a duration"),
        None,
        config(CONFIG.replace('"1m"', "15")),
    ),
    Case(
        "a model in a home of nobody",
        ("reindex",),
        2,
        ("embedding.model", "~nobody-here/model"),
        None,
        config(f'[embedding]\nmodel = "~nobody-here/model"\n{CONFIG}'),
    ),
    Case(
        "unknown source type",
        ("reindex",),
        2,
        (r"sources\[0\]", "type", "ftp", "files"),
        None,
        config(CONFIG.replace('"files"', '"ftp"')),
    ),
    Case("unknown source", ("reindex", "hanbook"), 2, ("source", "hanbook", "handbook"), "handbook"),
    Case("unknown source to search in", ("search", "leave", "--source", "nobody"), 2, ("nobody", "handbook")),
    Case("no hits wanted", ("search", "leave", "-k", "0"), 2, ("k", "0", "expected 1")),
    Case("too many hits wanted", ("search", "leave", "-k", "1000000000"), 2, ("k", "1000000000", "100")),
    Case("wait for nothing", ("wait",), 2, ("--all",), "freshd wait"),
    Case("wait and all", ("wait", "handbook/leave.md", "--all"), 2, ("--all",), "freshd wait"),
    Case("wait without a daemon", ("wait", "handbook/leave.md"), 1, ("no daemon",), "freshd run"),
    Case("wait without unit", ("wait", "--all", "--timeout", "30"), 2, ("--timeout", '"30"', "expected a duration")),
    Case(
        "state is a file",
        ("reindex",),
        2,
        (r"\.freshd", "got a file", "expected a folder"),
        "state_dir",
        lambda f: f.state.path.write_text("not a folder"),
    ),
    Case(
        "ledger is no ledger",
        ("reindex",),
        12,
        (r"ledger\.db", "expected an intact freshd ledger"),
        "backup",
        lambda f: (f.state.path.mkdir(0o700), f.state.ledger_path.write_bytes(b"no database" * 500)),
    ),
    Case(
        "model that is not there",
        ("reindex",),
        2,
        ("model", "no-such-model"),
        None,
        config('[embedding]\nmodel = "no-such-model"\n' + CONFIG),
    ),
    Case("init twice", ("init",), 2, (r"freshd\.toml: got a file that is there already, expected",), "freshd init DIR"),
    Case("init nowhere", ("init", "nowhere"), 2, ("nowhere",), "freshd init DIR"),
    Case(
        "address of another machine",
        ("run",),
        2,
        ("http.listen", r"192\.0\.2\.1"),
        "FRESHD_TOKEN",
        lambda f: f.configure('[http]\nlisten = "192.0.2.1:8377"\n' + CONFIG),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_answered_with_its_place_what_was_got_and_what_was_expected(folder: Folder, case: Case):
    case.make(folder)
    before = snapshot(folder)
    done = folder.freshd(*case.arguments)
    first, *others = done.stderr.splitlines()
    assert done.returncode == case.code, done.stderr
    assert done.stdout == ""
    assert first.startswith("error: ")
    for pattern in case.says:
        assert re.search(pattern, first), f"{pattern!r} is not in {first!r}"
    tries = [line for line in others if line.startswith("try:   ")]
    assert len(tries) <= 1
    if case.mends is not None:
        assert tries
        assert case.mends in tries[0]
    assert "Traceback" not in done.stderr
    assert before.items() <= snapshot(folder).items()


def snapshot(folder: Folder) -> dict[str, bytes]:
    """Everything a user wrote, and a state that was there before."""
    files = (path for path in folder.root.rglob("*") if path.is_file())
    ours = (path for path in files if path.name not in ("lock", "daemon.json") and "models" not in path.parts)
    return {str(path): path.read_bytes() for path in ours if path.suffix in (".toml", ".md", ".db", ".freshd")}


def test_a_source_whose_folder_is_missing_is_an_error_and_loses_nothing(folder: Folder):
    assert folder.freshd("reindex").returncode == 0
    folder.docs.rename(folder.root / "elsewhere")
    done = folder.freshd("reindex")
    assert done.returncode == 1
    assert done.stderr.startswith("error: handbook")
    assert "docs" in done.stderr
    (folder.root / "elsewhere").rename(folder.docs)
    assert "28 days" in folder.freshd("search", "leave").stdout


def test_a_config_error_names_every_fault_at_once(folder: Folder):
    folder.configure('[http]\nlisten = "nowhere"\n[[sources]]\nname = "a"\ntype = "files"\n')
    done = folder.freshd("run")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) >= 2
    assert all("freshd.toml" in line for line in errors)


@pytest.mark.skipif(os.geteuid() == 0, reason="running as root")
def test_an_unreadable_file_is_told_and_its_neighbours_go_on(folder: Folder):
    secret = folder.docs / "secret.md"
    secret.write_text("# Secret\n\nNot for freshd.\n")
    secret.chmod(0)
    try:
        done = folder.freshd("reindex")
    finally:
        secret.chmod(0o600)
    assert done.returncode == 3
    assert "secret.md" in done.stderr
    assert "28 days" in folder.freshd("search", "leave").stdout


def test_a_file_that_is_no_text_is_told_and_its_neighbours_go_on(folder: Folder):
    (folder.docs / "noise.md").write_bytes(b"\0\1\2" * 300)
    done = folder.freshd("reindex")
    assert done.returncode == 3
    assert done.stderr.startswith("error: handbook/noise.md: ")
    assert "28 days" in folder.freshd("search", "leave").stdout


def test_a_folder_named_like_a_file_is_walked_into(folder: Folder):
    inside = folder.docs / "folder.md/inside.md"
    inside.parent.mkdir()
    inside.write_text("# Inside\n\nThe insideword.\n")
    assert folder.freshd("reindex").returncode == 0
    assert "folder.md/inside.md" in folder.freshd("search", "insideword").stdout


def test_an_empty_source_is_no_mistake(folder: Folder):
    (folder.docs / "leave.md").unlink()
    done = folder.freshd("reindex")
    assert (done.returncode, done.stderr) == (0, "")
    assert folder.freshd("search", "leave").returncode == 0


def test_odd_names_are_indexed_and_shown_on_one_line(folder: Folder):
    names = ["*.md", "-leading.md", "new\nline.md", "--config.md", "emoji 😀.md", "\x1b[31mred.md", "a" * 240 + ".md"]
    for name in names:
        (folder.docs / name).write_text(f"# Odd\n\nThe oddword of {len(name)} letters.\n")
    assert folder.freshd("reindex").returncode == 0
    shown = folder.freshd("search", "oddword", "-k", str(len(names))).stdout
    places = [line for line in shown.splitlines() if re.match(r"\d+\. handbook/", line)]
    assert len(places) == shown.count("The oddword") == len(names)
    assert all(place.partition("  ")[0].isprintable() for place in places)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder that is only asked."""
    made = Folder(tmp_path_factory.mktemp("asked"))
    assert made.freshd("reindex").returncode == 0
    return made


ODD_QUERIES = {
    "bidi": "\u202eright".encode(),
    "escape": b"\x1b[31mred",
    "option": b"--json",
    "nothing": b"",
    "long": b"a" * 9_000,
}


@pytest.mark.parametrize("query", ODD_QUERIES.values(), ids=ODD_QUERIES)
def test_an_odd_query_is_answered_or_refused_and_is_no_fault(indexed: Folder, query: bytes):
    done = indexed.freshd("search", "--json", "--", query, PYTHONIOENCODING="utf-8:strict")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2)
    if done.returncode == 0:
        assert "hits" in json.loads(done.stdout)
    else:
        assert done.stderr.startswith("error: ")


def test_a_port_in_use_is_told_before_anything_is_touched(folder: Folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        folder.configure(f'[http]\nlisten = "{address}"\n{CONFIG}')
        done = folder.freshd("run")
    first, *others = done.stderr.splitlines()
    assert done.returncode == 13
    assert first.startswith("error: http.listen: ")
    assert address in first
    assert "expected a free port" in first
    assert others[0].startswith("try:   ")
    assert not folder.state.path.exists()


@pytest.mark.parametrize("command", [["run"], ["reindex"], ["search", "leave"]], ids=lambda command: command[0])
def test_a_state_in_use_is_told_with_the_process_that_has_it(folder: Folder, command: list[str]):
    with folder.state.lock():
        done = folder.freshd(*command)
    first, *others = done.stderr.splitlines()
    assert done.returncode == 11
    assert first.startswith("error: state directory ")
    assert f"process {os.getpid()}" in first
    assert others == ["try:   wait until that process is done; freshd status tells how far the index is"]


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder whose state a later version wrote."""
    made = Folder(tmp_path_factory.mktemp("newer"))
    assert made.freshd("reindex").returncode == 0
    with sqlite3.connect(made.state.ledger_path) as ledger:
        ledger.execute("PRAGMA user_version = 99")
    ledger.close()
    return made


@pytest.mark.parametrize(
    "command", [["run"], ["reindex"], ["status"], ["search", "leave"], ["reindex", "--dry-run"]], ids=" ".join
)
def test_a_state_of_a_newer_version_is_refused_and_left_byte_for_byte(newer: Folder, command: list[str]):
    before = newer.state.ledger_path.read_bytes()
    done = newer.freshd(*command)
    first, *others = done.stderr.splitlines()
    assert done.returncode == 12
    assert first.startswith("error: ledger ")
    assert f"got schema version 99, expected {SCHEMA_VERSION}" in first
    assert others[0].startswith("try:   ")
    assert newer.state.ledger_path.read_bytes() == before


@pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"], ["search"], ["search", "x", "-k", "many"]])
def test_a_command_that_does_not_exist_is_an_error_of_usage(folder: Folder, arguments: list[str]):
    done = folder.freshd(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: ", "try:   "]


def test_a_connector_that_cannot_begin_is_named_with_its_source(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """Of any config that is refused a daemon keeps the one before."""

    def stumbles(*_: object) -> None:
        raise KeyError("field")

    monkeypatch.setattr(FilesConnector, "__init__", stumbles)
    with pytest.raises(ConfigError, match=r"source handbook: got KeyError \('field'\) from its connector") as refused:
        open_whole(load(folder.root / "freshd.toml"), load_secrets()).__enter__()
    assert "leave the source out" in refused.value.hint


@pytest.mark.parametrize("command", [["reindex"], ["status", "--json"], ["search", "leave"]], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_fault(indexed: Folder, command: list[str]):
    """As `| head -0` does."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "freshd", *command],
            cwd=indexed.root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
