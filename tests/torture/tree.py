"""A folder that people work in, by a seed: what they do, and enough of it."""

import os
import random
from pathlib import Path

SECTIONS = 5
"""Of a new document; each is a chunk, or nearly."""

_WORDS = 60
_LARGE = 10_000
"""Bytes, after which a document grows no more."""

_FOLDERS = ("", "", "", "handbook/", "handbook/travel/", "archive/")
_MOST_DELETED = 2
"""In one round: more at once is the guard's affair, not a crash's."""


class Tree:
    """Markdown files below a root; the same seed does the same things."""

    def __init__(self, root: Path, seed: str, documents: int) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.random = random.Random(seed)
        self.wanted = documents
        self._names: list[str] = []
        self._made = 0
        for _ in range(documents):
            self.create()

    def churn(self, times: int) -> None:
        """Do some things, deletions only as many as nobody would ask about."""
        deleted = 0
        for _ in range(times):
            action = self.random.choice(_ACTIONS)
            if len(self._names) < self.wanted:
                action = Tree.create
            if len(self._names) > 2 * self.wanted:
                action = Tree.delete
            if action is Tree.delete:
                deleted += 1
            action = Tree.edit if deleted > _MOST_DELETED and action is Tree.delete else action
            action(self)

    def names(self) -> list[str]:
        return list(self._names)

    # What people do

    def create(self) -> None:
        name = self._new_name()
        self._put(name, "\n\n".join(self._section() for _ in range(SECTIONS)) + "\n")
        self._names.append(name)

    def edit(self) -> None:
        name = self._any()
        sections = self._read(name).split("\n\n")
        sections[self.random.randrange(len(sections))] = self._section()
        self._put(name, "\n\n".join(sections))

    def insert(self) -> None:
        name = self._any()
        sections = self._read(name).split("\n\n")
        sections.insert(self.random.randrange(len(sections) + 1), self._section())
        self._put(name, "\n\n".join(sections[: 3 * SECTIONS]))

    def append(self) -> None:
        path = self.root / self._any()
        if path.stat().st_size < _LARGE:
            with path.open("a") as file:
                file.write(f"\n\n{self._paragraph()}\n")

    def truncate(self) -> None:
        """Anywhere in the text, but not within a heading's marks."""
        name = self._any()
        text = self._read(name)
        kept = text[: self.random.randrange(len(text) + 1)]
        self._put(name, kept.rstrip("# "))

    def touch(self) -> None:
        os.utime(self.root / self._any())

    def save_through_another(self) -> None:
        """As editors do: write beside it, rename over it."""
        path = self.root / self._any()
        beside = path.with_name(f".{path.name}.swp")
        beside.write_text(path.read_text()[:_LARGE] + f"\n\n{self._section()}\n")
        beside.replace(path)

    def rename(self) -> None:
        old, new = self._any(), self._new_name()
        self._room(new)
        (self.root / old).rename(self.root / new)
        self._names[self._names.index(old)] = new

    def copy(self) -> None:
        old, new = self._any(), self._new_name()
        self._put(new, self._read(old))
        self._names.append(new)

    def swap(self) -> None:
        one, two = self.root / self._any(), self.root / self._any()
        if one != two:
            between = self.root / "between.swap"
            one.rename(between)
            two.rename(one)
            between.rename(two)

    def delete(self) -> None:
        if len(self._names) > 1:
            name = self._any()
            (self.root / name).unlink()
            self._names.remove(name)

    def undo(self) -> None:
        """Edit, and put back what stood there: the file is new, its text is not."""
        path = self.root / self._any()
        before = path.read_text()
        path.write_text(self._section())
        path.write_text(before)

    # What it takes

    def _any(self) -> str:
        return self.random.choice(self._names)

    def _new_name(self) -> str:
        self._made += 1
        return f"{self.random.choice(_FOLDERS)}d{self._made:05}.md"

    def _section(self) -> str:
        return f"## Part {self.random.randrange(999)}\n\n{self._paragraph()}"

    def _paragraph(self) -> str:
        return " ".join(f"word{self.random.randrange(99_999)}" for _ in range(self.random.randrange(8, _WORDS))) + "."

    def _read(self, name: str) -> str:
        return (self.root / name).read_text()

    def _put(self, name: str, text: str) -> None:
        self._room(name)
        (self.root / name).write_text(text)

    def _room(self, name: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)


_ACTIONS = (
    Tree.create,
    Tree.edit,
    Tree.edit,
    Tree.insert,
    Tree.append,
    Tree.truncate,
    Tree.touch,
    Tree.save_through_another,
    Tree.rename,
    Tree.rename,
    Tree.copy,
    Tree.swap,
    Tree.delete,
    Tree.delete,
    Tree.undo,
)
