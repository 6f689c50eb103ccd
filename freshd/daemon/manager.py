"""What the service manager is told, where one started freshd: systemd's protocol, a datagram for each message."""

import os
import socket
import time
from contextlib import suppress


def tell(*words: str) -> None:
    """Say something as `NAME=value`; to nobody where nobody asked for it, and without ever waiting.

    Args:
        *words: `READY=1` once freshd can be asked, `WATCHDOG=1` while all goes round, `STOPPING=1`.

    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # a name that no file has
        address = "\0" + address[1:]
    # A manager that is gone or does not listen is none that anything would depend on.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.setblocking(False)
        manager.sendto("\n".join(words).encode(), address)


def tell_reloading() -> None:
    """Say that another config is taken up, until the next `READY=1`."""
    tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")
