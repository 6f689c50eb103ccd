"""The report on a terminal: fits 100 columns, and gives columns up before it breaks at 80."""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from freshd.compare.report.shape import ArmFigures, ComparisonReport, Row, Settings, SetupFigures, Share
from freshd.compare.verdict import percent, shortened
from freshd.redaction import printable
from freshd.wording import duration, setting

_WIDE = 96
"""From so many columns on, claimed and measured stand side by side."""

_COLOURS = {"retrieval": "green", "retraining": "cyan", "tie": "yellow"}
WINNERS = {"retrieval": "RAG", "retraining": "retraining", "tie": "a tie"}
"""What the winner of a contest is called."""

BASES = {
    "measured": "as measured, CPU seconds of this machine",
    "rented": "at the prices below: GPU rented for training, answers by the token",
    "claimed_low": "the same, a retraining at the lower figure claimed",
    "claimed_high": "the same, a retraining at the higher figure claimed",
}
"""What each basis of a break-even is called."""

Cell = Callable[[ArmFigures], str]
_COLUMNS: Mapping[str, tuple[str, Cell]] = {
    "current": (
        "changed facts whose new value is the likeliest of four (chance 25 %)",
        lambda a: _share(a["currency"]),
    ),
    "exact": ("changed facts answered with it", lambda a: _share(a["exact"])),
    "stale": ("changed facts whose old value is likeliest", lambda a: _share(a["stale"])),
    "kept": ("unchanged facts answered exactly", lambda a: _share(a["kept_exact"])),
    "gone": ("vanished facts whose old value is likeliest", lambda a: _share(a["lingering"])),
    "wrong": ("facts answered wrongly, with confidence", lambda a: _share(a["confident_wrong"])),
    "cited": ("facts that the cited passage holds", lambda a: _share(a["attribution"])),
    "update": ("CPU seconds", lambda a: _cpu(a["update"]["cpu_seconds"]) if a["update"] else "–"),
    "query": ("CPU seconds", lambda a: _cpu(a["query"]["cpu_seconds"])),
    "prompt": ("tokens", lambda a: f"{a['query']['prompt_tokens']:,.0f}"),
}
_DISPENSABLE = ("gone", "prompt", "wrong", "stale", "cited")
"""Columns to do without, the first of them first, the less room there is the more."""


def report_view(report: ComparisonReport, console: Console) -> Group:
    """Lay out a report for a console.

    Args:
        report: What is shown.
        console: It is as wide as that.

    """
    parts: list[RenderableType] = [
        _heading(report),
        _title("Claimed and measured"),
        _wide_rows(report["rows"]) if console.width >= _WIDE else _narrow_rows(report["rows"]),
        _title("Every arm"),
        *_arms(report["arms"], console),
        *_break_evens(report),
        *_timeline(report),
        *_settings(report),
        _title("Verdict"),
        *_verdict(report),
    ]
    return Group(*parts)


def _title(text: str) -> Text:
    return Text(f"\n{text}", "bold")


def _heading(report: ComparisonReport) -> Text:
    setup, facts = report["setup"], report["setup"]["facts"]
    seeds = ", ".join(map(str, setup["seeds"]))
    quick = " · quick: a subset of facts and arms" if setup["is_quick"] else ""
    return Text.assemble(
        ("What an update costs", "bold"),
        (
            f"\n{printable(shortened(setup['model']))} · {printable(machine_line(setup))}"
            f"\n{facts['changed']} changed, {facts['unchanged']} unchanged, {facts['vanished']} vanished facts"
            f" in {setup['documents']} documents · seeds {seeds}{quick}",
            "dim",
        ),
    )


def _wide_rows(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, ratio in (("", 16), ("", 12), ("claimed", 25), ("measured here", 41)):
        table.add_column(name, ratio=ratio, header_style="dim")
    table.expand = True
    for row in rows:
        table.add_row(
            Text(row["aspect"], "bold"),
            "fine-tuning",
            Text(row["claimed_tuning"], "dim"),
            Text(printable(row["measured_tuning"])),
        )
        table.add_row(
            "", "RAG", Text(row["claimed_rag"], "dim"), Text(printable(row["measured_rag"])), end_section=True
        )
    return table


def _narrow_rows(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(Text(row["aspect"], "bold"), "", "")
        for side, claimed, measured in (
            ("fine-tuning", row["claimed_tuning"], row["measured_tuning"]),
            ("RAG", row["claimed_rag"], row["measured_rag"]),
        ):
            table.add_row(f"  {side}", Text("claimed", "dim"), Text(claimed, "dim"))
            table.add_row("", "measured", Text(printable(measured)))
    return table


def _arms(arms: Sequence[ArmFigures], console: Console) -> list[RenderableType]:
    unbounded = console.options.update(max_width=1_000)  # else a table measures no more than it is given
    for n_left_out in range(len(_DISPENSABLE) + 1):
        shown = [name for name in _COLUMNS if name not in _DISPENSABLE[:n_left_out]]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("", overflow="fold")
        for name in shown:
            table.add_column(name, justify="right", no_wrap=True)
        for arm in arms:
            table.add_row(arm["name"], *(_COLUMNS[name][1](arm) for name in shown))
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    return [table, Text("; ".join(f"{name}: {_COLUMNS[name][0]}" for name in shown), "dim")]


def _share(share: Share | None) -> str:
    return "–" if share is None else f"{share['value']:.0%}".replace("%", " %")


def _cpu(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


def _break_evens(report: ComparisonReport) -> list[RenderableType]:
    told: list[RenderableType] = [_title("Queries per update from which the dearer update pays off")]
    for basis, heading in BASES.items():
        lines = [Text(printable(one["formula"])) for one in report["break_evens"] if one["basis"] == basis]
        if lines:
            told += [Text(heading, "dim"), *(Padding(line, (0, 0, 0, 2)) for line in lines)]
    return [*told, Text(prices_line(report), "dim")] if report["break_evens"] else []


def machine_line(setup: SetupFigures) -> str:
    """Say what the run was made on."""
    return setup["machine"] if setup["gpu"] is None else f"{setup['machine']}, the model on {setup['gpu']}"


def prices_line(report: ComparisonReport) -> str:
    """Say which prices costs are reckoned from."""
    prices = report["prices"]
    sign = printable(prices["currency"])
    speed = "" if report["setup"]["gpu"] else f" and {prices['gpu_speedup']:g} times as fast"
    return (
        f"prices, given or assumed: {prices['machine_cores']} cores like these {sign}{prices['machine_hour']:g} an hour"
        f", a GPU {sign}{prices['gpu_hour']:g} an hour{speed}, a million tokens"
        f" {sign}{prices['input_million']:g} in and {sign}{prices['output_million']:g} out"
    )


def _timeline(report: ComparisonReport) -> list[RenderableType]:
    timeline = report["timeline"]
    if timeline is None:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for name in ("out of date on average", "at most", "a change waits"):
        table.add_column(name, justify="right")
    for course in timeline["courses"]:
        table.add_row(
            course["approach"],
            percent(course["mean_share"]),
            percent(course["highest_share"]),
            duration(course["mean_wait_seconds"]),
        )
    note = f"{timeline['changes']:,} changes in {setting(timeline['span_seconds'])}: {printable(timeline['origin'])}"
    return [_title("Out of date over time"), table, Text(note, "dim")]


def _verdict(report: ComparisonReport) -> list[RenderableType]:
    verdict = report["verdict"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for contest in verdict["contests"]:
        winner = contest["winner"]
        table.add_row(Text(WINNERS[winner], _COLOURS[winner]), Text(printable(contest["sentence"])))
    remarks: list[RenderableType] = [_point(remark) for remark in verdict["remarks"]]
    caveats = [_point(caveat, "dim") for caveat in verdict["caveats"]]
    headline = Text(printable(verdict["headline"]))
    contests: list[RenderableType] = [Text(), table] if verdict["contests"] else []
    remarks = [Text(), *remarks] if remarks else []
    return [headline, *contests, *remarks, _title("What this does not carry"), *caveats]


def _point(text: str, style: str = "") -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text("·", style), Text(printable(text), style))
    return grid


def _settings(report: ComparisonReport) -> list[RenderableType]:
    """Say what the run was made with; each training of each seed is in the JSON and on the page."""
    told = [
        f"{record['name']}, seed {record['seed']}: learning rate {record['learning_rate']:g},"
        f" {record['epochs']:g} epochs, {record['trained_tokens']:,} tokens, {settings_line(record['settings'])}"
        for record in report["updates"]
        if record["learning_rate"] is not None
    ]
    own = settings_line(report["setup"]["settings"])
    return [_title("Settings"), *(_point(line.rstrip(", "), "dim") for line in (own, *told) if line)]


def settings_line(settings: Settings) -> str:
    """Write settings in a line."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())
