"""What it costs to find that nothing changed, beside git and find, which look at the same tree.

All are warm. freshd and git compare what `lstat` says with what they remember; find only prints it.
freshd looks from within one open process, as its daemon does; the others start anew, as they always do.

`python -m tests.bench.rescan N` does it over N files, and asks the daemon for its status while it looks.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from freshd.compose import Whole
from freshd.embedder import open_embedder
from freshd.scheduler import Reindexer
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.counting import CountingEmbedder
from tests.bench.daemon import Daemon, started
from tests.bench.instance import Instance, reindex
from tests.bench.report import Cell, Table, machine, show_machine
from tests.bench.timing import Spread, cpu_s, percentile, ratios, take_turns, until
from tests.bench.tree import grow, learn
from tests.torture.program import children

FILES = 100_000
_ROUNDS = 9
_MOST_FOR_GIT = 200_000
"""With more files, git's own bookkeeping of them takes longer than all the rest."""

_REST_S = 45.0
"""Until the memory that loading the model took is given back."""

_FOUND = "%p %s %T@ %C@ %i\n"
_OLD_ENOUGH_S = 3.0
"""Files younger than two seconds are read again: nobody could tell a second write from the first."""

_COLUMNS = ("tree", "freshd ms", "git status ms", "find ms", "freshd / git", "freshd / find")
_NOTES = (
    f"median [lowest … highest] of {_ROUNDS} rounds, in turn; ratios by round, of wall time and of CPU time: "
    "git looks from several threads.",
    "freshd: one reindex pass within an open process; git status, and find -printf '%p %s %T@ %C@ %i': a process each.",
)

Cost = tuple[float, float]
"""Wall and CPU seconds."""


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Rescan the documentation, then many small files."""
    django = Instance(scratch / "django")
    put(docs.tree("5.2"), django.docs)
    embedder = CountingEmbedder(open_embedder("bundled", scratch / "models", scratch))
    with django.open(embedder) as whole:
        reindex(whole)
        _settle(whole, len(files(django.docs)))
        first = _rows("Django 5.2 docs", django, whole, len(files(django.docs)))
    return Table("rescan: a pass that finds nothing changed", _COLUMNS, (*first, *_of_many(scratch, FILES)), _NOTES)


def _of_many(scratch: Path, n_files: int) -> tuple[tuple[Cell, ...], ...]:
    many = Instance(scratch / "many")
    grow(many.docs, n_files)
    time.sleep(_OLD_ENOUGH_S)
    with many.open() as whole:
        learn(whole)
        reindex(whole)  # until a look was complete, everything is a first index
        return _rows("small files", many, whole, n_files)


def _settle(whole: Whole, n_files: int) -> None:
    until(lambda: reindex(whole).documents["unchanged"] == n_files, "nothing is read again", patience_s=30)


def _rows(title: str, instance: Instance, whole: Whole, n_files: int) -> tuple[tuple[Cell, ...], ...]:
    """Measure one tree: a row of wall times, and one of CPU times."""
    costs: dict[str, list[Cost]] = {"freshd": [], "find": []}
    reindexer = whole.reindexer()
    contenders: dict[str, Callable[[], None]] = {
        "freshd": lambda: _pass(reindexer, n_files),
        "find": lambda: _find(instance.docs),
    }
    if n_files <= _MOST_FOR_GIT:
        _commit(instance.docs)
        contenders["git"] = lambda: _git_status(instance.docs)
        costs["git"] = []

    def measured(name: str) -> Callable[[], float]:
        def measure() -> float:
            began = _spent()
            contenders[name]()
            wall_s, cpu_s = (now - then for now, then in zip(_spent(), began, strict=True))
            costs[name].append((wall_s, cpu_s))
            return wall_s

        return measure

    for contend in contenders.values():
        contend()  # warm
    take_turns({name: measured(name) for name in contenders}, _ROUNDS)
    return tuple(
        (f"{title}, {n_files:,} files, {what}", *_cells(costs, which)) for which, what in enumerate(("wall", "CPU"))
    )


def _cells(costs: dict[str, list[Cost]], which: int) -> Iterator[Cell]:
    seconds = {name: [cost[which] for cost in spent] for name, spent in costs.items()}
    names = ("freshd", "git", "find")
    yield from (Spread.of(seconds[name]).scaled(1000) if name in seconds else None for name in names)
    yield from (ratios(seconds["freshd"], seconds[name]) if name in seconds else None for name in names[1:])


def _spent() -> Cost:
    """Wall and CPU seconds so far, of this process, of what it started and waited for, and of the store's process."""
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = sum(map(cpu_s, children(os.getpid())))
    return time.perf_counter(), time.process_time() + others.ru_utime + others.ru_stime + running


def _pass(reindexer: Reindexer, n_files: int) -> None:
    (tally,) = reindexer.run()
    if tally.documents["unchanged"] != n_files or tally.documents.total() != n_files:
        raise RuntimeError(f"expected {n_files} unchanged documents, got {dict(tally.documents)}")


def _git_status(tree: Path) -> None:
    if shown := _git(tree, "status", "--porcelain"):
        raise RuntimeError(f"git sees changes: {shown.splitlines()[0]}")


def _find(tree: Path) -> None:
    command = ["find", os.fspath(tree), "-name", ".git", "-prune", "-o", "-type", "f", "-printf", _FOUND]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _commit(tree: Path) -> None:
    _git(tree, "init", "--quiet")
    _git(tree, "add", "--all")
    _git(tree, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "--message", "all")


def _git(tree: Path, *arguments: str) -> str:
    """Run git in a tree, on defaults only: whoever runs the benchmark may have settings that change what it does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", os.fspath(tree), "-c", "gc.auto=0", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def _beside_a_look(instance: Instance) -> Table:
    """Ask a daemon for its status, over and over, while it looks at everything: from its start on, and once more."""
    with started(instance) as daemon:
        first = _looked("the first, from its start", daemon)
        until(lambda: daemon.is_ready() and daemon.is_settled(), "nothing is left to do", patience_s=60)
        time.sleep(_REST_S)
        daemon.forget_peak()
        daemon.look_again()
        second = _looked("another, of the daemon at rest", daemon)
    return Table(
        "status: asked while the daemon looks at the same tree",
        ("look", "look s", "answers", "p50 ms", "p99 ms", "max ms", "peak MiB"),
        (first, second),
        ("peak: of the process, without its store's; beside the first look, the model is loaded.",),
    )


def _looked(title: str, daemon: Daemon) -> tuple[Cell, ...]:
    began_s = time.perf_counter()
    times = _asked(daemon)
    took_s = time.perf_counter() - began_s
    ms = [percentile(times, share) * 1000 for share in (0.5, 0.99, 1.0)]
    return title, took_s, len(times), *ms, daemon.peak_bytes() / 2**20


def _asked(daemon: Daemon) -> Sequence[float]:
    times: list[float] = []
    before = daemon.source()["last_complete_scan_at"]
    while True:
        began_s = time.perf_counter()
        source = daemon.source()
        times.append(time.perf_counter() - began_s)
        if source["last_complete_scan_at"] != before:
            return times
        time.sleep(0.05)


def main() -> None:
    """Rescan as many small files as were asked for, in a process and then in a daemon."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rescan", description=__doc__)
    parser.add_argument("files", type=int)
    arguments = parser.parse_args()
    show_machine(machine())
    with tempfile.TemporaryDirectory(prefix="freshd-bench-") as folder:
        scratch = Path(folder)
        Table("rescan: a pass that finds nothing changed", _COLUMNS, _of_many(scratch, arguments.files), _NOTES).show()
        _beside_a_look(Instance(scratch / "many")).show()


if __name__ == "__main__":
    main()
