"""Keeps what repeats from filling the log."""

import threading
from collections import OrderedDict
from collections.abc import Callable


class RepeatLimit:
    """Lets the first few of a kind pass in each period, and counts the others. Safe to share between threads."""

    def __init__(self, limit: int, period_s: float, monotonic: Callable[[], float], *, max_kinds: int = 1_000) -> None:
        """Start with nothing seen.

        Args:
            limit: How many of one kind pass in a period.
            period_s: Begins with the first of a kind, and again with the first after its end.
            monotonic: Seconds since some moment.
            max_kinds: How many kinds are remembered; beyond it the one seen first is forgotten.

        """
        self._limit, self._period_s, self._monotonic, self._max_kinds = limit, period_s, monotonic, max_kinds
        self._seen: OrderedDict[object, tuple[float, int]] = OrderedDict()
        self._lock = threading.RLock()  # a signal handler may speak while its own thread does

    def admit(self, kind: object) -> int | None:
        """Count one more of its kind.

        Returns:
            None if it is one too many; else how many were suppressed since the last that passed, mostly 0.

        """
        now_s = self._monotonic()
        with self._lock:
            began_s, count = self._seen.get(kind, (now_s, 0))
            suppressed = 0
            if now_s - began_s >= self._period_s:
                began_s, count, suppressed = now_s, 0, max(0, count - self._limit)
            self._seen[kind] = began_s, count + 1
            while len(self._seen) > self._max_kinds:
                self._seen.popitem(last=False)
        return suppressed if count < self._limit else None
