"""The time after a failure in which the next try would only fail again, and others are told so at once."""

import threading
from collections.abc import Callable

from freshd.errors import StoreError

_FIRST_S = 0.1
_LAST_S = 5.0


class Pause:
    """Grows while failures follow one another. Safe to use from several threads."""

    def __init__(self, monotonic: Callable[[], float], *, trial_s: float = 0.0) -> None:
        """Begin without one.

        Args:
            monotonic: Tells the time.
            trial_s: How long the first one that tries after a pause has it to itself, at most; others go on pausing.

        """
        self._monotonic = monotonic
        self._trial_s = trial_s
        self._lock = threading.Lock()
        self._length_s = 0.0
        self._ends_at_s = 0.0
        self._cause: StoreError | None = None

    def begin(self, cause: StoreError) -> None:
        """Pause from now, twice as long as last time."""
        with self._lock:
            self._length_s = min(max(self._length_s * 2, _FIRST_S), _LAST_S)
            self._ends_at_s = self._monotonic() + self._length_s
            self._cause = cause

    def check(self) -> None:
        """Raise the cause again while the pause lasts."""
        with self._lock:
            cause, now_s = self._cause, self._monotonic()
            left_s = self._ends_at_s - now_s
            if cause is None or left_s <= 0:
                self._ends_at_s = now_s + self._trial_s
                return
        raise type(cause)(f"{cause} (next try in {left_s:.1f} s)", hint=cause.hint)

    def end(self) -> None:
        """Forget earlier failures: something worked."""
        with self._lock:
            self._length_s, self._cause = 0.0, None
