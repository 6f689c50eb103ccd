"""The demonstration as it is seen: first index, one row for each change, the status at the end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from freshd.clock import SystemClock
from freshd.demo.corpus import Corpus, headlines, write_corpus
from freshd.demo.daemon import POLL_S, Daemon, run_daemon
from freshd.demo.feedserver import Feed, serve_feed
from freshd.demo.steps import Measured, perform, steps
from freshd.errors import ConfigError
from freshd.redaction import printable
from freshd.state import StateDirectory

MAX_CHUNKS = 600
"""Embedding so many takes 20 s on two cores."""

_STALL_S = 180.0
"""Longest silence in the first index; a batch of 64 documents takes 15 s on two cores."""

_ANOTHER = "name a new folder, or none: freshd demo"
_HEADLINES = 3
_ROW = "{:<21}{:>9}{:>10}{:>8}{:>6}{:>9}"

_CONFIG = """\
[http]
listen = "127.0.0.1:0"

[log]
format = "console"

[[sources]]
name = "documents"
type = "files"
path = "documents"
freshness_target = "10s"

[[sources]]
name = "news"
type = "feed"
url = "{url}"
allow_private_hosts = ["{host}"]
freshness_target = "5s"
poll_interval = "1s"
"""


def run_demo(folder: Path | None, keep: bool, out: Console, *, max_chunks: int = MAX_CHUNKS) -> int:
    """Show on real documents how a change at a source becomes searchable, and what it costs.

    Args:
        folder: Where to work: absent or empty; it stays. None for a scratch folder.
        keep: Leave the daemon and the feed up until Ctrl-C, and a scratch folder beyond it.
        out: Where it is shown.
        max_chunks: About how many chunks to index first.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: The folder cannot be used.
        FreshdError: The daemon ended, or a change did not become searchable in time; nothing is left running.

    """
    with _ended_by_signals(), ExitStack() as stack:
        place = _prepared(folder)
        if folder is None and not keep:
            stack.callback(shutil.rmtree, place, ignore_errors=True)
        corpus = write_corpus(place / "documents", max_chunks)
        feed = stack.enter_context(serve_feed(SystemClock()))
        for title, text in headlines(_HEADLINES):
            feed.publish(title, text)
        config = place / "freshd.toml"
        config.write_text(_CONFIG.format(url=feed.url, host=feed.url.split("/")[2]), encoding="utf-8")
        _introduce(place, corpus, feed, out)
        daemon = stack.enter_context(run_daemon(config, StateDirectory(place / ".freshd"), place / "daemon.log"))
        stack.enter_context(_stopping(out))
        out.print(f"[dim]  daemon     http://{daemon.address}/  (/status, /search?q=…, /metrics)[/]", soft_wrap=True)
        _index(daemon, len(corpus.texts) + _HEADLINES, out)
        _change(corpus, feed, daemon, out)
        _print_status(config, out, is_kept=keep)
        if keep:
            _stay(daemon, config, out)
    return 0


def _prepared(folder: Path | None) -> Path:
    if folder is None:
        return Path(mkdtemp(prefix="freshd-demo-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        got = f"got {error.strerror}, expected an empty or absent folder"
        raise ConfigError(f"{printable(str(folder))}: {got}", hint=_ANOTHER) from error
    if not is_empty:
        got = "got a folder that holds something, expected an empty or absent one"
        raise ConfigError(f"{printable(str(folder))}: {got}", hint=_ANOTHER)
    return folder.resolve()


@contextmanager
def _stopping(out: Console) -> Iterator[None]:
    """Say at once that Ctrl-C was heard: the daemon may take some seconds to end."""
    try:
        yield
    except KeyboardInterrupt:
        out.print("stopping")
        raise


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make the signals that end a program end it in order, so that no daemon outlives it."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _introduce(place: Path, corpus: Corpus, feed: Feed, out: Console) -> None:
    out.print("[bold]freshd demo[/]: an index that follows its sources\n")
    lines = (
        f"  documents  {len(corpus.texts)} of {corpus.available} real ones found here: package descriptions,",
        f"             Python's reference; about {corpus.chunks} chunks",
        f"  feed       {feed.url}",
        f"  folder     {escape(printable(str(place)))}",
    )
    for line in lines:
        out.print(f"[dim]{line}[/]", soft_wrap=True)


def _index(daemon: Daemon, documents: int, out: Console) -> None:
    """Wait for the first index, with a bar where somebody watches.

    Raises:
        FreshdError: Nothing happened for long, or the daemon ended.

    """
    began_s = moved_s = time.monotonic()
    done = 0
    columns = (TextColumn("  first index"), BarColumn(None), TextColumn("{task.fields[seen]}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, expand=True, disable=not out.is_terminal) as progress:
        # The daemon counts documents by the batch: until the first is in, the bar only says that work goes on.
        task = progress.add_task("", total=None, seen=f"{documents} documents")
        while True:
            sources = daemon.sources().values()
            indexed = sum(source["documents"] for source in sources)
            if all(source["watermark"] and not source["pending"] for source in sources):
                break
            if indexed != done:
                done, moved_s = indexed, time.monotonic()
                progress.update(task, total=documents, completed=done, seen=f"{done} of {documents} documents")
                if not out.is_terminal:
                    out.print(f"  indexed {done} of {documents} documents")
            stalled = f"indexed {indexed} of {documents} documents, then none for {_STALL_S:.0f} s"
            daemon.check(stalled if time.monotonic() - moved_s > _STALL_S else None)
            time.sleep(4 * POLL_S)
    chunks = sum(source["chunks"] for source in sources)
    took = f"{time.monotonic() - began_s:.1f} s"
    out.print(f"\nfirst index: {indexed} documents, {chunks} chunks embedded in {took}\n")


def _change(corpus: Corpus, feed: Feed, daemon: Daemon, out: Console) -> None:
    header = _ROW.format("change", "seconds", "embedded", "reused", "kept", "removed")
    out.print(f"[bold]{header}[/]", soft_wrap=True)
    for step in steps(corpus, feed, daemon):
        with out.status(step.name):
            measured = perform(step, daemon)
        _print_row(measured, out)
    out.print("\n[dim]seconds: from the write until the daemon's search answers with it[/]")


def _print_row(measured: Measured, out: Console) -> None:
    fates = measured.fates
    counts = (fates["embedded"], fates["reused"], fates["kept"] + fates["relabelled"], fates["removed"])
    out.print(_ROW.format(measured.name, f"{measured.seconds:.2f}", *counts), soft_wrap=True)
    proof = printable(f"  {measured.proof}")
    out.print(f"[dim]{escape(proof)}[/]", no_wrap=True, overflow="ellipsis")


def _print_status(config: Path, out: Console, *, is_kept: bool) -> None:
    """Show what `freshd status` says, asked as anybody would; only of a daemon that stays is told where."""
    where = f" --config {escape(printable(str(config)))}" if is_kept else ""
    out.print(f"\n[bold]freshd status[/]{where}", soft_wrap=True)
    ran = subprocess.run(
        [sys.executable, "-m", "freshd", "status", "--config", str(config)],
        env={**os.environ, "COLUMNS": str(out.width)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shown = ran.stdout + ran.stderr
    if not is_kept:  # a process id that is gone by the time it is read
        shown = "".join(line for line in shown.splitlines(keepends=True) if not line.startswith("daemon: "))
    out.print(shown, markup=False, soft_wrap=True, end="")


def _stay(daemon: Daemon, config: Path, out: Console) -> None:
    """Wait for Ctrl-C."""
    shown = escape(printable(str(config)))
    lines = (
        "\nthe daemon is up:",
        f"  look    http://{daemon.address}/  (the page; for programs: /status)",
        f"  ask     freshd search 'how are exceptions handled?' --config {shown}",
        f"  change  anything below {escape(printable(str(config.parent / 'documents')))}",
        "  stop    Ctrl-C; the folder stays",
    )
    with suppress(KeyboardInterrupt), _stopping(out):
        for line in lines:
            out.print(line, soft_wrap=True)
        daemon.wait()
