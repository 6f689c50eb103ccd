"""The machine's clocks, behind the contract that tests can own."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Tells the time of this machine; implements `ports.Clock`."""

    def now(self) -> datetime:
        """Wall-clock instant, aware, UTC; jumps when somebody sets the clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()
