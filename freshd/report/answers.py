"""What commands print and the endpoint answers about searches, changes, deletions and runs."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta

from freshd.config import Config
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.history import Entry, SqliteHistory
from freshd.ledger.quarantine import SqliteQuarantine
from freshd.model import DocumentId, Fates, SourceName
from freshd.payload import rfc3339
from freshd.redaction import printable
from freshd.scheduler import Tally
from freshd.search import Answer, Hit
from freshd.shapes import (
    ChangeEntry,
    ChangesAnswer,
    ChunkCounts,
    DocumentCounts,
    HeldDeletions,
    ReindexReport,
    SearchAnswer,
    SearchHit,
    SourceReindexed,
    WaitReport,
)
from freshd.state import StateDirectory


def search_answer(answer: Answer, quarantine: SqliteQuarantine) -> SearchAnswer:
    """Say what a search found, and what of it is stale because the newest state of its document is quarantined."""
    stale = quarantine.stale({(hit.citation.source, hit.citation.document_id) for hit in answer.hits})
    return {
        "query": answer.query,
        "watermark": rfc3339(answer.watermark),
        "hits": [_hit(hit, (hit.citation.source, hit.citation.document_id) in stale) for hit in answer.hits],
    }


def _hit(hit: Hit, is_stale: bool) -> SearchHit:
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
        "is_stale": is_stale,
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
    return {
        "name": tally.source,
        "documents": documents,
        "chunks": _chunks(tally.fates),
        "embedded_characters": tally.embedded_characters,
        "elapsed_seconds": round(tally.elapsed_s, 3),
        "is_available": tally.is_available,
        "errors": [
            {"error": printable(failure.error), "try": printable(failure.hint) or None} for failure in tally.errors
        ],
    }


def _chunks(fates: Fates) -> ChunkCounts:
    return {**asdict(fates)}  # type: ignore[typeddict-item]


def exit_code(report: ReindexReport) -> int:
    """Give the exit code of a run: 1 a source did not answer, 14 deletions held, 3 something unread, in this order."""
    sources = report["sources"]
    if not all(source["is_available"] for source in sources):
        return 1
    if any(source["documents"]["held"] for source in sources):
        return 14
    if any(source["documents"]["failed"] or source["errors"] for source in sources):
        return 3
    return 0


def wait_exit_code(report: WaitReport) -> int:
    """Give the exit code of a wait: 1 it did not come to its end, 14 deletions held, 3 documents unread."""
    if not report["is_done"]:
        return 1
    states = {document["state"] for document in report["documents"]}
    return 14 if "held" in states else 3 if "failed" in states else 0


def changes_answer(
    history: SqliteHistory,
    after: int,
    limit: int,
    source: SourceName | None,
    document_id: DocumentId | None,
    heard: int = 0,
) -> ChangesAnswer:
    """Say which changes were applied after a sequence number, to somebody who has heard of a gap."""
    gap_seq = history.gap_seq()
    last_seq = history.last_seq()  # before the page is read: what comes in between is told the next time
    entries = history.entries(after, limit, source, document_id)
    is_whole = after < 0 or len(entries) < limit
    # After the page is read: what is forgotten in between must show. Numbers yet to come are another ledger's.
    is_gapless = max(after, heard) <= last_seq and history.is_gapless(after, heard)
    if history.gap_seq() != gap_seq:  # among the entries may be what was forgotten meanwhile
        return changes_answer(history, after, limit, source, document_id, heard)
    return {
        "changes": [_change(entry) for entry in entries],
        "last_seq": max(last_seq, entries[-1].seq if entries else 0) if is_whole else entries[-1].seq,
        "is_gapless": is_gapless,
        "gap_seq": gap_seq,
    }


def _change(entry: Entry) -> ChangeEntry:
    return {
        "seq": entry.seq,
        "source": entry.source,
        "document_id": entry.document_id,
        "kind": entry.kind.value,
        "previous_id": entry.previous_id,
        "changed_at": rfc3339(entry.changed_at),
        "searchable_at": rfc3339(entry.searchable_at),
        "lag_seconds": None if entry.lag_s is None else round(entry.lag_s, 3),
        "chunks": _chunks(entry.fates),
        "embedded_characters": entry.embedded_characters,
    }


def stored_changes(
    config: Config,
    after: int,
    limit: int,
    source: SourceName | None = None,
    document_id: DocumentId | None = None,
) -> ChangesAnswer:
    """Say it from what the ledger holds, while no daemon runs."""
    state = StateDirectory(config.state_dir)
    if not (state.ledger_path.exists() or state.holds_index):
        return {"changes": [], "last_seq": 0, "is_gapless": True, "gap_seq": 0}
    with closing(Database(state.ledger_path, may_create=not state.holds_index)) as database:
        return changes_answer(SqliteHistory(database), after, limit, source, document_id)
