"""One look at some sources, seen through to the end: what `freshd reindex` does, with or without a daemon.

    scan ─▶ see through ─▶ (deletions that waited: scan again ─▶ see through) ─▶ mark

Who sees changes through differs: `Drain` applies them itself, a daemon waits for its indexer.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from freshd.errors import FreshdError, SourceUnavailable
from freshd.guard import Verdict
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import ChangeKind, ListingReport, SourceName
from freshd.ports import Clock
from freshd.scheduler.indexer import Applies
from freshd.scheduler.scanner import Scan, Scanner
from freshd.scheduler.tally import Failure, Tally
from freshd.wording import unforeseen

_BATCH_DOCUMENTS = 64


class SeeThrough(Protocol):
    """Returns when everything of a source up to a recording is applied, held, quarantined or put off."""

    def __call__(self, source: SourceName, seq: int, tally: Tally) -> None:
        """Count into the tally what became of the changes."""
        ...


class Reindexer:
    """Looks at every source once and leaves it applied."""

    def __init__(
        self,
        *,
        scanners: Sequence[Scanner],
        ledger: SqliteLedger,
        sources: SqliteSources,
        see_through: SeeThrough,
        on_scan: Callable[[Scan], None],
        clock: Clock,
        tally_of: Callable[[SourceName], Tally] = Tally,
        afterwards: Callable[[Sequence[Tally]], None] = lambda _: None,
    ) -> None:
        """Work on open parts.

        Args:
            scanners: Of the sources to look at, in this order.
            ledger: Tells what is held.
            sources: Remember how scans went.
            see_through: Applies changes, or waits until they are.
            on_scan: Takes every complete look that holds nothing back.
            clock: Measures.
            tally_of: Gives the tally of a source, which somebody else may count into as well.
            afterwards: Called once with all tallies, when every source was looked at; may count into them.

        """
        self._tally_of = tally_of
        self._afterwards = afterwards
        self._scanners = scanners
        self._ledger = ledger
        self._sources = sources
        self._see_through = see_through
        self._on_scan = on_scan
        self._clock = clock

    def run(self) -> list[Tally]:
        """Bring every source up to date, one after the other; one that does not answer stops no other.

        Raises:
            StoreUnavailable: What was found stays pending; run again.

        """
        tallies = [self._run_one(scanner) for scanner in self._scanners]
        self._afterwards(tallies)
        return tallies

    def _run_one(self, scanner: Scanner) -> Tally:
        name = scanner.target.name
        tally, began_s, scan = self._tally_of(name), self._clock.monotonic(), None
        try:
            scan = _scanned(scanner)
            self._ledger.hurry(name)  # what failed may have been mended: that is why somebody asks
            self._see_through(name, scan.seq, tally)
            if scan.verdict is Verdict.WAIT or self._ledger.awaits_a_look(name, self._clock.now()):
                scan = _scanned(scanner, is_last=True)
                self._see_through(name, scan.seq, tally)
            if scan.report.is_complete:
                self._on_scan(scan)
            if scan.report.shortfall:
                self._sources.fell_short(name, scan.report.shortfall)
            tally.troubles += _troubles(name, scan.report)
        except SourceUnavailable as error:
            self._sources.scan_failed(name, self._clock.now(), str(error))
            self._see_through(name, self._ledger.last_seq(), tally)
            tally.is_available = False
            tally.troubles.append(Failure(f"{name}: {error}", error.hint))
        self._count_the_rest(tally, scan if tally.is_available else None)
        tally.elapsed_s = self._clock.monotonic() - began_s
        return tally

    def _count_the_rest(self, tally: Tally, scan: Scan | None) -> None:
        """Count what the run did not work on: what fails, what is held, and what stands as it was."""
        name = tally.source
        left = self._ledger.left(name)
        tally.held = sum(one.is_held for one in left)
        tally.failures = {
            one.document_id: tally.failures.get(one.document_id, Failure(one.error))
            for one in left
            if one.error and not one.is_held
        }
        if scan is None:
            return
        moving = {document_id for document_id, became in tally.became.items() if became != ChangeKind.DELETED}
        moving |= {one.document_id for one in left if one.is_applied}
        unseen = self._ledger.settled_below(name, scan.report.unreadable)
        tally.unchanged = max(0, self._sources.state(name).documents - len(moving) - unseen)
        if not scan.report.is_complete:
            tally.unchanged = min(tally.unchanged, scan.unchanged)


def _scanned(scanner: Scanner, *, is_last: bool = False) -> Scan:
    """Look; a fault of one connector must cost no other source its turn.

    Raises:
        SourceUnavailable: Nothing may be concluded from what was not seen.

    """
    try:
        return scanner.scan(is_last=is_last)
    except (FreshdError, sqlite3.Error, MemoryError):
        raise
    except Exception as error:
        what = f"got {unforeseen(error)} while it was listed, expected documents"
        raise SourceUnavailable(what, hint="tell whoever made its connector") from error


def _troubles(name: SourceName, report: ListingReport) -> Iterator[Failure]:
    """Say what a listing did not show."""
    if not report.is_complete:
        yield Failure(f"{name}: {report.shortfall}", report.hint or f"freshd reindex {name}")
    for place in report.unreadable:
        yield Failure(f"{name}/{place}: cannot be read", "give freshd's user permission to read it, or exclude it")


class Drain:
    """Sees changes through by applying them in the caller's thread."""

    def __init__(
        self,
        *,
        ledger: SqliteLedger,
        sources: SqliteSources,
        pipeline: Applies,
        clock: Clock,
        on_progress: Callable[[SourceName, int, int], None],
        cannot_write: Callable[[], FreshdError | None] = lambda: None,
    ) -> None:
        """Work on open parts.

        Args:
            ledger: Where changes wait.
            sources: Tell how many.
            pipeline: Applies them.
            clock: Says what is due.
            on_progress: Hears source, documents done, documents in all.
            cannot_write: Asked before each batch; an error is a reason to write nothing, such as a disk almost full.

        """
        self._ledger = ledger
        self._sources = sources
        self._pipeline = pipeline
        self._clock = clock
        self._on_progress = on_progress
        self._cannot_write = cannot_write

    def __call__(self, source: SourceName, seq: int, tally: Tally) -> None:
        """Apply all that is due of a source.

        Raises:
            FreshdError: Nothing may be written; what was found stays pending.

        """
        done, total = 0, self._sources.state(source).pending
        self._on_progress(source, done, total)
        while batch := self._ledger.take(self._clock.now(), _BATCH_DOCUMENTS, sources=(source,)):
            reason = self._cannot_write()
            if reason is not None:
                raise reason
            by_document = {(source, pending.change.document_id): pending for pending in batch}
            for outcome in self._pipeline.run(batch):
                pending = by_document.get((outcome.change.source, outcome.change.document_id))
                if pending is not None:  # else it was finished for an earlier run, which broke off
                    tally.add(outcome, pending)
                    done += 1
            total = max(total, done + self._sources.state(source).pending)
            self._on_progress(source, done, total)
