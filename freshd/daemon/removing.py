"""Forgets documents and prunes sources when asked, and prunes those that left the config a week ago by itself."""

import sqlite3
import threading
from collections.abc import Sequence

from freshd import faults
from freshd.compose import Whole
from freshd.daemon.jobs import Progress, Work
from freshd.daemon.watched import Watched
from freshd.errors import FreshdError
from freshd.logs import Event, get_logger
from freshd.model import SourceName
from freshd.report.removed import forget_report, prune_report
from freshd.scheduler import Scheduler
from freshd.scheduler.remover import Named
from freshd.shapes import ForgetReport, PruneReport

_EVERY_S = 60.0
_STOP_S = 2.0
"""What is under way belongs to the thread that writes, which is waited for by others."""


class Removing:
    """What leaves the index on purpose, from `start` to `stop`."""

    def __init__(self, whole: Whole, scheduler: Scheduler) -> None:
        """Work on what runs."""
        self._scheduler = scheduler
        self._remover = whole.remover(scheduler.between_batches)
        self._log = get_logger()
        self._stopping = threading.Event()
        self._thread = Watched("removing", self._run)

    def start(self) -> None:
        """Begin to look for what is due."""
        self._thread.start()

    def stop(self) -> None:
        """End; a source that is half pruned goes on after the next start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def is_alive(self) -> bool:
        """Tell whether it still looks for what is due."""
        return self._thread.is_alive()

    def forget(self, names: Sequence[Named]) -> Work:
        """Forget documents, or all of some sources."""

        def work(progress: Progress) -> tuple[ForgetReport, int]:
            done = self._remover.forget(names, progress.hear)
            self._log.info(Event.DOCUMENTS_FORGOTTEN, documents=done.taken.documents, points=done.taken.points)
            return forget_report(done), 0

        return work

    def undo(self, names: Sequence[Named]) -> Work:
        """Let forgotten documents in again, and look for them."""

        def work(progress: Progress) -> tuple[ForgetReport, int]:
            del progress  # it takes no time
            readmitted = self._remover.undo(names)
            sources = {source for source, _ in names}
            self._scheduler.scan_now([name for name in self._scheduler.lanes if name in sources])
            return forget_report(readmitted=readmitted), 0

        return work

    def prune(self, source: SourceName) -> Work:
        """Take out what is left of a source that left the config."""

        def work(progress: Progress) -> tuple[PruneReport, int]:
            taken = self._remover.prune(source, progress.hear)
            self._log.info(Event.SOURCE_PRUNED, source=source, documents=taken.documents, points=taken.points)
            return prune_report(source, taken), 0

        return work

    def _run(self) -> None:
        self._scrub()  # what a former process left to be done does not wait
        while not self._stopping.wait(_EVERY_S):
            self._scrub()
            self._prune_due()

    def _scrub(self) -> None:
        faults.hit("mid_removing")
        try:
            if self._remover.scrub():
                self._log.info(Event.FORGOTTEN_EXPUNGED)
        except FreshdError as error:
            self._log.warning(Event.EXPUNGE_DELAYED, error=str(error))
        except sqlite3.Error as error:  # locked, or no room: there is a next time
            self._log.warning(Event.EXPUNGE_DELAYED, error=f"ledger: {error}")

    def _prune_due(self) -> None:
        try:
            for source, taken in self._remover.prune_due().items():
                self._log.info(Event.SOURCE_PRUNED, source=source, documents=taken.documents, points=taken.points)
        except FreshdError as error:
            self._log.debug(Event.PRUNE_DELAYED, error=str(error))
        except sqlite3.Error as error:
            self._log.debug(Event.PRUNE_DELAYED, error=f"ledger: {error}")
