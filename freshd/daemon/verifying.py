"""Verifies on schedule, in a thread of its own that leaves most of the store's time to others; at once when asked."""

import sqlite3
import threading
from datetime import timedelta

from freshd.compose import Whole
from freshd.daemon.jobs import Progress
from freshd.errors import FreshdError, StoreUnavailable
from freshd.logs import Event, get_logger
from freshd.report import LastVerify, recall_verify, remember_verify
from freshd.shapes import VerifyReport
from freshd.verify import Verified, next_verify_at

_STOP_S = 2.0
"""A page that the store does not give may take longer; nothing is written by whoever waits for it."""


class Verifying:
    """Holds the ledger against the store again and again, from `start` to `stop`."""

    def __init__(self, whole: Whole) -> None:
        """Verify what is open."""
        self._whole = whole
        self._clock = whole.clock
        self._log = get_logger()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="verify", daemon=True)

    def start(self) -> None:
        """Begin; the first run comes when the last one, maybe of another process, is old enough."""
        self._thread.start()

    def stop(self) -> None:
        """End, in the middle of a run if need be."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def job(self, progress: Progress) -> tuple[VerifyReport, int]:
        """Verify now, as fast as the store answers; the exit code is 1 where something differs."""

        def hear(done: int, total: int) -> None:
            progress.done, progress.total = done, total

        last = self._remember(self._whole.verify(hear, go_on=self._go_on))
        return last.report, 1 if last.divergent else 0

    def _run(self) -> None:
        wait = self._first_wait()
        while not self._stopping.wait(wait.total_seconds()):
            began_s, is_finished = self._clock.monotonic(), False
            try:
                self._remember(self._whole.verify(go_on=self._go_on, pause=self._stopping.wait))
                is_finished = True
            except FreshdError as error:
                self._log.warning(Event.VERIFY_FAILED, error=str(error))
            except sqlite3.Error as error:  # locked, no room, or closed while the store did not answer
                self._log.warning(Event.VERIFY_FAILED, error=f"ledger: {error}")
            now = self._clock.now()
            took = timedelta(seconds=self._clock.monotonic() - began_s)
            wait = next_verify_at(now, took, is_finished=is_finished) - now

    def _first_wait(self) -> timedelta:
        last, now = recall_verify(self._whole.database), self._clock.now()
        soon = next_verify_at(now, timedelta(0), is_finished=False) - now
        if last.checked_at is None or last.checked_at > now:
            return soon
        took = timedelta(seconds=last.report["elapsed_seconds"])
        return max(soon, next_verify_at(last.checked_at + took, took, is_finished=True) - now)

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise StoreUnavailable("freshd is stopping", hint="start it again, then ask again")

    def _remember(self, found: Verified) -> LastVerify:
        last = remember_verify(self._whole.database, found)
        if last.divergent:
            self._log.error(Event.VERIFY_DIVERGED, **last.report, hint="freshd verify")
        else:
            self._log.info(Event.VERIFY_PASSED, checked=found.checked, elapsed_s=last.report["elapsed_seconds"])
        return last
