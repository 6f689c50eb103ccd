"""When to verify again, where nobody asks for it. Pure."""

from datetime import datetime, timedelta

LEAST_INTERVAL = timedelta(hours=1)
"""Between two runs on schedule, at least."""

TIME_SHARE = 0.05
"""Most of all time that runs on schedule last: one that took an hour comes again after twenty."""

RETRY_INTERVAL = timedelta(minutes=10)
"""After a run that could not be finished."""


def next_verify_at(ended_at: datetime, took: timedelta, *, is_finished: bool) -> datetime:
    """Tell when to verify again on schedule.

    Args:
        ended_at: When the last run ended; before the first, when freshd started.
        took: How long it took, pauses included.
        is_finished: False where it broke off, and before the first; then soon.

    """
    return ended_at + (max(LEAST_INTERVAL, took * (1 / TIME_SHARE - 1)) if is_finished else RETRY_INTERVAL)
