"""Connections that go to checked addresses only and end at a deadline."""

import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore

CONNECT_S = 10.0
"""For one address: a dead one must leave time for the next."""


class Deadline:
    """An end for everything one call does, whatever the other side drips."""

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


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever the name resolves to by now.

    The name stays in the Host header, in SNI and in the certificate check.
    """

    def __init__(self, inner: httpcore.NetworkBackend, addresses: Sequence[str], deadline: Deadline) -> None:
        """Take addresses in the order they are to be tried; at least one."""
        self._inner = inner
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; `host` is not looked at."""
        *others, last = self._addresses
        for address in others:
            try:
                return self._connect(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, timeout, local_address, socket_options)

    def _connect(
        self, address: str, port: int, timeout: float | None, local_address: str | None, options: Iterable[Any] | None
    ) -> httpcore.NetworkStream:
        timeout = self._deadline.at_most(timeout, httpcore.ConnectTimeout)
        stream = self._inner.connect_tcp(address, port, timeout, local_address, options)
        return _DeadlineStream(stream, self._deadline)


class _DeadlineStream(httpcore.NetworkStream):
    """A stream on which every wait is cut at the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.at_most(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.at_most(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = self._deadline.at_most(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
