"""Commands about the ledger: making it anew from the index."""

from typing import Annotated

import typer

from freshd.cli import show
from freshd.cli.interrupting import agreed, interruptible
from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, check_text, out, print_json, talk
from freshd.cli.progress import ProgressTalk
from freshd.config import load, load_secrets
from freshd.errors import ConfigError, FreshdError, StateInUse
from freshd.redaction import printable
from freshd.shapes import RebuildReport
from freshd.wording import duration

app = typer.Typer(no_args_is_help=True, help="Make a ledger anew that was lost or damaged.")

_WHAT_IS_LOST = "history and watermarks begin anew, documents are read once more"


@app.command()
def rebuild(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, though the present ledger is whole.")] = False,
    generation: Annotated[
        str | None, typer.Option(metavar="NAME", help="The folder in index/ to take, where there are several.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make a new ledger from what the index says of itself; the present one is kept under another name."""
    check_text("--generation", generation or "")
    loaded = load(config, connectors=False)

    def confirm(damage: str | None) -> None:
        if damage is not None:
            talk.print(printable(damage), markup=False, soft_wrap=True)
        elif not yes:
            _ask()

    from freshd.compose.rebuilding import rebuild_ledger

    with ProgressTalk(talk, "points") as progress, interruptible("the present ledger stands"):
        try:
            report = rebuild_ledger(
                loaded,
                load_secrets(),
                generation=generation,
                confirm=confirm,
                on_progress=lambda done, total: progress("rebuild", done, total),
            )
        except StateInUse as error:
            raise StateInUse(str(error), hint="stop that process, then: freshd ledger rebuild") from error
    if as_json:
        print_json(report)
    else:
        _show(report)


def _ask() -> None:
    """Have a person say that a whole ledger is to be replaced.

    Raises:
        ConfigError: There is nobody to ask.
        FreshdError: They said no.

    """
    what = f"the present ledger is whole; {_WHAT_IS_LOST}"
    if not (talk.is_terminal and typer.get_text_stream("stdin").isatty()):
        raise ConfigError(f"ledger rebuild: got no answer to: {what}", hint="freshd ledger rebuild --yes")
    if not agreed(f"{what}. Make another one?"):
        raise FreshdError("ledger rebuild: nothing was changed")


def _show(report: RebuildReport) -> None:
    documents = show.counted(report["documents"], "document")
    out.print(f"{documents} from {show.counted(report['points'], 'point')} of '{report['generation']}'", markup=False)
    for count, meaning in (
        (report["in_doubt"], "not whole in the index: the next look at their source rewrites or removes them"),
        (report["forgotten"], "forgotten on purpose: their points are removed at the next start"),
    ):
        if count:
            out.print(f"{show.counted(count, 'document')} {meaning}", markup=False)
    if report["foreign"]:
        out.print(f"{show.counted(report['foreign'], 'point')} of nobody: left alone", markup=False)
    if report["former"] is not None:
        talk.print(f"the former ledger is kept: {printable(report['former'])}", markup=False, soft_wrap=True)
    talk.print(f"took {duration(report['elapsed_seconds'])}; {_WHAT_IS_LOST}", markup=False, soft_wrap=True)
    talk.print("next: freshd reindex, or freshd run   (vectors come from the cache)", markup=False, soft_wrap=True)
