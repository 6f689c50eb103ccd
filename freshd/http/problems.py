"""Says what went wrong, always in one shape: a line, and what mends it. Never a traceback.

Whoever asked is told what they can do something about; what only the operator can mend goes to the log.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from freshd.errors import FreshdError, StoreError
from freshd.redaction import printable, without_url_secrets

Problem = TypedDict("Problem", {"error": str, "try": str | None})
"""What every answer holds that is not the one asked for; `try` is None where nobody but the operator can mend it."""

PROBLEM: Mapping[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
"""How a description says so for a route whose own answers are no JSON."""


class Refused(FreshdError):
    """The `Control` does not know what it was asked about."""


RETRY_AFTER = {"retry-after": "1"}

_MAX_SHOWN_CHARACTERS = 60
_WHEN_NONE_IS_GIVEN = {413: "ask for less at once", 503: "ask again in a moment"}
_NO_VALUE = frozenset({"missing", "json_invalid"})
"""Faults of something that is not there, so that there is nothing to show."""


def problem(status: int, error: str, hint: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Build an answer that says what went wrong.

    Args:
        status: 400 or above.
        error: Anything; made one line without control characters or secrets.
        hint: Treated alike; where there is none, the status may have one of its own.
        headers: To go with it.

    """
    hint = hint or _WHEN_NONE_IS_GIVEN.get(status)
    body: Problem = {"error": _one_line(error), "try": _one_line(hint) if hint else None}
    return JSONResponse(body, status, headers)


def answer_problems(app: FastAPI) -> None:
    """Make an app answer the errors it raises as problems; those nobody foresaw are left to the gatekeeper."""
    app.add_exception_handler(RequestValidationError, _not_as_asked)
    app.add_exception_handler(HTTPException, _not_answered)
    app.add_exception_handler(FreshdError, _not_possible)


async def _not_as_asked(_: Request, error: Exception) -> Response:
    faults = [_fault(one) for one in cast(RequestValidationError, error).errors()]
    return problem(422, "; ".join(faults[:3]), "GET /openapi.json tells what each route takes")


async def _not_answered(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    asked = f"{request.method} {request.url.path[:_MAX_SHOWN_CHARACTERS]}"
    hint = "GET /openapi.json lists the routes" if error.status_code in (404, 405) else None
    return problem(error.status_code, f"{asked}: {str(error.detail).lower()}", hint, error.headers)


async def _not_possible(_: Request, error: Exception) -> Response:
    error = cast(FreshdError, error)
    if isinstance(error, Refused):
        return problem(422, str(error), error.hint)
    if error.retryable:
        return problem(503, str(error), error.hint, RETRY_AFTER)
    if isinstance(error, StoreError):  # a collection that is gone or another's: nobody who asks can help it
        return problem(503, str(error), error.hint)
    return problem(500, str(error), error.hint)


def _fault(details: Mapping[str, Any]) -> str:
    """Word one fault as "place: got …, expected …"."""
    place = "body" if details["type"] == "json_invalid" else ".".join(str(key) for key in _place(details["loc"]))
    wanted = _wanted(details["type"], details.get("ctx", {})) or str(details["msg"]).removeprefix("Value error, ")
    if wanted.startswith("got "):
        return f"{place}: {wanted}"
    wanted = wanted.replace("Input should be ", "expected ").replace("String should have", "expected")
    if details["type"] in _NO_VALUE:
        return f"{place}: {wanted[:1].lower()}{wanted[1:]}"
    return f"{place}: got {_shown(details['input'])}, {wanted[:1].lower()}{wanted[1:]}"


def _wanted(kind: str, bounds: Mapping[str, Any]) -> str:
    """Word what pydantic says at length; empty for all else."""
    match kind:
        case "less_than_equal":
            return f"expected at most {_number(bounds['le'])}"
        case "greater_than_equal":
            return f"expected at least {_number(bounds['ge'])}"
        case "int_parsing" | "int_type":
            return "expected a whole number"
        case "string_too_long":
            return f"expected at most {bounds['max_length']:,} characters"
        case "json_invalid":
            return "expected JSON"
        case "too_short":
            return f"expected at least {bounds['min_length']:,} of them"
        case "too_long":
            return f"expected at most {bounds['max_length']:,} of them"
        case _:
            return ""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else str(value)


def _place(path: Sequence[Any]) -> Sequence[Any]:
    """Leave out where pydantic looked, unless it is all there is."""
    return path[1:] or path


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    text = printable(text[: _MAX_SHOWN_CHARACTERS + 1])
    return f'"{text[:_MAX_SHOWN_CHARACTERS]}…"' if len(text) > _MAX_SHOWN_CHARACTERS else f'"{text}"'


def _one_line(text: str) -> str:
    return printable(without_url_secrets(" ".join(text.split())))
