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


class Counted(TypedDict):
    """Changes of the objective's window: finished ones within the target, and all, those pending past it among them."""

    within_target: int
    total: int


class CanaryStatus(TypedDict):
    """What the last round of a canary saw, in seconds: written to found, edited to found anew, deleted to gone.

    `error` says why the round did not come to its end; None when it did.
    """

    document_id: str
    checked_at: str | None
    succeeded_at: str | None
    found_seconds: float | None
    edited_seconds: float | None
    gone_seconds: float | None
    error: str | None


class SourceStatus(TypedDict):
    """How fresh one source is known to be; `watermark` and everything derived from it is by freshd's clock.

    `reasons` says in a line each why `status` is not `pass`, worst first; empty when it is.
    A burn rate of 1 spends the error budget exactly in its window; None where nothing changed.
    """

    name: str
    type: str
    status: Literal["pass", "warn", "error", "unknown"]
    reasons: list[str]
    documents: int
    chunks: int
    pending: int
    late: int
    """Pending ones that are past the target already."""
    held: int
    quarantined: int
    divergent: int
    """Points in which the last verify found store and ledger to differ."""
    watermark: str | None
    staleness_seconds: float | None
    freshness_target_seconds: float
    oldest_pending_at: str | None
    objective: float
    objective_window_seconds: float
    changes: Counted
    error_budget_remaining: float | None
    burn_rate_1h: float | None
    burn_rate_6h: float | None
    lag_seconds: Percentiles
    time_to_forget_seconds: Percentiles
    failing_since: str | None
    overdue_since: str | None
    """Since when a source on the network is silent for longer than its own habit; None while it is not."""
    canary: CanaryStatus | None
    last_scan_at: str | None
    last_complete_scan_at: str | None
    next_scan_at: str | None
    scan_interval_seconds: float | None
    watch: str | None
    """`watching`, `not watched`, or why hints may be missing; None while no daemon runs."""
    is_watch_degraded: bool
    last_error: str | None


class StoreStatus(TypedDict):
    """Where points live, and whether it answers; `error` is None while it does."""

    kind: Literal["embedded", "server"]
    collection: str
    error: str | None


class VerifyReport(TypedDict):
    """The ledger held against the store, point by point; `checked_at` is when it began, None where it never was.

    Missing: the ledger holds it, the store does not. Orphaned: the reverse. Damaged: it says something else.
    """

    checked_at: str | None
    checked: int
    missing: int
    orphaned: int
    damaged: int
    repaired: int
    elapsed_seconds: float


class Indexing(TypedDict):
    """What is being worked off now, in documents; the newest finished one, and about how long the rest will take."""

    source: str
    document_id: str | None
    done: int
    total: int
    eta_seconds: float | None


class StatusReport(TypedDict):
    """Every source, and the worst of them; `daemon` is its process id, None when none runs.

    `at` is the instant all of it was computed for.
    """

    status: Literal["pass", "warn", "error", "unknown"]
    version: str
    at: str
    daemon: int | None
    store: StoreStatus
    verify: VerifyReport
    indexing: Indexing | None
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


Unread = TypedDict("Unread", {"error": str, "try": str | None})
"""A document, a place or a source that could not be read; `try` is None when nothing but waiting mends that."""


class SourceReindexed(TypedDict):
    """What one run did to one source, each document counted once; `errors` says what could not be read.

    Documents that fail right now are `failed`, whether this run tried them or not.
    """

    name: str
    documents: DocumentCounts
    chunks: ChunkCounts
    embedded_characters: int
    elapsed_seconds: float
    is_available: bool
    errors: list[Unread]


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
    """Whether the waiting came to its end: documents are searchable, or of everything nothing is pending any more.

    When everything was waited for, `documents` has only those that fail or are held.
    """

    is_done: bool
    documents: list[DocumentWaited]


class ChangeEntry(TypedDict):
    """One applied change and what it cost; `seq` rises with every change, `lag_seconds` is None for a first index."""

    seq: int
    source: str
    document_id: str
    kind: Literal["added", "modified", "moved", "deleted"]
    previous_id: str | None
    changed_at: str
    searchable_at: str | None
    lag_seconds: float | None
    chunks: ChunkCounts
    embedded_characters: int


class ChangesAnswer(TypedDict):
    """Applied changes after a sequence number, oldest first; ask again after `last_seq` for what follows.

    `is_gapless` is False where some of what followed the number asked for was forgotten meanwhile:
    then whoever keeps copies should let go of all of them.
    """

    changes: list[ChangeEntry]
    last_seq: int
    is_gapless: bool


class Dashboard(TypedDict):
    """What the page at `/` shows.

    `trails` has for each source where its watermark stood: pairs of seconds since 1970, at which instant
    it rose and to which, rising, over the last hours. `newest` has the newest changes, newest first.
    """

    status: StatusReport
    trails: dict[str, list[tuple[float, float]]]
    newest: list[ChangeEntry]


class JobReport(TypedDict):
    """Work the daemon was asked for; `result` is the report of its kind once `state` is `done`."""

    job: str
    state: Literal["running", "done", "failed"]
    done: int
    total: int
    eta_seconds: float | None
    result: ReindexReport | WaitReport | VerifyReport | None
    error: str | None
    hint: str | None
    exit_code: int | None


class HeldDeletions(TypedDict):
    """Documents of a source whose deletion waits for a person; after a verdict, those it was about."""

    source: str
    documents: list[str]
    verdict: Literal["held", "approved", "rejected"]
