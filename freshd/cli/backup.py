"""The command that copies everything freshd remembers."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from freshd.cli import show
from freshd.cli.interrupting import interruptible
from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, check_text, out, print_json, talk
from freshd.cli.progress import ProgressTalk
from freshd.client import connect
from freshd.config import Config, load
from freshd.errors import StateUnusable
from freshd.redaction import printable
from freshd.shapes import BackupReport
from freshd.state import StateDirectory
from freshd.wording import duration


def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty, or not there yet.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Copy ledger, vector cache and embedded index into a folder, while freshd runs or not."""
    check_text("backup", str(directory))
    report = _backup(load(config, connectors=False), directory.absolute())
    if as_json:
        print_json(report)
        return
    held = duration(report["held_seconds"])
    what = f"{show.counted(report['documents'], 'document')}, {show.counted(report['chunks'], 'chunk')}"
    out.print(f"{printable(report['directory'])}: {what}, {report['bytes'] / 2**20:,.1f} MiB", markup=False)
    talk.print(f"took {duration(report['elapsed_seconds'])}; writes were held for {held}", markup=False)
    if report["store"] == "server":
        talk.print(f"collection '{report['generation']}' is the server's: take a snapshot of it there", markup=False)


def _backup(config: Config, directory: Path) -> BackupReport:
    state = StateDirectory(config.state_dir)
    with ProgressTalk(talk, "bytes") as progress:
        daemon = connect(state)
        if daemon is not None:
            with interruptible("the daemon goes on with it"):
                return daemon.backup(directory, lambda done, total: progress("daemon", done, total))
        from freshd.backup import back_up, original_of
        from freshd.clock import SystemClock
        from freshd.ledger.database import Database

        if not state.ledger_path.exists():
            what = f"state directory {printable(str(state.path))}: got no ledger, expected one to copy"
            makes = "ledger rebuild" if state.holds_index else "reindex"
            raise StateUnusable(what, hint=f"freshd {makes}   (makes one); or: freshd doctor")
        with (
            state.lock(),
            closing(Database(state.ledger_path, may_create=not state.holds_index)),  # proves that it is a ledger
            interruptible("nothing of it is left"),
        ):
            return back_up(
                original_of(config),
                directory,
                clock=SystemClock(),
                hold=lambda work: work(),
                on_progress=lambda done, total: progress("backup", done, total),
            )
