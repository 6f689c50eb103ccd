"""Commands that begin something: a config, the daemon, the demonstration."""

from pathlib import Path
from typing import Annotated

import typer

from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, Output, talk
from freshd.config import TEMPLATE, Config, load
from freshd.errors import AddressInUse, ConfigError
from freshd.redaction import printable
from freshd.state import StateDirectory

_ANOTHER = "name another folder that is there: freshd init DIR"


def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the config goes.")] = Path()) -> None:
    """Write a commented freshd.toml."""
    path = folder / DEFAULT_CONFIG
    try:
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(TEMPLATE)
                file.flush()
            except OSError:
                path.unlink()  # else the next try would meet half of it
                raise
    except OSError as error:
        raise ConfigError(f"{printable(str(path))}: {_fault(error)}", hint=_ANOTHER) from error
    talk.print(f"wrote {printable(str(path))}; next: freshd reindex, or freshd run", markup=False, soft_wrap=True)


def _fault(error: OSError) -> str:
    match error:
        case FileExistsError():
            return "got a file that is there already, expected a new one"
        case FileNotFoundError() | NotADirectoryError():
            return "got a folder that does not exist, expected one that does"
        case _:
            return f"got {error.strerror}, expected a folder that can be written to"


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Keep the sources fresh until stopped: watch, index, answer on the endpoint."""
    from freshd.daemon import run as run_daemon

    try:
        code = run_daemon(config)
    except AddressInUse as error:
        raise _named(error, load(config, connectors=False)) from error
    raise typer.Exit(code)


def _named(error: AddressInUse, config: Config) -> AddressInUse:
    """Say so where it is the daemon of the same state directory that has the address."""
    daemon = StateDirectory(config.state_dir).read_daemon()
    if daemon is None or daemon.address.rpartition(":")[2] != str(config.http.listen.port):
        return error
    return AddressInUse(
        f"http.listen: {config.http.listen} is in use by the freshd (process {daemon.pid})"
        " that runs over this state directory already",
        hint=f"freshd status; or end that one first: kill {daemon.pid}",
    )


def demo(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A new folder; a scratch one if none.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the daemon and its pages up until Ctrl-C.")] = False,
) -> None:
    """Show the main job on real documents: edits, and the seconds until a search finds them."""
    from freshd.demo import run_demo

    raise typer.Exit(run_demo(folder, keep, Output(highlight=False)))
