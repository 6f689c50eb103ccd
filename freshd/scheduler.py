"""When a source is looked at, and which change goes next.

scan:  listing × ledger → pending changes (deletions only when absence is proof and the guard lets them pass)
drain: pending changes, earliest deadline first → pipeline
mark:  a complete listing whose changes are all applied raises the watermark and lets its cursor be kept
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freshd.changes import Look, change_of, deletion_of, is_proof, merge
from freshd.errors import SourceUnavailable
from freshd.guard import Guard, Verdict
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import Change, Fates, Known, ListingReport, Outcome, OutcomeKind, SourceName
from freshd.pipeline import Pipeline
from freshd.ports import Clock, Connector, SourceState

_RECORDED_AT_ONCE = 500
_BATCH_DOCUMENTS = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A source to keep fresh.

    Attributes:
        freshness: Within which a change should be searchable.

    """

    name: SourceName
    connector: Connector
    freshness: timedelta


@dataclass(slots=True)
class Tally:
    """What one run did to one source.

    Attributes:
        documents: Counts by change kind, and of touched, unchanged, failed, held.
        errors: One line for each document or source that could not be read.

    """

    source: SourceName
    documents: Counter[str] = field(default_factory=Counter)
    fates: Fates = field(default_factory=Fates)
    embedded_characters: int = 0
    elapsed_s: float = 0.0
    errors: list[str] = field(default_factory=list)
    is_available: bool = True

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.fates += outcome.fates
        self.embedded_characters += outcome.embedded_characters
        if outcome.kind is OutcomeKind.FAILED:
            self.documents["failed"] += 1
            self.errors.append(f"{outcome.change.source}/{outcome.change.document_id}: {outcome.error}")
        elif outcome.kind is OutcomeKind.TOUCHED:
            self.documents["touched"] += 1
        elif outcome.kind is not OutcomeKind.SUPERSEDED:
            self.documents[outcome.change.kind.value] += 1


@dataclass(frozen=True, slots=True)
class _Scan:
    began_at: datetime
    report: ListingReport
    verdict: Verdict


class Reindexer:
    """Looks at every source once and applies what it finds, then leaves."""

    def __init__(
        self,
        *,
        targets: Sequence[Target],
        ledger: SqliteLedger,
        sources: SqliteSources,
        pipeline: Pipeline,
        guard: Guard,
        clock: Clock,
    ) -> None:
        """Work on open parts."""
        self._targets = targets
        self._ledger = ledger
        self._sources = sources
        self._pipeline = pipeline
        self._guard = guard
        self._clock = clock

    def run(self, progress: Callable[[Outcome], None] = lambda _: None) -> list[Tally]:
        """Bring every source up to date, one after the other; one that does not answer stops no other.

        Args:
            progress: Called with every outcome.

        Raises:
            StoreUnavailable: What was found stays pending; run again.

        """
        return [self._run_one(target, progress) for target in self._targets]

    def _run_one(self, target: Target, progress: Callable[[Outcome], None]) -> Tally:
        tally, began_s = Tally(target.name), self._clock.monotonic()
        try:
            scan = self._scan(target, tally)
            self._drain(target, tally, progress)
            if scan.verdict is Verdict.WAIT:
                scan = self._scan(target, Tally(target.name), is_last=True)
                self._drain(target, tally, progress)
            self._mark(target, scan)
        except SourceUnavailable as error:
            self._sources.scan_failed(target.name, self._clock.now(), str(error))
            self._drain(target, tally, progress)
            tally.is_available = False
            tally.errors.append(f"{target.name}: {error}")
        tally.documents["held"] = len(self._ledger.held(target.name))
        tally.elapsed_s = self._clock.monotonic() - began_s
        return tally

    def _scan(self, target: Target, tally: Tally, *, is_last: bool = False) -> _Scan:
        began_at = self._clock.now()
        state = self._sources.state(target.name)
        self._sources.scan_began(target.name, began_at)
        look = Look(target.name, state.last_complete_scan_at, began_at)
        freshness = None if state.listed_through is None else target.freshness
        listing = target.connector.list(cursor=state.cursor)
        absent: list[Known] = []
        found: list[Change] = []
        for pair in merge(listing, self._ledger.known(target.name)):
            if pair.ref is None:
                absent += [pair.known] if pair.known else []
                continue
            change = change_of(pair, look)
            if change is None:
                tally.documents["unchanged"] += 1
                continue
            found.append(change)
            if len(found) >= _RECORDED_AT_ONCE:
                self._ledger.record(found, freshness)
                found.clear()
        self._ledger.record(found, freshness)
        gone = [known for known in absent if is_proof(known, listing.report, target.connector.coverage)]
        verdict = self._judge(state, gone, listing.report, is_last)
        if verdict is not Verdict.WAIT:
            deletions = [deletion_of(known, look, None) for known in gone]
            self._ledger.record(deletions, freshness, held=verdict is Verdict.HOLD)
        if listing.report.is_complete:
            self._sources.scan_completed(target.name, began_at, self._clock.now() - began_at)
        return _Scan(began_at, listing.report, verdict)

    def _judge(self, state: SourceState, gone: Sequence[Known], report: ListingReport, is_last: bool) -> Verdict:
        lost = [known for known in gone if self._ledger.successor(state.name, known.document_id) is None]
        unread = 0 if is_last else self._ledger.unread(state.name)
        return self._guard.judge(len(lost), of=state.documents, unread=unread, suspicion=report.suspicion)

    def _drain(self, target: Target, tally: Tally, progress: Callable[[Outcome], None]) -> None:
        while batch := self._ledger.take(self._clock.now(), _BATCH_DOCUMENTS, sources=(target.name,)):
            for outcome in self._pipeline.run(batch):
                tally.add(outcome)
                progress(outcome)

    def _mark(self, target: Target, scan: _Scan) -> None:
        if not scan.report.is_complete or self._sources.state(target.name).pending:
            return
        self._sources.marker_out(target.name, scan.began_at)
        self._sources.keep_cursor(target.name, scan.report.cursor)
        self._sources.raise_watermark(target.name)
