"""Named fail points, armed only by the environment, so that tests can break freshd where it hurts.

`FRESHD_FAULTS="after_intent:kill@2,mid_read:raise"` kills the process at the second hit of
`after_intent` and raises `OSError` at the first hit of `mid_read`; `hang` has the thread that hits it stand still.
`FRESHD_FAULTS_LOG=FILE` has the name of every fail point that is passed appended to a file, one a line,
so that a test can break a run at each of them in turn.
Unarmed, a hit costs one dictionary look-up.
"""

import errno
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
    raise OSError(errno.EIO, "injected by a fail point")


def _enospc() -> None:
    raise OSError(errno.ENOSPC, "injected by a fail point")


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _hang() -> None:
    threading.Event().wait()


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill": _kill,
    "raise": _raise,
    "enospc": _enospc,
    "stop": _stop,
    "hang": _hang,
}


def _parse(text: str) -> dict[str, tuple[Callable[[], None], int]]:
    armed = {}
    for item in filter(None, text.split(",")):
        name, _, action = item.partition(":")
        action, _, nth = action.partition("@")
        armed[name.strip()] = (_ACTIONS[action.strip()], int(nth or 1))
    return armed


_armed = _parse(os.environ.get("FRESHD_FAULTS", ""))
_log = os.environ.get("FRESHD_FAULTS_LOG")


def hit(name: str) -> None:
    """Pass the fail point `name`; do what is armed there when the count is reached."""
    if _log:
        _note(name, _log)
    if name not in _armed:
        return
    action, nth = _armed[name]
    with _lock:
        _hits[name] += 1
        reached = _hits[name] == nth
    if reached:
        action()


def _note(name: str, path: str) -> None:
    """Append a name by one write: it is in the file whatever becomes of the process afterwards."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{name}\n".encode())
    finally:
        os.close(descriptor)


def arm(text: str) -> None:
    """Replace what is armed, in the syntax of `FRESHD_FAULTS`; counts start over. For tests."""
    global _armed
    with _lock:
        _hits.clear()
        _armed = _parse(text)
