"""Everything that runs under one config; a reload replaces it whole."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from freshd.compose import Whole, disk_shortage
from freshd.config import Config
from freshd.daemon.backlog import Backlog
from freshd.daemon.canaries import Canaries
from freshd.daemon.comparison import LastComparison
from freshd.daemon.jobs import Jobs
from freshd.daemon.orders import Orders
from freshd.daemon.removing import Removing
from freshd.daemon.reporter import Reporter
from freshd.daemon.verifying import Verifying
from freshd.errors import CollectionMismatch, FreshdError
from freshd.ledger.history import SqliteHistory
from freshd.ledger.quarantine import SqliteQuarantine
from freshd.metrics import Facts, Metrics
from freshd.model import DocumentId, SearchFilter, SourceName
from freshd.pulse import Pulse
from freshd.report import Running, changes_answer, judge_deletions, search_answer, status_report
from freshd.scheduler.remover import Named
from freshd.shapes import ChangeEntry, ChangesAnswer, Dashboard, HeldDeletions, SearchAnswer, StatusReport
from freshd.state import StateDirectory
from freshd.verify import Surroundings

_FORGET_EVERY_S = 60.0
"""How often it is looked for history that has been kept for long enough."""

_SEAL_EVERY_S = 3_600.0
"""How often copies of ledger or index that others take are parted from what goes on."""

_STALLED = timedelta(seconds=10)
"""The main thread's round takes a second."""

_NEWEST, _LOOKED_THROUGH = 30, 300
"""Changes that the page shows, and among how many they are chosen."""


class Live:
    """One config's sources, kept fresh from `start` to `stop`; what the endpoint asks of it may come from any thread.

    Attributes:
        config: What it runs under.
        jobs: Begun by whoever asks, remembered beyond its end.

    """

    def __init__(
        self,
        whole: Whole,
        *,
        config_error: str | None = None,
        former_jobs: Jobs | None = None,
        endpoint: Pulse | None = None,
    ) -> None:
        """Put it together; nothing runs yet.

        Args:
            whole: Open; closed by whoever opened it, after `stop`.
            config_error: Why a newer config was refused and this one is kept; None where none was.
            former_jobs: Of the config before, which may still be asked about.
            endpoint: The pulse of the thread that answers; None where nobody does.

        """
        self.config: Config = whole.config
        self.config_error = config_error
        self._whole = whole
        self._clock = whole.clock
        self._state = StateDirectory(whole.config.state_dir)
        self._history = SqliteHistory(whole.database)
        self._heartbeat_at, self._heartbeat_s = whole.clock.now(), whole.clock.monotonic()
        self._forgot_s = whole.clock.monotonic()
        self._is_store_open = False
        self._sealed_s = whole.clock.monotonic()
        self._openings = whole.store.openings
        self._backlog = Backlog(whole.clock)
        self.metrics = Metrics([target.name for target in whole.targets], self._facts)
        self.reporter = Reporter(self.metrics, self._backlog, whole.is_canary)
        whole.news.on_filled = self.reporter.filled
        self._scheduler = whole.scheduler(self.reporter, self._cannot_write)
        self._pulses = (*self._scheduler.pulses, *([endpoint] if endpoint else []))
        self._stalled: set[str] = set()
        self._orders = Orders(whole, self._scheduler, self.reporter)
        surroundings = Surroundings(
            frozenset(target.name for target in whole.targets),
            self._scheduler.between_batches,
            self._orders.look_at,
        )
        self._verifying = Verifying(whole, surroundings)
        self._canaries = Canaries(whole)
        self._removing = Removing(whole, self._scheduler)
        self.jobs = Jobs(whole.clock, former_jobs)
        report = whole.config.compare.report
        self._comparison = LastComparison(None if report is None else whole.config.base / report)

    # Life

    def start(self) -> None:
        """Begin to keep the sources fresh."""
        self._scheduler.start()
        self._verifying.start()
        self._canaries.start()
        self._removing.start()

    def tick(self) -> bool:
        """Look after what runs, every second or so; tell whether all of it still does."""
        self._scheduler.tick()
        is_alive = self._scheduler.is_alive() and self._are_alive
        stalled = {pulse.name for pulse in self._pulses if pulse.is_late}
        for name in sorted(stalled - self._stalled):
            self.reporter.stalled(name)
        self._stalled = stalled
        if is_alive and self.is_turning:
            self._heartbeat_at, self._heartbeat_s = self._clock.now(), self._clock.monotonic()
        if self._heartbeat_s - self._forgot_s > _FORGET_EVERY_S:
            self._forgot_s = self._heartbeat_s
            with suppress(sqlite3.OperationalError):  # locked, or no room: there is a next time
                self._history.forget(self._clock.now() - self.config.history.keep_for)
        return is_alive

    @property
    def _are_alive(self) -> bool:
        return self._removing.is_alive() and self._verifying.is_alive() and self._canaries.are_alive()

    @property
    def is_turning(self) -> bool:
        """Whether every thread was going round at the last tick, the endpoint's included."""
        return not self._stalled

    @property
    def ledger_failure(self) -> FreshdError | None:
        """What the disk did to the ledger, which nothing is asked of any more; None while it is well."""
        return self._whole.database.failure

    def report_statuses(self) -> None:
        """Log every source whose status became another."""
        statuses = {source["name"]: source["status"] for source in self.status()["sources"]}
        self.reporter.statuses(statuses)

    @property
    def is_writing(self) -> bool:
        """Whether the store is still written, although `stop` was called."""
        return self._scheduler.is_writing

    def stop(self) -> list[SourceName]:
        """Finish the batch in hand and end; give the sources that still hang in a look, which will record nothing."""
        self._orders.stop()
        self._canaries.stop()
        self._removing.stop()
        self._verifying.stop()
        hanging = self._scheduler.stop()
        self.jobs.close()
        return hanging

    # What may be asked

    def is_alive(self, patience: timedelta) -> bool:
        """Tell whether the last heartbeat is recent."""
        return self._clock.monotonic() - self._heartbeat_s < patience.total_seconds()

    def not_ready(self) -> str | None:
        """Say why answers may be missing; None when ready."""
        trouble = self._scheduler.trouble
        if trouble is not None:
            return str(trouble.error)
        if not self._is_store_open:
            return "the store is not open yet"
        for target in self._whole.targets:
            if self._whole.sources.state(target.name).last_complete_scan_at is None:
                return f"source '{target.name}' was not listed completely yet"
        return None

    def status(self) -> StatusReport:
        """Give how fresh each source is known to be, at this moment."""
        trouble, now = self._scheduler.trouble, self._clock.now()
        states = {target.name: self._whole.sources.state(target.name) for target in self._whole.targets}
        down_s = self._clock.monotonic() - trouble.since_s if trouble else 0.0
        running = Running(
            pid=os.getpid(),
            states=states,
            vitals={name: self._scheduler.vital(name, state.scan_s) for name, state in states.items()},
            canaries=self._canaries.seen,
            indexing=self._backlog.view({name: state.pending for name, state in states.items()}),
            filling=self._whole.generations.filling(),
            store_error=str(trouble.error) if trouble else None,
            store_down_since=now - timedelta(seconds=down_s) if trouble else None,
            is_stalled=not self.is_alive(_STALLED),
            config_error=self.config_error,
        )
        return status_report(self.config, self._whole.database, now, running)

    def search(self, query: str, k: int, where: SearchFilter) -> SearchAnswer:
        """Find passages; none from a collection that is known not to be ours, which would look like an empty index."""
        trouble = self._scheduler.trouble
        if trouble is not None and isinstance(trouble.error, CollectionMismatch):
            raise CollectionMismatch(str(trouble.error), hint=trouble.error.hint)
        return search_answer(self._whole.search.search(query, k, where), SqliteQuarantine(self._whole.database))

    def changes(
        self, after: int, limit: int, source: SourceName | None, document_id: DocumentId | None, heard: int
    ) -> ChangesAnswer:
        """Give applied changes after a sequence number."""
        self._chosen([source] if source else [])
        return changes_answer(self._history, after, limit, source, document_id, heard)

    def last_change(self) -> int:
        """Give the sequence number of the newest applied change."""
        return self._history.last_seq()

    def dashboard(self) -> Dashboard:
        """Give what the page shows."""
        trails = {
            str(target.name): [
                (at.timestamp(), mark.timestamp()) for at, mark in self._whole.sources.trail(target.name)
            ]
            for target in self._whole.targets
        }
        return {
            "status": self.status(),
            "trails": trails,
            "newest": self._newest(),
            "comparison": self._comparison.figures(),
        }

    def _newest(self) -> list[ChangeEntry]:
        """Give the newest changes, newest first: edits before what a first index brought, and no canaries."""
        entries = changes_answer(self._history, -_LOOKED_THROUGH, _LOOKED_THROUGH, None, None)["changes"]
        canaries = {name: self._history.canaries(SourceName(name)) for name in {entry["source"] for entry in entries}}
        own = [
            entry
            for entry in entries[::-1]
            if not self._whole.is_canary(entry["source"], entry["document_id"])
            and entry["document_id"] not in canaries[entry["source"]]
        ]
        edits_first = sorted(own, key=lambda entry: entry["lag_seconds"] is None)[:_NEWEST]
        return sorted(edits_first, key=lambda entry: -entry["seq"])

    def reindex(self, names: Sequence[SourceName], *, full: bool) -> str:
        """Begin to look at sources and see what is found through; give the job's id."""
        return self.jobs.begin(self._orders.reindex(self._chosen(names), full=full))

    def wait(self, documents: Sequence[tuple[SourceName, DocumentId]], timeout_s: float) -> str:
        """Begin to wait until documents are searchable as they are now; give the job's id."""
        names = self._chosen([name for name, _ in documents])
        if documents:
            return self.jobs.begin(self._orders.wait_for(documents, timeout_s), is_wait=True)
        return self.jobs.begin(self._orders.wait_for_all(names, timeout_s), is_wait=True)

    def verify(self, *, deep: bool, repair: bool, orphans: bool) -> str:
        """Begin to hold the ledger against the store; give the job's id."""
        return self.jobs.begin(self._verifying.order(is_deep=deep, is_to_repair=repair, is_guarded=not orphans))

    def backup(self, directory: Path) -> str:
        """Begin to copy everything that freshd remembers into a folder; give the job's id."""
        return self.jobs.begin(self._orders.backup(directory))

    def forget(self, names: Sequence[Named], *, undo: bool) -> str:
        """Begin to forget documents, or to let them in again; give the job's id."""
        return self.jobs.begin(self._removing.undo(names) if undo else self._removing.forget(names))

    def prune(self, source: SourceName) -> str:
        """Begin to take out what is left of a source that left the config; give the job's id."""
        return self.jobs.begin(self._removing.prune(source))

    def deletions(self, source: SourceName, *, approve: bool | None = None) -> HeldDeletions:
        """List the held deletions of a source, and do with them what a person decided, if anything."""
        self._chosen([source])
        judged = judge_deletions(self._whole.ledger, source, approve)
        self._scheduler.wake()
        return judged

    # How

    def _chosen(self, names: Sequence[SourceName]) -> list[SourceName]:
        known = [target.name for target in self._whole.targets]
        for name in names:
            if name not in known:
                raise ValueError(f"source: got {name!r}, expected one of: {', '.join(known)}")
        return list(dict.fromkeys(names)) or known

    def _cannot_write(self) -> FreshdError | None:
        """Say why nothing may be written: too little disk, or a store that does not open; opens it on the way.

        Asked by the thread that writes, between its batches.
        """
        shortage = disk_shortage(self.config)
        if shortage is not None:
            return shortage
        trouble = self._scheduler.trouble
        is_in_doubt = (trouble is not None and trouble.is_store) or self._whole.store.openings != self._openings
        if not self._is_store_open or is_in_doubt:
            openings = self._whole.store.openings
            self._whole.open_store(finishes=False)  # edits would wait for all of it
            self._openings = openings  # as before: one that fell meanwhile is looked at again
            # The model takes a moment to load: now, not in the lag of the first change.
            self._whole.recipe.embedder.embed_query("freshd")
            self._is_store_open = True
        if self._clock.monotonic() - self._sealed_s >= _SEAL_EVERY_S:
            self._sealed_s = self._clock.monotonic()
            self._whole.seal_anew()
        return None

    def _facts(self) -> Facts:
        trouble = self._scheduler.trouble
        return Facts(
            status=self.status(),
            heartbeat_at=self._heartbeat_at,
            is_store_up=self._is_store_open and (trouble is None or not trouble.is_store),
            free_bytes=self._state.free_bytes(),
            reserve_bytes=self.config.disk.reserve_bytes,
            proofs=self._whole.proof.counts if self._whole.proof else {},
            update_cycles_s=self._comparison.cycles_s(),
        )
