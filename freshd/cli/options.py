"""Options and consoles that commands share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from freshd.config import Config
from freshd.errors import ConfigError
from freshd.redaction import printable

out = Console(highlight=False, soft_wrap=True, emoji=False)
talk = Console(stderr=True, highlight=False, emoji=False)

DEFAULT_CONFIG = Path("freshd.toml")
ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="The config file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SourceNames = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="All of them when left out.")]


def print_json(value: object) -> None:
    """Print data for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def check_text(place: str, *values: str) -> None:
    """Refuse bytes of a command line that are no text, before they reach what can only take text.

    Raises:
        ConfigError: One of them is not UTF-8.

    """
    for value in values:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"{place}: got '{printable(value)}', expected UTF-8 text") from error


def check_names(config: Config, names: Sequence[str]) -> None:
    """Refuse names of sources that are not configured.

    Raises:
        ConfigError: Naming those that are.

    """
    check_text("source", *names)
    known = [source.name for source in config.sources]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"source: got {unknown[0]!r}, expected one of: {', '.join(known)}")


def check_documents(config: Config, documents: Sequence[str]) -> None:
    """Refuse what is not the name of a document in a configured source.

    Raises:
        ConfigError: One of them is not `SOURCE/ID`, or its source is not configured.

    """
    check_text("document", *documents)
    for document in documents:
        source, _, document_id = document.partition("/")
        if not source or not document_id:
            raise ConfigError(f"document: got '{printable(document)}', expected SOURCE/ID")
    check_names(config, [document.partition("/")[0] for document in documents])
