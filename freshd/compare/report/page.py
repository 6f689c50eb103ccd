"""The report as one HTML page that loads nothing, needs no script, and may be sent to anybody.

ComparisonReport ─▶ verdict, drawings, tables, caveats ─▶ one document, its own style admitted by hash alone
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from freshd.compare.report.charts import (
    break_even_chart,
    break_even_legend,
    currency_chart,
    said,
    timeline_chart,
    timeline_legend,
    update_chart,
)
from freshd.compare.report.shape import ArmFigures, ComparisonReport, Row, Share, UpdateRecord
from freshd.compare.report.table import BASES, WINNERS, machine_line, prices_line, settings_line
from freshd.compare.verdict import moment, shortened
from freshd.http.page.markup import counted
from freshd.wording import setting

_STYLE = files("freshd.compare.report").joinpath("page.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'"
)
"""Admits the page's own style and an empty icon, and nothing else from anywhere."""

_CLASSES = {"retrieval": "rag", "retraining": "tuned", "tie": "tie"}
_ARM_COLUMNS = (
    *("arm", "knows what changed", "answers it exactly", "old value likeliest", "unchanged, exact", "forgotten"),
    *("vanished, still given", "confidently wrong", "cites the fact", "update, CPU s", "by the clock"),
    *("query, CPU s", "prompt, tokens"),
)
_ARM_SHARES = (
    *("currency", "exact", "stale", "kept_exact", "forgotten_exact", "lingering"),
    *("confident_wrong", "attribution"),
)


def render_page(report: ComparisonReport) -> str:
    """Build the whole document.

    Args:
        report: What is shown; whatever its texts hold, they are only ever shown.

    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>What an update costs · freshd</title><style>{_STYLE}</style></head><body>"
        f"{_top(report)}<main>{_contests(report)}{_currency(report)}{_update(report)}{_timeline(report)}"
        f"{_break_even(report)}{_claims(report['rows'])}{_arms(report['arms'])}{_remarks(report)}{_carries(report)}{_made(report)}</main>"
        f'<footer class="note">Made by freshd {said(report["version"])}.</footer></body></html>'
    )


def _top(report: ComparisonReport) -> str:
    setup, facts = report["setup"], report["setup"]["facts"]
    seeds = f"{counted(len(setup['seeds']), 'seed')} ({', '.join(map(str, setup['seeds']))})"
    quick = " A quick run: a subset of facts and arms." if setup["is_quick"] else ""
    return (
        "<header><h1>What an update costs</h1>"
        '<p class="note">retrieval, retraining, and both, measured on the same changed facts</p>'
        f'<p id="headline">{said(report["verdict"]["headline"])}</p>'
        f'<p class="note">Model <bdi>{said(shortened(setup["model"]))}</bdi>,'
        f" machine <bdi>{said(machine_line(setup))}</bdi>."
        f" {facts['changed']} changed, {facts['unchanged']} unchanged and {facts['vanished']} vanished facts"
        f" in {counted(setup['documents'], 'document')}, {seeds}.{quick}</p></header>"
    )


def _section(key: str, heading: str, content: str, note: str = "") -> str:
    told = f'<p class="note">{said(note)}</p>' if note else ""
    return f'<section aria-labelledby="{key}"><h2 id="{key}">{heading}</h2>{told}{content}</section>'


def _contests(report: ComparisonReport) -> str:
    rows = "".join(
        f'<li class="{_CLASSES[one["winner"]]}"><strong>{WINNERS[one["winner"]]}</strong>'
        f"<span>{said(one['aspect'])}</span><p>{said(one['sentence'])}</p></li>"
        for one in report["verdict"]["contests"]
    )
    return _section("verdict", "Who did better, and where", f'<ul class="contests">{rows}</ul>') if rows else ""


def _currency(report: ComparisonReport) -> str:
    note = (
        "Changed facts whose new value the model finds the likeliest of four; the dashed line is guessing."
        " Bars are 95 % intervals over facts; the hollow dot is the share whose old value is the likeliest."
    )
    return _section("currency", "Who knows what changed", currency_chart(report["arms"]), note)


def _update(report: ComparisonReport) -> str:
    note = "CPU seconds to follow the change once, on a log scale; bars are from the least to the most over seeds."
    return _section("update", "What following a change takes", update_chart(report["arms"]), note)


def _timeline(report: ComparisonReport) -> str:
    timeline = report["timeline"]
    if timeline is None:
        return ""
    note = (
        f"{counted(timeline['changes'], 'change')} in {setting(timeline['span_seconds'])}: {timeline['origin']}."
        f" Of {timeline['things']:,} facts or documents, the share that is out of date at each moment."
    )
    return _section("staleness", "Out of date over time", timeline_chart(timeline) + timeline_legend(timeline), note)


def _break_even(report: ComparisonReport) -> str:
    breaks = report["break_evens"]
    if not breaks:
        return ""
    drawn = [one for one in breaks if one["basis"] == breaks[0]["basis"]]
    listed = ""
    for basis, heading in BASES.items():
        formulas = "".join(f"<li>{said(one['formula'])}</li>" for one in breaks if one["basis"] == basis)
        if formulas:
            listed += f'<h3>{heading[0].upper()}{heading[1:]}</h3><ul class="points">{formulas}</ul>'
    prices = f'<p class="note">{said(prices_line(report))}</p>'
    note = f"One update and the queries that follow it, in {drawn[0]['unit']}, by the number of queries."
    content = f"{break_even_chart(drawn)}{break_even_legend(drawn)}{listed}{prices}"
    return _section("break-evens", "From how many queries the dearer update pays off", content, note)


def _claims(rows: Sequence[Row]) -> str:
    columns = ("claimed for fine-tuning", "measured", "claimed for RAG", "measured")
    keys = ("claimed_tuning", "measured_tuning", "claimed_rag", "measured_rag")
    head = "".join(f'<th scope="col">{column}</th>' for column in ("", *columns))
    body = "".join(
        f'<tr><th scope="row">{said(row["aspect"])}</th>'
        + "".join(
            f'<td{" class=claimed" if "claimed" in key else ""} data-of="{_full(column, key)}">{said(row[key])}</td>'  # type: ignore[literal-required]
            for column, key in zip(columns, keys, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    table = f'<table class="data claims"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return _section("claims", "What is claimed, and what was measured", table)


def _full(column: str, key: str) -> str:
    side = "fine-tuning" if key.endswith("tuning") else "RAG"
    return column if "claimed" in column else f"{column} for {side}"


def _arms(arms: Sequence[ArmFigures]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in _ARM_COLUMNS)
    body = "".join(
        f'<tr><th scope="row">{said(arm["name"])}</th>{"".join(f"<td>{cell}</td>" for cell in _cells(arm))}</tr>'
        for arm in arms
    )
    note = "Shares with their 95 % intervals below; what was forgotten is the fall of unchanged, exact by the update."
    table = f'<table class="data arms"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return _section("arms", "Every arm", f'<div class="scroll" tabindex="0">{table}</div>', note)


def _cells(arm: ArmFigures) -> list[str]:
    update, query = arm["update"], arm["query"]
    shares = (
        "currency",
        "exact",
        "stale",
        "kept_exact",
        "forgotten_exact",
        "lingering",
        "confident_wrong",
        "attribution",
    )
    return [
        *(_share(arm[key]) for key in shares),  # type: ignore[literal-required]
        f"{update['cpu_seconds']:.3g}" if update else "–",
        moment(update["wall_seconds"]) if update else "–",
        f"{query['cpu_seconds']:.3g}",
        f"{query['prompt_tokens']:,.0f}",
    ]


def _share(share: Share | None) -> str:
    if share is None:
        return "–"
    value, low, high = (
        str(round(100 * number)).replace("-", "−") for number in (share["value"], share["low"], share["high"])
    )
    return f"{said(f'{value} %')}<small>{low} to {high}</small>"


def _remarks(report: ComparisonReport) -> str:
    remarks = "".join(f"<li>{said(remark)}</li>" for remark in report["verdict"]["remarks"])
    return _section("remarks", "What else it shows", f'<ul class="points">{remarks}</ul>') if remarks else ""


def _carries(report: ComparisonReport) -> str:
    caveats = "".join(f"<li>{said(caveat)}</li>" for caveat in report["verdict"]["caveats"])
    return _section("caveats", "What this does not carry", f'<ul class="points">{caveats}</ul>')


def _made(report: ComparisonReport) -> str:
    lines = (report["setup"]["model"], settings_line(report["setup"]["settings"]))
    own = "".join(f'<p class="note"><bdi>{said(text)}</bdi></p>' for text in lines if text)
    columns = ("arm", "seed", "by the clock", "CPU s", "epochs", "learning rate", "tokens trained", "settings")
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(map(_update_row, report["updates"]))
    table = f'<table class="data"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return _section(
        "settings",
        "Settings",
        f"{own}<details><summary>Every update of every seed</summary>"
        f'<div class="scroll" tabindex="0">{table}</div></details>',
        f"Wrong with confidence: at least {report['confident']:g}."
        f" Up to date in training: {report['known']:.0%} of changed development facts.".replace("%", " %"),
    )


def _update_row(record: UpdateRecord) -> str:
    rate = record["learning_rate"]
    cells = (
        str(record["seed"]),
        moment(record["wall_seconds"]),
        f"{record['cpu_seconds']:.3g}",
        f"{record['epochs']:g}",
        "–" if rate is None else f"{rate:g}",
        f"{record['trained_tokens']:,}",
        settings_line(record["settings"]),
    )
    return f'<tr><th scope="row">{said(record["name"])}</th>{"".join(f"<td>{said(cell)}</td>" for cell in cells)}</tr>'
