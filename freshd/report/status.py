"""How fresh each source is known to be: one computation behind `/status`, the page, the metrics and the commands."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from freshd import __version__
from freshd.clock import SystemClock
from freshd.config import Config, SourceConfig
from freshd.freshness import (
    Status,
    Tried,
    Vitals,
    budget_remaining,
    burn_rate,
    judge,
    overall,
    overdue_since,
    percentile,
    staleness,
)
from freshd.generations import Filling
from freshd.ledger.database import Database
from freshd.ledger.history import Lags, SqliteHistory
from freshd.ledger.quarantine import SqliteQuarantine
from freshd.ledger.sources import SqliteSources
from freshd.model import SourceName
from freshd.payload import rfc3339
from freshd.ports import SourceState
from freshd.redaction import printable
from freshd.report.generations import generation_status
from freshd.report.removed import removed_sources
from freshd.report.verified import LastVerify, recall_verify
from freshd.scheduler import Vital
from freshd.scheduler.tally import why
from freshd.shapes import (
    CanaryStatus,
    GenerationStatus,
    Indexing,
    Percentiles,
    QuarantinedDocument,
    RemovedSource,
    SourceStatus,
    StatusReport,
    StoreStatus,
)
from freshd.state import StateDirectory

_ARRIVALS = 50
"""Newest arrivals that a source's habit is learned from."""

_QUARANTINED = 20
"""Quarantined documents that are named, of each source."""


@dataclass(frozen=True, slots=True)
class Running:
    """What only a running daemon knows.

    Attributes:
        pid: Its process id.
        states: What the ledger remembers of each source, read for this report.
        vitals: How each source is kept up.
        canaries: What the last round of each canary saw.
        indexing: What is being worked off; None when nothing is.
        filling: How the generation beside the live one is filled.
        store_error: Why the store or the model does not answer; None while both do.
        store_down_since: Since when.
        is_stalled: The daemon does not do its rounds any more.
        config_error: Why it refused the newest config; None while it did not.

    """

    pid: int
    states: Mapping[SourceName, SourceState]
    vitals: Mapping[SourceName, Vital]
    canaries: Mapping[str, CanaryStatus] = field(default_factory=dict)
    indexing: Indexing | None = None
    filling: Filling | None = None
    store_error: str | None = None
    store_down_since: datetime | None = None
    is_stalled: bool = False
    config_error: str | None = None


def status_report(config: Config, database: Database, now: datetime, running: Running | None = None) -> StatusReport:
    """Say how fresh each source is known to be, and the worst of it: the one computation behind every page and number.

    Args:
        config: Which sources there are.
        database: The open ledger.
        now: The instant all of it is computed for.
        running: What a daemon adds; None while none runs.

    """
    verified = recall_verify(database)
    sources = [_source_status(source, database, now, running, verified) for source in config.sources]
    removed = removed_sources(database, [SourceName(source.name) for source in config.sources])
    generation = generation_status(config, database, running.filling if running else None)
    return _status_report(config, sources, removed, generation, now, running, verified)


def stored_status(config: Config) -> StatusReport:
    """Say it from what the ledger holds, while no daemon runs; touches nothing that somebody else may hold."""
    state, now = StateDirectory(config.state_dir), SystemClock().now()
    if state.ledger_path.exists() or state.holds_index:
        with closing(Database(state.ledger_path, may_create=not state.holds_index)) as database:
            return status_report(config, database, now)
    with TemporaryDirectory() as folder, closing(Database(Path(folder, "ledger.db"))) as blank:
        return status_report(config, blank, now)


def _status_report(
    config: Config,
    sources: list[SourceStatus],
    removed: list[RemovedSource],
    generation: GenerationStatus,
    now: datetime,
    running: Running | None,
    verified: LastVerify,
) -> StatusReport:
    error = running.store_error if running else None
    store: StoreStatus = {
        "kind": "server" if config.store.url else "embedded",
        "collection": config.store.collection,
        "error": None if error is None else printable(error),
    }
    return {
        "status": overall([Status(source["status"]) for source in sources]).value,
        "version": __version__,
        "at": rfc3339(now),
        "daemon": running.pid if running else None,
        "config_error": printable(running.config_error) if running and running.config_error else None,
        "store": store,
        "generation": generation,
        "verify": verified.report,
        "indexing": running.indexing if running else None,
        "sources": sources,
        "removed": removed,
    }


@dataclass(frozen=True, slots=True)
class _Measured:
    """What follows from the instants of one source."""

    mark: datetime | None
    stale: timedelta | None
    late: int
    tried: Tried
    lags: Lags
    burnt_1h: float | None
    burnt_6h: float | None
    budget: float | None
    overdue: datetime | None


def _measure(
    source: SourceConfig, state: SourceState, database: Database, now: datetime, vital: Vital | None
) -> _Measured:
    name, history = state.name, SqliteHistory(database)
    late = SqliteSources(database).late(name, now)
    own = history.canaries(name) | ({source.canary_path} if source.canary_path else set())

    def tried(window: timedelta) -> Tried:
        return history.tried(name, now - window, without=own).with_late(late)

    unproved_for = vital.unproved_for if vital else timedelta(0)
    mark, whole = state.watermark_at(now, unproved_for), tried(source.objective_window)
    overdue = overdue_since(history.arrivals(name, _ARRIVALS)) if vital and vital.is_remote else None
    return _Measured(
        mark=mark,
        stale=staleness(now, mark, unproved_for),
        late=late,
        tried=whole,
        lags=history.lags(name, now - source.objective_window, without=own),
        burnt_1h=burn_rate(tried(timedelta(hours=1)), source.objective),
        burnt_6h=burn_rate(tried(timedelta(hours=6)), source.objective),
        budget=budget_remaining(whole, source.objective),
        overdue=overdue if overdue and overdue <= now else None,
    )


def _source_status(
    source: SourceConfig, database: Database, now: datetime, running: Running | None, verified: LastVerify
) -> SourceStatus:
    name = SourceName(source.name)
    state = running.states[name] if running else SqliteSources(database).state(name)
    vital = running.vitals.get(name) if running else None
    canary = running.canaries.get(name) if running else None
    seen = _measure(source, state, database, now, vital)
    divergent = verified.divergent.get(name, 0)
    downs = (state.failing_since, running.store_down_since if running else None)
    down_since = min((since for since in downs if since is not None), default=None)
    judged = judge(
        Vitals(
            seen.stale,
            source.freshness_target,
            seen.budget,
            None if down_since is None else now - down_since,
            divergent,
            tuple(_troubles(state, running, seen.overdue)),
        )
    )
    error = state.last_error or (vital and vital.shortfall)
    return {
        "name": source.name,
        "type": source.type,
        "status": judged.status.value,
        "reasons": [printable(reason) for reason in judged.reasons],
        "documents": state.documents,
        "chunks": state.chunks,
        "pending": state.pending,
        "late": seen.late,
        "held": state.held,
        "quarantined": state.quarantined,
        "quarantine": _quarantine(state, database),
        "divergent": divergent,
        "watermark": rfc3339(seen.mark),
        "staleness_seconds": _rounded(seen.stale.total_seconds() if seen.stale is not None else None, 3),
        "freshness_target_seconds": source.freshness_target.total_seconds(),
        "oldest_pending_at": rfc3339(state.oldest_unapplied_at),
        "objective": source.objective,
        "objective_window_seconds": source.objective_window.total_seconds(),
        "changes": {"within_target": seen.tried.within, "total": seen.tried.total},
        "error_budget_remaining": _rounded(seen.budget, 6),
        "burn_rate_1h": _rounded(seen.burnt_1h, 3),
        "burn_rate_6h": _rounded(seen.burnt_6h, 3),
        "lag_seconds": _percentiles(seen.lags.changes_s),
        "time_to_forget_seconds": _percentiles(seen.lags.deletions_s),
        "failing_since": rfc3339(state.failing_since),
        "overdue_since": rfc3339(seen.overdue),
        "canary": canary,
        "last_scan_at": rfc3339(state.last_scan_at),
        "last_complete_scan_at": rfc3339(state.last_complete_scan_at),
        "next_scan_at": rfc3339(vital.next_scan_at) if vital else None,
        "scan_interval_seconds": vital.interval.total_seconds() if vital else None,
        "watch": printable(vital.watch) if vital else None,
        "is_watch_degraded": vital is not None and vital.is_degraded,
        "last_error": printable(error) if error else None,
    }


def _quarantine(state: SourceState, database: Database) -> list[QuarantinedDocument]:
    """Say which documents are quarantined, and why."""
    found = SqliteQuarantine(database).of(state.name, _QUARANTINED) if state.quarantined else []
    return [
        {
            "document_id": one.document_id,
            "error": printable(why(one.document_id, one.error)),
            "attempts": one.attempts,
            "next_try_at": rfc3339(one.next_try_at),
            "is_indexed": one.is_applied,
        }
        for one in found
    ]


def _troubles(state: SourceState, running: Running | None, overdue: datetime | None) -> Iterator[str]:
    """Say what makes a warning, a line each, with the command that mends it where there is one."""
    if state.last_error and state.failing_since is None:
        yield f"not all of it can be looked at: {state.last_error}"
    if state.held:
        yield f"{state.held:,} deletions are held: freshd deletions list {state.name}"
    if state.quarantined:
        documents = "1 document" if state.quarantined == 1 else f"{state.quarantined:,} documents"
        yield f"{documents} could not be read or indexed; what the index held of them before stays"
    if overdue is not None:
        yield f"silent for longer than its habit since {rfc3339(overdue)}"
    if running is None:
        return
    vital, canary = running.vitals[state.name], running.canaries.get(state.name)
    if vital.is_degraded:
        yield f"changes are found by scans only: {vital.watch}"
    if canary is not None and canary["error"]:
        yield f"canary: {canary['error']}"
    if running.is_stalled:
        yield "the daemon does not do its rounds any more: restart it"


def _percentiles(lags_s: Sequence[float]) -> Percentiles:
    return {"p50": _rounded(percentile(lags_s, 0.5), 3), "p99": _rounded(percentile(lags_s, 0.99), 3)}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
