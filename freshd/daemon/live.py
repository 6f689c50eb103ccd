"""Everything that runs under one config; a reload replaces it whole."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta

from freshd.compose import Whole
from freshd.config import Config
from freshd.daemon.jobs import Jobs, Progress, Work
from freshd.daemon.reporter import Reporter
from freshd.errors import FreshdError, StoreUnavailable
from freshd.ledger.history import SqliteHistory
from freshd.metrics import Facts, Metrics, SourceFacts
from freshd.model import DocumentId, SearchFilter, SourceName
from freshd.report import SourceView, exit_code, judge_deletions, reindex_report, search_answer, status_report
from freshd.scheduler import Reindexer, Tally
from freshd.shapes import (
    DocumentWaited,
    HeldDeletions,
    JobReport,
    ReindexReport,
    SearchAnswer,
    StatusReport,
    WaitReport,
)
from freshd.state import StateDirectory

_POLL_S = 0.25
"""Waiting is woken by news; this is for news that nobody brings, such as a change put off until later."""


class Live:
    """One config's sources, kept fresh from `start` to `stop`; what the endpoint asks of it may come from any thread.

    Attributes:
        config: What it runs under.

    """

    def __init__(self, whole: Whole, *, is_config_good: bool = True) -> None:
        """Put it together; nothing runs yet.

        Args:
            whole: Open; closed by whoever opened it, after `stop`.
            is_config_good: False when this is the old config, kept because the new one is invalid.

        """
        self.config: Config = whole.config
        self.is_config_good = is_config_good
        self._whole = whole
        self._clock = whole.clock
        self._state = StateDirectory(whole.config.state_dir)
        self._history = SqliteHistory(whole.database)
        self._heartbeat_at = whole.clock.now()
        self._is_store_open = False
        self._is_stopping = False
        self.metrics = Metrics([target.name for target in whole.targets], self._facts)
        self.reporter = Reporter(self.metrics)
        self._scheduler = whole.scheduler(self.reporter, self._cannot_write)
        self._jobs = Jobs(whole.clock)

    # Life

    def start(self) -> None:
        """Begin to keep the sources fresh."""
        self._scheduler.start()

    def tick(self) -> bool:
        """Look after what runs, every second or so; tell whether all of it still does."""
        self._scheduler.tick()
        is_alive = self._scheduler.is_alive()
        if is_alive:
            self._heartbeat_at = self._clock.now()
        return is_alive

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
        self._is_stopping = True
        with self.reporter.news:
            self.reporter.news.notify_all()
        self._jobs.close()
        return self._scheduler.stop()

    # What may be asked

    def is_alive(self, patience: timedelta) -> bool:
        """Tell whether the last heartbeat is recent."""
        return self._clock.now() - self._heartbeat_at < patience

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
        now = self._clock.now()
        views = [
            SourceView(
                source,
                self._whole.sources.state(source.name),
                self._history.lags(source.name, now - source.objective_window),
                self._scheduler.vital(source.name),
            )
            for source in self.config.sources
        ]
        trouble = self._scheduler.trouble
        return status_report(
            self.config,
            views,
            now,
            daemon=os.getpid(),
            store_error=str(trouble.error) if trouble else None,
            store_down_since=trouble.since if trouble else None,
        )

    def search(self, query: str, k: int, where: SearchFilter) -> SearchAnswer:
        """Find passages."""
        return search_answer(self._whole.search.search(query, k, where))

    def reindex(self, names: Sequence[SourceName], *, full: bool) -> str:
        """Begin to look at sources and see what is found through; give the job's id."""
        chosen = self._chosen(names)

        def work(progress: Progress) -> tuple[ReindexReport, int]:
            tallies = {name: Tally(name) for name in chosen}
            with ExitStack() as stack:
                for tally in tallies.values():  # before anything is found: the indexer may be quicker than the scan
                    stack.enter_context(self.reporter.counting(tally))
                if full:
                    self._whole.ledger.invalidate(None, self._clock.now(), chosen)
                report = reindex_report(self._reindexer(tallies, progress).run())
            return report, exit_code(report)

        return self._jobs.begin(work)

    def wait(self, documents: Sequence[tuple[SourceName, DocumentId]], timeout_s: float) -> str:
        """Begin to wait until documents are searchable as they are now; give the job's id."""
        self._chosen([name for name, _ in documents])
        work = self._waiting(documents, timeout_s) if documents else self._waiting_for_all(timeout_s)
        return self._jobs.begin(work)

    def job(self, job_id: str) -> JobReport | None:
        """Tell how a job stands."""
        return self._jobs.report(job_id)

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

    def _reindexer(self, tallies: Mapping[SourceName, Tally], progress: Progress) -> Reindexer:
        def see_through(source: SourceName, seq: int, tally: Tally) -> None:
            del tally  # the reporter counts into it all the while
            self._scheduler.wake()
            self._await(lambda: self._is_through(source, seq, progress))

        return Reindexer(
            scanners=[self._scheduler.scanners[name] for name in tallies],
            ledger=self._whole.ledger,
            sources=self._whole.sources,
            see_through=see_through,
            on_scan=lambda scan: self._scheduler.lanes[scan.source].take(scan),
            clock=self._clock,
            tally_of=tallies.__getitem__,
        )

    def _is_through(self, source: SourceName, seq: int, progress: Progress) -> bool:
        left = self._whole.sources.state(source).pending
        progress.total = max(progress.total, progress.done + left)
        progress.done = progress.total - left
        return self._whole.ledger.is_through(source, seq, due_by=self._clock.now(), with_migration=True)

    def _waiting_for_all(self, timeout_s: float) -> Work:
        def work(progress: Progress) -> tuple[WaitReport, int]:
            names = self._chosen([])
            marks, asked_at = (
                {name: self._whole.sources.state(name).listed_through for name in names},
                self._clock.now(),
            )
            self._scheduler.scan_now(names)

            def has_been_listed(through: datetime | None, before: datetime | None) -> bool:
                """Tell whether a listing that began after the question came out; a clock set back proves nothing."""
                return through is not None and through != before and through >= asked_at

            def is_done() -> bool:
                states = [self._whole.sources.state(name) for name in names]
                progress.total = max(progress.total, sum(state.pending for state in states))
                progress.done = progress.total - sum(state.pending for state in states)
                return all(
                    not state.pending and has_been_listed(state.listed_through, marks[state.name]) for state in states
                )

            done = self._await(is_done, timeout_s)
            return {"is_done": done, "documents": []}, 0 if done else 1

        return work

    def _waiting(self, documents: Sequence[tuple[SourceName, DocumentId]], timeout_s: float) -> Work:
        def work(progress: Progress) -> tuple[WaitReport, int]:
            progress.total = len(documents)
            for name, document_id in documents:
                now = self._clock.now()
                if self._scheduler.scanners[name].look({document_id: now}).absent:
                    self._scheduler.scanners[name].look({document_id: now}, is_second=True)
            self._scheduler.wake()
            seen: list[DocumentWaited] = []

            def is_done() -> bool:
                seen[:] = [self._where(*document) for document in documents]
                progress.done = sum(one["state"] != "pending" for one in seen)
                return progress.done == len(documents)

            self._await(is_done, timeout_s)
            is_good = all(one["state"] in ("searchable", "absent") for one in seen)
            return {"is_done": is_good, "documents": seen}, 0 if is_good else 1

        return work

    def _where(self, source: SourceName, document_id: DocumentId) -> DocumentWaited:
        waiting = self._whole.ledger.pending_of(source, document_id)
        is_applied = self._whole.ledger.revision(source, document_id).digest is not None
        answer: DocumentWaited = {"source": source, "document_id": document_id, "state": "searchable", "error": None}
        if waiting is None:
            answer["state"] = "searchable" if is_applied else "absent"
        elif waiting.is_held:
            answer["state"] = "held"
        else:
            answer["state"] = "failed" if waiting.error else "pending"
            answer["error"] = waiting.error
        return answer

    def _await(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        ends_s = None if timeout_s is None else self._clock.monotonic() + timeout_s
        while not is_done():
            if self._is_stopping:
                raise StoreUnavailable("freshd is stopping", hint="start it again, then ask again")
            if ends_s is not None and self._clock.monotonic() >= ends_s:
                return False
            with self.reporter.news:
                self.reporter.news.wait(_POLL_S)
        return True

    def _cannot_write(self) -> FreshdError | None:
        """Say why nothing may be written: too little disk, or a store that does not open; opens it on the way."""
        free, reserve = self._state.free_bytes(), self.config.disk.reserve_bytes
        if free < reserve:
            return StoreUnavailable(
                f"state directory {self.config.state_dir}: {free >> 20} MiB free,"
                f" expected at least the reserve of {reserve >> 20} MiB",
                hint="free some disk space; freshd carries on by itself then",
            )
        if not self._is_store_open:
            self._whole.open_store()
            # The model takes a moment to load: now, not in the lag of the first change.
            self._whole.recipe.embedder.embed_query("freshd")
            self._is_store_open = True
        return None

    def _facts(self) -> Facts:
        rows = [
            SourceFacts(
                self._whole.sources.state(target.name),
                target.freshness,
                self._scheduler.lanes[target.name].watch not in ("watching", "not watched"),
            )
            for target in self._whole.targets
        ]
        trouble = self._scheduler.trouble
        return Facts(
            rows,
            self._heartbeat_at,
            is_store_up=self._is_store_open and (trouble is None or not trouble.is_store),
            is_config_good=self.is_config_good,
            free_bytes=self._state.free_bytes(),
        )
