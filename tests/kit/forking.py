"""Loads freshd once and forks a process of it for every order: `python -m tests.kit.forking`.

Every command saves the second that its imports take, and is otherwise what `python -m freshd ARGUMENT…` is: what reads
the environment while it is imported is imported in the fork. Orders come over standard input, which is a socket; with
each come the fork's standard streams and a stream on which its process id is said, and what `waitpid` said at its end.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

LONGEST_ORDER = 1 << 17
"""Bytes."""

N_STREAMS = 4
"""Input, output, errors, and the one that tells."""

# None of these starts a thread, which a fork would be without; numpy starts none where it is told that it has one.
_LOADED = (
    *("freshd.__main__", "freshd.compose", "freshd.daemon", "connectors.files", "connectors.feed"),
    *("huggingface_hub.hf_api", "loguru", "mmh3", "numpy", "PIL.Image", "py_rust_stemmers", "qdrant_edge", "requests"),
    *("tokenizers", "tqdm"),
    "tests.kit.embedder",
)
_READ_THE_ENVIRONMENT = ("freshd.__main__", "freshd.cli")


def main() -> None:
    for module in _LOADED:
        importlib.import_module(module)
    (thread,) = os.listdir("/proc/self/task")
    assert thread == str(os.getpid())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who orders decides when this ends
    gc.freeze()
    order = _next_order()
    if order is not None:
        _become(order)


def _next_order() -> dict[str, Any] | None:
    """Fork for every order; gives it in the fork, and None where nobody orders any more."""
    with socket.socket(fileno=os.dup(0)) as orders:
        while True:
            message, descriptors, _, _ = socket.recv_fds(orders, LONGEST_ORDER, N_STREAMS)
            if not message:
                return None
            if not os.fork():
                break
            for descriptor in descriptors:
                os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _tell_of_another(descriptors)
    order: dict[str, Any] = json.loads(message)
    return order


def _tell_of_another(descriptors: Sequence[int]) -> None:
    """Fork and wait, so that everything of an end can be told; returns in the fork alone."""
    *streams, tells = descriptors
    pid = os.fork()
    if pid:
        for number in (0, 1, 2, *streams):
            os.close(number)
        os.write(tells, str(pid).encode())
        os.write(tells, str(os.waitpid(pid, 0)[1]).encode())
        os._exit(0)
    os.close(tells)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _become(order: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = order["arguments"]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering, errors=was.errors, closefd=False)  # noqa: SIM115 - as long as the process lives
        for number, mode, buffering, was in ((0, "r", -1, sys.stdin), (1, "w", -1, sys.stdout), (2, "w", 1, sys.stderr))
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order["is_stopped"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    for loaded in [one for one in sys.modules if one.startswith(_READ_THE_ENVIRONMENT)]:
        del sys.modules[loaded]
    importlib.reload(importlib.import_module("freshd.faults"))
    importlib.import_module(order["module"]).main()


if __name__ == "__main__":
    main()
