"""A first index beside its dearest part: embedding the same texts, and nothing else.

Both are whole processes, from start to exit, model loading included:
`freshd reindex --json` on the one side, this module run with a file of texts on the other.
In which batches the latter does best is tried on some of the texts, fastembed's own among them.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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

PART = "topics"
"""Folder of the documentation that is indexed: a minute a round on two cores, and start-up a fiftieth of it."""

_ROUNDS = 5
_SHAPES = ((batches.BATCH_TEXTS, batches.BATCH_TOKENS), (4, 256))
"""Most texts, and most tokens, of a batch: freshd's, and what was best on another machine."""

_LOOK_EVERY_S = 0.05
_QUARTERS = 4
_SOME_TEXTS, _SOME_ROUNDS = 200, 3
"""As fastembed batches them, all texts would take many minutes a round."""

_BY_DEFAULTS = "in fastembed's default batches"


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Index one part of the documentation, over and over."""
    instance = Instance(scratch / "instance")
    put(docs.tree("5.2") / PART, instance.docs)
    with instance.open() as whole:
        chunks = list(chunks_of(whole))
    texts = list({piece.digest: piece.embedded_text for piece in chunks}.values())  # freshd, too, embeds each once
    texts_file = scratch / "texts.json"
    texts_file.write_text(json.dumps(texts))
    few_file = scratch / "few.json"
    few_file.write_text(json.dumps(texts[:: max(1, len(texts) // _SOME_TEXTS)][:_SOME_TEXTS]))
    models = scratch / "models"
    _embed(few_file, models, *map(str, _SHAPES[0]))  # warm: the bundled model is put together once
    few = take_turns(
        {
            **{_named(shape): partial(_embed, few_file, models, *map(str, shape)) for shape in _SHAPES},
            _BY_DEFAULTS: partial(_embed, few_file, models),
        },
        _SOME_ROUNDS,
    )
    ours, best = _SHAPES[0], min(_SHAPES, key=lambda shape: Spread.of(few[_named(shape)]).median)
    reports: list[dict[str, Any]] = []
    memory: list[list[int]] = []
    cpu: dict[str, list[float]] = {"freshd": [], "alone": []}
    times = take_turns(
        {
            "freshd": lambda: _spending(cpu["freshd"], lambda: _reindex(instance, len(chunks), reports, memory)),
            "alone": lambda: _spending(cpu["alone"], lambda: _embed(texts_file, models, *map(str, best))),
        },
        _ROUNDS,
    )
    within = [report["elapsed_seconds"] for report in reports]
    rate = [len(texts) / seconds for seconds in within]
    return Table(
        f"first-index: {len(files(instance.docs))} files of the Django 5.2 docs ({PART}), "
        f"{len(chunks):,} chunks of {len(texts):,} texts, bundled model, embedded Qdrant",
        ("", "seconds", "× seconds beside", "CPU seconds", "× CPU beside"),
        (
            (
                "freshd reindex",
                Spread.of(times["freshd"]),
                ratios(times["freshd"], times["alone"]),
                Spread.of(cpu["freshd"]),
                ratios(cpu["freshd"], cpu["alone"]),
            ),
            (f"embedding alone, {_named(best)}", Spread.of(times["alone"]), None, Spread.of(cpu["alone"]), None),
            *(
                (
                    f"embedding {_SOME_TEXTS} of the texts, {how}",
                    Spread.of(seconds),
                    ratios(seconds, few[_named(ours)]),
                    None,
                    None,
                )
                for how, seconds in few.items()
            ),
        ),
        (
            f"median [lowest … highest] of {_ROUNDS} rounds, of {_SOME_ROUNDS} for {_SOME_TEXTS} texts, in turn; "
            "all are processes, start and model included; beside: embedding alone, "
            f"and for {_SOME_TEXTS} texts, {_named(ours)}.",
            f"memory of freshd in each quarter of its time: {_quarters(memory)} MiB.",
            f"within freshd, from the first look to the last applied: {Spread.of(within).median:.3g} s, "
            f"{Spread.of(rate).median:.0f} chunks/s.",
        ),
    )


def _named(shape: tuple[int, int]) -> str:
    return f"{shape[0]} texts or {shape[1]} tokens a batch"


def _spending(cpu: list[float], work: Callable[[], float]) -> float:
    """Do what runs processes and waits for them; note what they spent."""
    began_s = _cpu_of_children_s()
    result = work()
    cpu.append(_cpu_of_children_s() - began_s)
    return result


def _cpu_of_children_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


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
