"""When the next run of each source comes, whatever runs, hangs, or happens to the clock meanwhile."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

import apscheduler.schedulers.base
import apscheduler.triggers.interval
import pytest

from freshd.model import SourceName
from freshd.scheduler import timetable as room
from freshd.scheduler.timetable import Timetable
from tests.scheduler.parts import Gate, eventually

ONE, OTHER = SourceName("one"), SourceName("other")
SOON = timedelta(seconds=0.3)
LATER = timedelta(hours=1)


class SetClock:
    """The machine's clocks, of which somebody sets the wall clock."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def monotonic(self) -> float:
        return time.monotonic()


class Runs:
    """Counts what ran, and when."""

    def __init__(self) -> None:
        self.at_s: list[float] = []

    def __call__(self) -> None:
        self.at_s.append(time.monotonic())


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def timetable(clock: SetClock) -> Iterator[Timetable]:
    made = Timetable(clock)
    made.start()
    yield made
    made.stop()


def test_what_is_booked_for_the_past_runs_now(timetable: Timetable, clock: SetClock):
    runs = Runs()
    timetable.book(ONE, clock.now() - LATER, runs)
    eventually(lambda: runs.at_s)


def test_what_is_booked_for_later_runs_then_and_once(timetable: Timetable, clock: SetClock):
    runs, began_s = Runs(), time.monotonic()
    at = clock.now() + SOON
    timetable.book(ONE, at, runs)
    assert timetable.next_at(ONE) == pytest.approx(at, abs=timedelta(milliseconds=20))
    eventually(lambda: runs.at_s)
    assert runs.at_s[0] - began_s >= SOON.total_seconds() - 0.05
    eventually(lambda: timetable.next_at(ONE) is None)
    assert len(runs.at_s) == 1


def test_an_earlier_booking_replaces_a_later_one_and_not_the_other_way_round(timetable: Timetable, clock: SetClock):
    runs, never = Runs(), Runs()
    timetable.book(ONE, clock.now() + LATER, never)
    timetable.book(ONE, clock.now(), runs)
    timetable.book(ONE, clock.now() + LATER, never)
    eventually(lambda: runs.at_s)
    assert never.at_s == []


def test_a_booking_during_a_run_is_taken_up_after_it(timetable: Timetable, clock: SetClock):
    gate, runs = Gate(), Runs()
    timetable.book(ONE, clock.now(), gate)
    assert gate.arrived.wait(60)
    timetable.book(ONE, clock.now(), runs)
    eventually(lambda: timetable.next_at(ONE))
    assert not runs.at_s
    gate.opened.set()
    eventually(lambda: runs.at_s)


def test_a_source_never_runs_twice_at_once(timetable: Timetable, clock: SetClock):
    """However often somebody asks for it meanwhile."""
    lock, overlaps, runs = threading.Lock(), Runs(), Runs()

    def run() -> None:
        if not lock.acquire(blocking=False):
            overlaps()
            return
        runs()
        time.sleep(0.002)
        lock.release()

    for _ in range(100):
        timetable.book(ONE, clock.now(), run)
        time.sleep(0.001)
    eventually(lambda: timetable.next_at(ONE) is None)
    assert overlaps.at_s == []
    assert len(runs.at_s) >= 2


def test_a_source_that_hangs_holds_up_no_other(timetable: Timetable, clock: SetClock):
    gate, runs = Gate(), Runs()
    timetable.book(ONE, clock.now(), gate)
    assert gate.arrived.wait(60)
    for _ in range(5):
        timetable.book(ONE, clock.now(), gate)
    timetable.book(OTHER, clock.now(), runs)
    eventually(lambda: runs.at_s)
    gate.opened.set()


def test_a_run_that_fails_leaves_the_source_its_next_turn(
    timetable: Timetable, clock: SetClock, caplog: pytest.LogCaptureFixture
):
    runs = Runs()

    def fail() -> None:
        timetable.book(ONE, clock.now(), runs)
        raise RuntimeError("meant to")

    timetable.book(ONE, clock.now(), fail)
    eventually(lambda: runs.at_s)


@pytest.mark.parametrize("by", [timedelta(hours=-2), timedelta(hours=2)], ids=["back", "forward"])
def test_a_clock_that_somebody_set_does_not_stop_the_scans(
    timetable: Timetable, clock: SetClock, monkeypatch: pytest.MonkeyPatch, by: timedelta
):
    """APScheduler waits for wall-clock instants: set back two hours, it would wait two hours longer."""

    class SetDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "SetDatetime":
            return cls.fromtimestamp((datetime.now(UTC) + clock.shift).timestamp(), tz)

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", SetDatetime)
    runs = Runs()
    timetable.book(ONE, clock.now() + SOON, runs)
    clock.shift += by
    assert timetable.follow_clock()
    assert not timetable.follow_clock()
    eventually(lambda: runs.at_s)


def test_a_clock_that_drifts_is_no_jump(timetable: Timetable, clock: SetClock):
    clock.shift += timedelta(seconds=1)
    assert not timetable.follow_clock()
    clock.shift += timedelta(seconds=2)
    assert timetable.follow_clock()


def test_nothing_runs_after_the_end(clock: SetClock):
    timetable, runs = Timetable(clock), Runs()
    timetable.start()
    assert timetable.is_running
    timetable.book(ONE, clock.now() + timedelta(seconds=0.05), runs)
    timetable.stop()
    timetable.stop()
    timetable.book(OTHER, clock.now(), runs)
    assert not timetable.is_running
    n_before_the_end = len(runs.at_s)  # none, unless the machine stood still
    time.sleep(0.2)
    assert len(runs.at_s) == n_before_the_end <= 1


@pytest.mark.parametrize("by", [timedelta(0), timedelta(hours=-2), timedelta(hours=2)], ids=["as it was", "back", "on"])
def test_its_clockwork_is_heard_of_whatever_runs_hangs_or_sets_the_clock(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch, by: timedelta
):
    class SetDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "SetDatetime":
            return cls.fromtimestamp((datetime.now(UTC) + clock.shift).timestamp(), tz)

    monkeypatch.setattr(room, "_BEAT_S", 0.05)
    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", SetDatetime)
    monkeypatch.setattr(apscheduler.triggers.interval, "datetime", SetDatetime)
    made, gate, beats = Timetable(clock), Gate(), Runs()
    monkeypatch.setattr(made.pulse, "beat", beats)
    made.start()
    for n in range(room._MAX_THREADS + 1):
        made.book(SourceName(f"source{n}"), clock.now(), gate)
    eventually(lambda: len(beats.at_s) > 2)
    clock.shift = by
    made.follow_clock()
    n_before = len(beats.at_s)
    eventually(lambda: len(beats.at_s) > n_before + 2)
    made.stop()
    gate.opened.set()


def test_many_sources_at_once_all_get_their_turn(timetable: Timetable, clock: SetClock):
    runs: dict[str, Runs] = {f"source{n}": Runs() for n in range(100)}
    for name, run in runs.items():
        timetable.book(SourceName(name), clock.now(), run)
    eventually(lambda: all(run.at_s for run in runs.values()))
