"""What commands print and the endpoint answers: nouns into the shapes of the outside contract."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from freshd import __version__
from freshd.clock import SystemClock
from freshd.config import Config, SourceConfig
from freshd.freshness import Status, Vitals, budget_remaining, overall, percentile, staleness, status, watermark
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.history import Lags, SqliteHistory
from freshd.ledger.sources import SqliteSources
from freshd.model import SourceName
from freshd.payload import rfc3339
from freshd.ports import SourceState
from freshd.redaction import printable
from freshd.scheduler import Tally, Vital
from freshd.search import Answer, Hit
from freshd.shapes import (
    ChunkCounts,
    DocumentCounts,
    HeldDeletions,
    Percentiles,
    ReindexReport,
    SearchAnswer,
    SearchHit,
    SourceReindexed,
    SourceStatus,
    StatusReport,
    StoreStatus,
)
from freshd.state import StateDirectory


@dataclass(frozen=True, slots=True)
class SourceView:
    """What is known of one source.

    Attributes:
        lags: Of its finished changes over the objective's window.
        vital: How a running daemon keeps it up; None without one.

    """

    config: SourceConfig
    state: SourceState
    lags: Lags
    vital: Vital | None = None


def status_report(
    config: Config,
    views: Sequence[SourceView],
    now: datetime,
    *,
    daemon: int | None = None,
    store_error: str | None = None,
    store_down_since: datetime | None = None,
) -> StatusReport:
    """Say how fresh each source is known to be, and the worst of it."""
    sources = [_source_status(view, now, store_down_since) for view in views]
    kind: StoreStatus = {
        "kind": "server" if config.store.url else "embedded",
        "collection": config.store.collection,
        "error": None if store_error is None else printable(store_error),
    }
    worst = overall([Status(source["status"]) for source in sources])
    return {"status": worst.value, "version": __version__, "daemon": daemon, "store": kind, "sources": sources}


def stored_status(config: Config) -> StatusReport:
    """Say it from what the ledger holds, while no daemon runs; touches nothing that somebody else may hold."""
    path, now = StateDirectory(config.state_dir).ledger_path, SystemClock().now()
    if not path.exists():
        blank = Lags((), (), 0, 0)
        return status_report(config, [SourceView(one, SourceState(one.name), blank) for one in config.sources], now)
    with closing(Database(path)) as database:
        sources, history = SqliteSources(database), SqliteHistory(database)
        views = [
            SourceView(one, sources.state(one.name), history.lags(one.name, now - one.objective_window))
            for one in config.sources
        ]
        return status_report(config, views, now)


def _source_status(view: SourceView, now: datetime, store_down_since: datetime | None) -> SourceStatus:
    source, state, vital = view.config, view.state, view.vital
    mark = watermark(state.listed_through, state.oldest_unapplied_at, state.watermark)
    stale = staleness(now, mark)
    budget = budget_remaining(view.lags.within_target, view.lags.total, source.objective)
    down_since = min(filter(None, (state.failing_since, store_down_since)), default=None)
    is_degraded = vital is not None and vital.watch not in ("watching", "not watched")
    judged = status(
        Vitals(
            stale,
            source.freshness_target,
            budget,
            None if down_since is None else now - down_since,
            state.held + state.quarantined + is_degraded,
        )
    )
    return {
        "name": source.name,
        "type": source.type,
        "status": judged.value,
        "documents": state.documents,
        "chunks": state.chunks,
        "pending": state.pending,
        "held": state.held,
        "quarantined": state.quarantined,
        "watermark": rfc3339(mark),
        "staleness_seconds": None if stale is None else round(stale.total_seconds(), 3),
        "freshness_target_seconds": source.freshness_target.total_seconds(),
        "objective": source.objective,
        "error_budget_remaining": None if budget is None else round(budget, 6),
        "lag_seconds": _percentiles(view.lags.changes_s),
        "time_to_forget_seconds": _percentiles(view.lags.deletions_s),
        "last_scan_at": rfc3339(state.last_scan_at),
        "last_complete_scan_at": rfc3339(state.last_complete_scan_at),
        "next_scan_at": rfc3339(vital.next_scan_at) if vital else None,
        "scan_interval_seconds": vital.interval.total_seconds() if vital else None,
        "watch": printable(vital.watch) if vital else None,
        "last_error": printable(error) if (error := state.last_error or (vital and vital.shortfall)) else None,
    }


def _percentiles(lags_s: Sequence[float]) -> Percentiles:
    p50, p99 = percentile(lags_s, 0.5), percentile(lags_s, 0.99)
    return {"p50": None if p50 is None else round(p50, 3), "p99": None if p99 is None else round(p99, 3)}


def search_answer(answer: Answer) -> SearchAnswer:
    """Say what a search found."""
    return {"query": answer.query, "watermark": rfc3339(answer.watermark), "hits": [_hit(hit) for hit in answer.hits]}


def _hit(hit: Hit) -> SearchHit:
    cited = hit.citation
    return {
        "text": cited.text,
        "score": hit.score,
        "source": cited.source,
        "document_id": cited.document_id,
        "uri": cited.uri,
        "title": cited.title,
        "heading_path": list(cited.heading_path),
        "start_line": cited.start_line,
        "end_line": cited.end_line,
        "source_modified_at": rfc3339(cited.modified_at),
        "indexed_at": rfc3339(cited.indexed_at),
        "watermark": rfc3339(hit.watermark),
    }


def judge_deletions(ledger: SqliteLedger, source: SourceName, approve: bool | None) -> HeldDeletions:
    """Say which deletions of a source are held, and do with them what a person decided, if anything."""
    documents: list[str] = [*ledger.held(source)]
    if approve is None:
        return {"source": source, "documents": documents, "verdict": "held"}
    if approve:
        ledger.approve(source)
    else:
        ledger.reject(source)
    return {"source": source, "documents": documents, "verdict": "approved" if approve else "rejected"}


def reindex_report(tallies: Sequence[Tally], estimate: timedelta | None = None) -> ReindexReport:
    """Say what a run did; with an estimate, what it would do."""
    return {
        "sources": [_reindexed(tally) for tally in tallies],
        "dry_run": estimate is not None,
        "estimated_seconds": None if estimate is None else round(estimate.total_seconds(), 1),
    }


def _reindexed(tally: Tally) -> SourceReindexed:
    counts = tally.documents
    documents: DocumentCounts = {
        "added": counts["added"],
        "modified": counts["modified"],
        "moved": counts["moved"],
        "deleted": counts["deleted"],
        "touched": counts["touched"],
        "unchanged": counts["unchanged"],
        "failed": counts["failed"],
        "held": counts["held"],
    }
    chunks: ChunkCounts = {**asdict(tally.fates)}  # type: ignore[typeddict-item]
    return {
        "name": tally.source,
        "documents": documents,
        "chunks": chunks,
        "embedded_characters": tally.embedded_characters,
        "elapsed_seconds": round(tally.elapsed_s, 3),
        "is_available": tally.is_available,
        "errors": [printable(line) for line in tally.errors],
    }


def exit_code(report: ReindexReport) -> int:
    """Give the exit code of a run: 1 a source did not answer, 14 deletions held, 3 documents unread, in this order."""
    sources = report["sources"]
    if not all(source["is_available"] for source in sources):
        return 1
    if any(source["documents"]["held"] for source in sources):
        return 14
    if any(source["documents"]["failed"] for source in sources):
        return 3
    return 0
