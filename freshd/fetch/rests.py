"""Which hosts asked to be left alone, and for how long, whoever of us they said it to."""

import threading

MOST_HOSTS = 1_024
"""Beyond, what was noted first is forgotten: links lead to any number of hosts."""


class HostRests:
    """Times of rest of hosts, by a clock that nobody can set. Safe to share between threads."""

    def __init__(self) -> None:
        """Begin with nobody at rest."""
        self._lock = threading.Lock()
        self._ends_s: dict[str, float] = {}

    def note(self, host: str, now_s: float, wish_s: float) -> None:
        """Leave a host alone for so many seconds from now; the newest wish counts."""
        with self._lock:
            self._ends_s.pop(host, None)
            self._ends_s = {other: ends_s for other, ends_s in self._ends_s.items() if ends_s > now_s}
            self._ends_s[host] = now_s + wish_s
            if len(self._ends_s) > MOST_HOSTS:
                del self._ends_s[next(iter(self._ends_s))]

    def left_s(self, host: str, now_s: float) -> float:
        """Give for how many seconds a host is still to be left alone; 0 if it may be asked."""
        return max(0.0, self._ends_s.get(host, now_s) - now_s)
