"""A daemon reduced to its contract, and an endpoint in front of it on loopback."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from freshd.config import HttpSection, Listen
from freshd.errors import FreshdError
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
        self.reason: str | FreshdError | None = None
        self.states: dict[str, str] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.polls = 0
        self.before_search: Callable[[], object] = lambda: None
        self.shown: Callable[[], dict[str, Any]] = dashboard
        self.history: list[dict[str, Any]] = []
        self.forgotten = 0
        self.gap = 0
        self.looks = 0
        self.before_changes: Callable[[], object] = lambda: None
        self.before_look: Callable[[], object] = lambda: None
        self.after_changes: Callable[[], object] = lambda: None

    def is_alive(self) -> bool:
        return self.alive

    def not_ready(self) -> str | None:
        if isinstance(self.reason, FreshdError):
            raise self.reason
        return self.reason

    def status(self) -> dict[str, Any]:
        return {"status": "pass", "version": "1", "daemon": 1, "sources": [{"name": name} for name in SOURCES]}

    def dashboard(self) -> dict[str, Any]:
        return self.shown()

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

    def verify(self, *, deep: bool, repair: bool, orphans: bool) -> str:
        return self._begin("verify", deep, repair, orphans)

    def backup(self, directory: Any) -> str:
        return self._begin("backup", directory)

    def forget(self, names: Any, *, undo: bool) -> str:
        return self._begin("forget", tuple(names), undo)

    def prune(self, source: str) -> str:
        return self._begin("prune", source)

    def apply(self, source: str = "handbook", document_id: str = "leave.md") -> int:
        """Apply one change; give its sequence number."""
        seq = len(self.history) + 1
        self.history.append({"seq": seq, "source": source, "document_id": document_id, "kind": "modified"})
        return seq

    def changes(
        self, after: int, limit: int, source: str | None = None, document_id: str | None = None, heard: int = 0
    ) -> dict[str, Any]:
        """Read as a ledger does: the newest number first, then the page; so that nothing falls between."""
        self.before_changes()
        if source is not None:
            self._check([source])
        self.asked.append(("changes", after, limit, source, document_id, heard))
        gap, newest = self.gap, len(self.history)
        wanted = [
            one
            for one in self.history[self.forgotten : newest]
            if source in (None, one["source"]) and document_id in (None, one["document_id"])
        ]
        found = wanted[after:][-limit:] if after < 0 else [one for one in wanted if one["seq"] > after][:limit]
        is_cut = after >= 0 and len(found) == limit
        self.after_changes()
        return {
            "changes": found,
            "last_seq": found[-1]["seq"] if is_cut else newest,
            "is_gapless": after < 0 or (after >= self.forgotten and max(after, heard) >= self.gap),
            "gap_seq": gap,
        }

    def last_change(self) -> int:
        self.looks += 1
        self.before_look()
        return len(self.history)

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


def instant(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def source(name: str = "handbook", **differences: Any) -> dict[str, Any]:
    """Give the status of a source that does well."""
    now_s = time.time()
    return {
        "name": name,
        "type": "files",
        "status": "pass",
        "reasons": [],
        "documents": 619,
        "chunks": 8_211,
        "pending": 0,
        "held": 0,
        "quarantined": 0,
        "quarantine": [],
        "divergent": 0,
        "watermark": instant(now_s - 12),
        "staleness_seconds": 12.0,
        "freshness_target_seconds": 60.0,
        "oldest_pending_at": None,
        "objective": 0.99,
        "objective_window_seconds": 28 * 86_400.0,
        "changes": {"within_target": 1_204, "total": 1_206},
        "error_budget_remaining": 0.834163,
        "burn_rate_1h": 0.0,
        "burn_rate_6h": 0.21,
        "lag_seconds": {"p50": 1.214, "p99": 4.02},
        "time_to_forget_seconds": {"p50": 1.9, "p99": 6.1},
        "failing_since": None,
        "overdue_since": None,
        "canary": None,
        "last_scan_at": instant(now_s - 12),
        "last_complete_scan_at": instant(now_s - 12),
        "next_scan_at": instant(now_s + 18),
        "scan_interval_seconds": 30.0,
        "watch": "watching",
        "last_error": None,
        **differences,
    }


def change(document_id: str = "leave.md", **differences: Any) -> dict[str, Any]:
    """Give an edit of one paragraph in a page of 21."""
    now_s = time.time()
    return {
        "seq": 1,
        "source": "handbook",
        "document_id": document_id,
        "kind": "modified",
        "previous_id": None,
        "changed_at": instant(now_s - 41),
        "searchable_at": instant(now_s - 40),
        "lag_seconds": 1.3,
        "chunks": {"embedded": 1, "reused": 0, "relabelled": 2, "kept": 18, "removed": 1},
        "embedded_characters": 612,
        **differences,
    }


def dashboard(*sources: dict[str, Any], **differences: Any) -> dict[str, Any]:
    """Give what the page shows at this moment: two sources that do well, unless others are given.

    `trails`, `newest` and `comparison` replace their namesakes; the rest is of the status.
    """
    now_s = time.time()
    shown = list(sources) or [source(name) for name in SOURCES]
    teeth = [(now_s - ago, now_s - ago - 0.2) for ago in range(3_612, 0, -30)]
    trails = differences.pop("trails", {one["name"]: teeth for one in shown})
    newest = differences.pop("newest", [change()])
    comparison = differences.pop("comparison", None)
    status = {
        "status": "pass",
        "version": "1",
        "at": instant(now_s),
        "daemon": 4_242,
        "config_error": None,
        "store": {"kind": "embedded", "collection": "knowledge", "error": None},
        "verify": {
            "checked_at": instant(now_s - 7_300),
            "checked": 8_211,
            "missing": 0,
            "orphaned": 0,
            "damaged": 0,
            "repaired": 0,
            "held": 0,
            "foreign": 0,
            "elapsed_seconds": 1.4,
            "examples": [],
        },
        "indexing": None,
        "generation": {"live": "knowledge-1a2b3c4d", "filling": None, "retired": None},
        "sources": shown,
        "removed": [],
        **differences,
    }
    return {"status": status, "trails": trails, "newest": newest, "comparison": comparison}


class Endpoint:
    """A running server, and ways to ask it."""

    def __init__(self, daemon: Daemon, server: Server) -> None:
        self.daemon, self.server = daemon, server
        host, _, port = server.address.rpartition(":")
        self.place = host.strip("[]"), int(port)
        self.client = httpx.Client(base_url=f"http://{server.address}", timeout=60, trust_env=False)

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
        return socket.create_connection(self.place, timeout=60)

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


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> bool:
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return False
        threading.Event().wait(0.01)
    return True
