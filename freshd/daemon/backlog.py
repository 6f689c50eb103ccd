"""What is being worked off, how far it is, and about how long the rest will take."""

import threading
from collections.abc import Mapping

from freshd.model import Change
from freshd.ports import Clock
from freshd.shapes import Indexing


class Backlog:
    """Counts finished documents from when something became pending until nothing is. Safe to use from several threads.

    The time left is told from the pace since it began.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing to do."""
        self._clock = clock
        self._lock = threading.Lock()
        self._began_s: float | None = None
        self._done = 0
        self._newest: Change | None = None

    def finished(self, change: Change) -> None:
        """Count a document that is done."""
        with self._lock:
            self._begin()
            self._done += 1
            self._newest = change

    def view(self, pending: Mapping[str, int]) -> Indexing | None:
        """Tell how far it is.

        Args:
            pending: How many documents wait, by source.

        Returns:
            None when none does.

        """
        left = sum(pending.values())
        with self._lock:
            if not left:
                self._began_s, self._done, self._newest = None, 0, None
                return None
            elapsed_s, done, newest = self._begin(), self._done, self._newest
        return {
            "source": newest.source if newest else next(name for name, n in pending.items() if n),
            "document_id": newest.document_id if newest else None,
            "done": done,
            "total": done + left,
            "eta_seconds": round(elapsed_s / done * left, 1) if done else None,
        }

    def _begin(self) -> float:
        """Begin unless it has begun; give the seconds since."""
        now_s = self._clock.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s
