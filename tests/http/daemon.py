"""A daemon reduced to its contract, and an endpoint in front of it on loopback."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import httpx

from freshd.config import HttpSection, Listen
from freshd.http.app import build_app
from freshd.http.binding import bind
from freshd.http.gate import Gate
from freshd.http.server import Server

TOKEN = "t0ken-of-the-daemon-under-test"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}
SOURCES = ("handbook", "news")


class Daemon:
    """A `Control` that says what a test told it to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.alive = True
        self.reason: str | None = None
        self.states: dict[str, str] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.polls = 0
        self.before_search: Callable[[], object] = lambda: None

    def is_alive(self) -> bool:
        return self.alive

    def not_ready(self) -> str | None:
        return self.reason

    def status(self) -> dict[str, Any]:
        return {"status": "pass", "version": "1", "daemon": 1, "sources": [{"name": name} for name in SOURCES]}

    def metrics(self) -> bytes:
        return b"freshd_store_up 1.0\n"

    def search(self, query: str, k: int, where: Any) -> dict[str, Any]:
        self.asked.append((query, k, where.sources, where.path_prefix))
        self.before_search()
        self._check(where.sources)
        return {"query": query, "watermark": None, "hits": []}

    def reindex(self, sources: Any, *, full: bool) -> str:
        self._check(sources)
        return self._begin("reindex", tuple(sources), full)

    def wait(self, documents: Any, timeout_s: float) -> str:
        self._check([source for source, _ in documents])
        return self._begin("wait", tuple(documents), timeout_s)

    def deletions(self, source: str, *, approve: bool | None = None) -> dict[str, Any]:
        self._check([source])
        self.asked.append(("deletions", source, approve))
        return {"source": source, "documents": ["old.md"], "verdict": "held"}

    def job(self, job_id: str) -> dict[str, Any] | None:
        self.polls += 1
        state = self.states.get(job_id)
        return None if state is None else {"job": job_id, "state": state, "done": 0, "total": 1}

    def _begin(self, *asked: Any) -> str:
        self.asked.append(asked)
        job = f"{asked[0]}/{len(self.asked)}"
        self.states[job] = "running"
        return job

    def _check(self, sources: Any) -> None:
        if unknown := set(sources) - set(SOURCES):
            raise ValueError(f"source: got {unknown}")


class Endpoint:
    """A running server, and ways to ask it."""

    def __init__(self, daemon: Daemon, server: Server) -> None:
        self.daemon, self.server = daemon, server
        host, _, port = server.address.rpartition(":")
        self.place = host.strip("[]"), int(port)
        self.client = httpx.Client(base_url=f"http://{server.address}", timeout=10, trust_env=False)

    @property
    def tasks(self) -> Collection[object]:
        """Requests being answered."""
        return self.server._runner.server_state.tasks

    @property
    def connections(self) -> Collection[object]:
        return self.server._runner.server_state.connections

    def get(self, target: str, **headers: str) -> httpx.Response:
        return self.client.get(target, headers=headers)

    def post(self, target: str, body: object = None, headers: dict[str, str] | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return self.client.post(target, content=content, headers={**AUTH, **JSON} if headers is None else headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.place, timeout=10)

    def raw(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send exactly these bytes; give status, headers and body of the answer."""
        with self.connect() as connection:
            connection.sendall(request)
            return answer_on(connection)


def answer_on(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@contextlib.contextmanager
def serving(http_section: HttpSection | None = None, daemon: Daemon | None = None) -> Iterator[Endpoint]:
    """Serve on loopback, by the rules of a config that may listen elsewhere."""
    daemon = daemon or Daemon()
    http_section = http_section or HttpSection(listen=Listen("127.0.0.1", 0))
    server = Server(build_app(daemon, Gate(http_section, TOKEN)), bind(Listen("127.0.0.1", 0)))
    server.start()
    endpoint = Endpoint(daemon, server)
    try:
        yield endpoint
    finally:
        endpoint.client.close()
        server.stop()


def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return False
        threading.Event().wait(0.01)
    return True
