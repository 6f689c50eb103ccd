"""A first index beside its dearest part: embedding the same texts, and nothing else.

Both are whole processes, from start to exit, model loading included:
`freshd reindex --json` on the one side, this module run with a file of texts on the other.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from freshd.embedder import open_embedder
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.instance import Instance, chunks_of
from tests.bench.report import Table
from tests.bench.timing import Spread, ratios, take_turns

PART = "howto"
"""Folder of the documentation that is indexed: all of it would take minutes a round."""

_ROUNDS = 5


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Index one part of the documentation, over and over."""
    instance = Instance(scratch / "instance")
    put(docs.tree("5.2") / PART, instance.docs)
    with instance.open() as whole:
        chunks = list(chunks_of(whole))
    texts = list({piece.digest: piece.embedded_text for piece in chunks}.values())  # freshd, too, embeds each once
    texts_file = scratch / "texts.json"
    texts_file.write_text(json.dumps(texts))
    reports: list[dict[str, Any]] = []
    times = take_turns(
        {
            "freshd": lambda: _reindex(instance, len(chunks), reports),
            "embedding": lambda: _embed(texts_file, scratch / "models"),
        },
        _ROUNDS,
    )
    within = [report["elapsed_seconds"] for report in reports]
    rate = [len(texts) / seconds for seconds in within]
    return Table(
        f"first-index: {len(files(instance.docs))} files of the Django 5.2 docs ({PART}), "
        f"{len(chunks):,} chunks of {len(texts):,} texts, bundled model, embedded Qdrant",
        ("", "seconds", "× embedding alone"),
        (
            ("freshd reindex", Spread.of(times["freshd"]), ratios(times["freshd"], times["embedding"])),
            ("embedding alone", Spread.of(times["embedding"]), None),
        ),
        (
            f"median [lowest … highest] of {_ROUNDS} rounds, in turn; both are processes, start and model included.",
            f"within freshd, from the first look to the last applied: {Spread.of(within).median:.3g} s, "
            f"{Spread.of(rate).median:.0f} chunks/s.",
        ),
    )


def _reindex(instance: Instance, n_chunks: int, reports: list[dict[str, Any]]) -> float:
    shutil.rmtree(instance.state_dir)
    command = [sys.executable, "-m", "freshd", "reindex", "--json", "--config", os.fspath(instance.config)]
    began_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True)
    elapsed_s = time.perf_counter() - began_s
    (report,) = json.loads(done.stdout)["sources"]
    if report["chunks"]["embedded"] + report["chunks"]["reused"] != n_chunks:
        raise RuntimeError(f"the two sides differ: got {report['chunks']}, expected {n_chunks} new")
    reports.append(report)
    return elapsed_s


def _embed(texts_file: Path, models_dir: Path) -> float:
    command = [sys.executable, "-m", __name__, os.fspath(texts_file), os.fspath(models_dir)]
    began_s = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began_s


def _embed_all(texts_file: Path, models_dir: Path) -> Iterator[int]:
    texts = json.loads(texts_file.read_text())
    embedder = open_embedder("bundled", models_dir, texts_file.parent)
    yield from (index for index, _ in embedder.embed_passages(texts))


if __name__ == "__main__":
    _, texts_argument, models_argument = sys.argv
    sum(1 for _ in _embed_all(Path(texts_argument), Path(models_argument)))
