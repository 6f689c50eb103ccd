"""Commands that bring the index up to date, or wait until it is."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from freshd.cli import show
from freshd.cli.interrupting import interruptible
from freshd.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    SourceNames,
    check_documents,
    check_names,
    out,
    print_json,
    talk,
)
from freshd.cli.progress import ProgressTalk
from freshd.client import connect, demand
from freshd.config import Config, load, load_secrets
from freshd.config.values import parse_duration
from freshd.errors import ConfigError, FreshdError
from freshd.ports.control import MAX_WAIT_S
from freshd.redaction import printable
from freshd.shapes import DocumentWaited, ReindexReport, Unread, WaitReport
from freshd.state import StateDirectory

_SHOWN_ERRORS = 20


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
    with interruptible("run it again to go on"):
        report = _plan(loaded, names or [], full) if dry_run else _reindex(loaded, names or [], full)
    if as_json:
        print_json(report)
    else:
        show.reindex_table(report, out)
    _tell_unread([one for source in report["sources"] for one in source["errors"]])
    _tell_held([source["name"] for source in report["sources"] if source["documents"]["held"]])
    from freshd.report import exit_code

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
        got = "got both, " if documents else ""
        raise ConfigError(f"wait: {got}expected either SOURCE/ID or --all", hint="freshd wait handbook/leave.md")
    try:
        timeout_s = parse_duration(timeout).total_seconds()
    except ValueError as error:
        what = f'--timeout: got "{timeout}", expected a duration such as "30s" or "2m"'
        raise ConfigError(what, hint="freshd wait --help") from error
    if timeout_s > MAX_WAIT_S:
        raise ConfigError(f'--timeout: got "{timeout}", expected at most "24h"', hint="ask again after that")
    loaded = load(config, connectors=False)
    check_documents(loaded, documents or [])
    report = demand(StateDirectory(loaded.state_dir), "waited for").wait(documents or [], timeout_s)
    if as_json:
        print_json(report)
    else:
        for document in report["documents"]:
            reason = f": {document['error']}" if document["error"] else ""
            out.print(printable(f"{_name(document)}: {document['state']}{reason}"), markup=False)
    _judge_wait(report, timeout, everything)


def _judge_wait(report: WaitReport, timeout: str, is_of_all: bool) -> None:
    """Say what is in the way, and end as it deserves."""
    wrong = [_why(document) for document in report["documents"] if document["error"]]
    held = sorted({document["source"] for document in report["documents"] if document["state"] == "held"})
    _tell_unread(wrong)
    _tell_held(held)
    is_pending = any(document["state"] == "pending" for document in report["documents"])
    # Of everything, what is wrong or held is waited for no longer: something else was not through.
    if not report["is_done"] and (is_of_all or is_pending or not (wrong or held)):
        raise FreshdError(f"not searchable within {timeout}", hint="freshd status   (tells what is in the way)")
    from freshd.report.answers import wait_exit_code

    raise typer.Exit(wait_exit_code(report))


def _why(document: DocumentWaited) -> Unread:
    failed = "failed: " if document["state"] == "failed" else ""
    return {"error": f"{_name(document)}: {failed}{document['error']}", "try": None}


def _name(document: DocumentWaited) -> str:
    return f"{document['source']}/{document['document_id']}"


def _tell_unread(errors: Sequence[Unread]) -> None:
    """Say what could not be read, each on a line of its own however long, with what mends it."""
    for one in errors[:_SHOWN_ERRORS]:
        talk.print(Text(f"error: {printable(one['error'])}", "red"), soft_wrap=True)
        if one["try"]:
            talk.print(Text(f"try:   {one['try']}"), soft_wrap=True)
    if len(errors) > _SHOWN_ERRORS:
        talk.print(Text(f"… and {len(errors) - _SHOWN_ERRORS:,} more: freshd status"), soft_wrap=True)


def _tell_held(names: Sequence[str]) -> None:
    if names:
        talk.print(Text("deletions are held: more vanished at once than [guard] lets pass", "yellow"), soft_wrap=True)
        talk.print(Text(f"try:   freshd deletions list {names[0]}"), soft_wrap=True)


def _reindex(config: Config, names: list[str], full: bool) -> ReindexReport:
    with ProgressTalk(talk) as progress:
        daemon = connect(StateDirectory(config.state_dir))
        if daemon is not None:
            with interruptible("the daemon goes on with it"):
                return daemon.reindex(names, full=full, on_progress=lambda done, total: progress("daemon", done, total))
        from freshd.compose import open_whole
        from freshd.report import reindex_report

        with open_whole(config, load_secrets(), must_have_room=True) as whole:
            report = reindex_report(whole.reindexer(names, full=full, on_progress=progress).run())
            whole.remover().prune_due()
            return report


def _plan(config: Config, names: list[str], full: bool) -> ReindexReport:
    from freshd.compose import open_dry_run
    from freshd.report import reindex_report

    with ProgressTalk(talk) as progress, open_dry_run(config) as (whole, estimate):
        tallies = whole.reindexer(names, full=full, on_progress=progress).run()
        return reindex_report(tallies, estimate())
