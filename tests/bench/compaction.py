"""Whether making a worn shard anew holds anybody up: searches and edits while it goes on, beside the same at rest.

Half of the chunks are removed, which is when the embedded store does it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from freshd.compose import Whole
from tests.bench.corpus import DjangoDocs
from tests.bench.drawn import DrawnEmbedder
from tests.bench.instance import Instance, reindex
from tests.bench.pages import CHUNKS_A_DOCUMENT, Pages, updated
from tests.bench.report import Cell, Table
from tests.bench.timing import percentile, took

CHUNKS = 100_000
_ROUNDS = 100


def run(_: DjangoDocs, scratch: Path) -> Table:
    """Wear a shard out, and make it anew while somebody searches and edits."""
    instance = Instance(scratch)
    pages = Pages(instance, CHUNKS // CHUNKS_A_DOCUMENT)
    kept, dropped = pages.names[::2], pages.names[1::2]
    with instance.open(DrawnEmbedder()) as whole:
        reindex(whole)
        at_rest = _asked(whole, pages, kept, lambda n: n < _ROUNDS)
        _remove(whole, dropped)
        pieces: list[float] = []
        compacting = threading.Thread(target=_compact, args=(whole, pieces))
        began_s = time.perf_counter()
        compacting.start()
        meanwhile = _asked(whole, pages, kept, lambda _: compacting.is_alive())
        compacting.join()
        took_s = time.perf_counter() - began_s
        if len(pieces) < CHUNKS / CHUNKS_A_DOCUMENT / 4:
            raise RuntimeError(f"expected a shard to be made anew, got {len(pieces)} pieces of work")
    titles = "search", "edit searchable", "edit durable"
    rows: list[tuple[Cell, ...]] = []
    for title, rest, busy in zip(titles, at_rest, meanwhile, strict=True):
        rows += [_row(title, "at rest", rest), _row(title, "meanwhile", busy)]
    return Table(
        f"compaction: a shard of {CHUNKS:,} chunks, half of them removed, made anew in {took_s:.1f} s",
        ("", "", "n", "p50 ms", "p99 ms", "max ms"),
        (*rows, _row("one piece of the work", "", pieces)),
        ("One piece after another, without a pause: the daemon does one only when it has nothing else to do.",),
    )


def _row(title: str, when: str, times: Sequence[float]) -> tuple[Cell, ...]:
    return title, when, len(times), *(percentile(times, share) * 1000 for share in (0.5, 0.99, 1.0))


def _asked(
    whole: Whole, pages: Pages, names: Sequence[str], goes_on: Callable[[int], bool]
) -> tuple[list[float], list[float], list[float]]:
    """Search and edit in turn for as long as it goes on."""
    searches, searchable, durable = list[float](), list[float](), list[float]()
    n = 0
    while goes_on(n):
        searches.append(took(partial(whole.search.search, pages.query(), 10)))
        for seen, seconds in zip((searchable, durable), updated(whole, pages, names[n % len(names)]), strict=True):
            seen.append(seconds)
        n += 1
    return searches, searchable, durable


def _remove(whole: Whole, names: Sequence[str]) -> None:
    """Take documents out of the store alone: how they came to be removed makes no difference to it."""
    (target,) = whole.targets
    for name in names:
        whole.store.remove([piece.chunk_id for piece in whole.ledger.revision(target.name, name).chunks])
    whole.store.flush()


def _compact(whole: Whole, pieces: list[float]) -> None:
    has_more = True
    while has_more:
        began_s = time.perf_counter()
        has_more = whole.store.compact()
        pieces.append(time.perf_counter() - began_s)
