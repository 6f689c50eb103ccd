"""What it takes to start: a command, and the daemon over documents that it knows; and what the daemon costs at rest.

Commands are whole processes, from start to exit, warm: each was started once before it counts.
The daemon is ready once `/readyz` says so: it has looked at everything and searches.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.corpus import DjangoDocs, put_small_files
from tests.bench.daemon import Daemon, running, started
from tests.bench.instance import Instance, reindex
from tests.bench.report import Table
from tests.bench.timing import Spread, cpu_s, until
from tests.torture.program import children

DOCUMENTS = 10_000
_ROUNDS = 20
_STARTS = 5
_SETTLES_IN_S = 10.0
_RESTS_FOR_S = 120.0
_PATIENCE_S = 120.0


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Index many small files, then start, over and over, and rest."""
    instance = Instance(scratch)
    put_small_files(docs.tree("5.2"), instance.docs, DOCUMENTS)
    with instance.open() as whole:
        reindex(whole)
    commands = {
        f"freshd {' '.join(words)}": _spread(partial(_command, instance, *words), _ROUNDS)
        for words in (("--help",), ("status",))
    }
    ready = _spread(partial(_ready, instance), _STARTS)
    with running(instance) as daemon:
        asked = _spread(partial(_command, instance, "status"), _ROUNDS)
        time.sleep(_SETTLES_IN_S)
        resting = _resting(daemon)
    return Table(
        f"start: {DOCUMENTS:,} small files, bundled model, embedded Qdrant",
        ("", "seconds", "% of a core"),
        (
            *((name, spread, None) for name, spread in commands.items()),
            ("freshd status, asking the daemon", asked, None),
            ("freshd run, until it is ready", ready, None),
            ("the daemon at rest", None, resting[0] * 100),
            ("its store at rest", None, resting[1] * 100),
        ),
        (
            f"median [lowest … highest] of {_ROUNDS}, of {_STARTS} for the daemon; "
            f"at rest: CPU time over {_RESTS_FOR_S:.0f} s in which nothing changes and nobody asks.",
        ),
    )


def _spread(measure: Callable[[], float], rounds: int) -> Spread:
    measure()
    return Spread.of([measure() for _ in range(rounds)])


def _command(instance: Instance, *words: str) -> float:
    command = [sys.executable, "-m", "freshd", *words]
    began_s = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd=instance.config.parent)
    return time.perf_counter() - began_s


def _ready(instance: Instance) -> float:
    began_s = time.perf_counter()
    with started(instance) as daemon:
        until(daemon.is_ready, "the daemon is ready", patience_s=_PATIENCE_S)
        return time.perf_counter() - began_s


def _resting(daemon: Daemon) -> tuple[float, float]:
    """Give the share of a core that the daemon takes, and that its store does."""
    pids = daemon.pid, *children(daemon.pid)
    began_s, before = time.perf_counter(), [cpu_s(pid) for pid in pids]
    time.sleep(_RESTS_FOR_S)
    seconds = time.perf_counter() - began_s
    own, *others = [(cpu_s(pid) - spent_s) / seconds for pid, spent_s in zip(pids, before, strict=True)]
    return own, sum(others)
