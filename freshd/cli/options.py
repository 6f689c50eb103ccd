"""Options and consoles that commands share."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from freshd.config import Config
from freshd.errors import ConfigError, FreshdError
from freshd.redaction import printable
from freshd.search import MAX_PATH_CHARACTERS

_READER_GONE = 141
"""128 and SIGPIPE, as the shell says it of programs that the signal ends."""


class Output(Console):
    """A console that ends the command, with a word at most, once its data cannot get out; talk is lost instead."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does.

        Raises:
            FreshdError: It cannot be written, such as on a full disk.

        """
        with self._explained():
            super().print(*objects, **options)

    def write(self, text: str) -> None:
        """Print text for programs, as it is.

        Raises:
            FreshdError: It cannot be written, such as on a full disk.

        """
        with self._explained():
            self.file.write(text)
            self.file.flush()

    def on_broken_pipe(self) -> None:
        """End quietly: whoever read has seen enough."""
        self._hush()
        if not self.stderr:
            raise typer.Exit(_READER_GONE)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self.on_broken_pipe()
        except OSError as error:
            self._hush()
            if not self.stderr:
                what = f"standard output: cannot be written: {error.strerror}"
                raise FreshdError(what, hint="free some space, or print to another place") from error

    def _hush(self) -> None:
        """Let go of what is left, or the interpreter would complain of it at its exit."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


out = Output(highlight=False, soft_wrap=True, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = 10_000  # in a pipe a line stays a line, whatever it holds
talk = Output(stderr=True, highlight=False, emoji=False)

DEFAULT_CONFIG = Path("freshd.toml")
ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="The config file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TYPE_ANEW = "type it anew, in a terminal that speaks UTF-8"

SourceNames = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="All of them when left out.")]


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print data for programs, whole in any encoding; on one line without an indent."""
    out.write(json.dumps(value, indent=indent, ensure_ascii=out.encoding != "utf-8") + "\n")


def check_text(place: str, *values: str) -> None:
    """Refuse bytes of a command line that are no text, before they reach what can only take text.

    Raises:
        ConfigError: One of them is not UTF-8.

    """
    for value in values:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"{place}: got '{printable(value)}', expected UTF-8 text", hint=_TYPE_ANEW) from error


def check_length(place: str, *names: str) -> None:
    """Refuse what is too long for the id of any document.

    Raises:
        ConfigError: One of them is.

    """
    for name in names:
        if len(name) > MAX_PATH_CHARACTERS:
            got = f"got {len(name):,} characters, expected at most {MAX_PATH_CHARACTERS:,}"
            raise ConfigError(f"{place}: {got}", hint="freshd history   (names documents)")


def check_names(config: Config, names: Sequence[str]) -> None:
    """Refuse names of sources that are not configured.

    Raises:
        ConfigError: Naming those that are.

    """
    check_text("source", *names)
    known = [source.name for source in config.sources]
    unknown = sorted(set(names) - set(known))
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        raise ConfigError(
            f"source: got '{printable(unknown[0])}', expected one of: {', '.join(known)}",
            hint=f"did you mean {near[0]}?" if near else "name one of those, or add it to the config as [[sources]]",
        )


def check_documents(config: Config, documents: Sequence[str]) -> None:
    """Refuse what is not the name of a document in a configured source.

    Raises:
        ConfigError: One of them is not `SOURCE/ID`, or its source is not configured.

    """
    check_text("document", *documents)
    check_length("document", *documents)
    for document in documents:
        source, _, document_id = document.partition("/")
        if not source or not document_id:
            raise ConfigError(
                f"document: got '{printable(document)}', expected SOURCE/ID",
                hint="name it as freshd search does, such as handbook/leave.md",
            )
    check_names(config, [document.partition("/")[0] for document in documents])
