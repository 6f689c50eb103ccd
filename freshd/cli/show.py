"""What people read: tables that fit their terminal, durations in words, colours that mean something."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from freshd.redaction import printable
from freshd.shapes import ReindexReport, SearchAnswer, SearchHit, SourceReindexed, SourceStatus, StatusReport

_COLOURS = {"pass": "green", "warn": "yellow", "error": "red", "unknown": "magenta"}
_SHOWN_LINES = 4
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def duration(seconds: float | None) -> str:
    """Write seconds as people say them: `0.21 s`, `48 s`, `3.5 min`, `2.1 d`; a dash for unknown."""
    if seconds is None:
        return "–"
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s" if seconds >= 0.01 else "0 s"


def status_table(report: StatusReport, console: Console) -> None:
    """Show how fresh each source is, and below the table what is wrong with any."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("source", overflow="fold")
    table.add_column("status")
    for name in ("documents", "chunks", "pending", "stale", "target", "lag p50", "p99"):
        table.add_column(name, justify="right")
    for source in report["sources"]:
        lag = source["lag_seconds"]
        table.add_row(
            escape(printable(source["name"])),
            Text(source["status"], _COLOURS[source["status"]]),
            f"{source['documents']:,}",
            f"{source['chunks']:,}",
            f"{source['pending']:,}",
            duration(source["staleness_seconds"]),
            duration(source["freshness_target_seconds"]),
            duration(lag["p50"]),
            duration(lag["p99"]),
        )
    console.print(table)
    for source in report["sources"]:
        for line in _troubles(source):
            console.print(f"[yellow]{escape(printable(source['name']))}[/]: {escape(line)}")
    store = report["store"]
    if store["error"]:
        console.print(f"[red]store[/]: {escape(store['error'])}")
    daemon = f"daemon: process {report['daemon']}" if report["daemon"] else "no daemon runs: freshd run"
    console.print(f"[dim]{daemon}[/]")


def _troubles(source: SourceStatus) -> list[str]:
    lines = []
    if source["held"]:
        lines.append(f"{source['held']} deletions are held: freshd deletions list {source['name']}")
    if source["quarantined"]:
        lines.append(f"{source['quarantined']} documents failed repeatedly; their last good state stays")
    if source["watch"] not in (None, "watching", "not watched"):
        lines.append(f"changes are found by scans only: {source['watch']}")
    if source["last_error"]:
        lines.append(source["last_error"])
    return lines


def reindex_table(report: ReindexReport, console: Console) -> None:
    """Show what a run did, or would do: a line for each source, zeros left out."""
    for source in report["sources"]:
        documents = _counted(source["documents"])
        chunks = _counted(source["chunks"])
        name = escape(printable(source["name"]))
        console.print(f"[bold]{name}[/]  documents: {documents or 'none'}  [dim]│[/]  chunks: {chunks or 'none'}")
    console.print(_summary(report))


def _summary(report: ReindexReport) -> str:
    embedded = sum(source["chunks"]["embedded"] for source in report["sources"])
    characters = sum(source["embedded_characters"] for source in report["sources"])
    if report["dry_run"]:
        return (
            f"would embed {embedded} chunks ({characters:,} characters), about {duration(report['estimated_seconds'])}"
        )
    elapsed = duration(sum(source["elapsed_seconds"] for source in report["sources"]))
    if not embedded and not _has_changed(report["sources"]):
        return f"nothing changed: 0 chunks embedded, {elapsed}"
    return f"{embedded} chunks embedded ({characters:,} characters) in {elapsed}"


def _has_changed(sources: Sequence[SourceReindexed]) -> bool:
    changing = ("added", "modified", "moved", "deleted")
    return any(source["documents"][key] for source in sources for key in changing)  # type: ignore[literal-required]


def _counted(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def hits(answer: SearchAnswer, console: Console) -> None:
    """Show passages, each with where it stands and how fresh its source is."""
    if not answer["hits"]:
        console.print("[dim]nothing found[/]")
    for n, hit in enumerate(answer["hits"], 1):
        place = f"{hit['source']}/{hit['document_id']}:{hit['start_line']}-{hit['end_line']}"
        path = " › ".join(hit["heading_path"])
        console.print(f"[bold]{n}. {escape(printable(place))}[/]  [dim]{escape(printable(path))}[/]")
        lines = hit["text"].splitlines()
        for line in lines[:_SHOWN_LINES]:
            console.print("   " + escape(printable(line)))
        if len(lines) > _SHOWN_LINES:
            console.print(f"   [dim]… {len(lines) - _SHOWN_LINES} more lines[/]")
        console.print(f"   [dim]{escape(printable(hit['uri']))}  {_freshness(hit)}[/]\n")


def _freshness(hit: SearchHit) -> str:
    mark = hit["watermark"]
    return f"fresh as of {_local(mark)}" if mark else "freshness of its source unknown"


def _local(instant: str) -> str:
    return datetime.fromisoformat(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")
