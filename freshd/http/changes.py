"""The route about applied changes: as JSON, or as events for as long as somebody listens.

    Control.last_change ◀─ Pulse, one look for all ─ bell ─▶ each stream ─ Control.changes ─▶ events

An event is numbered by its change, so that a client which was cut off goes on where it was:
nothing comes twice, nothing is lost. The id of one that lies before a gap ends with the gap's own number,
`100-251`: who comes back with it has heard of that gap.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from freshd.errors import FreshdError
from freshd.http import schemas
from freshd.http.desk import Desk
from freshd.http.gatekeeper import EVENT_STREAM, IS_HEAD
from freshd.http.problems import RETRY_AFTER, Problem, Refused, problem
from freshd.logs import Event, get_logger
from freshd.model import DocumentId, SourceName
from freshd.shapes import ChangesAnswer

MAX_STREAMS = 20
"""One more is told to come later: each costs a look at the ledger for every change."""

POLL_S = 0.1
"""How often the newest change is asked for while a stream is open: most of what lies between applied and delivered."""

KEEP_ALIVE_S = 15.0
"""Silence after which a comment says that the stream lives; proxies give up after 30 or 60 s."""

_PAUSE_S = 1.0
"""Between two tries while the daemon takes up another config."""

_RETRY_MS = 1_000
_PAGE = 100

_EVENTS = {
    EVENT_STREAM: {
        "schema": {"type": "string"},
        "example": 'id: 7\nevent: change\ndata: {"seq": 7, "source": "handbook", "document_id": "leave.md", …}\n\n',
    }
}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Whose changes are asked for; None for everybody's."""

    source: SourceName | None
    document_id: DocumentId | None


class _Place(NamedTuple):
    """Where a reader stands, and the newest gap of which it was told."""

    seq: int
    gap: int = 0

    def __str__(self) -> str:
        """Write it as the id of an event; beyond a gap nobody has to have heard of it."""
        return f"{self.seq}" if self.seq >= self.gap else f"{self.seq}-{self.gap}"

    @classmethod
    def named(cls, event_id: str) -> "_Place":
        """Read the id of an event."""
        return cls(*map(int, event_id.split("-")))


class Changes:
    """Tells what was applied, and follows what is."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pulse = _Pulse(desk)

    def add_to(self, app: FastAPI) -> None:
        """Put the route into an app."""
        answers: dict[int | str, dict[str, Any]] = {
            200: {"model": ChangesAnswer, "content": _EVENTS, "description": "Events for `Accept: text/event-stream`."},
            503: {"model": Problem, "description": "Not now, or too many streams."},
        }
        app.get("/changes", response_model=None, responses=answers)(self.changes)

    async def changes(
        self,
        request: Request,
        after: schemas.After = None,
        limit: schemas.ChangeCount = 100,
        source: schemas.OneSource = None,
        document: schemas.OneDocument = None,
        gap: schemas.HeardGap = 0,
        last_event_id: schemas.LastEventId = None,
    ) -> Response:
        """Applied changes, oldest first; as events, an endless stream of them, which `limit` does not bound.

        Each event `change` holds one, as JSON in one line; its `id` is where to go on from.
        An event `gap` says, once, that some of what was asked for is forgotten: let go of everything that was kept.
        """
        if document is not None and source is None:
            raise Refused("document: expected the source along with it", hint="add &source=NAME")
        wanted = _Wanted(
            None if source is None else SourceName(source), None if document is None else DocumentId(document)
        )
        if EVENT_STREAM not in request.headers.get("accept", "").lower():
            start = _Place(-limit if after is None else after, gap)
            return JSONResponse(await self._ask(start, limit, wanted))
        if IS_HEAD in request.scope:
            return Response(media_type=EVENT_STREAM)
        if last_event_id is not None:
            return await self._stream(_Place.named(last_event_id), wanted)
        if after is None:
            after = await self._desk.changes.call(self._desk.control.last_change)
        return await self._stream(_Place(after, gap), wanted)

    async def _ask(self, place: _Place, limit: int, wanted: _Wanted) -> ChangesAnswer:
        control = self._desk.control
        return await self._desk.ask(
            self._desk.changes, control.changes, place.seq, limit, wanted.source, wanted.document_id, place.gap
        )

    async def _stream(self, place: _Place, wanted: _Wanted) -> Response:
        """Ask for the beginning now, while an answer can still say that it is not to be had."""
        first = await self._ask(place, max(_PAGE, -place.seq), wanted)
        return _Stream(self._pulse, lambda bell: self._events(bell, place, first, wanted))

    async def _events(
        self, bell: "_Bell", place: _Place, first: ChangesAnswer, wanted: _Wanted
    ) -> AsyncIterator[bytes]:
        place = _before(first) if place.seq < 0 else place
        # An id without data counts as received: who is cut off before the first event loses nothing either.
        yield f"retry: {_RETRY_MS}\nid: {place}\n\n".encode()
        page: ChangesAnswer | None = first
        while True:
            if page is not None:
                if events := _written(page, place):
                    yield events
                place = _Place(page["last_seq"], page["gap_seq"])
            if page is None or len(page["changes"]) < _PAGE:
                try:
                    await asyncio.wait_for(bell.rung(), _PAUSE_S if page is None else KEEP_ALIVE_S)
                except TimeoutError:
                    yield f": nothing new\nid: {place}\n\n".encode()
            if bell.is_over:
                return
            bell.clear()  # before asking: what comes while the answer is read rings again
            try:
                page = await self._page(place, wanted)
            except Refused:  # its source left the config; who comes again is told
                return

    async def _page(self, place: _Place, wanted: _Wanted) -> ChangesAnswer | None:
        """Ask for what follows; None while the daemon takes up another config."""
        try:
            return await self._ask(place, _PAGE, wanted)
        except FreshdError as error:
            if error.retryable:
                return None
            raise


class _Bell:
    """What one stream waits for: news, or the end."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._news = asyncio.Event()
        self._news.set()  # what came since the first answer is looked for at once
        self._is_over = is_over

    @property
    def is_over(self) -> bool:
        """Whether nobody will ring any more."""
        return self._is_over()

    async def rung(self) -> None:
        await self._news.wait()

    def ring(self) -> None:
        self._news.set()

    def clear(self) -> None:
        self._news.clear()


class _Pulse:
    """Looks for the newest change on behalf of all streams, and not at all while none is open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._bells: set[_Bell] = set()
        self._looking: asyncio.Task[None] | None = None
        self._seen: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether one more stream would be too many."""
        return len(self._bells) >= MAX_STREAMS

    @contextmanager
    def listening(self) -> Iterator[_Bell]:
        """Be rung at every change meanwhile."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        bell = _Bell(self._looking.done)
        self._bells.add(bell)
        self._seen = None  # by this one, nothing was
        try:
            yield bell
        finally:
            self._bells.discard(bell)

    async def _look(self) -> None:
        try:
            while self._bells and not self._desk.is_closing:
                newest = await self._newest()
                if newest not in (None, self._seen):
                    self._seen = newest
                    self._ring()
                await asyncio.sleep(POLL_S)
        except Exception as error:  # noqa: BLE001 - streams that nobody rings would look as if nothing changed
            get_logger().error(Event.REQUEST_FAILED, method="GET", path="/changes", exc_info=error)
        finally:
            self._ring()

    async def _newest(self) -> int | None:
        try:
            return await self._desk.changes.call(self._desk.control.last_change)
        except FreshdError as error:
            if error.retryable:
                return None
            raise

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring()


class _Stream(Response):
    """An answer that goes on; counted from its first byte to its last, however it ends."""

    def __init__(self, pulse: _Pulse, events: Callable[[_Bell], AsyncIterator[bytes]]) -> None:
        super().__init__()
        self._pulse = pulse
        self._events_of = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say that there are too many already."""
        if self._pulse.is_full:
            error = f"{MAX_STREAMS} streams of changes are open already"
            await problem(503, error, "close one, or ask for JSON now and then", RETRY_AFTER)(scope, receive, send)
            return
        with self._pulse.listening() as bell:
            # A proxy that waits for more before it passes something on would make changes late.
            headers: Mapping[str, str] = {"x-accel-buffering": "no"}
            await StreamingResponse(self._events_of(bell), headers=headers, media_type=EVENT_STREAM)(
                scope, receive, send
            )


def _before(page: ChangesAnswer) -> _Place:
    """Give the place from which exactly this page follows."""
    return _Place(page["changes"][0]["seq"] - 1 if page["changes"] else page["last_seq"], page["gap_seq"])


def _written(page: ChangesAnswer, place: _Place) -> bytes:
    """Write a page as events; a number beyond the newest one was given by another ledger."""
    events = [
        f"id: {_Place(one['seq'], page['gap_seq'])}\nevent: change\ndata: {json.dumps(one)}\n\n"
        for one in page["changes"]
    ]
    if not page["is_gapless"] or page["last_seq"] < place.seq:
        gap: schemas.Gap = {"after": place.seq, "last_seq": page["last_seq"]}
        events.insert(0, f"id: {_before(page)}\nevent: gap\ndata: {json.dumps(gap)}\n\n")
    return "".join(events).encode()
