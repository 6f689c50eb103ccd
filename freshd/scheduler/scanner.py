"""Looks at one source and records what it finds; decides by pure rules, writes nothing but the ledger.

    scan: everything     listing × ledger → changes; absent ones are deletions if that is proof and the guard agrees
    look: where hinted   the same over a part of the source; what is absent there is looked at twice

A failed look never reads as an empty one: it raises, or says what it could not see.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshd.changes import Look, change_of, deletion_of, is_proof, merge
from freshd.errors import FreshdError
from freshd.guard import Guard, Verdict
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import Change, DocumentId, Known, ListingReport, SourceName
from freshd.ports import Clock, SourceState
from freshd.scheduler.tally import Target

_RECORDED_AT_ONCE = 500
_MOST_WAITING = 10_000
"""Pending changes that are gone through for deletions; no guard lets so many pass."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at everything came to.

    Attributes:
        seq: Newest recording when it ended: its changes are applied once the ledger is through with it.
        changes: How many were recorded.
        unchanged: Documents found as they were.
        verdict: WAIT leaves deletions unrecorded until the documents found new were read.

    """

    source: SourceName
    began_at: datetime
    took: timedelta
    report: ListingReport
    verdict: Verdict
    seq: int
    changes: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at some places came to.

    Attributes:
        changes: How many were recorded.
        absent: Documents that were not there any more, with no other place they moved to: to be looked at again.
        wants_scan: Some of it can only be judged by a look at everything.

    """

    changes: int = 0
    absent: tuple[DocumentId, ...] = ()
    wants_scan: bool = False


class ScanStopped(FreshdError):
    """A look was ended before its end; what it saw may be recorded, and nothing follows from what it did not."""


_Absent = tuple[Known, datetime | None]
"""What the ledger knows of a document that was not there, and when a hint said so."""


@dataclass(slots=True)
class _Found:
    changes: list[Change] = field(default_factory=list)
    absent: list[_Absent] = field(default_factory=list)
    unchanged: int = 0
    recorded: int = 0


class Scanner:
    """Looks at one source, once at a time. Safe to call from several threads, which then take turns."""

    def __init__(
        self, *, target: Target, ledger: SqliteLedger, sources: SqliteSources, guard: Guard, clock: Clock
    ) -> None:
        """Work on open parts."""
        self.target = target
        self._ledger = ledger
        self._sources = sources
        self._guard = guard
        self._clock = clock
        self._turn = threading.Lock()
        self._is_stopping = False

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._is_stopping

    def stop(self) -> None:
        """End the look in hand, and every later one, with ScanStopped."""
        self._is_stopping = True

    def join(self, timeout_s: float) -> bool:
        """Wait until nobody looks, and let nobody begin; tell whether it came to that in time."""
        return self._turn.acquire(timeout=timeout_s)

    def scan(self, *, is_last: bool = False) -> Scan:
        """Look at everything.

        Args:
            is_last: Judge deletions now, even while documents found new are unread.

        Raises:
            SourceUnavailable: Nothing may be concluded from what was not seen; what was seen is recorded.
            ScanStopped: `stop` was called.

        """
        with self._turn:
            return self._scan(is_last)

    def look(self, places: Mapping[str, datetime], *, is_second: bool = False) -> Looked:
        """Look at some places only.

        Args:
            places: Document ids, or folders of some; with the instant when a hint named each.
            is_second: What is absent now was absent before: judge it.

        Raises:
            SourceUnavailable: Nothing may be concluded from what was not seen.
            ScanStopped: `stop` was called.

        """
        with self._turn:
            return self._look(places, is_second)

    def _scan(self, is_last: bool) -> Scan:
        name, began_at, began_s = self.target.name, self._clock.now(), self._clock.monotonic()
        state = self._sources.state(name)
        self._sources.scan_began(name, began_at)
        look = Look(name, state.last_complete_scan_at, began_at)
        # Before the first complete listing nothing is a change: it is the first index, which has no deadline.
        freshness = None if state.last_complete_scan_at is None else self.target.freshness
        listing = self.target.connector.list(cursor=state.cursor)
        found = _Found()
        for pair in merge(listing, self._ledger.known(name)):
            self._go_on()
            if pair.ref is None:
                found.absent += [(pair.known, None)] if pair.known else []
                continue
            change = change_of(pair, look)
            if change is None:
                found.unchanged += 1
                continue
            found.changes.append(change)
            if len(found.changes) >= _RECORDED_AT_ONCE:
                self._record(found, freshness)
        self._go_on()
        self._record(found, freshness)
        gone = self._proved(found.absent, listing.report)
        lost, moved = self._without_successor(gone)
        verdict = self._judge(len(lost), state, listing.report.suspicion, is_last=is_last)
        if verdict is not Verdict.WAIT:
            self._record_deletions(moved, look, freshness, Verdict.PASS)
        self._record_deletions(lost, look, freshness, verdict)
        took = timedelta(seconds=self._clock.monotonic() - began_s)
        if listing.report.is_complete:
            self._sources.scan_completed(name, began_at, took)
        changes = found.recorded + (0 if verdict is Verdict.WAIT else len(gone))
        return Scan(
            name, began_at, took, listing.report, verdict, self._ledger.last_seq(), changes, unchanged=found.unchanged
        )

    def _look(self, places: Mapping[str, datetime], is_second: bool) -> Looked:
        state = self._sources.state(self.target.name)
        look = Look(self.target.name, state.last_complete_scan_at, self._clock.now())
        changes: list[Change] = []
        absent: list[_Absent] = []
        suspicion = None
        for place, seen_at in places.items():
            listing = self.target.connector.list(place, state.cursor)
            missing: list[_Absent] = []
            for pair in merge(listing, self._ledger.known(self.target.name, place)):
                self._go_on()
                if pair.ref is not None:
                    change = change_of(pair, look)
                    changes += [change] if change else []
                elif pair.known is not None:
                    missing.append((pair.known, seen_at))
            absent += self._proved(missing, listing.report)
            suspicion = suspicion or listing.report.suspicion
        self._go_on()
        lost, moved = self._without_successor(absent, changes)
        # In one transaction, so that nobody applies the new half of a move before the old one is known.
        together = _once_each([*changes, *(deletion_of(known, look, seen_at) for known, seen_at in moved)])
        self._ledger.record(together, self.target.freshness)
        if not is_second or not lost:
            return Looked(len(together), tuple(known.document_id for known, _ in lost))
        verdict = self._judge(len(lost), state, suspicion, since=state.last_complete_scan_at)
        self._record_deletions(lost, look, self.target.freshness, verdict)
        return Looked(len(together) + len(lost), wants_scan=verdict is Verdict.WAIT)

    def _go_on(self) -> None:
        """Ask before anything is concluded: a source may answer long after the end, when the ledger is closed."""
        if self._is_stopping:
            raise ScanStopped(
                f"source '{self.target.name}': the look was ended", hint="start freshd again, then ask again"
            )

    def _record(self, found: _Found, freshness: timedelta | None) -> None:
        self._ledger.record(found.changes, freshness)
        found.recorded += len(found.changes)
        found.changes.clear()

    def _proved(self, absent: Sequence[_Absent], report: ListingReport) -> list[_Absent]:
        coverage = self.target.connector.coverage
        return [(known, seen_at) for known, seen_at in absent if is_proof(known, report, coverage)]

    def _without_successor(
        self, absent: Sequence[_Absent], changes: Sequence[Change] = ()
    ) -> tuple[list[_Absent], list[_Absent]]:
        """Part absent documents into those that are lost, and those whose identity or text stands elsewhere.

        Not where another one stood that is absent too: two copies that vanish together are both lost.
        """
        arrived = {change.ref.identity for change in changes if change.ref and change.ref.identity}
        gone = {known.document_id for known, _ in absent}
        lost: list[_Absent] = []
        moved: list[_Absent] = []
        for one in absent:
            successor = self._ledger.successor(self.target.name, one[0].document_id)
            has_moved = one[0].identity in arrived or (successor is not None and successor not in gone)
            (moved if has_moved else lost).append(one)
        return lost, moved

    def _judge(
        self,
        lost: int,
        state: SourceState,
        suspicion: str | None,
        *,
        is_last: bool = False,
        since: datetime | None = None,
    ) -> Verdict:
        """Judge a loss, together with what was deleted since an instant: many small looks are one large loss."""
        if not lost:
            return Verdict.PASS
        unread = 0 if is_last else self._ledger.unread(state.name)
        applied = self._ledger.deleted_since(state.name, since) if since else 0
        before = applied + (self._waiting_deletions(since) if since else 0)
        return self._guard.judge(lost + before, of=state.documents + applied, unread=unread, suspicion=suspicion)

    def _waiting_deletions(self, since: datetime) -> int:
        """Count deletions recorded since an instant that the store has not seen yet, moves left out."""
        name = self.target.name
        waiting = self._ledger.take(self._clock.now(), _MOST_WAITING, urgent=True, sources=(name,))
        return sum(
            one.change.ref is None
            and one.change.first_seen_at >= since
            and self._ledger.successor(name, one.change.document_id) is None
            for one in waiting
        )

    def _record_deletions(
        self, gone: Sequence[_Absent], look: Look, freshness: timedelta | None, verdict: Verdict
    ) -> None:
        if verdict is Verdict.WAIT:
            return
        deletions = [deletion_of(known, look, seen_at) for known, seen_at in gone]
        self._ledger.record(deletions, freshness, held=verdict is Verdict.HOLD)


def _once_each(changes: Iterable[Change]) -> list[Change]:
    """Keep the last of several changes of one document: places may overlap."""
    return list({change.document_id: change for change in changes}.values())
