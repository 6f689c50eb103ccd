"""The command that holds the ledger against the store."""

from rich.text import Text

from freshd.cli import show
from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, out, print_json, talk
from freshd.cli.progress import ProgressTalk
from freshd.client import connect
from freshd.config import Config, load, load_secrets
from freshd.errors import StoreError
from freshd.report import remember_verify
from freshd.shapes import VerifyReport
from freshd.state import StateDirectory
from freshd.wording import duration


def verify(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Prove that the index holds what the ledger says, point by point; changes nothing."""
    loaded = load(config)
    report = _verify(loaded)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if n := show.divergent(report):
        raise StoreError(f"index and ledger differ in {show.counted(n, 'point')}", hint=_mend(loaded))


def _verify(config: Config) -> VerifyReport:
    with ProgressTalk(talk, "points") as progress:
        daemon = connect(StateDirectory(config.state_dir))
        if daemon is not None:
            with daemon:
                return daemon.verify(lambda done, total: progress("daemon", done, total))
        from freshd.compose import open_whole

        with open_whole(config, load_secrets(), must_open_store=False) as whole:
            whole.store.open(whole.ledger.instance)  # and nothing more: a loss is told, not mended
            found = whole.verify(lambda done, total: progress("verify", done, total))
            return remember_verify(whole.database, found).report


def _show(report: VerifyReport) -> None:
    checked = show.counted(report["checked"], "point")
    out.print(f"{checked} checked in {duration(report['elapsed_seconds'])}", markup=False)
    for name, count, meaning in (
        ("missing", report["missing"], "the ledger holds them, the store does not"),
        ("orphaned", report["orphaned"], "the store holds them, the ledger does not"),
        ("damaged", report["damaged"], "both hold them, and not the same"),
        ("repaired", report["repaired"], "as the ledger says again"),
    ):
        if count:
            out.print(
                Text.assemble((f"{name:<8}", "green" if name == "repaired" else "red"), f"  {count:>9,}  {meaning}")
            )


def _mend(config: Config) -> str:
    """Say what makes them one again: a look at the sources does not, as it believes what the ledger holds."""
    if config.store.url is None:
        away = f"move {StateDirectory(config.state_dir).index_dir} away"
    else:
        away = "set another [store] collection"
    return f"stop freshd, {away}, then: freshd reindex   (vectors come from the cache)"
