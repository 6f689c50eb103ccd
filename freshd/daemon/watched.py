"""Threads that must not die unheard of: what one died of is told, and the daemon ends, to be started again."""

import threading
from collections.abc import Callable

from freshd.logs import Event, get_logger


class Watched(threading.Thread):
    """A thread that whoever looks after the daemon asks for now and then: `is_alive`."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        """Prepare it; `work` comes back when it is told to end, and never otherwise."""
        super().__init__(name=name, daemon=True)
        self._work = work

    def run(self) -> None:
        """Work until the end, and tell of one that was not asked for."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - told; who looks after the threads ends the process
            get_logger().error(Event.THREAD_DIED, thread=self.name, exc_info=error)
