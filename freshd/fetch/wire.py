"""Connections that go to checked addresses only and end at a deadline."""

from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from freshd.deadline import BoundStream, Deadline

CONNECT_S = 10.0
"""For one address: a dead one must leave time for the next."""


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
        return BoundStream(stream, self._deadline)
