"""A real `freshd run` over a folder of its own: started, asked over its endpoint, watched, and ended by its pid."""

import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from freshd.state import DaemonRecord, StateDirectory
from tests.kit import forked
from tests.kit.forked import Forked

T = TypeVar("T")

LONG_S = 60.0
"""Only what never comes is waited for so long: a machine that is busy stops any process for seconds."""
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A client that is given none makes one of its own, which takes 20 ms."""

FILES = '[[sources]]\nname = "handbook"\ntype = "files"\npath = "docs"\nfreshness_target = "1m"\n'
"""A scan every 30 s: what is found sooner was found by a hint."""


def eventually(question: Callable[[], T], within_s: float = LONG_S, every_s: float = 0.03) -> T:
    """Ask until the answer is true; give it. The last answer is the failure's message."""
    until = time.monotonic() + within_s
    while not (answer := question()):
        assert time.monotonic() < until, f"not within {within_s} s; last answer: {answer!r}"
        time.sleep(every_s)
    return answer


class Instance:
    """A folder with documents and a config, and the daemon over it while one runs.

    Attributes:
        module: The program; freshd, or freshd in disguise.

    """

    module = "freshd.__main__"

    def __init__(self, root: Path, sources: str = FILES, *, settings: str = "") -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.docs = root / "docs"
        self.docs.mkdir(exist_ok=True)
        self.state = StateDirectory(root / ".freshd")
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.record: DaemonRecord | None = None
        self.configure(sources, settings)

    # What it is given

    def configure(self, sources: str, settings: str = "") -> None:
        (self.root / "freshd.toml").write_text(f'{settings}\n[http]\nlisten = "127.0.0.1:0"\n{sources}')

    def write(self, name: str, text: str) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    # Its life

    def start(self, **environment: str) -> "Instance":
        """Start and return once it can be asked."""
        self.launch(**environment)
        self.record = eventually(self._record)
        return self

    def launch(self, **environment: str) -> Forked:
        """Start, and return at once."""
        with (self.root / "log").open("ab") as log:
            streams = {"out": log.fileno(), "err": log.fileno()}
            self.process = forked.start("run", folder=self.root, environment=environment, module=self.module, **streams)
        return self.process

    def _record(self) -> DaemonRecord | None:
        assert self.process is not None
        assert self.process.poll() is None, self.log_text()
        record = self.state.read_daemon()
        return record if record and record.pid == self.process.pid else None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, within_s: float = LONG_S) -> int:
        """Wait for its end; give its exit code."""
        assert self.process is not None
        return self.process.wait(within_s)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.ended()

    def close(self) -> None:
        """End what still runs, the store's process included, however it stands."""
        if self.process is None or self.process.poll() is not None:
            return
        children = self.children()
        self.process.kill()
        self.process.wait()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def children(self) -> list[int]:
        """Process ids of its children, the store's among them."""
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found: list[int] = []
        for file in text.parent.parent.glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
                found += map(int, file.read_text().split())
        return found

    # What it says

    def http(self, timeout_s: float = LONG_S) -> httpx.Client:
        assert self.record is not None
        return httpx.Client(
            base_url=f"http://{self.record.address}",
            headers={"authorization": f"Bearer {self.record.token}"},
            timeout=timeout_s,
            trust_env=False,
            verify=_NO_TLS,
        )

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        with self.http() as client:
            return client.get(path, params=parameters)

    def answered(self, path: str, **parameters: Any) -> httpx.Response:
        """Ask, again while one config takes over from another, and expect that it can be answered."""

        def ask() -> httpx.Response | None:
            answer = self.get(path, **parameters)
            return None if answer.status_code == 503 and "freshd is starting" in answer.text else answer

        return eventually(ask).raise_for_status()

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.answered("/status").json()
        return answer

    def sources(self) -> list[dict[str, Any]]:
        """Every source, or none while one config takes over from another."""
        answer = self.get("/status")
        return answer.json()["sources"] if answer.is_success else []

    def source(self, name: str = "handbook") -> dict[str, Any]:
        return next(source for source in self.status()["sources"] if source["name"] == name)

    def hits(self, query: str, k: int = 20, **parameters: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.answered("/search", q=query, k=k, **parameters).json()["hits"]
        return answer

    def places(self, query: str) -> set[str]:
        """Ids of the documents whose text, word for word, holds the query."""
        return {hit["document_id"] for hit in self.hits(query) if query in hit["text"]}

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(self.answered("/metrics").text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics()[name, frozenset(labels.items())]

    def embedded(self) -> float:
        return self.metric("freshd_chunks_total", source="handbook", fate="embedded")

    def settled(self, name: str = "handbook", within_s: float = LONG_S) -> dict[str, Any]:
        """Wait until a source was listed completely and nothing of it is pending; give its status."""

        def look() -> dict[str, Any] | None:
            source = self.source(name)
            return source if source["watermark"] and not source["pending"] else None

        return eventually(look, within_s)

    def command(self, *arguments: str | bytes, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
        return freshd(self.root, *arguments, timeout_s=timeout_s)

    def log_text(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def events(self, name: str) -> list[Mapping[str, Any]]:
        lines = [line for line in self.log_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for line in lines if (event := json.loads(line))["event"] == name]


def freshd(root: Path, *arguments: str | bytes, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder."""
    return forked.run(*arguments, folder=root, timeout_s=timeout_s)


@contextmanager
def instance(root: Path, sources: str = FILES, *, settings: str = "") -> Iterator[Instance]:
    """An instance that is over when the block ends, whatever happened in it."""
    one = Instance(root, sources, settings=settings)
    try:
        yield one
    finally:
        one.close()
