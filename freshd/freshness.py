"""The arithmetic of freshness: instants in, watermark, lag, budget and status out. Pure.

Nothing here reads a clock: `now` is always handed in, so that every page, metric and exit code
that shows a number computes it from the same instants by the same rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    """How a source does against its objective, worst last but for `unknown`, which is neither good nor bad."""

    PASS = "pass"  # noqa: S105 — the word of the health check format, not a password
    WARN = "warn"
    ERROR = "error"
    UNKNOWN = "unknown"


def watermark(
    listed_through: datetime | None, oldest_unapplied_at: datetime | None, previous: datetime | None
) -> datetime | None:
    """Give the instant up to which the index provably holds every change of a source.

    Args:
        listed_through: Start of the newest complete listing whose marker came out; None before the first.
        oldest_unapplied_at: Oldest change instant among pending and held changes; None without one.
        previous: The watermark last shown; it never goes back.

    """
    if listed_through is None:
        return previous
    bound = listed_through if oldest_unapplied_at is None else min(listed_through, oldest_unapplied_at)
    return bound if previous is None else max(previous, bound)


def staleness(now: datetime, mark: datetime | None) -> timedelta | None:
    """Give now − watermark, never negative; None while the watermark is unknown."""
    return None if mark is None else max(now - mark, timedelta(0))


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give the smallest value that at least `share` of the values do not exceed (nearest rank); None for none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def budget_remaining(within: int, total: int, objective: float) -> float | None:
    """Give the share of the error budget that is left: 1 untouched, 0 spent, negative overspent.

    Args:
        within: Finished changes that met the target.
        total: Finished changes, and pending ones already past it.
        objective: Share that should meet it, in (0, 1).

    Returns:
        None when there were no changes to judge by.

    """
    if total == 0:
        return None
    return 1 - ((total - within) / total) / (1 - objective)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a source's status is judged by.

    Attributes:
        staleness: None while unknown.
        budget_remaining: None when nothing was there to judge.
        down_for: How long the source or the store has not answered; None while both do.
        troubles: Documents held or quarantined, degraded watchers, overdue sources: each makes a warning.

    """

    staleness: timedelta | None
    target: timedelta
    budget_remaining: float | None = None
    down_for: timedelta | None = None
    troubles: int = 0


def status(vitals: Vitals) -> Status:
    """Judge a source: `error`, `warn` and `pass` as DESIGN's freshness rules say, `unknown` without a watermark."""
    if vitals.staleness is None:
        return Status.UNKNOWN
    is_down = vitals.down_for is not None and vitals.down_for > vitals.target
    is_spent = vitals.budget_remaining is not None and vitals.budget_remaining <= 0
    if is_down or is_spent or vitals.staleness > 2 * vitals.target:
        return Status.ERROR
    if vitals.staleness > vitals.target or vitals.troubles:
        return Status.WARN
    return Status.PASS


def overall(statuses: Sequence[Status]) -> Status:
    """Give the worst of several: error, unknown, warn, pass; no sources at all is unknown."""
    for worst in (Status.ERROR, Status.UNKNOWN, Status.WARN):
        if worst in statuses:
            return worst
    return Status.PASS if statuses else Status.UNKNOWN
