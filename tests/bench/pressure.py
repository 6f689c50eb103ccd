"""How late a live edit is while the daemon has much else to do: a first index, and a branch switch of as many files.

One file after another is edited by somebody who knows nothing of the rest; the daemon's own record tells each lag.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from freshd.ledger.database import Database
from freshd.ledger.history import Entry, SqliteHistory
from freshd.pipeline import MAX_BATCH_CHUNKS
from freshd.state import StateDirectory
from tests.bench.corpus import DjangoDocs, files, put_small_files
from tests.bench.daemon import Daemon, started
from tests.bench.instance import Instance, chunks_of
from tests.bench.report import Cell, Table
from tests.bench.timing import percentile, until

DOCUMENTS = 10_000
LIVE = 20
"""Files that are edited by hand, among the others."""

_EDITS = 100
_PAUSE_S = 0.5
_PATIENCE_S = 1_800.0
_SEED = 11
_PREFIX = "live/"
_BRANCH = "on another branch"
_SAMPLE = 1_000


@dataclass(frozen=True, slots=True)
class _Phase:
    """What went on, and when."""

    title: str
    began_at: datetime
    ended_at: datetime

    def of(self, entries: Sequence[Entry], *, live: bool) -> list[Entry]:
        """Give what became durable meanwhile: of the files that are edited by hand, or of the others."""
        within = (entry for entry in entries if self.began_at <= entry.durable_at <= self.ended_at)
        return [entry for entry in within if entry.document_id.startswith(_PREFIX) is live and entry.fates.embedded]


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Begin a first index and edit meanwhile; edit at rest; change every file and edit meanwhile."""
    instance = Instance(scratch)
    put_small_files(docs.tree("5.2"), instance.docs, DOCUMENTS)
    others = list(files(instance.docs).values())
    (instance.docs / _PREFIX).mkdir()
    edits = _edits(instance.docs / _PREFIX)
    with started(instance) as daemon:
        until(lambda: daemon.source()["watermark"] is not None, "all is listed", patience_s=_PATIENCE_S)
        phases = [
            _phase("a first index", daemon, edits, is_over=lambda: not daemon.source()["pending"]),
            _phase("nothing else", daemon, edits),
        ]
        began_at = datetime.now(UTC)
        _switch(others)  # the first of them are durable before the last is written
        switch = _phase("a branch switch", daemon, edits, is_over=lambda: not daemon.source()["pending"])
        phases.append(replace(switch, began_at=began_at))
        left = daemon.source()
    if left["documents"] != DOCUMENTS + LIVE or left["quarantined"]:
        raise RuntimeError(f"got {left['documents']:,} documents, expected {DOCUMENTS + LIVE:,}")
    entries = _entries(instance)
    switched = {entry.document_id for entry in phases[-1].of(entries, live=False)}
    if len(switched) != DOCUMENTS:
        raise RuntimeError(f"of {DOCUMENTS:,} files that changed at once, {len(switched):,} became durable")
    alone = _embedded_alone(instance)
    return Table(
        f"pressure: edits beside {DOCUMENTS:,} small files, bundled model, embedded Qdrant, the daemon running",
        ("edits during", "n", "p50 ms", "p95 ms", "p99 ms", "max ms", "p99 × nothing else", "others", "others/s"),
        tuple(_rows(phases, entries)),
        (
            f"one of {LIVE} files gets another paragraph every {_PAUSE_S:g} s;"
            " own lag: from the file's ctime to the switch in search.",
            f"a branch switch changes all {DOCUMENTS:,} files at once; each of them is counted once it is durable.",
            f"embedding alone what the switch changed: {alone:.0f} files/s, of {_SAMPLE:,} of them.",
            "n may be lower than the edits made: of a file that is edited again while it waits, the newest counts.",
        ),
    )


def _embedded_alone(instance: Instance) -> float:
    """Embed what the switch changed of some files, with nothing else going on; give files a second."""
    with instance.open() as whole:
        names = sorted(seen.document_id for seen in whole.targets[0].connector.list())[:_SAMPLE]
        texts = [
            piece.embedded_text for name in names for piece in chunks_of(whole, name) if _BRANCH in piece.embedded_text
        ]
        list(whole.recipe.embedder.embed_passages(texts[:8]))  # loads the model
        began_s = time.perf_counter()
        for start in range(0, len(texts), MAX_BATCH_CHUNKS):
            list(whole.recipe.embedder.embed_passages(texts[start : start + MAX_BATCH_CHUNKS]))
        return len(names) / (time.perf_counter() - began_s)


def _edits(folder: Path) -> Iterator[None]:
    """Write another paragraph into one file after another, each time one is asked for."""
    chance = random.Random(_SEED)
    for n in count():
        word = f"edit{n:05d}q{chance.randrange(16**6):06x}"
        text = f"Page {n % LIVE}\n\nIts first paragraph.\n\nThe rule that {word} stands for holds this week.\n"
        (folder / f"{n % LIVE:02}.txt").write_text(text)
        yield


def _switch(paths: Sequence[Path]) -> None:
    for path in paths:
        title, _, body = path.read_text().partition("\n")
        path.write_text(f"{title}, {_BRANCH}\n{body}")


def _phase(title: str, daemon: Daemon, edits: Iterator[None], *, is_over: Callable[[], bool] = lambda: False) -> _Phase:
    """Edit so many times, or until something is over; then wait for all of it."""
    began_at = datetime.now(UTC)
    for _ in range(_EDITS):
        next(edits)
        time.sleep(_PAUSE_S)
        if is_over():
            break
    until(daemon.is_settled, "all is settled", patience_s=_PATIENCE_S, every_s=0.2)
    return _Phase(title, began_at, datetime.now(UTC))


def _entries(instance: Instance) -> Sequence[Entry]:
    with closing(Database(StateDirectory(instance.state_dir).ledger_path)) as database:
        history = SqliteHistory(database)
        return history.entries(limit=history.last_seq())


def _rows(phases: Sequence[_Phase], entries: Sequence[Entry]) -> Iterator[tuple[Cell, ...]]:
    lags = {
        one.title: [entry.lag_s for entry in one.of(entries, live=True) if entry.lag_s is not None] for one in phases
    }
    at_rest = percentile(lags["nothing else"], 0.99)
    for one in phases:
        ms = [percentile(lags[one.title], share) * 1000 for share in (0.5, 0.95, 0.99, 1.0)]
        others = len(one.of(entries, live=False))
        rate = others / (one.ended_at - one.began_at).total_seconds() if others else None
        yield one.title, len(lags[one.title]), *ms, percentile(lags[one.title], 0.99) / at_rest, others or None, rate
