"""The commands: stdout is data, stderr is talk, every refusal says what mends it.

Each command asks the running daemon where there is one, and opens the state directory itself where there is none.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from freshd import __version__
from freshd.cli import asking, backup, comparing, deletions, doctor, forget, history, indexing, ledger, running, verify
from freshd.cli.options import out
from freshd.redaction import printable

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What a command line that cannot be understood raises; Typer gives only its child a public name."""

_ORDER = (
    *("init", "run", "reindex", "search", "status", "wait", "history", "deletions"),
    *("forget", "prune"),
    *("verify", "backup", "ledger", "doctor", "demo", "compare"),
)


class _InOrderOfUse(TyperGroup):
    """Lists commands as they are met: first those to begin with."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Give the names as `--help` shows them."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(cls=_InOrderOfUse, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        out.print(f"freshd {__version__}")
        raise typer.Exit


@app.callback()
def freshd(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep a retrieval index as fresh as its sources, and prove it."""


def usage_fault(error: Any) -> tuple[str, str]:
    """Say what is wrong with a command line, and which help tells what is right.

    Args:
        error: A `UsageError`.

    Returns:
        What is wrong, in one line, and the hint; both empty where help is what was shown already.

    """
    if not (what := error.format_message().strip()):
        return "", ""
    param = getattr(error, "param", None)
    if param is not None and error.message:
        message = "expected a whole number" if "valid integer" in error.message else error.message
        what = f"{min(param.opts, key=len)}: {message}"
    what = printable(" ".join(what.split())).removesuffix(".")
    return what[:1].lower() + what[1:], f"{error.ctx.command_path if error.ctx else 'freshd'} --help"


for command in (running.init, running.run, indexing.reindex, indexing.wait, asking.search, running.demo):
    app.command()(command)
app.add_typer(deletions.app, name="deletions")
app.command(name="status")(asking.show_status)
app.command()(history.history)
app.command()(forget.forget)
app.command()(forget.prune)
app.command()(verify.verify)
app.command()(backup.backup)
app.add_typer(ledger.app, name="ledger")
app.command()(doctor.doctor)
app.command()(comparing.compare)

__all__ = ["UsageError", "app", "usage_fault"]
