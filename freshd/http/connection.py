"""Bounds what a connection may cost: how long it may keep us waiting, and how many there are.

uvicorn limits neither a request that never ends, nor a client that never reads, nor a connection that never asks;
and where it counts connections, idle ones are enough to turn everybody else away.
"""

import asyncio
import socket
from typing import Any, cast

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from freshd.http.gatekeeper import HEADERS
from freshd.http.problems import problem

MAX_CONNECTIONS = 256
"""One more makes the longest idle one leave, or leaves itself when all others are being answered."""

PATIENCE_S = 10.0
"""How long a client may owe the rest of a request, or the reading of an answer, from the first byte to the last."""

GONE_S = 30.0
"""How long a client may leave unacknowledged what it was sent: one whose machine vanished never says goodbye."""

MAX_HEAD_BYTES = 64 * 1024


class BoundedConnection(H11Protocol):
    """One connection, given up when its client owes something for too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Take a new connection, if need be in place of an idle one."""
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since = self.loop.time()
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connected = transport.get_extra_info("socket")
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(GONE_S * 1_000))
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            leaving = _longest_idle(cast("set[BoundedConnection]", self.connections))
            self.connections.discard(leaving)  # now, as more may come before it is closed
            leaving.transport.abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Turn to the next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Go on, as the client has read."""
        super().resume_writing()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, in the shape of all other answers."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if not self.is_idle:
            # Its head was good, what follows is not; whoever works on it finds that the client has left.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = problem(400, f"request: {msg.lower()}", headers={**HEADERS, "connection": "close"})
        self.transport.write(_as_http(self.conn, answer))
        self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def idle_since(self) -> float:
        """By the event loop's clock."""
        return self._idle_since

    def _watch(self) -> None:
        """Start or stop the clock; it is never set back while the client goes on owing."""
        owes_request = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if owes_request or self.flow.write_paused or self.transport.is_closing():
            self._deadline = self._deadline or self.loop.call_later(PATIENCE_S, self.transport.abort)
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _longest_idle(connections: set[BoundedConnection]) -> BoundedConnection:
    """Give the one to do without; the newest if all are being answered, as it has lost nothing yet."""
    idle = [connection for connection in connections if connection.is_idle]
    return min(idle, key=lambda connection: connection.idle_since)


def _as_http(conn: h11.Connection, answer: Response) -> bytes:
    events: tuple[Any, ...] = (
        h11.Response(status_code=answer.status_code, headers=answer.raw_headers),
        h11.Data(data=bytes(answer.body)),
        h11.EndOfMessage(),
    )
    return b"".join(conn.send(event) or b"" for event in events)
