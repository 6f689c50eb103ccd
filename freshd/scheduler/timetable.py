"""When each source is scanned next: APScheduler's clockwork behind three verbs.

Each run says itself when the next one is due.
APScheduler waits for wall-clock instants: set back, the clock would make it wait that much longer,
so `follow_clock`, called every second or so, books everything anew when wall clock and monotonic clock disagree.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshd.model import SourceName
from freshd.ports import Clock
from freshd.pulse import Pulse

_BEAT_S, _PATIENCE_S = 10, 60.0
_MAX_THREADS = 16
"""Sources looked at in one moment; a source that hangs keeps one of them busy, never another source's turn."""

_MAX_DISAGREEMENT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class _Booking:
    run: Callable[[], None]
    at_s: float


class Timetable:
    """Runs things at instants, one run of a source at a time.

    Attributes:
        pulse: Of the clockwork's own thread, which runs nothing but its beat.

    """

    def __init__(self, clock: Clock) -> None:
        """Prepare an empty timetable; it runs from `start` on."""
        # Here, because it takes 0.1 s and who only tells the status needs no timetable.
        from apscheduler.executors.debug import DebugExecutor  # type: ignore[import-untyped]
        from apscheduler.executors.pool import ThreadPoolExecutor  # type: ignore[import-untyped]
        from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]

        self._clock = clock
        self._lock = threading.Lock()
        self._bookings: dict[SourceName, _Booking] = {}
        self._running: set[SourceName] = set()
        self._is_stopped = False
        self._offset = self._measured_offset()
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(_MAX_THREADS), "own": DebugExecutor()},
            # Runs of a source are kept apart here; a second instance only finds that out.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 2},
            timezone="UTC",
        )
        self.pulse = Pulse("clockwork", _PATIENCE_S, clock.monotonic)

    @property
    def is_running(self) -> bool:
        """Whether the clockwork turns."""
        thread = getattr(self._scheduler, "_thread", None)
        return bool(self._scheduler.running and thread is not None and thread.is_alive())

    def start(self) -> None:
        """Let it run."""
        self._scheduler.start()
        self._have_it_beat()

    def book(self, name: SourceName, at: datetime, run: Callable[[], None]) -> None:
        """Run something for a source at an instant, unless something is booked sooner; the past is at once."""
        with self._lock:
            at_s = self._clock.monotonic() + (at - self._clock.now()).total_seconds()
            booked = self._bookings.get(name)
            if booked is None or at_s < booked.at_s:
                self._bookings[name] = _Booking(run, at_s)
                self._add(name, at)

    def next_at(self, name: SourceName) -> datetime | None:
        """Give the instant a source's next run is booked for; None while it runs or nothing is booked."""
        booking = self._bookings.get(name)
        if booking is None:
            return None
        return self._clock.now() + timedelta(seconds=booking.at_s - self._clock.monotonic())

    def follow_clock(self) -> timedelta:
        """Book everything anew if somebody set the clock; give by how much, zero for nobody."""
        with self._lock:
            offset = self._measured_offset()
            jump = offset - self._offset
            if abs(jump) <= _MAX_DISAGREEMENT:
                if any(booking.at_s < self._clock.monotonic() for booking in self._bookings.values()):
                    self._scheduler.wakeup()  # it does not count the time that a machine sleeps
                return timedelta(0)
            self._offset = offset
            self._have_it_beat()
            for name, booking in self._bookings.items():
                in_s = max(0.0, booking.at_s - self._clock.monotonic())
                self._add(name, self._clock.now() + timedelta(seconds=in_s))
            return jump

    def stop(self) -> None:
        """Begin nothing any more, without waiting for what runs; idempotent."""
        with self._lock:
            self._is_stopped = True
        if self._scheduler.running:
            # First: its thread would trip over a job that falls due while it is told to end.
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown(wait=False)

    def _have_it_beat(self) -> None:
        """Book the next beat anew: where the clock was set back, the one that is booked is far away."""
        if not self._is_stopped:
            self._scheduler.add_job(
                self.pulse.beat, "interval", seconds=_BEAT_S, executor="own", id="pulse", replace_existing=True
            )

    def _add(self, name: SourceName, at: datetime) -> None:
        if self._is_stopped:
            return
        # Replaced by hand: a job that has just been taken out to run is not there to be replaced.
        with suppress(KeyError):  # which APScheduler's JobLookupError is
            self._scheduler.remove_job(name)
        self._scheduler.add_job(self._run, "date", run_date=at, args=(name,), id=name)

    def _run(self, name: SourceName) -> None:
        with self._lock:
            if name in self._running or name not in self._bookings:
                return  # what is booked meanwhile is taken up when the run ends
            booking = self._bookings.pop(name)
            self._running.add(name)
        try:
            booking.run()
        finally:
            with self._lock:
                self._running.discard(name)
                waiting = self._bookings.get(name)
                if waiting is not None and waiting.at_s <= self._clock.monotonic():
                    self._add(name, self._clock.now())

    def _measured_offset(self) -> timedelta:
        """How far the wall clock is ahead of the monotonic one; constant while nobody sets it."""
        return (
            self._clock.now()
            - datetime.fromtimestamp(0, tz=self._clock.now().tzinfo)
            - timedelta(seconds=self._clock.monotonic())
        )
