"""How many requests are under way to one host at one moment, whoever of us asks."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 2
"""What browsers of old allowed themselves, and what no operator of a server has complained about."""


class HostTurns:
    """Turns at hosts; one that has to be waited for is waited for in the asking thread. Safe to share between threads.

    Remembers nothing of a host that nobody asks.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        """Begin with nobody asking."""
        self._at_once = at_once
        self._changed = threading.Condition()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def at(self, host: str, within_s: float) -> Iterator[None]:
        """Ask a host meanwhile.

        Raises:
            TimeoutError: Others were asking it all the time.

        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken[host] < self._at_once, within_s):
                raise TimeoutError
            self._taken[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[host] -= 1
                if not self._taken[host]:
                    del self._taken[host]
                self._changed.notify_all()
