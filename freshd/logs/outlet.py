"""Where lines go: a stream on which writing never fails, and where that is wanted, never waits."""

import threading
from collections import deque
from typing import TextIO

MAX_WAITING_LINES = 2_000
"""Kept for a reader that stalls, about a megabyte; what comes when there are so many is lost, and counted."""


class Outlet:
    """A text stream on which writing cannot fail; what cannot be written is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # a signal handler may speak while its own thread does

    def line(self, text: str) -> None:
        """Write a line, with escapes for what the stream's encoding lacks."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError, RuntimeError):  # closed on our side; re-entered by a signal handler
                return

    # structlog calls the method named after the level.
    msg = debug = info = warning = warn = error = critical = fatal = exception = failure = log = line


class Waiting:
    """An outlet that never waits for its stream: a thread of its own writes, however long the reader takes.

    What a stream is decides nothing: a pipe whose reader stalls, a journal that hangs, a file on a dead mount.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._outlet = Outlet(stream)
        self._lines: deque[str] = deque()
        self._changed = threading.Condition(threading.RLock())  # a signal handler may speak while its own thread does
        self._is_over = False
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether its thread is to end, or has."""
        return self._is_over

    def line(self, text: str) -> None:
        """Have a line written; too many at once are lost."""
        with self._changed:
            if self._is_over and not self._thread.is_alive():
                self._outlet.line(text)
                return
            if len(self._lines) >= MAX_WAITING_LINES:
                self._lost += 1
                return
            self._lines.append(text)
            self._changed.notify_all()

    msg = debug = info = warning = warn = error = critical = fatal = exception = failure = log = line

    def take_lost(self) -> int:
        """Give how many lines were lost since this was last asked; 0 while the next one would be lost as well."""
        with self._changed:
            if len(self._lines) >= MAX_WAITING_LINES:
                return 0
            lost, self._lost = self._lost, 0
            return lost

    def finish(self, timeout_s: float) -> None:
        """Have the thread end once all is written, and wait some time for that; from then on lines are waited for."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._is_over)
                if not self._lines:
                    return
                text = self._lines.popleft()
            self._outlet.line(text)
