"""What the scheduler tells whoever keeps logs and metrics."""

from collections.abc import Sequence
from datetime import timedelta

from freshd.model import Outcome, Pending, SourceName
from freshd.scheduler.indexer import Trouble
from freshd.scheduler.scanner import Scan


class Observer:
    """Hears of everything and does nothing; subclass it for what matters. Called from many threads; must not block."""

    def scanned(self, scan: Scan) -> None:
        """Hear of a finished scan."""

    def scan_failed(self, source: SourceName, error: Exception, failures: int) -> None:
        """Hear of a source that could not be listed, and how often in a row."""

    def finished(self, outcome: Outcome, pending: Pending) -> None:
        """Hear what became of a change."""

    def marked(self, sources: Sequence[SourceName]) -> None:
        """Hear whose watermark may have risen."""

    def troubled(self, trouble: Trouble | None) -> None:
        """Hear that store or model fail, or with None that they are back."""

    def watch_changed(self, source: SourceName, degraded: str | None) -> None:
        """Hear why hints of a source may be missing, or with None that they are complete again."""

    def clock_jumped(self, by: timedelta) -> None:
        """Hear that somebody set the wall clock, and by how much."""

    def died(self, thread: str, error: BaseException) -> None:
        """Hear that a thread ended that must not."""
