"""Runs the canary of every source that has one, each in a thread of its own, and remembers what the last round saw."""

import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from freshd import faults
from freshd.canary import Canary, Round, next_round_at
from freshd.compose import Whole
from freshd.config import SourceConfig
from freshd.daemon.watched import Watched
from freshd.errors import StoreUnavailable
from freshd.ledger.history import SqliteHistory
from freshd.logs import Event, get_logger
from freshd.model import DocumentId, SearchFilter, SourceName
from freshd.payload import rfc3339
from freshd.ports import Writable
from freshd.redaction import printable
from freshd.shapes import CanaryStatus

_MOST_TEXTS = 10
_FIRST_LOOK_S = 1.0
"""Between two looks whether the source was listed, before its first round."""

_STOP_S = 3.0
"""For all of them: a round that is told to end deletes its document first."""


class Canaries:
    """Every source's canary, from `start` to `stop`."""

    def __init__(self, whole: Whole) -> None:
        """Prepare; nothing is written yet."""
        self._whole = whole
        self._clock = whole.clock
        self._log = get_logger()
        self._stopping = threading.Event()
        self._seen: dict[str, CanaryStatus] = {}
        self._threads = []
        for source, target in zip(whole.config.sources, whole.targets, strict=True):
            if source.canary_path is not None and isinstance(target.connector, Writable):
                self._seen[source.name] = _unseen(DocumentId(source.canary_path))
                work = partial(self._run, source, target.connector, DocumentId(source.canary_path))
                self._threads.append(Watched(f"canary-{source.name}", work))

    @property
    def seen(self) -> Mapping[str, CanaryStatus]:
        """What the last round of each canary saw, by source."""
        return dict(self._seen)

    def start(self) -> None:
        """Begin; a source's first round comes once it was listed."""
        for thread in self._threads:
            thread.start()

    def are_alive(self) -> bool:
        """Tell whether each of them still goes its rounds."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """End; a round under way takes its document away first."""
        self._stopping.set()
        ends_s = time.monotonic() + _STOP_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, ends_s - time.monotonic()))

    def _run(self, source: SourceConfig, connector: Writable, document_id: DocumentId) -> None:
        name = SourceName(source.name)
        while not self._was_listed(name):
            if self._stopping.wait(_FIRST_LOOK_S):
                return
        canary = Canary(
            document_id=document_id,
            source=connector,
            texts=lambda query: self._texts(name, document_id, query),
            target=source.freshness_target,
            clock=self._clock,
            wait=self._wait,
        )
        while not self._stopping.is_set():
            faults.hit("mid_canary")
            seen = canary.run()
            if self._stopping.is_set():
                return
            self._remember(name, seen)
            if seen.found_s is not None:  # what it never wrote may be somebody else's
                with suppress(sqlite3.Error):  # locked, or failing, which others tell; the next round is told again
                    SqliteHistory(self._whole.database).note_canary(name, document_id)
            now = self._clock.now()
            self._stopping.wait((next_round_at(now, source.freshness_target) - now).total_seconds())

    def _was_listed(self, name: SourceName) -> bool:
        try:
            return self._whole.sources.state(name).last_complete_scan_at is not None
        except sqlite3.Error:  # locked, or failing, which others tell
            return False

    def _texts(self, name: SourceName, document_id: DocumentId, query: str) -> Sequence[str]:
        try:
            answer = self._whole.search.search(query, _MOST_TEXTS, SearchFilter((name,), document_id))
        except sqlite3.Error as error:
            raise StoreUnavailable(f"ledger: {error}") from error
        return [hit.citation.text for hit in answer.hits]

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoreUnavailable("freshd is stopping")

    def _remember(self, name: SourceName, seen: Round) -> None:
        before = self._seen[name]
        at = rfc3339(seen.checked_at)
        self._seen[name] = {
            "document_id": seen.document_id,
            "checked_at": at,
            "succeeded_at": before["succeeded_at"] if seen.error else at,
            "found_seconds": _rounded(seen.found_s),
            "edited_seconds": _rounded(seen.edited_s),
            "gone_seconds": _rounded(seen.gone_s),
            "error": printable(seen.error) if seen.error else None,
        }
        if seen.error and seen.error != before["error"]:
            self._log.warning(Event.CANARY_FAILED, source=name, document_id=seen.document_id, error=seen.error)
        elif before["error"] and not seen.error:
            self._log.info(Event.CANARY_RECOVERED, source=name)


def _unseen(document_id: DocumentId) -> CanaryStatus:
    return {
        "document_id": document_id,
        "checked_at": None,
        "succeeded_at": None,
        "found_seconds": None,
        "edited_seconds": None,
        "gone_seconds": None,
        "error": None,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
