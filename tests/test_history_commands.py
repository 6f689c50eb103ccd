"""What was applied, told by commands and as it happens: with a daemon and without, to people and to programs."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import httpx
import pytest
from rich.cells import cell_len
from rich.console import Console

from freshd.cli import history, show
from freshd.client import Told
from freshd.compose import open_whole
from freshd.config import Secrets, load
from freshd.errors import FreshdError
from freshd.model import ChunkId, Point
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.kit import forked
from tests.torture.program import state_of

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (\w+) +(\S+(?: \w+)?)  (.*?)  +(\S.*)")


def rows(printed: str) -> list[tuple[str, str, str]]:
    """Give change, chunks and document of every line."""
    found = [ROW.fullmatch(line) for line in printed.splitlines()[1:]]
    assert all(found), printed
    return [(row[1], row[3], row[4]) for row in found if row]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A daemon that has seen every kind of change."""
    with instance(tmp_path_factory.mktemp("history")) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n\n## Parents\n\nParents have sixteen weeks.\n")
        one.write("old.md", "# Old\n\nSomething old.\n")
        one.write("moving.md", "# Moving\n\nSomething that moves.\n")
        one.start()
        one.settled()
        one.write("leave.md", "# Leave\n\nEverybody has 31 days.\n\n## Parents\n\nParents have sixteen weeks.\n")
        eventually(lambda: one.places("31 days"))
        (one.docs / "moving.md").rename(one.docs / "moved.md")
        eventually(lambda: one.places("that moves") == {"moved.md"})
        (one.docs / "old.md").unlink()
        eventually(lambda: not one.places("Something old"))
        eventually(lambda: len(one.get("/changes").json()["changes"]) == 6)
        yield one


NEWEST = [
    ("modified", "+1 =1 −1", "handbook/leave.md"),
    ("moved", "~1 −1", "handbook/moving.md → moved.md"),
    ("deleted", "−1", "handbook/old.md"),
]


def answers(daemon: Instance) -> Iterator[subprocess.CompletedProcess[str]]:
    """Give what some questions are answered."""
    for question in (
        ["history"],
        ["history", "handbook/leave.md"],
        ["history", "--json", "-n", "2"],
    ):
        yield daemon.command(*question)


def test_the_newest_changes_are_told_alike_by_the_daemon_and_without_it(tmp_path: Path):
    with instance(tmp_path) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        one.start()
        one.settled()
        with_daemon = [(done.returncode, done.stdout) for done in answers(one)]
        one.stop()
        assert [(done.returncode, done.stdout) for done in answers(one)] == with_daemon
        assert {code for code, _ in with_daemon} == {0}


def test_history_tells_each_kind_of_change_with_its_chunks_newest_last(daemon: Instance):
    everything = rows(daemon.command("history").stdout)
    assert {change for change, _, _ in everything[:3]} == {"added"}
    assert everything[3:] == NEWEST
    assert rows(daemon.command("history", "-n", "2").stdout) == NEWEST[1:]
    of_one = rows(daemon.command("history", "handbook/leave.md").stdout)
    assert [(change, document) for change, _, document in of_one] == [
        ("added", "handbook/leave.md"),
        ("modified", "handbook/leave.md"),
    ]
    told = json.loads(daemon.command("history", "-n", "1", "--json").stdout)
    assert [entry["kind"] for entry in told["changes"]] == ["deleted"]
    assert told["last_seq"] == told["changes"][0]["seq"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody"], "source: got 'nobody', expected one of: handbook"),
        (["nobody/leave.md"], "source: got 'nobody', expected one of: handbook"),
        (["handbook/"], "expected SOURCE/ID"),
        (["-n", "0"], "-n"),
        (["-n", "1001"], "-n"),
    ],
)
def test_a_history_that_cannot_be_meant_is_refused(daemon: Instance, arguments: list[str], says: str):
    done = daemon.command("history", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_where_nothing_was_applied_history_says_so(tmp_path: Path):
    with instance(tmp_path) as one:
        done = one.command("history")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "nothing was applied yet\n")
        followed = one.command("history", "--follow")
        assert followed.returncode == 1
        assert "try:   freshd run" in followed.stderr


# As it happens


class Printed:
    """A command that runs on, and the lines it printed so far."""

    def __init__(self, one: Instance, *arguments: str) -> None:
        reading, writing = os.pipe()
        self.process = forked.start(*arguments, folder=one.root, out=writing)
        os.close(writing)
        self.lines: list[str] = []
        threading.Thread(target=self._read, args=(reading,)).start()

    def _read(self, descriptor: int) -> None:
        with open(descriptor) as lines:
            self.lines.extend(iter(lines.readline, ""))


@contextmanager
def running(one: Instance, *arguments: str) -> Iterator[Printed]:
    printed = Printed(one, *arguments)
    try:
        yield printed
    finally:
        printed.process.kill()
        printed.process.wait()


def test_history_follows_across_a_restart_and_ends_well_with_ctrl_c(tmp_path: Path):
    with instance(tmp_path) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        one.start()
        one.settled()
        with running(one, "history", "--follow", "--json") as printed:
            eventually(lambda: len(printed.lines) == 1)
            one.write("leave.md", "# Leave\n\nEverybody has 29 days.\n")
            eventually(lambda: len(printed.lines) == 2)
            one.stop()
            one.write("leave.md", "# Leave\n\nEverybody has 30 days.\n")
            one.start()
            eventually(lambda: len(printed.lines) == 3)
            printed.process.send_signal(signal.SIGINT)
            assert printed.process.wait(60) == 0
        told = [json.loads(line) for line in printed.lines]
        assert [entry["seq"] for entry in told] == [1, 2, 3]
        assert [entry["kind"] for entry in told] == ["added", "modified", "modified"]


def test_a_daemon_that_stays_away_ends_the_following(monkeypatch):
    """While it restarts it may be away; the numbers go on where they were."""
    asked, away = [], FreshdError("no daemon runs")

    class Daemon(nullcontext[None]):
        def __enter__(self) -> Any:
            return self

        def follow(self, place: str, *_: object) -> Iterator[Told]:
            asked.append(place)
            yield Told(f"{int(place) + 1}", None)

    daemons = iter([Daemon(), away, Daemon(), *[away] * 100])

    def find(_: object) -> Daemon:
        if isinstance(found := next(daemons), FreshdError):
            raise found
        return found

    monkeypatch.setattr(history, "_daemon", find)
    monkeypatch.setattr(history, "_PAUSE_S", 0.01)
    monkeypatch.setattr(history, "_PATIENCE_S", 0.2)
    following = history._told(None, "7", history._Wanted())
    assert [next(following).place, next(following).place] == ["8", "9"]
    with pytest.raises(FreshdError, match="no daemon runs"):
        next(following)
    assert asked == ["7", "8"]
    assert len(list(daemons)) > 50


def heard(one: Instance, seqs: list[int], ready: threading.Event) -> None:
    """Listen as an application does: come back with the last number whenever the stream ends."""
    last = None
    with suppress(httpx.HTTPError), one.http() as client:
        while True:
            headers = {"accept": "text/event-stream"} | ({} if last is None else {"last-event-id": last})
            with client.stream("GET", "/changes", headers=headers) as answer:
                for line in answer.iter_lines():
                    if line.startswith("id: "):
                        last = line.removeprefix("id: ")
                        ready.set()
                    if line.startswith("data: "):
                        seqs.append(json.loads(line.removeprefix("data: "))["seq"])


def test_a_listener_hears_every_change_once_and_soon_while_the_config_is_reloaded(tmp_path: Path):
    with instance(tmp_path) as one:
        one.write("leave.md", "# Leave\n\nDay 0.\n")
        one.start()
        one.settled()
        seqs, ready = [], threading.Event()
        listener = threading.Thread(target=heard, args=(one, seqs, ready))
        listener.start()
        assert ready.wait(60)
        for n in range(1, 4):
            one.write("leave.md", f"# Leave\n\nDay {n}.\n")
            one.configure(FILES.replace("1m", f"{n + 1}m"))
            one.signal(signal.SIGHUP)
            eventually(lambda n=n: len(seqs) >= n)
        began = time.monotonic()
        one.write("leave.md", "# Leave\n\nDay last.\n")
        eventually(lambda: one.answered("/changes", limit=1).json()["last_seq"] == seqs[-1] and len(seqs) >= 4)
        assert time.monotonic() - began < 25
        newest = one.answered("/changes", limit=1).json()["last_seq"]
        assert seqs == list(range(2, newest + 1))
        assert one.events("request_failed") == []
        began = time.monotonic()
        assert one.stop() == 0
        assert time.monotonic() - began < 30, "an open stream holds up the end"
        listener.join(60)
        assert not listener.is_alive()


# Columns


def entry(document_id: str, previous_id: str | None = None, **counts: int) -> Any:
    chunks = {"embedded": 0, "reused": 0, "relabelled": 0, "kept": 0, "removed": 0, **counts}
    at = "2026-01-01T12:00:00Z"
    kind = "moved" if previous_id else "modified"
    named = {"source": "handbook", "document_id": document_id, "previous_id": previous_id, "kind": kind}
    return {"seq": 1, **named, "changed_at": at, "searchable_at": at, "lag_seconds": 0.21, "chunks": chunks}


@pytest.mark.parametrize(
    ("document_id", "previous_id"),
    [
        ("leave.md", None),
        ("b.md", "a.md"),
        ("engineering/services/payments/retries-and-idempotency.md", None),
        ("engineering/services/payments/retries.md", "engineering/services/billing/retries.md"),
        ("就業規則/有給休暇/二千二十六年度の有給休暇の申請について.md", None),
        ("[bold]not markup[/].md", None),
    ],
)
def test_a_line_of_history_fits_its_terminal_and_loses_nothing(document_id: str, previous_id: str | None):
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True, color_system=None, soft_wrap=True, highlight=False)
    history._Lines(console).show(
        entry(document_id, previous_id, embedded=12, reused=3, kept=9, relabelled=1, removed=4)
    )
    head, day, *lines = written.getvalue().splitlines()
    assert head.split() == ["time", "change", "lag", "chunks", "document"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    assert all(cell_len(line) <= 80 for line in lines)
    assert "+12 ~3 =10 −4" in lines[0]
    shown = "".join(line[history._INDENT :] for line in lines).replace(" ", "")
    wanted = f"{previous_id}→{document_id}" if previous_id else document_id
    assert shown == f"handbook/{wanted}".replace(" ", "")


# Verify


def test_verify_proves_the_index_and_tells_what_mends_it(tmp_path: Path):
    with instance(tmp_path) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n\n## Parents\n\nParents have sixteen weeks.\n")
        assert one.command("reindex").returncode == 0
        fine = one.command("verify")
        assert (fine.returncode, fine.stderr) == (0, "")
        assert fine.stdout.startswith("2 points checked in ")
        with open_whole(load(one.root / "freshd.toml"), Secrets()) as whole:
            first, second = whole.store.scroll(None, 2, with_vectors=True)
            stray = Point(ChunkId(str(UUID(int=7))), first.dense, first.sparse, first.payload)
            torn = Point(second.chunk_id, first.dense, second.sparse, {**second.payload, "page_content": "Nothing."})
            foreign = Point(ChunkId(str(UUID(int=8))), first.dense, first.sparse, {"text": "somebody else's"})
            whole.store.upsert([stray, torn, foreign])
            whole.store.flush()
        one.start()
        one.settled()
        told = one.command("verify")
        assert told.returncode == 1
        assert re.search(r"^orphaned +1  ", told.stdout, re.MULTILINE)
        assert re.search(r"^damaged +1  ", told.stdout, re.MULTILINE)
        assert re.search(r"^foreign +1  ", told.stdout, re.MULTILINE)
        assert f"damaged: handbook/leave.md ({second.chunk_id}): text" in told.stderr
        assert "error: index and ledger differ in 2 points" in told.stderr
        assert told.stderr.endswith("try:   freshd verify --repair\n")
        as_json = one.command("verify", "--json")
        assert (as_json.returncode, json.loads(as_json.stdout)["damaged"]) == (1, 1)
        one.stop()
        deep = one.command("verify", "--deep")
        assert deep.returncode == 1
        assert deep.stderr.endswith("try:   freshd verify --deep --repair\n")
        one.start()
        mended = one.command("verify", "--deep", "--repair", "--json")
        report = json.loads(mended.stdout)
        assert (mended.returncode, report["repaired"], report["foreign"], report["examples"]) == (0, 2, 1, [])
        again = one.command("verify", "--deep", "--repair", "--json")
        assert (again.returncode, json.loads(again.stdout)["repaired"]) == (0, 0)
        assert one.places("Parents have sixteen weeks.") == {"leave.md"}
        one.stop()


def test_verify_says_apart_what_differs_and_what_could_not_be_looked_at(tmp_path: Path):
    with instance(tmp_path) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        assert one.command("reindex").returncode == 0
        refused = one.command("verify", "--orphans")
        assert (refused.returncode, "--repair" in refused.stderr) == (2, True)
        (shard,) = one.state.index_dir.glob("*/shard")
        shard.rename(tmp_path / "away")
        lost = one.command("verify", "--deep", "--repair")
        assert lost.returncode == 3
        assert "could not verify" in lost.stderr
        assert "freshd reindex" in lost.stderr
        (tmp_path / "away").rename(shard)
        assert one.command("verify", "--deep").returncode == 0


def test_a_repair_that_is_killed_or_interrupted_leaves_nothing_half_done(tmp_path: Path):
    with instance(tmp_path) as one:
        for n in range(3):
            one.write(f"{n}.md", f"# Page {n}\n\nText of page {n}.\n")
        assert one.command("reindex").returncode == 0
        with open_whole(load(one.root / "freshd.toml"), Secrets()) as whole:
            points = whole.store.scroll(None, 3, with_vectors=True)
            other = points[0].dense
            whole.store.upsert([Point(p.chunk_id, other, p.sparse, {**p.payload, "doc_id": ""}) for p in points])
            whole.store.flush()
        with open(tmp_path / "said", "wb+") as said:
            assert repairing(one, "kill", said).wait(60) == -signal.SIGKILL
            interrupted = repairing(one, "stop", said)
            eventually(lambda: state_of(interrupted.pid) == "T", 60)
            interrupted.send_signal(signal.SIGINT)
            interrupted.send_signal(signal.SIGCONT)
            assert interrupted.wait(60) == 130
            assert "interrupted; nothing is left half done" in forked.text_of(said)
        done = one.command("verify", "--deep", "--repair", "--json")
        assert (done.returncode, json.loads(done.stdout)["repaired"]) == (0, 3)
        assert one.command("verify", "--deep").returncode == 0


def repairing(one: Instance, action: str, said: IO[bytes]) -> forked.Forked:
    """Begin a repair to which something is done in its midst."""
    armed = {"FRESHD_FAULTS": f"mid_repair:{action}"}
    return forked.start("verify", "--deep", "--repair", folder=one.root, err=said.fileno(), environment=armed)


# Status


TWO = FILES + FILES.replace("handbook", "wiki").replace('"docs"', '"absent"')


def test_a_check_names_each_source_that_misses_its_objective_and_why(tmp_path: Path):
    with instance(tmp_path, TWO) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        one.command("reindex")
        for extra in ([], ["--json"]):
            done = one.command("status", "--check", *extra)
            assert done.returncode == 4
            (line,) = done.stderr.splitlines()
            assert line.startswith("error: wiki: no complete listing")
        assert one.command("status").returncode == 0


@pytest.mark.parametrize("extra", [[], ["--json"], ["--check"]])
def test_a_status_is_watched_on_a_terminal_only(tmp_path: Path, extra: list[str]):
    with instance(tmp_path) as one:
        done = one.command("status", "--watch", *extra)
        assert (done.returncode, done.stdout) == (2, "")
        assert "try:   freshd status" in done.stderr


def test_a_status_is_not_watched_on_a_terminal_that_cannot_be_drawn_on(tmp_path: Path):
    """It would show nothing until its end."""
    with instance(tmp_path) as one:
        ours, theirs = pty.openpty()
        try:
            done = forked.run("status", "--watch", folder=one.root, out=theirs, environment={"TERM": "dumb"})
        finally:
            os.close(ours)
            os.close(theirs)
    assert done.returncode == 2
    assert "expected a terminal that is not dumb" in done.stderr


def until(terminal: int, *wanted: str, within_s: float = 60.0) -> str:
    """Read a terminal until it has shown everything wanted."""
    shown, ends = "", time.monotonic() + within_s
    while not all(one in shown for one in wanted):
        assert time.monotonic() < ends, shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65_536).decode(errors="replace")
    return shown


def test_a_watched_status_goes_on_and_ends_well_with_ctrl_c(tmp_path: Path):
    with instance(tmp_path) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        one.command("reindex")
        ours, theirs = pty.openpty()
        terminal = {"into": theirs, "out": theirs, "err": theirs, "environment": {"COLUMNS": "80", "TERM": "xterm"}}
        watching = forked.start("status", "--watch", folder=one.root, **terminal)
        os.close(theirs)
        try:
            until(ours, "handbook", "no daemon runs")
            one.start()
            until(ours, "daemon: process")
            watching.send_signal(signal.SIGINT)
            assert watching.wait(60) == 0
        finally:
            watching.kill()
            watching.wait()
            os.close(ours)


def source(name: str, **facts: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "files",
        "status": "pass",
        "reasons": [],
        "last_error": None,
        "documents": 1_234,
        "chunks": 23_456,
        "pending": 0,
        "late": 0,
        "quarantined": 0,
        "quarantine": [],
        "staleness_seconds": 12.3,
        "freshness_target_seconds": 60.0,
        "error_budget_remaining": 1.0,
        "lag_seconds": {"p50": 0.21, "p99": 3.4},
        **facts,
    }


def status_on(width: int, *sources: dict[str, Any]) -> str:
    report: Any = {
        "status": "warn",
        "version": "1",
        "at": "2026-01-01T12:10:00Z",
        "daemon": 7,
        "config_error": None,
        "sources": list(sources),
        "store": {"kind": "embedded", "collection": "knowledge", "error": None},
        "verify": {"checked_at": "2026-01-01T12:00:00Z", "checked": 99, "missing": 1, "orphaned": 2, "damaged": 3},
        "removed": [],
        "generation": {
            "live": "knowledge-1a2b3c4d",
            "filling": {
                "name": "knowledge-5e6f7a8b",
                "documents": 30,
                "of": 90,
                "eta_seconds": 60.0,
                "failed": 2,
                "error": None,
            },
            "retired": None,
        },
        "indexing": {"source": "wiki", "document_id": "x", "done": 5, "total": 400, "eta_seconds": 130.0},
    }
    report["verify"] |= {"repaired": 0, "elapsed_seconds": 1.0}
    written = io.StringIO()
    show.status_table(report, Console(file=written, width=width, highlight=False, soft_wrap=True, emoji=False))
    return written.getvalue()


THREE = (
    source("handbook"),
    source(
        "news",
        status="warn",
        pending=12,
        late=3,
        staleness_seconds=4_000.0,
        error_budget_remaining=0.374,
        reasons=["staler than the freshness target", "[3] documents failed"],
        last_error="feed: 503",
    ),
    source("engineering-wiki", status="error", error_budget_remaining=-1.5, reasons=["budget spent: disk full"])
    | {"documents": 250_123, "chunks": 1_250_123, "staleness_seconds": 200_000.0, "last_error": "disk full"},
)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_three_sources_fit_a_terminal_in_a_line_each(width: int):
    table = status_on(width, *THREE).splitlines()[:4]
    assert all(len(line.rstrip()) <= width for line in table)
    assert [line.split()[0] for line in table] == ["source", "handbook", "news", "engineering-wiki"]
    assert all(word in table[0] for word in ("documents", "pending", "stale", "target", "lag p99", "budget"))
    assert ("chunks" in table[0]) == (width >= 100)
    assert [line.split()[-1] for line in table[1:]] == ["100%", "37%", "spent"]


def test_below_the_table_stands_why_a_source_is_not_well():
    assert status_on(80, *THREE).splitlines()[4:] == [
        "news: staler than the freshness target",
        "news: [3] documents failed",
        "news: last error: feed: 503",
        "engineering-wiki: budget spent: disk full",
        "indexing wiki: 5 of 400 documents, about 2.2 min left",
        "generation knowledge-5e6f7a8b: 30 of 90 documents, about 60 s left, 2 put off",
        "daemon: process 7 · verified 10 min ago: 6 of 99 points differ",
    ]


# Prompt


def test_a_search_is_printed_as_a_prompt(daemon: Instance):
    done = daemon.command("search", "sixteen weeks", "-k", "1", "--as", "prompt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "[1] Leave › Parents\n" in done.stdout
    assert f"    {(daemon.docs / 'leave.md').as_uri()}:7-7\n" in done.stdout
    assert "\n> Parents have sixteen weeks.\n" in done.stdout


@pytest.mark.parametrize("arguments", [["--as", "prompt", "--json"], ["--as", "json"], ["--as", ""]])
def test_a_form_that_cannot_be_meant_is_refused(daemon: Instance, arguments: list[str]):
    done = daemon.command("search", "leave", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: --as" in done.stderr
