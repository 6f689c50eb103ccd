"""The demonstration shows what it says, on documents that are there, and leaves nothing behind."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from connectors.feed import FeedConnector
from freshd.chunker import ChunkLimits, chunk
from freshd.clock import SystemClock
from freshd.demo import run_demo
from freshd.demo import steps as demo_steps
from freshd.demo.corpus import headlines, write_corpus
from freshd.demo.daemon import Daemon, run_daemon
from freshd.demo.feedserver import Feed, serve_feed
from freshd.demo.steps import Step, perform
from freshd.embedder import open_embedder
from freshd.errors import ConfigError, FreshdError
from freshd.fetch import HttpxFetcher
from freshd.model import Document, DocumentId, DocumentRef, SourceName
from freshd.parsers import Parsers
from freshd.ports import ConnectorContext
from freshd.state import StateDirectory
from tests.scripted_server import Reply, ScriptedServer

START = datetime(2026, 1, 1, tzinfo=UTC)

STEPS = (
    "edit a paragraph",
    "add a document",
    "rename a document",
    "copy a document",
    "delete a document",
    "publish a feed entry",
    "edit a feed entry",
)


class SteppingClock:
    """Moves on by a second with every look at it."""

    def __init__(self) -> None:
        self.instant = START

    def now(self) -> datetime:
        self.instant += timedelta(seconds=1)
        return self.instant

    def monotonic(self) -> float:
        return (self.instant - START).total_seconds()


# Documents


def test_the_documents_are_real_distinct_and_within_the_bound(tmp_path: Path):
    corpus = write_corpus(tmp_path, 100)
    texts = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.*")}
    assert texts == {text.document_id: text.text for text in corpus.texts}
    assert len(texts) >= 5
    assert {name.partition("/")[0] for name in texts} == {"packages", "python"}
    assert 50 < corpus.chunks <= 100
    assert corpus.available > len(texts)


def test_no_text_is_taken_twice(tmp_path: Path):
    """Python explains `if` and `else` in the same words."""
    texts = [text.text for text in write_corpus(tmp_path, 100_000).texts]
    assert len(set(texts)) == len(texts)


def test_a_tiny_bound_still_gives_enough_documents_to_change(tmp_path: Path):
    assert len(write_corpus(tmp_path, 1).texts) == 5


def test_the_estimate_of_chunks_is_honest(tmp_path: Path):
    """Held against freshd's own parsers, chunker and tokens."""
    corpus = write_corpus(tmp_path / "documents", 300)
    embedder = open_embedder("bundled", tmp_path / "models", tmp_path)
    chunks = 0
    for text in corpus.texts:
        document_id = DocumentId(text.document_id)
        parsed = Parsers().parse(Document(DocumentRef(document_id, ""), "", text.text.encode()))
        chunks += len(
            chunk(
                parsed,
                source=SourceName("documents"),
                document_id=document_id,
                limits=ChunkLimits(24, 256),
                count_tokens=embedder.count_tokens,
            )
        )
    assert corpus.chunks == pytest.approx(chunks, rel=0.3)


def test_headlines_are_of_installed_packages():
    assert len(headlines(3)) == 3
    assert any(name.startswith("httpx ") and "HTTP client" in summary for name, summary in headlines(1000))


# The feed


@pytest.fixture
def feed() -> Iterator[Feed]:
    with serve_feed(SteppingClock()) as feed:
        yield feed


@pytest.fixture
def connector(feed: Feed, tmp_path: Path) -> Iterator[FeedConnector]:
    clock = SystemClock()
    context = ConnectorContext(SourceName("news"), tmp_path, clock, lambda hosts, _: HttpxFetcher(clock, hosts))
    host = feed.url.split("/")[2]
    connector = FeedConnector(FeedConnector.Options(url=feed.url, allow_private_hosts=(host,)), context)
    yield connector
    connector.close()


def test_freshd_reads_what_the_feed_publishes_and_edits(feed: Feed, connector: FeedConnector):
    first = feed.publish("A <first> & foremost", "Ships come in at noon.")
    second = feed.publish("A second", "Ships go out at night.")
    seen = {ref.document_id: ref for ref in connector.list()}
    assert set(seen) == {first, second}
    assert connector.read(seen[first]).title == "A <first> & foremost"
    feed.edit(first, "Ships come in at <b>dawn</b>.")
    again = {ref.document_id: ref for ref in connector.list()}
    assert again[first].fingerprint != seen[first].fingerprint
    assert again[first].changed_at > seen[first].changed_at
    assert again[second] == seen[second]
    assert connector.read(again[first]).content == b"Ships come in at <b>dawn</b>."


def test_a_feed_that_did_not_change_is_not_sent_again(feed: Feed, connector: FeedConnector):
    feed.publish("News", "Text.")
    listing = connector.list()
    assert len(list(listing)) == 1
    etag = httpx.get(feed.url).headers["etag"]
    assert httpx.get(feed.url, headers={"If-None-Match": etag}).status_code == 304
    assert list(connector.list(cursor=listing.report.cursor)) == []
    feed.publish("More news", "Text.")
    assert httpx.get(feed.url, headers={"If-None-Match": etag}).status_code == 200


def test_an_entry_can_be_read_at_its_own_address(feed: Feed):
    entry = feed.publish("Harbour news", "Ships.")
    assert httpx.get(entry).text == "Harbour news\n\nShips.\n"
    assert httpx.get(entry + "/nothing").status_code == 404


def test_nobody_listens_when_the_feed_is_over():
    with serve_feed(SystemClock()) as feed:
        assert listens(feed.url)
    assert not listens(feed.url)


def listens(url: str) -> bool:
    host, port = url.split("/")[2].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


# What goes wrong


def test_a_daemon_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path):
    config = tmp_path / "freshd.toml"
    config.write_text("nonsense = 1\n")
    with (
        pytest.raises(FreshdError, match=r"the daemon ended with exit code 2; the end of its log:\n  \S"),
        run_daemon(config, StateDirectory(tmp_path / ".freshd"), tmp_path / "daemon.log"),
    ):
        pass
    assert (tmp_path / "daemon.log").read_text()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def mute(tmp_path: Path, server: ScriptedServer) -> Iterator[Daemon]:
    """A daemon that answers, and never finds anything."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "daemon.log").write_text("one\ntwo\x1b[31m\n")
    with httpx.Client() as http:
        daemon = Daemon(process, StateDirectory(tmp_path), tmp_path / "daemon.log", http)
        server.on("/search", Reply(200, b'{"hits": []}'))
        server.on("/metrics", Reply(200, b'freshd_chunks_total{source="a",fate="kept"} 2\n'))
        daemon.address = server.host
        yield daemon
        process.kill()
        process.wait()


def test_a_change_that_does_not_show_in_time_is_a_failure_with_the_log(mute: Daemon, monkeypatch):
    monkeypatch.setattr(demo_steps, "STEP_S", 0.1)
    written: list[int] = []
    with pytest.raises(FreshdError) as raised:
        perform(Step("change", lambda: written.append(1), "query", lambda hits: None), mute)
    assert written == [1]
    assert str(raised.value).splitlines() == [
        "demo: the daemon did not show 'change' within 0 s; the end of its log:",
        "  one",
        "  two\\x1b[31m",
    ]


def test_a_daemon_that_refuses_an_answer_is_a_failure_with_the_log(mute: Daemon):
    with pytest.raises(FreshdError, match=r"did not answer GET /status: .*404"):
        mute.sources()


def hit(document_id: str, text: str = "", lines: tuple[int, int] = (3, 3)) -> dict[str, object]:
    return {"source": "s", "document_id": document_id, "text": text, "start_line": lines[0], "end_line": lines[1]}


def test_a_written_phrase_is_proved_by_its_own_document_alone():
    proof = demo_steps._shows("a.md", "The kestrel has the key.")
    assert proof([hit("a.md", "The kestrel is out."), hit("b.md", "The kestrel has the key.")]) is None
    wrapped = "Long ago.\nThe kestrel has\nthe key."
    assert proof([hit("b.md"), hit("a.md", wrapped, (3, 5))]) == "s/a.md:3-5  “The kestrel has the key.”"


def test_a_rename_is_proved_by_the_new_name_without_the_old_and_a_deletion_by_absence(
    mute: Daemon, server: ScriptedServer, tmp_path: Path
):
    corpus = write_corpus(tmp_path / "documents", 1)
    old = next(text for text in corpus.texts if demo_steps._paragraphs(text))
    with pytest.raises(FreshdError, match="is not found by its own words"):
        demo_steps._rename(corpus, old, mute)
    server.on("/search", Reply(200, json.dumps({"hits": [hit(old.document_id)]}).encode()))
    new_id = demo_steps._sibling(old.document_id, "renamed")
    renamed = demo_steps._rename(corpus, old, mute).proof
    assert renamed([hit(new_id), hit(old.document_id)]) is None
    assert renamed([hit("other.md")]) is None
    assert renamed([hit(new_id)]) == f"s/{new_id}:3  and not in {old.document_id}"
    deleted = demo_steps._delete(corpus, old, mute).proof
    assert deleted([hit(old.document_id)]) is None
    assert deleted([hit("other.md")]) is not None


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something") as refused:
        run_demo(tmp_path, keep=False, out=Console(file=io.StringIO()))
    assert "freshd demo" in refused.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# The whole


def test_every_change_is_shown_with_what_it_cost_and_what_proves_it(tmp_path: Path):
    shown = io.StringIO()
    place = tmp_path / "demo"
    assert run_demo(place, keep=False, out=Console(file=shown, width=80), max_chunks=40) == 0
    lines = shown.getvalue().splitlines()
    rows = {step: next((n for n, line in enumerate(lines) if line.startswith(step)), None) for step in STEPS}
    assert None not in rows.values()
    counts = {step: [int(cell) for cell in lines[n].removeprefix(step).split()[1:]] for step, n in rows.items()}
    embedded, _, kept, _ = counts["edit a paragraph"]
    assert 1 <= embedded <= 3  # the paragraph's chunk, and at most the two beside it
    assert kept > embedded
    for step in ("rename a document", "copy a document"):
        embedded, reused, _, _ = counts[step]
        assert (embedded, reused > 0) == (0, True)
    assert counts["delete a document"][0] == 0
    assert counts["delete a document"][3] > 0  # removed
    assert counts["publish a feed entry"] == [1, 0, 0, 0]
    assert re.match(r"  documents/packages/\S+:\d+(-\d+)?  “The kestrel-", lines[rows["edit a paragraph"] + 1])
    assert lines[rows["delete a document"] + 1].endswith("is not found any more")
    assert max(map(len, lines[min(rows.values()) : max(rows.values()) + 2])) <= 80
    assert "documents" in shown.getvalue().partition("freshd status")[2]
    assert (place / "documents").is_dir()  # a folder that somebody named is theirs
    assert "--config" not in shown.getvalue()
    assert "daemon: process" not in shown.getvalue()
    assert not any(listens(url) for url in re.findall(r"http://127\.0\.0\.1:\d+/", shown.getvalue()))


RUN = """
import sys
from pathlib import Path
from rich.console import Console
from freshd.demo import run_demo
sys.exit(run_demo(Path(sys.argv[1]), True, Console(), max_chunks=20))
"""


@pytest.mark.parametrize(
    ("number", "line", "code"),
    [(signal.SIGINT, "Ctrl-C", 0), (signal.SIGTERM, "  daemon  ", 128 + signal.SIGTERM)],
    ids=["at its end", "in the first index"],
)
def test_a_kept_demonstration_that_is_stopped_leaves_its_folder_and_no_process(
    tmp_path: Path, number: signal.Signals, line: str, code: int
):
    place = tmp_path / "demo"
    process = subprocess.Popen([sys.executable, "-u", "-c", RUN, str(place)], stdout=subprocess.PIPE, text=True)
    try:
        shown = list(iter_until(process.stdout, line))
        record = StateDirectory(place / ".freshd").read_daemon()
        assert record is not None, shown
        assert listens(f"http://{record.address}/")
        process.send_signal(number)
        rest = process.communicate(timeout=100)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code, rest
    assert line != "Ctrl-C" or f"  look    http://{record.address}/  (" in "".join(shown)
    assert not listens(f"http://{record.address}/")
    assert gone(record.pid)
    assert (place / "documents").is_dir()


def test_ctrl_c_in_the_first_index_is_heard_at_once_and_takes_the_scratch_folder_along(tmp_path: Path):
    command = [sys.executable, "-u", "-m", "freshd", "demo"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert list(iter_until(process.stdout, "  daemon  "))
        (place,) = tmp_path.glob("freshd-demo-*")
        record = StateDirectory(place / ".freshd").read_daemon()
        assert record is not None
        process.send_signal(signal.SIGINT)
        assert "stopping\n" in list(iter_until(process.stdout, "stopping"))
        os.kill(record.pid, 0)  # said before the daemon was waited for
        rest = process.communicate(timeout=100)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, rest) == (130, ("", ""))
    assert gone(record.pid)
    assert list(tmp_path.glob("freshd-demo-*")) == []


def iter_until(lines: Iterable[str], part: str) -> Iterator[str]:
    for line in lines:
        yield line
        if part in line:
            return


def gone(pid: int, patience_s: float = 60.0) -> bool:
    give_up_at_s = time.monotonic() + patience_s
    while time.monotonic() < give_up_at_s:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
