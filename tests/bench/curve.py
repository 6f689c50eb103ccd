"""What size costs: documents and chunks ten times as many, the same work each time, in a process of its own.

Vectors are drawn, not computed, so that what is seen is freshd's own: everything but the model is the real thing.
"""

import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from freshd.compose import Whole
from freshd.embedder.bm25 import Bm25Terms
from freshd.guard import Guard
from freshd.model import Digest, SparseVector, Vector
from freshd.scheduler import Scanner
from tests.bench.corpus import DjangoDocs
from tests.bench.drawn import DIMENSION, drawn
from tests.bench.instance import Instance, reindex
from tests.bench.report import Table, bars, say
from tests.bench.timing import cpu_s, peak_bytes, percentile
from tests.torture.program import children

SIZES = (1_000, 10_000, 100_000)
"""Chunks; a million takes the best part of an hour: `python -m tests.bench.curve 1000000`."""

_CHUNKS_A_DOCUMENT = 20
_WORDS_A_CHUNK = 60
_VOCABULARY = 20_000
_EDITS = 20
_QUERIES = 100
_MIB = 1 << 20
_SEED = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What one size cost.

    Attributes:
        index_cpu_s: Of this process and the store's, for the first index.
        update_s: Median, from the hint to the durable end, one document of all.
        open_s: Until the first search is answered.
        search_s: Median and 99th percentile.
        own_mib, store_mib: Largest resident memory of the two processes.
        disk_bytes: Of ledger, cache and index together.

    """

    chunks: int
    index_s: float
    index_cpu_s: float
    rescan_s: float
    update_s: float
    open_s: float
    search_s: tuple[float, float]
    own_mib: float
    store_mib: float
    disk_bytes: int


def run(_: DjangoDocs, __: Path) -> Table:
    """Measure every size."""
    seen = [_measured_apart(size) for size in SIZES]
    base = next((one for one in seen if one.chunks >= 10_000), seen[0])
    return Table(
        "curve: the same work on ever more chunks, drawn vectors of 384 dimensions, embedded Qdrant",
        (
            "chunks",
            "first index s",
            "CPU s / 1,000",
            "rescan ms",
            "update ms",
            "update × 10,000",
            "open s",
            "search p50 ms",
            "search p99 ms",
            "freshd MiB",
            "store MiB",
            "disk B/chunk",
        ),
        tuple(
            (
                one.chunks,
                one.index_s,
                one.index_cpu_s / one.chunks * 1000,
                one.rescan_s * 1000,
                one.update_s * 1000,
                one.update_s / base.update_s,
                one.open_s,
                one.search_s[0] * 1000,
                one.search_s[1] * 1000,
                one.own_mib,
                one.store_mib,
                one.disk_bytes / one.chunks,
            )
            for one in seen
        ),
        (
            f"{_CHUNKS_A_DOCUMENT} chunks a document; update: one paragraph of one document, median of {_EDITS},"
            " from the hint to the end of the ledger's transaction.",
            f"search: the whole of it, {_QUERIES} queries of three words and a drawn vector each.",
        ),
        tuple(line for title, unit, values in _plotted(seen) for line in bars(title, unit, values)),
    )


def _plotted(seen: Sequence[Seen]) -> Iterator[tuple[str, str, list[tuple[str, float]]]]:
    """Give what is plotted against the number of chunks: a title, a unit, and the values."""
    quantities: tuple[tuple[str, str, Callable[[Seen], float]], ...] = (
        ("first index beside the model, CPU", "s", lambda one: one.index_cpu_s),
        ("rescan that finds nothing", "ms", lambda one: one.rescan_s * 1000),
        ("update of one document", "ms", lambda one: one.update_s * 1000),
        ("search, p50", "ms", lambda one: one.search_s[0] * 1000),
        ("memory of freshd and its store", "MiB", lambda one: one.own_mib + one.store_mib),
    )
    for title, unit, of in quantities:
        yield title, unit, [(f"{one.chunks:,}", of(one)) for one in seen]


def _measured_apart(size: int) -> Seen:
    say(f"{size:,} chunks …")
    done = subprocess.run([sys.executable, "-m", __name__, str(size)], stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout)
    return Seen(**found | {"search_s": tuple(found["search_s"])})


class DrawnEmbedder:
    """A vector for each text, drawn by its hash; words are tokens. Implements `ports.Embedder`."""

    dimension = DIMENSION
    max_tokens = 256
    identity = Digest(hashlib.sha256(b"drawn/384").hexdigest())

    def __init__(self) -> None:
        self._bm25 = Bm25Terms()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text and two more."""
        return [len(text.split()) + 2 for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """Draw a vector for each."""
        return ((index, self.embed_query(text)) for index, text in enumerate(texts))

    def embed_query(self, text: str) -> Vector:
        """Draw the vector of a text."""
        return Vector(drawn(text).tobytes())

    def sparse_passage(self, text: str) -> SparseVector:
        """Weigh the terms of a passage."""
        return self._bm25.passage(text)

    def sparse_query(self, text: str) -> SparseVector:
        """Weigh the terms of a query."""
        return self._bm25.query(text)


def _measure(size: int, folder: Path) -> Seen:
    instance, embedder = Instance(folder), DrawnEmbedder()
    chance = random.Random(_SEED)
    words = [f"w{chance.randrange(36**5):x}" for _ in range(_VOCABULARY)]
    for n in range(size // _CHUNKS_A_DOCUMENT):
        path = instance.docs / f"{n // 500:04}" / f"{n:06}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(_page(n, words, chance))
    with instance.open(embedder) as whole:
        (store_pid,) = children(os.getpid())
        before_s = time.process_time() + cpu_s(store_pid)
        index_s = _took(lambda: reindex(whole))
        index_cpu_s = time.process_time() + cpu_s(store_pid) - before_s
        chunks = whole.store.count()
        rescan_s = min(_took(lambda: reindex(whole)) for _ in range(3))
        update_s = percentile([_updated(whole, instance, n, words, chance) for n in range(_EDITS)], 0.5)
        queries = [" ".join(chance.sample(words, 3)) for _ in range(_QUERIES)]
        searches = [_took(lambda q=query: whole.search.search(q, 10)) for query in queries]  # type: ignore[misc]
        store_mib = peak_bytes(store_pid) / _MIB
    began_s = time.perf_counter()
    with instance.open(embedder) as whole:
        whole.search.search("first", 10)
        open_s = time.perf_counter() - began_s
    own_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    disk_bytes = sum(path.stat().st_blocks * 512 for path in instance.state_dir.rglob("*") if path.is_file())
    search_s = percentile(searches, 0.5), percentile(searches, 0.99)
    return Seen(chunks, index_s, index_cpu_s, rescan_s, update_s, open_s, search_s, own_mib, store_mib, disk_bytes)


def _page(n: int, words: Sequence[str], chance: random.Random) -> str:
    parts = (
        f"## Part {part}\n\n{' '.join(chance.choices(words, k=_WORDS_A_CHUNK))}.\n"
        for part in range(_CHUNKS_A_DOCUMENT)
    )
    return "\n".join([f"# Page {n}\n", *parts])


def _updated(whole: Whole, instance: Instance, n: int, words: Sequence[str], chance: random.Random) -> float:
    """Change one part of one document, and apply it as the daemon does."""
    name = f"{0:04}/{n:06}.md"
    path = instance.docs / name
    head, mark, _ = path.read_text().partition("## Part 7\n")
    path.write_text(f"{head}{mark}\n{' '.join(chance.choices(words, k=_WORDS_A_CHUNK))}.\n")
    (target,) = whole.targets
    scanner = Scanner(
        target=target, ledger=whole.ledger, sources=whole.sources, guard=Guard(1_000, 1.0), clock=whole.clock
    )

    def apply() -> None:
        scanner.look({name: whole.clock.now()})
        batch = whole.ledger.take(whole.clock.now(), 64)
        if len(batch) != 1 or not whole.search.run(batch):
            raise RuntimeError(f"expected one change, got {len(batch)}")

    return _took(apply)


def _took(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="freshd-curve-") as scratch:
        print(json.dumps(asdict(_measure(int(sys.argv[1]), Path(scratch)))))  # noqa: T201
