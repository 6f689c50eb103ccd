"""The outside contract as types: what `--json` prints and the endpoint answers, key by key.

Instants are RFC 3339 in UTC, durations seconds, lines 1-based and inclusive; a key is always there, None when unknown.
Fields may be added; none changes its meaning.
"""

from typing import Literal

from typing_extensions import TypedDict  # typing's own is refused by pydantic before Python 3.12


class Percentiles(TypedDict):
    """Of lags in seconds over the objective's window; None while there were none."""

    p50: float | None
    p99: float | None


class SourceStatus(TypedDict):
    """How fresh one source is known to be; `watermark` and everything derived from it is by freshd's clock."""

    name: str
    type: str
    status: Literal["pass", "warn", "error", "unknown"]
    documents: int
    chunks: int
    pending: int
    held: int
    quarantined: int
    watermark: str | None
    staleness_seconds: float | None
    freshness_target_seconds: float
    objective: float
    error_budget_remaining: float | None
    lag_seconds: Percentiles
    time_to_forget_seconds: Percentiles
    last_scan_at: str | None
    last_complete_scan_at: str | None
    next_scan_at: str | None
    scan_interval_seconds: float | None
    watch: str | None
    """`watching`, `not watched`, or why hints may be missing; None while no daemon runs."""
    last_error: str | None


class StoreStatus(TypedDict):
    """Where points live, and whether it answers; `error` is None while it does."""

    kind: Literal["embedded", "server"]
    collection: str
    error: str | None


class StatusReport(TypedDict):
    """Every source, and the worst of them; `daemon` is its process id, None when none runs."""

    status: Literal["pass", "warn", "error", "unknown"]
    version: str
    daemon: int | None
    store: StoreStatus
    sources: list[SourceStatus]


class SearchHit(TypedDict):
    """One passage, where it stands, and how fresh its source is known to be."""

    text: str
    score: float
    source: str
    document_id: str
    uri: str
    title: str | None
    heading_path: list[str]
    start_line: int
    end_line: int
    source_modified_at: str | None
    indexed_at: str | None
    watermark: str | None


class SearchAnswer(TypedDict):
    """Hits, best first; `watermark` is the lowest among the sources asked, None if one of them is unknown."""

    query: str
    watermark: str | None
    hits: list[SearchHit]


class DocumentCounts(TypedDict):
    """Documents by what became of them."""

    added: int
    modified: int
    moved: int
    deleted: int
    touched: int
    unchanged: int
    failed: int
    held: int


class ChunkCounts(TypedDict):
    """Chunks by fate."""

    embedded: int
    reused: int
    relabelled: int
    kept: int
    removed: int


class SourceReindexed(TypedDict):
    """What one run did to one source; `errors` has a line for each document or source that could not be read."""

    name: str
    documents: DocumentCounts
    chunks: ChunkCounts
    embedded_characters: int
    elapsed_seconds: float
    is_available: bool
    errors: list[str]


class ReindexReport(TypedDict):
    """What one run did; with `dry_run`, what it would do, and how long embedding would take here."""

    sources: list[SourceReindexed]
    dry_run: bool
    estimated_seconds: float | None


class DocumentWaited(TypedDict):
    """Where one document stands: `searchable` as it is now, `absent` from source and index, or what is in the way."""

    source: str
    document_id: str
    state: Literal["searchable", "absent", "failed", "held", "pending"]
    error: str | None


class WaitReport(TypedDict):
    """Whether all that was waited for is searchable; `documents` is empty when everything was waited for."""

    is_done: bool
    documents: list[DocumentWaited]


class JobReport(TypedDict):
    """Work the daemon was asked for; `result` is a ReindexReport or a WaitReport once `state` is `done`."""

    job: str
    state: Literal["running", "done", "failed"]
    done: int
    total: int
    eta_seconds: float | None
    result: ReindexReport | WaitReport | None
    error: str | None
    hint: str | None
    exit_code: int | None


class HeldDeletions(TypedDict):
    """Documents of a source whose deletion waits for a person; after a verdict, those it was about."""

    source: str
    documents: list[str]
    verdict: Literal["held", "approved", "rejected"]
