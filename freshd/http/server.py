"""Runs the app in a thread of its own, over a socket that is bound already; leaves signals and logging alone."""

import asyncio
import socket
import threading

import uvicorn
from fastapi import FastAPI

from freshd import faults
from freshd.http.binding import BACKLOG, local_address
from freshd.http.connection import MAX_HEAD_BYTES, BoundedConnection
from freshd.http.desk import Desk
from freshd.pulse import Pulse

KEEP_ALIVE_S = 5
GRACE_S = 2
"""How long requests in progress may take when the endpoint stops."""

_START_S = 10.0
_PATIENCE_S = 60.0
"""The event loop goes round ten times a second."""
_STOP_S = GRACE_S + 2.0


class Server:
    """The endpoint, from `start` to `stop`; once each.

    Attributes:
        pulse: Of its thread.

    """

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        """Take over a bound and listening socket; `stop` closes it."""
        self._desk: Desk = app.state.desk
        self._listener = listener
        self._address = local_address(listener)
        self.pulse = Pulse("freshd-http", _PATIENCE_S)
        self._runner = _Runner(app, self.pulse)
        self._thread = threading.Thread(target=self._run, name="freshd-http", daemon=True)
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """`host:port` as a program on this machine reaches it."""
        return self._address

    def start(self) -> None:
        """Return once it answers.

        Raises:
            RuntimeError: It could not start.

        """
        self._thread.start()
        if not self._runner.has_begun_or_ended.wait(_START_S) or not self._runner.started:
            raise RuntimeError(f"the endpoint at {self.address} did not start") from self._failure

    def is_alive(self) -> bool:
        """Tell whether its thread runs."""
        return self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """What its thread died of; None for nothing."""
        return self._failure

    def stop(self) -> None:
        """Answer what is being asked if that takes no more than a moment, then close; idempotent."""
        self._desk.release()
        self._runner.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        self._listener.close()

    def _run(self) -> None:
        try:
            self._runner.run(sockets=[self._listener])
        except BaseException as error:  # noqa: BLE001 - uvicorn leaves by SystemExit; whoever starts it is told
            self._failure = error
        finally:
            self._runner.has_begun_or_ended.set()


class _Runner(uvicorn.Server):
    """uvicorn, saying when it answers, and leaving no connection behind."""

    def __init__(self, app: FastAPI, pulse: Pulse) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=BoundedConnection,
                ws="none",
                lifespan="on",
                workers=1,
                log_config=None,
                access_log=False,
                server_header=False,
                # Nobody in front is trusted to say who asks.
                proxy_headers=False,
                # The gatekeeper limits requests and the connection connections: here, idle ones would count as well.
                limit_concurrency=None,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )
        self.has_begun_or_ended = threading.Event()
        self._pulse = pulse

    async def on_tick(self, counter: int) -> bool:
        self._pulse.beat()
        faults.hit("mid_endpoint")
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_begun_or_ended.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # Whoever still has not asked in full, or not read what was answered.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # until they are closed
