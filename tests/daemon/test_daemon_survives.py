"""What breaks around a daemon costs what broke, and nothing else: stores, servers, sources and ledgers."""

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from freshd.errors import StateInUse
from tests import qdrant_standin
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.scripted_server import Reply, Request, ScriptedServer


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one") as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        yield made


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        yield made


def feed(server: ScriptedServer, name: str = "news", path: str = "/feed", target: str = "2s") -> str:
    return (
        f'[[sources]]\nname = "{name}"\ntype = "feed"\nurl = "{server.url(path)}"\n'
        f'allow_private_hosts = ["{server.host}"]\nfreshness_target = "{target}"\n'
    )


def rss(*words: str) -> bytes:
    items = "".join(
        f"<item><guid>{n}</guid><title>Entry {n}</title><description>The {word}.</description></item>"
        for n, word in enumerate(words)
    )
    return f'<rss version="2.0"><channel><title>News</title>{items}</channel></rss>'.encode()


RSS = {"Content-Type": "application/rss+xml"}


def locked(one: Instance) -> ExitStack | None:
    """Take the state directory, as a command does that works there; None while somebody else has it."""
    with ExitStack() as stack, suppress(StateInUse):
        stack.enter_context(one.state.lock())
        return stack.pop_all()
    return None


# The store


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_store_whose_process_is_lost_comes_back_and_nothing_is(one: Instance, number: signal.Signals):
    """A frozen one is given up after the ten seconds a call may take; meanwhile all but search goes on."""
    one.start()
    one.settled()
    (store,) = one.children()
    os.kill(store, number)
    one.write("b.md", "# B\n\nThe secondword.\n")
    eventually(lambda: one.source()["pending"] or one.source()["documents"] == 2)
    if number == signal.SIGSTOP:
        one.write("c.md", "# C\n\nThe thirdword.\n")
        eventually(lambda: one.source()["pending"] == 2 or one.events("store_lost"))
        assert one.get("/healthz").status_code == 200
        eventually(lambda: one.events("store_lost"))
    eventually(lambda: one.settled()["documents"] == (3 if number == signal.SIGSTOP else 2))
    assert one.places("firstword") == {"a.md"}
    assert one.places("secondword") == {"b.md"}
    assert one.get("/readyz").status_code == 200
    assert one.metric("freshd_store_up") == 1
    assert store not in one.children()
    assert one.process.poll() is None


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def serve_qdrant(port: int) -> tuple[qdrant_standin.Server, qdrant_standin.Standin]:
    standin = qdrant_standin.Standin(url=f"http://127.0.0.1:{port}")
    handler: type[BaseHTTPRequestHandler] = type("Bound", (qdrant_standin.Handler,), {"standin": standin})
    return qdrant_standin.Server(("127.0.0.1", port), handler), standin


def test_a_qdrant_server_that_is_down_at_the_start_is_caught_up_with_when_it_comes(one: Instance):
    port = closed_port()
    one.configure(FILES, f'[store]\nurl = "http://127.0.0.1:{port}"\n')
    one.start()
    eventually(lambda: one.source()["pending"] == 1)
    ready = one.get("/readyz")
    assert ready.status_code == 503
    assert one.get("/healthz").status_code == 200
    eventually(lambda: one.status()["store"]["error"])
    assert one.status()["store"]["kind"] == "server"
    assert one.source()["watermark"] is None
    assert one.source()["status"] == "unknown"
    assert one.get("/search", q="firstword").status_code == 503
    assert one.metric("freshd_store_up") == 0
    one.write("b.md", "# B\n\nThe secondword.\n")
    eventually(lambda: one.source()["pending"] == 2)
    http, standin = serve_qdrant(port)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        assert one.settled()["documents"] == 2
        assert one.places("secondword") == {"b.md"}
        eventually(lambda: one.get("/readyz").status_code == 200)
        assert one.status()["store"]["error"] is None
        assert one.stop() == 0
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        standin.client.close()


# Servers


def test_a_dead_and_a_hanging_feed_do_not_delay_an_edit(one: Instance, server: ScriptedServer):
    server.on("/hangs", Reply(delay_s=60))
    dead = (
        f'[[sources]]\nname = "dead"\ntype = "feed"\nurl = "http://127.0.0.1:{closed_port()}/feed"\n'
        'allow_private_hosts = ["127.0.0.1:1"]\nfreshness_target = "2s"\n'
    )
    dead = dead.replace("127.0.0.1:1", dead.split("//")[1].split("/")[0])
    one.configure(FILES + dead + feed(server, "hangs", "/hangs"))
    one.start()
    eventually(lambda: server.asked("/hangs"))
    one.settled()
    for n in range(3):
        one.write(f"edit{n}.md", f"# Edit\n\nThe editword{n}.\n")
        began_s = time.monotonic()
        eventually(lambda n=n: one.places(f"editword{n}"))
        assert time.monotonic() - began_s < 30
    assert one.source("dead")["last_error"]
    assert one.metric("freshd_source_up", source="dead") == 0
    assert one.metric("freshd_source_up", source="handbook") == 1
    assert one.source("hangs")["watermark"] is None
    began_s = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - began_s < 30


def test_a_page_that_hangs_while_it_is_read_neither_delays_an_edit_nor_the_end(one: Instance, server: ScriptedServer):
    entry = f"<item><guid>1</guid><title>T</title><link>{server.url('/page')}</link></item>"
    server.on("/feed", Reply(200, f'<rss version="2.0"><channel><title>N</title>{entry}</channel></rss>'.encode(), RSS))
    server.on("/page", Reply(delay_s=60))
    one.configure(FILES + feed(server) + "follow_links = true\n")
    one.start()
    eventually(lambda: server.asked("/page"))
    one.write("b.md", "# B\n\nThe secondword.\n")
    began_s = time.monotonic()
    eventually(lambda: one.places("secondword"))
    assert time.monotonic() - began_s < 30
    began_s = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - began_s < 30


def test_of_a_page_that_an_entry_links_to_the_main_text_is_found(one: Instance, server: ScriptedServer):
    """By a child of the daemon's; see `test_linked_pages.py`."""
    sentence = "This paragraph holds the articleword, and is long enough to be told from a menu, as running text is. "
    page = f"<html><body><article><h1>T</h1><p>{sentence * 3}</p></article><footer>The footword.</footer></body></html>"
    server.on("/page", Reply(200, page.encode(), {"Content-Type": "text/html"}))
    entry = f"<item><guid>1</guid><title>T</title><link>{server.url('/page')}</link></item>"
    server.on("/feed", Reply(200, f'<rss version="2.0"><channel><title>N</title>{entry}</channel></rss>'.encode(), RSS))
    one.configure(feed(server) + "follow_links = true\n")
    one.start()
    eventually(lambda: one.places("articleword"))
    assert not any("footword" in hit["text"] for hit in one.hits("articleword"))


def test_a_feed_that_became_a_page_is_an_error_and_deletes_nothing(one: Instance, server: ScriptedServer):
    login = Reply(200, b"<html><body><h1>Log in</h1></body></html>", {"Content-Type": "text/html"})
    server.on("/feed", Reply(200, rss("feedword"), RSS), login)
    one.configure(FILES + feed(server))
    one.start()
    eventually(lambda: one.source("news")["last_error"] and not one.source("news")["pending"])
    source = one.source("news")
    assert (source["documents"], source["held"], source["pending"]) == (1, 0, 0)
    assert one.places("feedword")
    assert eventually(lambda: one.events("source_failed"))[0]["source"] == "news"
    server.on("/feed", Reply(200, rss("feedword", "otherword"), RSS))
    eventually(lambda: one.places("otherword"))
    eventually(lambda: one.source("news")["last_error"] is None)


def test_waiting_for_everything_waits_for_a_listing_that_began_after_the_question(
    one: Instance, server: ScriptedServer
):
    """A listing that is on its way has perhaps passed the place of the edit already."""
    words = ["oldword"]

    def slowly(_: Request) -> Reply:
        return Reply(200, rss(*words), RSS, delay_s=1.0)

    server.on("/feed", slowly)
    one.configure(FILES + feed(server))
    one.start()
    one.settled("news")
    asked = len(server.asked("/feed"))
    with one.http() as client:
        client.post("/reindex", json={"sources": ["news"]}).raise_for_status()
        eventually(lambda: len(server.asked("/feed")) > asked)
        words[:] = ["newword"]
        report = client.post("/wait?wait=50", json={"timeout_seconds": 30}).json()
    assert report["result"] == {"is_done": True, "documents": []}
    assert one.places("newword")
    assert not one.places("oldword")


def test_a_reindex_counts_what_was_quicker_than_its_scan(one: Instance, server: ScriptedServer):
    """The indexer takes up what `--full` asks for while the source is still being listed."""
    server.on("/feed", Reply(200, rss("oneword", "twoword"), RSS), Reply(200, rss("oneword", "twoword"), RSS, 1.5))
    one.configure(FILES + feed(server, target="1h"))
    one.start()
    one.settled("news")
    one.settled()
    with one.http() as client:
        answer = client.post("/reindex?wait=50", json={"sources": ["news", "handbook"], "full": True}).json()
    sources = {source["name"]: source for source in answer["result"]["sources"]}
    assert {name: source["chunks"]["kept"] for name, source in sources.items()} == {"news": 2, "handbook": 1}
    assert {name: source["documents"]["unchanged"] for name, source in sources.items()} == {"news": 2, "handbook": 1}
    assert answer["exit_code"] == 0


# Sources


def test_an_emptied_source_holds_its_deletions_and_says_so(one: Instance):
    for n in range(7):
        one.write(f"page{n}.md", f"# Page\n\nThe pageword{n}.\n")
    one.start()
    one.settled()
    for path in one.docs.iterdir():
        path.unlink()
    held = eventually(lambda: one.source() if one.source()["held"] else None)
    assert (held["held"], held["pending"], held["status"]) == (8, 0, "warn")
    assert one.places("pageword3") == {"page3.md"}
    assert one.metric("freshd_deletions_held", source="handbook") == 8
    assert one.command("reindex").returncode == 14
    told = one.command("status").stdout
    assert "8 deletions are held" in told
    one.write("page3.md", "# Page\n\nThe pageword3.\n")
    eventually(lambda: one.source()["held"] == 7)
    assert one.stop() == 0


def test_a_root_that_vanishes_deletes_nothing_and_is_indexed_again_when_it_returns(one: Instance):
    one.configure(FILES.replace("1m", "2s"))
    one.start()
    one.settled()
    one.docs.rename(one.root / "elsewhere")
    eventually(lambda: one.source()["last_error"])
    assert one.places("firstword") == {"a.md"}
    assert one.source()["held"] == 0
    (one.root / "elsewhere/b.md").write_text("# B\n\nThe secondword.\n")
    (one.root / "elsewhere").rename(one.docs)
    eventually(lambda: one.places("secondword"))
    eventually(lambda: one.source()["last_error"] is None)


def test_a_ledger_that_another_program_holds_is_waited_for(one: Instance):
    """Longer than SQLite itself waits; neither the source's turn nor the daemon is lost."""
    one.configure(FILES.replace("1m", "2s"))
    one.start()
    one.settled()
    holder = sqlite3.connect(one.state.ledger_path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        one.write("b.md", "# B\n\nThe secondword.\n")
        eventually(lambda: one.events("source_failed"))
        assert one.get("/status").status_code == 200
        assert one.get("/metrics").status_code == 200
        assert one.places("firstword") == {"a.md"}
        holder.execute("ROLLBACK")
    finally:
        holder.close()
    eventually(lambda: one.places("secondword"))
    scanned = one.source()["last_complete_scan_at"]
    eventually(lambda: one.source()["last_complete_scan_at"] > scanned)
    assert one.process.poll() is None


def test_a_ledger_that_another_program_holds_at_the_start_is_waited_for(one: Instance):
    """A service manager gives up what ends five times in a row."""
    one.start()
    one.settled()
    assert one.stop() == 0
    with closing(sqlite3.connect(one.state.ledger_path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        process = one.launch()
        eventually(lambda: process.poll() is not None or one.events("store_lost"))
        assert process.poll() is None
        holder.execute("ROLLBACK")
    one.record = eventually(one.state.read_daemon)
    eventually(lambda: one.places("firstword") == {"a.md"})
    assert one.stop() == 0


def test_a_command_that_works_in_the_state_while_the_daemon_stands_by_is_waited_for_too(one: Instance):
    """Somebody who was told that the ledger is held runs a command meanwhile; the daemon was there first."""
    one.start()
    one.settled()
    assert one.stop() == 0
    address, config = f"127.0.0.1:{closed_port()}", one.root / "freshd.toml"
    config.write_text(config.read_text().replace("127.0.0.1:0", address))
    readyz = f"http://{address}/readyz"
    with closing(sqlite3.connect(one.state.ledger_path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        process = one.launch()
        eventually(lambda: process.poll() is not None or one.events("store_lost"))
        with eventually(lambda: locked(one)):
            holder.execute("ROLLBACK")
            told = f"in use by process {os.getpid()}"
            eventually(lambda: process.poll() is not None or told in httpx.get(readyz, trust_env=False).text)
            assert process.poll() is None
    one.record = eventually(one.state.read_daemon)
    eventually(lambda: one.places("firstword") == {"a.md"})
    assert one.stop() == 0


def test_a_thousand_files_at_once_are_all_found(one: Instance):
    """More hints than are looked at one by one."""
    one.start()
    one.settled()
    for n in range(1_200):
        (one.docs / f"{n:04}.md").write_text("")
    one.write("last.md", "# Last\n\nThe lastword.\n")
    eventually(lambda: one.source()["documents"] == 1_202, 60)
    assert one.places("lastword") == {"last.md"}
