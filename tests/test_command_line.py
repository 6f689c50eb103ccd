"""What the command line prints and where: in any encoding, into pipes, onto full disks, and on narrow terminals."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from freshd import __version__
from freshd.cli import show
from freshd.cli.options import Output
from freshd.cli.progress import ProgressTalk
from freshd.http.problems import problem
from freshd.redaction import printable
from freshd.search import MAX_PATH_CHARACTERS, MAX_QUERY_BYTES
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.kit import forked
from tests.kit.forked import Forked
from tests.torture.program import state_of

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A folder that is only asked."""
    with instance(tmp_path_factory.mktemp("asked")) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days – no more, no less.\n")
        assert one.command("reindex").returncode == 0
        yield one


@pytest.fixture(autouse=True)
def _of_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def freshd(one: Instance, *arguments: str, **how: Any) -> "subprocess.CompletedProcess[str]":
    return forked.run(*arguments, folder=one.root, **how)


def afresh(one: Instance, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Start it with an environment that Python itself reads."""
    return subprocess.run(
        [sys.executable, "-m", "freshd", *arguments],
        cwd=one.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=60,
    )


# Where it goes

POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
COMMANDS = [["status"], ["search", "leave"], ["history"]]


@pytest.mark.parametrize(
    "environment", [POSIX, {"PYTHONIOENCODING": "latin1"}, {"PYTHONIOENCODING": "ascii:strict"}], ids=lambda e: min(e)
)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_an_encoding_lacks_is_replaced_and_never_a_fault(
    indexed: Instance, command: list[str], environment: dict[str, str]
):
    done = afresh(indexed, *command, **environment)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "?" in done.stdout
    assert "handbook" in done.stdout


def test_json_is_whole_in_any_encoding(indexed: Instance):
    done = afresh(indexed, "search", "leave", "--json", PYTHONIOENCODING="ascii:strict")
    assert "28 days – no more" in json.loads(done.stdout)["hits"][0]["text"]


@pytest.mark.parametrize("command", [*COMMANDS, ["status", "--json"], ["search", "leave", "--as", "prompt"]])
def test_a_full_disk_under_stdout_is_an_error_in_a_line(indexed: Instance, command: list[str]):
    with open("/dev/full", "w") as full:
        done = freshd(indexed, *command, out=full.fileno())
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()[:2]
    assert error == "error: standard output: cannot be written: No space left on device"
    assert hint.startswith("try:   ")
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("command", [*COMMANDS, ["status", "--json"], ["search", "leave", "--as", "prompt"]])
def test_a_reader_that_has_seen_enough_hears_nothing_more(indexed: Instance, command: list[str]):
    """As `| head -0` does."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        done = freshd(indexed, *command, out=closed.fileno())
    assert (done.returncode, done.stderr) == (141, "")


def test_talk_that_cannot_get_out_costs_nothing_but_itself(indexed: Instance):
    with open("/dev/full", "w") as full:
        done = freshd(indexed, "history", err=full.fileno())
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)


def test_stdout_is_data_also_when_a_lost_index_is_told_of(indexed: Instance, tmp_path: Path):
    copy = Instance(tmp_path / "copy")
    shutil.copytree(indexed.state.path, copy.state.path)
    shutil.rmtree(copy.state.index_dir)
    done = freshd(copy, "search", "leave", "--json")
    assert json.loads(done.stdout)["hits"] == []
    assert "store_doubted" in done.stderr


def test_a_lost_index_is_neither_proved_nor_read_as_an_empty_one(indexed: Instance, tmp_path: Path):
    """Once the loss is noticed the ledger vouches for nothing, so that there is nothing that could differ."""
    copy = Instance(tmp_path / "copy")
    shutil.copytree(indexed.docs, copy.docs, dirs_exist_ok=True)
    shutil.copytree(indexed.state.path, copy.state.path)
    shutil.rmtree(copy.state.index_dir)
    assert "is unknown: freshd status" in freshd(copy, "search", "leave").stdout
    for command in (["verify"], ["verify", "--deep", "--repair"]):
        done = freshd(copy, *command)
        assert done.returncode == 3
        assert "try:   freshd reindex" in done.stderr
    assert freshd(copy, "reindex").returncode == 0
    assert freshd(copy, "verify", "--deep").returncode == 0


def test_a_damaged_index_names_what_mends_it_and_that_mends_it(indexed: Instance, tmp_path: Path):
    copy = Instance(tmp_path / "copy")
    copy.write("leave.md", (indexed.docs / "leave.md").read_text())
    shutil.copytree(indexed.state.path, copy.state.path)
    place = next(copy.state.index_dir.glob("knowledge-*"))
    (place / "shard" / "edge_config.json").write_text("damaged")
    for command, code in ((["search", "leave"], 1), (["verify"], 3), (["reindex"], 1)):
        done = freshd(copy, *command)
        assert done.returncode == code
        assert "the engine cannot load its shard" in done.stderr
        assert f"try:   stop freshd, move {place} away, then: freshd reindex" in done.stderr
    place.rename(tmp_path / "away")
    assert json.loads(freshd(copy, "reindex", "--json").stdout)["sources"][0]["chunks"]["embedded"] == 0
    assert "28 days" in freshd(copy, "search", "leave").stdout
    assert freshd(copy, "verify").returncode == 0


# What was meant


@pytest.mark.parametrize(
    ("arguments", "says", "mends"),
    [
        (["--nonsense"], "no such option: --nonsense", "freshd --help"),
        (["nonsense"], "no such command 'nonsense'", "freshd --help"),
        (["search"], "missing argument 'QUERY'", "freshd search --help"),
        (["search", "x", "-k", "many"], "-k: expected a whole number", "freshd search --help"),
        (["search", "x", "--colour"], "no such option: --colour (Possible options: --source)", "freshd search --help"),
        (["deletions", "list"], "missing argument 'SOURCE'", "freshd deletions list --help"),
        (["history", "-n", "0"], "-n: got 0, expected 1 … 1,000", "freshd history -n 20"),
        (["status", "--config", "nope.toml"], "nope.toml: got no such file, expected a config", "nope.toml"),
        (["search", "x", "--source", "handbok"], "source: got 'handbok', expected one of: handbook", "handbook?"),
        (["search", "x", "--source", "it's"], "source: got 'it's', expected one of: handbook", "[[sources]]"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_an_error_with_what_helps(
    indexed: Instance, arguments: list[str], says: str, mends: str
):
    done = freshd(indexed, *arguments)
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert error == f"error: {says}"
    assert hint.startswith("try:   ")
    assert mends in hint


def test_commands_are_listed_in_the_order_of_their_use(indexed: Instance):
    shown = freshd(indexed, "--help").stdout
    names = re.findall(r"^\W*([a-z]+)  +[A-Z]", shown, re.MULTILINE)
    of_use = ["init", "run", "reindex", "search", "status", "wait", "history", "deletions", "forget", "prune"]
    assert names == [*of_use, "verify", "backup", "ledger", "doctor", "demo", "compare"]


def test_the_version_is_told(indexed: Instance):
    assert freshd(indexed, "--version").stdout == f"freshd {__version__}\n"


def test_what_is_too_long_is_refused_in_the_same_words_with_a_daemon_and_without(tmp_path: Path):
    questions = [
        ["search", "a" * (MAX_QUERY_BYTES + 1)],
        ["search", "a" * 100_000],
        ["search", ""],
        ["search", "leave", "-k", "101"],
        ["search", "leave", "--path", "a" * (MAX_PATH_CHARACTERS + 1)],
        ["history", "handbook/" + "a" * 100_000],
    ]
    with instance(tmp_path) as one:
        alone = [freshd(one, *question) for question in questions]
        one.start()
        asked = [freshd(one, *question) for question in questions]
        over_http = one.get("/search", q="a" * (MAX_QUERY_BYTES + 1)).json()["error"]
    assert [done.stderr for done in asked] == [done.stderr for done in alone]
    assert {done.returncode for done in [*alone, *asked]} == {2}
    assert all(len(done.stderr.splitlines()) == 2 for done in alone)
    assert over_http.removeprefix("q: ") in alone[0].stderr


def test_a_second_daemon_is_told_of_the_first_before_anything_is_touched(tmp_path: Path):
    with instance(tmp_path) as one:
        one.start()
        assert one.record is not None
        port = one.record.address.rpartition(":")[2]
        config = one.root / "freshd.toml"
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        done = one.command("run")
        assert done.returncode == 13
        assert f"in use by the freshd (process {one.record.pid})" in done.stderr
        assert f"kill {one.record.pid}" in done.stderr
        other = Instance(tmp_path / "other")
        (other.root / "freshd.toml").write_text(config.read_text())
        done = other.command("run")
        assert (done.returncode, "another program" in done.stderr) == (13, True)
        assert not other.state.path.exists()


def test_nothing_to_approve_promises_nothing(indexed: Instance):
    done = freshd(indexed, "deletions", "approve", "handbook")
    assert (done.returncode, done.stderr) == (0, "0 deletions approved\n")


@pytest.mark.parametrize("status", [413, 503])
def test_an_answer_that_refuses_for_now_says_what_to_do(status: int):
    assert json.loads(problem(status, "no").body) == {
        "error": "no",
        "try": {413: "ask for less at once", 503: "ask again in a moment"}[status],
    }
    assert json.loads(problem(status, "no", "wait").body)["try"] == "wait"


# What is shown


def source(name: str, **facts: Any) -> dict[str, Any]:
    return {
        "name": name,
        "status": "unknown",
        "reasons": [],
        "last_error": None,
        "documents": 250_123,
        "chunks": 1_250_123,
        "pending": 12,
        "late": 0,
        "quarantined": 0,
        "quarantine": [],
        "staleness_seconds": 4_000.0,
        "freshness_target_seconds": 60.0,
        "error_budget_remaining": -1.0,
        "lag_seconds": {"p50": 0.21, "p99": 3.4},
        **facts,
    }


def table_on(width: int, *names: str) -> list[str]:
    report: Any = {"at": "2026-01-01T12:10:00Z", "daemon": 7, "sources": [source(name) for name in names]}
    report |= {"config_error": None, "removed": []}
    report |= {"store": {"error": None}, "verify": {"checked_at": None}, "indexing": None}
    report["generation"] = {"live": None, "filling": None, "retired": None}
    written = io.StringIO()
    show.status_table(report, Output(file=written, width=width, soft_wrap=True))
    return written.getvalue().splitlines()[:-1]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_on_any_terminal_the_figures_of_a_source_stand_whole_in_its_first_line(width: int):
    head, *lines = table_on(width, "handbook", "a" * 64)
    assert all(cell_len(line) <= width for line in [head, *lines])
    for line in (lines[0], lines[1]):
        assert re.fullmatch(r"\S+ +unknown +(250,123 +)?([\d,]+ +)?12 +67 min.*", line)
    assert "…" not in "".join([head, *lines])
    assert "".join(line.split()[0] for line in lines[1:]) == "a" * 64
    assert len(lines) <= 6
    assert ("documents" in head) == (width >= 80)


def test_in_a_pipe_each_source_is_a_line_with_every_column(tmp_path: Path):
    long = FILES.replace("handbook", "a" * 64)
    with instance(tmp_path, FILES + long) as one:
        head, *lines = freshd(one, "status").stdout.splitlines()
    columns = ("source", "status", "documents", "chunks", "pending", "stale", "target", "lag p50", "lag p99", "budget")
    assert " ".join(head.split()) == " ".join(columns)
    assert [line.split()[0] for line in lines[:2]] == ["handbook", "a" * 64]


def test_in_a_pipe_the_legend_of_a_history_is_one_line(indexed: Instance):
    assert freshd(indexed, "history").stderr.splitlines() == [
        "chunks: + embedded  ~ reused  = kept  − removed · lag: from changed to searchable"
    ]


def hit(**facts: Any) -> dict[str, Any]:
    return {
        "text": "Everybody has 28 days.",
        "source": "handbook",
        "document_id": "leave.md",
        "uri": "file:///docs/leave.md",
        "title": None,
        "heading_path": [],
        "start_line": 3,
        "end_line": 3,
        "is_stale": False,
        "watermark": None,
        **facts,
    }


def shown(**facts: Any) -> list[str]:
    written = io.StringIO()
    answer: Any = {"hits": [hit(**facts)]}
    show.hits(answer, Console(file=written, width=80, soft_wrap=True, highlight=False, emoji=False))
    return written.getvalue().splitlines()


def test_a_passage_is_shown_with_its_place_and_titles_once_each():
    assert shown()[0] == "1. handbook/leave.md:3"
    assert shown(end_line=5)[0] == "1. handbook/leave.md:3-5"
    assert shown(title="Leave", heading_path=["Leave", "Parents"])[0] == "1. handbook/leave.md:3  Leave › Parents"
    assert shown(title="[bold]A guide[/]", heading_path=["Leave"])[0].endswith("  [bold]A guide[/] › Leave")


def test_a_passage_of_a_document_that_cannot_be_indexed_as_it_is_now_says_so():
    assert shown()[-2].endswith("freshness of its source unknown")
    assert shown(is_stale=True)[-2].endswith(", but stale: its newest state could not be indexed")


def test_tabs_of_a_passage_are_shown_as_wide_as_they_are():
    assert shown(text="func main() {\n\tfmt.Println(1)\n}")[2] == "           fmt.Println(1)"
    assert shown(text="a\tb")[1] == "   a       b"


def test_what_programs_read_is_written_as_it_is():
    written = io.StringIO()
    Output(file=written, width=20).write("> \tindented, and longer than the line [bold]is[/]\n")
    assert written.getvalue() == "> \tindented, and longer than the line [bold]is[/]\n"


def test_a_passage_of_blanks_says_so_and_no_line_ends_in_blanks():
    assert shown(text=" \n\t\n")[1] == "   (nothing but blanks)"
    assert shown(text="\n\nfirst  \n\nsecond\n\na\nb\nc")[1:6] == ["   first", "", "   second", "", "   … 3 more lines"]
    assert shown(text="1\n2\n3\n4\n5")[5] == "   … 1 more line"


@pytest.mark.parametrize("text", ["👩‍💻", "❤️‍🔥", "👨‍👩‍👧", "🏳️‍🌈 and 👩🏽‍🚀"])
def test_what_joins_pictures_is_shown(text: str):
    assert printable(text) == text


@pytest.mark.parametrize("text", ["a\u200db", "\u200d👩", "👩\u200d", "pay\u200dpal", "👩\u200d\u202e💻"])
def test_a_joiner_that_joins_no_pictures_is_told(text: str):
    assert "\\u200d" in printable(text)
    assert "\u202e" not in printable(text)


# Questions


def asked(one: Instance, *arguments: str, answered: Callable[[Forked, int], object]) -> tuple[int, str]:
    """Give the exit code of a command that asks at a terminal, and what was shown there."""
    ours, theirs = pty.openpty()
    process = forked.start(*arguments, folder=one.root, into=theirs, out=theirs, err=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4_096):
            had, shown = shown, shown + piece
            if b"[y/N]:" in shown and b"[y/N]:" not in had:
                # A signal between the question and the read that waits for its answer is heard with the next one only.
                eventually(lambda: state_of(process.pid) == "S")
                answered(process, ours)
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(60), shown.decode()


@pytest.mark.parametrize(
    "answered",
    [
        pytest.param(lambda process, _: process.send_signal(signal.SIGINT), id="Ctrl-C"),
        pytest.param(lambda _, terminal: os.write(terminal, b"\x04"), id="Ctrl-D"),
    ],
)
@pytest.mark.parametrize("command", [["forget", "handbook/leave.md"], ["ledger", "rebuild"]], ids=" ".join)
def test_whoever_breaks_off_at_a_question_is_told_that_nothing_was_changed(
    indexed: Instance, command: list[str], answered: Callable[[Forked, int], object]
):
    code, shown = asked(indexed, *command, answered=answered)
    assert (code, "Traceback" in shown) == (130, False), shown
    assert shown.splitlines()[-1] == "interrupted; nothing was changed"


def test_a_question_that_is_ended_by_the_system_ends_with_the_code_for_that(indexed: Instance):
    code, shown = asked(indexed, "ledger", "rebuild", answered=lambda process, _: process.send_signal(signal.SIGTERM))
    assert (code, shown.splitlines()[-1]) == (143, "interrupted; nothing was changed")


# Progress


def test_progress_begins_with_the_true_total_and_leaves_room_for_figures_beside_a_long_name():
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with ProgressTalk(console, "points") as progress:
        progress("a" * 64, 0, 10)
        progress("a" * 64, 10, 10)
    frames = [frame for frame in re.split(r"[\r\n]", written.getvalue()) if "aaa" in frame]
    assert "0/10 points" in re.sub(r" +", " ", frames[0])
    assert "10/10 points" in frames[-1]
    assert not [frame for frame in frames if "100" in frame]


def test_a_terminal_shows_nothing_of_work_before_it_begins():
    """A question may stand there until then, which progress would wipe out."""
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with ProgressTalk(console) as progress:
        progress("rebuild", 0, 0)
        assert written.getvalue() == ""
        progress("rebuild", 0, 10)
        assert "0/10" in written.getvalue()


def test_what_is_left_is_told_by_the_pace_since_the_work_went_on(monkeypatch: pytest.MonkeyPatch):
    """A run that was broken off begins with most of it done; nothing is said of the first look."""
    now = iter([100.0, 103.0, 112.0])
    monkeypatch.setattr("freshd.cli.progress.time.monotonic", lambda: next(now))
    written = io.StringIO()
    with ProgressTalk(Console(file=written, width=80, legacy_windows=False), "steps") as progress:
        for done in (9_000, 9_001, 9_010):
            progress("compare", done, 10_000)
    assert written.getvalue() == "compare: 9,010 of 10,000 steps, about 20 min left\n"


def test_on_a_terminal_that_cannot_be_drawn_on_progress_is_told_in_lines(monkeypatch: pytest.MonkeyPatch):
    """As in an editor's shell: a bar would show once the work is over."""
    now = iter([100.0, 106.0])
    monkeypatch.setattr("freshd.cli.progress.time.monotonic", lambda: next(now))
    monkeypatch.setenv("TERM", "dumb")
    written = io.StringIO()
    with ProgressTalk(Console(file=written, width=80, force_terminal=True), "points") as progress:
        progress("verify", 0, 10)
        progress("verify", 5, 10)
    assert written.getvalue() == "verify: 5 of 10 points, about 6 s left\n"


@pytest.mark.parametrize(("n", "says"), [(0, "0 points"), (1, "1 point"), (2_000, "2,000 points")])
def test_one_is_not_many(n: int, says: str):
    assert show.counted(n, "point") == says
