"""How much is embedded again when a real documentation tree moves from release to release.

The whole of freshd runs, but for the model: what it is given is counted.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from freshd.compose import Whole, generation
from freshd.embedder import open_embedder
from freshd.model import Chunk
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.counting import CountingEmbedder
from tests.bench.instance import Instance, chunks_of, reindex
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

    def per(self, written_characters: int) -> float | None:
        return self.characters / written_characters if written_characters else None

    def cells(self, written_characters: int) -> tuple[Cell, ...]:
        return self.chunks, self.characters, self.per(written_characters)


class _FixedSize:
    """The splitter beside freshd; it remembers every chunk it ever saw, which is more than most are given."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def new_chunks(self, tree: _Texts) -> _Cost:
        chunks = {piece for text in tree.values() for piece in split(text)} - self._seen
        self._seen |= chunks
        return _Cost.of(chunks)


class _Remembering:
    """Chunks as freshd makes them, of which it remembers every one it ever saw."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole
        self._seen: set[str] = set()

    def new(self) -> list[Chunk]:
        new = {chunk.digest: chunk for chunk in chunks_of(self._whole) if chunk.digest not in self._seen}
        self._seen |= new.keys()
        return list(new.values())


@dataclass(frozen=True, slots=True)
class Again:
    """Characters that an update embeds, per character that was written.

    Attributes:
        text: Of the text of documents.
        shown: Of all that the model is given, headings included.

    """

    text: float
    shown: float


def embedded_again(docs: DjangoDocs, least: int) -> Iterator[Again]:
    """Count what each update would embed if chunks had some least size in tokens; nothing is embedded."""
    with (
        tempfile.TemporaryDirectory(prefix="freshd-bench-") as name,
        mock.patch.object(generation, "_MIN_TOKENS", least),
    ):
        root = Path(name)
        instance = Instance(root)
        with instance.open(CountingEmbedder(open_embedder("bundled", root / "models", root))) as whole:
            remembering = _Remembering(whole)
            old: _Texts = {}
            for release in RELEASES[:-1]:
                new = _texts(docs.tree(release))
                put(docs.tree(release), instance.docs)
                chunks = remembering.new()
                if old:
                    characters = _written(old, new)
                    text, shown = sum(len(one.text) for one in chunks), sum(len(one.embedded_text) for one in chunks)
                    yield Again(text / characters, shown / characters)
                old = new


def _texts(tree: Path) -> _Texts:
    return {name: path.read_text() for name, path in files(tree).items()}


def _written(old: _Texts, new: _Texts) -> int:
    return sum(written(old.get(name, ""), text) for name, text in new.items() if old.get(name) != text)


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Walk through the releases."""
    instance = Instance(scratch)
    embedder = CountingEmbedder(open_embedder("bundled", scratch / "models", scratch))
    with instance.open(embedder) as whole:
        rows = list(_rows(whole, embedder, docs, instance.docs))
    return Table(
        "amplification: what is embedded when a release is put over another",
        ("release", "by", "chunks embedded", "characters", "per character written", "headings left out"),
        tuple(rows),
        (
            "written: paragraphs that a file has and its former state had not; all of a new file.",
            f"splitter {SIZE}/{OVERLAP}: recursive, plain text, overlap and all; freshd's texts carry their headings.",
            "new chunks: only those whose text was never embedded before; "
            "whole files: every chunk of each file that changed.",
        ),
    )


def _rows(whole: Whole, embedder: CountingEmbedder, docs: DjangoDocs, target: Path) -> Iterator[tuple[Cell, ...]]:
    fixed_size, remembering = _FixedSize(), _Remembering(whole)
    old: _Texts = {}
    for n, release in enumerate(RELEASES):
        new = _texts(docs.tree(release))
        changed = {name: text for name, text in new.items() if old.get(name) != text}
        characters = _written(old, new)
        put(docs.tree(release), target)
        title = release if n == 0 else f"{RELEASES[n - 1]} → {release}"
        yield title, f"written, {len(changed)} files", None, characters, None, None
        cost, text_alone = _reindexed(whole, embedder), _Cost.of(chunk.text for chunk in remembering.new())
        if cost.chunks != text_alone.chunks:
            raise RuntimeError(f"{release}: {cost.chunks} chunks were embedded, {text_alone.chunks} are new")
        yield title, "freshd", *cost.cells(characters), text_alone.per(characters)
        yield title, "splitter, new chunks", *fixed_size.new_chunks(new).cells(characters), None
        whole_files = _Cost.of(piece for text in changed.values() for piece in split(text))
        yield title, "splitter, whole files", *whole_files.cells(characters), None
        old = new


def _reindexed(whole: Whole, embedder: CountingEmbedder) -> _Cost:
    """Let freshd catch up, and see what it gave to the model."""
    before = embedder.texts, embedder.characters
    reindex(whole)
    return _Cost(embedder.texts - before[0], embedder.characters - before[1])
