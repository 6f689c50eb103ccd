"""The child's end: ends with its parent, heeds no polite signal, answers over standard input."""

import os
import signal
import sys
from typing import Any

from freshd.children import frames


def settle_in() -> int:
    """Begin to be a child of the process named on the command line; gives the stream to serve."""
    for polite in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(polite, signal.SIG_IGN)
    _die_with_parent(int(sys.argv[1]))
    return sys.stdin.fileno()


def _die_with_parent(parent: int) -> None:
    """Have Linux kill this process when its parent dies, also while a library holds the interpreter's lock."""
    import ctypes  # only here

    set_death_signal = 1  # PR_SET_PDEATHSIG
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def read(stream: int) -> Any:
    """Wait for a request; None once the parent is gone."""
    try:
        return frames.read_frame(lambda n_bytes: os.read(stream, min(n_bytes, 1 << 20)))
    except (EOFError, ConnectionError):
        return None


def write(stream: int, reply: Any) -> None:
    """Send a reply."""
    rest = memoryview(frames.frame(reply))
    while rest:
        rest = rest[os.write(stream, rest) :]
