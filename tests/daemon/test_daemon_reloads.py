"""SIGHUP at any moment: the config is taken up or refused, nothing is lost, and who waits for a job is answered.

Catalogue row 117.
"""

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from freshd.daemon.jobs import Jobs, Progress
from freshd.daemon.orders import _PATIENCE_S, Orders
from freshd.errors import StoreUnavailable
from freshd.scheduler.indexer import Trouble
from freshd.shapes import WaitReport
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.kit.clock import HandClock
from tests.scripted_server import Reply, ScriptedServer


@pytest.fixture
def slow() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.on("/feed", Reply(delay_s=60))
        yield server


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one") as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        made.start()
        made.settled()
        yield made


def hanging(server: ScriptedServer) -> str:
    return (
        f'[[sources]]\nname = "slow"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
        f'allow_private_hosts = ["{server.host}"]\nfreshness_target = "1h"\n'
    )


def reload(one: Instance) -> None:
    """Have the config read again, and wait until it is taken up."""
    before = len(one.events("daemon_started"))
    one.signal(signal.SIGHUP)
    eventually(lambda: len(one.events("daemon_started")) > before and one.get("/status").is_success)


def order(one: Instance, path: str, body: object) -> dict[str, Any]:
    with one.http(90) as client:
        answer: dict[str, Any] = client.post(path, json=body).raise_for_status().json()
        return answer


def kill_the_store(one: Instance) -> None:
    """As who runs out of memory; nothing that is under way needs it."""
    (child,) = [pid for pid in one.children() if b"edge_child" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(child, signal.SIGKILL)


def test_a_config_is_read_again_although_the_process_of_the_store_has_died(one: Instance):
    for target in ("2m", "3m"):
        kill_the_store(one)
        one.configure(FILES.replace('"1m"', f'"{target}"'))
        reload(one)
        assert one.events("config_refused") == []
        assert one.sources()[0]["freshness_target_seconds"] == int(target[0]) * 60
    one.write("b.md", "# B\n\nThe secondword.\n")
    eventually(lambda: "secondword" in one.get("/search", q="secondword").text)
    assert [hit["document_id"] for hit in one.get("/search", q="firstword", k=1).json()["hits"]] == ["a.md"]
    kill_the_store(one)
    assert one.stop() == 0


def test_a_config_is_read_again_once_another_program_lets_go_of_the_ledger(one: Instance):
    """Longer than SQLite itself waits, and than the former config's turn would take."""
    one.configure(FILES.replace('"1m"', '"2m"'))
    with closing(sqlite3.connect(one.state.ledger_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        one.signal(signal.SIGHUP)
        eventually(lambda: "nobody but freshd works with it" in one.get("/readyz").text)
        assert one.get("/healthz").is_success
        other.execute("ROLLBACK")
    eventually(lambda: one.get("/readyz").is_success)
    assert one.events("config_refused") == []
    assert one.source()["freshness_target_seconds"] == 120
    assert one.stop() == 0


def test_a_config_read_again_at_any_moment_loses_nothing(one: Instance, slow: ScriptedServer):
    """One daemon through all of it, as starting one takes longer than any part of it."""
    jobs_are_answered(one, slow)
    twenty_signals_in_a_row(one)
    a_source_leaves_while_its_batch_runs(one)
    assert one.stop() == 0


def jobs_are_answered(one: Instance, slow: ScriptedServer) -> None:
    """One under way ends with a clear answer, and one that is over is still known."""
    one.configure(FILES + hanging(slow))
    reload(one)
    done = order(one, "/reindex?wait=60", {"sources": ["handbook"]})
    assert done["state"] == "done"
    running = order(one, "/reindex", {"sources": ["slow"]})["job"]
    eventually(lambda: slow.asked("/feed"))
    with closing(HTTPConnection(one.record.address, timeout=60)) as waits:
        headers = {"Authorization": f"Bearer {one.record.token}", "Content-Type": "application/json"}
        waits.request("POST", "/reindex?wait=60", b'{"sources": ["slow"]}', headers)
        for _ in range(5):  # what is asked later is answered: that was heard
            assert one.get(f"/jobs/{running}").json()["state"] == "running"
        reload(one)
        held = json.load(waits.getresponse())
    for report in (held, one.get(f"/jobs/{running}").json()):
        assert report["state"] == "failed"
        assert "another config" in report["error"]
        assert "ask again" in report["hint"]
        assert report["exit_code"] == 1
    assert one.get(f"/jobs/{done['job']}").json() == done
    assert one.events("job_failed") == []
    one.configure(FILES)
    reload(one)
    assert order(one, "/reindex?wait=60", {})["state"] == "done"


GOOD, LAST = FILES.replace("1m", "2m"), FILES.replace("1m", "3m")
BAD = {
    "no TOML": "nonsense = [",
    "other address": f'[http]\nlisten = "127.0.0.1:1"\n{FILES}',
    "no source": '[http]\nlisten = "127.0.0.1:0"\n',
    "key in the clear": f'[http]\nlisten = "127.0.0.1:0"\n[store]\nurl = "http://qdrant.example"\n{FILES}',
}


def twenty_signals_in_a_row(one: Instance) -> None:
    """Over good and bad configs, while edits come in: some are taken together, none is taken for another."""
    address = one.get("/status").url
    for n in range(20):
        if n % 2:
            (one.root / "freshd.toml").write_text(list(BAD.values())[n // 2 % len(BAD)])
        else:
            one.configure(FILES if n % 4 else GOOD)
        one.write(f"edit{n}.md", f"# Edit\n\nThe editword{n:02}.\n")
        one.signal(signal.SIGHUP)
        threading.Event().wait(0.05 * (n % 3))
    one.configure(LAST)
    reload(one)
    eventually(lambda: [source["freshness_target_seconds"] for source in one.sources()] == [180])
    eventually(lambda: one.get("/readyz").is_success)
    assert one.settled()["documents"] == 21
    assert all(one.places(f"editword{n:02}") == {f"edit{n}.md"} for n in range(20))
    assert one.source()["freshness_target_seconds"] == 180
    assert one.metric("freshd_config_last_reload_successful") == 1
    assert one.get("/status").url == address
    assert one.process.poll() is None
    assert one.events("thread_died") == []
    assert one.events("request_failed") == []


def a_source_leaves_while_its_batch_runs(one: Instance) -> None:
    """It is found no more, and others are."""
    (one.root / "more").mkdir()
    for n in range(150):
        (one.root / f"more/m{n}.md").write_text(f"# M\n\nThe moreword{n}.\n")
    one.configure(FILES + FILES.replace("handbook", "more").replace("docs", "more"))
    reload(one)
    eventually(lambda: 0 < one.source("more")["documents"] < 150 or one.source("more")["documents"] == 150)
    one.configure(FILES)
    reload(one)
    assert not one.places("moreword0")
    one.write("last.md", "# Last\n\nThe lastword.\n")
    eventually(lambda: one.places("lastword") == {"last.md"})


# Jobs that could wait for ever


def test_a_look_that_is_waited_for_gives_up_once_the_store_has_been_away_for_long():
    clock = HandClock()
    scheduler, reporter = SimpleNamespace(trouble=None), SimpleNamespace(news=threading.Condition())
    whole: Any = SimpleNamespace(clock=clock, database=None)
    orders = Orders(whole, scheduler, reporter)  # type: ignore[arg-type]
    jobs, polled = Jobs(clock), threading.Event()

    def is_done() -> bool:
        polled.set()
        return False

    def work(_: Progress) -> tuple[WaitReport, int]:
        orders._await(is_done)
        raise AssertionError("it never was done")

    job = jobs.begin(work)

    def wait_for_polls() -> str:
        for _ in range(2):
            polled.clear()
            if not polled.wait(2):
                break
        report = jobs.report(job)
        assert report is not None
        return report["state"]

    assert wait_for_polls() == "running"
    clock.advance(10 * timedelta(seconds=_PATIENCE_S))
    assert wait_for_polls() == "running", "as long as something can be written, it may take as long as it takes"
    scheduler.trouble = Trouble(clock.monotonic(), StoreUnavailable("the store is away", hint="start it"), True)
    clock.advance(timedelta(seconds=_PATIENCE_S - 1))
    assert wait_for_polls() == "running"
    clock.advance(timedelta(seconds=2))
    eventually(lambda: jobs.report(job)["state"] == "failed")  # type: ignore[index]
    report = jobs.report(job)
    assert report is not None
    assert str(report["error"]).startswith("the store is away; given up after 60 s; what was found stays pending")
    assert (report["hint"], report["exit_code"]) == ("start it", 1)


def test_jobs_that_hang_are_answered_for_when_what_they_work_on_is_closed():
    """And take no room from those that are begun afterwards."""
    first, opens = Jobs(HandClock()), threading.Event()

    def hang(_: Progress) -> tuple[WaitReport, int]:
        assert opens.wait(100)
        raise RuntimeError("closed underneath")

    hung = [first.begin(hang) for _ in range(64)]
    first.close()
    second = Jobs(HandClock(), first)
    assert {second.report(job)["state"] for job in hung} == {"failed"}  # type: ignore[index]
    answered = second.begin(lambda _: ({"is_done": True, "documents": []}, 0))
    eventually(lambda: second.report(answered)["state"] == "done")  # type: ignore[index]
    opens.set()
    assert {second.report(job)["exit_code"] for job in hung} == {1}  # type: ignore[index]
    with pytest.raises(StoreUnavailable, match="stopping"):
        first.begin(hang)
