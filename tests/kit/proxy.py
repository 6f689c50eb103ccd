"""A TCP proxy on loopback that does to requests what networks do to them; in front of any HTTP server.

    with Proxy(server_port) as proxy:
        proxy.faults = [Fault.DROP_REPLY]          the next request is applied, and its answer lost
        proxy.always = Fault.REFUSE                every connection is, until this is None again

It reads requests and answers whole, one connection for each exchange, so that it knows what it cuts where.
"""

import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

_LONGEST_S = 30.0


class Fault(Enum):
    """What becomes of one request."""

    REFUSE = auto()
    """The connection is closed before anything is read."""
    RESET = auto()
    """The connection is reset in the middle of the request; the server never hears of it."""
    DROP_REPLY = auto()
    """The server does what it is asked, and the connection ends without an answer."""
    HALF_REPLY = auto()
    """The server does what it is asked, and half of its answer arrives."""
    GARBAGE = auto()
    """The server does what it is asked, and the body of its answer is no JSON."""
    EMPTY = auto()
    """The server does what it is asked, and its answer is JSON without anything in it."""
    SILENCE = auto()
    """The server does what it is asked, and nothing arrives until the client gives up."""


@dataclass(frozen=True, slots=True)
class Status:
    """An answer in place of the server's, which hears nothing."""

    code: int
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Slow:
    """The server does what it is asked, and its answer takes its time.

    Attributes:
        delay_s: Before the first byte.
        drip_s: After each byte; 0 sends them at once.

    """

    delay_s: float = 0.0
    drip_s: float = 0.0


Trouble = Fault | Status | Slow


class Proxy:
    """Passes requests on until the `with` block ends; what goes wrong may be set at any time, from any thread.

    Attributes:
        faults: For the next requests, one each; what is None goes through.
        always: For every request while `faults` is empty.
        asked: Method and path of every request that came.
        on_request: Called with method and path before a request is passed on.

    """

    def __init__(self, port: int) -> None:
        """Listen on a free port in front of another one on loopback."""
        self.faults: list[Trouble | None] = []
        self.always: Trouble | None = None
        self.asked: list[tuple[str, str]] = []
        self.on_request: Callable[[str, str], None] = lambda *_: None
        self._behind = port
        self._lock = threading.Lock()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._exchange)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._closing = threading.Event()

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Of the server, by way of this."""
        return f"http://127.0.0.1:{self.port}"

    def _next(self) -> Trouble | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else self.always

    def _exchange(self, client: socket.socket, _address: object, _server: object) -> None:
        with contextlib.suppress(OSError, ValueError), client:
            client.settimeout(_LONGEST_S)
            self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        client.recv(1, socket.MSG_PEEK)  # an idle connection of a pool uses up no fault
        fault = self._next()
        if fault is Fault.REFUSE:
            return
        request = _message(client)
        if fault is Fault.RESET:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        method, path, _ = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        self.asked.append((method, path.partition("?")[0]))
        self.on_request(method, path)
        if isinstance(fault, Status):
            client.sendall(_answer(fault))
            return
        reply = self._behind_it(request)
        if fault is Fault.DROP_REPLY:
            return
        if fault is Fault.SILENCE:
            self._wait_until_gone(client)
        elif fault is Fault.HALF_REPLY:
            client.sendall(reply[: len(reply) // 2])
        elif fault is Fault.GARBAGE:
            client.sendall(_with_body(reply, b"\xff{]"))
        elif fault is Fault.EMPTY:
            client.sendall(_with_body(reply, b"{}"))
        elif isinstance(fault, Slow):
            self._drip(client, reply, fault)
        else:
            client.sendall(reply)

    def _drip(self, client: socket.socket, reply: bytes, slow: Slow) -> None:
        self._closing.wait(slow.delay_s)
        step = 1 if slow.drip_s else len(reply)
        for start in range(0, len(reply), step):
            client.sendall(reply[start : start + step])
            if self._closing.wait(slow.drip_s):
                return

    def _behind_it(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._behind), timeout=_LONGEST_S) as server:
            server.sendall(request)
            return _closing(_message(server))

    def _wait_until_gone(self, client: socket.socket) -> None:
        client.settimeout(0.05)
        ends_s = time.monotonic() + _LONGEST_S
        while not self._closing.is_set() and time.monotonic() < ends_s:
            with contextlib.suppress(TimeoutError):
                if not client.recv(1):
                    return


def _message(connection: socket.socket) -> bytes:
    """Read a head and the body whose length it tells."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += _some(connection)
    head, _, body = raw.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    length = int(lengths[0]) if lengths else 0
    while len(body) < length:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    if not received:
        raise ValueError("the other side left")
    return received


def _closing(reply: bytes) -> bytes:
    """Say that the connection ends with this answer: the next request finds a connection, and a fault, of its own."""
    first, rest = reply.split(b"\r\n", 1)
    return first + b"\r\nConnection: close\r\n" + rest


def _with_body(reply: bytes, body: bytes) -> bytes:
    """Put another body into an answer, padded with blanks to the length that it tells."""
    head, _, old = reply.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + body.ljust(len(old))[: len(old)]


def _answer(status: Status) -> bytes:
    body = b'{"status": {"error": "injected"}, "time": 0.0}'
    head = [f"HTTP/1.1 {status.code} Injected", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head += ["Connection: close"] + ([f"Retry-After: {status.retry_after}"] if status.retry_after else [])
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
