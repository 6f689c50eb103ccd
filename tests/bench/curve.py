"""What size costs: documents and chunks ten times as many, the same work each time, in a process of its own.

Vectors are drawn, not computed, so that what is seen is freshd's own: everything but the model is the real thing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from freshd.compose import Whole
from tests.bench.corpus import DjangoDocs
from tests.bench.drawn import DrawnEmbedder
from tests.bench.instance import Instance, reindex
from tests.bench.pages import CHUNKS_A_DOCUMENT, Pages, updated
from tests.bench.report import Table, bars, machine, say, show_machine
from tests.bench.timing import cpu_s, peak_bytes, percentile, took
from tests.torture.program import children

SIZES = (1_000, 10_000, 100_000)
"""Chunks; a million takes half an hour: `python -m tests.bench.curve 1000000`."""

CHURNS = (0.01, 0.1, 1.0)
"""Shares of all documents that change at once, one paragraph each."""

_EDITS = 40
_QUERIES = 100
_OLD_ENOUGH_S = 3.0
"""Files younger than two seconds are read again: nobody could tell a second write from the first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one size cost.

    Attributes:
        index_cpu_s: Of this process and the store's, for the first index.
        searchable_s, durable_s: Medians, from the hint that one document of all has changed.
        open_s: Until the first search is answered.
        search_s: Median and 99th percentile.
        memory_bytes: Largest that is resident, of this process and of the store's.
        churn_cpu_s: Of both processes, for each of `CHURNS`.
        churned_bytes: As `memory_bytes`, after all of that.
        disk_bytes: Of ledger, cache and index together.

    """

    chunks: int
    index_s: float
    index_cpu_s: float
    rescan_s: float
    searchable_s: float
    durable_s: float
    open_s: float
    search_s: Sequence[float]
    memory_bytes: Sequence[int]
    churn_cpu_s: Sequence[float]
    churned_bytes: Sequence[int]
    disk_bytes: int


def run(_: DjangoDocs, __: Path) -> Table:
    """Measure every size."""
    return measured(SIZES)


def measured(sizes: Sequence[int]) -> Table:
    """Measure some sizes, each in a process of its own."""
    seen = [_measured_apart(size) for size in sizes]
    return Table(
        "curve: the same work on ever more chunks, drawn vectors of 384 dimensions, embedded Qdrant",
        ("", *(f"{one.chunks:,} chunks" for one in seen)),
        tuple((title, *map(of, seen)) for title, of in _QUANTITIES.items()),
        (
            f"{CHUNKS_A_DOCUMENT} chunks a document; words are as common as in a language (Zipf).",
            f"update: one paragraph of one document, median of {_EDITS}, from the hint that it changed.",
            f"search: the whole of it, {_QUERIES} queries of three words and a drawn vector each.",
            "changed: one paragraph in each of so many of the documents, in one pass over all of them.",
        ),
        tuple(line for title in _PLOTTED for line in _plot(title, seen)),
    )


_QUANTITIES: dict[str, Callable[[Seen], float]] = {
    "first index, s": lambda one: one.index_s,
    "first index, CPU s": lambda one: one.index_cpu_s,
    "the same for 1,000 chunks, CPU s": lambda one: one.index_cpu_s / one.chunks * 1000,
    "rescan that finds nothing, ms": lambda one: one.rescan_s * 1000,
    "update searchable, ms": lambda one: one.searchable_s * 1000,
    "update durable, ms": lambda one: one.durable_s * 1000,
    "search p50, ms": lambda one: one.search_s[0] * 1000,
    "search p99, ms": lambda one: one.search_s[1] * 1000,
    "open, s": lambda one: one.open_s,
    **{
        f"{share:.0%} of the documents changed, CPU s": lambda one, n=n: one.churn_cpu_s[n]  # type: ignore[misc]
        for n, share in enumerate(CHURNS)
    },
    "memory of freshd, MiB": lambda one: one.memory_bytes[0] / 2**20,
    "memory of its store, MiB": lambda one: one.memory_bytes[1] / 2**20,
    "the former after all changed, MiB": lambda one: one.churned_bytes[0] / 2**20,
    "the latter after all changed, MiB": lambda one: one.churned_bytes[1] / 2**20,
    "disk, bytes a chunk": lambda one: one.disk_bytes / one.chunks,
}

_PLOTTED = (
    "first index, CPU s",
    "rescan that finds nothing, ms",
    "update searchable, ms",
    "update durable, ms",
    "search p50, ms",
    "open, s",
    "10% of the documents changed, CPU s",
    "memory of freshd, MiB",
    "memory of its store, MiB",
)


def _plot(title: str, seen: Sequence[Seen]) -> Sequence[str]:
    """Draw one quantity against the number of chunks."""
    return bars(title, "", [(f"{one.chunks:,}", _QUANTITIES[title](one)) for one in seen])


def _measured_apart(size: int) -> Seen:
    say(f"{size:,} chunks …")
    command = [sys.executable, "-m", "tests.bench.curve", "--one", str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return Seen(**json.loads(done.stdout))


def _measure(size: int, folder: Path) -> Seen:
    instance, embedder = Instance(folder), DrawnEmbedder()
    pages = Pages(instance, size // CHUNKS_A_DOCUMENT)
    with instance.open(embedder) as whole:
        before_s = _spent_s()
        index_s = took(lambda: reindex(whole))
        index_cpu_s = _spent_s() - before_s
        chunks = whole.store.count()
        time.sleep(_OLD_ENOUGH_S)
        rescan_s = percentile([took(lambda: reindex(whole)) for _ in range(5)], 0.5)
        updates = [updated(whole, pages, name) for name in pages.names[:_EDITS]]
        queries = [pages.query() for _ in range(_QUERIES)]
        searches = [took(partial(whole.search.search, query, 10)) for query in queries]
        memory_bytes = _peaks()
    disk_bytes = sum(path.stat().st_blocks * 512 for path in instance.state_dir.rglob("*") if path.is_file())
    began_s = time.perf_counter()
    with instance.open(embedder) as whole:
        whole.search.search("first", 10)
        open_s = time.perf_counter() - began_s
        churn_cpu_s = [_churned(whole, pages, share) for share in CHURNS]
        churned_bytes = _peaks()
    return Seen(
        chunks=chunks,
        index_s=index_s,
        index_cpu_s=index_cpu_s,
        rescan_s=rescan_s,
        searchable_s=percentile([searchable_s for searchable_s, _ in updates], 0.5),
        durable_s=percentile([durable_s for _, durable_s in updates], 0.5),
        open_s=open_s,
        search_s=[percentile(searches, share) for share in (0.5, 0.99)],
        memory_bytes=memory_bytes,
        churn_cpu_s=churn_cpu_s,
        churned_bytes=churned_bytes,
        disk_bytes=disk_bytes,
    )


def _churned(whole: Whole, pages: Pages, share: float) -> float:
    """Change so many documents at once, and look at all; give CPU seconds."""
    names = pages.names[:: round(1 / share)]
    for name in names:
        pages.edit(name)
    before_s = _spent_s()
    tally = reindex(whole)
    if tally.fates.embedded != len(names):
        raise RuntimeError(f"expected {len(names)} chunks embedded, got {tally.fates.embedded}")
    return _spent_s() - before_s


def _spent_s() -> float:
    """CPU seconds of this process and the store's so far."""
    return time.process_time() + cpu_s(_store_pid())


def _peaks() -> tuple[int, int]:
    return peak_bytes(os.getpid()), peak_bytes(_store_pid())


def _store_pid() -> int:
    (pid,) = children(os.getpid())
    return pid


def main() -> None:
    """Measure the sizes that are named, or one in this process."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.curve", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, metavar="CHUNKS", default=SIZES)
    parser.add_argument("--one", type=int, metavar="CHUNKS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        with tempfile.TemporaryDirectory(prefix="freshd-curve-") as scratch:
            print(json.dumps(asdict(_measure(arguments.one, Path(scratch)))))  # noqa: T201
        return
    show_machine(machine())
    measured(arguments.sizes).show()


if __name__ == "__main__":
    main()
