"""freshd itself in the comparison: its own pipeline over the old version, then over the new one.

    OLD ─▶ folder ─first index─▶ passages of every question
    NEW ─▶ same folder ─update, measured─▶ passages of every question

What is measured is what a running freshd does: everything is open, the embedder is loaded.
"""

import filecmp
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from freshd.compare.effort import Stopwatch
from freshd.compare.values import count
from freshd.compose import Whole, open_whole
from freshd.config import Secrets, load
from freshd.errors import ConfigError, FreshdError
from freshd.payload import Citation

_CONFIG: Final = """\
[guard]
share = 1.0

[[sources]]
name = "documents"
type = "files"
path = "documents"
watch = false
"""


@dataclass(frozen=True, slots=True)
class Passage:
    """What a question is answered from.

    Attributes:
        document: Where it stands.
        text: Its headings, and itself.

    """

    document: str
    text: str

    def holds(self, value: str | None) -> bool:
        """Tell whether a value stands in it as a whole; nothing does not."""
        return value is not None and count(value, self.text) > 0


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The answer of the index to one question, best passage first, and what it took."""

    passages: tuple[Passage, ...]
    wall_s: float
    cpu_s: float

    @property
    def texts(self) -> tuple[str, ...]:
        """What a model is shown."""
        return tuple(passage.text for passage in self.passages)


@dataclass(frozen=True, slots=True)
class Refresh:
    """What it took to bring the index up to date.

    Attributes:
        cpu_s: Of this process and of the store's.
        documents: How many were added, changed, moved or deleted.
        embedded: Chunks that were; the others were kept or reused.

    """

    wall_s: float
    cpu_s: float
    documents: int
    embedded: int


class ScratchIndex:
    """An index over a folder of its own, whose documents are those of one version, then of another."""

    def __init__(self, whole: Whole, folder: Path) -> None:
        """Use `open_scratch` instead."""
        self._whole = whole
        self._folder = folder

    def put(self, tree: Path, documents: Collection[str] | None = None) -> None:
        """Make the folder hold one version; files that are equal already are left alone, as whoever edits would.

        Args:
            tree: The version.
            documents: Paths below it; all for None.

        """
        names = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
        wanted = names if documents is None else names & set(documents)
        for path in [path for path in self._folder.rglob("*") if path.is_file()]:
            if str(path.relative_to(self._folder)) not in wanted:
                path.unlink()
        for name in sorted(wanted):
            target = self._folder / name
            if not (target.exists() and filecmp.cmp(tree / name, target, shallow=False)):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(tree / name, target)

    def update(self, on_progress: Callable[[int, int], None] = lambda *_: None) -> Refresh:
        """Have freshd look at the folder and index what changed.

        Args:
            on_progress: Hears documents done, and documents in all.

        Raises:
            ConfigError: All documents are gone, so that their deletions are held.
            FreshdError: A document could not be indexed.

        """
        watch = Stopwatch(self.children)
        with watch:
            (tally,) = self._whole.reindexer(on_progress=lambda _, *step: on_progress(*step)).run()
        if tally.held:
            fault = f"got {tally.held} documents that are all gone, expected two versions of the same documents"
            raise ConfigError(f"compare: {fault}", hint="name the folder that holds the new version")
        for failure in (*tally.failures.values(), *tally.troubles):
            raise FreshdError(f"compare: a document could not be indexed: {failure}")
        changed = sum(n for kind, n in tally.documents.items() if kind in ("added", "modified", "moved", "deleted"))
        return Refresh(watch.wall_s, watch.cpu_s, changed, tally.fates.embedded)

    def retrieve(self, question: str, k: int) -> Retrieved:
        """Find the best `k` passages for a question."""
        watch = Stopwatch(self.children)
        with watch:
            hits = self._whole.search.search(question, k).hits
        return Retrieved(tuple(_passage(hit.citation) for hit in hits), watch.wall_s, watch.cpu_s)

    def children(self) -> Sequence[int]:
        """Give the ids of the processes that work for this one: that of the embedded store."""
        pid: int | None = getattr(self._whole.store, "child_pid", None)
        return () if pid is None else (pid,)


@contextmanager
def open_scratch(folder: Path) -> Iterator[ScratchIndex]:
    """Open an empty index with the bundled embedder.

    Args:
        folder: An empty one; everything stays below it.

    """
    config, documents = folder / "freshd.toml", folder / "documents"
    documents.mkdir(parents=True)
    config.write_text(_CONFIG, encoding="utf-8")
    with open_whole(load(config), Secrets()) as whole:
        yield ScratchIndex(whole, documents)


def _passage(citation: Citation) -> Passage:
    return Passage(citation.document_id, "\n".join((" › ".join(citation.heading_path), citation.text)).strip())
