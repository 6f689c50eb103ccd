"""One look at some sources, seen through to the end: what `freshd reindex` does, with or without a daemon.

    scan ─▶ see through ─▶ (deletions that waited: scan again ─▶ see through) ─▶ mark

Who sees changes through differs: `Drain` applies them itself, a daemon waits for its indexer.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from freshd.errors import SourceUnavailable
from freshd.guard import Verdict
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import SourceName
from freshd.pipeline import Pipeline
from freshd.ports import Clock
from freshd.scheduler.scanner import Scan, Scanner
from freshd.scheduler.tally import Tally

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

        """
        self._tally_of = tally_of
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
        return [self._run_one(scanner) for scanner in self._scanners]

    def _run_one(self, scanner: Scanner) -> Tally:
        name = scanner.target.name
        tally, began_s = self._tally_of(name), self._clock.monotonic()
        try:
            scan = scanner.scan()
            tally.documents["unchanged"] = scan.unchanged
            self._see_through(name, scan.seq, tally)
            if scan.verdict is Verdict.WAIT:
                scan = scanner.scan(is_last=True)
                self._see_through(name, scan.seq, tally)
            if scan.report.is_complete:
                self._on_scan(scan)
            tally.errors += [f"{name}/{place}: cannot be read" for place in scan.report.unreadable]
        except SourceUnavailable as error:
            self._sources.scan_failed(name, self._clock.now(), str(error))
            self._see_through(name, self._ledger.last_seq(), tally)
            tally.is_available = False
            tally.errors.append(f"{name}: {error}")
        tally.documents["held"] = len(self._ledger.held(name))
        tally.elapsed_s = self._clock.monotonic() - began_s
        return tally


class Drain:
    """Sees changes through by applying them in the caller's thread."""

    def __init__(
        self,
        *,
        ledger: SqliteLedger,
        sources: SqliteSources,
        pipeline: Pipeline,
        clock: Clock,
        on_progress: Callable[[SourceName, int, int], None],
    ) -> None:
        """Work on open parts; `on_progress` hears source, documents done, documents in all."""
        self._ledger = ledger
        self._sources = sources
        self._pipeline = pipeline
        self._clock = clock
        self._on_progress = on_progress

    def __call__(self, source: SourceName, seq: int, tally: Tally) -> None:
        """Apply all that is due of a source."""
        done, total = 0, self._sources.state(source).pending
        self._on_progress(source, done, total)
        while batch := self._ledger.take(self._clock.now(), _BATCH_DOCUMENTS, sources=(source,)):
            for outcome in self._pipeline.run(batch):
                tally.add(outcome)
                done += 1
            total = max(total, done + self._sources.state(source).pending)
            self._on_progress(source, done, total)
