"""What the endpoint may ask of the daemon."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from freshd.model import DocumentId, SearchFilter, SourceName
from freshd.shapes import ChangesAnswer, Dashboard, HeldDeletions, JobReport, SearchAnswer, StatusReport

MAX_WAIT_S = 24 * 60 * 60
"""How long the daemon may be asked to wait for something."""


class Control(Protocol):
    """What the endpoint may ask of the daemon. Safe to call from several threads; nothing here waits for work."""

    def is_alive(self) -> bool:
        """Tell whether every thread the daemon lives by still does its rounds."""
        ...

    def not_ready(self) -> str | None:
        """Say in one line why answers may be missing: store not open, a source not listed yet; None when ready."""
        ...

    def status(self) -> StatusReport:
        """Give how fresh each source is known to be, computed at this moment."""
        ...

    def metrics(self) -> bytes:
        """Give every metric in Prometheus' text format 0.0.4."""
        ...

    def search(self, query: str, k: int, where: SearchFilter) -> SearchAnswer:
        """Find passages.

        Raises:
            ValueError: `k` is out of range, or a source is not configured.
            StoreUnavailable: The store does not answer.

        """
        ...

    def reindex(self, sources: Sequence[SourceName], *, full: bool) -> str:
        """Begin to look at sources now, all of them for none named; give the id of the job.

        Args:
            sources: Names of configured sources.
            full: Read and parse every document again, whatever its fingerprint says.

        Raises:
            ValueError: A source is not configured.

        """
        ...

    def wait(self, documents: Sequence[tuple[SourceName, DocumentId]], timeout_s: float) -> str:
        """Begin to wait until documents are searchable as they are now, everything for none; give the job's id.

        Raises:
            ValueError: A source is not configured.

        """
        ...

    def verify(self, *, deep: bool, repair: bool, orphans: bool) -> str:
        """Begin to hold the ledger against the store, point by point; give the job's id.

        Args:
            deep: Vectors as well.
            repair: Make the store as the ledger says again; else nothing is changed.
            orphans: Remove what the ledger does not know even where that is more than the guard lets pass.

        """
        ...

    def backup(self, directory: Path) -> str:
        """Begin to copy everything that freshd remembers into a folder; give the job's id.

        Args:
            directory: Absolute; absent or empty, and not in the state directory.

        """
        ...

    def forget(self, names: Sequence[tuple[SourceName, DocumentId | None]], *, undo: bool) -> str:
        """Begin to forget documents and keep them out, or to let them in again; give the job's id.

        Args:
            names: Documents; without one, everything that is known of a source.
            undo: Let them in again.

        """
        ...

    def prune(self, source: SourceName) -> str:
        """Begin to take out what is left of a source that left the config; give the job's id."""
        ...

    def changes(
        self,
        after: int,
        limit: int,
        source: SourceName | None = None,
        document_id: DocumentId | None = None,
        heard: int = 0,
    ) -> ChangesAnswer:
        """Give applied changes after a sequence number, oldest first; a negative number counts from the newest back.

        Args:
            after: -20 gives the newest 20.
            limit: At most so many.
            source: Only of this source.
            document_id: Only of this document; needs `source`.
            heard: The newest gap that was told already.

        Raises:
            ValueError: The source is not configured.

        """
        ...

    def last_change(self) -> int:
        """Give the sequence number of the newest applied change; 0 before the first. Quick."""
        ...

    def dashboard(self) -> Dashboard:
        """Give what the page shows, computed at this moment."""
        ...

    def job(self, job_id: str) -> JobReport | None:
        """Tell how a job stands; None for one that never was or is forgotten."""
        ...

    def deletions(self, source: SourceName, *, approve: bool | None = None) -> HeldDeletions:
        """List the held deletions of a source, after letting them pass (True) or keeping the documents (False).

        Raises:
            ValueError: The source is not configured.

        """
        ...
