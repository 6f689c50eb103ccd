"""What people read: tables that fit their terminal, durations in words, colours that mean something."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import dropwhile

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from freshd.redaction import printable
from freshd.shapes import (
    ReindexReport,
    RemovedSource,
    SearchAnswer,
    SearchHit,
    SourceReindexed,
    SourceStatus,
    StatusReport,
    VerifyReport,
)
from freshd.wording import duration, setting

_COLOURS = {"pass": "green", "warn": "yellow", "error": "red", "unknown": "magenta"}
_SHOWN_LINES = 4
_QUARANTINED = 5
"""Quarantined documents of a source that are named below the table."""
_DISPENSABLE = ("chunks", "lag p50", "target", "lag p99", "documents", "budget")
"""Columns to do without, the first of them first, the less room there is the more."""

_NAME_CELLS = 24
"""Room that a name has before it goes on below; what is longer costs no column."""


def status_table(report: StatusReport, console: Console) -> None:
    """Show how fresh each source is, and below the table what is wrong with any."""
    console.print(status_view(report, console))


def status_view(report: StatusReport, console: Console) -> Group:
    """Lay out how fresh each source is, in as many columns as the console has room for."""
    unbounded = console.options.update(max_width=1_000)  # else a table measures no more than it is given
    for n_left_out in range(len(_DISPENSABLE) + 1):
        table = _sources(report["sources"], _DISPENSABLE[:n_left_out])
        table.columns[0].max_width = _NAME_CELLS
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    table.columns[0].max_width = None
    lines = [line for source in report["sources"] for line in _troubles(source)]
    return Group(table, *lines, *_whole(report))


def _sources(sources: Sequence[SourceStatus], left_out: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("source", overflow="fold")
    table.add_column("status", no_wrap=True)
    rows = [_columns(source) for source in sources]
    names = [name for name in _columns(sources[0]) if name not in left_out] if sources else []
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for source, row in zip(sources, rows, strict=True):
        status = Text(source["status"], _COLOURS[source["status"]])
        table.add_row(printable(source["name"]), status, *(row[name] for name in names))
    return table


def _columns(source: SourceStatus) -> dict[str, Text]:
    lag, budget = source["lag_seconds"], source["error_budget_remaining"]
    is_late = bool(source["late"])
    return {
        "documents": Text(f"{source['documents']:,}"),
        "chunks": Text(f"{source['chunks']:,}"),
        "pending": Text(f"{source['pending']:,}", "yellow" if is_late else ""),
        "stale": Text(duration(source["staleness_seconds"])),
        "target": Text(setting(source["freshness_target_seconds"])),
        "lag p50": Text(duration(lag["p50"])),
        "lag p99": Text(duration(lag["p99"])),
        "budget": Text("–") if budget is None else Text("spent", "red") if budget <= 0 else Text(f"{budget:.0%}"),
    }


def _troubles(source: SourceStatus) -> list[Text]:
    """Say why a source is not well, and what failed last where that says more."""
    name, colour, error = printable(source["name"]), _COLOURS[source["status"]], source["last_error"]
    lines = [Text.assemble((name, colour), f": {printable(reason)}") for reason in source["reasons"]]
    if error and not any(error in reason for reason in source["reasons"]):
        lines.append(Text.assemble((name, colour), f": last error: {printable(error)}"))
    quarantine = source["quarantine"][:_QUARANTINED]
    lines += [Text(f"  {printable(one['document_id'])}: {printable(one['error'])}") for one in quarantine]
    if (n_more := source["quarantined"] - len(quarantine)) > 0:
        lines.append(Text(f"  … {counted(n_more, 'more document')}: freshd status --json", "dim"))
    return lines


def _whole(report: StatusReport) -> list[Text]:
    """Say what is not about one source."""
    lines, store, work, proof = [], report["store"], report["indexing"], report["verify"]
    if store["error"]:
        lines.append(Text.assemble(("store", "red"), f": {printable(store['error'])}"))
    if report["config_error"]:
        lines.append(Text.assemble(("config", "red"), f": refused, the one before is kept: {report['config_error']}"))
    if work:
        left = "" if work["eta_seconds"] is None else f", about {duration(work['eta_seconds'])} left"
        lines.append(Text(f"indexing {work['source']}: {work['done']:,} of {work['total']:,} documents{left}", "cyan"))
    generation = report["generation"]
    if filling := generation["filling"]:
        left = "" if filling["eta_seconds"] is None else f", about {duration(filling['eta_seconds'])} left"
        failed = f", {filling['failed']:,} put off" if filling["failed"] else ""
        error = f": {printable(filling['error'])}" if filling["error"] else ""
        done = f"{filling['documents']:,} of {counted(filling['of'], 'document')}"
        lines.append(Text(f"generation {filling['name']}: {done}{left}{failed}{error}", "cyan"))
    notes = [f"daemon: process {report['daemon']}" if report["daemon"] else "no daemon runs: freshd run"]
    if proof["checked_at"]:
        ago_s = (_instant(report["at"]) - _instant(proof["checked_at"])).total_seconds()
        notes.append(
            f"verified {duration(max(0.0, ago_s))} ago: {divergent(proof):,} of {proof['checked']:,} points differ"
        )
    return [*lines, *map(_removed, report["removed"]), Text(" · ".join(notes), "dim")]


def _removed(source: RemovedSource) -> Text:
    """Say what is left of a source that left the config, and until when."""
    what = f"left the config: out of search, {counted(source['documents'], 'document')} kept"
    until = f" until {_local(source['pruned_at'])}" if source["pruned_at"] else ""
    return Text(f"{printable(source['name'])} {what}{until}; now: freshd prune {printable(source['name'])}", "dim")


def divergent(report: VerifyReport) -> int:
    """Count the points in which ledger and store still differ after a verify."""
    return report["missing"] + report["orphaned"] + report["damaged"] - report["repaired"]


def reindex_table(report: ReindexReport, console: Console) -> None:
    """Show what a run did, or would do: a line for each source, zeros left out."""
    for source in report["sources"]:
        documents = _counted(source["documents"]) or "none"
        chunks = _counted(source["chunks"]) or "none"
        name = escape(printable(source["name"]))
        looked = "" if source["is_available"] else "could not be looked at  [dim]│[/]  "
        console.print(f"[bold]{name}[/]  {looked}documents: {documents}  [dim]│[/]  chunks: {chunks}")
    console.print(_summary(report))


def _summary(report: ReindexReport) -> str:
    embedded = sum(source["chunks"]["embedded"] for source in report["sources"])
    characters = sum(source["embedded_characters"] for source in report["sources"])
    if report["dry_run"]:
        return (
            f"would embed {counted(embedded, 'chunk')} ({characters:,} characters),"
            f" about {duration(report['estimated_seconds'])}"
        )
    elapsed = duration(sum(source["elapsed_seconds"] for source in report["sources"]))
    if not embedded and not _has_changed(report["sources"]) and not any(one["errors"] for one in report["sources"]):
        return f"nothing changed: 0 chunks embedded, {elapsed}"
    return f"{counted(embedded, 'chunk')} embedded ({characters:,} characters) in {elapsed}"


def _has_changed(sources: Sequence[SourceReindexed]) -> bool:
    changing = ("added", "modified", "moved", "deleted")
    return any(source["documents"][key] for source in sources for key in changing)  # type: ignore[literal-required]


def _counted(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def hits(answer: SearchAnswer, console: Console) -> None:
    """Show passages, each with where it stands and how fresh its source is."""
    if not answer["hits"]:
        unknown = "" if answer["watermark"] else "; how fresh the index is, is unknown: freshd status"
        console.print(f"[dim]nothing found{unknown}[/]")
    for n, hit in enumerate(answer["hits"], 1):
        head = Text(f"{n}. {printable(_place(hit))}", "bold")
        if titles := _titles(hit):
            head.append(f"  {printable(titles)}", "not bold dim")
        console.print(head)
        lines = [line.expandtabs().rstrip() for line in hit["text"].splitlines()]
        lines = list(dropwhile(lambda line: not line, lines)) or ["(nothing but blanks)"]
        for line in lines[:_SHOWN_LINES]:
            console.print(Text(f"   {printable(line)}" if line else ""))
        if (n_more := len(lines) - _SHOWN_LINES) > 0:
            console.print(Text(f"   … {counted(n_more, 'more line')}", "dim"))
        console.print(Text(f"   {printable(hit['uri'])}  {_freshness(hit)}\n", "dim"))


def _place(hit: SearchHit) -> str:
    first, last = hit["start_line"], hit["end_line"]
    return f"{hit['source']}/{hit['document_id']}:{first}" + (f"-{last}" if last != first else "")


def _titles(hit: SearchHit) -> str:
    """Give the document's title and the headings above the passage; a title is often the first of them."""
    return " › ".join(dict.fromkeys([*filter(None, [hit["title"]]), *hit["heading_path"]]))


def counted(n: int, noun: str) -> str:
    """Write a number of things: `1 point`, `2,000 points`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _freshness(hit: SearchHit) -> str:
    mark = hit["watermark"]
    known = f"fresh as of {_local(mark)}" if mark else "freshness of its source unknown"
    return f"{known}, but stale: its newest state could not be indexed" if hit["is_stale"] else known


def _local(instant: str) -> str:
    return f"{_instant(instant).astimezone():%Y-%m-%d %H:%M:%S}"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
