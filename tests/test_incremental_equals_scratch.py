"""The central promise: an index kept up through any edits equals one made from the files as they are now.

Real files, SQLite, Qdrant Edge, parsers and chunker; the vectors are hashes, their truth is not in question.
The kept-up index is not restarted in between, so that whatever the engine remembers of deleted points shows.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from freshd import faults
from freshd.chunker import ChunkLimits
from freshd.model import Document, DocumentRef
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.failpoints import STEPS
from tests.kit.histories import memory, profile
from tests.kit.world import Index, Settings, assert_same_index

PARAGRAPHS = (
    "Everybody has twenty-eight days of leave a year.",
    "Trains are booked by the office, flights need the consent of the team lead.",
    "A lost key is reported to the porter within one hour, also at night and on holidays. " * 3,
    "# Leave",
    "## Parents",
    "- one\n- two\n- three",
    "| key | door |\n| --- | --- |\n| 1 | front |",
    "Keys\n====",
    "```\nfor key in keys:\n    key.turn()\n```",
    "Leave the key, keep the leave: größer, naïve, 日本語 text.",
    "short",
)
"""Few, so that documents share text, repeat it, and come back to it."""

NAMES = ("a.md", "a.rst", "b.md", "notes.txt", "page.html", "sub/a.md", "sub/deep/b.md", "z.md", "z.md/inner.md")
"""`z.md` is a file at one time and a folder at another."""

QUERIES = ("days of leave", "who reports a lost key", "größer", "trains and flights", "for key in keys", "front door")

paragraphs = st.sampled_from(PARAGRAPHS)
texts = st.lists(paragraphs, max_size=8)
places = st.integers(0, 30)


class Folder(RuleBasedStateMachine):
    """A folder that people work in, and an index that follows."""

    def __init__(self) -> None:
        super().__init__()
        self._base = Path(tempfile.mkdtemp(prefix="freshd-", dir=memory()))
        self._docs = self._base / "docs"
        self._docs.mkdir()
        self._clock = ShiftedClock()
        self._embedder = HashEmbedder(max_tokens=64)
        settings = Settings(self._docs, self._clock, self._embedder, ChunkLimits(10, 40))
        self._settings = settings
        self._index = Index(settings, self._base / "kept-up")
        self._undo: list[tuple[str, bytes]] = []
        self._has_crashed = False

    def teardown(self) -> None:
        """Whatever was left undone is done and compared, unless something failed already."""
        try:
            if sys.exc_info()[1] is None:
                self.run()
        finally:
            self._index.close()
            shutil.rmtree(self._base)

    # What people do

    @initialize(first=st.dictionaries(st.sampled_from(NAMES[:6]), texts, max_size=4))
    def begin(self, first: dict[str, list[str]]) -> None:
        for name, blocks in first.items():
            self._write(name, blocks)

    @rule(name=st.sampled_from(NAMES), blocks=texts)
    def create(self, name: str, blocks: list[str]) -> None:
        self._write(name, blocks)

    @precondition(lambda self: self._names())
    @rule(which=places, place=places, block=paragraphs)
    def edit_a_paragraph(self, which: int, place: int, block: str) -> None:
        blocks = self._blocks(which)
        self._write(self._pick(which), [*blocks[: place % len(blocks)], block, *blocks[place % len(blocks) + 1 :]])

    @precondition(lambda self: self._names())
    @rule(which=places, place=places, block=paragraphs)
    def insert_a_paragraph(self, which: int, place: int, block: str) -> None:
        blocks = self._blocks(which)
        self._write(self._pick(which), [*blocks[: place % len(blocks)], block, *blocks[place % len(blocks) :]])

    @precondition(lambda self: self._names())
    @rule(which=places, block=paragraphs)
    def append(self, which: int, block: str) -> None:
        with (self._docs / self._pick(which)).open("a") as file:
            file.write(f"\n\n{block}\n")

    @precondition(lambda self: self._names())
    @rule(which=places, size=st.integers(0, 200))
    def truncate(self, which: int, size: int) -> None:
        path = self._docs / self._pick(which)
        self._remember(path)
        path.write_bytes(path.read_bytes()[:size])

    @precondition(lambda self: self._names())
    @rule(which=places)
    def touch(self, which: int) -> None:
        os.utime(self._docs / self._pick(which))

    @precondition(lambda self: self._names())
    @rule(which=places, name=st.sampled_from(NAMES))
    def rename(self, which: int, name: str) -> None:
        source = self._docs / self._pick(which)
        if not self._is_same_place(source, name):
            content = self._base / "on-the-way"
            source.rename(content)
            content.rename(self._room_for(name))

    @precondition(lambda self: self._names())
    @rule(which=places, name=st.sampled_from(NAMES))
    def copy(self, which: int, name: str) -> None:
        source = self._docs / self._pick(which)
        if not self._is_same_place(source, name):
            content = source.read_bytes()
            self._room_for(name).write_bytes(content)

    @precondition(lambda self: len(self._names()) > 1)
    @rule(which=places, other=places)
    def swap(self, which: int, other: int) -> None:
        one, two = self._docs / self._pick(which), self._docs / self._pick(other)
        if one != two:
            between = self._base / "on-the-way"
            one.rename(between)
            two.rename(one)
            between.rename(two)

    @precondition(lambda self: (self._docs / "sub").is_dir())
    @rule(name=st.sampled_from(("moved", "sub/sub")))
    def rename_a_folder(self, name: str) -> None:
        between = self._base / "on-the-way"
        (self._docs / "sub").rename(between)
        between.rename(self._room_for(name))

    @precondition(lambda self: self._names())
    @rule(which=places)
    def delete(self, which: int) -> None:
        path = self._docs / self._pick(which)
        self._remember(path)
        path.unlink()

    @precondition(lambda self: self._undo)
    @rule()
    def undo(self) -> None:
        name, content = self._undo.pop()
        self._room_for(name).write_bytes(content)

    @rule()
    def wait(self) -> None:
        """Long enough that a file's stat tuple is believed."""
        self._clock.advance(timedelta(seconds=3))

    # What freshd does

    @rule()
    def run(self) -> None:
        self._index.reindex()
        self.compare()

    @rule(step=st.sampled_from(STEPS), nth=st.integers(1, 3), times=st.integers(1, 2), is_power_cut=st.booleans())
    def crash(self, step: str, nth: int, times: int, is_power_cut: bool) -> None:
        """Break off at a step, and again while recovering; a power cut takes what was not flushed."""
        for _ in range(times):
            if is_power_cut:
                self._index.remember_flushed()
            faults.arm(f"{step}:raise@{nth}")
            try:
                self._index.reindex()
            except OSError:
                self._has_crashed = True
            finally:
                faults.arm("")
            if is_power_cut:
                self._index.lose_power()
            else:
                self._index.abandon()
            self._index = Index(self._settings, self._base / "kept-up")

    @precondition(lambda self: self._names())
    @rule(which=places, blocks=st.none() | texts, step=st.sampled_from(STEPS), is_power_cut=st.booleans())
    def crash_over_an_edit_that_is_undone(
        self, which: int, blocks: list[str] | None, step: str, is_power_cut: bool
    ) -> None:
        """The file is again what the ledger holds, and its points are not."""
        self._index.reindex()
        path = self._docs / self._pick(which)
        before = path.read_bytes()
        if blocks is None:
            path.unlink()
        else:
            self._write(self._pick(which), blocks)
        self.crash(step, 1, 1, is_power_cut)
        path.write_bytes(before)

    @rule(nth=st.integers(1, 3))
    def read_in_vain(self, nth: int) -> None:
        """One file cannot be read; its neighbours go on, and it is tried again when its time has come."""
        faults.arm(f"mid_read:raise@{nth}")
        self._index.reindex()
        faults.arm("")
        self._clock.advance(timedelta(days=1))

    @rule()
    def restart(self) -> None:
        self._index.close()
        self._index = Index(self._settings, self._base / "kept-up")

    def compare(self) -> None:
        """Hold the index against one made anew; another run finds nothing to do."""
        embedded = self._embedder.passages.copy()
        if not self._has_crashed:
            assert len(embedded) == len(set(embedded)), "a text was embedded twice"
        writes = self._index.store.writes
        self._index.reindex()
        assert self._embedder.passages == embedded, "nothing changed, yet something was embedded"
        assert self._index.store.writes == writes, "nothing changed, yet something was written"
        scratch = Index(self._settings, self._base / "scratch")
        try:
            scratch.reindex()
            assert_same_index(self._index, scratch, QUERIES)
        finally:
            scratch.close()
            shutil.rmtree(scratch.state)
            self._embedder.passages[:] = embedded

    def documents_found(self, query: str) -> set[str]:
        return {document_id for document_id, *_ in self._index.hits(query)}

    def while_reading(self, name: str, act: Callable[[], None]) -> None:
        """Have something happen once, at the moment when the next run reads a document."""
        connector = self._index.target.connector
        read = connector.read

        def reading(ref: DocumentRef) -> Document:
            if ref.document_id == name:
                connector.read = read
                act()
            return read(ref)

        connector.read = reading

    # The folder

    def _names(self) -> list[str]:
        return sorted(str(path.relative_to(self._docs)) for path in self._docs.rglob("*") if path.is_file())

    def _pick(self, which: int) -> str:
        names = self._names()
        return names[which % len(names)]

    def _blocks(self, which: int) -> list[str]:
        return (self._docs / self._pick(which)).read_text(errors="replace").split("\n\n")

    def _write(self, name: str, blocks: list[str]) -> None:
        path = self._room_for(name)
        if path.exists():
            self._remember(path)
        path.write_text("\n\n".join(blocks))

    def _remember(self, path: Path) -> None:
        self._undo.append((str(path.relative_to(self._docs)), path.read_bytes()))

    def _is_same_place(self, path: Path, name: str) -> bool:
        return path == self._docs / name or path.is_relative_to(self._docs / name)

    def _room_for(self, name: str) -> Path:
        """Make way for a file or folder: files where folders are needed go, and so does a folder of that name."""
        path = self._docs / name
        for parent in reversed(path.parents):
            if parent.is_file():
                parent.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        return path


@pytest.mark.timeout(600)  # finding the shortest history that fails takes minutes
def test_an_index_kept_up_through_any_edits_and_crashes_equals_one_made_from_scratch():
    run_state_machine_as_test(Folder, settings=profile(25, 12))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_same_holds_for_many_and_long_histories():
    run_state_machine_as_test(Folder, settings=profile(1000, 40))


@pytest.fixture
def folder() -> Iterator[Folder]:
    folder = Folder()
    folder.begin({"a.md": list(PARAGRAPHS), "a.rst": [PARAGRAPHS[2]] * 3, "b.md": [], "sub/a.md": [PARAGRAPHS[0]]})
    yield folder
    folder.teardown()


def start(_: Folder) -> None:
    """The first run of all finds everything new."""


def edit_and_insert(folder: Folder) -> None:
    folder.edit_a_paragraph(0, 2, "Something else.")
    folder.insert_a_paragraph(1, 0, "Above all others.")
    folder.create("b.md", ["No longer empty."])


def rename_copy_and_delete(folder: Folder) -> None:
    folder.rename(0, "z.md")
    folder.copy(2, "notes.txt")
    folder.delete(0)


def swap_and_move(folder: Folder) -> None:
    folder.swap(0, 2)
    folder.rename_a_folder("moved")


def put_back(folder: Folder) -> None:
    folder.create("a.md", list(PARAGRAPHS))
    folder.create("sub/a.md", [PARAGRAPHS[0]])


SEQUENCE = (
    (start, start),
    (edit_and_insert, put_back),
    (rename_copy_and_delete, edit_and_insert),
    (swap_and_move, put_back),
)
"""What is done before a run that breaks off, and what before the one that recovers."""


@pytest.mark.parametrize("is_power_cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_breaks_off_at_any_step_is_finished_by_the_next(folder: Folder, step: str, is_power_cut: bool):
    """At every position of a sequence of edits, with others made before the recovery."""
    for before, meanwhile in SEQUENCE:
        before(folder)
        folder.crash(step, 1, 1, is_power_cut)
        meanwhile(folder)
        folder.run()


def test_what_a_run_reported_done_survives_a_power_cut(folder: Folder):
    for before, _ in SEQUENCE:
        before(folder)
        folder.crash("never reached", 1, 1, is_power_cut=True)
        folder.compare()


@pytest.mark.parametrize("name", ["b.md", "z.md"], ids=["moved onto another", "moved to a new place"])
def test_a_document_that_is_back_while_its_move_is_indexed_is_found_in_both_places(folder: Folder, name: str):
    folder.run()
    folder.rename(0, name)
    folder.while_reading(name, lambda: folder.create("a.md", list(PARAGRAPHS)))
    folder.run()
    assert {"a.md", name} <= folder.documents_found("days of leave")


def test_a_document_that_is_back_before_its_deletion_is_done_is_not_deleted(folder: Folder):
    folder.run()
    folder.create("b.md", ["Read first, as deletions go last."])
    folder.delete(0)
    folder.while_reading("b.md", folder.undo)
    folder.run()
    assert "a.md" in folder.documents_found("days of leave")
