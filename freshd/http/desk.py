"""Asks the `Control` on behalf of the routes, so that no question keeps the event loop from the next one."""

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from freshd.http.pool import Pool
from freshd.http.problems import Refused
from freshd.ports import Control
from freshd.shapes import JobReport

P = ParamSpec("P")
T = TypeVar("T")

MAX_HELD = 50
"""Requests held until their job is done: half of all, so that others find room; one more is answered at once."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.25


class Desk:
    """The `Control`, and a pool for each kind of question it is asked.

    Attributes:
        memory: For what is answered from memory; never behind a disk or a store.
        ledger: For what reads or writes the ledger.
        search: For what needs the model and the store.
        changes: For what reads the history, page by page, however many listen.

    """

    def __init__(self, control: Control) -> None:
        self.control = control
        self.memory = Pool("memory", 2)
        self.ledger = Pool("ledger", 4)
        self.search = Pool("search", 8)
        self.changes = Pool("changes", 2)
        self._n_held = 0
        self._is_closing = threading.Event()

    async def ask(self, pool: Pool, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask something that names sources.

        Raises:
            Refused: One of them is not configured; the hint names those that are.

        """
        try:
            return await pool.call(question, *args, **kwargs)
        except ValueError as error:
            if type(error) is not ValueError:  # such as a UnicodeError: a fault, and nobody's refusal
                raise
            names = [source["name"] for source in (await self.ledger.call(self.control.status))["sources"]]
            raise Refused(str(error), hint=f"sources here: {', '.join(names)}") from error

    async def job_after(self, request: Request, job_id: str, seconds: float) -> JobReport | None:
        """Tell how a job stands once it is done, or after some time; holds no thread meanwhile.

        Sooner if the client leaves, if the endpoint stops, or if too many are held already.

        Returns:
            None for a job that never was or is forgotten.

        """
        if self._n_held >= MAX_HELD:
            seconds = 0.0
        self._n_held += 1
        try:
            return await self._held(request, job_id, seconds)
        finally:
            self._n_held -= 1

    async def _held(self, request: Request, job_id: str, seconds: float) -> JobReport | None:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + seconds, _FIRST_PAUSE_S
        while True:
            report = await self.memory.call(self.control.job, job_id)
            left = until - loop.time()
            if report is None or report["state"] != "running" or left <= 0 or self._is_closing.is_set():
                return report
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            if await request.is_disconnected():
                return report

    @property
    def is_closing(self) -> bool:
        """Whether the endpoint stops, so that nothing may be held any more."""
        return self._is_closing.is_set()

    def release(self) -> None:
        """Let every held request be answered as its job stands; from any thread."""
        self._is_closing.set()

    def close(self) -> None:
        """Let the threads go."""
        for pool in (self.memory, self.ledger, self.search, self.changes):
            pool.close()
