"""Draws a report: dots with their intervals, a log scale, steps over time, lines that cross. Pure.

Curves stretch with the page, text and dots do not: so one drawing serves a desk and a phone.
Nothing needs a script, and no attribute holds a style, so that a strict policy admits all of it.
"""

import math
from collections.abc import Iterator, Sequence

from freshd.compare.costs import amount, count, figures
from freshd.compare.report.shape import ArmFigures, Break, Share, Timeline
from freshd.compare.verdict import percent
from freshd.http.page.markup import plain
from freshd.wording import duration

HEIGHT = 180
"""Of a plot, in pixels."""

WIDTH = 1_000
"""Of a plot, in units that stretch to whatever width there is."""

_ROW = 18
_TIMELINE_KINDS = ("freshd", "day", "week", "month")
_DAY_S = 86_400
_FEW_QUERIES = 1_000.0
_MOST_TICKS = 7


def family(arm: str) -> str:
    """Give the class that colours an arm: what it is made of."""
    if arm == "base":
        return "base"
    if not arm.endswith("rag") and arm != "rag_stale":
        return "tuned"
    return "rag" if arm in ("rag", "rag_stale") else "both"


def said(text: str) -> str:
    """Escape a text of the report; number and sign stay together."""
    return plain(text).replace(" %", "\N{NO-BREAK SPACE}%")


def currency_chart(arms: Sequence[ArmFigures]) -> str:
    """Draw for each arm the share of changed facts it knows, with its interval, and the share it has stale."""
    rows = "".join(_currency_row(arm, arm["currency"]) for arm in arms if arm["currency"])
    return f'<table class="marks"><tbody>{rows}{_axis([(n / 4, f"{25 * n} %") for n in range(5)])}</tbody></table>'


def _currency_row(arm: ArmFigures, share: Share) -> str:
    stale = f'<circle class="old" cx="{arm["stale"]["value"]:.2%}" cy="9" r="4.5"/>' if arm["stale"] else ""
    drawn = (
        f'<line class="chance" x1="25%" x2="25%" y1="0" y2="{_ROW}"/>{stale}'
        f'<line class="range" x1="{share["low"]:.2%}" x2="{share["high"]:.2%}" y1="9" y2="9"/>'
        f'<circle class="dot" cx="{share["value"]:.2%}" cy="9" r="5.5"/>'
    )
    told = f"{100 * share['value']:.0f} %"
    return _mark_row(arm["arm"], arm["name"], drawn, told)


def update_chart(arms: Sequence[ArmFigures]) -> str:
    """Draw for each arm that follows the change what an update takes, on a log scale."""
    updated = [(arm, arm["update"]) for arm in arms if arm["update"] and arm["update"]["cpu_seconds"] > 0]
    if not updated:
        return '<p class="note">No update was timed.</p>'
    lowest = math.floor(math.log10(min(max(update["least_cpu_seconds"], 1e-6) for _, update in updated)))
    highest = max(lowest + 1, math.ceil(math.log10(max(update["most_cpu_seconds"] for _, update in updated))))

    def place(seconds: float) -> str:
        return f"{(math.log10(max(seconds, 10**lowest)) - lowest) / (highest - lowest):.2%}"

    rows = "".join(
        _mark_row(
            arm["arm"],
            arm["name"],
            f'<line class="range" x1="{place(update["least_cpu_seconds"])}"'
            f' x2="{place(update["most_cpu_seconds"])}" y1="9" y2="9"/>'
            f'<circle class="dot" cx="{place(update["cpu_seconds"])}" cy="9" r="5.5"/>',
            amount(update["cpu_seconds"], "CPU s"),
        )
        for arm, update in updated
    )
    n = highest - lowest
    axis = _axis([(step / n, f"{figures(10.0 ** (lowest + step))} s") for step in range(n + 1)])
    return f'<table class="marks"><tbody>{rows}{axis}</tbody></table>'


def _mark_row(arm: str, name: str, drawn: str, told: str) -> str:
    return (
        f'<tr class="{family(arm)}"><th scope="row">{said(name)}</th>'
        f'<td><svg height="{_ROW}" aria-hidden="true"><line class="rail" x2="100%" y1="9" y2="9"/>{drawn}</svg></td>'
        f"<td>{said(told)}</td></tr>"
    )


def _axis(ticks: Sequence[tuple[float, str]]) -> str:
    labels = "".join(
        f'<line class="tick" x1="{share:.2%}" x2="{share:.2%}" y2="5"/>'
        f'<text x="{share:.2%}" y="18" text-anchor="{_anchor(share)}">{said(text)}</text>'
        for share, text in ticks
    )
    return f'<tr aria-hidden="true"><th></th><td><svg height="22">{labels}</svg></td><td></td></tr>'


def _anchor(share: float) -> str:
    return "start" if share <= 0 else "end" if share >= 1 else "middle"


def timeline_chart(timeline: Timeline) -> str:
    """Draw the share that is out of date over time: a line of steps for each approach."""
    span_s, courses = timeline["span_seconds"], timeline["courses"]
    top = max(0.01, *(course["highest_share"] for course in courses)) * 1.08
    lines = "".join(
        f'<path class="line {kind}" d="{_stairs(course["steps"], span_s, top)}"/>'
        for course, kind in reversed(list(zip(courses, _TIMELINE_KINDS, strict=False)))
    )
    days = span_s / _DAY_S
    step = next((n for n in (1, 2, 5, 7, 10, 14, 30, 60, 90, 180, 365) if days / n <= _MOST_TICKS), 730)
    ticks = [(n * step / days, f"{n * step} d" if n else "0") for n in range(int(days / step) + 1)]
    told = "; ".join(f"{one['approach']} {percent(one['mean_share'])} on average" for one in courses)
    return _figure("timeline", "Share out of date over time", told, lines, _scale(top, percent(top / 1.08)), ticks)


def _stairs(steps: Sequence[tuple[float, float]], span_s: float, top: float) -> str:
    first, *rest = steps
    down = HEIGHT / top
    turns = "".join(f"H{at_s / span_s * WIDTH:.1f}V{HEIGHT - share * down:.1f}" for at_s, share in rest)
    return f"M{first[0] / span_s * WIDTH:.1f} {HEIGHT - first[1] * down:.1f}{turns}H{WIDTH}"


def timeline_legend(timeline: Timeline) -> str:
    """Name the lines, each with its mean and how long a change waits."""
    entries = (
        (kind, f"{course['approach']}: {percent(course['mean_share'])} on average,"
         f" a change waits {duration(course['mean_wait_seconds'])}")
        for course, kind in zip(timeline["courses"], _TIMELINE_KINDS, strict=False)
    )  # fmt: skip
    return _legend(entries)


def break_even_chart(breaks: Sequence[Break]) -> str:
    """Draw what one update and the queries after it cost together, for each arm: straight lines, which may cross.

    Args:
        breaks: Of one basis, and so of one unit.

    """
    lines = {name: (update, query) for one in breaks for name, update, query in one["lines"]}
    crossings = [one["queries"] for one in breaks if one["queries"]]
    most = 2 * max(crossings) if crossings else _FEW_QUERIES
    top = max(update + most * query for update, query in lines.values()) * 1.08 or 1.0
    down = HEIGHT / top
    drawn = "".join(
        f'<path class="line {_line_kind(name)}"'
        f' d="M0 {HEIGHT - update * down:.1f}L{WIDTH} {HEIGHT - (update + most * query) * down:.1f}"/>'
        for name, (update, query) in lines.items()
    )
    marks = ""
    if crossings:
        first = next(one for one in breaks if one["queries"])
        marks = _crossing(first, most, down)
    ticks = [(n / 4, count(most * n / 4) if n else "0") for n in range(5)]
    told = "; ".join(one["formula"] for one in breaks)
    scale = _scale(top, figures(top / 1.08, 2))
    return _figure("break-even", "Cost of one update and the queries after it", told, drawn, scale + marks, ticks)


def _crossing(one: Break, most: float, down: float) -> str:
    queries = one["queries"] or 0.0
    _, update, query = one["lines"][0]
    x, y = queries / most, HEIGHT - (update + queries * query) * down
    return (
        f'<circle class="crossing" cx="{x:.2%}" cy="{y:.1f}" r="5"/>'
        f'<text class="told" x="{x:.2%}" y="{max(14.0, y - 14):.1f}" text-anchor="end">'
        f"{said(count(queries))} queries</text>"
    )


def break_even_legend(breaks: Sequence[Break]) -> str:
    """Name the lines of the drawing."""
    names = dict.fromkeys(name for one in breaks for name, _, _ in one["lines"])
    return _legend((_line_kind(name), name) for name in names)


def _line_kind(name: str) -> str:
    return "rag" if name == "RAG" else "both" if "RAG" in name else "tuned"


def _legend(entries: Iterator[tuple[str, str]]) -> str:
    swatch = '<svg aria-hidden="true"><line class="swatch {}" x2="100%" y1="50%" y2="50%"/></svg>'
    rows = "".join(f'<li class="{kind}">{swatch.format(kind)}{said(text)}</li>' for kind, text in entries)
    return f'<ul class="legend">{rows}</ul>'


def _scale(top: float, label: str) -> str:
    """Write the highest value, where it is, and zero."""
    return (
        f'<text x="-8" y="{HEIGHT * (1 - 1 / 1.08) + 4:.0f}" text-anchor="end">{said(label)}</text>'
        f'<text x="-8" y="{HEIGHT + 4}" text-anchor="end">0</text>'
    )


def _figure(key: str, title: str, told: str, drawn: str, marks: str, ticks: Sequence[tuple[float, str]]) -> str:
    labels = "".join(
        f'<text class="{"odd" if n % 2 else "even"}" x="{share:.2%}" y="{HEIGHT + 20}"'
        f' text-anchor="{_anchor(share)}">{said(text)}</text>'
        for n, (share, text) in enumerate(ticks)
    )
    return (
        f'<figure><svg class="chart" role="img" aria-labelledby="{key}-title {key}-told" height="{HEIGHT + 26}">'
        f'<title id="{key}-title">{said(title)}</title><desc id="{key}-told">{said(told)}</desc>'
        f'<svg class="plot" width="100%" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        f'<path class="axis" d="M0 {HEIGHT}H{WIDTH}"/>{drawn}</svg>{marks}{labels}</svg></figure>'
    )
