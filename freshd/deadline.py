"""An end for everything that one exchange with a server does, whatever the other side drips.

A time-out counts for one wait; a server that sends a byte now and then is never late by it.
"""

import ssl
from collections.abc import Callable
from typing import Any, Protocol

import httpcore

_PIECE_BYTES = 16_384
"""Written at once: a peer that takes a little now and then does not hold a large request beyond its end."""


class Bound(Protocol):
    """What bounds a wait."""

    def at_most(self, timeout_s: float | None, passed: type[Exception]) -> float:
        """Give the shorter of a time-out and what is left; raise `passed` when nothing is."""
        ...


class Deadline:
    """An end that is fixed."""

    def __init__(self, monotonic: Callable[[], float], seconds: float) -> None:
        """Start to count now."""
        self._monotonic = monotonic
        self._ends = monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self._ends - self._monotonic())

    def at_most(self, timeout_s: float | None, passed: type[Exception]) -> float:
        """Give the shorter of a time-out and what is left; raise `passed` when nothing is."""
        left_s = self.left_s()
        if left_s <= 0:
            raise passed("deadline passed")
        return left_s if timeout_s is None else min(timeout_s, left_s)


class BoundStream(httpcore.NetworkStream):
    """A stream on which every wait is cut at an end."""

    def __init__(self, inner: httpcore.NetworkStream, bound: Bound) -> None:
        """Take over a stream."""
        self._inner = inner
        self._bound = bound

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for some."""
        return self._inner.read(max_bytes, self._bound.at_most(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""
        for start in range(0, len(buffer), _PIECE_BYTES):
            piece = buffer[start : start + _PIECE_BYTES]
            self._inner.write(piece, self._bound.at_most(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close it."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on encrypted, bounded as before."""
        timeout = self._bound.at_most(timeout, httpcore.ConnectTimeout)
        return BoundStream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._bound)

    def get_extra_info(self, info: str) -> Any:
        """Give what is known of it."""
        return self._inner.get_extra_info(info)
