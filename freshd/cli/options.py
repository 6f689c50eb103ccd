"""Options and consoles that commands share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from freshd.config import Config
from freshd.errors import ConfigError

out = Console(highlight=False, soft_wrap=True, emoji=False)
talk = Console(stderr=True, highlight=False, emoji=False)

DEFAULT_CONFIG = Path("freshd.toml")
ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="The config file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SourceNames = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="All of them when left out.")]


def print_json(value: object) -> None:
    """Print data for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def check_names(config: Config, names: Sequence[str]) -> None:
    """Refuse names of sources that are not configured.

    Raises:
        ConfigError: Naming those that are.

    """
    known = [source.name for source in config.sources]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"source: got {unknown[0]!r}, expected one of: {', '.join(known)}")
