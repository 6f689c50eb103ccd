"""What Prometheus reads: base units, instants instead of ages, no document ids.

An exported age freezes at its last good value when a loop hangs; an instant goes on ageing.
Counters and histograms are counted as things happen, gauges are read from the facts at every scrape.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from freshd import __version__
from freshd.freshness import watermark
from freshd.model import ChangeKind, Outcome, OutcomeKind, SourceName
from freshd.ports import SourceState

# A second series for each counter, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

_LAG_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the gauges of one source are read from.

    Attributes:
        is_degraded: Its watch may miss hints.

    """

    state: SourceState
    freshness: timedelta
    is_degraded: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What all gauges are read from; instants by freshd's clock.

    Attributes:
        heartbeat_at: Every thread the daemon lives by was seen alive.
        free_bytes: Where the state directory lies.

    """

    sources: Sequence[SourceFacts]
    heartbeat_at: datetime
    is_store_up: bool
    is_config_good: bool
    free_bytes: int


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
        self._changes.labels(source, change.kind.value).inc()
        if change.is_clamped:
            self._distrusted.labels(source).inc()
        if outcome.searchable_at is not None:
            lag = outcome.searchable_at - change.changed_at
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
        yield _gauge("freshd_scheduler_heartbeat_timestamp_seconds", "Last seen alive.", {}, _s(facts.heartbeat_at))
        yield _gauge("freshd_store_up", "Whether the store answers.", {}, facts.is_store_up)
        yield _gauge("freshd_config_last_reload_successful", "Whether the config is good.", {}, facts.is_config_good)
        yield _gauge("freshd_state_free_bytes", "Free where the state directory lies.", {}, facts.free_bytes)
        yield from _source_gauges(facts.sources)


def _source_gauges(sources: Sequence[SourceFacts]) -> Iterator[Metric]:
    rows: list[tuple[str, str, Callable[[SourceFacts], float | datetime | None]]] = [
        ("freshd_source_watermark_timestamp_seconds", "The index holds every change up to here.", _watermark),
        (
            "freshd_source_oldest_pending_timestamp_seconds",
            "Oldest change not applied; absent without one.",
            lambda one: one.state.oldest_unapplied_at,
        ),
        (
            "freshd_source_last_success_timestamp_seconds",
            "Start of the last complete listing.",
            lambda one: one.state.last_complete_scan_at,
        ),
        ("freshd_source_up", "Whether the source answers.", lambda one: one.state.failing_since is None),
        (
            "freshd_source_freshness_target_seconds",
            "Within which a change should be searchable.",
            lambda one: one.freshness.total_seconds(),
        ),
        ("freshd_documents", "Documents in the index.", lambda one: one.state.documents),
        ("freshd_pending_documents", "Changes not applied yet.", lambda one: one.state.pending),
        ("freshd_deletions_held", "Deletions that wait for a person.", lambda one: one.state.held),
        ("freshd_quarantined_documents", "Documents that failed repeatedly.", lambda one: one.state.quarantined),
        ("freshd_watcher_degraded", "Whether the watch may miss hints.", lambda one: one.is_degraded),
    ]
    for name, words, value_of in rows:
        family = GaugeMetricFamily(name, words, labels=["source"])
        for one in sources:
            value = value_of(one)
            if value is not None:
                family.add_metric([one.state.name], _s(value) if isinstance(value, datetime) else float(value))
        yield family


def _watermark(one: SourceFacts) -> datetime | None:
    return watermark(one.state.listed_through, one.state.oldest_unapplied_at, one.state.watermark)


def _gauge(name: str, words: str, labels: dict[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, words, labels=list(labels))
    family.add_metric(list(labels.values()), float(value))
    return family


def _s(instant: datetime) -> float:
    return instant.timestamp()
