"""Stands before the app: asks the gate, bounds what comes in, and marks what goes out.

Pure ASGI, so that it sees every answer, and so that nothing is read of a request the gate refuses.
"""

import asyncio
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freshd.http.gate import PROBES, READING, Gate
from freshd.http.problems import RETRY_AFTER, problem
from freshd.logs import Event, get_logger
from freshd.redaction import printable

MAX_BODY_BYTES = 64 * 1024
MAX_REQUESTS = 100
"""Requests answered at once; beyond them only the probes are."""

HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""On every answer, unless its route sets them itself."""

EVENT_STREAM = "text/event-stream"
"""Media type of an answer that goes on; its route bounds how many there are, so it does not count as a request."""

IS_HEAD = "freshd.is_head"
"""Key of a scope that was a HEAD: a route whose GET never ends must know."""

MAY_READ = "freshd.may_read"
"""Key of a probe's scope: whether who asks may read the other routes as well, and so be told reasons."""

_MAX_SHOWN_CHARACTERS = 200


class Gatekeeper:
    """ASGI middleware; must be the outermost one."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate
        self._running: set[_Out] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        out = _Out(send, self._running)
        try:
            await self._admit(scope, receive, out)
        except Exception as error:  # noqa: BLE001 - whoever asked gets an answer, the operator the rest
            path = printable(scope["path"][:_MAX_SHOWN_CHARACTERS])
            get_logger().error(Event.REQUEST_FAILED, method=scope["method"], path=path, exc_info=error)
            await out.instead(scope, 500, "the request failed for a reason that is in freshd's log")
        except asyncio.CancelledError:
            # Nobody but a server that stops cancels a request, and it waits for none that does not end.
            await out.instead(scope, 503, "freshd is stopping")

    async def _admit(self, scope: Scope, receive: Receive, out: "_Out") -> None:
        refusal = self._gate.refusal(scope["method"], scope["path"], scope["headers"])
        if refusal:
            answer = problem(refusal.status, refusal.error, refusal.hint, refusal.headers)
            await answer(scope, receive, out)
        elif scope["path"] in PROBES:
            await self._pass_on({**scope, MAY_READ: self._gate.may_read(scope["headers"])}, receive, out)
        elif len(self._running) >= MAX_REQUESTS:
            error = f"{MAX_REQUESTS} requests are being answered already"
            await problem(503, error, "ask again later", RETRY_AFTER)(scope, receive, out)
        else:
            self._running.add(out)
            try:
                await self._pass_on(scope, receive, out)
            finally:
                self._running.discard(out)

    async def _pass_on(self, scope: Scope, receive: Receive, out: "_Out") -> None:
        # A body of a reading request is never waited for: nobody asked for it, and it needs no token.
        body = [] if scope["method"] in READING else await _read(scope, receive)
        if body is None or _declared_bytes(scope) > MAX_BODY_BYTES:
            error = f"body: got more than {MAX_BODY_BYTES} bytes, expected at most so many"
            await problem(413, error)(scope, receive, out)
            return
        # HEAD is GET without the body, which the server leaves out by itself.
        scope = {**scope, "method": "GET", IS_HEAD: True} if scope["method"] == "HEAD" else scope
        await self._app(scope, _replay(body, receive), out)


class _Out:
    """Where an answer goes; adds the headers that every answer has."""

    def __init__(self, send: Send, running: set["_Out"]) -> None:
        self._send = send
        self._running = running
        self._has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if headers.get("content-type", "").startswith(EVENT_STREAM):
                self._running.discard(self)
        await self._send(message)

    async def instead(self, scope: Scope, status: int, error: str) -> None:
        """Answer in place of the app; an answer that has begun is left to the server, which breaks it off."""
        if not self._has_begun:
            await problem(status, error)(scope, _nothing, self)


async def _read(scope: Scope, receive: Receive) -> list[Message] | None:
    """Read the body whole, or as far as the client stayed; None if it is too long."""
    if _declared_bytes(scope) > MAX_BODY_BYTES:
        return None
    messages: list[Message] = []
    n_bytes = 0
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
        n_bytes += len(messages[-1].get("body", b""))
        if n_bytes > MAX_BODY_BYTES:
            return None
    return messages


def _declared_bytes(scope: Scope) -> int:
    # Digits: the server lets nothing else through.
    return max((int(value) for name, value in scope["headers"] if name == b"content-length"), default=0)


def _replay(messages: list[Message], receive: Receive) -> Receive:
    rest = iter(messages)

    async def replay() -> Message:
        for message in rest:
            return message
        return await receive()

    return replay


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
