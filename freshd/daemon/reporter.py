"""Turns what the scheduler tells into log lines and counts, and hands outcomes to whoever waits for them."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

from freshd.daemon.backlog import Backlog
from freshd.errors import FreshdError
from freshd.guard import Verdict
from freshd.logs import Event, get_logger
from freshd.metrics import Metrics
from freshd.model import Outcome, OutcomeKind, Pending, SourceName
from freshd.redaction import printable
from freshd.scheduler import Observer, Scan, Tally, Trouble

_EVENTS = {
    OutcomeKind.INDEXED: Event.DOCUMENT_INDEXED,
    OutcomeKind.TOUCHED: Event.DOCUMENT_TOUCHED,
    OutcomeKind.DELETED: Event.DOCUMENT_DELETED,
    OutcomeKind.FAILED: Event.DOCUMENT_FAILED,
}


class Reporter(Observer):
    """One daemon's voice. Safe to use from several threads."""

    def __init__(self, metrics: Metrics, backlog: Backlog, is_canary: Callable[[str, str], bool]) -> None:
        """Count into metrics and into the backlog, canaries left out; talk through freshd's logger."""
        self._is_canary = is_canary
        self._metrics = metrics
        self._backlog = backlog
        self._log = get_logger()
        self._lock = threading.Lock()
        self._tallies: list[Tally] = []
        self._failing: set[SourceName] = set()
        self._statuses: dict[str, str] = {}
        self.news = threading.Condition()
        """Notified after every batch and mark."""

    @contextmanager
    def counting(self, tally: Tally) -> Iterator[None]:
        """Count a source's outcomes into a tally meanwhile."""
        with self._lock:
            self._tallies.append(tally)
        try:
            yield
        finally:
            with self._lock:
                self._tallies = [one for one in self._tallies if one is not tally]

    def scanned(self, scan: Scan) -> None:
        """Log one line for each scan."""
        if scan.source in self._failing:
            self._failing.discard(scan.source)
            self._log.info(Event.SOURCE_RECOVERED, source=scan.source)
        speak = self._log.info if scan.changes else self._log.debug
        speak(
            Event.SOURCE_SCANNED,
            source=scan.source,
            changes=scan.changes,
            unchanged=scan.unchanged,
            is_complete=scan.report.shortfall is None,
            elapsed_s=round(scan.took.total_seconds(), 3),
        )
        if not scan.report.is_complete:
            self._log.warning(
                Event.SOURCE_FAILED,
                source=scan.source,
                error=scan.report.shortfall,
                **_known({"hint": scan.report.hint}),
            )
        if scan.report.unreadable:
            places = [printable(place) for place in scan.report.unreadable[:5]]
            self._log.warning(
                Event.SOURCE_FAILED, source=scan.source, unreadable=len(scan.report.unreadable), places=places
            )
        if scan.verdict is Verdict.HOLD:
            hint = f"freshd deletions list {scan.source}"
            facts = _known({"reason": scan.report.suspicion, "hint": hint})
            self._log.warning(Event.DELETIONS_HELD, source=scan.source, **facts)

    def scan_failed(self, source: SourceName, error: Exception, failures: int) -> None:
        """Log a source that does not answer when that begins, and now and then while it lasts."""
        self._failing.add(source)
        is_ours = isinstance(error, FreshdError)
        if failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time in a row
            self._log.warning(
                Event.SOURCE_FAILED,
                source=source,
                error=str(error) if is_ours else f"{type(error).__name__}: {error}",
                failures=failures,
                **_known({"hint": getattr(error, "hint", None), "exc_info": None if is_ours else error}),
            )

    def finished(self, outcome: Outcome, pending: Pending) -> None:
        """Count an outcome and log it: live changes as they come, first indexing only where asked for."""
        change = outcome.change
        if not self._is_canary(change.source, change.document_id):
            self._metrics.count(outcome, pending.target)
            self._log_outcome(outcome, pending)
        self._backlog.finished(change)
        with self._lock:
            for tally in self._tallies:
                if tally.source == outcome.change.source:
                    tally.add(outcome, pending)
        self._notify()

    def filled(self, outcomes: Sequence[Outcome]) -> None:
        """Count the chunks that came into another generation, and log what failed on its way there."""
        for outcome in outcomes:
            change = outcome.change
            if not self._is_canary(change.source, change.document_id):
                self._metrics.count(outcome, None)
            if outcome.kind is OutcomeKind.FAILED:
                facts = {"source": change.source, "document_id": change.document_id, "error": outcome.error}
                self._log.warning(Event.DOCUMENT_FAILED, generation="filling", **facts)
        self._notify()

    def marked(self, sources: Sequence[SourceName]) -> None:
        """Wake whoever waits."""
        self._notify()

    def troubled(self, trouble: Trouble | None) -> None:
        """Log when store or model are lost, and when they are back."""
        if trouble is None:
            self._log.info(Event.STORE_RECOVERED)
        else:
            event = Event.STORE_LOST if trouble.is_store else Event.BATCH_RETRIED
            self._log.error(event, error=str(trouble.error), **_known({"hint": trouble.error.hint}))

    def watch_changed(self, source: SourceName, degraded: str | None) -> None:
        """Log when hints may be missing; scans carry on."""
        if degraded:
            self._log.warning(Event.WATCHER_DEGRADED, source=source, reason=degraded)
        else:
            self._log.info(Event.WATCHER_RECOVERED, source=source)

    def clock_jumped(self, by: timedelta) -> None:
        """Log that somebody set the clock."""
        self._log.warning(Event.CLOCK_JUMPED, by_s=round(by.total_seconds(), 1))

    def died(self, thread: str, error: BaseException) -> None:
        """Log a fault of freshd itself."""
        self._log.error(Event.THREAD_DIED, thread=thread, exc_info=error)

    def stalled(self, thread: str) -> None:
        """Log a thread that does not go round any more."""
        self._log.error(Event.THREAD_STALLED, thread=thread, hint="restart freshd; nothing is lost by it")

    def statuses(self, statuses: Mapping[str, str]) -> None:
        """Log every source whose status became another."""
        for name, status in statuses.items():
            before = self._statuses.get(name)
            if before is not None and before != status:
                self._log.info(Event.FRESHNESS_CHANGED, source=name, before=before, now=status)
            self._statuses[name] = status

    def _log_outcome(self, outcome: Outcome, pending: Pending) -> None:
        event = _EVENTS.get(outcome.kind)
        if event is None:
            return
        change = outcome.change
        facts: dict[str, object] = {"source": change.source, "document_id": change.document_id}
        if outcome.kind is OutcomeKind.FAILED:
            self._log.warning(event, **facts, error=outcome.error, attempt=pending.attempts + 1)
            return
        if outcome.kind is OutcomeKind.INDEXED:
            fates = outcome.fates
            facts |= {"change": change.kind.value, "previous_id": change.previous_id}
            facts |= {"embedded": fates.embedded, "reused": fates.reused, "kept": fates.kept + fates.relabelled}
            facts |= {"removed": fates.removed}
        if pending.target is not None and outcome.searchable_at is not None:
            facts["lag_s"] = round((outcome.searchable_at - change.changed_at).total_seconds(), 3)
        is_quiet = pending.target is None or outcome.kind is OutcomeKind.TOUCHED
        speak = self._log.debug if is_quiet else self._log.info
        speak(event, **_known(facts))

    def _notify(self) -> None:
        with self.news:
            self.news.notify_all()


def _known(facts: Mapping[str, object]) -> dict[str, object]:
    """Leave out facts that say nothing."""
    return {key: value for key, value in facts.items() if value is not None and value != ""}
