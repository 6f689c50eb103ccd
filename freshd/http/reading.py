"""The routes that change nothing: probes, status, metrics, search."""

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from freshd.errors import FreshdError
from freshd.http import schemas
from freshd.http.desk import Desk
from freshd.http.gatekeeper import MAY_READ
from freshd.http.problems import Problem, problem
from freshd.model import SearchFilter, SourceName
from freshd.shapes import SearchAnswer, StatusReport

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_UNTOLD = "freshd is not ready", "freshd status   (tells why; so does this route, to whoever may read /status)"


class Reading:
    """Answers at once, from the `Control` as it stands."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: FastAPI) -> None:
        """Put the routes into an app."""
        down: dict[int | str, dict[str, Any]] = {503: {"model": Problem, "description": "Not now."}}
        app.get("/healthz", response_model=schemas.Verdict, responses=down)(self.healthz)
        app.get("/readyz", response_model=schemas.Verdict, responses=down)(self.readyz)
        app.get("/status", response_model=StatusReport)(self.status)
        app.get("/metrics", response_class=Response, responses={200: {"content": {METRICS_TYPE: {}}}})(self.metrics)
        app.get("/search", response_model=SearchAnswer, responses=down)(self.search)

    async def healthz(self) -> Response:
        """Whether every thread of the daemon does its rounds; if not, restart it."""
        if await self._desk.memory.call(self._desk.control.is_alive):
            return JSONResponse(schemas.Verdict(status="pass"))
        return problem(503, "a thread of the daemon stopped doing its rounds", "restart freshd; its log tells which")

    async def readyz(self, request: Request) -> Response:
        """Whether the store is open and every source was listed once; if not, answers may be missing."""
        reason = await self._desk.memory.call(self._not_ready)
        if reason is None:
            return JSONResponse(schemas.Verdict(status="pass"))
        # A reason names sources, addresses and paths: anybody may ask, and not everybody may know them.
        return problem(503, reason) if request.scope[MAY_READ] else problem(503, *_UNTOLD)

    def _not_ready(self) -> str | None:
        try:
            return self._desk.control.not_ready()
        except FreshdError as error:  # of the ledger: what cannot be asked is not ready
            return str(error)

    async def status(self) -> Response:
        """How fresh each source is known to be."""
        return JSONResponse(await self._desk.ledger.call(self._desk.control.status))

    async def metrics(self) -> Response:
        """Every metric, in Prometheus' text format."""
        text = await self._desk.memory.call(self._desk.control.metrics)
        return Response(text, media_type=METRICS_TYPE)

    async def search(
        self,
        q: schemas.QueryText,
        k: schemas.HitCount = 10,
        source: schemas.Sources = [],  # noqa: B006 - FastAPI gives each request its own
        path: schemas.PathPrefix = None,
    ) -> Response:
        """Passages, best first, each with where it stands and how fresh its source is known to be."""
        where = SearchFilter(tuple(map(SourceName, source)), path)
        return JSONResponse(await self._desk.ask(self._desk.search, self._desk.control.search, q, k, where))
