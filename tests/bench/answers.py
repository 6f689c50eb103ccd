"""How soon the daemon answers while a first index takes all it can get, beside one that has nothing to do.

Asked one after the other over a connection that is kept, as a page that is open and a scraper would.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.corpus import DjangoDocs, put_small_files
from tests.bench.daemon import Daemon, running, started
from tests.bench.instance import Instance
from tests.bench.report import Cell, Table
from tests.bench.timing import percentile, until

DOCUMENTS = 10_000
ROUTES = ("/status", "/metrics", "/")
BOUND_S = 0.1
"""What every answer should take at most."""

_BUSY_S = 60.0
_IDLE_S = 5.0
_PAUSE_S = 0.05
_PATIENCE_S = 60.0

Times = Mapping[str, Sequence[float]]
"""Seconds of every answer, by route."""


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Ask a daemon at rest, then one that begins to index many small files."""
    busy, idle = Instance(scratch / "busy"), Instance(scratch / "idle")
    put_small_files(docs.tree("5.2"), busy.docs, DOCUMENTS)
    with running(idle) as daemon:
        at_rest = _asked(daemon, _IDLE_S, lambda: True)
    with started(busy) as daemon:
        until(lambda: daemon.source()["pending"] > 0, "documents wait", patience_s=_PATIENCE_S)
        before = daemon.source()["documents"]
        began_s = time.perf_counter()
        at_work = _asked(daemon, _BUSY_S, lambda: bool(daemon.source()["pending"]))
        elapsed_s = time.perf_counter() - began_s
        done = daemon.source()["documents"] - before
    if not done:
        raise RuntimeError("nothing was indexed while the daemon was asked")
    return Table(
        f"answers: while a first index of {DOCUMENTS:,} small files runs",
        ("route", "daemon", "n", "p50 ms", "p95 ms", "p99 ms", "max ms", f"above {BOUND_S * 1000:.0f} ms"),
        tuple(_rows({"at work": at_work, "at rest": at_rest})),
        (
            f"at work: {done:,} documents came into the index in {elapsed_s:.0f} s, {done / elapsed_s:.0f} a second.",
            f"one question after the other, {_PAUSE_S * 1000:.0f} ms in between; at rest: over an empty folder.",
        ),
    )


def _asked(daemon: Daemon, for_s: float, is_going_on: Callable[[], bool]) -> Times:
    """Ask every route in turn for some time, or for as long as something goes on."""
    times: dict[str, list[float]] = defaultdict(list)
    ends_s = time.perf_counter() + for_s
    while time.perf_counter() < ends_s and is_going_on():
        for route in ROUTES:
            began_s = time.perf_counter()
            daemon.answers(route)
            times[route].append(time.perf_counter() - began_s)
            time.sleep(_PAUSE_S)
    return times


def _rows(seen: Mapping[str, Times]) -> Iterator[tuple[Cell, ...]]:
    for route in ROUTES:
        for name, times in seen.items():
            answers = times[route]
            ms = [percentile(answers, share) * 1000 for share in (0.5, 0.95, 0.99, 1.0)]
            yield route, name, len(answers), *ms, sum(answer > BOUND_S for answer in answers)
