"""How often a source is looked at. Pure.

Half the freshness target, so that a change missed by every watcher is still searchable in time;
slower where a scan costs too much or the source wishes it; and slower still while the source fails.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_SCAN_SHARE = 0.1
"""Of the time a source may be scanned; a tree whose scan takes 10 s is scanned every 100 s at most."""

MAX_SPREAD = 0.25
"""Of a back-off, added to it: sources that failed together are not all tried again together."""

SHORTEST = timedelta(milliseconds=500)
LONGEST_BACKOFF = timedelta(minutes=5)
"""Between two tries of a source that fails, unless its own interval is longer: a disk that returns is soon seen."""

LONGEST_WISH = timedelta(hours=24)
"""A source that asks to be left alone for longer is asked again after so long."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What bounds the interval between two scans of one source.

    Attributes:
        freshness: The source's target.
        poll_interval: As the operator wants it; None leaves it to the target.
        least: The source is never asked more often.
        spread: Share of a back-off that is added to it.

    """

    freshness: timedelta
    poll_interval: timedelta | None = None
    least: timedelta = SHORTEST
    spread: float = 0.0

    def interval(self, scan_s: float | None) -> timedelta:
        """Give the time from the start of one scan to the start of the next.

        Args:
            scan_s: How long the newest complete scan took; None before the first.

        """
        affordable = timedelta(seconds=(scan_s or 0) / MAX_SCAN_SHARE)
        return max(self.poll_interval or self.freshness / 2, affordable, self.least, SHORTEST)

    def next_after(
        self, began_at: datetime, scan_s: float | None, *, failures: int = 0, not_before: datetime | None = None
    ) -> datetime:
        """Give the instant of the next scan.

        Args:
            began_at: Start of the scan that has ended.
            scan_s: How long the newest complete one took.
            failures: Scans that failed in a row.
            not_before: The source's own wish.

        """
        usual = self.interval(scan_s)
        backoff = min(usual * (1 << min(failures, 16)), max(usual, LONGEST_BACKOFF))
        if failures:
            backoff += backoff * self.spread
        wish = began_at if not_before is None else min(not_before, began_at + LONGEST_WISH)
        return max(began_at + backoff, wish)

    def shortfall(self, scan_s: float | None) -> str | None:
        """Say why the target cannot be kept by scans alone, in one line; None if it can."""
        interval = self.interval(scan_s)
        if interval <= self.freshness:
            return None
        return (
            f"scanned every {interval.total_seconds():g} s,"
            f" more than the freshness target of {self.freshness.total_seconds():g} s"
        )


def spread_of(name: str) -> float:
    """Give a source's own share, from 0 to `MAX_SPREAD`: as good as drawn by lot, and always the same."""
    return MAX_SPREAD * int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
