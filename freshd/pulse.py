"""Tells a thread that goes round from one that hangs, without asking it anything."""

import time
from collections.abc import Callable


class Pulse:
    """When a thread last went round: the thread says so, anybody may look.

    Attributes:
        name: Of the thread.
        patience_s: How long a round may take at most; by the clock that nobody can set.

    """

    def __init__(self, name: str, patience_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Rest until the first beat."""
        self.name, self.patience_s = name, patience_s
        self._monotonic = monotonic
        self._at_s: float | None = None

    def beat(self) -> None:
        """Say that the thread goes on."""
        self._at_s = self._monotonic()

    def rest(self) -> None:
        """Say that what comes takes as long as it takes, such as fetching a model: no bound until the next beat."""
        self._at_s = None

    @property
    def is_late(self) -> bool:
        """Whether the thread has not been heard of for longer than a round may take."""
        at_s = self._at_s
        return at_s is not None and self._monotonic() - at_s > self.patience_s
