"""How fresh everything is known to be: what `status` and `verify` tell, and `/status` answers."""

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


class QuarantinedDocument(TypedDict):
    """A document that could not be read or indexed, and why; what the index held of it before stays, marked stale.

    `next_try_at` is when it is tried again, unless it changes or is asked for before; None when that is now.
    """

    document_id: str
    error: str
    attempts: int
    next_try_at: str | None
    is_indexed: bool
    """An older state of it is searchable."""


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
    quarantine: list[QuarantinedDocument]
    """The newest 20 of them."""
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


class DivergentPoint(TypedDict):
    """A point that is not what the ledger says; `what` says in which it differs, and why it could not be mended."""

    kind: Literal["missing", "orphaned", "damaged"]
    chunk_id: str
    source: str
    document_id: str
    what: str


class VerifyReport(TypedDict):
    """The ledger held against the store, point by point; `checked_at` is when it began, None where it never was.

    Missing: the ledger holds it, the store does not. Orphaned: the reverse. Damaged: it says something else.
    Of these, `repaired` are as the ledger says again, and `held` are orphans that the guard does not let go.
    Foreign: freshd never wrote it, and never touches it. `examples` names the first points that differ still.
    What is remembered of the last run counts what differed still after it, and names none.
    """

    checked_at: str | None
    checked: int
    missing: int
    orphaned: int
    damaged: int
    repaired: int
    held: int
    foreign: int
    elapsed_seconds: float
    examples: list[DivergentPoint]


class Indexing(TypedDict):
    """What is being worked off now, in documents; the newest finished one, and about how long the rest will take."""

    source: str
    document_id: str | None
    done: int
    total: int
    eta_seconds: float | None


class RemovedSource(TypedDict):
    """A source that left the config: out of search, and kept until `pruned_at` in case it comes back.

    Both instants are None where freshd did not run since.
    """

    name: str
    documents: int
    chunks: int
    removed_at: str | None
    pruned_at: str | None


class FillingGeneration(TypedDict):
    """An index that another model or recipe makes, beside the one that is searched.

    Of so many documents, how many stand in it; about how long the rest takes; how many were put off since they failed,
    and why one did, or why nothing goes on.
    """

    name: str
    documents: int
    of: int
    eta_seconds: float | None
    failed: int
    error: str | None


class RetiredGeneration(TypedDict):
    """The index that was searched before, kept until an instant in case somebody goes back to it."""

    name: str
    until: str


class GenerationStatus(TypedDict):
    """Which index is searched, None before the first one; and what stands beside it."""

    live: str | None
    filling: FillingGeneration | None
    retired: RetiredGeneration | None


class StatusReport(TypedDict):
    """Every source, and the worst of them; `daemon` is its process id, None when none runs.

    `at` is the instant all of it was computed for. `config_error` says why a running daemon refused the config that it
    was told to read again, and goes on under the one before; None where it did not.
    """

    status: Literal["pass", "warn", "error", "unknown"]
    version: str
    at: str
    daemon: int | None
    config_error: str | None
    store: StoreStatus
    generation: GenerationStatus
    verify: VerifyReport
    indexing: Indexing | None
    sources: list[SourceStatus]
    removed: list[RemovedSource]
