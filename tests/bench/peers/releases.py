"""What each peer embeds when one release of a documentation is put over another, and what is left of the past."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.amplification import RELEASES
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.peers import PEERS
from tests.bench.report import Cell, Table
from tests.bench.splitter import written


def run(docs: DjangoDocs, scratch: Path, names: Sequence[str]) -> Table:
    """Walk every peer through the releases, and once more over an unchanged tree after each."""
    return Table(
        "releases: what is embedded when one release of the Django docs is put over another",
        (
            "step",
            "peer",
            "chunks",
            "characters",
            "per character written",
            "nothing changed",
            "of vanished text",
            "CPU s",
            "peak MiB",
        ),
        tuple(sorted(_rows(docs, scratch, names), key=lambda row: _STEPS.index(str(row[0])))),
        (
            "written: paragraphs that a file has and its former state had not; all of a new file.",
            "of vanished text: chunks in the index whose text stands in no file any more, blanks aside.",
            "nothing changed: chunks embedded by another run. Vectors are hashes: no figure holds the model's time.",
        ),
    )


_STEPS = [RELEASES[0], *(f"{old} → {new}" for old, new in pairwise(RELEASES))]


def _rows(docs: DjangoDocs, scratch: Path, names: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    for name in names:
        folder = scratch / str(list(PEERS).index(name))
        source, old = folder / "docs", dict[str, str]()
        for step, release in zip(_STEPS, RELEASES, strict=True):
            new = {path: file.read_text() for path, file in files(docs.tree(release)).items()}
            characters = sum(written(old.get(path, ""), text) for path, text in new.items() if old.get(path) != text)
            put(docs.tree(release), source)
            seen, again = _step(name, source, folder / "state"), _step(name, source, folder / "state")
            share = seen["characters"] / characters if characters else None
            left = _vanished(seen["points"], new)
            cost = seen["texts"], seen["characters"], share, again["texts"], left, seen["cpu_s"], seen["peak_mib"]
            yield step, name, *cost
            old = new


def _step(name: str, source: Path, state: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.peers.step", name, str(source), str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2_000:]}")
    seen: dict[str, Any] = json.loads(lines[-1])
    return seen


def _vanished(points: Sequence[Sequence[str]], tree: dict[str, str]) -> int:
    texts = {path: " ".join(text.split()) for path, text in tree.items()}
    return sum(" ".join(text.split()) not in texts.get(path, "") for path, text in points)
