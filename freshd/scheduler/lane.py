"""One source as the scheduler runs it: its scanner, its hints, its watch, and when it is looked at next."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from freshd.errors import SourceUnavailable
from freshd.guard import Verdict
from freshd.ledger.sources import SqliteSources
from freshd.model import Hint, SourceName
from freshd.ports import Clock, Remote, Watch, Watchable
from freshd.scheduler.hints import Due, Hints
from freshd.scheduler.marks import Marks
from freshd.scheduler.observer import Observer
from freshd.scheduler.pace import SHORTEST, Pace, spread_of
from freshd.scheduler.scanner import Looked, Scan, Scanner

_REARM_S = 60.0
"""A degraded watch is begun anew at most so often: on a large tree that costs as much as a scan."""

_SECOND_LOOK = timedelta(seconds=1)
"""After a scan whose deletions wait for documents that are still unread."""


class Lane:
    """Keeps one source looked at. Safe to call from several threads."""

    def __init__(
        self,
        *,
        scanner: Scanner,
        sources: SqliteSources,
        marks: Marks,
        clock: Clock,
        observer: Observer,
        on_recorded: Callable[[], None],
        on_hint: Callable[[], None],
    ) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            scanner: Looks.
            sources: Remember how scans went.
            marks: Where complete scans leave their mark.
            clock: Says when.
            observer: Hears of scans and of the watch.
            on_recorded: Called after something may have become pending.
            on_hint: Called when the instant of the next look may have moved.

        """
        self.target = scanner.target
        self.hints = Hints()
        self.is_busy = False
        self._scanner = scanner
        self._sources = sources
        self._marks = marks
        self._clock = clock
        self._observer = observer
        self._on_recorded = on_recorded
        self._on_hint = on_hint
        self._failures = 0
        self._watch: Watch | None = None
        self._armed_s = 0.0
        self._degraded: str | None = None
        connector = self.target.connector
        is_remote = isinstance(connector, Remote)
        self.host = connector.host if isinstance(connector, Remote) else None
        least = connector.least_interval if isinstance(connector, Remote) else SHORTEST
        self.pace = Pace(
            self.target.freshness, self.target.poll_interval, least, spread_of(self.name) if is_remote else 0.0
        )
        self._scanning = threading.Lock()

    @property
    def name(self) -> SourceName:
        """The source."""
        return self.target.name

    @property
    def watch(self) -> str:
        """`watching`, `not watched`, or why hints may be missing."""
        if self._watch is None:
            return "not watched"
        return self._watch.degraded or "watching"

    def scan(self) -> datetime:
        """Look at everything once; give the instant of the next time. Never raises."""
        with self._scanning:
            began_at = self._clock.now()
            try:
                self._arm()
                scan = self._scanner.scan()
                if scan.report.shortfall:
                    self._sources.fell_short(self.name, scan.report.shortfall)
            except Exception as error:  # noqa: BLE001 - a fault of one connector must cost no other source its turn
                return began_at if self._scanner.is_stopped else self._failed(began_at, error)
            self._failures = 0
            self.take(scan)
            self.look_at_watch()
            if scan.verdict is Verdict.WAIT:
                return began_at + max(_SECOND_LOOK, scan.took * 10)
            return self.pace.next_after(began_at, scan.took.total_seconds(), not_before=scan.report.not_before)

    def join(self, timeout_s: float) -> bool:
        """Wait until no scan or look runs, and let none begin; tell whether it came to that in time."""
        ends_s = self._clock.monotonic() + timeout_s
        if not self._scanning.acquire(timeout=timeout_s):
            return False
        return self._scanner.join(max(0.0, ends_s - self._clock.monotonic()))

    def take(self, scan: Scan) -> None:
        """Pass on what a scan came to, whoever asked for it."""
        if scan.report.is_complete and scan.verdict is not Verdict.WAIT:
            self._marks.put(scan)
        self._observer.scanned(scan)
        self._on_recorded()

    def look(self, due: Due) -> bool:
        """Look where hints called for it; tell whether a scan is wanted. Never raises."""
        if due.everywhere:
            return True
        try:
            wants_scan = self._look(due)
        except SourceUnavailable:
            return True  # the scan says what is wrong, and when to try again
        except Exception as error:  # noqa: BLE001 - as above
            if self._scanner.is_stopped:
                return False
            self._observer.scan_failed(self.name, error, max(1, self._failures))
            return True
        return wants_scan

    def being_written(self) -> list[tuple[SourceName, str]]:
        """Name the documents whose writer has not paused yet: what scans saw of them is half of something."""
        return [(self.name, document_id) for document_id in self.hints.being_written(self._clock.monotonic())]

    def look_at_watch(self) -> None:
        """Tell the observer when the watch degraded, or recovered."""
        degraded = self._watch.degraded if self._watch else None
        if degraded != self._degraded:
            self._degraded = degraded
            self._observer.watch_changed(self.name, degraded)

    def _look(self, due: Due) -> bool:
        first = self._looked(due.places)
        absent = ((name, _seen_at(name, due.places)) for name in first.absent)
        self.hints.add_absent(absent, self._clock.monotonic())
        return self._looked(due.absent, is_second=True).wants_scan

    def _looked(self, places: dict[str, datetime], *, is_second: bool = False) -> Looked:
        looked = self._scanner.look(places, is_second=is_second) if places else Looked()
        if looked.changes:
            self._on_recorded()
        return looked

    def _failed(self, began_at: datetime, error: Exception) -> datetime:
        self._failures += 1
        self._observer.scan_failed(self.name, error, self._failures)
        with suppress(sqlite3.OperationalError):  # locked, or no room: that may be what failed; there is a next time
            self._sources.scan_failed(self.name, began_at, str(error))
        self.look_at_watch()
        self._on_recorded()
        not_before = error.not_before if isinstance(error, SourceUnavailable) else None
        return self.pace.next_after(began_at, None, failures=self._failures, not_before=not_before)

    def _arm(self) -> None:
        """Begin to watch, before anything is listed; and anew after a watch broke."""
        connector = self.target.connector
        if not isinstance(connector, Watchable):
            return
        is_broken = self._watch is not None and self._watch.degraded is not None
        # What broke with its source costs nothing to begin anew: nothing is there to be walked until it is back.
        is_due = self._failures > 0 or self._clock.monotonic() - self._armed_s > _REARM_S
        if self._watch is None or (is_broken and is_due):
            self._armed_s = self._clock.monotonic()
            self._watch = connector.watch(self._hinted)

    def _hinted(self, hint: Hint) -> None:
        self.hints.add(hint, self._clock.monotonic())
        self._on_hint()


def _seen_at(document_id: str, places: dict[str, datetime]) -> datetime:
    """Give the instant of the hint that a document was looked at for: its own, or that of a folder above it.

    One that was found by its identity was looked at for the hint at its new name, which is no later than the newest.
    """
    parts = document_id.split("/")
    above = ("/".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((places[place] for place in above if place in places), max(places.values()))
