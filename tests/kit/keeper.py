"""freshd over sources that a test connects and looks at: real files and HTTP, real ledger, scanner, guard and pipeline.

Points stay in memory, and the model is the text's hash.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina

from connectors.feed import FeedConnector, FeedOptions
from connectors.files import FilesConnector, FilesOptions
from freshd.errors import SourceUnavailable
from freshd.fetch import HttpxFetcher
from freshd.guard import Guard, Verdict
from freshd.model import Document, DocumentRef, Listing, ListingReport, SourceName
from freshd.ports import ConnectorContext
from freshd.scheduler import Scan, Scanner, Target
from tests.scheduler.parts import TARGET, Bench
from tests.scripted_server import ScriptedServer

DOCS, NEWS = SourceName("docs"), SourceName("news")
RSS = {"Content-Type": "application/rss+xml"}


class Keeper(Bench):
    """freshd over whatever a test connects, looked at when the test says so."""

    def __init__(self, folder: Path) -> None:
        (folder / "state").mkdir()
        super().__init__(folder / "state")
        self.folder = folder
        self.root = folder / "docs"
        self.root.mkdir()
        # A day later than the files: none of them was just changed.
        self.clock.advance(datetime.now(UTC) - self.clock.now() + timedelta(days=1))
        self.scanners: dict[SourceName, Scanner] = {}
        self.connect_files()

    def connect(self, name: SourceName, connector: Any, keep_for: timedelta | None = None) -> Any:
        target = Target(name, connector, TARGET, keep_for=keep_for)
        self.connectors[name] = connector
        self.scanners[name] = Scanner(
            target=target, ledger=self.ledger, sources=self.sources, guard=Guard(), clock=self.clock
        )
        return connector

    def connect_files(self, name: SourceName = DOCS, path: Path | None = None, **options: Any) -> FilesConnector:
        context = ConnectorContext(name, self.folder, self.clock, _no_network)
        chosen = FilesOptions.model_validate({"path": str(path or self.root), "watch": False, **options})
        return self.connect(name, FilesConnector(chosen, context))

    def connect_feed(
        self,
        server: ScriptedServer,
        keep_for: timedelta | None = None,
        *,
        main_text: Callable[[Document], Document] = lambda page: page,
        **options: Any,
    ) -> None:
        def fetcher(hosts: Any, ca_file: Any) -> HttpxFetcher:
            return HttpxFetcher(self.clock, hosts, ca_file=ca_file)

        fields = {"url": server.url("/feed"), "allow_private_hosts": [server.host], **options}
        context = ConnectorContext(NEWS, self.folder, self.clock, fetcher, main_text)
        self.connect(NEWS, FeedConnector(FeedOptions.model_validate(fields), context), keep_for)

    def grow(self, *names: str, root: Path | None = None) -> None:
        for name in names:
            path = (root or self.root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {name}\n\nText of {name}.\n")

    def look(self, name: SourceName = DOCS) -> Scan:
        """Look as the daemon does: again where the guard waits for what is unread."""
        while True:
            scan = self.scan(self.scanners[name])
            if scan.verdict is not Verdict.WAIT:
                self.marks.put(scan)
            self.apply()
            if scan.verdict is not Verdict.WAIT:
                return scan

    def look_in_vain(self, name: SourceName = DOCS) -> None:
        with pytest.raises(SourceUnavailable):
            self.look(name)
        self.apply()

    def hint(self, *places: str) -> None:
        """Look where hints told, and again where something was absent."""
        scanner, now = self.scanners[DOCS], self.clock.now()
        looked = scanner.look(dict.fromkeys(places, now))
        if looked.absent:
            scanner.look(dict.fromkeys(looked.absent, now), is_second=True)
        self.apply()

    def indexed(self, name: SourceName = DOCS) -> list[str]:
        """What of a source is in the store and shown."""
        points = [point for point in self.store.points.values() if point.payload["source"] == name]
        admitted = self.ledger.admitted([point.chunk_id for point in points])
        return sorted({p.payload["freshd"]["document_id"] for p in points if p.chunk_id in admitted})

    def embedded_by(self, name: SourceName = DOCS) -> int:
        """Look, and count the texts that the model was given for it."""
        before = len(self.embedder.passages)
        self.look(name)
        return len(self.embedder.passages) - before

    def close(self) -> None:
        for connector in self.connectors.values():
            connector.close()
        super().close()

    def held(self, name: SourceName = DOCS) -> list[str]:
        return [*self.ledger.held(name)]


class MovesUnderTheWalk:
    """A connector whose tree changes at a point of the first listing."""

    def __init__(self, connector: FilesConnector, after: str, move: Callable[[], object]) -> None:
        self._connector, self._after, self._move = connector, after, move
        self.coverage, self.read, self.close = connector.coverage, connector.read, connector.close
        self.is_gone = connector.is_gone
        self._has_moved = False

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        return Listing(self._walk(scope, cursor))

    def _walk(self, scope: str | None, cursor: str | None) -> Generator[DocumentRef, None, ListingReport]:
        listing = self._connector.list(scope, cursor)
        for ref in listing:
            yield ref
            if ref.document_id == self._after and not self._has_moved:
                self._has_moved = True
                self._move()
        return listing.report


def _no_network(*_: Any) -> Any:
    raise AssertionError("files need no network")


def rss(*guids: str) -> bytes:
    items = "".join(f"<item><guid>{guid}</guid><description>text of {guid}</description></item>" for guid in guids)
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>n</title>{items}</channel></rss>'.encode()


@contextlib.contextmanager
def serving() -> Iterator[ScriptedServer]:
    stamina.set_testing(True, attempts=1)
    with ScriptedServer() as server:
        yield server
    stamina.set_testing(False)
