"""Does slow work in a thread of its own, so that who asked goes on meanwhile and comes back for the answer.

    ask ─▶ thread, one document at a time ─▶ answer, within the patience
                                          └▶ not yet, `DocumentBusy`: the work goes on; ask again for the same document

One waits to be next, whoever asked for it: backfill, which asks for one after another, would leave nobody a gap.

A caller that never comes back costs nothing: the thread is free once the document's time is up.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, TypeVar

from freshd.errors import DocumentBusy

T = TypeVar("T")

PATIENCE_S: Final = 1.0
"""Enough for most documents; a fresh child that reads its first PDF takes as long."""

_LESS_WHERE_NEXT: Final = 10
"""So much shorter is the patience with what is next and not begun: its answer is further away."""

_MOST_KEPT: Final = 4
"""Answers that are kept for who comes back; one that is let go of is worked out again."""

_LAST_S: Final = 2.0
"""What is under way at the end has so long to notice that its parser is gone; the rest of it ends by itself."""


class Aside:
    """One piece of work at a time; safe to ask from several threads."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        """Start nothing yet; whoever asks waits so long at most."""
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="aside")
        self._lock = threading.Lock()
        self._begun: list[tuple[object, Future[Any]]] = []

    def ask(self, key: object, work: Callable[[], T], name: str) -> T:
        """Give what the work gives, or raise what it raises.

        Args:
            key: Equal for equal work.
            work: Done in the thread, once.
            name: Of the document, for the error.

        Raises:
            DocumentBusy: Not yet.

        """
        future = self._future_of(key, work)
        if future is None:
            raise DocumentBusy(f"document {name!r}: waits for another one to be parsed", is_at_it=False)
        patience_s = self._patience_s / (_LESS_WHERE_NEXT if self._is_next(future) else 1)
        if not wait([future], patience_s).done or future.cancelled():
            raise DocumentBusy(f"document {name!r}: is still being parsed", is_at_it=True)
        with self._lock:
            self._begun = [one for one in self._begun if one[1] is not future]
        return future.result()

    def _future_of(self, key: object, work: Callable[[], T]) -> "Future[T] | None":
        """Give what was begun under the key, or begin; None while something else is worked on, and another is next."""
        with self._lock:
            for begun, future in self._begun:
                if begun == key:
                    return future
            if sum(not future.done() for _, future in self._begun) > 1:
                return None
            future = self._threads.submit(work)
            self._begun = [*self._begun[1 - _MOST_KEPT :], (key, future)]
            return future

    def _is_next(self, future: Future[Any]) -> bool:
        with self._lock:
            is_taken = any(not other.done() for _, other in self._begun if other is not future)
        return is_taken and not future.running()

    def close(self) -> None:
        """Begin nothing more, and leave what is under way behind; idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        wait([future for _, future in self._begun], _LAST_S)
