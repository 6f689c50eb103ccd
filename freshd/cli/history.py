"""The command that shows what was applied, and what comes."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

import typer
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from freshd.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    check_documents,
    check_names,
    out,
    print_json,
    talk,
)
from freshd.client import Client, Told, connect, demand
from freshd.config import Config, load
from freshd.errors import ConfigError, FreshdError
from freshd.model import DocumentId, SourceName
from freshd.redaction import printable
from freshd.shapes import ChangeEntry, ChangesAnswer, ChunkCounts
from freshd.state import StateDirectory
from freshd.wording import duration

MOST = 1_000
"""Changes shown at once."""

_PAUSE_S = 0.5
_PATIENCE_S = 30.0
"""How long a daemon that was followed may be away: a restart takes some seconds."""

_COLOURS = {"added": "green", "modified": "yellow", "moved": "cyan", "deleted": "red"}
_HEAD = f"{'time':<8}  {'change':<8}  {'lag':>7}  {'chunks':<14}  document"
_INDENT = len(_HEAD) - len("document")
_LEGEND = "chunks: + embedded  ~ reused  = kept  − removed · lag: from changed to searchable"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Whose changes are shown; None for everybody's."""

    source: SourceName | None = None
    document_id: DocumentId | None = None


def history(
    name: Annotated[
        str | None, typer.Argument(metavar="[SOURCE/ID|SOURCE]", help="Only of this document or source.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help=f"How many changes: 1 … {MOST:,}.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Print new ones as they come, until Ctrl-C.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show the newest changes that were applied, and what each cost; the newest is last."""
    if not 1 <= n <= MOST:
        raise ConfigError(f"-n: got {n}, expected 1 … {MOST:,}", hint="freshd history -n 20")
    loaded = load(config, connectors=False)
    wanted = _wanted(loaded, name)
    if follow:
        _daemon(loaded)  # or be refused before anything is printed
    answer = _changes(loaded, n, wanted)
    show = _show_line if as_json else _Lines(out).show
    if as_json and not follow:
        print_json(answer)
        return
    for entry in answer["changes"]:
        show(entry)
    if follow:
        with suppress(KeyboardInterrupt):  # its only end, so no failure
            _follow(loaded, str(answer["last_seq"]), wanted, show)
    elif answer["changes"]:
        talk.print(_LEGEND, style="dim", markup=False, soft_wrap=True)
    else:
        talk.print("nothing was applied yet", style="dim")


def _wanted(config: Config, name: str | None) -> _Wanted:
    if name is None:
        return _Wanted()
    source, slash, document_id = name.partition("/")
    if slash:
        check_documents(config, [name])
        return _Wanted(SourceName(source), DocumentId(document_id))
    check_names(config, [name])
    return _Wanted(SourceName(source))


def _changes(config: Config, n: int, wanted: _Wanted) -> ChangesAnswer:
    daemon = connect(StateDirectory(config.state_dir))
    if daemon is not None:
        return daemon.changes(-n, n, wanted.source, wanted.document_id)
    from freshd.report import stored_changes

    return stored_changes(config, -n, n, wanted.source, wanted.document_id)


def _follow(config: Config, place: str, wanted: _Wanted, show: Callable[[ChangeEntry], None]) -> None:
    for told in _told(config, place, wanted):
        if told.change is not None:
            show(told.change)
        else:
            talk.print("some changes are not remembered any more", style="yellow", markup=False)


def _told(config: Config, place: str, wanted: _Wanted) -> Iterator[Told]:
    """Hear of changes one after another, across reloads and restarts of the daemon."""
    ended_s: float | None = None
    while True:
        try:
            for told in _daemon(config).follow(place, wanted.source, wanted.document_id):
                yield told
                place = told.place
            ended_s = time.monotonic()
        except FreshdError:
            if ended_s is None or time.monotonic() - ended_s > _PATIENCE_S:
                raise
        time.sleep(_PAUSE_S)


def _daemon(config: Config) -> Client:
    return demand(StateDirectory(config.state_dir), "followed")


def _show_line(entry: ChangeEntry) -> None:
    print_json(entry, indent=None)


class _Lines:
    """Shows changes one below the other, in columns; the document comes last, where it has room."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._day: date | None = None
        # Elsewhere each line has to stand for itself, whatever filters it.
        self._when, self._room = ("%Y-%m-%d %H:%M:%S", None)
        if console.is_terminal:
            self._when, self._room = "%H:%M:%S", max(20, console.width - _INDENT)

    def show(self, entry: ChangeEntry) -> None:
        """Show one by its local time; on a terminal the day stands above the first of each."""
        at = datetime.fromisoformat(entry["searchable_at"] or entry["changed_at"]).astimezone()
        if self._day is None:
            head = _HEAD if self._room else f"{'':{len('2026-01-01 ')}}{_HEAD}"
            self._console.print(Text(head, "bold"))
        if self._room and self._day != at.date():
            self._console.print(Text(f"{at:%Y-%m-%d}", "dim"))
        self._day = at.date()
        row = Text(f"{at:{self._when}}  ")
        row.append(f"{entry['kind']:<8}", _COLOURS[entry["kind"]])
        row.append(f"  {duration(entry['lag_seconds']):>7}  {_chunks(entry['chunks']):<14}  ")
        row.append(f"\n{'':{_INDENT}}".join(_document(entry, self._room)))
        self._console.print(row)


def _chunks(counts: ChunkCounts) -> str:
    """Write fates as a diff writes lines, zeros left out."""
    kept = counts["kept"] + counts["relabelled"]
    signs = (("+", counts["embedded"]), ("~", counts["reused"]), ("=", kept), ("−", counts["removed"]))
    return " ".join(f"{sign}{n}" for sign, n in signs if n) or "none"


def _document(entry: ChangeEntry, room: int | None) -> list[str]:
    """Give the document's name, in as many lines as it takes."""
    name = printable(f"{entry['source']}/{entry['document_id']}")
    if entry["previous_id"] is None:
        parts = [name]
    else:
        parts = [printable(f"{entry['source']}/{entry['previous_id']}"), f"→ {printable(entry['document_id'])}"]
        if room is None or cell_len(" ".join(parts)) <= room:
            parts = [" ".join(parts)]
    return parts if room is None else [line for part in parts for line in chop_cells(part, room)]
