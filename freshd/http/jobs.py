"""The routes that make the daemon work: each begins a job, and may be held until it is done."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from starlette.responses import JSONResponse, Response

from freshd.http import schemas
from freshd.http.desk import Desk
from freshd.http.problems import Problem, problem
from freshd.model import DocumentId, SourceName
from freshd.shapes import JobReport

BY_TOKEN = [Depends(HTTPBearer(auto_error=False, description="The daemon's token."))]
"""Tells readers of `/openapi.json` what the gate enforces."""


class Jobs:
    """Begins jobs and tells how they stand."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: FastAPI) -> None:
        """Put the routes into an app."""
        begun: dict[int | str, dict[str, Any]] = {
            200: {"model": JobReport, "description": "The job is done; only with `wait`."},
            202: {"model": schemas.JobBegun | JobReport, "description": "The job runs; `Location` has it."},
        }
        routes: dict[str, Callable[..., Awaitable[Response]]] = {
            "reindex": self.reindex,
            "wait": self.wait,
            "verify": self.verify,
            "backup": self.backup,
            "forget": self.forget,
            "prune": self.prune,
        }
        for path, route in routes.items():
            app.post(f"/{path}", responses=begun, response_model=None, dependencies=BY_TOKEN)(route)
        absent: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "None such, or forgotten."}}
        app.get("/jobs/{job:path}", response_model=JobReport, responses=absent)(self.job)

    async def reindex(self, order: schemas.ReindexOrder, request: Request, wait: schemas.Held = None) -> Response:
        """Look at sources now, instead of at their next turn."""
        sources = [SourceName(name) for name in order.sources]
        job = await self._desk.ask(self._desk.ledger, self._desk.control.reindex, sources, full=order.full)
        return await self._begun(request, job, wait)

    async def wait(self, order: schemas.WaitOrder, request: Request, wait: schemas.Held = None) -> Response:
        """Wait until documents are searchable as they are now."""
        pairs = (document.partition("/") for document in order.documents)
        documents = [(SourceName(source), DocumentId(document_id)) for source, _, document_id in pairs]
        job = await self._desk.ask(self._desk.ledger, self._desk.control.wait, documents, order.timeout_seconds)
        return await self._begun(request, job, wait)

    async def verify(self, order: schemas.VerifyOrder, request: Request, wait: schemas.Held = None) -> Response:
        """Hold the ledger against the store, point by point; with `repair`, mend what differs, and only that."""
        verify = self._desk.control.verify
        job = await self._desk.ledger.call(verify, deep=order.deep, repair=order.repair, orphans=order.orphans)
        return await self._begun(request, job, wait)

    async def backup(self, order: schemas.BackupOrder, request: Request, wait: schemas.Held = None) -> Response:
        """Copy ledger, vector cache and embedded index into a folder, while freshd runs."""
        job = await self._desk.ledger.call(self._desk.control.backup, Path(order.directory))
        return await self._begun(request, job, wait)

    async def forget(self, order: schemas.ForgetOrder, request: Request, wait: schemas.Held = None) -> Response:
        """Take documents out of everything that freshd keeps, and keep them out; or let them in again."""
        parts = (name.partition("/") for name in order.documents)
        names = [(SourceName(source), DocumentId(document) if slash else None) for source, slash, document in parts]
        job = await self._desk.ledger.call(self._desk.control.forget, names, undo=order.undo)
        return await self._begun(request, job, wait)

    async def prune(self, order: schemas.PruneOrder, request: Request, wait: schemas.Held = None) -> Response:
        """Take out what is left of a source that left the config, before its week is over."""
        job = await self._desk.ledger.call(self._desk.control.prune, SourceName(order.source))
        return await self._begun(request, job, wait)

    async def job(self, job: schemas.JobName) -> Response:
        """How a job stands."""
        report = await self._desk.memory.call(self._desk.control.job, job)
        return _unknown(job) if report is None else JSONResponse(report)

    async def _begun(self, request: Request, job: str, held_s: float | None) -> Response:
        location = {"location": f"/jobs/{quote(job, safe='')}"}
        if held_s is None:
            return JSONResponse(schemas.JobBegun(job=job), 202, location)
        report: JobReport | None = await self._desk.job_after(request, job, held_s)
        if report is None:
            return _unknown(job)
        return JSONResponse(report, 202, location) if report["state"] == "running" else JSONResponse(report)


def _unknown(job: str) -> Response:
    return problem(404, f"job: got {job!r}, expected one that runs or ended lately", "begin another one")
