"""Commands that ask and change nothing."""

import sys
import time
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from freshd.cli import show
from freshd.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    check_length,
    check_names,
    check_text,
    out,
    print_json,
    talk,
)
from freshd.cli.prompt import prompt
from freshd.client import connect
from freshd.config import Config, load, load_secrets
from freshd.errors import ConfigError, FreshdError
from freshd.model import SearchFilter, SourceName
from freshd.redaction import printable
from freshd.search import MAX_HITS, query_fault
from freshd.shapes import SearchAnswer, StatusReport
from freshd.state import StateDirectory

_MISSED = 4
_REFRESH_S = 1.0


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What a person would ask.")],
    k: Annotated[int, typer.Option("-k", help=f"How many passages: 1 … {MAX_HITS}.")] = 5,
    source: Annotated[list[str] | None, typer.Option(help="Only in this source; may be repeated.")] = None,
    path: Annotated[str | None, typer.Option(help="Only documents whose id begins so.")] = None,
    form: Annotated[
        str | None, typer.Option("--as", metavar="prompt", help="As a block to paste into a prompt, with citations.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Find passages, each with where it stands and how fresh its source is known to be."""
    _check_question(query, k, path)
    _check_form(form, as_json)
    loaded = load(config)
    check_names(loaded, source or [])
    answer = _search(loaded, query, k, source or [], path)
    if as_json:
        print_json(answer)
    elif form:
        out.write(prompt(answer))
    else:
        show.hits(answer, out)


def show_status(
    check: Annotated[bool, typer.Option("--check", help="Exit with 4 if an objective is missed or unknown.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every second, until Ctrl-C.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show how fresh each source is known to be."""
    loaded = load(config, connectors=False)
    if watch:
        if check or as_json or not sys.stdout.isatty() or out.is_dumb_terminal:
            raise ConfigError(
                "--watch: expected a terminal that is not dumb, and neither --check nor --json", hint="freshd status"
            )
        _watch(loaded)
        return
    report = _status(loaded)
    if as_json:
        print_json(report)
    else:
        show.status_table(report, out)
    if check:
        _check(report)


def _check(report: StatusReport) -> None:
    """End with 4 where an objective is missed or nobody knows, and say of each such source why."""
    missed = [source for source in report["sources"] if source["status"] in ("error", "unknown")]
    for source in missed:
        reasons = "; ".join(source["reasons"]) or source["status"]
        talk.print(Text(f"error: {source['name']}: {printable(reasons)}", "red"), soft_wrap=True)
    if missed:
        raise typer.Exit(_MISSED)


def _watch(config: Config) -> None:
    """Show the status until Ctrl-C, its only end, so no failure; what is in the way of asking is shown as well."""
    console = Console(highlight=False, emoji=False)
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            try:
                view = show.status_view(_status(config), console)
            except FreshdError as error:
                view = Group(Text(f"error: {printable(str(error))}", "red"), Text(f"try:   {printable(error.hint)}"))
            live.update(view, refresh=True)
            time.sleep(_REFRESH_S)


def _check_form(form: str | None, as_json: bool) -> None:
    if form not in (None, "prompt"):
        raise ConfigError(f"--as: got '{printable(form)}', expected prompt", hint="freshd search QUERY --as prompt")
    if form and as_json:
        raise ConfigError("--as prompt and --json: expected one of them", hint="freshd search QUERY --as prompt")


def _check_question(query: str, k: int, path: str | None) -> None:
    """Refuse what no search could answer, before anything is opened or asked."""
    check_text("query", query)
    check_text("--path", path or "")
    check_length("--path", path or "")
    if fault := query_fault(query):
        raise ConfigError(f"query: {fault}", hint='freshd search "how many days of leave?"')
    if not 1 <= k <= MAX_HITS:
        raise ConfigError(f"-k: got {k}, expected 1 … {MAX_HITS}", hint="freshd search QUERY -k 10")


def _search(config: Config, query: str, k: int, sources: list[str], path: str | None) -> SearchAnswer:
    daemon = connect(StateDirectory(config.state_dir))
    if daemon is not None:
        return daemon.search(query, k, sources, path)
    from freshd.compose import open_whole
    from freshd.ledger.quarantine import SqliteQuarantine
    from freshd.report import search_answer

    with open_whole(config, load_secrets()) as whole:
        answer = whole.search.search(query, k, SearchFilter(tuple(map(SourceName, sources)), path))
        return search_answer(answer, SqliteQuarantine(whole.database))


def _status(config: Config) -> StatusReport:
    daemon = connect(StateDirectory(config.state_dir))
    if daemon is not None:
        return daemon.status()
    from freshd.report import stored_status

    return stored_status(config)
