"""Commands that begin something: a config, the daemon, the demonstration."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, talk
from freshd.config import TEMPLATE
from freshd.errors import ConfigError


def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the config goes.")] = Path()) -> None:
    """Write a commented freshd.toml."""
    path = folder / DEFAULT_CONFIG
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name another folder: freshd init DIR") from error
    talk.print(f"wrote {escape(str(path))}; next: freshd reindex, or freshd run")


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Keep the sources fresh until stopped: watch, index, answer on the endpoint."""
    from freshd.daemon import run as run_daemon

    raise typer.Exit(run_daemon(config))


def demo(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A new folder; a scratch one if none.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the daemon and its pages up until Ctrl-C.")] = False,
) -> None:
    """Show the main job on real documents: edits, and the seconds until a search finds them."""
    from freshd.demo import run_demo

    raise typer.Exit(run_demo(folder, keep, Console(highlight=False)))
