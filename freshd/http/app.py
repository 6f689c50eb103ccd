"""Builds the app: routes that ask a `Control`, behind a gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from freshd import __version__
from freshd.http.changes import Changes
from freshd.http.deletions import Deletions
from freshd.http.desk import Desk
from freshd.http.gate import Gate
from freshd.http.gatekeeper import Gatekeeper
from freshd.http.jobs import Jobs
from freshd.http.page.route import Page
from freshd.http.problems import Problem, answer_problems
from freshd.http.reading import Reading
from freshd.ports import Control


def build_app(control: Control, gate: Gate) -> FastAPI:
    """Build the endpoint's app; its `state.desk` is where a server lets held requests go before it stops."""
    desk = Desk(control)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Let the threads go when the server stops."""
        yield
        desk.close()

    app = FastAPI(
        title="freshd",
        version=__version__,
        description="A retrieval index that is as fresh as its sources, and proves it.",
        # The pages that FastAPI would make of it load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # A redirect would be built from what the client says the host is.
        redirect_slashes=False,
        middleware=[Middleware(Gatekeeper, gate=gate)],
        responses={"default": {"model": Problem, "description": "What went wrong, and what mends it."}},
        lifespan=lifespan,
    )
    app.state.desk = desk
    answer_problems(app)

    Reading(desk).add_to(app)
    Jobs(desk).add_to(app)
    Deletions(desk).add_to(app)
    Changes(desk).add_to(app)
    Page(desk).add_to(app)
    return app
