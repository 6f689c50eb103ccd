"""A network that a test owns: names, addresses and where connections end up, before real sockets."""

import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpcore

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PUBLIC = "93.184.216.34"
"""An address that anybody may be led to."""


class FixedClock:
    """A wall clock that stands still beside a real monotonic one: deadlines are about real sockets."""

    def now(self) -> datetime:
        """Noon of a day in March."""
        return NOW

    def monotonic(self) -> float:
        """The machine's own."""
        return time.monotonic()


class DetourNetwork(httpcore.SyncBackend):
    """Leads every connection to one server on loopback and notes where it was meant to go."""

    def __init__(self, port: int) -> None:
        self.meant: list[tuple[str, int]] = []
        self._port = port

    def connect_tcp(self, host: str, port: int, *others: Any, **more: Any) -> httpcore.NetworkStream:
        """Connect to that server, whatever was asked for."""
        self.meant.append((host, port))
        return super().connect_tcp("127.0.0.1", self._port, *others, **more)


def resolving(**names: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    """Resolver that knows the given names, with `_` for a dot, and otherwise reads numbers as libc does."""
    known = {name.replace("_", "."): answers for name, answers in names.items()}

    def resolve(host: str, port: int) -> Sequence[str]:
        if host in known:
            return known[host]
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(info[4][0]) for info in infos]

    return resolve
