"""Marks: what a complete listing leaves behind, passed through the thread that writes the store.

A mark comes out when everything found up to it is applied, held or quarantined and the store answers;
only then does the watermark rise. So a frozen indexer shows even where nothing changes.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import SourceName
from freshd.ports import Clock
from freshd.scheduler.scanner import Scan


class Pings(Protocol):
    """A store that can be asked whether it is there; see `ports.Store`."""

    def ping(self) -> None:
        """Prove that it answers and is still the collection that was opened."""
        ...


_IN_PASSING_S = 1.0
"""In the middle of a batch marks are looked at so often: it costs a question for each of them."""


@dataclass(frozen=True, slots=True)
class _Mark:
    began_s: float
    seq: int
    cursor: str | None


class Marks:
    """Marks on their way. Any thread puts one in; only the thread that writes the store lets them out."""

    def __init__(
        self,
        *,
        ledger: SqliteLedger,
        sources: SqliteSources,
        store: Pings,
        clock: Clock,
        expect: Callable[[], None] = lambda: None,
    ) -> None:
        """Start with none under way; `expect` raises where the store does not hold what the ledger is sure of."""
        self._ledger = ledger
        self._sources = sources
        self._store = store
        self._expect = expect
        self._clock = clock
        self._began_s = clock.monotonic()
        self._least_seq = 0
        self._proved_s: dict[SourceName, float] = {}
        self._released_s = self._began_s
        self._lock = threading.Lock()
        self._waiting: dict[SourceName, list[_Mark]] = defaultdict(list)

    def put(self, scan: Scan) -> None:
        """Send the mark of a listing on its way; one that could not see everything proves nothing and leaves none."""
        if scan.report.shortfall is not None or scan.seq < self._least_seq:
            return
        mark = _Mark(scan.began_s, scan.seq, scan.report.cursor)
        with self._lock:
            # The oldest comes out first under a steady stream of changes, the newest tells most: two are enough.
            self._waiting[scan.source][1:] = [mark]

    def begin_anew(self, seq: int) -> None:
        """Let go of all that is under way, and of every look that knew of no recording up to a number."""
        with self._lock:
            self._least_seq = seq
            self._waiting.clear()

    def unproved_for(self, name: SourceName) -> timedelta:
        """Tell how long ago the newest listing began that came out, by a clock that nobody can set.

        Before the first one, how long these marks have been waiting for it: nothing was proved meanwhile.
        """
        return timedelta(seconds=self._clock.monotonic() - self._proved_s.get(name, self._began_s))

    def probe(self) -> None:
        """Have the store prove that it is there, where no mark is about to; raises as `release` does."""
        self._store.ping()

    def release_in_passing(self) -> list[SourceName]:
        """Do as `release` does, unless that was done a moment ago."""
        return self.release() if self._clock.monotonic() - self._released_s >= _IN_PASSING_S else []

    def release(self) -> list[SourceName]:
        """Let out every mark whose changes are through; give the sources whose watermark may have risen.

        Raises:
            StoreUnavailable: The store does not answer, or lost some of what it held: nothing comes out.
            CollectionMismatch: It is no longer the collection that was opened.

        """
        self._released_s = self._clock.monotonic()
        with self._lock:
            waiting = [(name, mark) for name, marks in self._waiting.items() for mark in marks]
        through = [(name, mark) for name, mark in waiting if self._ledger.is_through(name, mark.seq)]
        if not through:
            return []
        self._store.ping()
        self._expect()
        for name, mark in through:
            now = self._clock.now()
            # By the clock as it is now: somebody may have set it since the listing began.
            began_at = now - timedelta(seconds=self._clock.monotonic() - mark.began_s)
            self._sources.marker_out(name, began_at, mark.cursor, now)
            with self._lock:
                self._proved_s[name] = max(mark.began_s, self._proved_s.get(name, mark.began_s))
                self._waiting[name] = [one for one in self._waiting[name] if one is not mark]
        return [name for name, _ in through]
