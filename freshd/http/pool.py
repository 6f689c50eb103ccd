"""Lets an event loop call what blocks, on a few threads kept for one purpose.

Each purpose has a pool, so that searches which hang in the store hold up searches and nothing else.
The threads are daemons: the interpreter's own pools are waited for at exit, and one hung call would keep a
daemon from ending. They stay, because the ledger opens a connection for each thread that reads it.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """Calls in the order they came, at most `width` at once. Owned by one event loop."""

    def __init__(self, name: str, width: int) -> None:
        """Start no thread before the first call."""
        self._name, self._width = name, width
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._n_threads = 0

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function on a thread and give what it gives or raises.

        Cancelled, it stops waiting; a call that has begun goes on to its end, unheard.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Future[T] = loop.create_future()

        def perform() -> None:
            """Call it on a thread, and tell the loop."""
            if told.cancelled():
                return
            try:
                result = function(*args, **kwargs)
            except StopIteration as error:  # which no future takes: whoever waits would wait for ever
                _tell(loop, told, told.set_exception, RuntimeError(f"StopIteration: {error}"))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                _tell(loop, told, told.set_exception, error)
            else:
                _tell(loop, told, told.set_result, result)

        self._widen()
        self._calls.put(perform)
        return await told

    def close(self) -> None:
        """Let the threads end as soon as they have nothing left to call; does not wait; idempotent."""
        for _ in range(self._n_threads):
            self._calls.put(None)
        self._n_threads = 0

    def _widen(self) -> None:
        # One more for each of the first calls; a thread costs less than knowing whether one is free.
        if self._n_threads < self._width:
            self._n_threads += 1
            name = f"freshd-http-{self._name}-{self._n_threads}"
            threading.Thread(target=_work, args=(self._calls,), name=name, daemon=True).start()


def _work(calls: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (perform := calls.get()) is not None:
        perform()


def _tell(loop: asyncio.AbstractEventLoop, told: "asyncio.Future[Any]", how: Callable[[Any], None], what: Any) -> None:
    def tell() -> None:
        if not told.done():
            how(what)

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:  # the loop is closed: the endpoint stopped while the call went on
        return
