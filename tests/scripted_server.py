"""A small HTTP server on 127.0.0.1 that answers exactly as a test tells it to, well or badly.

    with ScriptedServer() as server:
        server.on("/feed", Reply(200, b"<rss/>", {"ETag": '"1"'}), Reply(304))
        ...
        assert server.requests[0].headers["accept-encoding"] == "gzip"

Replies of a route are given one after another; the last one stays.
Every connection carries one exchange.
"""

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    server_name: str | None = None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer, and how badly.

    Attributes:
        headers: A Content-Length is added unless given here or `chunked`; None as its value leaves it out.
        delay_s: Before the first byte.
        drip_s: Between any two bytes of head and body; 0 sends them at once.
        chunked: Send the body in chunks.
        cut_at: Close after so many bytes of the body (chunk framing included).
        reset: Break the connection instead of answering.
        repeat_body: Send the body so many times over, without a Content-Length.

    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0
    chunked: bool = False
    cut_at: int | None = None
    reset: bool = False
    repeat_body: int = 1

    def head(self) -> bytes:
        fields: dict[str, str | None] = {"Connection": "close"}
        if self.chunked:
            fields["Transfer-Encoding"] = "chunked"
        elif self.repeat_body == 1 and self.status != 304:
            fields["Content-Length"] = str(len(self.body))
        fields.update(self.headers)
        lines = [f"HTTP/1.1 {self.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def pieces(self) -> Iterator[bytes]:
        body = self.body
        if self.chunked:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        body = body[: self.cut_at]
        for _ in range(self.repeat_body):
            yield body


Script = Reply | Callable[[Request], Reply]


class ScriptedServer:
    """Serves until the `with` block ends; routes may be set at any time, from any thread."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._tls = tls
        self._scripts: dict[str, list[Script]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = socketserver.ThreadingTCPServer((host, port), self._exchange, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def host(self) -> str:
        """`host:port`, as `allow_private_hosts` wants it."""
        return f"{self._server.server_address[0]}:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}{path}"

    def on(self, path: str, *scripts: Script) -> str:
        """Set what a path answers; gives its URL. A path without a script answers 404."""
        with self._lock:
            self._scripts[path] = list(scripts)
        return self.url(path)

    def asked(self, path: str) -> list[Request]:
        with self._lock:
            return [request for request in self.requests if request.path == path]

    def _exchange(self, connection: socket.socket, _address: object, _server: object) -> None:
        """Stand in for a handler class: read one request, answer it, close."""
        connection.settimeout(_LONGEST_S)
        with self._lock:
            self.connections += 1
        # A client that gives up breaks the connection; that is what many tests are about.
        with contextlib.suppress(OSError, ValueError):
            name, connection = self._secured(connection)
            with connection:
                request = _read_request(connection, name)
                self._send(connection, self._next_reply(request))

    def _secured(self, connection: socket.socket) -> tuple[str | None, socket.socket]:
        if self._tls is None:
            return None, connection
        names: list[str | None] = []
        self._tls.sni_callback = lambda _socket, name, _context: names.append(name)
        return (secured := self._tls.wrap_socket(connection, server_side=True)) and names[-1], secured

    def _next_reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            scripts = self._scripts.get(request.path, [Reply(404)])
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script if isinstance(script, Reply) else script(request)

    def _send(self, connection: socket.socket, reply: Reply) -> None:
        self._stopping.wait(reply.delay_s)
        if reply.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        for piece in (reply.head(), *([] if reply.status == 304 else reply.pieces())):
            self._send_piece(connection, piece, reply.drip_s)

    def _send_piece(self, connection: socket.socket, piece: bytes, drip_s: float) -> None:
        if not drip_s:
            connection.sendall(piece)
            return
        for byte in piece:
            if self._stopping.wait(drip_s):
                return
            connection.sendall(bytes([byte]))


def _read_request(connection: socket.socket, server_name: str | None) -> Request:
    raw = b""
    while b"\r\n\r\n" not in raw:
        received = connection.recv(65_536)
        if not received:
            raise ValueError("the client left before it asked")
        raw += received
    first, *lines = raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}, server_name)
