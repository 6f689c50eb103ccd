"""What somebody may order the daemon to do: work for a job, each seen through to its end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path

from freshd.backup import back_up, original_of
from freshd.compose import Whole
from freshd.daemon.jobs import Progress, Work
from freshd.daemon.reporter import Reporter
from freshd.errors import StoreUnavailable
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.history import SqliteHistory
from freshd.model import DocumentId, SourceName
from freshd.report import exit_code, reindex_report
from freshd.report.answers import wait_exit_code
from freshd.scheduler import Reindexer, Scheduler, Tally
from freshd.scheduler.tally import why
from freshd.shapes import BackupReport, DocumentWaited, ReindexReport, WaitReport

_PATIENCE_S = 60.0
"""How long a look that somebody waits for stands by while nothing can be written; what it found stays pending."""

_FORGOTTEN = "forgotten: it stays out until it is let in again by freshd forget --undo"

_POLL_S = 0.25
"""Waiting is woken by news; this is for news that nobody brings, such as a change put off until later."""


class Orders:
    """Turns orders into work. Safe to use from several threads."""

    def __init__(self, whole: Whole, scheduler: Scheduler, reporter: Reporter) -> None:
        """Work on what runs; the reporter brings the news that waiting is about."""
        self._whole = whole
        self._clock = whole.clock
        self._scheduler = scheduler
        self._reporter = reporter
        self._history = SqliteHistory(whole.database)
        self._forgetting = SqliteForgetting(whole.database)
        self._is_stopping = False

    def stop(self) -> None:
        """Have all work end that waits for something."""
        self._is_stopping = True
        with self._reporter.news:
            self._reporter.news.notify_all()

    def reindex(self, names: Sequence[SourceName], *, full: bool) -> Work:
        """Look at sources and see what is found through."""

        def work(progress: Progress) -> tuple[ReindexReport, int]:
            tallies = {name: Tally(name) for name in names}
            with ExitStack() as stack:
                for tally in tallies.values():  # before anything is found: the indexer may be quicker than the scan
                    stack.enter_context(self._reporter.counting(tally))
                if full:
                    self._whole.ledger.invalidate(None, self._clock.now(), names)
                report = reindex_report(self._reindexer(tallies, progress).run())
            return report, exit_code(report)

        return work

    def look_at(self, names: Sequence[SourceName]) -> None:
        """Look at sources now, and wait until all that is found and pending is through.

        Raises:
            StoreUnavailable: Nothing can be written, or freshd is stopping.

        """
        self._reindexer({name: Tally(name) for name in names}, Progress()).run()

    def backup(self, directory: Path) -> Work:
        """Copy everything that freshd remembers; the thread that writes waits while the shards are copied."""

        def work(progress: Progress) -> tuple[BackupReport, int]:
            def go_on() -> None:
                if self._is_stopping:
                    raise StoreUnavailable("freshd is stopping", hint="start it again, then ask again")

            report = back_up(
                original_of(self._whole.config),
                directory,
                clock=self._clock,
                hold=self._scheduler.between_batches,
                flush=lambda: self._whole.store.flush(),  # of the generation that is live by then
                go_on=go_on,
                on_progress=progress.hear,
            )
            return report, 0

        return work

    def wait_for_all(self, names: Sequence[SourceName], timeout_s: float) -> Work:
        """Have sources looked at from now on, and wait until all that is found is searchable."""

        def work(progress: Progress) -> tuple[WaitReport, int]:
            before = {name: self._whole.sources.state(name).listed_through for name in names}
            asked_at = self._clock.now()
            self._scheduler.scan_now(names)

            def has_been_listed(name: SourceName, through: datetime | None) -> bool:
                """Tell whether a listing that began after the question came out; a clock set back proves nothing."""
                return through is not None and through != before[name] and through >= asked_at

            def is_done() -> bool:
                states = [self._whole.sources.state(name) for name in names]
                progress.left(sum(state.pending for state in states))
                return all(not state.pending and has_been_listed(state.name, state.listed_through) for state in states)

            done = self._await(is_done, timeout_s)
            in_the_way = [one for name in names for one in self._in_the_way(name)]
            report: WaitReport = {"is_done": done, "documents": in_the_way}
            return report, wait_exit_code(report)

        return work

    def wait_for(self, documents: Sequence[tuple[SourceName, DocumentId]], timeout_s: float) -> Work:
        """Look at documents now, and wait until they are searchable as they are."""

        def work(progress: Progress) -> tuple[WaitReport, int]:
            known = {document for document in documents if self._was_known(*document)}
            for name, document_id in documents:
                place: dict[str, datetime] = {document_id: self._clock.now()}
                if self._scheduler.scanners[name].look(place).absent:
                    self._scheduler.scanners[name].look(place, is_second=True)
            self._scheduler.wake()
            seen: list[DocumentWaited] = []

            def is_done() -> bool:
                seen[:] = [self._where(*document) for document in documents]
                progress.left(sum(one["state"] == "pending" for one in seen))
                return progress.done == progress.total

            progress.total = len(documents)
            self._await(is_done, timeout_s)
            for document, one in zip(documents, seen, strict=True):
                if one["state"] == "absent" and document not in known:
                    out = self._forgetting.is_forgotten(*document)
                    one["error"] = _FORGOTTEN if out else "not in the source, and was not indexed"
            is_good = all(one["state"] in ("searchable", "absent") and not one["error"] for one in seen)
            return {"is_done": is_good, "documents": seen}, 0 if is_good else 1

        return work

    def _reindexer(self, tallies: Mapping[SourceName, Tally], progress: Progress) -> Reindexer:
        def see_through(source: SourceName, seq: int, tally: Tally) -> None:
            del tally  # the reporter counts into it all the while
            self._scheduler.wake()
            self._await(lambda: self._is_through(source, seq, progress))
            with suppress(StoreUnavailable):  # the writer tells of nothing either then
                self._scheduler.between_batches(lambda: None)  # until it has told of what it applied

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
        progress.left(self._whole.sources.state(source).pending)
        return self._whole.ledger.is_through(source, seq, due_by=self._clock.now(), with_migration=True)

    def _was_known(self, source: SourceName, document_id: DocumentId) -> bool:
        """Tell whether a document is, or ever was, in the index, as far back as the history goes."""
        ledger = self._whole.ledger
        if ledger.revision(source, document_id).version or ledger.pending_of(source, document_id):
            return True
        return bool(self._history.entries(0, 1, source, document_id))

    def _in_the_way(self, source: SourceName) -> Iterator[DocumentWaited]:
        """Name the documents of a source that no waiting makes searchable as they are now."""
        for one in self._whole.ledger.left(source):
            if one.is_held:
                yield {"source": source, "document_id": one.document_id, "state": "held", "error": None}
            elif one.error:
                error = why(one.document_id, one.error)
                yield {"source": source, "document_id": one.document_id, "state": "failed", "error": error}

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
            answer["error"] = why(document_id, waiting.error) if waiting.error else None
        return answer

    def _await(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        began_s = self._clock.monotonic()
        ends_s = None if timeout_s is None else began_s + timeout_s
        while not is_done():
            if self._is_stopping:
                raise StoreUnavailable("freshd stops, or takes up another config", hint="ask again in a moment")
            if timeout_s is None:
                self._give_up(began_s)
            if ends_s is not None and self._clock.monotonic() >= ends_s:
                return False
            with self._reporter.news:
                self._reporter.news.wait(_POLL_S)
        return True

    def _give_up(self, since_s: float) -> None:
        """End what has no end of its own once nothing could be written for long: it would take others' room."""
        trouble = self._scheduler.trouble
        if trouble is None or self._clock.monotonic() - max(since_s, trouble.since_s) < _PATIENCE_S:
            return
        waited = f"given up after {_PATIENCE_S:g} s; what was found stays pending and is applied by itself"
        raise StoreUnavailable(f"{trouble.error}; {waited}", hint=trouble.error.hint)
