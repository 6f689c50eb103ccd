"""Whatever a client sends, or does not send, it gets a short answer or none, and everybody else is answered."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from freshd.http import connection, gatekeeper
from freshd.http.desk import MAX_HELD
from tests.http.daemon import TOKEN, Endpoint, answer_on, eventually, serving

HOST = b"Host: localhost\r\n"
ORDER = HOST + f"Authorization: Bearer {TOKEN}\r\n".encode() + b"Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (b"GET /search?q=" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        (b"GET /search?q=%00 HTTP/1.1\r\n" + HOST + b"\r\n", {422}),
        (b"GET /search?q=\x00 HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        (b"GET /search?q=\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
        (b"GET /%ff%fe%00 HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
        (b"GET //status HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
        (b"GET /../status HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
        (b"GET http://localhost/status HTTP/1.1\r\n" + HOST + b"\r\n", {404}),
        (b"GET http://evil.example/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", {421}),
        (b"GET /status HTTP/1.1\r\n\r\n", {400}),
        (b"GET /status HTTP/1.1\r\n" + HOST + HOST + b"\r\n", {400}),
        (b"GET /status HTTP/1.1\r\nHost: \xe4\xff\r\n\r\n", {421}),
        (b"GET /status HTTP/1.0\r\n\r\n", {421}),
        (b"GET /status HTTP/1.1\r\n" + HOST + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n", {400}),
        (b"GET /status HTTP/1.1\r\n" + HOST + b"Bad Name: x\r\n\r\n", {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 421}),
        (b"get /status HTTP/1.1\r\n" + HOST + b"\r\n", {401}),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", {401}),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", {401}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
        (b"\r\n\r\n\r\nnonsense\r\n\r\n", {400}),
        (b"GET /status HTTP/1.1\r\n" + HOST + b"Authorization: Bearer \xff\xe4\r\n\r\n", {200}),
        (b"GET /status HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", {200}),
        (b"GET /status HTTP/1.1\r\n" + HOST + b"X-Forwarded-Host: evil\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", {200}),
        (b"GET /status HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999\r\n\r\n", {413}),
        (b"POST /reindex HTTP/1.1\r\n" + HOST + b"Authorization: Bearer \xff\xe4\r\nContent-Length: 0\r\n\r\n", {401}),
        (b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Content-Length: 99999999999\r\n\r\n", {413}),
        (b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Content-Length: " + b"9" * 6_000 + b"\r\n\r\n", {400, 413}),
        (b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Content-Length: -1\r\n\r\n", {400}),
        (b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", {400}),
        (b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Transfer-Encoding: gzip\r\n\r\n", {400, 501}),
    ],
)
def test_what_is_not_a_request_gets_a_short_answer(endpoint: Endpoint, request_bytes: bytes, statuses: set[int]):
    began = time.monotonic()
    status, headers, body = endpoint.raw(request_bytes)
    assert status in statuses
    assert headers["content-type"] == "application/json"
    assert {name: headers.get(name) for name in gatekeeper.HEADERS} == gatekeeper.HEADERS
    assert "server" not in headers
    assert b"Traceback" not in body
    assert time.monotonic() - began < connection.PATIENCE_S
    assert endpoint.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 60_000, 400),
        (b'{"sources":' * 5_000, 400),
        (b"[" * 30_000 + b"]" * 30_000, 400),
        (b"\xff\xfe\x00", 400),
        (b'{"sources": ["\xff"]}', 400),
        (b'{"full": ' + b"9" * 60_000 + b"}", 400),
        (b'{"sources": [' + b"1," * 30_000 + b"1]}", 422),
        (b'{"full": {"a": [1, {"b": null}]}}', 422),
    ],
)
def test_a_body_that_is_no_order_gets_a_short_answer(endpoint: Endpoint, body: bytes, status: int):
    answer = endpoint.post("/reindex", body)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "try"}
    assert len(answer.content) < 1_000


def test_a_body_that_breaks_off_or_lies_about_its_chunks_orders_nothing(endpoint: Endpoint):
    head = b"POST /reindex HTTP/1.1\r\n" + ORDER
    with endpoint.connect() as connected:
        connected.sendall(head + b"Content-Length: 50\r\n\r\n{")
    with endpoint.connect() as connected:
        connected.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}")
    status, _, _ = endpoint.raw(head + b"Transfer-Encoding: chunked\r\n\r\nnot-a-length\r\n{}\r\n0\r\n\r\n")
    assert status == 400
    assert endpoint.get("/healthz").status_code == 200
    assert endpoint.daemon.asked == []


@pytest.mark.parametrize("head", [HOST, ORDER], ids=["refused", "admitted"])
def test_a_good_head_with_a_bad_body_is_no_fault_of_ours(endpoint: Endpoint, told, head: bytes):
    """Both come in one packet: the answer to the head must not follow the one to the body."""
    request = b"POST /reindex HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\nnot-a-length\r\n"
    assert endpoint.raw(request)[0] == 400
    assert eventually(lambda: not endpoint.tasks)
    assert {event["message"] for event in told()} == {"Invalid HTTP request received."}
    assert endpoint.daemon.asked == []


def test_requests_sent_ahead_are_answered_in_order(endpoint: Endpoint):
    routes = (b"/healthz", b"/status", b"/metrics", b"/nowhere")
    with endpoint.connect() as connected:
        connected.sendall(b"".join(b"GET " + route + b" HTTP/1.1\r\n" + HOST + b"\r\n" for route in routes))
        received = b""
        while received.count(b"HTTP/1.1 ") < 4 or not received.endswith(b"}"):
            received += connected.recv(65_536)
    statuses = [line.split(b" ")[1] for line in received.splitlines() if b"HTTP/1.1 " in line]
    assert [one[:3] for one in statuses] == [b"200", b"200", b"200", b"404"]


@contextlib.contextmanager
def silent(endpoint: Endpoint, n: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(endpoint.connect()) for _ in range(n)]
        for one in connections:
            one.sendall(first)
        yield connections


def is_closed(connected: socket.socket) -> bool:
    connected.setblocking(False)
    try:
        return connected.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("first", [b"", b"GET /status HTTP/1.1\r\nHost: loc"], ids=["idle", "half a request"])
@pytest.mark.parametrize("n", [150, connection.MAX_CONNECTIONS + 40])
def test_silent_connections_keep_nobody_out(endpoint: Endpoint, n: int, first: bytes):
    with silent(endpoint, n, first):
        for route in ("/healthz", "/status", "/metrics", "/search?q=leave"):
            with endpoint.connect() as asking:
                asking.sendall(f"GET {route} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert answer_on(asking)[0] == 200


def test_beyond_the_bound_the_connection_idle_for_longest_leaves(endpoint: Endpoint):
    endpoint.client.close()  # its own connection would be the oldest
    endpoint.client = httpx.Client(base_url=endpoint.client.base_url, timeout=10, trust_env=False)
    assert eventually(lambda: not endpoint.connections)
    with silent(endpoint, connection.MAX_CONNECTIONS) as connections:
        assert eventually(lambda: len(endpoint.connections) == connection.MAX_CONNECTIONS)
        connections[0].sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert answer_on(connections[0])[0] == 200
        with silent(endpoint, 20):
            assert eventually(lambda: all(map(is_closed, connections[1:21])))
            assert not any(map(is_closed, [connections[0], *connections[21:]]))
            assert len(endpoint.connections) == connection.MAX_CONNECTIONS


OWED = {
    "the head": b"GET /status HTTP/1.1\r\nX-Slow: ",
    "the body": b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Content-Length: 1000\r\n\r\n{",
    "the body of what was refused": b"POST /reindex HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n{",
    "an endless body": b"GET /status HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("owed", OWED)
def test_a_client_that_drips_is_let_go_while_others_are_answered(monkeypatch, owed: str):
    """Each byte proves that it lives, so only the whole may have a limit."""
    monkeypatch.setattr(connection, "PATIENCE_S", 0.5)
    with serving() as endpoint, contextlib.ExitStack() as stack:
        began = time.monotonic()
        slow = stack.enter_context(endpoint.connect())
        slow.sendall(OWED[owed])
        is_let_go = False
        while not is_let_go and time.monotonic() - began < 60:
            with contextlib.suppress(ConnectionError):
                slow.sendall(b"1\r\na\r\n" if owed == "an endless body" else b"a")
            assert endpoint.get("/status").status_code == 200
            is_let_go = is_gone(slow)
        assert is_let_go
        assert time.monotonic() - began > 0.3
        assert endpoint.daemon.asked == []


def is_gone(connected: socket.socket) -> bool:
    """Whether the other end is closed, whatever it said before."""
    connected.settimeout(0.02)
    try:
        while connected.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def test_a_client_that_never_reads_is_let_go(monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE_S", 0.5)
    with serving() as endpoint:
        asked = []
        endpoint.daemon.metrics = lambda: asked.append(None) or b"x" * 8_000_000
        with endpoint.connect() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            with contextlib.suppress(ConnectionError):
                deaf.sendall((b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n") * 20)
            assert eventually(lambda: asked)
            assert eventually(lambda: not endpoint.connections)
        assert endpoint.get("/healthz").status_code == 200


def test_a_quiet_client_that_owes_nothing_is_kept(monkeypatch):
    """A held order lasts longer than the patience for a request."""
    monkeypatch.setattr(connection, "PATIENCE_S", 0.3)
    answers = []
    with serving() as endpoint:
        for _ in range(10):
            # It owes the request until it is sent, and whoever stands still in the middle of that is let go of.
            with endpoint.connect() as quiet, contextlib.suppress(ConnectionError):
                for piece in (b"POST /wait?wait=1 ", b"HTTP/1.1\r\n" + ORDER, b"Content-Length: 2\r\n\r\n{", b"}"):
                    quiet.sendall(piece)
                    assert endpoint.get("/healthz").status_code == 200  # each piece arrives on its own
                answers.append(answer_on(quiet))
            if endpoint.daemon.asked:  # it was sent in time
                break
    ((status, _, body),) = answers
    assert (status, b"running" in body) == (202, True)


@pytest.mark.parametrize("is_reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_leaves_is_waited_for_no_more(endpoint: Endpoint, is_reset: bool):
    with endpoint.connect() as leaving:
        leaving.sendall(b"POST /wait?wait=600 HTTP/1.1\r\n" + ORDER + b"Content-Length: 2\r\n\r\n{}")
        assert eventually(lambda: endpoint.daemon.polls > 1)
        if is_reset:
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: not endpoint.tasks)
    assert endpoint.get("/healthz").status_code == 200


def test_held_orders_hold_no_thread_and_leave_room_for_others(endpoint: Endpoint):
    order = b"POST /wait?wait=600 HTTP/1.1\r\n" + ORDER + b"Content-Length: 2\r\n\r\n{}"
    with silent(endpoint, MAX_HELD, order):
        assert eventually(lambda: len(endpoint.daemon.asked) == MAX_HELD and endpoint.daemon.polls > 2 * MAX_HELD)
        assert endpoint.get("/search?q=leave").status_code == 200
        assert len([one for one in threading.enumerate() if one.name.startswith("freshd-http-")]) <= 14
        one_more = endpoint.post("/wait?wait=600")
        assert (one_more.status_code, one_more.json()["state"]) == (202, "running")
        endpoint.daemon.states = dict.fromkeys(endpoint.daemon.states, "done")


def test_searches_that_hang_hold_up_searches_and_nothing_else(endpoint: Endpoint):
    """Beyond the bound only the probes are answered."""
    goes_on = threading.Event()
    endpoint.daemon.before_search = lambda: goes_on.wait(30)
    ask = b"GET /search?q=leave HTTP/1.1\r\n" + HOST + b"\r\n"
    try:
        with silent(endpoint, gatekeeper.MAX_REQUESTS - 1, ask) as asking:
            assert eventually(lambda: len(endpoint.tasks) == gatekeeper.MAX_REQUESTS - 1)
            for route in ("/healthz", "/readyz", "/status", "/metrics"):
                assert endpoint.get(route).status_code == 200
            assert eventually(lambda: len(endpoint.tasks) == gatekeeper.MAX_REQUESTS - 1)
            with silent(endpoint, 1, ask):
                assert eventually(lambda: len(endpoint.tasks) == gatekeeper.MAX_REQUESTS)
                refused = endpoint.get("/status")
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert set(refused.json()) == {"error", "try"}
                assert endpoint.get("/healthz").status_code == 200
                goes_on.set()
                assert {answer_on(one)[0] for one in asking} == {200}
    finally:
        goes_on.set()
    assert endpoint.get("/status").status_code == 200


def test_an_order_may_come_in_pieces(endpoint: Endpoint):
    with endpoint.connect() as slow:
        for byte in b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Content-Length: 16\r\n\r\n" + b'{"sources" : []}':
            slow.sendall(bytes([byte]))
        assert answer_on(slow)[0] == 202


def test_a_client_may_ask_before_it_sends_its_body(endpoint: Endpoint):
    """`Expect: 100-continue`; one that would be refused is told so without it."""
    with endpoint.connect() as polite:
        polite.sendall(b"POST /reindex HTTP/1.1\r\n" + ORDER + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert polite.recv(100).startswith(b"HTTP/1.1 100 ")
        polite.sendall(b"{}")
        assert answer_on(polite)[0] == 202
    with endpoint.connect() as refused:
        refused.sendall(b"POST /reindex HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert answer_on(refused)[0] == 401
