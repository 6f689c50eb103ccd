"""Named fail points, armed only by the environment, so that tests can break freshd where it hurts.

`FRESHD_FAULTS="after_intent:kill@2,mid_read:raise"` kills the process at the second hit of
`after_intent` and raises `OSError` at the first hit of `mid_read`.
Unarmed, a hit costs one dictionary look-up.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

_hits: Counter[str] = Counter()
_lock = threading.Lock()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise() -> None:
    raise OSError(5, "injected by a fail point")


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


_ACTIONS: dict[str, Callable[[], None]] = {"kill": _kill, "raise": _raise, "stop": _stop}


def _parse(text: str) -> dict[str, tuple[Callable[[], None], int]]:
    armed = {}
    for item in filter(None, text.split(",")):
        name, _, action = item.partition(":")
        action, _, nth = action.partition("@")
        armed[name.strip()] = (_ACTIONS[action.strip()], int(nth or 1))
    return armed


_armed = _parse(os.environ.get("FRESHD_FAULTS", ""))


def hit(name: str) -> None:
    """Pass the fail point `name`; do what is armed there when the count is reached."""
    if name not in _armed:
        return
    action, nth = _armed[name]
    with _lock:
        _hits[name] += 1
        reached = _hits[name] == nth
    if reached:
        action()


def arm(text: str) -> None:
    """Replace what is armed, in the syntax of `FRESHD_FAULTS`; counts start over. For tests."""
    global _armed
    with _lock:
        _hits.clear()
        _armed = _parse(text)
