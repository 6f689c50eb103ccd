"""A small document that freshd writes, edits and deletes in a source, to time how long search takes to follow.

    write ─▶ found?        edit ─▶ new text found, old text gone?        delete ─▶ gone?

It goes the way of every other change and is asked for as everybody asks; nothing on the way knows of it,
but that search shows it only to who asks for exactly this document.
"""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshd.errors import FreshdError
from freshd.model import DocumentId
from freshd.ports import Clock, Writable
from freshd.wording import unforeseen

PATIENCE = 10
"""A round is given up after so many times the source's freshness target."""

LEAST_INTERVAL = timedelta(minutes=5)
"""Between two rounds; longer where the target is.

A round embeds two texts, writes three rows of history and leaves two dead points in the index:
every five minutes that is below one in a thousand of what a busy source does, and often enough for an alert.
"""

_FIRST_LOOK_S = 0.05
_LONGEST_LOOK_S = 1.0
_LOOK_SHARE = 0.1
"""The next look comes when this share of the time so far has passed again: what is measured is late by no more."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round saw; seconds count from before the change to the look that showed it, None if none did.

    Attributes:
        checked_at: When it began, by freshd's clock.
        found_s: From written to found.
        edited_s: From edited to found as it is now, and not as it was.
        gone_s: From deleted to not found.
        error: What was in the way, in one line; None if all went well.

    """

    document_id: DocumentId
    checked_at: datetime
    found_s: float | None = None
    edited_s: float | None = None
    gone_s: float | None = None
    error: str | None = None


class _Late(Exception):
    """The round has no time left; the message says for what."""


class Canary:
    """The canary of one source. Used from one thread."""

    def __init__(
        self,
        *,
        document_id: DocumentId,
        source: Writable,
        texts: Callable[[str], Collection[str]],
        target: timedelta,
        clock: Clock,
        wait: Callable[[float], object],
        token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            document_id: Of a document that nobody else uses.
            source: Where it is written.
            texts: Gives the texts that search shows for a query, asked for this document only.
            target: Within which a change should be searchable.
            clock: Measures.
            wait: Waits some seconds between two looks; what it raises ends the round.
            token: Gives a word that stands nowhere else.

        """
        self._document_id = document_id
        self._source = source
        self._texts = texts
        self._target = target
        self._clock = clock
        self._wait = wait
        self._token = token
        self._ends_s = 0.0

    def run(self) -> Round:
        """Write, edit and delete the document once, and look each time until search follows.

        Never leaves the document behind when it returns or raises, unless the source lets nobody delete it;
        one that is there already, because an earlier run was killed, is taken over.
        """
        checked_at = self._clock.now()
        self._ends_s = self._clock.monotonic() + PATIENCE * self._target.total_seconds()
        times: dict[str, float] = {}
        error: str | None = None
        try:
            self._steps(times)
        except Exception as failure:  # noqa: BLE001 - anybody may write a connector, and a canary must outlive it
            error = _told(failure)
        finally:
            try:
                self._source.delete(self._document_id)
            except Exception as failure:  # noqa: BLE001 - as above
                told = _told(failure)
                error = told if error in (None, told) else f"{error}; {told}"
        return Round(self._document_id, checked_at, **times, error=error)

    def _steps(self, times: dict[str, float]) -> None:
        first, second = self._token(), self._token()
        times["found_s"] = self._timed(lambda: self._write(first), "written", shows=first)
        times["edited_s"] = self._timed(lambda: self._write(second), "edited", shows=second, hides=first)
        times["gone_s"] = self._timed(lambda: self._source.delete(self._document_id), "deleted", hides=second)

    def _write(self, token: str) -> None:
        self._source.write(self._document_id, f"\nIf search finds the word {token}, it knows this document as it is.\n")

    def _timed(self, change: Callable[[], None], done: str, *, shows: str = "", hides: str = "") -> float:
        """Make a change and give the seconds until search shows one word and not the other."""
        began_s = self._clock.monotonic()
        change()
        trouble = ""
        while True:
            try:
                if (not shows or self._is_shown(shows)) and not (hides and self._is_shown(hides)):
                    return self._clock.monotonic() - began_s
                trouble = ""
            except FreshdError as error:  # a search that fails finds nothing; the next one may
                trouble = f": {error}"
            now_s = self._clock.monotonic()
            if now_s >= self._ends_s:
                raise _Late(f"{done}, but search did not follow within {now_s - began_s:.0f} s{trouble}")
            pause_s = min(max(_FIRST_LOOK_S, (now_s - began_s) * _LOOK_SHARE), _LONGEST_LOOK_S)
            self._wait(min(pause_s, self._ends_s - now_s))

    def _is_shown(self, token: str) -> bool:
        return any(token in text for text in self._texts(token))


def _told(failure: Exception) -> str:
    if isinstance(failure, FreshdError | _Late):
        return str(failure)
    return f"got {unforeseen(failure)}, expected no error of a connector"


def next_round_at(ended_at: datetime, target: timedelta) -> datetime:
    """Tell when the next round begins: `LEAST_INTERVAL` or the target after the last one ended, whichever is longer."""
    return ended_at + max(LEAST_INTERVAL, target)
