"""The machine's clocks, behind the contract that tests can own."""

import time
from datetime import UTC, datetime

_SLEEPLESS = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Of Linux; elsewhere a machine that slept looks like one whose clock was set."""


class SystemClock:
    """Tells the time of this machine; implements `ports.Clock`."""

    def now(self) -> datetime:
        """Wall-clock instant, aware, UTC; jumps when somebody sets the clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment, those among them that the machine slept through; never goes back."""
        return time.clock_gettime(_SLEEPLESS)
