"""Commands about deletions that the guard holds until a person decides."""

from typing import Annotated

import typer

from freshd.cli import show
from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, check_names, out, print_json, talk
from freshd.client import connect
from freshd.config import Config, load, load_secrets
from freshd.model import SourceName
from freshd.redaction import printable
from freshd.shapes import HeldDeletions
from freshd.state import StateDirectory

app = typer.Typer(no_args_is_help=True, help="List, approve or reject deletions that were held.")

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="A configured source.")]


@app.command(name="list")
def list_held(source: Source, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the documents that vanished at once and are still in the index."""
    _show(_judge(config_of(config, source), source, None), as_json)


@app.command()
def approve(source: Source, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Let the held deletions pass."""
    loaded = config_of(config, source)
    held = _judge(loaded, source, True)
    _show(held, as_json)
    if held["documents"] and connect(StateDirectory(loaded.state_dir)) is None:
        talk.print(f"they leave the index with the next: freshd reindex {source}", markup=False, soft_wrap=True)


@app.command()
def reject(source: Source, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Keep the documents; those the next scan still lacks are held anew."""
    _show(_judge(config_of(config, source), source, False), as_json)


def config_of(path: ConfigOption, source: str) -> Config:
    """Load the config and refuse a source that it does not name."""
    loaded = load(path)
    check_names(loaded, [source])
    return loaded


def _judge(config: Config, source: str, approve: bool | None) -> HeldDeletions:
    daemon = connect(StateDirectory(config.state_dir))
    if daemon is not None:
        return daemon.deletions(source, approve)
    from freshd.compose import open_whole
    from freshd.report import judge_deletions

    with open_whole(config, load_secrets(), must_open_store=False) as whole:
        return judge_deletions(whole.ledger, SourceName(source), approve)


def _show(held: HeldDeletions, as_json: bool) -> None:
    if as_json:
        print_json(held)
        return
    for document_id in held["documents"]:
        out.print(printable(document_id), markup=False)
    talk.print(f"{show.counted(len(held['documents']), 'deletion')} {held['verdict']}")
