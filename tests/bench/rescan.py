"""What it costs to find that nothing changed, beside git, which finds the same of the same tree.

Both are warm, and both compare what `lstat` says with what they remember.
freshd looks from within one open process, as its daemon does; git starts anew, as it always does.
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from freshd.compose import Whole
from freshd.embedder import open_embedder
from tests.bench.corpus import DjangoDocs, files, put, put_small_files
from tests.bench.counting import CountingEmbedder
from tests.bench.instance import Instance, reindex
from tests.bench.report import Cell, Table
from tests.bench.timing import Spread, ratios, take_turns, until

SMALL_FILES = 20_000
_ROUNDS = 15


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Rescan the documentation, then many small files."""
    django, small = Instance(scratch / "django"), Instance(scratch / "small")
    put(docs.tree("5.2"), django.docs)
    put_small_files(docs.tree("5.2"), small.docs, SMALL_FILES)
    return Table(
        "rescan: a pass that finds nothing changed",
        ("tree", "freshd ms", "git status ms", "bare walk ms", "freshd / git", "freshd / walk"),
        (_row("Django 5.2 docs", django), _row("small files", small)),
        (
            f"median [lowest … highest] of {_ROUNDS} rounds, in turn; ratios by round.",
            "freshd: one reindex pass within an open process; git status: a process; "
            "bare walk: scandir and lstat in Python.",
        ),
    )


def _row(title: str, instance: Instance) -> tuple[Cell, ...]:
    there = files(instance.docs)
    _commit(instance.docs)
    scratch = instance.config.parent
    embedder = CountingEmbedder(open_embedder("bundled", scratch / "models", scratch))
    with instance.open(embedder) as whole:
        reindex(whole)
        # Files younger than two seconds are read again: nobody could tell a second write from the first.
        until(lambda: reindex(whole).documents["unchanged"] == len(there), "nothing is read again", patience_s=30)
        contenders: dict[str, Callable[[], float]] = {
            "freshd": lambda: _pass(whole, len(there)),
            "git": lambda: _git_status(instance.docs),
            "walk": lambda: _walk(instance.docs, len(there)),
        }
        take_turns(contenders, 2)  # warm
        times = take_turns(contenders, _ROUNDS)
    spreads = [Spread.of(seconds).scaled(1000) for seconds in times.values()]
    return (
        f"{title}, {len(there):,} files",
        *spreads,
        ratios(times["freshd"], times["git"]),
        ratios(times["freshd"], times["walk"]),
    )


def _pass(whole: Whole, n_files: int) -> float:
    began_s = time.perf_counter()
    tally = reindex(whole)
    elapsed_s = time.perf_counter() - began_s
    if tally.documents["unchanged"] != n_files or tally.documents.total() != n_files:
        raise RuntimeError(f"expected {n_files} unchanged documents, got {dict(tally.documents)}")
    return elapsed_s


def _git_status(tree: Path) -> float:
    began_s = time.perf_counter()
    shown = _git(tree, "status", "--porcelain")
    elapsed_s = time.perf_counter() - began_s
    if shown:
        raise RuntimeError(f"git sees changes: {shown.splitlines()[0]}")
    return elapsed_s


def _walk(tree: Path, n_files: int) -> float:
    began_s = time.perf_counter()
    found = 0
    folders = [os.fspath(tree)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name == ".git":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    found += 1
    elapsed_s = time.perf_counter() - began_s
    if found != n_files:
        raise RuntimeError(f"expected {n_files} files, got {found}")
    return elapsed_s


def _commit(tree: Path) -> None:
    _git(tree, "init", "--quiet")
    _git(tree, "add", "--all")
    _git(tree, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "--message", "all")


def _git(tree: Path, *arguments: str) -> str:
    """Run git in a tree, on defaults only: whoever runs the benchmark may have settings that change what it does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", os.fspath(tree), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
