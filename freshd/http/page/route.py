"""The route of the page."""

from typing import Annotated, Any

from fastapi import FastAPI, Query
from starlette.responses import HTMLResponse, Response

from freshd.errors import FreshdError
from freshd.http.desk import Desk
from freshd.http.page.document import CONTENT_SECURITY_POLICY, absent, document, render
from freshd.http.problems import PROBLEM, RETRY_AFTER

_HEADERS = {"content-security-policy": CONTENT_SECURITY_POLICY}

Fragment = Annotated[bool, Query(description="Only the part that renews itself.")]


class Page:
    """Shows people what the other routes tell programs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, app: FastAPI) -> None:
        """Put the route into an app."""
        answers: dict[int | str, dict[str, Any]] = {
            200: {"content": {"text/html": {}}},
            503: {
                "content": {"text/html": {}, **PROBLEM},
                "description": "Not now; a browser that asks for the whole page gets one.",
            },
            "default": {"content": PROBLEM, "description": "What went wrong, and what mends it."},
        }
        app.get("/", response_class=HTMLResponse, responses=answers)(self.page)

    async def page(self, *, fragment: Fragment = False) -> Response:
        """Everything at a glance, for people; renews itself."""
        try:
            view, status = await self._desk.ledger.call(self._view)
        except FreshdError as error:
            if fragment or not error.retryable:
                raise
            # A person who comes a moment too early gets a page that looks again, not a line of JSON.
            waiting = document(absent(str(error)), "not yet")
            return HTMLResponse(waiting, 503, {**_HEADERS, **RETRY_AFTER})
        return HTMLResponse(view if fragment else document(view, status), headers=_HEADERS)

    def _view(self) -> tuple[str, str]:
        control = self._desk.control
        seen = control.dashboard()
        troubles = [] if control.is_alive() else ["A thread of the daemon stopped doing its rounds: restart freshd."]
        if error := seen["status"]["config_error"]:
            troubles.append(f"The newest config was refused, the one before is kept: {error}")
        reason = control.not_ready()
        if reason is not None:
            troubles.append(f"Not ready: {reason}")
        return render(seen, troubles), seen["status"]["status"]
