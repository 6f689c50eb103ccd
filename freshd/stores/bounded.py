"""How requests to a server travel: each has one end for connecting, asking and being answered.

The client's own time-out counts for one wait: a server that drips would hold the thread that writes for hours.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from freshd.deadline import BoundStream, Deadline

_CONNECTIONS = 100
_KEPT, _KEPT_S = 20, 5.0


class BoundedTransport(httpx.BaseTransport):
    """Carries requests over pooled connections; safe to use from several threads."""

    def __init__(self, timeout_s: float, *, keeps: bool) -> None:
        """Connect to nothing yet.

        Args:
            timeout_s: Of one request, from its first byte to the last one of its answer.
            keeps: Leave connections open for the next request.

        """
        self._timeout_s = timeout_s
        self._ends = _Ends()
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_KEPT if keeps else 0,
            keepalive_expiry=_KEPT_S,
            network_backend=_Backend(self._ends),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give its answer, of which the body is yet to be read, by the same thread."""
        assert isinstance(request.stream, httpx.SyncByteStream)  # noqa: S101 - as every synchronous client's
        self._ends.set(Deadline(time.monotonic, self._timeout_s))
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _Ends(threading.local):
    """The end of the request that a thread is at; connections are handed from thread to thread."""

    _deadline: Deadline | None = None

    def set(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def at_most(self, timeout_s: float | None, passed: type[Exception]) -> float:
        assert self._deadline is not None  # noqa: S101 - nothing waits outside of a request
        return self._deadline.at_most(timeout_s, passed)


class _Backend(httpcore.SyncBackend):
    """Connects as usual, to streams that end with the request."""

    def __init__(self, ends: _Ends) -> None:
        self._ends = ends

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._ends.at_most(timeout, httpcore.ConnectTimeout)
        return BoundStream(super().connect_tcp(host, port, timeout, local_address, socket_options), self._ends)


class _Body(httpx.SyncByteStream):
    """The body of an answer, whose connection goes back to the pool at its end."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()
