"""What Prometheus reads: base units, instants instead of ages, no document ids.

An exported age freezes at its last good value when a loop hangs; an instant goes on ageing.
Counters and histograms are counted as things happen, gauges are read from the facts at every scrape.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from freshd import __version__
from freshd.model import ChangeKind, Outcome, OutcomeKind, SourceName
from freshd.shapes import SourceStatus, StatusReport, VerifyReport

# A second series for each counter, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

_LAG_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400)


@dataclass(frozen=True, slots=True)
class Facts:
    """What all gauges are read from.

    Attributes:
        status: As `/status` answers it at this moment, so that the two never tell two stories.
        heartbeat_at: Every thread the daemon lives by was seen alive.
        is_store_up: Open, and answering.
        free_bytes: Where the state directory lies.
        reserve_bytes: Free bytes below which nothing is written.
        proofs: Changes that were read back, by source and by what became of that.
        update_cycles_s: Wall seconds that each approach took to follow a change, in the last comparison.

    """

    status: StatusReport
    heartbeat_at: datetime
    is_store_up: bool
    free_bytes: int
    reserve_bytes: int
    proofs: Mapping[tuple[SourceName, str], int] = field(default_factory=dict)
    update_cycles_s: Mapping[str, float] = field(default_factory=dict)


class Metrics:
    """Every metric of one daemon, in a registry of its own. Safe to use from several threads."""

    def __init__(self, sources: Sequence[SourceName], facts: Callable[[], Facts]) -> None:
        """Begin at zero, with every source there from the start: a counter that appears later hides its first step.

        Args:
            sources: The configured ones.
            facts: Asked at every scrape; must be quick.

        """
        self._registry = CollectorRegistry()
        self._lag_s = self._histogram("freshd_change_lag_seconds", "From a change at its source to searchable.")
        self._forget_s = self._histogram("freshd_deletion_lag_seconds", "From a deletion at its source to not found.")
        self._within = self._counter("freshd_changes_within_target", "Changes searchable within the target.")
        self._changes = self._counter("freshd_changes", "Changes applied, first index left out.", "kind")
        self._chunks = self._counter("freshd_chunks", "Chunks by fate, first index included.", "fate")
        self._failures = self._counter("freshd_document_failures", "Attempts at a document that failed.")
        self._distrusted = self._counter("freshd_clock_distrusted", "Change instants of a source not believed.")
        for name in sources:
            for unlabelled in (self._lag_s, self._forget_s, self._within, self._failures, self._distrusted):
                unlabelled.labels(name)
            for kind in ChangeKind:
                self._changes.labels(name, kind.value)
            for fate in ("embedded", "reused", "relabelled", "kept", "removed"):
                self._chunks.labels(name, fate)
        self._registry.register(_Gauges(facts))

    def count(self, outcome: Outcome, target: timedelta | None) -> None:
        """Count what became of a change; the target is None for backfill, which makes no lag."""
        change, source = outcome.change, outcome.change.source
        for fate, n in asdict(outcome.fates).items():
            self._chunks.labels(source, fate).inc(n)
        if outcome.kind is OutcomeKind.FAILED:
            self._failures.labels(source).inc()
        if outcome.kind not in (OutcomeKind.INDEXED, OutcomeKind.DELETED) or target is None:
            return
        if change.is_clamped:
            self._distrusted.labels(source).inc()
        lag = None if outcome.searchable_at is None else outcome.searchable_at - change.changed_at
        if lag is not None and lag >= timedelta(0):  # else the clock was set back in between, and nobody knows
            self._changes.labels(source, change.kind.value).inc()
            histogram = self._forget_s if change.kind is ChangeKind.DELETED else self._lag_s
            histogram.labels(source).observe(lag.total_seconds())
            self._within.labels(source).inc(lag <= target)

    def text(self) -> bytes:
        """Give everything in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, words: str) -> Histogram:
        return Histogram(name, words, ["source"], buckets=_LAG_BUCKETS_S, registry=self._registry)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, ["source", *labels], registry=self._registry)


class _Gauges(Collector):
    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts

    def describe(self) -> Iterator[Metric]:
        """Name nothing ahead: the facts may not be there yet when this is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        facts = self._facts()
        yield _gauge("freshd_build_info", "Which freshd runs.", {"version": __version__}, 1)
        heartbeat_s = facts.heartbeat_at.timestamp()
        yield _gauge("freshd_scheduler_heartbeat_timestamp_seconds", "Last seen alive.", {}, heartbeat_s)
        yield _gauge("freshd_store_up", "Whether the store answers.", {}, facts.is_store_up)
        is_good = facts.status["config_error"] is None
        yield _gauge("freshd_config_last_reload_successful", "Whether the config is good.", {}, is_good)
        yield _gauge("freshd_state_free_bytes", "Free where the state directory lies.", {}, facts.free_bytes)
        yield _gauge("freshd_state_reserve_bytes", "Nothing is written with less free.", {}, facts.reserve_bytes)
        yield from _proofs(facts)
        yield _update_cycles(facts.update_cycles_s)
        yield _generation_gauge(facts.status)
        yield from _verify_gauges(facts.status["verify"])
        yield from _source_gauges(facts.status["sources"])
        yield from _canary_gauges(facts.status["sources"])


_SOURCE_GAUGES: list[tuple[str, str, Callable[[SourceStatus], float | str | None]]] = [
    (
        "freshd_source_watermark_timestamp_seconds",
        "The index holds every change up to here; absent while unknown.",
        lambda source: source["watermark"],
    ),
    (
        "freshd_source_oldest_pending_timestamp_seconds",
        "Oldest change not applied; absent without one.",
        lambda source: source["oldest_pending_at"],
    ),
    (
        "freshd_source_last_success_timestamp_seconds",
        "Start of the last complete listing; absent before the first.",
        lambda source: source["last_complete_scan_at"],
    ),
    ("freshd_source_up", "Whether the source answers.", lambda source: source["failing_since"] is None),
    (
        "freshd_source_freshness_target_seconds",
        "Within which a change should be searchable.",
        lambda source: source["freshness_target_seconds"],
    ),
    ("freshd_source_objective_ratio", "Share that should be.", lambda source: source["objective"]),
    (
        "freshd_source_error_budget_remaining_ratio",
        "Share of the objective's error budget that is left; absent where nothing changed.",
        lambda source: source["error_budget_remaining"],
    ),
    (
        "freshd_source_overdue",
        "Whether the source is silent for longer than its habit.",
        lambda source: source["overdue_since"] is not None,
    ),
    ("freshd_documents", "Documents in the index.", lambda source: source["documents"]),
    ("freshd_pending_documents", "Changes not applied yet.", lambda source: source["pending"]),
    ("freshd_late_documents", "Changes not applied within the target yet.", lambda source: source["late"]),
    ("freshd_deletions_held", "Deletions that wait for a person.", lambda source: source["held"]),
    ("freshd_quarantined_documents", "Documents that failed repeatedly.", lambda source: source["quarantined"]),
    ("freshd_watcher_degraded", "Whether the watch may miss hints.", lambda source: source["is_watch_degraded"]),
]


def _source_gauges(sources: Sequence[SourceStatus]) -> Iterator[Metric]:
    for name, words, value_of in _SOURCE_GAUGES:
        family = GaugeMetricFamily(name, words, labels=["source"])
        for source in sources:
            value = value_of(source)
            if value is not None:
                family.add_metric([source["name"]], _s(value) if isinstance(value, str) else float(value))
        yield family


def _proofs(facts: Facts) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "freshd_proofs", "Changes read back the way a search does, by what became of it.", labels=["source", "result"]
    )
    for source in facts.status["sources"]:
        for result in ("found", "missing", "orphaned", "hidden"):
            family.add_metric([source["name"], result], facts.proofs.get((SourceName(source["name"]), result), 0))
    yield family


def _update_cycles(cycles_s: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(
        "freshd_update_cycle_seconds", "To follow a change, as the last comparison measured it.", labels=["approach"]
    )
    for approach, seconds in sorted(cycles_s.items()):
        family.add_metric([approach], seconds)
    return family


def _generation_gauge(status: StatusReport) -> Metric:
    family = GaugeMetricFamily(
        "freshd_generation_documents",
        "Documents in the generation that is searched, and in the one that is filled beside it; absent without one.",
        labels=["state"],
    )
    family.add_metric(["live"], sum(source["documents"] for source in status["sources"]))
    if filling := status["generation"]["filling"]:
        family.add_metric(["filling"], filling["documents"])
    return family


def _verify_gauges(verify: VerifyReport) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "freshd_verify_divergent_points",
        "Points in which store and ledger differed at the last verify.",
        labels=["kind"],
    )
    if verify["checked_at"] is not None:
        at_s = _s(verify["checked_at"])
        yield _gauge("freshd_verify_last_success_timestamp_seconds", "When the last whole verify began.", {}, at_s)
        for kind in ("missing", "orphaned", "damaged"):
            family.add_metric([kind], verify[kind])
    yield family


def _canary_gauges(sources: Sequence[SourceStatus]) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "freshd_canary_lag_seconds", "What the last round of the canary took, step by step.", labels=["source", "step"]
    )
    failed = GaugeMetricFamily(
        "freshd_canary_failed", "Whether the last round of the canary broke off.", labels=["source"]
    )
    success = GaugeMetricFamily(
        "freshd_canary_last_success_timestamp_seconds",
        "When the canary was last found and forgotten.",
        labels=["source"],
    )
    for source in sources:
        canary = source["canary"]
        if canary is None:
            continue
        steps = {"found": canary["found_seconds"], "edited": canary["edited_seconds"], "gone": canary["gone_seconds"]}
        for step, seconds in steps.items():
            if seconds is not None:
                lag.add_metric([source["name"], step], seconds)
        failed.add_metric([source["name"]], canary["error"] is not None)
        if canary["succeeded_at"] is not None:
            success.add_metric([source["name"]], _s(canary["succeeded_at"]))
    yield from (lag, failed, success)


def _gauge(name: str, words: str, labels: dict[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, words, labels=list(labels))
    family.add_metric(list(labels.values()), float(value))
    return family


def _s(instant: str) -> float:
    """Give RFC 3339 as seconds since 1970."""
    return datetime.fromisoformat(instant).timestamp()
