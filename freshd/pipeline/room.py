"""How much of a batch is planned: what finds no room ends it for all that is due after it. Pure but for what it counts.

changes due          until they add enough, or took long enough
what failed before   likewise, counted apart, where it is due before the first change that found no room
deletions            all; where something found no room, those due before it whose time is over
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshd.model import Pending
from freshd.pipeline.plan import Plan


def ends_at(deletion: Pending) -> datetime:
    """Give the instant until when a deletion may wait for the document to turn up under another name."""
    return deletion.change.first_seen_at + (deletion.target or timedelta(0))


@dataclass(slots=True)
class Room:
    """The room of one batch, asked for in the order in which it is planned.

    Attributes:
        max_chunks: To be added by changes due, and by what failed before.
        end: Place in the batch of the first change due that found no room; its length while all did.

    """

    max_chunks: int
    end: int
    _is_cut: bool = False

    def has(self, place: int, pending: Pending, plans: Sequence[Plan], *, is_late: bool, now: datetime) -> bool:
        """Tell whether a change is planned; one that is not is left pending, and ends the batch.

        What goes last is judged by its place: it would wait for as long as each batch is full otherwise.
        """
        if pending.change.ref is None:
            return not self._is_cut or (place < self.end and ends_at(pending) <= now)
        has_failed = pending.attempts > 0
        n_added = sum(len(plan.delta.add) for plan in plans if plan.pending.attempts or not has_failed)
        if place < self.end and not is_late and n_added < self.max_chunks:
            return True
        self.leave(place, pending)
        return False

    def leave(self, place: int, pending: Pending) -> None:
        """Note that a change is left pending."""
        self._is_cut = True
        if not pending.attempts:
            self.end = min(self.end, place)
