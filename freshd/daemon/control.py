"""What the endpoint may ask: passed on to what is live at this moment, which a reload replaces."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from freshd.daemon.jobs import Jobs
from freshd.daemon.live import Live
from freshd.errors import StoreUnavailable
from freshd.model import DocumentId, SearchFilter, SourceName
from freshd.shapes import ChangesAnswer, Dashboard, HeldDeletions, JobReport, SearchAnswer, StatusReport

_PATIENCE = timedelta(seconds=30)
"""The daemon's own round takes a second; half a minute without one is no delay any more."""


class LiveControl:
    """`ports.Control` over what is live; between two configs it says that freshd is starting.

    Attributes:
        live: What answers; None while nothing does.
        jobs: Everything that was begun, under this config or a former one; None before the first.
        waits_for: What the start is waiting for, in one line; empty for nothing.

    """

    def __init__(self) -> None:
        """Begin with nothing live."""
        self.live: Live | None = None
        self.jobs: Jobs | None = None
        self.waits_for = ""

    def is_alive(self) -> bool:
        """Tell whether the daemon still does its rounds."""
        live = self.live
        return live is None or live.is_alive(_PATIENCE)

    def not_ready(self) -> str | None:
        """Say why answers may be missing; None when ready."""
        live = self.live
        return self._is_starting if live is None else live.not_ready()

    def status(self) -> StatusReport:
        """Give how fresh each source is known to be."""
        return self._live().status()

    def metrics(self) -> bytes:
        """Give every metric."""
        return self._live().metrics.text()

    def search(self, query: str, k: int, where: SearchFilter) -> SearchAnswer:
        """Find passages."""
        return self._live().search(query, k, where)

    def reindex(self, sources: Sequence[SourceName], *, full: bool) -> str:
        """Begin to look at sources now."""
        return self._live().reindex(sources, full=full)

    def wait(self, documents: Sequence[tuple[SourceName, DocumentId]], timeout_s: float) -> str:
        """Begin to wait until documents are searchable as they are now."""
        return self._live().wait(documents, timeout_s)

    def verify(self, *, deep: bool, repair: bool, orphans: bool) -> str:
        """Begin to hold the ledger against the store."""
        return self._live().verify(deep=deep, repair=repair, orphans=orphans)

    def backup(self, directory: Path) -> str:
        """Begin to copy everything that freshd remembers into a folder."""
        return self._live().backup(directory)

    def forget(self, names: Sequence[tuple[SourceName, DocumentId | None]], *, undo: bool) -> str:
        """Begin to forget documents, or to let them in again."""
        return self._live().forget(names, undo=undo)

    def prune(self, source: SourceName) -> str:
        """Begin to take out what is left of a source that left the config."""
        return self._live().prune(source)

    def changes(
        self,
        after: int,
        limit: int,
        source: SourceName | None = None,
        document_id: DocumentId | None = None,
        heard: int = 0,
    ) -> ChangesAnswer:
        """Give applied changes after a sequence number."""
        return self._live().changes(after, limit, source, document_id, heard)

    def last_change(self) -> int:
        """Give the sequence number of the newest applied change."""
        return self._live().last_change()

    def dashboard(self) -> Dashboard:
        """Give what the page shows."""
        return self._live().dashboard()

    def job(self, job_id: str) -> JobReport | None:
        """Tell how a job stands, also while one config takes over from another."""
        jobs = self.jobs or self._live().jobs
        return jobs.report(job_id)

    def deletions(self, source: SourceName, *, approve: bool | None = None) -> HeldDeletions:
        """List the held deletions of a source, and do with them what a person decided, if anything."""
        return self._live().deletions(source, approve=approve)

    def _live(self) -> Live:
        live = self.live
        if live is None:
            raise StoreUnavailable(self._is_starting, hint="ask again in a moment")
        return live

    @property
    def _is_starting(self) -> str:
        return f"freshd cannot begin yet: {self.waits_for}" if self.waits_for else "freshd is starting"
