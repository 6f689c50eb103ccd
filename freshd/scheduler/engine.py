"""Keeps sources fresh in threads of its own: one that writes, one that follows hints, some that look.

Nothing here decides what a change is or what becomes of it: lanes look, the indexer applies.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from freshd import faults
from freshd.errors import FreshdError
from freshd.guard import Guard
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import SourceName
from freshd.ports import Clock, Remote
from freshd.pulse import Pulse
from freshd.scheduler.hints import Due
from freshd.scheduler.indexer import Applies, Beside, Indexer, Trouble
from freshd.scheduler.lane import Lane
from freshd.scheduler.marks import Marks
from freshd.scheduler.observer import Observer
from freshd.scheduler.readahead import ReadAhead
from freshd.scheduler.scanner import Scanner
from freshd.scheduler.tally import Target
from freshd.scheduler.timetable import Timetable
from freshd.scheduler.turns import Turns

T = TypeVar("T")

_LOOK_THREADS = 8
_STOP_S = 12.0
"""The batch in hand is given up after 8 s; the rest is for its flush."""

_HINT_PATIENCE_S = 5.0
"""A hint is followed within milliseconds of being due."""

_TURN_S, _TURN_PATIENCE_S = 10.0, 60.0
"""How often the lookout goes round where there are no hints, and when it is taken to hang."""

_LOOK_STOP_S = 2.0
"""A look ends at the next document it sees; one that takes longer hangs in its source, and has nothing to lose."""


@dataclass(frozen=True, slots=True)
class Vital:
    """How one source is being kept up, at this moment.

    Attributes:
        next_scan_at: None while one runs.
        interval: Between two scans.
        watch: `watching`, `not watched`, or why hints may be missing.
        shortfall: Why scans alone cannot keep the target; None if they can.
        unproved_for: Since the newest listing began that came out, by a clock that nobody can set; 0 before one.
        is_remote: It is on the network, and changes by a habit of its own.

    """

    next_scan_at: datetime | None
    interval: timedelta
    watch: str
    shortfall: str | None
    unproved_for: timedelta
    is_remote: bool

    @property
    def is_degraded(self) -> bool:
        """Whether hints may be missing, so that changes are found by scans only."""
        return self.watch not in ("watching", "not watched")


class Scheduler:
    """The engine of the daemon: `start`, then `tick` every second or so, then `stop`."""

    def __init__(
        self,
        *,
        targets: Sequence[Target],
        ledger: SqliteLedger,
        sources: SqliteSources,
        pipeline: Applies,
        marks: Marks,
        guard: Guard,
        clock: Clock,
        observer: Observer,
        cannot_write: Callable[[], FreshdError | None] = lambda: None,
        beside: Beside | None = None,
    ) -> None:
        """Work on open parts; the observer hears of everything."""
        self._ledger = ledger
        self._sources = sources
        self._clock = clock
        self._observer = observer
        self._timetable = Timetable(clock)
        self._turns = Turns()
        self._marks = marks
        self._indexer = Indexer(
            sources=[target.name for target in targets],
            ledger=ledger,
            pipeline=pipeline,
            marks=self._marks,
            clock=clock,
            on_outcome=observer.finished,
            on_trouble=observer.troubled,
            on_marked=observer.marked,
            cannot_write=cannot_write,
            beside=beside,
            readers={target.name: target.connector for target in targets if isinstance(target.connector, ReadAhead)},
        )
        self._hinted = threading.Condition()
        self._lookout = Pulse("lookout", _TURN_PATIENCE_S, clock.monotonic)
        self._is_stopping = self._died = False
        self._set_by = timedelta(0)
        self._looks = ThreadPoolExecutor(_LOOK_THREADS, thread_name_prefix="look")
        self.scanners = {
            target.name: Scanner(target=target, ledger=ledger, sources=sources, guard=guard, clock=clock)
            for target in targets
        }
        self.lanes = {
            name: Lane(
                scanner=scanner,
                sources=sources,
                marks=self._marks,
                clock=clock,
                observer=observer,
                on_recorded=self._indexer.wake,
                on_hint=self._notify,
            )
            for name, scanner in self.scanners.items()
        }
        self._threads = [
            threading.Thread(target=self._guarded, args=(name, run), name=name, daemon=True)
            for name, run in (("indexer", self._indexer.run), ("lookout", self._look_out))
        ]

    @property
    def trouble(self) -> Trouble | None:
        """What keeps the index from being written; None while all is well."""
        return self._indexer.trouble

    def is_alive(self) -> bool:
        """Tell whether every thread that must run does."""
        return not self._died and self._timetable.is_running and all(thread.is_alive() for thread in self._threads)

    @property
    def pulses(self) -> Sequence[Pulse]:
        """Of every thread that must go round."""
        return self._indexer.pulse, self._lookout, self._timetable.pulse

    def vital(self, name: SourceName, scan_s: float | None) -> Vital:
        """Tell how a source is being kept up; `scan_s` is how long its newest complete scan took."""
        lane = self.lanes[name]
        return Vital(
            next_scan_at=self._timetable.next_at(name),
            interval=lane.pace.interval(scan_s),
            watch=self._watch(lane),
            shortfall=lane.pace.shortfall(scan_s),
            unproved_for=self._marks.unproved_for(name),
            is_remote=isinstance(lane.target.connector, Remote),
        )

    def start(self) -> None:
        """Begin: every source is looked at now."""
        for thread in self._threads:
            thread.start()
        self._timetable.start()
        self.scan_now(list(self.lanes))

    def scan_now(self, names: Sequence[SourceName]) -> None:
        """Look at everything of some sources as soon as a thread is free."""
        for name in names:
            self._timetable.book(name, self._clock.now(), self._scanning(self.lanes[name]))

    def wake(self) -> None:
        """Say that something was recorded by somebody else."""
        self._indexer.wake()

    def between_batches(self, work: Callable[[], T]) -> T:
        """Have the writing thread do some work between two batches; give its result.

        Nothing is half written meanwhile, and nothing else writes: keep it short, or hand in one bounded piece
        after another. Its error is the caller's alone. Called by the writing thread itself, it is done on the spot.

        Raises:
            StoreUnavailable: Nothing may be written now (store or disk), or freshd is stopping; it was not done.
            FreshdError: Likewise: the model or the ledger keeps the index from being written.

        """
        return self._indexer.between_batches(work)

    def tick(self) -> None:
        """Do what has to be done now and then: follow the clock, look after the watches."""
        self._set_by += self._timetable.follow_clock()
        if self._set_by:
            # What happened stays as long ago as it was, and what was put off is as far away.
            with suppress(sqlite3.OperationalError):  # locked: the next tick tries again
                self._sources.move_instants(self._set_by)
                self._indexer.move_instants(min(self._set_by, timedelta(0)))
                self._observer.clock_jumped(self._set_by)
                self._set_by = timedelta(0)
                self.scan_now(list(self.lanes))
        for lane in self.lanes.values():
            lane.look_at_watch()

    @property
    def is_writing(self) -> bool:
        """Whether the thread that writes the store runs."""
        return self._threads[0].is_alive()

    def stop(self) -> list[SourceName]:
        """Finish the batch in hand and end, unless that takes too long: then `is_writing` stays true.

        Returns:
            Sources that still hang in a look; it will record nothing, whenever it ends.

        """
        self._timetable.stop()
        for scanner in self.scanners.values():
            scanner.stop()
        with self._hinted:
            self._is_stopping = True
            self._hinted.notify_all()
        self._indexer.stop()
        self._looks.shutdown(wait=False, cancel_futures=True)
        ends_s = self._clock.monotonic() + _STOP_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, ends_s - self._clock.monotonic()))
        ends_s = self._clock.monotonic() + _LOOK_STOP_S
        return [name for name, lane in self.lanes.items() if not lane.join(max(0.0, ends_s - self._clock.monotonic()))]

    def _watch(self, lane: Lane) -> str:
        """Tell how a source is watched; a watch whose hints nobody follows is none."""
        due_s = lane.hints.next_due_s()
        waiting_s = self._clock.monotonic() - due_s if due_s else 0.0
        if waiting_s > _HINT_PATIENCE_S:
            return f"a hint has been waiting for {waiting_s:.0f} s, as a look at the source takes so long"
        return lane.watch

    def _scanning(self, lane: Lane) -> Callable[[], None]:
        def run() -> None:
            host = lane.host
            if host is not None and not self._turns.take(host, lane.name):
                return
            try:
                next_at = lane.scan()
            finally:
                if host is not None:
                    self.scan_now(list(self._turns.give(host)))
            if not self._is_stopping:
                self._timetable.book(lane.name, next_at, self._scanning(lane))

        return run

    def _notify(self) -> None:
        with self._hinted:
            self._hinted.notify_all()

    def _look_out(self) -> None:
        """Wait for hints to become due and hand each source's to a thread; one look of a source at a time."""
        while True:
            self._lookout.beat()
            faults.hit("mid_lookout")
            with self._hinted:
                if self._is_stopping:
                    return
                free = [lane for lane in self.lanes.values() if not lane.is_busy]
                dues = [due_s for lane in free if (due_s := lane.hints.next_due_s()) is not None]
                wait_s = min(dues) - self._clock.monotonic() if dues else _TURN_S
                if wait_s > 0:
                    self._hinted.wait(min(wait_s, _TURN_S))
                    continue
                for lane in free:
                    if due := lane.hints.take(self._clock.monotonic()):
                        lane.is_busy = True
                        self._looks.submit(self._look, lane, due)

    def _look(self, lane: Lane, due: Due) -> None:
        try:
            if lane.look(due):
                self.scan_now([lane.name])
        finally:
            with self._hinted:
                lane.is_busy = False
                self._hinted.notify_all()

    def _guarded(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - told to whoever can end the process; nothing goes on half alive
            self._died = True
            self._observer.died(name, error)
