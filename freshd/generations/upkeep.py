"""What is done for the generations while nothing else is due: the next one first, then the room that is given back.

A store that keeps something of every point it ever held is made anew, piece by piece, once that is much;
whether it is, the store knows. Everything here is done by the thread that writes.
"""

from collections.abc import Callable
from typing import Generic

from freshd.errors import StoreError
from freshd.generations.means import G
from freshd.generations.succession import Generations
from freshd.logs import Event, get_logger
from freshd.ports import Clock

_PAUSE_S = 600.0
"""After a compaction that came to nothing, which may have cost the store its process."""


class Upkeep(Generic[G]):
    """Looks after the generations of one ledger; see `scheduler.Beside`."""

    def __init__(self, generations: Generations[G], clock: Clock) -> None:
        """Do nothing yet."""
        self._generations = generations
        self._clock = clock
        self._paused_until_s = clock.monotonic()
        self._is_compacting = False

    def advance(self, between: Callable[[], None]) -> bool:
        """Do a bounded piece of what is to be done; tell whether there was one."""
        return self._generations.advance(between) or self.compact()

    def compact(self) -> bool:
        """Do a bounded piece of a compaction of the live store, where one is due; tell whether there is more to do.

        One that fails costs a pause, and nobody else anything.
        """
        if self._clock.monotonic() < self._paused_until_s:
            return False
        live = self._generations.current
        try:
            has_more = live.store.compact()
        except StoreError as error:
            self._paused_until_s = self._clock.monotonic() + _PAUSE_S
            self._is_compacting = False
            get_logger().warning(Event.COMPACTION_DELAYED, generation=live.record.name, error=str(error))
            return False
        if self._is_compacting and not has_more:
            get_logger().info(Event.STORE_COMPACTED, generation=live.record.name)
        self._is_compacting = has_more
        return has_more
