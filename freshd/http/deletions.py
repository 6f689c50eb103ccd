"""The routes about deletions that the guard holds until a person decides."""

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from freshd.http import schemas
from freshd.http.desk import Desk
from freshd.http.jobs import BY_TOKEN
from freshd.model import SourceName
from freshd.shapes import HeldDeletions


class Deletions:
    """Lists them, and passes on what a person decided."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: FastAPI) -> None:
        """Put the routes into an app."""
        app.get("/deletions", response_model=HeldDeletions)(self.held)
        app.post("/deletions", response_model=HeldDeletions, dependencies=BY_TOKEN)(self.judge)

    async def held(self, source: schemas.Name) -> Response:
        """Documents that vanished at once and are still in the index."""
        name = SourceName(source)
        return JSONResponse(await self._desk.ask(self._desk.ledger, self._desk.control.deletions, name))

    async def judge(self, order: schemas.DeletionsOrder) -> Response:
        """Let the held deletions of a source pass, or keep its documents."""
        name, approve = SourceName(order.source), order.verdict == "approve"
        control = self._desk.control
        return JSONResponse(await self._desk.ask(self._desk.ledger, control.deletions, name, approve=approve))
