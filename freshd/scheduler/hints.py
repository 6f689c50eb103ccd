"""Hints of one source until it is time to look: settled ones almost at once, others when the writer pauses.

    settled (closed after a write, renamed, deleted)   looked at after COALESCE, so that one save is one look
    unsettled (being written)                          after QUIET without another, at most LONGEST after the first
    absent at a first look                             again after GRACE, together: a burst is judged as one

Pure but for the lock: instants are handed in.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from freshd.model import Hint

COALESCE_S = 0.005
QUIET_S = 1.0
LONGEST_S = 60.0
GRACE_S = 0.3
LONGEST_GRACE_S = 2.0
MAX_PLACES = 1_000
"""With more places waiting, one look at everything costs less than one at each."""


@dataclass(frozen=True, slots=True)
class Due:
    """Where to look now.

    Attributes:
        places: Document ids or folders, with the instant a hint first named each; none below another.
        absent: Documents to look at a second time, likewise.
        everywhere: A look at everything is wanted instead.

    """

    places: dict[str, datetime] = field(default_factory=dict)
    absent: dict[str, datetime] = field(default_factory=dict)
    everywhere: bool = False

    def __bool__(self) -> bool:
        """Tell whether there is anything to look at."""
        return bool(self.places or self.absent or self.everywhere)


@dataclass(slots=True)
class _Place:
    seen_at: datetime
    first_s: float
    due_s: float
    is_settled: bool


class Hints:
    """Collects hints and says when each is due; instants in monotonic seconds. Safe to call from several threads."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._absent: dict[str, datetime] = {}
        self._absent_first_s = 0.0
        self._absent_due_s = 0.0
        self._everywhere = False
        self._spent_until_s: dict[str, float] = {}

    def add(self, hint: Hint, now_s: float) -> None:
        """Note a hint."""
        with self._lock:
            if hint.scope is None or self._everywhere:
                self._everywhere = True
                return
            place = self._places.get(hint.scope)
            if place is None:
                if len(self._places) >= MAX_PLACES:
                    self._everywhere = True
                    self._places.clear()
                    return
                place = self._places[hint.scope] = _Place(hint.seen_at, now_s, now_s, is_settled=False)
            if hint.is_settled and not place.is_settled:
                place.is_settled, place.due_s = True, now_s + COALESCE_S
            elif not place.is_settled:
                place.due_s = min(now_s + QUIET_S, place.first_s + LONGEST_S)

    def add_absent(self, documents: Iterable[tuple[str, datetime]], now_s: float) -> None:
        """Note documents that were not there at a first look; a look that missed none postpones no second one."""
        absent = dict(documents)
        if not absent:
            return
        with self._lock:
            if not self._absent:
                self._absent_first_s = now_s
            self._absent.update(absent)
            self._absent_due_s = min(now_s + GRACE_S, self._absent_first_s + LONGEST_GRACE_S)

    def being_written(self, now_s: float) -> list[str]:
        """Name the documents whose writer has not paused yet.

        One that was looked at because its writer never pauses is left out for a moment, in which it is applied.
        """
        with self._lock:
            return [
                name
                for name, place in self._places.items()
                if not place.is_settled and place.due_s > now_s and now_s >= self._spent_until_s.get(name, now_s)
            ]

    def next_due_s(self) -> float | None:
        """Give the instant of the next look; None while there is nothing to look at."""
        with self._lock:
            if self._everywhere:
                return 0.0
            dues = [place.due_s for place in self._places.values()]
            dues += [self._absent_due_s] if self._absent else []
            return min(dues, default=None)

    def take(self, now_s: float) -> Due:
        """Give what is due and forget it here."""
        with self._lock:
            if self._everywhere:
                self._everywhere = False
                self._places.clear()
                return Due(everywhere=True)
            names = [name for name, place in self._places.items() if place.due_s <= now_s]
            self._spend([name for name in names if not self._places[name].is_settled], now_s)
            places = {name: self._places.pop(name).seen_at for name in sorted(names)}
            absent: dict[str, datetime] = {}
            if self._absent and self._absent_due_s <= now_s:
                absent, self._absent = self._absent, {}
            return Due(_outermost(places), absent)

    def _spend(self, names: Iterable[str], now_s: float) -> None:
        """Note documents that are looked at although somebody may go on writing them."""
        still = {name: until_s for name, until_s in self._spent_until_s.items() if until_s > now_s}
        self._spent_until_s = still | dict.fromkeys(names, now_s + QUIET_S)


def _outermost(places: dict[str, datetime]) -> dict[str, datetime]:
    """Leave out what lies below another place: a look there sees it too."""
    kept: dict[str, datetime] = {}
    for name, seen_at in places.items():
        parts = name.split("/")
        if not any("/".join(parts[:n]) in kept for n in range(1, len(parts))):
            kept[name] = seen_at
    return kept
