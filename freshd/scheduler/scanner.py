"""Looks at one source and records what it finds; decides by pure rules, writes nothing but the ledger.

    scan: everything     listing × ledger → changes; absent ones are deletions if that is proof and the guard agrees
    look: where hinted   the same over a part of the source; what is absent there is looked at twice

A failed look never reads as an empty one: it raises, or says what it could not see.
"""

import hashlib
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import islice

from freshd import faults
from freshd.changes import Look, change_of, deletion_of, is_proof, merge
from freshd.errors import FreshdError, SourceError, SourceUnavailable
from freshd.freshness import CLOCK_TOLERANCE
from freshd.guard import Guard, Verdict
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import (
    Change,
    ChangeKind,
    Coverage,
    DocumentId,
    DocumentRef,
    Known,
    Listing,
    ListingReport,
    Sighting,
    SourceName,
)
from freshd.pipeline.asking import connector_faults_told
from freshd.ports import Clock, SourceState
from freshd.scheduler.second_look import Absent, lacking
from freshd.scheduler.tally import Target

_RECORDED_AT_ONCE = 500
_MOST_LINKS = 16
"""Places of one identity that are asked after; with more hard links than that, their own hints tell."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at everything came to.

    Attributes:
        began_s: As `began_at`, by the clock that nobody can set.
        seq: Newest recording when it ended: its changes are applied once the ledger is through with it.
        changes: How many were recorded.
        unchanged: Documents found as they were.
        verdict: WAIT leaves what seems lost unrecorded until the documents found new were read.

    """

    source: SourceName
    began_at: datetime
    began_s: float
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


@dataclass(slots=True)
class _Found:
    changes: list[Change] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    returned: list[DocumentId] = field(default_factory=list)
    unchanged: int = 0
    recorded: int = 0


@dataclass(frozen=True, slots=True)
class _Case:
    """What the loss that one look found is judged by.

    Attributes:
        changes: What the look found besides, not recorded yet.
        since: What hints deleted since then counts as well: the last scan that saw everything and judged all of it.

    """

    state: SourceState
    suspicion: str | None
    changes: Sequence[Change]
    since: datetime | None


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
        self._waits_since: datetime | None = None
        self._is_stopping = False
        self._began = clock.now(), clock.monotonic()

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
            self._began = self._clock.now(), self._clock.monotonic()
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
            self._began = self._clock.now(), self._clock.monotonic()
            return self._look(places, is_second)

    def _scan(self, is_last: bool) -> Scan:
        name, began_at, began_s = self.target.name, self._clock.now(), self._clock.monotonic()
        state = self._sources.state(name)
        self._sources.scan_began(name, began_at)
        look = Look(name, state.last_complete_scan_at, began_at)
        # Before the first complete listing nothing is a change: it is the first index, which has no deadline.
        freshness = None if state.last_complete_scan_at is None else self.target.freshness
        # A listing of everything proves nothing of what a tree was made of before: only a window is asked for one.
        is_anew = state.wants_everything and self.target.connector.coverage is Coverage.WINDOW
        listing = self.target.connector.list(cursor=None if is_anew else state.cursor)
        found = _Found()
        for seen, known in merge(self._admitted(listing), self._ledger.known(name)):
            if self._is_stopping:
                self._go_on()
            if seen is None:
                found.absent += [(known, None)] if known else []
                continue
            if known is not None and known.absent_since is not None:
                found.returned.append(known.document_id)
            change = change_of(seen, known, look)
            if change is None:
                found.unchanged += 1
                continue
            found.changes.append(change)
            if len(found.changes) >= _RECORDED_AT_ONCE:
                self._record(found, freshness)
        self._go_on()
        since = self._waits_since or state.last_complete_scan_at
        case = _Case(state, listing.report.suspicion, found.changes, since)
        lost, moved = self._parted(self._proved(found.absent, listing.report), case)
        was_seen = partial(self._was_seen, {change.document_id for change in found.changes if change.ref})
        lost = lacking(self.target.connector, lost, state.cursor, was_seen, self._go_on)
        verdict = self._judge(len(lost), case, is_last=is_last)
        faults.hit("after_detect")
        # In one transaction with what was found last, among which is the new half of most moves.
        self._record(found, freshness, _deletions(moved, look))
        self._record_deletions(lost, look, freshness, verdict)
        expired = self._expire(found, look, freshness, listing.report)
        took = timedelta(seconds=self._clock.monotonic() - began_s)
        if listing.report.is_complete:
            self._sources.scan_completed(name, began_at, took)
            self._waits_since = since if verdict is Verdict.WAIT else None
            if is_anew:
                self._sources.showed_everything(name)
        changes = found.recorded + len(moved) + len(expired) + (0 if verdict is Verdict.WAIT else len(lost))
        seq = self._ledger.last_seq()
        return Scan(name, began_at, began_s, took, listing.report, verdict, seq, changes, unchanged=found.unchanged)

    def _look(self, places: Mapping[str, datetime], is_second: bool) -> Looked:
        state = self._sources.state(self.target.name)
        look = Look(self.target.name, state.last_complete_scan_at, self._clock.now())
        changes: list[Change] = []
        absent: dict[DocumentId, Absent] = {}
        suspicion = None
        for place, seen_at in places.items():
            listing = self.target.connector.list(place, state.cursor)
            missing: list[Absent] = []
            for seen, known in merge(self._admitted(listing), self._ledger.known(self.target.name, place)):
                self._go_on()
                if seen is not None:
                    change = change_of(seen, known, look)
                    changes += [change] if change else []
                    missing += [(left, seen_at) for left in self._left_by(change, absent)]
                elif known is not None:
                    missing.append((known, seen_at))
            absent |= {one[0].document_id: one for one in self._proved(missing, listing.report)}
            suspicion = suspicion or listing.report.suspicion
        self._go_on()
        case = _Case(state, suspicion, changes, self._waits_since or state.last_complete_scan_at)
        lost, moved = self._parted(list(absent.values()), case)
        verdict = self._judge(len(lost), case) if is_second else Verdict.WAIT
        faults.hit("after_detect")
        # In one transaction, so that nobody applies the new half of a move before the old one is known.
        together = _once_each([*changes, *_deletions(moved, look)])
        self._ledger.record(together, self.target.freshness)
        if not is_second or not lost:
            return Looked(len(together), tuple(known.document_id for known, _ in lost))
        self._record_deletions(lost, look, self.target.freshness, verdict)
        return Looked(len(together) + len(lost), wants_scan=verdict is Verdict.WAIT)

    def _admitted(self, listing: Listing) -> Iterator[Sighting]:
        """Leave out of a listing what was forgotten: it stays out although it is there."""
        return self._ledger.without_forgotten(self.target.name, listing)

    def _go_on(self) -> None:
        """Ask before anything is recorded or concluded: a source may answer when the ledger is closed already."""
        if self._is_stopping:
            raise ScanStopped(
                f"source '{self.target.name}': the look was ended", hint="start freshd again, then ask again"
            )
        began_at, began_s = self._began
        passed = timedelta(seconds=self._clock.monotonic() - began_s)
        if abs(self._clock.now() - began_at - passed) > CLOCK_TOLERANCE:
            self._waits_since = None
            raise SourceUnavailable(f"source '{self.target.name}': the clock was set during the look")

    def _record(self, found: _Found, freshness: timedelta | None, deletions: Sequence[Change] = ()) -> None:
        self._go_on()
        self._ledger.record([*found.changes, *deletions], freshness)
        found.recorded += len(found.changes)
        found.changes.clear()

    def _expire(self, found: _Found, look: Look, freshness: timedelta | None, report: ListingReport) -> list[Absent]:
        """Delete what a window has not shown for as long as it was to be kept; no guard asks about a rule of the owner.

        A window that shows nothing at all says that nothing changed, not that everything rolled off.
        """
        keep_for, name = self.target.keep_for, self.target.name
        if self.target.connector.coverage is not Coverage.WINDOW or not report.is_complete:
            return []
        # An empty fingerprint only asks for another look; without one its deletion waits already.
        rolled_off = [known for known, _ in found.absent if known.fingerprint is not None]
        if found.unchanged or found.recorded:
            new = [known.document_id for known in rolled_off if not known.absent_since]
            self._ledger.note_absence(name, found.returned, None)
            self._ledger.note_absence(name, new, look.seen_at)
        if keep_for is None:
            return []
        ends = ((known, known.absent_since + keep_for) for known in rolled_off if known.absent_since)
        expired: list[Absent] = [(known, end) for known, end in ends if end <= look.seen_at]
        self._record_deletions(expired, look, freshness, Verdict.PASS)
        return expired

    def _proved(self, absent: Sequence[Absent], report: ListingReport) -> list[Absent]:
        coverage = self.target.connector.coverage
        return [(known, seen_at) for known, seen_at in absent if is_proof(known, report, coverage)]

    def _left_by(self, change: Change | None, absent: Collection[DocumentId]) -> Iterator[Known]:
        """Find the places that a document renamed to here left, but for those seen to be absent already.

        The hint that names the old place may come in a later look.
        """
        if change is None or change.ref is None or change.ref.identity is None:
            return
        for known in islice(self._ledger.holders(change.source, change.ref.identity), _MOST_LINKS):
            is_elsewhere = known.document_id != change.document_id and known.document_id not in absent
            if is_elsewhere and self.target.connector.is_gone(known.document_id):
                yield known

    def _parted(self, absent: Sequence[Absent], case: _Case) -> tuple[list[Absent], list[Absent]]:
        """Part absent documents into those that are lost, and those that moved: their text stands elsewhere.

        Not where another one stood that is absent too: two copies that vanish together are both lost.
        An unread document with the identity of an absent one is taken for that one moved
        as long as the guard would let all of them be lost. A file system gives identities out again,
        so for more than that the texts are compared, and one that cannot be read proves nothing.
        """
        gone = {known.document_id for known, _ in absent}
        places = self._ledger.whereabouts(self.target.name, gone, case.changes)
        unsettled = [one for one in places.values() if one.stands_in is None]
        is_claimed = any(one.may_stand_in for one in unsettled)
        is_believed = is_claimed and self._judge(len(unsettled), case) is Verdict.PASS
        lost: list[Absent] = []
        moved: list[Absent] = []
        digest_of = cache(self._digest_of)  # links and copies have the same candidates
        for one in absent:
            place = places[one[0].document_id]
            has_moved = place.stands_in is not None
            if not has_moved and place.may_stand_in:
                # Nothing of a document without a digest is in the index: nothing of it can be lost there.
                is_trusted = is_believed or place.digest is None
                has_moved = is_trusted or any(digest_of(ref) == place.digest for ref in place.may_stand_in)
            (moved if has_moved else lost).append(one)
        return lost, moved

    def _digest_of(self, ref: DocumentRef) -> str | None:
        self._go_on()
        try:
            with connector_faults_told(ref.document_id):
                return hashlib.sha256(self.target.connector.read(ref).content).hexdigest()
        except SourceError:
            return None

    def _was_seen(self, recorded: Collection[DocumentId], seen: Sighting) -> bool:
        """Tell whether the listing in hand showed this identity under this name, be it a forgotten one."""
        if seen.document_id in recorded or not any(self._ledger.without_forgotten(self.target.name, [seen])):
            return True
        holders = self._ledger.holders(self.target.name, seen.identity or "")
        return any(known.document_id == seen.document_id for known in holders)

    def _judge(self, lost: int, case: _Case, *, is_last: bool = False) -> Verdict:
        """Judge a loss, together with what hints deleted before: many small looks are one large loss.

        What a scan deletes is dated back to the scan before, by which it is told from what hints deleted.
        """
        if not lost:
            return Verdict.PASS
        name = self.target.name
        unread = self._ledger.unread(name) + sum(change.kind is ChangeKind.ADDED for change in case.changes)
        documents, applied, waiting = case.state.documents, 0, 0
        if case.since is not None:
            waiting = self._waiting_deletions(case.since)
            documents, applied = self._ledger.standing(name, case.since)
        return self._guard.judge(
            lost + applied + waiting,
            of=documents + applied,
            unread=0 if is_last else unread,
            suspicion=case.suspicion,
        )

    def _waiting_deletions(self, since: datetime) -> int:
        """Count the deletions since an instant that the store has not seen yet, certain moves left out."""
        name = self.target.name
        places = self._ledger.whereabouts(name, self._ledger.leaving(name, since))
        return sum(place.stands_in is None for place in places.values())

    def _record_deletions(
        self, gone: Sequence[Absent], look: Look, freshness: timedelta | None, verdict: Verdict
    ) -> None:
        """Record deletions as the guard judged them; what a person kept before is held however little it is."""
        if verdict is Verdict.WAIT:
            return
        held = [one for one in gone if verdict is Verdict.HOLD or one[0].is_kept]
        passed = [one for one in gone if not (verdict is Verdict.HOLD or one[0].is_kept)]
        self._ledger.record(_deletions(held, look), freshness, held=True)
        self._ledger.record(_deletions(passed, look), freshness)


def _deletions(gone: Sequence[Absent], look: Look) -> list[Change]:
    return [deletion_of(known, look, seen_at) for known, seen_at in gone]


def _once_each(changes: Iterable[Change]) -> list[Change]:
    """Keep the last of several changes of one document: places may overlap."""
    return list({change.document_id: change for change in changes}.values())
