"""The commands: stdout is data, stderr is talk, every refusal says what mends it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshd.config import TEMPLATE, Config, load, load_secrets
from freshd.errors import ConfigError
from freshd.freshness import Vitals, staleness, status
from freshd.model import Outcome, SearchFilter, SourceName
from freshd.payload import rfc3339
from freshd.ports import SourceState
from freshd.redaction import printable

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_out = Console(highlight=False, soft_wrap=True)
_talk = Console(stderr=True, highlight=False)

ConfigOption = Annotated[Path, typer.Option("--config", help="The config file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SourceNames = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="All of them when left out.")]

_COUNTS = ("added", "modified", "moved", "deleted", "touched", "unchanged", "failed", "held")
_FATES = ("embedded", "reused", "relabelled", "kept", "removed")
_HELD, _UNREAD = 14, 3


@app.callback()
def freshd() -> None:
    """Keep a retrieval index as fresh as its sources, and prove it."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the config goes.")] = Path()) -> None:
    """Write a commented freshd.toml."""
    path = folder / "freshd.toml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name another folder: freshd init DIR") from error
    _talk.print(f"wrote {escape(str(path))}; next: freshd reindex")


@app.command()
def reindex(names: SourceNames = None, config: ConfigOption = Path("freshd.toml"), as_json: JsonOption = False) -> None:
    """Look at the sources once, bring the index up to date, and leave."""
    from freshd.compose import open_whole

    loaded = load(config)
    _check_names(loaded, names or [])
    with open_whole(loaded, load_secrets()) as whole:
        tallies = whole.reindexer(names or []).run(_tell)
    report = [
        {
            "name": tally.source,
            "documents": {key: tally.documents[key] for key in _COUNTS},
            "chunks": asdict(tally.fates),
            "embedded_characters": tally.embedded_characters,
            "elapsed_seconds": round(tally.elapsed_s, 3),
        }
        for tally in tallies
    ]
    if as_json:
        _print_json({"sources": report, "dry_run": False})
    else:
        _print_reindexed(report)
    for line in (line for tally in tallies for line in tally.errors):
        _talk.print(f"error: {escape(printable(line))}", style="red")
    if not all(tally.is_available for tally in tallies):
        raise typer.Exit(1)
    if any(tally.documents["held"] for tally in tallies):
        _talk.print("deletions are held: more vanished at once than [guard] lets pass", style="yellow")
        raise typer.Exit(_HELD)
    if any(tally.documents["failed"] for tally in tallies):
        raise typer.Exit(_UNREAD)


@app.command()
def search(
    query: str,
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 5,
    source: Annotated[list[str] | None, typer.Option(help="Only in this source; may be repeated.")] = None,
    path: Annotated[str | None, typer.Option(help="Only documents whose id begins so.")] = None,
    config: ConfigOption = Path("freshd.toml"),
    as_json: JsonOption = False,
) -> None:
    """Find passages, each with where it stands and how fresh its source is known to be."""
    from freshd.compose import open_whole

    loaded = load(config)
    with open_whole(loaded, load_secrets()) as whole:
        where = SearchFilter(tuple(map(SourceName, source or ())), path)
        try:
            answer = whole.search.search(query, k, where)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    hits = [
        {
            "text": hit.citation.text,
            "score": hit.score,
            "source": hit.citation.source,
            "document_id": hit.citation.document_id,
            "uri": hit.citation.uri,
            "title": hit.citation.title,
            "heading_path": list(hit.citation.heading_path),
            "start_line": hit.citation.start_line,
            "end_line": hit.citation.end_line,
            "source_modified_at": rfc3339(hit.citation.modified_at),
            "indexed_at": rfc3339(hit.citation.indexed_at),
            "watermark": rfc3339(hit.watermark),
        }
        for hit in answer.hits
    ]
    if as_json:
        _print_json({"query": query, "watermark": rfc3339(answer.watermark), "hits": hits})
        return
    for n, hit in enumerate(hits, 1):
        place = f"{hit['source']}/{hit['document_id']}:{hit['start_line']}-{hit['end_line']}"
        _out.print(f"[bold]{n}. {escape(printable(place))}[/]  [dim]{escape(printable(str(hit['uri'])))}[/]")
        lines = str(hit["text"]).splitlines()[:4]
        _out.print("\n".join("   " + escape(printable(line)) for line in lines), end="\n\n")


@app.command(name="status")
def show_status(config: ConfigOption = Path("freshd.toml"), as_json: JsonOption = False) -> None:
    """Show how fresh each source is known to be."""
    from freshd.clock import SystemClock
    from freshd.ledger.database import Database
    from freshd.ledger.sources import SqliteSources
    from freshd.state import StateDirectory

    loaded = load(config, connectors=False)
    path = StateDirectory(loaded.state_dir).ledger_path
    rows = []
    database = Database(path) if path.exists() else None
    now = SystemClock().now()
    for source in loaded.sources:
        name = SourceName(source.name)
        state = SqliteSources(database).state(name) if database else SourceState(name)
        stale = staleness(now, state.watermark)
        down_for = now - state.failing_since if state.failing_since else None
        vitals = Vitals(stale, source.freshness_target, None, down_for, state.held + state.quarantined)
        rows.append(
            {
                "name": name,
                "type": source.type,
                "status": status(vitals).value,
                "documents": state.documents,
                "chunks": state.chunks,
                "pending": state.pending,
                "held": state.held,
                "quarantined": state.quarantined,
                "watermark": rfc3339(state.watermark),
                "staleness_seconds": None if stale is None else round(stale.total_seconds(), 1),
                "freshness_target_seconds": source.freshness_target.total_seconds(),
                "last_scan_at": rfc3339(state.last_scan_at),
                "last_complete_scan_at": rfc3339(state.last_complete_scan_at),
                "last_error": state.last_error,
            }
        )
    if database:
        database.close()
    if as_json:
        _print_json({"sources": rows})
    else:
        columns = ("name", "status", "documents", "chunks", "pending", "held", "quarantined", "staleness_seconds")
        _print_table(columns, rows)


def _check_names(config: Config, names: Sequence[str]) -> None:
    known = [source.name for source in config.sources]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"source: got {unknown[0]!r}, expected one of: {', '.join(known)}")


def _tell(outcome: Outcome) -> None:
    fates = outcome.fates
    _talk.print(
        escape(printable(f"{outcome.change.source}/{outcome.change.document_id}: {outcome.kind.value},")),
        f"{fates.embedded} embedded, {fates.reused} reused, {fates.kept + fates.relabelled} kept",
        style="dim",
    )


def _print_reindexed(report: Sequence[dict[str, Any]]) -> None:
    rows = [{"source": row["name"], **row["documents"], **row["chunks"]} for row in report]
    _print_table(("source", *_COUNTS, *_FATES), rows)
    embedded = sum(row["chunks"]["embedded"] for row in report)
    _out.print(f"{embedded} chunks embedded in {sum(row['elapsed_seconds'] for row in report):.1f} s")


def _print_table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    table = Table(*(column.removesuffix("_seconds") for column in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("–" if row[column] is None else escape(str(row[column])) for column in columns))
    _out.print(table)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
