"""A daemon whose endpoint is swamped, or whose ledger is held, goes on and answers. Catalogue rows 124, 126."""

import contextlib
import os
import resource
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from freshd.http.connection import MAX_CONNECTIONS
from tests.daemon.instance import Instance, eventually, instance

N_CONNECTIONS = 1_000
SENT = (
    b"",
    b"GET /status HTTP/1.1\r\nHost: loc",
    b"POST /reindex HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
"""By clients that say nothing, stop in the middle of a head or a body, or never read what they asked for."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one") as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        made.start()
        made.settled()
        yield made


@pytest.fixture
def room() -> Iterator[None]:
    """Room for so many connections at our own end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < N_CONNECTIONS + 200:
        pytest.fail(f"the machine allows {hard} open files, the test needs {N_CONNECTIONS + 200}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, N_CONNECTIONS + 200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_neither_a_thousand_connections_nor_a_held_ledger_keep_a_daemon_from_its_work(one: Instance, room: None):
    host, _, port = one.record.address.rpartition(":")
    with contextlib.ExitStack() as stack:
        for n in range(N_CONNECTIONS):
            connected = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            with contextlib.suppress(ConnectionError):  # let go of already, in favour of a newer one
                connected.sendall(SENT[n % len(SENT)])
        one.write("b.md", "# B\n\nThe secondword.\n")
        eventually(lambda: one.places("secondword") == {"b.md"})
        assert one.get("/healthz").status_code == 200
        sockets = [os.readlink(link) for link in Path(f"/proc/{one.process.pid}/fd").iterdir() if link.is_symlink()]
        assert sum(name.startswith("socket:") for name in sockets) < MAX_CONNECTIONS + 30
    ledger_is_held(one)
    assert one.events("request_failed") == []
    assert one.stop() == 0


def ledger_is_held(one: Instance) -> None:
    """By another program that writes: what is read is answered at once, as of the last commit."""
    with (
        contextlib.closing(sqlite3.connect(one.state.ledger_path, isolation_level=None)) as other,
        one.http() as client,
    ):
        other.execute("BEGIN EXCLUSIVE")
        one.write("c.md", "# C\n\nThe thirdword.\n")
        for path in ("/metrics", "/status", "/healthz", "/readyz"):
            took_s = []
            for _ in range(10):
                began_s = time.monotonic()
                assert client.get(path).status_code == 200
                took_s.append(time.monotonic() - began_s)
            assert min(took_s) < 0.5, f"{path}: the machine may be busy, yet not each time"
        other.execute("ROLLBACK")
    eventually(lambda: one.places("thirdword") == {"c.md"})
