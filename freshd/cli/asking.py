"""Commands that ask and change nothing."""

from typing import Annotated

import typer

from freshd.cli import show
from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, check_names, out, print_json
from freshd.client import connect
from freshd.config import Config, load, load_secrets
from freshd.errors import ConfigError
from freshd.model import SearchFilter, SourceName
from freshd.report import search_answer, stored_status
from freshd.shapes import SearchAnswer, StatusReport
from freshd.state import StateDirectory

_MISSED = 4


def search(
    query: str,
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 5,
    source: Annotated[list[str] | None, typer.Option(help="Only in this source; may be repeated.")] = None,
    path: Annotated[str | None, typer.Option(help="Only documents whose id begins so.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Find passages, each with where it stands and how fresh its source is known to be."""
    loaded = load(config)
    check_names(loaded, source or [])
    answer = _search(loaded, query, k, source or [], path)
    if as_json:
        print_json(answer)
    else:
        show.hits(answer, out)


def show_status(
    check: Annotated[bool, typer.Option("--check", help="Exit with 4 if an objective is missed or unknown.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show how fresh each source is known to be."""
    report = _status(load(config, connectors=False))
    if as_json:
        print_json(report)
    else:
        show.status_table(report, out)
    if check and any(source["status"] in ("error", "unknown") for source in report["sources"]):
        raise typer.Exit(_MISSED)


def _search(config: Config, query: str, k: int, sources: list[str], path: str | None) -> SearchAnswer:
    daemon = connect(StateDirectory(config.state_dir))
    if daemon is not None:
        with daemon:
            return daemon.search(query, k, sources, path)
    from freshd.compose import open_whole

    with open_whole(config, load_secrets()) as whole:
        try:
            return search_answer(whole.search.search(query, k, SearchFilter(tuple(map(SourceName, sources)), path)))
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _status(config: Config) -> StatusReport:
    daemon = connect(StateDirectory(config.state_dir))
    if daemon is not None:
        with daemon:
            return daemon.status()
    return stored_status(config)
