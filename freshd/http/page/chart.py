"""Draws staleness as a sawtooth: it rises by a second each second, and falls where the watermark rose.

    trail ─▶ teeth ─▶ window (as short as shows them, as long as shows every breach) ─▶ outline ─▶ one path

A tooth is drawn as it is; several that end in one column become one with the highest peak of them,
so that a path stays small whatever the trail, and no breach is lost.
Labels are text in pixels, curves stretch with the page: so one drawing serves a desk and a phone.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from math import inf
from operator import itemgetter, sub

from freshd.http.page.markup import duration, plain, setting

Trail = Sequence[tuple[float, float]]
"""At which instant the watermark rose, and to which; seconds since 1970, rising."""

HEIGHT = 112
"""Of the plot, in pixels."""

WIDTH = 1_000
"""Of the plot, in units that stretch to whatever width there is."""

COLUMNS = 250
"""In which teeth are told apart: some four pixels on a desk."""

TICKS_S = {300: 60, 600: 120, 1_800: 600, 3_600: 900, 7_200: 1_800, 14_400: 3_600}
"""Windows, and the distance of the labels below each."""

_TEETH = 40
"""Targets that a window holds at least, where there is that much to show: twice as many teeth at rest."""

_LABEL_PX = 15

_NOTHING = '<p class="gap">No staleness to draw: no complete listing proves any.</p>'


@dataclass(frozen=True, slots=True)
class Teeth:
    """A trail taken apart: tooth by tooth, when it began and ended, and its foot and peak.

    Attributes:
        starts: Instants at which the watermark rose.
        marks: To which it rose; a tooth's foot is its start less its mark.
        ends: Instants at which it rose next, or now.
        peaks: Staleness just before that, in seconds.

    """

    starts: Sequence[float]
    marks: Sequence[float]
    ends: Sequence[float]
    peaks: Sequence[float]


@dataclass(frozen=True, slots=True)
class Outline:
    """What is drawn of teeth.

    Attributes:
        corners: Each foot with the peak that follows it: instant, staleness, instant, staleness.
        highest_s: The largest staleness.
        above_s: For how long it was above the target.

    """

    corners: Sequence[tuple[float, float, float, float]]
    highest_s: float
    above_s: float


def teeth(trail: Trail, now_s: float, staleness_s: float | None) -> Teeth:
    """Take a trail apart.

    Args:
        trail: Not empty, nothing in it later than now.
        now_s: Where the last tooth ends.
        staleness_s: At its end; None where it is unknown, as after a clock that was set back: then there is none.

    """
    starts, marks = [*map(itemgetter(0), trail)], [*map(itemgetter(1), trail)]
    ends = starts[1:]
    peaks = [*map(sub, ends, marks)]
    if staleness_s is not None:
        ends.append(now_s)
        peaks.append(staleness_s)
    return Teeth(starts, marks, ends, peaks)


def window_s(seen: Teeth, now_s: float, target_s: float) -> int:
    """Choose how far back to show: a round number of seconds."""
    wanted_s = min(_TEETH * target_s, now_s - seen.starts[0])
    if max(seen.peaks) > target_s:
        wanted_s = max(wanted_s, now_s - next(compress(seen.ends, map(target_s.__lt__, seen.peaks))))
    return next((size for size in TICKS_S if size >= wanted_s), max(TICKS_S))


def outline(seen: Teeth, begin_s: float, now_s: float, target_s: float) -> Outline:
    """Reduce teeth to what can be told apart; before the first, nothing is known.

    Args:
        seen: At least one tooth.
        begin_s: What ended before is left out.
        now_s: The end of the last column.
        target_s: What is above it is a breach.

    """
    starts, ends, peaks = seen.starts, seen.ends, seen.peaks
    corners, width_s = [], (now_s - begin_s) / COLUMNS
    first = i = bisect_right(ends, begin_s)
    last = len(ends) - 1  # on its own: it ends in what holds now
    while i <= last:
        column_end_s = ends[i] + width_s - (ends[i] - begin_s) % width_s
        j = max(bisect_left(ends, column_end_s, i, max(i, last)), i + 1)
        start_s = max(starts[i], begin_s)
        corners.append((start_s, max(start_s - seen.marks[i], 0.0), ends[j - 1], max(0.0, *peaks[i:j])))
        i = j
    highest_s = max((corner[3] for corner in corners), default=0.0)
    above_s = 0.0
    if highest_s > target_s:
        spans = zip(peaks[first:], starts[first:], ends[first:], strict=False)
        above_s = sum(min(peak - target_s, end - max(start, begin_s)) for peak, start, end in spans if peak > target_s)
    return Outline(corners, highest_s, above_s)


def sawtooth(key: str, title: str, trail: Trail, now_s: float, staleness_s: float | None, target_s: float) -> str:
    """Draw one source's staleness over the last hours, with its target.

    Args:
        key: Unique in the page.
        title: What it shows, in a line.
        trail: May be empty.
        now_s: The right edge.
        staleness_s: At the right edge; None where it is unknown.
        target_s: Drawn as a dashed line.

    """
    trail = trail[: bisect_right(trail, (now_s, inf))]  # later ones are from a clock that was set back since
    whole = teeth(trail, now_s, staleness_s) if trail else None
    if whole is None or not whole.peaks:
        return _NOTHING
    span_s = window_s(whole, now_s, target_s)
    begin_s = now_s - span_s
    seen = outline(whole, begin_s, now_s, target_s)
    if not seen.corners:
        return _NOTHING
    top_s = max(1.08 * seen.highest_s, 1.35 * target_s)
    is_whole = seen.corners[0][0] <= begin_s and staleness_s is not None
    told = (
        f"In the last {setting(span_s)}{'' if is_whole else ', as far as it is known,'} staleness was at most"
        f" {duration(seen.highest_s)}, {'' if seen.above_s else 'never '}above the target of {setting(target_s)}"
        f"{f' for {duration(seen.above_s)}' if seen.above_s else ''}."
    )
    axes = _labels(top_s, target_s, seen.highest_s) + _ticks(span_s) + _gap(seen, begin_s, span_s)
    curve = _curve(key, seen, begin_s, span_s, top_s, target_s)
    return (
        f'<figure><svg class="chart" role="img" aria-labelledby="{key}-title {key}-told" height="{HEIGHT + 24}">'
        f'<title id="{key}-title">{plain(title)}</title><desc id="{key}-told">{told}</desc>{curve}{axes}</svg>'
        f"<figcaption>{told}</figcaption></figure>"
    )


def _curve(key: str, seen: Outline, begin_s: float, span_s: float, top_s: float, target_s: float) -> str:
    across, down, target_share = WIDTH / span_s, HEIGHT / top_s, 1 - target_s / top_s
    rises = [
        f"V{HEIGHT - foot * down:.0f}L{(end - begin_s) * across:.0f} {HEIGHT - peak * down:.0f}"
        for _, foot, end, peak in seen.corners
    ]
    left, curve = (seen.corners[0][0] - begin_s) * across, "".join(rises)
    _, _, end, peak = seen.corners[-1]
    now = f'<path class="now" d="M{WIDTH} {HEIGHT - peak * down:.0f}h0"/>' if end >= begin_s + span_s else ""
    return (
        f'<svg class="plot" width="100%" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        f"<defs>{_split(f'{key}-area', target_share)}{_split(f'{key}-line', target_share)}</defs>"
        f'<path class="axis" d="M0 {HEIGHT}H{WIDTH}"/>'
        f'<path class="area" fill="url(#{key}-area)" d="M{left:.0f} {HEIGHT}{curve}V{HEIGHT}Z"/>{now}'
        f'<path class="line" stroke="url(#{key}-line)" d="M{left:.0f} {curve[1:]}"/>'
        f'<path class="target" d="M0 {HEIGHT * target_share:.0f}H{WIDTH}"/></svg>'
    )


def _split(key: str, share: float) -> str:
    """Make a paint that changes its colour at the target."""
    return (
        f'<linearGradient id="{key}" gradientUnits="userSpaceOnUse" x1="0" y1="0" x2="0" y2="{HEIGHT}">'
        f'<stop class="above" offset="{share:.4f}"/><stop class="below" offset="{share:.4f}"/></linearGradient>'
    )


def _labels(top_s: float, target_s: float, highest_s: float) -> str:
    """Write the target, and zero and the highest value where they do not come too near."""
    wanted = ((target_s, setting(target_s), "target"), (highest_s, duration(highest_s), "high"), (0.0, "0", "zero"))
    labels, taken = [], list[float]()
    for value_s, text, kind in wanted:
        at = HEIGHT - value_s / top_s * HEIGHT
        if all(abs(at - other) >= _LABEL_PX for other in taken):
            taken.append(at)
            labels.append(f'<text class="{kind}" x="-8" y="{at + 4:.0f}" text-anchor="end">{text}</text>')
    return "".join(labels)


def _ticks(span_s: int) -> str:
    """Write how long ago, from the left edge to now."""
    labels = []
    for n, ago_s in enumerate(range(span_s, -1, -TICKS_S[span_s])):
        anchor = "start" if ago_s == span_s else "middle" if ago_s else "end"
        text = f"{setting(ago_s)} ago" if ago_s == span_s else setting(ago_s) if ago_s else "now"
        kind = "odd" if n % 2 and ago_s else "even"
        share = 1 - ago_s / span_s
        labels.append(f'<text class="{kind}" x="{share:.2%}" y="{HEIGHT + 18}" text-anchor="{anchor}">{text}</text>')
    return "".join(labels)


def _gap(seen: Outline, begin_s: float, span_s: float) -> str:
    """Name what is unknown, where there is room to."""
    begin, end = seen.corners[0][0], seen.corners[-1][2]
    gaps = ((0.0, (begin - begin_s) / span_s), ((end - begin_s) / span_s, 1.0))
    return "".join(
        f'<text class="gap" x="{(left + right) / 2:.2%}" y="{HEIGHT - 10}" text-anchor="middle">unknown</text>'
        for left, right in gaps
        if right - left > 0.2
    )
