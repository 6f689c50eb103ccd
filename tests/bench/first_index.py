"""A first index beside its dearest part: embedding the same texts, and nothing else.

Both are whole processes, from start to exit, model loading included:
`freshd reindex --json` on the one side, this module run with a file of texts on the other,
in freshd's batches and in the ones that were best on another machine: the faster of the two is what counts.
Beside it, over some of the texts, how long the same model takes as fastembed batches them by itself.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from freshd.embedder import batches, open_embedder
from freshd.embedder.bundled import open_bundled
from freshd.embedder.dense import load_model
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.instance import Instance, chunks_of
from tests.bench.report import Table
from tests.bench.timing import Spread, ratios, resident_bytes, take_turns

PART = "howto"
"""Folder of the documentation that is indexed: all of it would take minutes a round."""

_ROUNDS = 5
_SHAPES = ((batches.BATCH_TEXTS, batches.BATCH_TOKENS), (4, 256))
"""Most texts, and most tokens, of a batch."""

_LOOK_EVERY_S = 0.05
_QUARTERS = 4
_SOME_TEXTS, _SOME_ROUNDS = 200, 3
"""As fastembed batches them, all texts would take minutes a round."""


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
    memory: list[list[int]] = []
    alone = {shape: partial(_embed, texts_file, scratch / "models", *map(str, shape)) for shape in _SHAPES}
    contenders = {
        "freshd": lambda: _reindex(instance, len(chunks), reports, memory),
        **{_named(shape): embed for shape, embed in alone.items()},
    }
    for contend in contenders.values():
        contend()  # warm: the bundled model is put together once
    reports.clear()
    memory.clear()
    times = take_turns(contenders, _ROUNDS)
    best = min(map(_named, _SHAPES), key=lambda name: Spread.of(times[name]).median)
    few_file = scratch / "few.json"
    few_file.write_text(json.dumps(texts[:: max(1, len(texts) // _SOME_TEXTS)][:_SOME_TEXTS]))
    few = take_turns(
        {
            "ours": lambda: _embed(few_file, scratch / "models", *map(str, _SHAPES[0])),
            "defaults": lambda: _embed(few_file, scratch / "models"),
        },
        _SOME_ROUNDS,
    )
    within = [report["elapsed_seconds"] for report in reports]
    rate = [len(texts) / seconds for seconds in within]
    return Table(
        f"first-index: {len(files(instance.docs))} files of the Django 5.2 docs ({PART}), "
        f"{len(chunks):,} chunks of {len(texts):,} texts, bundled model, embedded Qdrant",
        ("", "seconds", "× embedding alone"),
        (
            ("freshd reindex", Spread.of(times["freshd"]), ratios(times["freshd"], times[best])),
            *((name, Spread.of(times[name]), ratios(times[name], times[best])) for name in map(_named, _SHAPES)),
            (f"embedding {_SOME_TEXTS} of the texts", Spread.of(few["ours"]), None),
            (
                f"the same {_SOME_TEXTS} by fastembed's defaults",
                Spread.of(few["defaults"]),
                ratios(few["defaults"], few["ours"]),
            ),
        ),
        (
            f"median [lowest … highest] of {_ROUNDS} rounds, of {_SOME_ROUNDS} for {_SOME_TEXTS} texts, in turn; "
            "all are processes, start and model included.",
            f"memory of freshd in each quarter of its time: {_quarters(memory)} MiB.",
            f"within freshd, from the first look to the last applied: {Spread.of(within).median:.3g} s, "
            f"{Spread.of(rate).median:.0f} chunks/s.",
        ),
    )


def _named(shape: tuple[int, int]) -> str:
    return f"embedding alone, {shape[0]} texts or {shape[1]} tokens a batch"


def _quarters(memory: Sequence[Sequence[int]]) -> str:
    """Say how much memory was there, most of each quarter of a run, median of the runs."""
    most = [
        [max(seen[n * len(seen) // _QUARTERS : (n + 1) * len(seen) // _QUARTERS]) for seen in memory]
        for n in range(_QUARTERS)
    ]
    return ", ".join(f"{Spread.of(values).median / 2**20:.0f}" for values in most)


def _reindex(instance: Instance, n_chunks: int, reports: list[dict[str, Any]], memory: list[list[int]]) -> float:
    for path in instance.state_dir.iterdir():
        if path.name != "models":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    command = [sys.executable, "-m", "freshd", "reindex", "--json", "--config", os.fspath(instance.config)]
    began_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seen = []
    while process.poll() is None:
        seen.append(resident_bytes(process.pid))
        time.sleep(_LOOK_EVERY_S)
    elapsed_s = time.perf_counter() - began_s
    answer, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"freshd reindex ended with {process.returncode}")
    memory.append(seen)
    (report,) = json.loads(answer)["sources"]
    if report["chunks"]["embedded"] + report["chunks"]["reused"] != n_chunks:
        raise RuntimeError(f"the two sides differ: got {report['chunks']}, expected {n_chunks} new")
    reports.append(report)
    return elapsed_s


def _embed(texts_file: Path, models_dir: Path, *how: str) -> float:
    command = [sys.executable, "-m", __name__, os.fspath(texts_file), os.fspath(models_dir), *how]
    began_s = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began_s


def _embed_all(texts_file: Path, models_dir: Path, n_texts: str, n_tokens: str) -> Iterator[int]:
    batches.BATCH_TEXTS, batches.BATCH_TOKENS = int(n_texts), int(n_tokens)
    texts = json.loads(texts_file.read_text())
    embedder = open_embedder("bundled", models_dir, texts_file.parent)
    yield from (index for index, _ in embedder.embed_passages(texts))


def _embed_by_defaults(texts_file: Path, models_dir: Path) -> Iterator[int]:
    """Leave batches to fastembed: 256 texts each, as they come, padded to the longest."""
    texts = json.loads(texts_file.read_text())
    model = load_model(open_bundled(models_dir))
    yield from (index for index, _ in enumerate(model.passage_embed(texts)))


if __name__ == "__main__":
    _, texts_argument, models_argument, *how_argument = sys.argv
    embed = _embed_all if how_argument else _embed_by_defaults
    sum(1 for _ in embed(Path(texts_argument), Path(models_argument), *how_argument))
