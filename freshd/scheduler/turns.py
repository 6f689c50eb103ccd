"""Which sources wait because two others of the same host are being looked at: outside any thread.

The threads that look are few; sources of a slow host would take all of them, and others would be late.
"""

import threading
from collections import Counter
from collections.abc import Iterable

from freshd.model import SourceName

AT_ONCE = 2
"""Sources of one host that are looked at in one moment."""


class Turns:
    """Turns of sources at hosts, first come, first served. Safe to share between threads."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        """Begin with nobody looking."""
        self._at_once = at_once
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, dict[SourceName, None]] = {}

    def take(self, host: str, name: SourceName) -> bool:
        """Tell whether a source may be looked at now; if not, `give` names it once it may."""
        with self._lock:
            if self._taken[host] < self._at_once:
                self._taken[host] += 1
                return True
            self._waiting.setdefault(host, {})[name] = None
            return False

    def give(self, host: str) -> Iterable[SourceName]:
        """End a look; give the source whose turn it is now, if any waits. It takes its turn like any other."""
        with self._lock:
            self._taken[host] -= 1
            if not self._taken[host]:
                del self._taken[host]
            waiting = self._waiting.get(host, {})
            following = list(waiting)[:1]
            for name in following:
                del waiting[name]
            if not waiting:
                self._waiting.pop(host, None)
            return following
