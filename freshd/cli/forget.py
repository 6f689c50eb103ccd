"""The commands that take documents out of the index on purpose."""

import sys
from typing import Annotated

import typer
from rich.text import Text

from freshd.cli import show
from freshd.cli.interrupting import agreed, interruptible
from freshd.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    check_length,
    check_text,
    out,
    print_json,
    talk,
)
from freshd.cli.progress import ProgressTalk
from freshd.client import connect
from freshd.config import Config, load, load_secrets
from freshd.errors import ConfigError
from freshd.model import DocumentId, SourceName
from freshd.redaction import printable
from freshd.shapes import ForgetReport, PruneReport
from freshd.state import StateDirectory

_SHOWN = 20


def forget(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE|SOURCE/ID|SOURCE/FOLDER/...",
            help="Documents, or everything known of a source, or below a folder of it.",
        ),
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Let forgotten documents in again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Take documents out at once, everywhere, and keep them out although their source shows them."""
    _check(names)
    loaded = load(config)
    if not (undo or yes):
        _ask(names)
    report = _forget(loaded, names, undo)
    if as_json:
        print_json(report)
    elif undo:
        _tell_readmitted(names, report)
    else:
        _tell_forgotten(report)


def prune(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source that left the config.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Take out what is left of a source that is not in the config any more; a week later it goes by itself."""
    check_text("source", source)
    report = _prune(load(config), source)
    if as_json:
        print_json(report)
        return
    what = f"{show.counted(report['documents'], 'document')}, {show.counted(report['points'], 'point')} removed"
    out.print(f"{printable(report['source'])}: {what}", markup=False)


def _check(names: list[str]) -> None:
    check_text("forget", *names)
    check_length("forget", *names)
    for name in names:
        source, slash, document_id = name.partition("/")
        if not source or (slash and not document_id):
            raise ConfigError(
                f"forget: got '{printable(name)}', expected SOURCE or SOURCE/ID",
                hint="name it as freshd search does, such as handbook/leave.md",
            )


def _ask(names: list[str]) -> None:
    """Have a person confirm it.

    Raises:
        ConfigError: No person is there, or the person does not.

    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "forget: got no terminal to ask at, expected --yes",
            hint=f"freshd forget --yes {printable(names[0])}{' …' if len(names) > 1 else ''}",
        )
    for name in names[:_SHOWN]:
        what = "" if "/" in name else "  (everything known of it)"
        talk.print(Text(f"  {printable(name)}" + ("  (everything known below it)" if name.endswith("/") else what)))
    if len(names) > _SHOWN:
        talk.print(f"  … and {len(names) - _SHOWN:,} more")
    if not agreed("Forget this? It leaves index, history and cache at once, and stays out"):
        talk.print("nothing was forgotten")
        raise typer.Exit(1)


def _forget(config: Config, names: list[str], undo: bool) -> ForgetReport:
    # A step is a document, or a piece of the index's files.
    with ProgressTalk(talk, "steps") as progress, interruptible("what was begun is finished by the next start"):
        daemon = connect(StateDirectory(config.state_dir))
        if daemon is not None:
            return daemon.forget(names, undo=undo, on_progress=lambda *counts: progress("daemon", *counts))
        from freshd.compose import open_whole
        from freshd.report import forget_report

        parts = (name.partition("/") for name in names)
        named = [(SourceName(source), DocumentId(document) if slash else None) for source, slash, document in parts]
        # The store is opened once it is noted what is to go: then a store that is down does not bring it back.
        with open_whole(config, load_secrets(), must_open_store=False) as whole:
            remover = whole.remover()
            if undo:
                return forget_report(readmitted=remover.undo(named))
            return forget_report(remover.forget(named, lambda *counts: progress("forget", *counts)))


def _prune(config: Config, source: str) -> PruneReport:
    with ProgressTalk(talk) as progress, interruptible("run it again to go on"):
        daemon = connect(StateDirectory(config.state_dir))
        if daemon is not None:
            return daemon.prune(source, lambda *counts: progress("daemon", *counts))
        from freshd.compose import open_whole
        from freshd.report import prune_report

        with open_whole(config, load_secrets()) as whole:
            name = SourceName(source)
            return prune_report(name, whole.remover().prune(name, lambda *counts: progress(source, *counts)))


def _tell_forgotten(report: ForgetReport) -> None:
    documents, points = show.counted(report["documents"], "document"), show.counted(report["points"], "point")
    vectors = show.counted(report["vectors"], "cached vector")
    out.print(f"{documents} forgotten: {points}, {vectors}", markup=False)
    for name in report["unknown"][:_SHOWN]:
        what = "nothing was known of it; it stays out from now on"
        if name.endswith("/"):
            what = "nothing was known below it; what comes to lie there does not stay out"
        talk.print(Text(f"{name}: {what}"), soft_wrap=True)


def _tell_readmitted(names: list[str], report: ForgetReport) -> None:
    for name in report["readmitted"]:
        out.print(f"{name}: may come in again with the next scan", markup=False)
    for name in sorted({printable(name) for name in names} - set(report["readmitted"]))[:_SHOWN]:
        talk.print(Text(f"{name}: was not forgotten"), soft_wrap=True)
