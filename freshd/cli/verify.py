"""The command that holds the ledger against the store, and mends what differs where it is asked to."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from freshd.cli import show
from freshd.cli.interrupting import interruptible
from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, out, print_json, talk
from freshd.cli.progress import ProgressTalk
from freshd.client import JobFailed, connect
from freshd.config import Config, load, load_secrets
from freshd.errors import ConfigError, StoreError
from freshd.redaction import printable
from freshd.shapes import DivergentPoint, VerifyReport
from freshd.state import StateDirectory
from freshd.wording import duration

_SHOWN_EXAMPLES = 10
_NOT_VERIFIED = 3
_BELIEVE = "freshd reindex   (ledger or index was brought back without the other: what the index holds is believed)"


def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Hold vectors against the cache or the model, too.")] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Mend what differs; a ledger that was brought back from earlier believes the index first."
        ),
    ] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="With --repair: remove orphans even where the guard holds them.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Prove that the index holds what the ledger says, point by point."""
    if orphans and not repair:
        raise ConfigError("--orphans: got no --repair, expected it along with it", hint="freshd verify --help")
    loaded = load(config)
    report, is_one = _verify(loaded, deep=deep, repair=repair, orphans=orphans)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if n := show.divergent(report):
        hint = _mend(loaded, report, deep, repair) if is_one else _BELIEVE
        raise StoreError(f"index and ledger differ in {show.counted(n, 'point')}", hint=hint)


def _verify(config: Config, *, deep: bool, repair: bool, orphans: bool) -> tuple[VerifyReport, bool]:
    """Give the report, and whether ledger and index are of one time: what differs is damage only then."""
    with ProgressTalk(talk, "points") as progress:
        daemon = connect(StateDirectory(config.state_dir))
        if daemon is not None:

            def hear(done: int, total: int) -> None:
                progress("daemon", done, total)

            with interruptible("the daemon goes on with it"):
                try:
                    return daemon.verify(hear, deep=deep, repair=repair, orphans=orphans), True
                except JobFailed as error:
                    error.hint = error.hint or (_again(config) if error.exit_code == _NOT_VERIFIED else "")
                    raise
        from freshd.compose import open_whole
        from freshd.compose.verifying import Manner
        from freshd.ledger.proofs import Proofs
        from freshd.report import remember_verify
        from freshd.verify import NotVerified, or_not_verified

        manner = Manner(is_deep=deep, on_progress=lambda done, total: progress("verify", done, total))
        with (
            interruptible("nothing is left half done; run it again to go on"),
            open_whole(config, load_secrets(), must_open_store=False, must_have_room=repair) as whole,
        ):
            try:
                with or_not_verified():
                    if repair and not whole.is_one:
                        whole.open_store()  # as a start does: the ledger believes the index first
                    whole.reach_store()  # and nothing more: a loss is told, or mended as asked
                found = whole.repair(manner, is_guarded=not orphans) if repair else whole.verify(manner)
            except NotVerified as error:
                error.hint = error.hint or _again(config)
                raise
            if not sum(found.left.values()) and (n := Proofs(whole.database).in_doubt(whole.clock.now())):
                what = f"could not verify {show.counted(n, 'point')}: an attempt may or may not have written them"
                raise NotVerified(what, hint="freshd reindex   (writes again what is not there)")
            return remember_verify(whole.database, found), whole.is_one


def _show(report: VerifyReport) -> None:
    checked = show.counted(report["checked"], "point")
    out.print(f"{checked} checked in {duration(report['elapsed_seconds'])}", markup=False)
    for name, colour, count, meaning in (
        ("missing", "red", report["missing"], "the ledger holds them, the store does not"),
        ("orphaned", "red", report["orphaned"], "the store holds them, the ledger does not"),
        ("damaged", "red", report["damaged"], "both hold them, and not the same"),
        ("repaired", "green", report["repaired"], "of these are as the ledger says again"),
        ("held", "yellow", report["held"], "orphans are left: more than [guard] lets pass"),
        ("foreign", "yellow", report["foreign"], "not written by freshd, and left alone"),
    ):
        if count:
            out.print(Text.assemble((f"{name:<8}", colour), f"  {count:>9,}  {meaning}"))
    _name(report["examples"])


def _name(examples: Sequence[DivergentPoint]) -> None:
    """Say which points differ still, the first of them one by one."""
    for one in examples[:_SHOWN_EXAMPLES]:
        whose = f"{one['source']}/{one['document_id']}" if one["source"] else "nobody's"
        what = f": {one['what']}" if one["what"] else ""
        talk.print(Text(printable(f"{one['kind']}: {whose} ({one['chunk_id']}){what}")), soft_wrap=True)
    if len(examples) > _SHOWN_EXAMPLES:
        talk.print(Text("… and more: freshd verify --json"), soft_wrap=True)


def _mend(config: Config, report: VerifyReport, is_deep: bool, was_repaired: bool) -> str:
    """Say what makes them one again: a look at the sources does not, as it believes what the ledger holds."""
    again = f"freshd verify{' --deep' if is_deep else ''} --repair"  # what only a deep look finds, only it mends
    if not was_repaired:
        return again
    if report["held"]:
        return f"{again} --orphans   (removes what no source shows any more)"
    return f"see that the sources can be read, then: {again}; or {_anew(config)}"


def _again(config: Config) -> str:
    """Say what to do where a store did not answer: most do the next time."""
    return f"freshd verify   (once more; if it ends so again: {_anew(config)})"


def _anew(config: Config) -> str:
    if config.store.url is None:
        away = f"move {StateDirectory(config.state_dir).index_dir} away"
    else:
        away = "set another [store] collection"
    return f"stop freshd, {away}, then: freshd reindex   (vectors come from the cache)"
