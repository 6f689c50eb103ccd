"""What is indexed: the documentation of three Django releases, and small files made of it."""

import filecmp
import shutil
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from tests.bench.sdists import fetch

SMALL_FILES_A_FOLDER = 500
_SMALL_CHARACTERS = 400


class DjangoDocs:
    """The `docs/**/*.txt` of Django's source distributions, fetched when first asked for."""

    def __init__(self, folder: Path) -> None:
        """Keep them below a folder."""
        self._folder = folder
        self.tree = cache(self._tree)

    def _tree(self, version: str) -> Path:
        """Give the folder of one release's documentation."""
        root = self._folder / f"django-{version}"
        with tarfile.open(fetch("Django", version, self._folder)) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isfile() and name.parts[1:2] == ("docs",) and name.suffix == ".txt":
                    path = root.joinpath(*name.parts[2:])
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with archive.extractfile(member) as source, path.open("wb") as target:  # type: ignore[union-attr]
                        shutil.copyfileobj(source, target)
        return root


def files(root: Path) -> dict[str, Path]:
    """Give every document below a folder, by its relative path."""
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*.txt"))}


def put(source: Path, target: Path) -> None:
    """Make one tree equal to another as a checkout does: only files that differ are written."""
    wanted, there = files(source), files(target)
    for name, path in wanted.items():
        place = target / name
        if name not in there or not filecmp.cmp(path, place, shallow=False):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    for name in there.keys() - wanted.keys():
        there[name].unlink()


def put_small_files(source: Path, target: Path, n: int) -> None:
    """Make many small files of a tree's paragraphs; no two are equal."""
    bodies = list(_small_bodies(source))
    for i in range(n):
        folder = target / f"{i // SMALL_FILES_A_FOLDER:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:06d}.txt").write_text(f"Note {i}\n\n{bodies[i % len(bodies)]}\n")


def _small_bodies(source: Path) -> Iterator[str]:
    for path in files(source).values():
        body: list[str] = []
        for paragraph in path.read_text().split("\n\n"):
            body.append(paragraph)
            if sum(map(len, body)) >= _SMALL_CHARACTERS:
                yield "\n\n".join(body)
                body = []
