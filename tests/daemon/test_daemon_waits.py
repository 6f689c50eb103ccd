"""A running daemon asked to look, or to wait: it tells what fails and what is held, and lets writers finish."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freshd.scheduler.hints import QUIET_S
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.scripted_server import Reply, ScriptedServer

ROOT = Path(__file__).parents[2]
BINARY = b"\0\1\2" * 500
N_PAGES = 6


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "waits", FILES.replace('"1m"', '"4s"')) as made:
        for n in range(N_PAGES):
            made.write(f"page{n}.md", f"# Page {n}\n\nText of page {n}.\n")
        made.start()
        made.settled()
        yield made


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(done.stdout)


def test_what_fails_or_is_held_is_told_by_every_look_and_by_waiting_for_everything(one: Instance):
    """With the codes of a one-shot: 3 for what cannot be read, 14 for what is held."""
    (one.docs / "bad.md").write_bytes(BINARY)
    for _ in range(2):
        done = one.command("reindex", "--json")
        (source,) = answer(done)["sources"]
        assert done.returncode == 3
        counts = {name: n for name, n in source["documents"].items() if n}
        assert counts.pop("failed") == 1
        assert sum(counts.values()) == N_PAGES
        assert source["errors"][0]["error"].startswith("handbook/bad.md: got binary data")
    done = one.command("wait", "--all")
    assert done.returncode == 3
    assert done.stdout.startswith("handbook/bad.md: failed: got binary data")
    assert done.stderr.startswith("error: handbook/bad.md: failed: got binary data")
    for path in one.docs.glob("page*.md"):
        path.unlink()
    eventually(lambda: one.source()["held"])
    done = one.command("wait", "--all", "--json")
    assert done.returncode == 14
    assert answer(done)["is_done"]
    assert sorted({document["state"] for document in answer(done)["documents"]}) == ["failed", "held"]
    assert "try:   freshd deletions list handbook" in done.stderr.splitlines()


def test_waiting_for_a_document_that_fails_says_that_and_why(one: Instance):
    (one.docs / "bad.md").write_bytes(BINARY)
    done = one.command("wait", "handbook/bad.md")
    assert done.returncode == 1
    assert done.stderr.startswith("error: handbook/bad.md: failed: got binary data")
    assert "not searchable within" not in done.stderr


def test_waiting_for_what_never_was_fails_and_for_what_is_gone_does_not(one: Instance):
    done = one.command("wait", "handbook/typo.md")
    assert done.returncode == 1
    assert done.stderr == "error: handbook/typo.md: not in the source, and was not indexed\n"
    (one.docs / "page0.md").unlink()
    for _ in range(2):  # the second time it is long gone
        done = one.command("wait", "handbook/page0.md")
        assert (done.returncode, done.stdout) == (0, "handbook/page0.md: absent\n")
        eventually(lambda: one.source()["documents"] == N_PAGES - 1)


def test_waiting_for_a_document_and_for_everything_is_refused(one: Instance):
    done = one.command("wait", "--all", "handbook/page0.md")
    assert done.returncode == 2
    assert done.stderr.startswith("error: wait: got both, expected either SOURCE/ID or --all")
    assert one.command("wait").stderr.startswith("error: wait: expected either SOURCE/ID or --all")


def test_a_look_that_is_interrupted_goes_on_in_the_daemon_and_says_so(tmp_path: Path):
    body = b'<rss version="2.0"><channel><item><guid>1</guid><description>Text.</description></item></channel></rss>'
    with ScriptedServer() as server, instance(tmp_path) as one:
        host = f"127.0.0.1:{server.port}"
        server.on("/feed", Reply(200, body), Reply(200, body, delay_s=60.0))
        one.configure(
            f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "http://{host}/feed"\n'
            f'freshness_target = "1h"\nallow_private_hosts = ["{host}"]\n'
        )
        one.start()
        one.settled("news")
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits what is ignored
        try:
            asking = subprocess.Popen(
                [sys.executable, "-m", "freshd", "reindex"],
                cwd=one.root,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        with asking:
            eventually(lambda: len(server.asked("/feed")) == 2)
            asking.send_signal(signal.SIGINT)
            _, stderr = asking.communicate(timeout=60)
        assert (asking.returncode, stderr) == (130, b"interrupted; the daemon goes on with it\n")
        assert one.source("news")["documents"] == 1


def test_scans_leave_a_document_alone_that_is_being_written(one: Instance):
    """A scan every two seconds, and a writer that flushes four times a second."""
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import select, sys, time\n"
            "at, longest = time.monotonic(), 0.0\n"
            "with open(sys.argv[1], 'w') as file:\n"
            "    for n in range(200):\n"
            "        file.write(f'# Part {n}\\n\\nSlowly written part{n}word.\\n\\n')\n"
            "        file.flush()\n"
            "        at, longest = time.monotonic(), max(longest, time.monotonic() - at)\n"
            "        if n > 27 and select.select([sys.stdin], [], [], 0)[0]:\n"
            "            break\n"
            "        time.sleep(0.25)\n"
            "print(longest)\n",
            str(one.docs / "slow.md"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    was_pending, longest_pause_s = False, 0.0
    while writer.poll() is None:
        asked_s = time.monotonic()
        if not was_pending and one.source()["pending"] > 0:
            was_pending = True
            writer.stdin.close()  # it may come to its end, however late that was seen
        longest_pause_s = max(longest_pause_s, time.monotonic() - asked_s)
        time.sleep(0.05)  # else it takes the processor from the writer, who may not pause
    with writer:
        longest_pause_s = max(longest_pause_s, float(writer.stdout.read()))
    last = (one.docs / "slow.md").read_text().split()[-1].removesuffix(".")
    eventually(lambda: one.places(last) == {"slow.md"})
    indexed = eventually(  # told once it is durable, a moment after it is found
        lambda: [event["change"] for event in one.events("document_indexed") if event["document_id"] == "slow.md"]
    )
    assert indexed == ["added"] or longest_pause_s > QUIET_S / 2, "a machine that stands still makes a writer pause"
    assert was_pending
