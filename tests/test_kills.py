"""freshd killed, stopped and hindered at any moment: a slice of `python -m tests.torture` that fits into every run.

After every kill: nothing applied is lost, nothing unknown stands; freshd is started again and nothing else is done;
what stands then is what an oracle that knows nothing of freshd expects, and at times an index made anew.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest

from freshd.stores.edge_files import EdgeFiles
from tests.kit.failpoints import STEPS
from tests.torture import kills
from tests.torture.daemon import Daemon
from tests.torture.place import Diverged, Place
from tests.torture.points import read_points
from tests.torture.program import state_of

RECOVERIES = 50
OFTEN = {"mid_embed", "mid_read"}
"""Passed for every passage and every document; the first two are enough here."""

NEEDS_STRACE = pytest.mark.skipif(not kills.has_strace(), reason="strace is not installed")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def place() -> Iterator[Place]:
    with Place(20_260, documents=8, forks=True, scratch_every=8) as made:
        made.settle("first index")
        yield made


def count(each: Iterator[str], most: int | None = None) -> int:
    """Kill until there is nothing left to kill, or often enough."""
    with closing(each):  # type: ignore[type-var]
        return sum(1 for _ in islice(each, most))


def test_a_run_killed_at_any_fail_point_is_finished_by_the_next(place: Place):
    """In the process of freshd; each is killed at, every time it is passed."""
    names = {name for name in kills.fail_points(place) if not name.startswith("store_")}
    assert names == {"after_detect", "mid_read", *STEPS, "before_scrub", "after_applied"}
    count(kills.at_fail_points(place, names=sorted(names - OFTEN)))
    for name in sorted(OFTEN):
        count(kills.at_fail_points(place, names=[name]), 2)
    assert names == place.tally.reached.keys()


def test_a_run_whose_store_is_killed_at_any_fail_point_is_finished_by_the_next(place: Place):
    """The store's process alone, before it does what it was asked, and before it can say that it did."""
    names = ("store_before_upsert", "store_after_upsert", "store_before_remove", "store_after_remove")
    names += ("store_before_flush", "store_after_flush", "store_before_close")
    count(kills.at_fail_points(place, names=names))
    assert set(names) == place.tally.reached.keys()


def test_a_first_index_killed_at_any_fail_point_is_finished_by_the_next(place: Place):
    names = ("after_detect", "after_intent", "mid_upsert", "before_flush", "before_applied", "store_before_open")
    count(kills.at_fail_points(place, is_first=True, names=names))
    assert set(names) == place.tally.reached.keys()


def test_an_opening_that_puts_a_lost_index_back_is_killed_and_finished_by_the_next(place: Place):
    assert count(kills.in_opening(place)) == 2
    assert place.tally.reached == {"mid_recovery": 3}


def test_recovery_killed_fifty_times_converges_once_it_is_left_alone(place: Place):
    assert count(kills.in_recovery(place, RECOVERIES)) == RECOVERIES


@NEEDS_STRACE
def test_a_run_killed_at_a_system_call_that_changes_the_disk_is_finished_by_the_next(place: Place):
    """Of every kind, in either process."""
    count(kills.at_syscalls(place, stride=100))
    kinds = {f"{name} of {whom}" for whom, names in kills.SYSCALLS.items() for name in names}
    assert kinds == place.tally.reached.keys()


@NEEDS_STRACE
def test_a_run_whose_syncs_and_writes_fail_says_so_and_is_finished_by_the_next(place: Place):
    """Under either: what was neither told nor lost would be lost by the next power cut."""
    assert count(kills.errors(place, stride=75)) >= len(kills.ERRORS)
    assert {"opening", "flush", "ledger"} <= place.tally.told.keys()


@NEEDS_STRACE
@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_every_sync_and_write_that_fails_is_survived(place: Place):
    assert count(kills.errors(place)) > 100
    assert place.tally.told.keys() == {"opening", "flush", "closing", "ledger"}


def test_one_shots_killed_at_any_moment_are_finished_by_the_next(place: Place):
    assert count(kills.at_random(place), 8) == 8


def test_daemons_killed_under_churn_converge(place: Place):
    """Both processes, freshd's alone, and the store's alone, which it starts again by itself."""
    assert count(kills.under_churn(place), 5) == 5


def test_a_comparison_finds_what_diverged(place: Place):
    """Else all that passes here would prove nothing."""
    path = place.docs / place.tree.names()[0]
    path.write_text(path.read_text() + "\n\nOne more word.\n")
    with pytest.raises(Diverged, match="words, expected"):
        place.compare("an edit that nobody indexed")


def test_a_look_finds_what_was_lost(place: Place):
    kept = place.root / "kept"
    kept.mkdir()
    (place.state / "index").rename(kept / "index")
    with pytest.raises(Diverged, match="lost: "):
        place.look("an index that is gone")


@pytest.mark.parametrize("point", ["after_intent", "after_upsert", "before_applied"])
def test_a_daemon_asked_to_end_in_the_middle_of_a_batch_ends_well_in_time(place: Place, point: str):
    place.churn()
    daemon = Daemon(place)
    try:
        daemon.start(FRESHD_FAULTS=f"{point}:stop")
        wait_until(lambda: state_of(daemon.pid) == "T")
        began_s = time.monotonic()
        os.kill(daemon.pid, signal.SIGTERM)
        os.kill(daemon.pid, signal.SIGCONT)
        assert daemon.ended() == 0
        assert time.monotonic() - began_s < 30
    finally:
        daemon.close()
    place.look("ended in the middle of a batch")
    place.settle("ended in the middle of a batch")
    place.compare("ended in the middle of a batch")


def test_a_machine_that_slept_is_caught_up_with_once(place: Place):
    """Six intervals pass while every process is stopped: no storm of looks afterwards, and no store given up."""
    daemon = Daemon(place)
    try:
        daemon.start()
        daemon.settled()
        pids = daemon.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        asked = len(place.server.asked("/feed"))
        daemon.pause(6)
        assert len(place.server.asked("/feed")) == asked
        daemon.doubt()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        woke_s = time.monotonic()
        daemon.settled()
        daemon.pause(max(0.0, 1.5 - (time.monotonic() - woke_s)))
        passed_s = time.monotonic() - woke_s
        assert len(place.server.asked("/feed")) - asked <= 2 + passed_s, "as many looks as intervals, and one or two"
        assert daemon.pids() == pids
        status = daemon.status()
        assert status is not None
        assert status["status"] == "pass", "what nobody could see while it slept is late, and nothing is"
        place.churn()
        daemon.doubt()
        daemon.settled()
        daemon.stop()
    finally:
        daemon.close()
    place.compare("after a sleep")


def test_what_a_killed_store_left_in_memory_is_on_the_disk_before_it_is_read_again(place: Place, monkeypatch):
    """The engine takes its files for durable: in a power cut after the next flush, its log would have a hole."""
    synced: set[str] = set()
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    (shard,) = (place.state / "index").glob("*/shard")
    EdgeFiles(str(shard.parent), "any", 384).load().close()
    files = {str(path) for path in shard.rglob("*")}
    assert {path for path in files if "/wal/" in path} <= synced
    assert files - synced == {path for path in files if not os.path.exists(path)}
    assert read_points(place.state)


def wait_until(question, within_s: float = 60.0) -> None:
    end_s = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.01)
