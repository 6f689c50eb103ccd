"""Clocks that a test owns."""

from datetime import UTC, datetime, timedelta


class HandClock:
    """Stands still until it is moved; implements `ports.Clock`."""

    def __init__(self, at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._at = at
        self._elapsed = timedelta(0)

    def now(self) -> datetime:
        """The instant it was set to."""
        return self._at

    def monotonic(self) -> float:
        """Seconds moved forwards so far."""
        return self._elapsed.total_seconds()

    def advance(self, by: timedelta) -> None:
        """Move forwards."""
        self._at += by
        self._elapsed += by


class ShiftedClock:
    """The machine's clock and what was added to it: file systems stamp by the machine's own."""

    def __init__(self) -> None:
        self._shift = timedelta(0)

    def now(self) -> datetime:
        """The machine's instant, shifted."""
        return datetime.now(UTC) + self._shift

    def monotonic(self) -> float:
        """Seconds of the wall clock; nobody sets it back while tests run."""
        return self.now().timestamp()

    def advance(self, by: timedelta) -> None:
        """Shift further into the future."""
        self._shift += by
