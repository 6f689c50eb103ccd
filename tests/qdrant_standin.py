"""A Qdrant server small enough to read: the REST routes that freshd calls, over qdrant-client's local mode.

It is strict where a careless caller would get away with it: a write that does not ask to wait is refused,
and so is a wrong key. It remembers every request, and can be told to fail the next ones.
What it cannot show is a real server's concurrency and its optimiser.
"""

import json
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

FilterOrIds = TypeAdapter(models.PointsSelector)


@dataclass
class Failure:
    """What to do to a request instead of answering it: a status, or no answer, before or after applying it."""

    status: int | None = None
    applies: bool = False
    body: bytes = b'{"status": {"error": "injected"}}'
    retry_after: str | None = None


@dataclass
class Standin:
    """The server's state; tests read `requests` and `refused`, those too large, and append to `failures`."""

    url: str = ""
    version: str = "1.19.0"
    api_key: str | None = None
    most_bytes: int = 32 << 20
    refused: int = 0
    client: QdrantClient = field(default_factory=lambda: QdrantClient(":memory:"))
    requests: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    schema: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, query: str, body: Any) -> Any:
        """Give the `result` of one request.

        Raises:
            KeyError: The collection does not exist.
            ValueError: Anything else a server would not take.

        """
        if (answer := ROUTES_OF_ALL.get((method, path))) is not None:
            return answer(self, body)
        _, _, name, *rest = path.split("/")
        route = (method, "/".join(rest))
        aliases = {one.alias_name: one.collection_name for one in self.client.get_aliases().aliases}
        if route == ("GET", "exists"):
            return {"exists": self.client.collection_exists(name)}
        name = aliases.get(name, name)
        if route == ("PUT", ""):
            return self._create(name, models.CreateCollection.model_validate(body))
        if not self.client.collection_exists(name):
            raise KeyError(f"Not found: Collection `{name}` doesn't exist!")
        if (is_write := route in WRITES) and "wait=true" not in query:
            raise ValueError("a write that does not wait")
        result = {**WRITES, **READS}[route](self, name, body)
        done = {"operation_id": 0, "status": "completed"}
        return result if not is_write else [done] if route[1] == "points/batch" else done

    def _create(self, name: str, wanted: models.CreateCollection) -> bool:
        self.schema[name] = {}
        return self.client.create_collection(
            name,
            vectors_config=wanted.vectors,
            sparse_vectors_config=wanted.sparse_vectors,
            metadata=wanted.metadata,
        )

    def tell_version(self, _: Any) -> Any:
        return {"title": "qdrant - vector search engine", "version": self.version}

    def list_aliases(self, _: Any) -> Any:
        return self.client.get_aliases()

    def list_collections(self, _: Any) -> Any:
        return self.client.get_collections()

    def change_aliases(self, body: Any) -> bool:
        return self.client.update_collection_aliases(models.ChangeAliasesOperation.model_validate(body).actions)

    def info(self, name: str, _: Any) -> Any:
        info = plain(self.client.get_collection(name))
        # Local mode knows no indexes.
        return {**info, "payload_schema": self.schema[name]}

    def delete_collection(self, name: str, _: Any) -> bool:
        return self.client.delete_collection(name)

    def index(self, name: str, body: Any) -> None:
        wanted = models.CreateFieldIndex.model_validate(body)
        self.schema[name][wanted.field_name] = {"data_type": "keyword", "params": body["field_schema"], "points": 0}

    def upsert(self, name: str, body: Any) -> None:
        self.client.upsert(name, models.PointsList.model_validate(body).points)

    def batch(self, name: str, body: Any) -> None:
        self.client.batch_update_points(name, models.UpdateOperations.model_validate(body).operations)

    def delete(self, name: str, body: Any) -> None:
        self.client.delete(name, FilterOrIds.validate_python(body))

    def retrieve(self, name: str, body: Any) -> Any:
        return self.client.retrieve(name, body["ids"], body["with_payload"], body["with_vector"])

    def scroll(self, name: str, body: Any) -> Any:
        records, after = self.client.scroll(
            name,
            limit=body["limit"],
            offset=body.get("offset"),
            with_payload=body["with_payload"],
            with_vectors=body["with_vector"],
        )
        return {"points": plain(records), "next_page_offset": after}

    def query(self, name: str, body: Any) -> Any:
        asked = models.QueryRequest.model_validate(body)
        return self.client.query_points(
            name,
            asked.query,
            using=asked.using,
            query_filter=asked.filter,
            limit=asked.limit,
            with_payload=asked.with_payload,
        )

    def count(self, name: str, body: Any) -> Any:
        return self.client.count(name, exact=body["exact"])


WRITES: dict[tuple[str, str], Callable[[Standin, str, Any], Any]] = {
    ("PUT", "index"): Standin.index,
    ("PUT", "points"): Standin.upsert,
    ("POST", "points/batch"): Standin.batch,
    ("POST", "points/delete"): Standin.delete,
}
ROUTES_OF_ALL: dict[tuple[str, str], Callable[[Standin, Any], Any]] = {
    ("GET", "/"): Standin.tell_version,
    ("GET", "/aliases"): Standin.list_aliases,
    ("GET", "/collections"): Standin.list_collections,
    ("POST", "/collections/aliases"): Standin.change_aliases,
}
READS: dict[tuple[str, str], Callable[[Standin, str, Any], Any]] = {
    ("GET", ""): Standin.info,
    ("DELETE", ""): Standin.delete_collection,
    ("POST", "points"): Standin.retrieve,
    ("POST", "points/scroll"): Standin.scroll,
    ("POST", "points/query"): Standin.query,
    ("POST", "points/count"): Standin.count,
}


def plain(value: Any) -> Any:
    """Turn models into what JSON can say."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    standin: Standin

    def handle_request(self) -> None:
        n_bytes = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(n_bytes) or b"null")
        if n_bytes > self.standin.most_bytes:
            self.standin.refused += 1
            self.send(413, b"<html>Request Entity Too Large</html>")
            return
        address = urlsplit(self.path)
        with self.standin.lock:
            self.standin.requests.append((self.command, address.path))
            failure = self.standin.failures.pop(0) if self.standin.failures else None
            if failure is None or failure.applies:
                status, answer = self.respond(address.path, address.query, body)
        if failure is None:
            self.send(status, json.dumps(answer).encode())
        elif failure.status is not None:
            self.send(failure.status, failure.body, failure.retry_after)
        else:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815 - the names http.server looks for

    def respond(self, path: str, query: str, body: Any) -> tuple[int, Any]:
        if path != "/" and self.headers.get("api-key") != self.standin.api_key:
            return 401, {"status": {"error": "Must provide an API key"}}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = self.standin.answer(self.command, path, query, body)
        except KeyError as error:
            return 404, {"status": {"error": str(error)}, "time": 0.0}
        except ValueError as error:
            return 400, {"status": {"error": str(error)}, "time": 0.0}
        # That one answer stands alone.
        return 200, result if path == "/" else {"result": plain(result), "status": "ok", "time": 0.0}

    def send(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: stderr is the test's."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


@contextmanager
def serving(api_key: str | None = None) -> Iterator[Standin]:
    """Serve on a free loopback port until the block ends."""
    standin = Standin(api_key=api_key)
    handler = type("BoundHandler", (Handler,), {"standin": standin})
    with Server(("127.0.0.1", 0), handler) as server:
        standin.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield standin
        finally:
            server.shutdown()
            thread.join()
            standin.client.close()
