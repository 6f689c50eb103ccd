"""Commands that bring the index up to date, or wait until it is."""

from typing import Annotated

import typer
from rich.markup import escape

from freshd.cli import show
from freshd.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    SourceNames,
    check_names,
    out,
    print_json,
    talk,
)
from freshd.cli.progress import ProgressTalk
from freshd.client import Client, connect
from freshd.config import Config, load, load_secrets
from freshd.config.values import parse_duration
from freshd.errors import ConfigError, FreshdError
from freshd.report import exit_code, reindex_report
from freshd.shapes import ReindexReport
from freshd.state import StateDirectory


def reindex(
    names: SourceNames = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; change nothing.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read and parse everything again; vectors are reused.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Look at the sources once, bring the index up to date, and leave."""
    loaded = load(config)
    check_names(loaded, names or [])
    report = _plan(loaded, names or [], full) if dry_run else _reindex(loaded, names or [], full)
    if as_json:
        print_json(report)
    else:
        show.reindex_table(report, out)
    for line in (line for source in report["sources"] for line in source["errors"]):
        talk.print(f"error: {escape(line)}", style="red")
    held = [source["name"] for source in report["sources"] if source["documents"]["held"]]
    if held:
        talk.print("deletions are held: more vanished at once than [guard] lets pass", style="yellow", markup=False)
        talk.print(f"try:   freshd deletions list {held[0]}", markup=False)
    raise typer.Exit(exit_code(report))


def wait(
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="[SOURCE/ID]...", help="Documents that were just changed.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every source, looked at from now on.")] = False,
    timeout: Annotated[str, typer.Option(help='How long at most, such as "30s" or "2m".')] = "1m",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Wait until edits are searchable; needs a running daemon."""
    if bool(documents) == everything:
        raise ConfigError("wait: expected SOURCE/ID, or --all", hint="freshd wait handbook/leave.md")
    try:
        timeout_s = parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise ConfigError(f'--timeout: got "{timeout}", expected a duration such as "30s" or "2m"') from error
    with _daemon(load(config, connectors=False)) as daemon:
        report = daemon.wait(documents or [], timeout_s)
    if as_json:
        print_json(report)
    else:
        for document in report["documents"]:
            reason = f": {document['error']}" if document["error"] else ""
            out.print(f"{document['source']}/{document['document_id']}: {document['state']}{reason}", markup=False)
    if not report["is_done"]:
        raise FreshdError(f"not searchable within {timeout}", hint="freshd status   (tells what is in the way)")


def _reindex(config: Config, names: list[str], full: bool) -> ReindexReport:
    with ProgressTalk(talk) as progress:
        daemon = connect(StateDirectory(config.state_dir))
        if daemon is not None:
            with daemon:
                return daemon.reindex(names, full=full, on_progress=lambda done, total: progress("daemon", done, total))
        from freshd.compose import open_whole

        with open_whole(config, load_secrets()) as whole:
            return reindex_report(whole.reindexer(names, full=full, on_progress=progress).run())


def _plan(config: Config, names: list[str], full: bool) -> ReindexReport:
    from freshd.compose import open_dry_run

    with ProgressTalk(talk) as progress, open_dry_run(config) as (whole, estimate):
        tallies = whole.reindexer(names, full=full, on_progress=progress).run()
        return reindex_report(tallies, estimate())


def _daemon(config: Config) -> Client:
    daemon = connect(StateDirectory(config.state_dir))
    if daemon is None:
        raise FreshdError("no daemon runs over this state directory, and only one can be waited for", hint="freshd run")
    return daemon
