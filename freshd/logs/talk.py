"""Sets how freshd talks, and gives loggers: structlog behind our own rules."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TextIO
from urllib.parse import quote

from freshd.logs.event import Event
from freshd.logs.outlet import Outlet, Waiting
from freshd.logs.repeats import RepeatLimit
from freshd.redaction import MASK, is_secret_key, printable, without_url_secrets

if TYPE_CHECKING:
    from structlog.dev import ConsoleRenderer
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

MAX_REPEATS_PER_MINUTE = 10
"""Warnings and errors of one kind and source that are shown in a minute; the next one shown counts the rest."""

_MIN_HIDDEN_CHARACTERS = 4
_MAX_DEPTH = 6


class _Hidden:
    """Secret values that never reach a line, in every form in which an event could hold them."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def add(self, secrets: tuple[str, ...]) -> None:
        forms = set(self._forms)
        for secret in secrets:
            if len(secret) >= _MIN_HIDDEN_CHARACTERS:
                forms |= {secret, printable(secret), repr(secret)[1:-1]}
                forms |= {json.dumps(secret)[1:-1], quote(secret, safe="")}
        # Longest first: a secret that begins with another one must not leave its own end behind.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def mask(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MASK)
        return without_url_secrets(text)


_hidden = _Hidden()
_waiting: Waiting | None = None
_pending: Callable[[], None] | None = None
"""What `configure` asked for last, until structlog is loaded."""


class _FromLibraries(logging.Handler):
    """Turns what libraries log into events."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # a library's arguments do not fit its own format
            text = str(record.msg)
        # Libraries invent levels of their own; ours are the ones an operator knows.
        speak = get_logger().error if record.levelno >= logging.ERROR else get_logger().warning
        speak(Event.LIBRARY_LOGGED, logger=record.name, message=text, exc_info=record.exc_info)


def get_logger() -> "FilteringBoundLogger":
    """Give a logger; works from import time on, and follows `configure` whenever it comes."""
    import structlog

    _set_up()
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def hide(*secrets: str) -> None:
    """Mask these values wherever they turn up from now on; those under 4 characters would mask words."""
    _hidden.add(secrets)


def _set_up() -> None:
    global _pending
    pending, _pending = _pending, None
    if pending is not None:
        pending()


def configure(
    format: Literal["auto", "console", "json"] = "auto",
    level: str = "info",
    stream: TextIO | None = None,
    *,
    never_waits: bool = False,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Set how and where freshd talks; may be called again, and then replaces what was set.

    Args:
        format: `auto` is `console` on a terminal, else `json`.
        level: Key of `LEVELS`; libraries are heard from WARNING up, whatever it is.
        stream: Standard error if None.
        never_waits: Write in a thread of its own, so that a reader who stalls holds up nobody; `finish` ends it.
        monotonic: The clock of the rate limit.

    """
    stream = sys.stderr if stream is None else stream
    is_terminal = _is_terminal(stream)
    is_console = format == "console" or (format == "auto" and is_terminal)
    outlet = _waiting_for(stream) if never_waits else Outlet(stream)
    colours = is_terminal and _wants_colours() if is_console else None
    global _pending
    _pending = partial(_configure, outlet, LEVELS[level], RepeatLimit(MAX_REPEATS_PER_MINUTE, 60.0, monotonic), colours)
    if "structlog" in sys.modules:
        _set_up()
    _listen_to_libraries()


def _configure(outlet: object, level: int, limit: RepeatLimit, colours: bool | None) -> None:
    """Have structlog write to an outlet: with colours or without, or JSON for None."""
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _limiting(limit),
            _with_lost_lines,
            structlog.processors.format_exc_info,
            _without_secrets,
            *([structlog.processors.JSONRenderer()] if colours is None else [_escape, _console(colours=colours)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: outlet,
        cache_logger_on_first_use=False,
    )


def finish(timeout_s: float = 1.0) -> None:
    """Write what was said and is not written yet, unless that takes longer; a process that ends takes it along."""
    if _waiting is not None:
        _waiting.finish(timeout_s)


def _waiting_for(stream: TextIO) -> Waiting:
    """Give the one outlet of a stream: two would mix up the order of lines."""
    global _waiting
    if _waiting is None or _waiting.is_over or _waiting.stream is not stream:
        _waiting = Waiting(stream)
    return _waiting


def _console(*, colours: bool) -> "ConsoleRenderer":
    from structlog.dev import ConsoleRenderer, plain_traceback

    return ConsoleRenderer(colors=colours, sort_keys=False, exception_formatter=plain_traceback)


def _wants_colours() -> bool:
    """Tell whether colours may be shown, asked as the other commands ask it (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _listen_to_libraries() -> None:
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _FromLibraries)]:
        root.removeHandler(handler)
    root.addHandler(_FromLibraries(logging.WARNING))
    root.setLevel(logging.WARNING)
    # A line for each request says nothing that the metrics do not.
    logging.getLogger("uvicorn.access").disabled = True


def _limiting(limit: RepeatLimit) -> "Processor":
    from structlog import DropEvent

    def process(_: "WrappedLogger", method: str, event: "EventDict") -> "EventDict":
        if LEVELS.get(method, logging.ERROR) < logging.WARNING:
            return event
        suppressed = limit.admit((event.get("event"), event.get("source"), event.get("logger")))
        if suppressed is None:
            raise DropEvent
        if suppressed:
            event["repeated"] = suppressed
        return event

    return process


def _with_lost_lines(_: "WrappedLogger", __: str, event: "EventDict") -> "EventDict":
    """Say on the first line that gets through again how many did not."""
    if _waiting is not None and (lost := _waiting.take_lost()):
        event["lost_lines"] = lost
    return event


def _without_secrets(_: "WrappedLogger", __: str, event: "EventDict") -> "EventDict":
    # What a reader looks for first stands first.
    in_order = {key: event[key] for key in ("timestamp", "level", "event") if key in event} | dict(event)
    return {_hidden.mask(key): _shown(key, value) for key, value in in_order.items()}


def _shown(key: str, value: object, depth: int = 0) -> Any:
    """Give a value as JSON can hold it, without secrets; what JSON does not know becomes text."""
    match value:
        case _ if is_secret_key(key):
            return MASK
        case None | bool() | int() | float():
            return value
        case Mapping() if depth < _MAX_DEPTH:
            items = ((str(inner_key), inner) for inner_key, inner in value.items())
            return {_hidden.mask(inner_key): _shown(inner_key, inner, depth + 1) for inner_key, inner in items}
        case list() | tuple() if depth < _MAX_DEPTH:
            return [_shown("", inner, depth + 1) for inner in value]
        case datetime():
            return value.isoformat()
        case BaseException():
            return _hidden.mask(f"{type(value).__name__}: {value}")
        case _:
            return _hidden.mask(str(value))


def _escape(_: "WrappedLogger", __: str, event: "EventDict") -> "EventDict":
    """Let no value begin a line of its own; a traceback keeps its lines, indented so that none looks like an event."""
    return {key: _indented(value) if key == "exception" else _escaped(value) for key, value in event.items()}


def _escaped(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else printable(str(value))


def _indented(traceback: object) -> str:
    return "\n".join(f"    {printable(line)}" for line in str(traceback).split("\n"))
