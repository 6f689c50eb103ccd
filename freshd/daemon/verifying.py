"""Verifies on schedule, in a thread of its own that leaves most of the store's time to others; at once when asked."""

import sqlite3
import threading
from collections.abc import Mapping
from datetime import timedelta

from freshd import faults
from freshd.compose import Whole
from freshd.compose.verifying import Manner
from freshd.daemon.jobs import Progress, Work
from freshd.daemon.watched import Watched
from freshd.errors import FreshdError, StoreUnavailable
from freshd.logs import Event, get_logger
from freshd.report import recall_verify, remember_verify
from freshd.shapes import VerifyReport
from freshd.verify import Kind, Surroundings, Verified, next_verify_at

_HINT = "freshd verify --repair"
_STOP_S = 2.0
"""A page that the store does not give may take longer; nothing is written by whoever waits for it."""


class Verifying:
    """Holds the ledger against the store again and again, from `start` to `stop`."""

    def __init__(self, whole: Whole, surroundings: Surroundings) -> None:
        """Verify what is open, and repair it by what surrounds it."""
        self._whole = whole
        self._surroundings = surroundings
        self._clock = whole.clock
        self._log = get_logger()
        self._stopping = threading.Event()
        self._thread = Watched("verify", self._run)

    def start(self) -> None:
        """Begin; the first run comes when the last one, maybe of another process, is old enough."""
        self._thread.start()

    def stop(self) -> None:
        """End, in the middle of a run if need be."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def is_alive(self) -> bool:
        """Tell whether it still verifies on schedule."""
        return self._thread.is_alive()

    def order(self, *, is_deep: bool, is_to_repair: bool, is_guarded: bool) -> Work:
        """Verify now, as fast as the store answers, and mend what differs if asked to.

        The exit code is 1 where something differs in the end, 3 where not everything could be looked at.
        """

        def work(progress: Progress) -> tuple[VerifyReport, int]:
            manner = Manner(is_deep=is_deep, go_on=self._go_on, on_progress=progress.hear)
            if is_to_repair:
                found = self._whole.repair(manner, self._surroundings, is_guarded=is_guarded)
            else:
                found = self._whole.verify(manner)
            return self._remember(found), 1 if sum(found.left.values()) else 0

        return work

    def _run(self) -> None:
        faults.hit("mid_verify")
        wait = self._first_wait()
        while not self._stopping.wait(wait.total_seconds()):
            began_s, is_finished = self._clock.monotonic(), False
            try:
                self._remember(self._whole.verify(Manner(go_on=self._go_on, pause=self._stopping.wait)))
                is_finished = True
            except FreshdError as error:
                self._log.warning(Event.VERIFY_FAILED, error=str(error))
            except sqlite3.Error as error:  # locked, no room, or closed while the store did not answer
                self._log.warning(Event.VERIFY_FAILED, error=f"ledger: {error}")
            now = self._clock.now()
            took = timedelta(seconds=self._clock.monotonic() - began_s)
            wait = next_verify_at(now, took, is_finished=is_finished) - now

    def _first_wait(self) -> timedelta:
        now = self._clock.now()
        soon = next_verify_at(now, timedelta(0), is_finished=False) - now
        try:
            last = recall_verify(self._whole.database)
        except sqlite3.Error:  # locked, or failing: the run will tell
            return soon
        if last.checked_at is None or last.checked_at > now:
            return soon
        took = timedelta(seconds=last.report["elapsed_seconds"])
        return max(soon, next_verify_at(last.checked_at + took, took, is_finished=True) - now)

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise StoreUnavailable("freshd is stopping", hint="start it again, then ask again")

    def _remember(self, found: Verified) -> VerifyReport:
        report = remember_verify(self._whole.database, found)
        if n_repaired := found.repaired:
            self._log.warning(Event.VERIFY_REPAIRED, repaired=n_repaired, **_counts(found.divergent))
        if sum(found.left.values()):
            self._log.error(Event.VERIFY_DIVERGED, checked=found.checked, **_counts(found.left), hint=_HINT)
        else:
            self._log.info(Event.VERIFY_PASSED, checked=found.checked, elapsed_s=report["elapsed_seconds"])
        return report


def _counts(divergent: Mapping[Kind, int]) -> dict[str, int]:
    return {kind.value: n for kind, n in divergent.items()}
