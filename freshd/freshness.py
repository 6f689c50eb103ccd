"""The arithmetic of freshness: instants in, watermark, lag, budget and status out. Pure.

Nothing here reads a clock: `now` is always handed in, so that every page, metric and exit code
that shows a number computes it from the same instants by the same rule.

Instants follow the wall clock, which somebody may set back. Then an instant can lie ahead of `now`:
it was taken by a clock that is no longer believed, and proves nothing.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

CLOCK_TOLERANCE = timedelta(seconds=2)
"""Instants ahead of now by no more than this are now: clocks are nudged all the time."""

_LEAST_GAPS = 5
"""Arrivals tell a habit only when there were some."""

_OVERDUE_FACTOR = 3
_USUAL_SHARE = 0.9


class Status(StrEnum):
    """How a source does against its objective, worst last but for `unknown`, which is neither good nor bad."""

    PASS = "pass"  # noqa: S105 — the word of the health check format, not a password
    WARN = "warn"
    ERROR = "error"
    UNKNOWN = "unknown"


def is_ahead(instant: datetime, now: datetime) -> bool:
    """Tell whether an instant is from a clock that was set back since."""
    return instant > now + CLOCK_TOLERANCE


def watermark(
    listed_through: datetime | None, oldest_unapplied_at: datetime | None, previous: datetime | None, now: datetime
) -> datetime | None:
    """Give the instant up to which the index provably holds every change of a source.

    It never goes back, but where the clock did: what lies ahead of now counts for nothing.

    Args:
        listed_through: Start of the newest complete listing whose marker came out; None before the first.
        oldest_unapplied_at: Oldest change instant among pending and held changes; None without one.
        previous: The watermark last shown.
        now: By the clock the others were taken by, unless it was set back meanwhile.

    Returns:
        None while nothing is proved.

    """
    if previous is not None and is_ahead(previous, now):
        previous = None
    if listed_through is None or is_ahead(listed_through, now):
        return previous
    bound = listed_through if oldest_unapplied_at is None else min(listed_through, oldest_unapplied_at)
    return bound if previous is None else max(previous, bound)


def staleness(now: datetime, mark: datetime | None, unproved_for: timedelta = timedelta(0)) -> timedelta | None:
    """Give now − watermark; None while the watermark is unknown.

    Args:
        now: Of the asking.
        mark: The watermark.
        unproved_for: Since the start of the newest listing that came out, by a clock that nobody can set:
            staleness is never less, so that a clock set back makes nothing fresh.

    """
    return None if mark is None else max(now - mark, unproved_for, timedelta(0))


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give the smallest value that at least `share` of the values do not exceed (nearest rank); None for none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Tried:
    """Changes of a window, and how they did against the target.

    Attributes:
        within: Finished ones that met it.
        total: Finished ones, and pending ones already past it.

    """

    within: int = 0
    total: int = 0

    def with_late(self, late: int) -> "Tried":
        """Count changes that are pending past their target: each is missed already, whenever it ends."""
        return Tried(self.within, self.total + late)


def budget_remaining(tried: Tried, objective: float) -> float | None:
    """Give the share of the error budget that is left: 1 untouched, 0 spent, negative overspent.

    Args:
        tried: Of the objective's window.
        objective: Share that should meet the target, in (0, 1).

    Returns:
        None when there were no changes to judge by.

    """
    burnt = burn_rate(tried, objective)
    return None if burnt is None else 1 - burnt


def burn_rate(tried: Tried, objective: float) -> float | None:
    """Give the share that missed over the share that may: at 1 the budget lasts exactly its window.

    The term is that of the Site Reliability Workbook (Google, 2018), chapter 5.

    Returns:
        None when there were no changes to judge by.

    """
    if tried.total == 0:
        return None
    return (tried.total - tried.within) / tried.total / (1 - objective)


def overdue_since(arrivals: Sequence[datetime]) -> datetime | None:
    """Give the instant from which a source's silence is longer than its habit.

    The habit is the gap that nine in ten gaps between arrivals do not exceed; silence is unusual beyond three of it.

    Args:
        arrivals: When its newest changes came to be, in any order.

    Returns:
        None while too little came to know a habit. The instant may lie in the future: then it is not overdue yet.

    """
    ordered = sorted(set(arrivals))
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(ordered)]
    usual_s = percentile(gaps, _USUAL_SHARE)
    if usual_s is None or len(gaps) < _LEAST_GAPS:
        return None
    return ordered[-1] + timedelta(seconds=_OVERDUE_FACTOR * usual_s)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a source's status is judged by.

    Attributes:
        staleness: None while unknown.
        budget_remaining: None when nothing was there to judge.
        down_for: How long the source or the store has not answered; None while both do.
        divergent: Points in which store and ledger were found to differ.
        troubles: What makes a warning, a line each: held deletions, quarantined documents, a degraded watch, silence.

    """

    staleness: timedelta | None
    target: timedelta
    budget_remaining: float | None = None
    down_for: timedelta | None = None
    divergent: int = 0
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A source's status, and in a line each why it is not `pass`, worst first."""

    status: Status
    reasons: tuple[str, ...] = ()


def judge(vitals: Vitals) -> Judgement:
    """Judge a source: `error`, `warn` and `pass` as DESIGN's freshness rules say, `unknown` without a watermark.

    What was found to diverge is an error: the watermark claims what the index does not hold.
    """
    errors, warnings = _errors(vitals), [*_staleness_warning(vitals), *vitals.troubles]
    reasons = (*errors, *warnings)
    if vitals.staleness is None:
        return Judgement(Status.UNKNOWN, ("no complete listing has come through the index yet", *reasons))
    return Judgement(Status.ERROR if errors else Status.WARN if warnings else Status.PASS, reasons)


def _errors(vitals: Vitals) -> list[str]:
    lines = []
    if vitals.down_for is not None and vitals.down_for > vitals.target:
        lines.append("source or store down for longer than the freshness target")
    if vitals.divergent:
        lines.append(f"{vitals.divergent:,} points differ between store and ledger")
    if vitals.staleness is not None and vitals.staleness > 2 * vitals.target:
        lines.append("staler than twice the freshness target")
    if vitals.budget_remaining is not None and vitals.budget_remaining <= 0:
        lines.append("the error budget of the objective is spent")
    return lines


def _staleness_warning(vitals: Vitals) -> list[str]:
    is_stale = vitals.staleness is not None and vitals.target < vitals.staleness <= 2 * vitals.target
    return ["staler than the freshness target"] if is_stale else []


def overall(statuses: Sequence[Status]) -> Status:
    """Give the worst of several: error, unknown, warn, pass; no sources at all is unknown."""
    for worst in (Status.ERROR, Status.UNKNOWN, Status.WARN):
        if worst in statuses:
            return worst
    return Status.PASS if statuses else Status.UNKNOWN
