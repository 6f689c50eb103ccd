"""How much is embedded again when a real documentation tree moves from release to release.

The whole of freshd runs, but for the model: what it is given is counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from freshd.compose import Whole
from freshd.embedder import open_embedder
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.counting import CountingEmbedder
from tests.bench.instance import Instance, reindex
from tests.bench.report import Cell, Table
from tests.bench.splitter import OVERLAP, SIZE, split, written

RELEASES = ("5.1", "5.1.4", "5.2", "5.1")
"""In the order in which they are put over one another; the last step goes back."""

_Texts = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Cost:
    """Chunks and characters given to the model."""

    chunks: int
    characters: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> "_Cost":
        sizes = [len(text) for text in texts]
        return cls(len(sizes), sum(sizes))

    def cells(self, written_characters: int) -> tuple[Cell, ...]:
        share = self.characters / written_characters if written_characters else None
        return self.chunks, self.characters, share


class _FixedSize:
    """The splitter beside freshd; it remembers every chunk it ever saw, which is more than most are given."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def new_chunks(self, tree: _Texts) -> _Cost:
        chunks = {piece for text in tree.values() for piece in split(text)} - self._seen
        self._seen |= chunks
        return _Cost.of(chunks)


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Walk through the releases."""
    instance = Instance(scratch)
    embedder = CountingEmbedder(open_embedder("bundled", scratch / "models", scratch))
    with instance.open(embedder) as whole:
        rows = list(_rows(whole, embedder, docs, instance.docs))
    return Table(
        "amplification: what is embedded when a release is put over another",
        ("release", "by", "chunks embedded", "characters", "per character written"),
        tuple(rows),
        (
            "written: paragraphs that a file has and its former state had not; all of a new file.",
            f"splitter {SIZE}/{OVERLAP}: recursive, plain text, overlap and all; freshd's texts carry their headings.",
            "new chunks: only those whose text was never embedded before; "
            "whole files: every chunk of each file that changed.",
        ),
    )


def _rows(whole: Whole, embedder: CountingEmbedder, docs: DjangoDocs, target: Path) -> Iterator[tuple[Cell, ...]]:
    fixed_size = _FixedSize()
    old: _Texts = {}
    for n, release in enumerate(RELEASES):
        new = {name: path.read_text() for name, path in files(docs.tree(release)).items()}
        changed = {name: text for name, text in new.items() if old.get(name) != text}
        characters = sum(written(old.get(name, ""), text) for name, text in changed.items())
        put(docs.tree(release), target)
        title = release if n == 0 else f"{RELEASES[n - 1]} → {release}"
        yield title, f"written, {len(changed)} files", None, characters, None
        yield title, "freshd", *_reindexed(whole, embedder).cells(characters)
        yield title, "splitter, new chunks", *fixed_size.new_chunks(new).cells(characters)
        whole_files = _Cost.of(piece for text in changed.values() for piece in split(text))
        yield title, "splitter, whole files", *whole_files.cells(characters)
        old = new


def _reindexed(whole: Whole, embedder: CountingEmbedder) -> _Cost:
    """Let freshd catch up, and see what it gave to the model."""
    before = embedder.texts, embedder.characters
    reindex(whole)
    return _Cost(embedder.texts - before[0], embedder.characters - before[1])
