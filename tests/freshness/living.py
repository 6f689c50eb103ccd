"""freshd alive in this process, over real files, a real store and its real endpoint, so that a test can freeze parts.

docs/, a feed ─▶ Live ─▶ endpoint ─▶ /status, /metrics, /, /search, probes ─▶ Said
                  ▲        ▲             └─▶ `freshd status --check`, in this process too
           ticker thread   └ LiveControl
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from unittest import mock

import apscheduler.schedulers.base
import httpx
from click.testing import Result
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from freshd import compose
from freshd.cli import app
from freshd.config import Secrets, load
from freshd.daemon.control import LiveControl
from freshd.daemon.live import Live
from freshd.http.app import build_app
from freshd.http.binding import bind
from freshd.http.gate import Gate
from freshd.http.server import Server
from freshd.model import DocumentId, SearchFilter, SourceName
from freshd.scheduler import Scheduler
from freshd.state import StateDirectory
from tests.kit.embedder import HashEmbedder
from tests.scheduler.parts import eventually

FILES = '[[sources]]\nname = "docs"\ntype = "files"\npath = "docs"\nfreshness_target = "1s"\nobjective = 0.01\n'
"""Scanned every half second. Of its changes one in a hundred has to be on time, so that staleness alone is judged."""

_CONFIG = '[http]\nlisten = "127.0.0.1:0"\n[disk]\nreserve_bytes = 0\n[log]\nlevel = "error"\n'
_TOKEN = "a token that is long enough"
_TICK_S = 0.1

Sample = tuple[str, frozenset[tuple[str, str]]]


class SetClock:
    """The machine's clocks, of which somebody sets the wall clock, and for which time can be made to pass.

    Attributes:
        shift: How far the wall clock is from where it would be, had nobody set it.
        passed: How much time passed that did not.

    """

    def __init__(self, shift: timedelta = timedelta(0)) -> None:
        self.shift, self.passed = shift, timedelta(0)
        self._stands_at: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        at = self._stands_at[0] if self._stands_at else datetime.now(UTC)
        return at + self.shift + self.passed

    def monotonic(self) -> float:
        at_s = self._stands_at[1] if self._stands_at else time.monotonic()
        return at_s + self.passed.total_seconds()

    def at(self, instant_s: float) -> datetime:
        """Give an instant of the monotonic clock by the wall clock, as that goes now."""
        return self.now() - timedelta(seconds=self.monotonic() - instant_s)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let no time pass."""
        self._stands_at = datetime.now(UTC), time.monotonic()
        try:
            yield
        finally:
            self._stands_at = None


@dataclass(frozen=True)
class Said:
    """What every surface says of one source at about one moment.

    Attributes:
        report: The answer of `/status`.
        source: The source's part of it.
        mark: The watermark that search answers with; asked for nothing, so that no store is needed.
        exit_code: Of `freshd status --check`.
        asked_at: By freshd's clock, before the first was asked; `answered_at` after the last.

    """

    report: dict[str, Any]
    source: dict[str, Any]
    samples: dict[Sample, float]
    mark: datetime | None
    page: str
    exit_code: int
    healthz: int
    readyz: int
    asked_at: datetime
    answered_at: datetime

    @property
    def status(self) -> str:
        return str(self.source["status"])

    def metric(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def staleness_by_metrics(self) -> float | None:
        """Give what Prometheus computes: now − watermark."""
        mark_s = self.metric("freshd_source_watermark_timestamp_seconds", source=self.source["name"])
        return None if mark_s is None else self.asked_at.timestamp() - mark_s


class Living:
    """One live freshd; what a test breaks in it is reached through its parts."""

    def __init__(self, root: Path, whole: compose.Whole, live: Live, server: Server, clock: SetClock) -> None:
        self.root, self.docs = root, root / "docs"
        self.whole, self.live, self.server, self.clock = whole, live, server, clock
        self.state = StateDirectory(whole.config.state_dir)
        self.ticks, self.rests = threading.Event(), threading.Event()
        self.ticks.set()
        self._is_over = threading.Event()
        self._n_ticks = 0
        self._ticker = threading.Thread(target=self._tick, name="main")
        self._client = httpx.Client(base_url=f"http://{server.address}", timeout=60, trust_env=False)

    @property
    def scheduler(self) -> Scheduler:
        return self.live._scheduler

    # What is done to it

    def write(self, name: str, text: str) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def set_clock(self, by: timedelta) -> None:
        """Set the wall clock, and wait until the main thread has done its round since."""
        self.clock.shift += by
        self._wait_for_round()

    def pass_time(self, by: timedelta) -> None:
        """Let time pass for freshd, at once, and wait until the main thread has done its round since."""
        self.clock.passed += by
        self.scheduler._timetable._scheduler.wakeup()
        self.scheduler._notify()  # who waits for a hint has waited for so long as well, and goes round
        self._wait_for_round()

    def _wait_for_round(self) -> None:
        n_before = self._n_ticks
        eventually(lambda: self._n_ticks > n_before + 1)

    def start(self) -> None:
        self.live.start()
        self._ticker.start()

    def stop(self) -> None:
        self._is_over.set()
        self.ticks.set()
        self._client.close()
        if self._ticker.is_alive():
            self._ticker.join(60)
        self.live.stop()

    def _tick(self) -> None:
        """Do what the main thread of the process does, a little more often."""
        while not self._is_over.wait(_TICK_S):
            if not self.ticks.is_set():
                self.rests.set()
                self.ticks.wait()
                self.rests.clear()
            self.live.tick()
            self._n_ticks += 1

    # What it says

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self._client.get(path, params=parameters)

    def source(self, name: str = "docs") -> dict[str, Any]:
        return next(
            source for source in self.get("/status").raise_for_status().json()["sources"] if source["name"] == name
        )

    def finds(self, word: str) -> set[str]:
        hits = self.get("/search", q=word, k=20).raise_for_status().json()["hits"]
        return {hit["document_id"] for hit in hits if word in hit["text"]}

    def waits_for(self, document_id: str, source: str = "docs") -> bool:
        """Tell whether a document was tried, and put off."""
        waiting = self.whole.ledger.pending_of(SourceName(source), DocumentId(document_id))
        return waiting is not None and waiting.error is not None

    def command(self, *arguments: str) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(app, [*arguments, "--config", str(self.root / "freshd.toml")])

    def check(self) -> int:
        """Give the exit code of `freshd status --check`."""
        return self.command("status", "--check").exit_code

    def said(self, name: str = "docs") -> Said:
        asked_at = self.clock.now()
        report = self.get("/status").raise_for_status().json()
        return Said(
            report=report,
            source=next(source for source in report["sources"] if source["name"] == name),
            samples=self.samples(),
            mark=self.whole.search.search("", 1, SearchFilter((SourceName(name),))).watermark,
            page=self.get("/").raise_for_status().text,
            exit_code=self.check(),
            healthz=self.get("/healthz").status_code,
            readyz=self.get("/readyz").status_code,
            asked_at=asked_at,
            answered_at=self.clock.now(),
        )

    def samples(self) -> dict[Sample, float]:
        text = self.get("/metrics").raise_for_status().text
        families = text_string_to_metric_families(text)
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def recovers(self, name: str = "docs") -> dict[str, Any]:
        """Have a source scanned now, as a scan that took long is followed by a long pause, and wait until it passes."""
        before = self.source(name)["last_complete_scan_at"]
        self.scheduler.scan_now([SourceName(name)])
        eventually(lambda: self.source(name)["last_complete_scan_at"] != before)
        return self.passes(name)

    def passes(self, name: str = "docs", within_s: float = 60.0) -> dict[str, Any]:
        """Wait until a source is as fresh as promised and nothing of it waits; give its status."""

        def look() -> dict[str, Any] | None:
            source = self.source(name)
            return source if source["status"] == "pass" and not source["pending"] else None

        return eventually(look, within_s)


def _datetime_of(clock: SetClock) -> type[datetime]:
    """Make the `datetime` of a library that reads the wall clock itself."""

    class SetDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "SetDatetime":
            return cls.fromtimestamp(clock.now().timestamp(), tz)

    return SetDatetime


@contextmanager
def opened(
    root: Path, sources: str = FILES, *, settings: str = _CONFIG, shift: timedelta = timedelta(0)
) -> Iterator[Living]:
    """Open a freshd with its endpoint; nothing runs before `start`, and nothing after the block."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "docs").mkdir(exist_ok=True)
    (root / "freshd.toml").write_text(settings + sources)
    clock, control = SetClock(shift), LiveControl()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(compose, "open_embedder", return_value=HashEmbedder()))
        stack.enter_context(mock.patch.object(compose, "SystemClock", return_value=clock))
        stack.enter_context(mock.patch.object(apscheduler.schedulers.base, "datetime", _datetime_of(clock)))
        config = load(root / "freshd.toml")
        whole = stack.enter_context(compose.open_whole(config, Secrets(), must_open_store=False))
        listener = bind(config.http.listen)
        stack.callback(listener.close)
        live = Live(whole)
        server = Server(build_app(control, Gate(config.http, _TOKEN)), listener)
        server.start()
        stack.callback(server.stop)
        StateDirectory(config.state_dir).publish_daemon(server.address, _TOKEN)
        living = Living(root, whole, live, server, clock)
        control.live = live
        stack.callback(living.stop)
        yield living


@contextmanager
def living(root: Path, sources: str = FILES, *, shift: timedelta = timedelta(0)) -> Iterator[Living]:
    """A freshd that runs until the block ends."""
    with opened(root, sources, shift=shift) as one:
        one.start()
        yield one
