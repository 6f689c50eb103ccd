"""Work that others have the writing thread do for them, between two batches.

    caller ─ between_batches(work) ─▶ waiting ─▶ writing thread: batch · work · batch · …
           ◀─ its result, or its error ────────────────────────┘

Whatever touches store and ledger at once is done so: no batch is half written while it runs.
It may come in the middle of a batch of backfill, of which nothing is written yet;
documents that it changes there are left alone by that batch and stay pending, if they are still known.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from freshd.errors import FreshdError, StoreUnavailable

T = TypeVar("T")


class BetweenBatches(Protocol):
    """Has some work done while no batch is written, and waits for it: `Scheduler.between_batches`, or `at_once`."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """Give what the work gives, or raise what it raises."""
        ...


def at_once(work: Callable[[], T], /) -> T:
    """Do work in the caller's thread: for a process of which no other thread writes."""
    return work()


class Errands:
    """What waits for the writing thread. Safe to call from several threads."""

    def __init__(self, on_waiting: Callable[[], None]) -> None:
        """Start with nothing; `on_waiting` wakes the writing thread."""
        self._on_waiting = on_waiting
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._writer: int | None = None
        self._is_closed = False

    def have_done(self, work: Callable[[], T]) -> T:
        """Wait until the writing thread has done some work; see `Scheduler.between_batches`."""
        if threading.get_ident() == self._writer:
            return work()
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                raise _stopping()
            self._waiting.append((work, future))
        self._on_waiting()
        return future.result()

    def do(self) -> None:
        """Do all that waits, in the order it came; only the writing thread calls this.

        What comes meanwhile waits for the next time: whoever hands in one piece after another holds up no batch.
        """
        self._writer = threading.get_ident()
        for _ in range(len(self._waiting)):
            if (one := self._next()) is None:
                return
            work, future = one
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, not the writing thread's
                future.set_exception(error)
            else:
                future.set_result(result)

    def refuse(self, error: FreshdError) -> None:
        """Tell everybody who waits why nothing can be written now."""
        while (one := self._next()) is not None:
            one[1].set_exception(error)

    def close(self) -> None:
        """Take nothing any more, and let nobody wait for a thread that has ended."""
        with self._lock:
            self._is_closed = True
        self.refuse(_stopping())

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None


def _stopping() -> StoreUnavailable:
    return StoreUnavailable("freshd is stopping", hint="start it again, then ask again")
