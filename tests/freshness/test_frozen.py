"""Whatever stands still, freshd never says fresh for longer than that is true: thread by thread, surface by surface."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest import mock

import httpx
import pytest

from freshd import client
from freshd.daemon import control
from freshd.daemon import live as daemon_live
from freshd.daemon.verifying import Verifying
from freshd.http.gate import Gate
from freshd.ledger.proofs import Proofs
from tests.freshness import freezing
from tests.freshness.claims import assert_nobody_calls_it_fresh, claims_fresh, marks
from tests.freshness.freezing import Freezer, frozen_at
from tests.freshness.living import FILES, Living, living, opened
from tests.scheduler.parts import eventually

WHOSE = {
    "MainThread": "the tests' own",
    "main": "the_main_thread",
    "indexer": "the_indexer",
    "lookout": "the_lookout",
    "look_": "a_look_in_its_source",
    "APScheduler": "the_clockwork",
    "ThreadPoolExecutor-": "a_scan_in_its_source",
    "read_": "test_a_read_from_afar_that_hangs_is_no_freshness",
    "store-child_": "the_starter_of_the_store",
    "verify": "test_a_verify_on_schedule_that_stands_still_endangers_nothing",
    "removing": "test_a_pruning_on_schedule_that_stands_still_endangers_nothing",
    "job": "a_job_in_its_source",
    "Thread-": "the_watch_that_reads",
    "freshd-http": "test_an_endpoint_that_stands_still_is_no_good_news",
    "asker": "the tests' own",
}
"""Every thread that a live freshd has, by how its name begins, and what freezes it here."""

ENDANGERING: list[Freezer] = [
    freezing.the_indexer,
    freezing.the_indexer_in_the_store,
    freezing.the_indexer_in_the_model,
    freezing.the_indexer_with_everything_written_but_the_ledger,
    freezing.the_clockwork,
    freezing.a_scan_in_its_source,
    freezing.a_look_in_its_source,
    freezing.a_job_in_its_source,
    freezing.the_process_of_the_store,
    freezing.what_starts_the_store_and_the_store_is_killed,
    freezing.the_store_killed_again_and_again,
    freezing.the_shard_away,
    freezing.the_disk_below_its_reserve,
    freezing.the_ledger_in_the_hands_of_another,
]

HARMLESS: list[Freezer] = [
    freezing.the_lookout,
    freezing.a_look_before_its_source,
    freezing.the_watch_that_hands_out,
    freezing.the_watch_that_sorts,
    freezing.the_watch_that_reads,
    freezing.the_main_thread,
    freezing.a_verify_on_order,
    freezing.the_starter_of_the_store,
    freezing.every_search,
]


def name_of(freezer: Freezer) -> str:
    return freezer.__name__


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    with living(tmp_path_factory.mktemp("frozen"), FILES.replace('"1s"', '"700ms"')) as one:
        one.write("a.md", "# A\n\nThe firstword.\n")
        one.passes()
        one.write("b.md", "# B\n\nThe secondword.\n")
        eventually(lambda: one.finds("secondword"))
        yield one


@pytest.fixture
def one(running: Living) -> Living:
    running.recovers()
    return running


@pytest.mark.parametrize("freezer", ENDANGERING, ids=name_of)
def test_one_target_after_it_froze_nobody_calls_it_fresh(one: Living, freezer: Freezer):
    """The watermark stands still on every surface, staleness grows with real time; and thawed, all is well again."""
    with freezer(one):
        since_s, since = time.monotonic(), one.clock.now()
        assert_nobody_calls_it_fresh(one, since_s, since)
        assert one.get("/healthz").status_code == 200
    one.recovers()
    eventually(lambda: one.check() == 0)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    sources = FILES.replace('"1s"', '"3s"') + 'poll_interval = "500ms"\n'
    with living(tmp_path_factory.mktemp("calm"), sources) as one:
        one.write("a.md", "# A\n\nThe firstword.\n")
        one.passes()
        yield one


@pytest.mark.parametrize("freezer", HARMLESS, ids=name_of)
def test_what_stands_still_beside_the_way_endangers_nothing(calm: Living, freezer: Freezer):
    """Scans go on and are the truth: an edit that nobody hints at is searchable in time, and the mark rises."""
    calm.recovers()
    word = f"{name_of(freezer).replace('_', '')}word"
    with freezer(calm):
        before = calm.said()
        calm.write(f"{word}.md", f"# Edit\n\nThe {word}.\n")
        eventually(lambda: word in _indexed(calm))

        def is_fresh() -> bool:
            said = calm.said()
            is_newer = min(marks(said)) > max(marks(before)) and said.source["staleness_seconds"] <= 3
            return is_newer and said.status in ("pass", "warn") and said.exit_code == 0

        eventually(is_fresh)  # at some moment: in the middle of another the machine itself may stand still
    calm.recovers()


def _indexed(one: Living) -> str:
    """Give the ids of what search may show, without asking a search that may be frozen."""
    return " ".join(known.document_id for known in one.whole.ledger.known("docs") if known.is_applied)


def test_every_thread_of_a_live_freshd_is_frozen_by_some_test(calm: Living):
    """A thread that is added must be added here, and its freezing thought about."""
    calm.get("/search", q="word").raise_for_status()
    calm.get("/changes").raise_for_status()
    calm.live.reindex(["docs"], full=False)
    calm.live.verify(deep=False, repair=False, orphans=False)
    names = {thread.name for thread in threading.enumerate()}
    assert {name for name in names if not name.startswith(tuple(WHOSE))} == set()


def test_a_hint_that_nobody_follows_is_shown(calm: Living):
    calm.recovers()
    with mock.patch("freshd.scheduler.engine._HINT_PATIENCE_S", 0.5), freezing.the_lookout(calm):
        calm.write("hinted.md", "# Hinted\n\nText.\n")
        said = eventually(lambda: said if (said := calm.said()).status == "warn" else None)
        assert said.metric("freshd_watcher_degraded", source="docs") == 1
        assert "a hint has been waiting" in said.source["watch"]
        assert claims_fresh(said) <= {"the metrics", "search"}


def test_a_main_thread_that_stands_still_is_shown(calm: Living):
    """Nothing is proved by it; but it sees threads die, follows the clock, and mends watches."""
    calm.recovers()
    second = timedelta(seconds=1)
    with (
        mock.patch.object(daemon_live, "_STALLED", second),
        mock.patch.object(control, "_PATIENCE", 2 * second),
        freezing.the_main_thread(calm),
    ):
        heartbeat = calm.samples()["freshd_scheduler_heartbeat_timestamp_seconds", frozenset()]
        said = eventually(lambda: said if (said := calm.said()).healthz == 503 and said.status == "warn" else None)
        assert "the daemon does not do its rounds any more: restart it" in said.source["reasons"]
        assert said.metric("freshd_scheduler_heartbeat_timestamp_seconds") == pytest.approx(heartbeat, abs=0.5)
    eventually(lambda: calm.get("/healthz").status_code == 200)


@contextmanager
def impatient() -> Iterator[None]:
    """Have commands give up soon on a daemon that does not answer."""
    with mock.patch.object(client, "_ANSWER_S", 0.5):
        yield


def test_an_endpoint_that_stands_still_is_no_good_news(calm: Living):
    """Nobody is told anything: the scrape fails, and so does the check."""
    calm.recovers()
    with frozen_at(Gate, "refusal", "freshd-http", lambda: freezing.asked_and_left(calm, "/healthz")), impatient():
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"http://{calm.server.address}/metrics", timeout=0.5, trust_env=False)
        assert calm.check() not in (0, None)


@pytest.mark.parametrize("kind", ["ledger", "memory"])
def test_an_endpoint_whose_threads_of_one_kind_stand_still_answers_nothing_wrong(calm: Living, kind: str):
    calm.recovers()
    owner, name = (calm.live, "status") if kind == "ledger" else (calm.live.metrics, "text")
    path = "/status" if kind == "ledger" else "/metrics"

    def ask() -> None:
        for _ in range(8):
            freezing.asked_and_left(calm, path)

    with frozen_at(owner, name, f"freshd-http-{kind}", ask) as ice, impatient():
        eventually(lambda: ice.n_arrived == (4 if kind == "ledger" else 2))
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"http://{calm.server.address}{path}", timeout=0.5, trust_env=False)
        if kind == "memory":
            eventually(lambda: calm.check() == 0)
        else:
            assert calm.check() != 0


def test_a_verify_on_schedule_that_stands_still_endangers_nothing(running_soon_verified: Living):
    one = running_soon_verified
    one.write("a.md", "# A\n\nThe firstword.\n")
    with frozen_at(Proofs, "claims", "verify", one.start):
        said = eventually(lambda: said if (said := one.said()).status == "pass" else None)
        assert said.report["verify"]["checked_at"] is None
        assert said.metric("freshd_verify_last_success_timestamp_seconds") is None
    eventually(lambda: one.said().report["verify"]["checked_at"])


def test_a_pruning_on_schedule_that_stands_still_endangers_nothing(tmp_path: Path):
    sources = FILES.replace('"1s"', '"5s"')
    with (
        mock.patch("freshd.daemon.removing._EVERY_S", 0.1),
        living(tmp_path, sources) as one,
        frozen_at(one.live._removing._remover, "scrub", "removing"),
    ):
        one.write("a.md", "# A\n\nThe firstword.\n")
        eventually(lambda: one.finds("firstword"))
        one.passes()


@pytest.fixture
def running_soon_verified(tmp_path: Path) -> Iterator[Living]:
    with mock.patch.object(Verifying, "_first_wait", return_value=timedelta(seconds=0.1)), opened(tmp_path) as one:
        yield one


def test_a_store_that_comes_back_with_nothing_of_what_it_held_is_not_called_fresh(tmp_path: Path):
    """Nor once it holds everything again."""
    with living(tmp_path, FILES.replace('"1s"', '"1m"')) as one:
        one.write("a.md", "# A\n\nThe firstword.\n")
        one.passes()
        shard, pid = next(one.state.index_dir.glob("knowledge-*/shard")), one.whole.store.child_pid
        for folder in ("segments", "wal"):
            shutil.rmtree(shard / folder)
        os.kill(pid, signal.SIGKILL)
        killed_at = one.clock.now()
        one.scheduler.scan_now(["docs"])
        said = eventually(lambda: said if not (said := one.said()).mark or said.mark > killed_at else None)
        assert said.status != "pass" or one.whole.store.count() == 1
