"""The endpoint begins and ends when it is told to, where it is told to, and says so when it cannot."""

import asyncio
import errno
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from freshd.config import HttpSection, Listen
from freshd.errors import AddressInUse, ConfigError
from freshd.http import binding, connection
from freshd.http.app import build_app
from freshd.http.binding import bind, local_address
from freshd.http.gate import Gate
from freshd.http.pool import Pool
from freshd.http.server import Server
from tests.http.daemon import AUTH, JSON, TOKEN, Daemon, Endpoint, answer_on, eventually, serving

ROOT = Path(__file__).parents[2]
MAX_STOP_S = 20.0
"""Far less than whatever is waited for here would take."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client is let go of because of the time that it takes."""
    monkeypatch.setattr(connection, "PATIENCE_S", 600.0)


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


LOOPBACK = ["127.0.0.1", "localhost", *(["::1"] if has_ipv6() else [])]


def server_on(listener: socket.socket) -> Server:
    return Server(build_app(Daemon(), Gate(HttpSection(), TOKEN)), listener)


@pytest.mark.parametrize("host", LOOPBACK)
def test_it_answers_where_it_says_it_listens(host: str):
    server = server_on(bind(Listen(host, 0)))
    server.start()
    try:
        assert not server.address.endswith(":0")
        assert httpx.get(f"http://{server.address}/status", trust_env=False).status_code == 200
    finally:
        server.stop()


def test_a_name_with_several_addresses_is_listened_on_at_its_ipv4_one(monkeypatch):
    """Whichever the resolver gives first today, the address that was told to others stays."""
    found = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    answer = [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for family, address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    with bind(Listen("localhost", 0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "reached_at"), [("0.0.0.0", "127.0.0.1:"), *([("::", "[::1]:"), ("::1", "[::1]:")] if has_ipv6() else [])]
)
def test_a_wildcard_is_reached_from_here_by_loopback(host: str, reached_at: str):
    with bind(Listen(host, 0)) as listener:
        assert local_address(listener) == f"{reached_at}{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_port_that_is_taken_is_refused_at_once_and_left_alone(host: str):
    with bind(Listen(host, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match="in use by another program, expected a free port") as refused:
            bind(Listen(host, port))
        assert str(refused.value).startswith(f"http.listen: {Listen(host, port)} is in use")
        assert refused.value.exit_code == 13
        assert str(port) in refused.value.hint
        with socket.create_connection(taken.getsockname()[:2], timeout=60):
            pass


def test_a_port_is_free_again_as_soon_as_it_is_left():
    """Connections of the last run linger for a minute; a restart must not wait for them."""
    with serving() as endpoint, endpoint.connect() as asking:
        address = Listen(*endpoint.place)
        asking.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_on(asking)[0] == 200
        endpoint.server.stop()
        bind(address).close()


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("192.0.2.1", "expected an address of this machine"),
        ("fe80::1%nowhere", "expected a host that can be resolved"),
        ("a..b", "expected a host that can be resolved"),
    ],
)
def test_an_address_that_is_not_ours_is_a_fault_of_the_config(host: str, says: str):
    with pytest.raises(ConfigError, match=says) as refused:
        bind(Listen(host, 8377))
    assert str(refused.value).startswith("http.listen: ")
    assert "\n" not in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EACCES, "Permission denied"), "needs rights this process lacks"),
        (OSError(errno.ENOBUFS, "No buffer space available"), "No buffer space available"),
        (OverflowError("bind(): port must be 0-65535."), "port must be"),
    ],
)
def test_whatever_else_the_system_refuses_is_said_in_one_line(error: OSError, says: str):
    """Tests may run as root, to whom the system refuses nothing."""
    refusal = binding._refusal(Listen("127.0.0.1", 80), error)
    assert isinstance(refusal, ConfigError)
    assert says in str(refusal)


def test_connections_wait_from_binding_until_the_start():
    listener = bind(Listen("127.0.0.1", 0))
    with socket.create_connection(listener.getsockname(), timeout=60) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        server = server_on(listener)
        server.start()
        try:
            assert answer_on(early)[0] == 200
        finally:
            server.stop()


def test_a_server_that_cannot_start_says_so():
    listener = bind(Listen("127.0.0.1", 0))
    server = server_on(listener)
    listener.close()
    with pytest.raises(RuntimeError, match="did not start") as refused:
        server.start()
    assert refused.value.__cause__ is not None
    server.stop()


def test_stopping_twice_or_before_the_start_is_harmless():
    with serving() as endpoint:
        endpoint.server.stop()
        endpoint.server.stop()
        assert not endpoint.server.is_alive()
    listener = bind(Listen("127.0.0.1", 0))
    server_on(listener).stop()
    assert listener.fileno() == -1


def timed_stop(endpoint: Endpoint) -> float:
    began = time.monotonic()
    endpoint.server.stop()
    assert eventually(lambda: not endpoint.server.is_alive())
    return time.monotonic() - began


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /status HT",
        f"POST /reindex HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{".encode(),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_client_that_never_finishes_does_not_keep_it_from_stopping(sent: bytes):
    with serving() as endpoint, endpoint.connect() as slow:
        slow.sendall(sent)
        assert eventually(lambda: len(endpoint.connections) == 1)
        assert timed_stop(endpoint) < MAX_STOP_S


def test_a_client_that_never_reads_is_let_go_when_it_stops():
    with serving() as endpoint, endpoint.connect() as deaf:
        endpoint.daemon.metrics = lambda: b"x" * 20_000_000
        deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: len(endpoint.connections) == 1 and not endpoint.tasks)
        (held,) = endpoint.connections
        assert timed_stop(endpoint) < MAX_STOP_S
        assert not endpoint.connections
        assert held.transport.get_write_buffer_size() == 0


def test_a_search_that_hangs_is_told_off_when_it_stops():
    goes_on = threading.Event()
    with serving() as endpoint, endpoint.connect() as asking:
        endpoint.daemon.before_search = lambda: goes_on.wait(30)
        asking.sendall(b"GET /search?q=leave HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: len(endpoint.daemon.asked) == 1)
        assert timed_stop(endpoint) < MAX_STOP_S
        status, _, body = answer_on(asking)
        assert (status, b"stopping" in body) == (503, True)
        goes_on.set()


def test_a_held_order_is_answered_before_it_stops():
    with serving() as endpoint, ThreadPoolExecutor(1) as pool:
        held = pool.submit(endpoint.client.post, "/wait?wait=600", content=b"{}", headers={**AUTH, **JSON})
        assert eventually(lambda: endpoint.daemon.polls > 1)
        assert timed_stop(endpoint) < MAX_STOP_S
        assert (held.result(60).status_code, held.result(60).json()["state"]) == (202, "running")


def test_no_thread_is_left_behind():
    before = set(threading.enumerate())
    with serving() as endpoint:
        assert endpoint.get("/status").status_code == endpoint.get("/search?q=leave").status_code == 200
        assert set(threading.enumerate()) - before
    assert eventually(lambda: not set(threading.enumerate()) - before)


def test_a_process_ends_while_a_search_hangs():
    """A thread pool of the interpreter would be waited for at exit."""
    program = """
import threading
from tests.http.daemon import eventually, serving
with serving() as endpoint:
    endpoint.daemon.before_search = threading.Event().wait
    with endpoint.connect() as asking:
        asking.sendall(b"GET /search?q=leave HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        assert eventually(lambda: endpoint.daemon.asked)
"""
    done = python(program)
    assert done.returncode == 0, done.stderr


def python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_the_web_framework_is_loaded_by_a_daemon_only():
    program = (
        "import sys, freshd.cli, freshd.http.binding; print(*{'fastapi', 'starlette', 'uvicorn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == ""


def test_what_nobody_waits_for_any_more_is_not_begun():
    goes_on, called = threading.Event(), []

    async def leave() -> None:
        pool = Pool("test", 1)
        first, second = (asyncio.ensure_future(pool.call(one, 30)) for one in (goes_on.wait, called.append))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        goes_on.set()
        assert await first
        await pool.call(called.append, "third")
        pool.close()

    asyncio.run(leave())
    assert called == ["third"]
