"""The command that looks at everything freshd depends on."""

import typer
from rich.table import Table
from rich.text import Text

from freshd.cli import show
from freshd.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, out, print_json
from freshd.client import connect
from freshd.shapes import DoctorReport, StatusReport
from freshd.state import StateDirectory

_COLOURS = {"pass": "green", "warn": "yellow", "error": "red"}


def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Look at everything freshd depends on, change nothing, and say what mends it."""
    from freshd.doctor import examine

    report = examine(config, _ask)
    if as_json:
        print_json(report)
    else:
        _show(report)
    raise typer.Exit(1 if report["status"] == "error" else 0)


def _ask(state: StateDirectory) -> StatusReport | None:
    daemon = connect(state)
    if daemon is None:
        return None
    return daemon.status()


def _show(report: DoctorReport) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for one in report["checks"]:
        said = Text(one["got"])
        if one["expected"] is not None:
            said.append(f"; expected {one['expected']}")
        if one["try"] is not None:
            said.append(f"\ntry: {one['try']}", "bold")
        table.add_row(Text(one["status"], _COLOURS[one["status"]]), Text(one["name"]), said)
    out.print(table)
    wrong = [one for one in report["checks"] if one["status"] != "pass"]
    if wrong:
        out.print(f"{show.counted(len(wrong), 'check')} of {len(report['checks'])} to see to", markup=False)
