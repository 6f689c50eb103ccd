"""Shows what the last comparison measured beside what freshd does here: how long an update takes, on a log scale."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from freshd.http.page.markup import UNBROKEN, duration, line, name, plain, when
from freshd.shapes import ComparisonFigures, SourceStatus

_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_SHORTEST_S = 0.01
"""What is shorter is drawn as long as that."""

_THINNEST = 0.01
"""Of the width: what would not be seen is drawn as wide."""

_MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    label: str
    seconds: float | None
    told: str


def comparison_section(figures: ComparisonFigures | None, sources: Sequence[SourceStatus], now: datetime) -> str:
    """Build the part about the last comparison.

    Args:
        figures: None where no report is named, or it tells nothing: then there is no such part.
        sources: As the status has them.
        now: Ages count from it.

    """
    if figures is None:
        return ""
    rows = [*_live(sources), *_measured(figures)]
    lowest, highest = _decades([row.seconds for row in rows if row.seconds is not None])
    drawn = "".join(_drawn(row, lowest, highest) for row in rows)
    words = figures["break_even"]
    return (
        '<section aria-labelledby="comparison"><h2 id="comparison">Next to retraining</h2>'
        f'<p class="note">{_origin(figures, now)} Here: from an edit until it is searchable, as it happens.'
        " There: one update, from its beginning until it is through. On a log scale.</p>"
        f'<table class="costs"><tbody>{drawn}{_axis(lowest, highest)}</tbody></table>'
        + (f'<p class="note">{line(words)}</p>' if words else "")
        + "</section>"
    )


def _origin(figures: ComparisonFigures, now: datetime) -> str:
    at = datetime.fromisoformat(figures["measured_at"])
    model, machine = _HASH.sub(r"\1…", figures["model"]), figures["machine"]
    quick = ", a quick run on a part of it" if figures["is_quick"] else ""
    return (
        f"By <code>freshd compare</code>, {at:%Y-%m-%d} ({when(figures['measured_at'], now)}){quick}:"
        f" model {name(model)}, machine {name(machine)}."
    )


def _live(sources: Sequence[SourceStatus]) -> Iterator[_Row]:
    """Give the worst of all sources: nobody is kept fresher by a faster one beside his own."""
    lags = [(source["lag_seconds"]["p50"], source["name"]) for source in sources]
    seen = max(((lag, whose) for lag, whose in lags if lag is not None), default=None)
    label = "freshd here, median lag"
    if seen is None:
        yield _Row("good", label, None, "no edit yet")
    else:
        slowest = f" of {name(seen[1], 40)}, the slowest" if len(sources) > 1 else ""
        yield _Row("good", f"{label}{slowest}", seen[0], duration(seen[0]))
    stale = [source["staleness_seconds"] for source in sources]
    known = [seconds for seconds in stale if seconds is not None]
    at_most = max(known) if known and len(known) == len(stale) else None
    of_all = " of the stalest" if len(sources) > 1 else ""
    yield _Row(
        "good", f"freshd here, staleness now{of_all}", at_most, "unknown" if at_most is None else duration(at_most)
    )


def _measured(figures: ComparisonFigures) -> Iterator[_Row]:
    for one in figures["approaches"]:
        first, *others = one["names"]
        alike = f' <span class="note">as do {plain(", ".join(others))}</span>' if others else ""
        label = f"{name(first)}{alike}"
        yield _Row("training" if one["is_training"] else "busy", label, one["seconds"], duration(one["seconds"]))


def _decades(seconds: Sequence[float]) -> tuple[int, int]:
    """Give the powers of ten that all lie between."""
    places = [math.log10(max(one, _SHORTEST_S)) for one in seconds]
    lowest = math.floor(min(places))
    return lowest, max(lowest + 1, math.ceil(max(places)))


def _drawn(row: _Row, lowest: int, highest: int) -> str:
    shown = ""
    if row.seconds is not None:
        share = (math.log10(max(row.seconds, _SHORTEST_S)) - lowest) / (highest - lowest)
        shown = f'<rect class="{row.kind}" width="{max(share, _THINNEST):.2%}" height="100%"/>'
    return (
        f'<tr><th scope="row">{row.label}</th><td class="log"><svg class="bar" aria-hidden="true">'
        f'<rect class="rail" width="100%" height="100%"/>{shown}</svg></td><td>{row.told}</td></tr>'
    )


def _axis(lowest: int, highest: int) -> str:
    step = math.ceil((highest - lowest) / _MOST_TICKS)
    labels = ""
    for power in range(lowest, highest + 1, step):
        share = (power - lowest) / (highest - lowest)
        anchor = "start" if power == lowest else "end" if power == highest else "middle"
        kind = "few" if share in (0, 1 / 2, 1) else "many"  # a phone has no room for these
        labels += f'<text class="{kind}" x="{share:.2%}" y="12" text-anchor="{anchor}">{_tick(power)}</text>'
    return f'<tr aria-hidden="true" class="axis"><th></th><td class="log"><svg>{labels}</svg></td><td></td></tr>'


def _tick(power: int) -> str:
    return f"{10.0**power:,.{max(0, -power)}f}{UNBROKEN}s"
