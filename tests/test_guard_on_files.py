"""The guard over real files, on a file system that may give the inodes of deleted files to the next ones."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.guard import Guard, Verdict
from freshd.ledger.documents import SqliteLedger
from freshd.model import ChangeKind, Outcome
from freshd.scheduler import Scanner
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import SOURCE, Index, Settings

HUNDRED = [f"page{n:03}.md" for n in range(100)]
OTHERS = [f"other{n:02}.md" for n in range(60)]
FAR = timedelta(days=1)


class Folder:
    """A folder of real files, an index over it, and the looks a daemon takes."""

    def __init__(self, base: Path) -> None:
        self.docs = base / "docs"
        self.docs.mkdir()
        self.clock, self.embedder = ShiftedClock(), HashEmbedder()
        settings = Settings(self.docs, self.clock, self.embedder, guard=Guard())
        self.index = Index(settings, base / "state")
        self.scanner = Scanner(
            target=self.index.target,
            ledger=self.index.ledger,
            sources=self.index.sources,
            guard=settings.guard,
            clock=self.clock,
        )
        self.outcomes: list[Outcome] = []

    @property
    def ledger(self) -> SqliteLedger:
        return self.index.ledger

    def write(self, *names: str) -> None:
        for name in names:
            path = self.docs / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"# {name}\n\nText of {name}.\n")

    def delete(self, *names: str) -> None:
        for name in names:
            (self.docs / name).unlink()

    def inodes(self, *names: str) -> set[int]:
        return {(self.docs / name).stat().st_ino for name in names}

    def index_all(self, *names: str) -> None:
        self.write(*names)
        self.clock.advance(timedelta(seconds=10))  # past the time in which a fingerprint proves nothing
        self.index.reindex()

    def look(self, *places: str) -> None:
        """Look where hints told, again where something was absent, and everywhere if that is called for."""
        now = self.clock.now()
        looked = self.scanner.look(dict.fromkeys(places, now))
        if looked.absent:
            looked = self.scanner.look(dict.fromkeys(looked.absent, now), is_second=True)
        self.apply()
        if looked.wants_scan:
            self.settle()

    def settle(self) -> None:
        verdict = Verdict.WAIT
        while verdict is Verdict.WAIT:
            verdict = self.scanner.scan().verdict
            self.apply()

    def apply(self) -> None:
        while batch := self.ledger.take(self.clock.now() + FAR, 64):
            self.outcomes += self.index.pipeline.run(batch)

    def indexed(self) -> set[str]:
        return {known.document_id for known in self.ledger.known(SOURCE) if known.is_applied}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.index.close()


@pytest.mark.parametrize("by", ["one run", "scan", "hints"])
def test_many_files_removed_are_held_though_others_were_given_their_inodes(folder: Folder, by: str):
    folder.index_all(*HUNDRED)
    old, gone = folder.inodes(*HUNDRED[:60]), HUNDRED[:60]
    folder.delete(*gone)
    folder.write(*OTHERS)
    reused = len(old & folder.inodes(*OTHERS))
    if by == "one run":
        folder.index.reindex()
    elif by == "scan":
        folder.settle()
    else:
        folder.look(*gone, *OTHERS)
    assert folder.ledger.held(SOURCE) == gone, f"{reused} of 60 inodes were given out again"
    assert folder.indexed() == {*HUNDRED, *OTHERS}
    assert folder.ledger.approve(SOURCE) == 60
    folder.apply()
    assert folder.indexed() == {*HUNDRED[60:], *OTHERS}


@pytest.mark.parametrize("by", ["one run", "scan", "hints"])
def test_a_large_folder_that_was_renamed_is_moved_and_not_held(folder: Folder, by: str):
    names = [f"{n:03}.md" for n in range(200)]
    folder.index_all(*HUNDRED[:10], *(f"guide/{name}" for name in names))
    embedded = len(folder.embedder.passages)
    shutil.move(folder.docs / "guide", folder.docs / "manual")
    if by == "one run":
        folder.index.reindex()
    elif by == "scan":
        folder.settle()
    else:
        folder.look("guide", "manual")
    assert folder.ledger.held(SOURCE) == []
    assert folder.indexed() == {*HUNDRED[:10], *(f"manual/{name}" for name in names)}
    assert {outcome.change.kind for outcome in folder.outcomes} <= {ChangeKind.MOVED}
    assert len(folder.embedder.passages) == embedded
