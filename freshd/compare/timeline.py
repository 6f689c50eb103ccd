"""How much is out of date at each moment, for the same changes under different ways to follow them. Pure.

    changes (a real stream, or spread evenly) × approach (looks every …, takes …) ─▶ waits ─▶ steps ─▶ mean, highest

A change waits for the next beginning of an update, and then until that update is through.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from freshd.errors import ConfigError
from freshd.shapes import ChangeEntry

DAY_S = 86_400.0
SPAN_S = 60 * DAY_S
"""Over which changes are spread that came without instants: two months."""

SCAN_S = 30.0
"""How long freshd takes to notice a change at most, with a freshness target of a minute; hints are faster."""

RETRAINING: dict[str, float] = {
    "retraining every day": DAY_S,
    "retraining every week": 7 * DAY_S,
    "retraining every month": 30 * DAY_S,
}
"""Seconds between the beginnings of two trainings."""

_GOLDEN = (math.sqrt(5) - 1) / 2

GIT_LOG = ("log", "--no-merges", "--no-renames", "--name-only", "--format=%x00%ct %P")
"""What to ask git for; add `-- FOLDER`."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a stream: seconds on any one clock, and what it puts out of date until it is followed."""

    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class Approach:
    """A way to follow changes.

    Attributes:
        every_s: Between the beginnings of two updates; 0 begins one at each change.
        takes_s: From the beginning of an update until answers show it.

    """

    name: str
    every_s: float
    takes_s: float


@dataclass(frozen=True, slots=True)
class Course:
    """What an approach makes of a stream.

    Attributes:
        steps: Instants in seconds since the begin, rising, and the share out of date from there on; the first at 0.
        mean_share: Over the whole span.
        highest_share: At any instant.
        mean_wait_s: Of a change, until answers show it.

    """

    approach: Approach
    steps: tuple[tuple[float, float], ...]
    mean_share: float
    highest_share: float
    mean_wait_s: float


@dataclass(frozen=True, slots=True)
class Stream:
    """Changes over a span.

    Attributes:
        edits: In the order of time, all within the span.
        begin_s: Where trainings are counted from.
        span_s: More than 0.
        n_things: What a share is of: all facts or documents there are, as far as known.
        origin: Where the changes are from, for the report.

    """

    edits: tuple[Edit, ...]
    begin_s: float
    span_s: float
    n_things: int
    origin: str


def spread(names: Sequence[str], n_things: int, span_s: float = SPAN_S) -> Stream:
    """Spread changes evenly over a span, and out of step with any interval.

    Equal steps of hours or days would have every change fall just before an update, or just after one.
    """
    edits = [Edit((n * _GOLDEN) % 1 * span_s, name) for n, name in enumerate(names, 1)]
    ordered = tuple(sorted(edits, key=lambda edit: edit.at_s))
    return Stream(ordered, 0.0, span_s, max(n_things, len(set(names))), "the changes of this comparison, spread evenly")


def from_git(log: str, n_things: int = 0) -> Stream:
    """Read changes from git's history of a folder; a commit without parents, which brings in what is there, is none.

    Args:
        log: What git says when asked with `GIT_LOG`.
        n_things: Documents there are; where fewer than those that changed, these are counted.

    Raises:
        ConfigError: It is something else, or holds no change.

    """
    edits = []
    for commit in log.split("\0")[1:]:
        told, _, names = commit.partition("\n")
        instant, _, parents = told.partition(" ")
        if not instant.strip().isdecimal():
            break
        edits += [Edit(float(instant), name) for name in names.splitlines() if name and parents.strip()]
    else:
        if "\0" in log.rstrip("\0") or not log.strip():
            return _stream(edits, n_things, "git history")
    raise ConfigError("changes: got no history that can be read, expected git's", hint=f"git {' '.join(GIT_LOG)}")


def from_history(changes: Sequence[ChangeEntry], n_things: int = 0) -> Stream:
    """Read changes from freshd's own history; a first index is none.

    Args:
        changes: In any order.
        n_things: Documents there are; where fewer than those that changed, these are counted.

    Raises:
        ConfigError: There are none.

    """
    edits = [
        Edit(datetime.fromisoformat(change["changed_at"]).timestamp(), f"{change['source']}/{change['document_id']}")
        for change in changes
        if change["lag_seconds"] is not None
    ]
    return _stream(edits, n_things, "freshd's own history")


def _stream(edits: Sequence[Edit], n_things: int, origin: str) -> Stream:
    """Begin at the midnight (UTC) before the first change, and end at the one after the last."""
    if not edits:
        raise ConfigError(f"changes: got none from {origin}, expected at least one", hint="leave --changes out")
    ordered = sorted(edits, key=lambda edit: edit.at_s)
    begin_s = ordered[0].at_s // DAY_S * DAY_S
    span_s = (ordered[-1].at_s // DAY_S + 1) * DAY_S - begin_s
    return Stream(tuple(ordered), begin_s, span_s, max(n_things, len({edit.what for edit in edits})), origin)


def approaches(update_s: float, retraining_s: float | None, cycle_s: float = SCAN_S) -> list[Approach]:
    """Give freshd as it was measured, at its slowest, and retraining at each interval as it was measured.

    Args:
        update_s: Wall seconds of freshd's update.
        retraining_s: Wall seconds of a training; None where none was measured.
        cycle_s: How long freshd takes to notice a change at most; every change is taken to wait so long.

    """
    own = [Approach("freshd", 0.0, cycle_s + update_s)]
    if retraining_s is not None:
        own += [Approach(name, every_s, retraining_s) for name, every_s in RETRAINING.items()]
    return own


def followed_s(at_s: float, approach: Approach) -> float:
    """Give the instant from which answers show a change.

    A training that takes longer than its interval lets beginnings pass: there is one machine.

    Args:
        at_s: Of the change, since the begin of the stream.
        approach: How it is followed.

    """
    every_s = approach.every_s
    if every_s <= 0:
        return at_s + approach.takes_s
    every_s *= max(1, math.ceil(approach.takes_s / every_s))
    return max(at_s, math.ceil(at_s / every_s) * every_s) + approach.takes_s


def course(stream: Stream, approach: Approach) -> Course:
    """Work out the share that is out of date at each moment of a stream.

    What changed twice before it was followed is out of date once.
    """
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    waits_s = []
    for edit in stream.edits:
        at_s = edit.at_s - stream.begin_s
        until_s = followed_s(at_s, approach)
        waits_s.append(until_s - at_s)
        own = spans[edit.what]
        if own and at_s <= own[-1][1]:
            own[-1] = (own[-1][0], max(own[-1][1], until_s))
        else:
            own.append((at_s, until_s))
    steps = _steps([span for own in spans.values() for span in own], stream)
    ends = [*(at_s for at_s, _ in steps[1:]), stream.span_s]
    area = sum((end - at_s) * share for (at_s, share), end in zip(steps, ends, strict=True))
    return Course(
        approach,
        tuple(steps),
        mean_share=area / stream.span_s,
        highest_share=max(share for _, share in steps),
        mean_wait_s=math.fsum(waits_s) / len(waits_s) if waits_s else 0.0,
    )


def _steps(spans: Sequence[tuple[float, float]], stream: Stream) -> list[tuple[float, float]]:
    turns: dict[float, int] = defaultdict(int, {0.0: 0})
    for begin_s, end_s in spans:
        turns[begin_s] += 1
        turns[end_s] -= 1
    instants = [at_s for at_s in sorted(turns) if at_s < stream.span_s]
    counts = accumulate(turns[at_s] for at_s in instants)
    return [(at_s, count / stream.n_things) for at_s, count in zip(instants, counts, strict=True)]


def thinned(steps: Sequence[tuple[float, float]], span_s: float, columns: int) -> list[tuple[float, float]]:
    """Reduce steps to what can be told apart in a drawing: the highest and the last of each column.

    Args:
        steps: As a course has them.
        span_s: What the columns divide.
        columns: Into how many.

    """
    width_s = span_s / columns
    cells: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for at_s, share in steps:
        cells[int(at_s // width_s)].append((at_s, share))
    kept = []
    for own in cells.values():
        top = max(own, key=lambda step: step[1])
        kept += [top, own[-1]] if top != own[-1] else [top]
    return kept
