"""How freshd talks to its operator: events with facts as keys, one line each, on one stream.

    event ─ context, level, time ─▶ rate limit ─▶ without secrets ─▶ console │ JSON ─▶ stream
    libraries' own logging, from WARNING up ─▶ the same way, as `library_logged`

Talking never fails: a stream that is closed, broken or full loses lines and raises nothing.
Nor does it ever wait, where it is told not to: a reader that stalls costs lines, which are counted, and no work.

structlog is loaded with the first logger: a command that has nothing to log starts a fifth faster without it.
"""

from freshd.logs.event import Event
from freshd.logs.outlet import MAX_WAITING_LINES
from freshd.logs.repeats import RepeatLimit
from freshd.logs.talk import LEVELS, MAX_REPEATS_PER_MINUTE, configure, finish, get_logger, hide

__all__ = [
    "LEVELS",
    "MAX_REPEATS_PER_MINUTE",
    "MAX_WAITING_LINES",
    "Event",
    "RepeatLimit",
    "configure",
    "finish",
    "get_logger",
    "hide",
]
